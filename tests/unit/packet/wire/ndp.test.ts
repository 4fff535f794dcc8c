import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { IPv6Address } from "../../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../../packet/address/mac.ts";
import type { Decoded } from "../../../../packet/wire/decode.ts";
import {
  decodeIcmpv6,
  encodeIcmpv6,
  formatIcmpv6,
  type Icmpv6Message,
} from "../../../../packet/wire/icmpv6.ts";
import { decodeNdp, encodeNdp, formatNdp, type NdpMessage } from "../../../../packet/wire/ndp.ts";
import {
  decodeNdpOptions,
  encodeNdpOptions,
  formatNdpOption,
  type NdpOption,
} from "../../../../packet/wire/ndp-option.ts";
import { describeCodec } from "../../../support/codec.ts";
import { fromHex, golden, toHex } from "../../../support/hex.ts";

const target = "2001:db8::2" as IPv6Address;
const nodeA = "02:00:00:00:0a:01" as MacAddress;
const nodeB = "02:00:00:00:0b:02" as MacAddress;

describeCodec<readonly NdpOption[]>("options of Neighbor Discovery", {
  decode: decodeNdpOptions,
  encode: encodeNdpOptions,
  endsWithOctets: true,
  golden: [
    {
      name: "a source link-layer address",
      hex: "0101 020000000a01",
      value: [{ kind: "sourceLinkLayerAddress", address: nodeA }],
    },
    {
      name: "a target link-layer address",
      hex: "0201 020000000b02",
      value: [{ kind: "targetLinkLayerAddress", address: nodeB }],
    },
    {
      name: "a nonce (RFC 3971 §5.3.2)",
      hex: "0e01 483c2b19020b",
      value: [{ kind: "nonce", nonce: fromHex("483c2b19020b") }],
    },
    {
      name: "an unknown option of two units, then a known one",
      hex: "2502 0102030405060708090a0b0c0d0e 0101 020000000a01",
      value: [
        { kind: "other", type: 0x25, value: fromHex("0102030405060708090a0b0c0d0e") },
        { kind: "sourceLinkLayerAddress", address: nodeA },
      ],
    },
    {
      name: "an unknown option of 256 octets",
      hex: `2520${"5a".repeat(254)}`,
      value: [{ kind: "other", type: 0x25, value: new Uint8Array(254).fill(0x5a) }],
    },
    {
      name: "the longest option there is",
      hex: `25ff${"5a".repeat(2038)}`,
      value: [{ kind: "other", type: 0x25, value: new Uint8Array(2038).fill(0x5a) }],
    },
  ],
  bad: [
    { name: "an option of length 0 (RFC 4861 §4.6)", hex: "0100020000000a01", reason: "malformed" },
    { name: "an unknown option of length 0", hex: "2500", reason: "malformed" },
    { name: "a lone type", hex: "01", reason: "truncated" },
    { name: "an option that reaches beyond the end", hex: "0102020000000a01", reason: "truncated" },
    {
      name: "a link-layer address that is no Ethernet one",
      hex: `0102${"02".repeat(14)}`,
      reason: "malformed",
    },
  ],
});

describe("encodeNdpOptions", () => {
  test.each([5, 7, 2046])("throws on a value of %i octets", (length) => {
    const option: NdpOption = { kind: "other", type: 37, value: new Uint8Array(length) };
    expect(() => encodeNdpOptions([option])).toThrow(RangeError);
  });
});

const bodyOf = (name: string): Uint8Array => golden(name).slice(58);
const neighborDiscovery = {
  /** The type is the first octet here, so that one string of hexadecimal says it all. */
  decode: (octets: Uint8Array): Decoded<NdpMessage> =>
    decodeNdp({ type: octets[0] ?? 0, code: 0, body: octets.subarray(1) }),
  encode: (message: NdpMessage): Uint8Array => {
    const { type, body } = encodeNdp(message);
    return Uint8Array.of(type, ...body);
  },
};
const bodyHex = (name: string): string =>
  toHex(golden(name).subarray(54, 55)) + toHex(bodyOf(name));

