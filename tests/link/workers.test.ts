import { join } from "node:path";

import { expect, jest, test } from "@jest/globals";

import { createLan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { Agent } from "./agent-client.ts";
import { arpRequest } from "./frames.ts";

jest.setTimeout(60_000);

/** Keeps frames coming. */
async function sendUntil(signal: AbortSignal, agent: Agent): Promise<void> {
  const frames = Array.from({ length: 64 }, () => arpRequest(9));
  while (!signal.aborted) await agent.tell("sendBatch", { frames });
}

describeWith(
  "linux",
  "root",
  "netns",
  "native",
)("the native module in worker threads", () => {
  test("is loaded and ended in many workers under traffic, and the process ends in order", async () => {
    await using lan = await createLan({ hosts: 2 });
    await using one = await Agent.open(lan.host(1));
    const script = join(import.meta.dirname, "workers.ts");
    const preload = process.env["AGENT_PRELOAD"] ?? "";
    const environment = ["NODE_OPTIONS=", `LD_PRELOAD=${preload}`];
    const run = lan.host(2).run("env", ...environment, process.execPath, script);
    const ended = new AbortController();
    const traffic = sendUntil(ended.signal, one);
    await run.finally(() => ended.abort());
    await traffic;
    expect((await run).stdout).toBe("done\n");
  });
});
