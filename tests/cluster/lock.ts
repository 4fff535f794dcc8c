/** A lock file that a crashed holder does not keep: it names a process, and dead ones count for nothing. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { identify, isRunning, type ProcessIdentity } from "./command.ts";
import { UsageError } from "./failure.ts";
import { waitFor } from "./wait.ts";

interface Holder extends ProcessIdentity {
  readonly purpose: string;
}

function holder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch {
    return undefined; // no lock, or half-written by a process that died
  }
}

/** Takes the lock in one step (link fails when the name exists), clearing a dead holder's away. */
function take(file: string, purpose: string): boolean {
  const self = identify(process.pid);
  if (self === undefined) throw new Error("this process has no /proc entry: not Linux?");
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, JSON.stringify({ ...self, purpose }));
  try {
    linkSync(draft, file);
    return true;
  } catch {
    const other = holder(file);
    if (other === undefined || !isRunning(other)) rmSync(file, { force: true });
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

const held = new Set<string>();

/** Gives up every lock of this process, for a signal handler that ends it. */
export function releaseLocks(): void {
  for (const file of held) rmSync(file, { force: true });
  held.clear();
}

process.once("exit", releaseLocks);

/**
 * Runs something while holding a lock file.
 * @throws UsageError when another process holds it for longer than `patienceSeconds`.
 */
export async function withLock<T>(
  file: string,
  purpose: string,
  act: () => Promise<T>,
  patienceSeconds = 1800,
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  try {
    await waitFor(file, patienceSeconds, () => take(file, purpose), 200);
  } catch {
    const other = holder(file);
    throw new UsageError(
      `process ${other?.pid ?? "?"} is ${other?.purpose ?? "busy"} and holds ${file}: wait for it, or end it`,
    );
  }
  held.add(file);
  try {
    return await act();
  } finally {
    held.delete(file);
    rmSync(file, { force: true });
  }
}