describeCodec<NdpMessage>("Neighbor Discovery", {
  ...neighborDiscovery,
  endsWithOctets: true,
  golden: [
    {
      name: "the kernel's solicitation",
      hex: bodyHex("ns-multicast-kernel"),
      value: {
        kind: "neighborSolicitation",
        targetAddress: target,
        options: [{ kind: "sourceLinkLayerAddress", address: nodeA }],
      },
    },
    {
      name: "the kernel's duplicate address detection",
      hex: bodyHex("ns-dad-kernel"),
      value: {
        kind: "neighborSolicitation",
        targetAddress: target,
        options: [{ kind: "nonce", nonce: fromHex("483c2b19020b") }],
      },
    },
    {
      name: "the kernel's solicited advertisement",
      hex: bodyHex("na-solicited-kernel"),
      value: {
        kind: "neighborAdvertisement",
        router: false,
        solicited: true,
        override: true,
        targetAddress: target,
        options: [{ kind: "targetLinkLayerAddress", address: nodeB }],
      },
    },
    {
      name: "the kernel's advertisement without an option",
      hex: bodyHex("na-without-option-kernel"),
      value: {
        kind: "neighborAdvertisement",
        router: false,
        solicited: true,
        override: false,
        targetAddress: "2001:db8::1" as IPv6Address,
        options: [],
      },
    },
    {
      name: "a router's advertisement",
      hex: bodyHex("na-solicited-kernel").replace(/^8860/, "8880"),
      value: {
        kind: "neighborAdvertisement",
        router: true,
        solicited: false,
        override: false,
        targetAddress: target,
        options: [{ kind: "targetLinkLayerAddress", address: nodeB }],
      },
    },
  ],
  bad: [
    { name: "no body", hex: "87", reason: "truncated" },
    { name: "a body of 19 octets", hex: `87${"00".repeat(19)}`, reason: "truncated" },
    {
      name: "a Router Advertisement",
      hex: bodyHex("ns-multicast-kernel").replace(/^87/, "86"),
      reason: "unsupported",
    },
    {
      name: "an option of length 0",
      hex: `87${"00".repeat(20)}0100`,
      reason: "malformed",
    },
  ],
});

test("reserved bits are ignored when received and zero when sent", () => {
  const octets = fromHex(bodyHex("na-solicited-kernel"));
  octets.set([0x7f, 0xff, 0xff, 0xff], 1);
  const decoded = neighborDiscovery.decode(octets);
  expect(decoded).toMatchObject({ ok: true, value: { solicited: true, override: true } });
  expect(decoded.ok && toHex(neighborDiscovery.encode(decoded.value))).toBe(
    bodyHex("na-solicited-kernel"),
  );
});

describe("ICMPv6", () => {
  const octets = golden("na-solicited-kernel").subarray(54);
  const addresses = { source: target, destination: "2001:db8::1" as IPv6Address };
  const value: Icmpv6Message = { type: 136, code: 0, body: octets.slice(4) };

  test("decodes and encodes the kernel's message", () => {
    expect(decodeIcmpv6(octets, addresses)).toEqual({ ok: true, value });
    expect(encodeIcmpv6(value, addresses)).toEqual(octets.slice());
  });
  test.each([
    ["three octets", octets.subarray(0, 3), "truncated"],
    ["every octet but the last", octets.subarray(0, -1), "checksum"],
    ["a message between other addresses", octets, "checksum"],
  ] as const)("refuses %s", (_, message, reason) => {
    const between =
      message === octets ? { ...addresses, source: addresses.destination } : addresses;
    expect(decodeIcmpv6(message, between)).toEqual({ ok: false, reason });
  });
  test("encode then decode is identity", () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        fc.nat(255),
        fc.uint8Array({ maxLength: 60 }),
        (type, code, body) => {
          const message = encodeIcmpv6({ type, code, body }, addresses);
          expect(decodeIcmpv6(message, addresses)).toEqual({
            ok: true,
            value: { type, code, body },
          });
        },
      ),
    );
  });
  test("formats the header", () => {
    expect(formatIcmpv6(value)).toBe("ICMPv6 type 136, code 0, 28 octets");
  });
});

test("decoding options is total, and what decodes encodes back to the same octets", () => {
  const near = fc
    .array(fc.tuple(fc.constantFrom(1, 2, 14, 37), fc.constantFrom(0, 1, 1, 1, 2, 255), fc.nat(9)))
    .map((options) => Uint8Array.from(options.flatMap(([a, b, n]) => [a, b, n, n, n, n, n, n])));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), near), (octets) => {
      const decoded = decodeNdpOptions(octets);
      if (decoded.ok) expect(encodeNdpOptions(decoded.value)).toEqual(octets);
    }),
  );
});

test.each([
  [{ kind: "sourceLinkLayerAddress", address: nodeA }, "source 02:00:00:00:0a:01"],
  [{ kind: "targetLinkLayerAddress", address: nodeB }, "target 02:00:00:00:0b:02"],
  [{ kind: "nonce", nonce: new Uint8Array(6) }, "nonce of 6 octets"],
  [{ kind: "other", type: 37, value: new Uint8Array(14) }, "option 37 of 14 octets"],
] satisfies [NdpOption, string][])("formats option %#", (option, text) => {
  expect(formatNdpOption(option)).toBe(text);
});

test("formats messages", () => {
  const decode = (name: string): string => {
    const decoded = decodeNdp({ type: golden(name)[54] ?? 0, code: 0, body: bodyOf(name) });
    return decoded.ok ? formatNdp(decoded.value) : decoded.reason;
  };
  expect(decode("ns-multicast-kernel")).toBe(
    "Neighbor Solicitation who has 2001:db8::2, source 02:00:00:00:0a:01",
  );
  expect(decode("na-solicited-kernel")).toBe(
    "Neighbor Advertisement of 2001:db8::2 (solicited, override), target 02:00:00:00:0b:02",
  );
  const quiet = { kind: "neighborAdvertisement", router: false, solicited: false, override: false };
  const message = { ...quiet, targetAddress: target, options: [] } as NdpMessage;
  expect(formatNdp(message)).toBe("Neighbor Advertisement of 2001:db8::2");
});
