import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { address } from "../../../../packet/address/address.ts";
import { decodeEchoReply, encodeEchoRequest } from "../../../../packet/link/echo.ts";
import { internetChecksum } from "../../../../packet/wire/checksum.ts";
import { fromHex } from "../../../support/hex.ts";

const ECHO = { identifier: 0x1234, sequence: 7, nonce: fromHex("a1a2a3a4") };
const IPV4_HEADER = "4500 0020 0000 0000 40 01 0000 0a000002 0a000001";
const IPV4_HEADER_WITH_OPTION = "4600 0024 0000 0000 40 01 0000 0a000002 0a000001 01010100";

describe("echo requests", () => {
  test("of ICMP carry a right checksum", () => {
    const octets = encodeEchoRequest(address("192.0.2.1"), ECHO);
    expect(octets).toEqual(fromHex("0800 a07d 1234 0007 a1a2a3a4"));
    expect(internetChecksum(octets)).toBe(0);
  });
  test("of ICMPv6 leave the checksum to the kernel", () => {
    const octets = encodeEchoRequest(address("2001:db8::1"), ECHO);
    expect(octets).toEqual(fromHex("8000 0000 1234 0007 a1a2a3a4"));
  });
});

describe("echo replies", () => {
  for (const { name, family, hex } of [
    { name: "ICMP behind its IPv4 header", family: "ipv4", hex: `${IPV4_HEADER} 0000 0000` },
    { name: "ICMP behind options", family: "ipv4", hex: `${IPV4_HEADER_WITH_OPTION} 0000 0000` },
    { name: "ICMPv6", family: "ipv6", hex: "8100 0000" },
  ] as const) {
    test(`${name} is read`, () => {
      expect(decodeEchoReply(family, fromHex(`${hex} 1234 0007 a1a2a3a4`))).toEqual(ECHO);
    });
  }

  for (const { name, family, hex } of [
    { name: "nothing", family: "ipv4", hex: "" },
    { name: "a request", family: "ipv4", hex: `${IPV4_HEADER} 0800 0000 1234 0007` },
    { name: "another code", family: "ipv4", hex: `${IPV4_HEADER} 0001 0000 1234 0007` },
    { name: "a header of four octets", family: "ipv4", hex: "41000000 0000 0000 1234 0007" },
    { name: "a header longer than the packet", family: "ipv4", hex: "4f000000" },
    { name: "a cut off message", family: "ipv6", hex: "8100 0000 1234 00" },
    { name: "a reply of the other family", family: "ipv6", hex: "0000 0000 1234 0007" },
  ] as const) {
    test(`${name} is none`, () => {
      expect(decodeEchoReply(family, fromHex(hex))).toBeNull();
    });
  }

  test("are looked for in any octets without throwing", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("ipv4", "ipv6"),
        fc.uint8Array({ maxLength: 80 }),
        (family, octets) => {
          decodeEchoReply(family, octets);
        },
      ),
    );
  });
});
