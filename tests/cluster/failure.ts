/** A refusal that a person can act upon: one line, exit status 2, no stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Runs a command line's main function and ends the process: 0, or 2 with one line for a
 * {@link UsageError}, or 1 with one line for anything else (the stack with DEBUG set).
 */
export async function runMain(main: () => Promise<number>): Promise<never> {
  try {
    process.exit(await main());
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`error: ${message}\n`);
    if (process.env["DEBUG"] !== undefined && error instanceof Error)
      process.stderr.write(`${error.stack ?? ""}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  }
}
