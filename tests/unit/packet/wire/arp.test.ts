import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { IPv4Address } from "../../../../packet/address/ipv4.ts";
import type { MacAddress } from "../../../../packet/address/mac.ts";
import { decodeArp, encodeArp, formatArp, type ArpPacket } from "../../../../packet/wire/arp.ts";
import { describeCodec } from "../../../support/codec.ts";
import { golden, toHex } from "../../../support/hex.ts";

const mac = (text: string): MacAddress => text as MacAddress;
const ip = (text: string): IPv4Address => text as IPv4Address;
const arpOf = (name: string): string => toHex(golden(name).subarray(14, 42));

const request: ArpPacket = {
  operation: 1,
  senderHardwareAddress: mac("02:00:00:00:0a:01"),
  senderProtocolAddress: ip("192.0.2.1"),
  targetHardwareAddress: mac("ff:ff:ff:ff:ff:ff"),
  targetProtocolAddress: ip("192.0.2.2"),
};
const reply: ArpPacket = {
  operation: 2,
  senderHardwareAddress: mac("02:00:00:00:0b:02"),
  senderProtocolAddress: ip("192.0.2.2"),
  targetHardwareAddress: mac("02:00:00:00:0a:01"),
  targetProtocolAddress: ip("192.0.2.1"),
};

const goldenRequest = "0001080006040001020000000a01c0000201ffffffffffffc0000202";

describeCodec("ARP", {
  decode: decodeArp,
  encode: encodeArp,
  golden: [
    { name: "arping's request", hex: arpOf("arp-request-arping"), value: request },
    { name: "the kernel's reply", hex: arpOf("arp-reply-kernel"), value: reply },
    {
      name: "arping's probe",
      hex: arpOf("arp-probe-arping"),
      value: { ...request, senderProtocolAddress: ip("0.0.0.0") },
    },
    {
      name: "arping's announcement as a reply",
      hex: arpOf("arp-announcement-reply-arping"),
      value: {
        ...request,
        operation: 2,
        targetHardwareAddress: mac("02:00:00:00:0a:01"),
        targetProtocolAddress: ip("192.0.2.1"),
      },
    },
    {
      name: "an operation that we do not know",
      hex: goldenRequest.replace("06040001", "0604ffff"),
      value: { ...request, operation: 0xffff },
    },
  ],
  bad: [
    { name: "no octets", hex: "", reason: "truncated" },
    {
      name: "IEEE 802 hardware",
      hex: goldenRequest.replace(/^0001/, "0006"),
      reason: "unsupported",
    },
    {
      name: "another protocol",
      hex: goldenRequest.replace(/^00010800/, "000186dd"),
      reason: "unsupported",
    },
    {
      name: "hardware addresses of eight octets",
      hex: goldenRequest.replace("0604", "0804"),
      reason: "unsupported",
    },
    {
      name: "protocol addresses of sixteen octets",
      hex: goldenRequest.replace("0604", "0610"),
      reason: "unsupported",
    },
  ],
});

test("padding after the packet is ignored", () => {
  const padded = new Uint8Array(46).fill(0xa5);
  padded.set(encodeArp(reply));
  expect(decodeArp(padded)).toEqual({ ok: true, value: reply });
});

test("what decodes encodes back to the same octets", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 22, maxLength: 22 }), (rest) => {
      const octets = Uint8Array.of(0, 1, 8, 0, 6, 4, ...rest);
      const decoded = decodeArp(octets);
      expect(decoded.ok && encodeArp(decoded.value)).toEqual(octets);
    }),
  );
});

test.each([
  [request, "ARP request who has 192.0.2.2, tell 192.0.2.1 at 02:00:00:00:0a:01"],
  [reply, "ARP reply 192.0.2.2 is at 02:00:00:00:0b:02, to 192.0.2.1"],
  [
    { ...request, operation: 9 },
    "ARP operation 9 who has 192.0.2.2, tell 192.0.2.1 at 02:00:00:00:0a:01",
  ],
])("formats %#", (packet, text) => {
  expect(formatArp(packet)).toBe(text);
});
