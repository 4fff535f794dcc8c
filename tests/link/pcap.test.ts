import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";

import { createLan, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { Agent } from "./agent-client.ts";
import { arpRequest, arpSeen } from "./frames.ts";

jest.setTimeout(30_000);

const execute = promisify(execFile);

describeWith(
  "linux",
  "root",
  "netns",
  "native",
  "tshark",
)("capture files of a real link", () => {
  let lan: Lan;
  let folder: string;
  beforeAll(async () => {
    lan = await createLan({ hosts: 2 });
    folder = await mkdtemp(join(tmpdir(), "pcap-"));
  });
  afterAll(async () => {
    await lan[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** Lines of the given fields as tshark reads them. */
  async function read(pcap: Uint8Array, ...fields: readonly string[]): Promise<string[]> {
    const path = join(folder, "frames.pcap");
    await writeFile(path, pcap);
    const wanted = fields.flatMap((field) => ["-e", field]);
    const { stdout } = await execute("tshark", ["-r", path, "-T", "fields", ...wanted]);
    return stdout.trim().split("\n");
  }

  test("tshark reads every frame with its nanoseconds", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await two.tell("echo", { on: true });
    await one.send(arpRequest(7), arpRequest(8));
    await arpSeen(one, 2);
    const pcap = (await two.tell("pcap", {})) as Uint8Array;
    const lines = await read(pcap, "arp.dst.proto_ipv4", "frame.time_epoch", "_ws.malformed");
    const arp = lines.map((line) => line.split("\t")).filter(([target]) => target !== "");
    // Two in, two out; sent frames follow the batch that asked for them.
    expect(arp.map(([target]) => target).sort()).toEqual([
      "10.99.0.7",
      "10.99.0.7",
      "10.99.0.8",
      "10.99.0.8",
    ]);
    for (const [, time, malformed] of arp) {
      expect(time).toMatch(/^\d{10}\.\d{9}$/);
      expect(malformed ?? "").toBe("");
    }
    expect(arp.some(([, time]) => !time!.endsWith("000"))).toBe(true);
  });

  test("tshark reads the ring of exchanges: each question with its answer", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await one.send(arpRequest(5));
    await arpSeen(two, 1);
    await two.tell("echo", { on: true });
    await one.send(arpRequest(6));
    await arpSeen(one, 1);
    const ring = (await two.tell("exchanges", {})) as Uint8Array;
    const lines = await read(ring, "arp.dst.proto_ipv4");
    expect(lines.filter((line) => line !== "")).toEqual(["10.99.0.6", "10.99.0.6"]);
  });
});
