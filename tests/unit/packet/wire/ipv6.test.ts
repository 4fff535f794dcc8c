import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { IPv6Address } from "../../../../packet/address/ipv6.ts";
import {
  decodeIPv6Packet,
  encodeIPv6Packet,
  formatIPv6Packet,
  type IPv6Packet,
} from "../../../../packet/wire/ipv6.ts";
import { describeCodec } from "../../../support/codec.ts";
import { golden, toHex } from "../../../support/hex.ts";

const solicitation = golden("ns-multicast-kernel").subarray(14);
const value: IPv6Packet = {
  trafficClass: 0,
  flowLabel: 0,
  nextHeader: 58,
  hopLimit: 255,
  source: "2001:db8::1" as IPv6Address,
  destination: "ff02::1:ff00:2" as IPv6Address,
  payload: solicitation.slice(40),
};

describeCodec("IPv6", {
  decode: decodeIPv6Packet,
  encode: encodeIPv6Packet,
  golden: [
    { name: "the kernel's solicitation", hex: toHex(solicitation), value },
    {
      name: "traffic class and flow label",
      hex: toHex(solicitation).replace(/^60000000/, "6fbabcde"),
      value: { ...value, trafficClass: 0xfb, flowLabel: 0xabcde },
    },
    {
      name: "an empty payload",
      hex: toHex(solicitation.subarray(0, 40)).replace(/^600000000020/, "600000000000"),
      value: { ...value, payload: new Uint8Array(0) },
    },
  ],
  bad: [
    {
      name: "version 4",
      hex: toHex(solicitation).replace(/^6/, "4"),
      reason: "unsupported",
    },
    {
      name: "a payload length beyond the end",
      hex: toHex(solicitation).replace(/^600000000020/, "600000000021"),
      reason: "truncated",
    },
  ],
});

test("padding of the link after the payload is ignored", () => {
  const padded = new Uint8Array(solicitation.length + 7).fill(0xa5);
  padded.set(solicitation);
  expect(decodeIPv6Packet(padded)).toEqual({ ok: true, value });
});

test("encoding and decoding are inverse", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 40, maxLength: 120 }), (any) => {
      const octets = Uint8Array.from(any);
      octets[0] = 0x60 | ((any[0] ?? 0) & 15);
      octets[4] = 0;
      octets[5] = octets.length - 40;
      const decoded = decodeIPv6Packet(octets);
      expect(decoded.ok && encodeIPv6Packet(decoded.value)).toEqual(octets);
    }),
  );
});

test("a payload too long for the header is the caller's mistake", () => {
  expect(() => encodeIPv6Packet({ ...value, payload: new Uint8Array(65536) })).toThrow(RangeError);
});

test("formats the header", () => {
  expect(formatIPv6Packet(value)).toBe(
    "2001:db8::1 > ff02::1:ff00:2 next header 58, hop limit 255, 32 octets",
  );
});
