import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { releaseLocks } from "./lock.ts";

/**
 * Takes the cluster down when this process is told to end (Ctrl-C), whatever it is in the middle
 * of. The event loop stands still meanwhile, so nothing more is started.
 */
export function downOnSignal(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => {
      process.stderr.write(`\n${signal}: taking the cluster down\n`);
      releaseLocks();
      const cli = join(import.meta.dirname, "cli.ts");
      // a session of its own: the terminal's Ctrl-C reaches this whole process group
      spawnSync("setsid", ["--wait", process.execPath, cli, "down"], { stdio: "inherit" });
      process.exit(signal === "SIGINT" ? 130 : 143);
    });
}
