import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { describe, expect, test } from "@jest/globals";

import { address } from "../../../packet/address/address.ts";
import type { MacAddress } from "../../../packet/address/mac.ts";
import { silentLogger, type Fields, type Logger } from "../../../kubernetes/logging.ts";
import { ResponderClient } from "../../../speaker/responder-client.ts";
import type { Report } from "../../../speaker/thread-protocol.ts";
import { eventually } from "../../support/eventually.ts";

const execute = promisify(execFile);
const entryOf = (file: string): URL => new URL(file, import.meta.url);
const V4 = address("192.0.2.80");
const STRANGER = "02:00:00:00:00:66" as MacAddress;

interface Line extends Fields {
  readonly level: string;
  readonly message: string;
}

/** A client whose thread says what it is told. */
function scripted() {
  const lines: Line[] = [];
  const told: unknown[] = [];
  const write =
    (level: string): Logger["info"] =>
    (message, fields = {}) =>
      void lines.push({ level, message, ...fields });
  const client = new ResponderClient({
    logger: { ...silentLogger, info: write("info"), error: write("error") },
    announcedChanged: (changed) => told.push(changed),
    counted: (counters) => told.push(counters),
    probed: (outcome) => told.push(outcome),
    died: (why) => told.push(why),
    entry: entryOf("scripted-thread.ts"),
  });
  const say = (...reports: readonly Report[]): void =>
    client.post({
      kind: "configure",
      excludedInterfaces: reports.map((report) => JSON.stringify(report)),
    });
  return { client, lines, told, say };
}

describe("the client of the responder thread", () => {
  test("is ready when the thread knows the interfaces, and keeps which can be used", async () => {
    const { client, say, lines } = scripted();
    expect(client.notReady).toContain("does not know the interfaces");
    const interfaces = [
      { name: "eth0", index: 2 },
      { name: "eth1", why: "set down" },
      { name: "lo", why: "excluded" },
    ];
    say({ kind: "interfaces", interfaces }, { kind: "ready" });
    await eventually(() => client.notReady === undefined);
    expect(client.interfaces).toEqual(interfaces);
    expect(lines).toEqual([
      {
        level: "info",
        message: "interfaces changed",
        interfaces: ["eth0", "eth1 (set down)", "lo (excluded)"],
      },
    ]);
    await client.stop();
  });

  test("keeps where addresses are answered for, and passes on what is counted and probed", async () => {
    const { client, say, told } = scripted();
    const counters = { interfaces: [], addresses: [] };
    say(
      { kind: "announced", address: V4, interfaces: ["eth0"] },
      { kind: "counters", counters },
      { kind: "probed", address: V4, takenBy: STRANGER },
    );
    await eventually(() => told.length === 3);
    expect(told).toEqual([V4, counters, { kind: "probed", address: V4, takenBy: STRANGER }]);
    expect(client.interfacesOf(V4)).toEqual(["eth0"]);
    say({ kind: "announced", address: V4, interfaces: [] });
    await eventually(() => told.length === 4);
    expect(client.interfacesOf(V4)).toEqual([]);
    await client.stop();
  });

  test("logs conflicts, their end, and trouble", async () => {
    const { client, say, lines } = scripted();
    const of = { address: V4, mac: STRANGER } as const;
    say(
      { kind: "conflict", ...of, interfaceName: "eth0", defended: true },
      { kind: "conflictOver", ...of },
      { kind: "trouble", message: "no room" },
    );
    await eventually(() => lines.length === 3);
    const about = { address: V4, hardwareAddress: STRANGER };
    expect(lines).toMatchObject([
      { level: "error", ...about, interface: "eth0", defended: true },
      { level: "info", ...about },
      { level: "error", problem: "no room" },
    ]);
    await client.stop();
  });

  test("compiles filters for the thread", async () => {
    const { client, say, lines } = scripted();
    const filter = { interfaceName: "eth0", etherType: 0x0806, id: 7 };
    const budget = { instructions: 4096, programs: 1 };
    say({ kind: "compile", ...filter, addresses: [V4], budget });
    await eventually(() => lines.length === 1);
    const answer = JSON.parse(String(lines[0]?.["problem"])) as { readonly programs: unknown[][] };
    expect(answer).toMatchObject({ kind: "filter", ...filter, exact: true });
    expect(answer.programs[0]?.length).toBeGreaterThan(10);
    await client.stop();
  });

  test("fetches the exchanges, also twice at once", async () => {
    const { client } = scripted();
    const [one, two] = await Promise.all([client.exchanges(), client.exchanges()]);
    expect([one, two]).toEqual([Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 3)]);
    await client.stop();
    await eventually(async () => {
      await expect(client.exchanges()).rejects.toThrow("ended");
    });
  });

  test("does not take an end that was asked for for a death", async () => {
    const { client, told } = scripted();
    await client.stop();
    await client.stop();
    expect(told).toEqual([]);
  });

  test("tells once of a thread that died, and why, and leaves nobody waiting", async () => {
    const deaths: string[] = [];
    const client = new ResponderClient({
      logger: silentLogger,
      died: (why) => deaths.push(why),
      entry: entryOf("broken-thread.ts"),
    });
    const exchanges = client.exchanges();
    await expect(exchanges).rejects.toThrow("ended");
    await client.stop();
    expect(deaths).toEqual([expect.stringContaining("RangeError: a bug of the thread")]);
    expect(deaths[0]).toContain("broken-thread.ts");
  });

  test("ends the process when the thread dies, with a log line that says why", async () => {
    const script = join(import.meta.dirname, "broken-process.ts");
    const env = { ...process.env, NODE_OPTIONS: "" };
    const run = execute(process.execPath, [script], { env });
    const failure = (await run.catch((error: unknown) => error)) as {
      readonly code: number;
      readonly stdout: string;
    };
    expect(failure.code).toBe(1);
    const line = JSON.parse(failure.stdout.trim().split("\n").at(-1)!) as object;
    expect(line).toMatchObject({
      level: "error",
      msg: "the responder thread died: ending, to be started anew",
      why: expect.stringContaining("a bug of the thread") as unknown,
    });
  });
});
