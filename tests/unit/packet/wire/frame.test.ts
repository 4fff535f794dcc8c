import { describe, expect, test } from "@jest/globals";
import { readdirSync } from "node:fs";
import type { IPv6Address } from "../../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../../packet/address/mac.ts";
import {
  decodeFrame,
  encodeArpFrame,
  encodeNdpFrame,
  formatFrame,
  type NeighborFrame,
} from "../../../../packet/wire/frame.ts";
import { fromHex, golden, toHex } from "../../../support/hex.ts";

const names = readdirSync(new URL("../../../golden/", import.meta.url))
  .filter((file) => file.endsWith(".hex"))
  .map((file) => file.slice(0, -".hex".length));

/** Encodes a decoded frame again. */
function encode(frame: NeighborFrame): Uint8Array {
  return frame.kind === "arp" ? encodeArpFrame(frame) : encodeNdpFrame(frame);
}

test("there are captured frames", () => {
  expect(names.length).toBeGreaterThan(12);
});

test.each(names)("%s decodes, encodes back to the same octets and is named on one line", (name) => {
  const octets = golden(name);
  const decoded = decodeFrame(octets);
  if (!decoded.ok) throw new TypeError(decoded.reason);
  const padded = new Uint8Array(Math.max(60, octets.length));
  padded.set(octets);
  // The flow label, which user programs get from the kernel, has no meaning here.
  if (decoded.value.kind === "ndp") padded.fill(0, 15, 18);
  expect(toHex(encode(decoded.value))).toBe(toHex(padded));
  expect(formatFrame(decoded.value)).toMatch(/^02:\S+ > \S+ .*(ARP|Neighbor).*2(001:db8:)?/);
});

test.each(names)("every shorter prefix of %s is refused as truncated", (name) => {
  const octets = golden(name);
  for (let length = 0; length < octets.length; length++) {
    expect(decodeFrame(octets.subarray(0, length))).toEqual({ ok: false, reason: "truncated" });
  }
});

const solicitation = toHex(golden("ns-multicast-kernel"));

describe("decodeFrame refuses", () => {
  test.each([
    ["IPv4", `ffffffffffff020000000a010800${"00".repeat(46)}`, "unsupported"],
    ["a tagged frame", `ffffffffffff020000000a01810000640806${"00".repeat(46)}`, "vlanTag"],
    ["IPv6 with another next header", solicitation.replace("00203aff", "002011ff"), "unsupported"],
    ["a wrong checksum", solicitation.replace(/..$/, "77"), "checksum"],
  ])("%s", (_, hex, reason) => {
    expect(decodeFrame(fromHex(hex))).toEqual({ ok: false, reason });
  });

  test("an ICMPv6 message that is no Neighbor Discovery", () => {
    const frame = encodeNdpFrame({
      source: "02:00:00:00:0a:01" as MacAddress,
      sourceAddress: "::" as IPv6Address,
      destinationAddress: "ff02::1" as IPv6Address,
      message: {
        kind: "neighborSolicitation",
        targetAddress: "2001:db8::2" as IPv6Address,
        options: [],
      },
    });
    // A Router Solicitation has type 133, two less; the checksum two (in the high octet) more.
    frame[54] = (frame[54] ?? 0) - 2;
    frame[56] = (frame[56] ?? 0) + 2;
    expect(decodeFrame(frame)).toEqual({ ok: false, reason: "unsupported" });
  });
});

test("a unicast destination without its MAC address is the caller's mistake", () => {
  expect(() =>
    encodeNdpFrame({
      source: "02:00:00:00:0a:01" as MacAddress,
      sourceAddress: "fe80::1" as IPv6Address,
      destinationAddress: "fe80::2" as IPv6Address,
      message: {
        kind: "neighborSolicitation",
        targetAddress: "2001:db8::2" as IPv6Address,
        options: [],
      },
    }),
  ).toThrow(TypeError);
});
