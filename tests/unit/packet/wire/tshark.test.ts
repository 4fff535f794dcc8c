import { expect, test } from "@jest/globals";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AddressMap } from "../../../../packet/address/address-map.ts";
import { address } from "../../../../packet/address/address.ts";
import type { IPv6Address } from "../../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../../packet/address/mac.ts";
import { announcementFrames } from "../../../../packet/wire/announcement.ts";
import {
  MAX_REPLY_LENGTH,
  prepareInterface,
  respond,
  type AnnouncedAddress,
} from "../../../../speaker/responder.ts";
import { golden } from "../../../support/hex.ts";

const on = {
  name: "eth0",
  mac: "02:00:00:00:00:01" as MacAddress,
  linkLocal: "fe80::ff:fe00:1" as IPv6Address,
};
const targets = ["192.0.2.2", "2001:db8::2"].map((text) => address(text));
const table = new AddressMap<AnnouncedAddress>();
for (const target of targets) table.set(target, { address: target, state: "announced" });

/** Our reply to a captured frame. */
function replyTo(name: string): Uint8Array {
  const reply = new Uint8Array(MAX_REPLY_LENGTH);
  const verdict = respond(golden(name), prepareInterface(on), table, new Set(), reply);
  if (verdict.outcome !== "reply") throw new TypeError(`${name}: ${verdict.outcome}`);
  return reply.subarray(0, verdict.length);
}

/** Each kind of frame that we ever send. */
const frames = [
  ...targets.flatMap((target) =>
    (["probe", "announcement", "refresh", "defence"] as const).flatMap((what) =>
      announcementFrames(what, target, on),
    ),
  ),
  ...["arp-request-arping", "arp-probe-arping"].map(replyTo),
  ...["ns-multicast-kernel", "ns-multicast-ndisc6", "ns-dad-duplicate-kernel"].map(replyTo),
];

/** A pcap file of Ethernet frames, one second apart. */
function pcap(octets: readonly Uint8Array[]): Uint8Array {
  const words = (...values: number[]): Uint8Array =>
    new Uint8Array(Uint32Array.from(values).buffer);
  const header = words(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1);
  const records = octets.flatMap((each, i) => [words(i, 0, each.length, each.length), each]);
  return Buffer.concat([header, ...records]);
}

/** Runs tshark over the frames; `-Y` keeps those that a filter matches. */
function tshark(...options: string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), "tshark-"));
  try {
    const file = join(folder, "sent.pcap");
    writeFileSync(file, pcap(frames));
    const output = execFileSync("tshark", ["-n", "-r", file, ...options], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return output.split("\n").filter((line) => line !== "");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const installed = spawnSync("tshark", ["--version"]).status === 0;
const testWithTshark = installed ? test : test.skip;
const name = "tshark decodes every frame that we send, and finds nothing to warn of";

testWithTshark(installed ? name : `${name} (skipped: tshark is not installed)`, () => {
  const kinds = tshark("-T", "fields", "-e", "frame.protocols", "-e", "icmpv6.checksum.status");
  expect(kinds).toHaveLength(frames.length);
  for (const kind of kinds) expect(kind.trim()).toMatch(/^eth:ethertype:(arp|ipv6:icmpv6\t1)$/);
  // Severities: 4194304 is a note, 6291456 a warning, 8388608 an error.
  expect(tshark("-Y", "_ws.malformed or _ws.expert.severity >= 6291456")).toEqual([]);
});
