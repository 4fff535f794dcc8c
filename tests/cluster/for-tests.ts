/** The one cluster that is up for a whole test run, with the product's image in its nodes. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Cluster } from "./cluster.ts";
import { UsageError } from "./failure.ts";
import { downOnSignal } from "./signal.ts";

const TREE = join(import.meta.dirname, "../..");
/** Name of the product's image as `config/manager` has it. */
export const PRODUCT_IMAGE = "metallb-operator:0.1.0";
/** The product's image as a docker archive. */
export const PRODUCT_ARCHIVE = join(TREE, "build/image.tar");

/** Builds the product's image unless it is up to date. */
export function buildProductImage(): string {
  execFileSync(process.execPath, ["tools/image.ts", PRODUCT_IMAGE, "--archive", PRODUCT_ARCHIVE], {
    cwd: TREE,
    stdio: ["ignore", "inherit", "inherit"],
  });
  return PRODUCT_ARCHIVE;
}

/**
 * Starts the cluster for a test run. On a machine that cannot run it, an empty handle comes back,
 * and each test says itself that it is skipped and why.
 */
export async function clusterForTests(): Promise<AsyncDisposable> {
  downOnSignal();
  const report = (line: string): void => void process.stderr.write(`${line}\n`);
  try {
    return await Cluster.up({}, [buildProductImage()], report);
  } catch (error) {
    if (!(error instanceof UsageError) || process.env["CI"] === "true") throw error;
    report(error.message);
    return { [Symbol.asyncDispose]: () => Promise.resolve() };
  }
}
