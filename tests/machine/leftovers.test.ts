import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { afterAll, expect, test } from "@jest/globals";
import { compiledPrograms } from "../cluster/binary.ts";
import { leftovers } from "../cluster/boot.ts";
import { processesIn } from "../cluster/cgroup.ts";
import { attempt } from "../cluster/command.ts";
import { buildProductImage } from "../cluster/for-tests.ts";
import { CGROUP } from "../cluster/layout.ts";
import { describeWith } from "../support/requirements.ts";

const FOLDER = join(import.meta.dirname, "../cluster");
const MINUTE = 60_000;

function start(script: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(FOLDER, script), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
}

/** Resolves when the process has said that, on either stream. */
async function untilItSays(child: ChildProcess, what: RegExp): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (what.test(said)) resolve();
      });
    child.once("close", () =>
      reject(new Error(`it ended before it said ${String(what)}: ${said}`)),
    );
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  child.kill(signal);
  return await ended;
}

const down = () =>
  attempt([process.execPath, join(FOLDER, "cli.ts"), "down"], { env: { NODE_OPTIONS: "" } });

describeWith("netns", "nft")("nothing is left behind", () => {
  afterAll(async () => {
    await down();
  }, MINUTE);

  // What can take long is done before, so that the moments below are early ones of the start.
  test(
    "first everything is built",
    async () => {
      await compiledPrograms();
      buildProductImage();
      expect((await down()).status).toBe(0);
    },
    30 * MINUTE,
  );

  for (const moment of [
    /starting a cluster/,
    /the API server is ready/,
    /the cluster is up/,
    /installing the operator[^]*==>/,
  ])
    test(
      `by cluster-down after kill -9 of the demo at ${String(moment)}`,
      async () => {
        const demo = start("demo.ts");
        await untilItSays(demo, moment);
        await end(demo, "SIGKILL");
        const outcome = await down();
        expect(outcome.stderr).not.toMatch(/error/);
        expect(outcome.status).toBe(0);
        expect(await leftovers()).toEqual([]);
        expect(processesIn(CGROUP)).toEqual([]);
      },
      3 * MINUTE,
    );

  test(
    "by Ctrl-C in the middle of cluster-up",
    async () => {
      const up = start("cli.ts", "up");
      await untilItSays(up, /the API server is ready/);
      expect(await end(up, "SIGINT")).toBe(130);
      expect(await leftovers()).toEqual([]);
      expect(processesIn(CGROUP)).toEqual([]);
    },
    2 * MINUTE,
  );

  test(
    "cluster-up, again, of another kind, and cluster-down twice",
    async () => {
      const cli = (...args: string[]) =>
        attempt([process.execPath, join(FOLDER, "cli.ts"), ...args], { env: { NODE_OPTIONS: "" } });
      expect((await cli("up", "--nodes", "1", "--family", "ipv6")).status).toBe(0);
      const again = await cli("up", "--nodes", "1", "--family", "ipv6");
      expect(again.stderr).toMatch(/up already/);
      expect(again.status).toBe(0);
      const other = await cli("up", "--nodes", "2", "--family", "ipv6");
      expect(other.stderr).toMatch(
        /error: another cluster is up \(1 nodes, ipv6.*: make cluster-down first/,
      );
      expect(other.status).toBe(2);
      expect((await cli("status")).stdout).toMatch(/node1 +Ready/);
      expect((await cli("down")).status).toBe(0);
      expect((await cli("down")).status).toBe(0);
      expect((await cli("status")).status).toBe(1);
      expect(await leftovers()).toEqual([]);
    },
    3 * MINUTE,
  );
});
