import { expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  addOctets,
  finishChecksum,
  icmpv6Checksum,
  internetChecksum,
} from "../../../../packet/wire/checksum.ts";
import { fromHex, golden } from "../../../support/hex.ts";

test("computes the example of RFC 1071 §3", () => {
  // The one's complement sum of these octets is ddf2; the checksum is its complement.
  expect(internetChecksum(fromHex("0001f203f4f5f6f7"))).toBe(0xffff - 0xddf2);
});

test.each([
  "ns-dad-kernel",
  "ns-multicast-ndisc6",
  "na-solicited-kernel",
  "na-without-option-kernel",
])("finds the checksum of %s right, and any flipped bit wrong", (name) => {
  const octets = golden(name);
  expect(icmpv6Checksum(octets, 22, 54, octets.length)).toBe(0);
  for (let i = 22; i < octets.length; i++) {
    const flipped = Uint8Array.from(octets);
    flipped[i] = (octets[i] ?? 0) ^ 0x10;
    expect(icmpv6Checksum(flipped, 22, 54, octets.length)).not.toBe(0);
  }
});

test("an odd last octet is the high half of its word", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 99 }), (octets) => {
      const even = new Uint8Array(octets.length + (octets.length % 2));
      even.set(octets);
      expect(internetChecksum(octets)).toBe(internetChecksum(even));
    }),
  );
});

test("octets with their own checksum sum to zero", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 2000 }), (octets) => {
      const even = octets.subarray(0, octets.length - (octets.length % 2));
      const checksum = internetChecksum(even);
      const sum = addOctets(
        0,
        Uint8Array.of(...even, checksum >> 8, checksum & 255),
        0,
        even.length + 2,
      );
      expect(finishChecksum(sum)).toBe(0);
    }),
  );
});
