/**
 * `make soak`: what takes too long for `make test`. Arguments name the parts to run, all without.
 * It ends with one line a part, and with 1 when one of them failed.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { Cluster } from "./cluster/cluster.ts";
import { UsageError, runMain } from "./cluster/failure.ts";
import { buildProductImage } from "./cluster/for-tests.ts";
import type { IPFamily } from "./cluster/layout.ts";
import { downOnSignal } from "./cluster/signal.ts";

const TREE = join(import.meta.dirname, "..");
const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Runs a program of ours, its output shown. @returns whether it succeeded */
async function succeeds(
  [program = "", ...args]: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<boolean> {
  const child = spawn(program, args, {
    cwd: TREE,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  return await new Promise((resolve, reject) => {
    child.once("close", (status) => resolve(status === 0)).once("error", reject);
  });
}

/** Failover in full, both policies, on a cluster of one kind. */
async function failover(family: IPFamily): Promise<boolean> {
  await using _cluster = await Cluster.up({ family }, [buildProductImage()], say);
  const files = ["tests/cluster/failover.test.ts", "--selectProjects", "cluster"];
  return await succeeds(["jest", ...files, "--runInBand", "--forceExit", "--testTimeout=60000"], {
    SOAK: "1",
    IP_FAMILY: family,
    NODE_OPTIONS: "--experimental-vm-modules --disable-warning=ExperimentalWarning",
  });
}

/** The parts, by name. */
const PARTS: Readonly<Record<string, () => Promise<boolean>>> = {
  // ten times as many random schedules, the largest cluster with 10,000 addresses, the planted bugs
  schedules: () =>
    succeeds([process.execPath, "tests/run.ts", "schedules"], {
      SOAK: process.env["SOAK"] ?? "10",
    }),
  dual: () => failover("dual"),
  ipv4: () => failover("ipv4"),
  ipv6: () => failover("ipv6"),
};

await runMain(async () => {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !(name in PARTS));
  if (unknown !== undefined)
    throw new UsageError(`no part ${unknown}: use ${Object.keys(PARTS).join(", ")}`);
  downOnSignal();
  const failed: string[] = [];
  for (const [name, part] of Object.entries(PARTS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const began = performance.now();
    const passed = await part();
    if (!passed) failed.push(name);
    const seconds = (performance.now() - began) / 1000;
    process.stdout.write(`${name}: ${passed ? "passed" : "FAILED"} in ${seconds.toFixed(0)} s\n`);
  }
  return failed.length > 0 ? 1 : 0;
});
