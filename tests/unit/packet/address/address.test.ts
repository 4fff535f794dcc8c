import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  address,
  addressFromBigInt,
  addressToBigInt,
  compareAddresses,
  decodeAddress,
  encodeAddress,
  familyOf,
  isIPv4,
  isIPv6,
  parseAddress,
} from "../../../../packet/address/address.ts";
import { decodeIPv4, ipv4FromNumber, ipv4ToNumber } from "../../../../packet/address/ipv4.ts";
import {
  decodeIPv6,
  ipv6FromBigInt,
  isIPv6Multicast,
  isLinkLocal,
  parseIPv6,
  type IPv6Address,
} from "../../../../packet/address/ipv6.ts";
import { multicastMac, solicitedNodeAddress } from "../../../../packet/address/multicast.ts";

const octets4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
/** Octets with many zero groups, so that every shape of "::" comes up. */
const octets6 = fc
  .array(fc.oneof(fc.constant(0), fc.constant(1), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255])));

describe("parseAddress", () => {
  test.each([
    ["an IPv4 address", "192.0.2.1", "192.0.2.1"],
    ["the lowest IPv4 address", "0.0.0.0", "0.0.0.0"],
    ["the highest IPv4 address", "255.255.255.255", "255.255.255.255"],
    ["upper case (RFC 5952 §4.3)", "2001:DB8::ABCD", "2001:db8::abcd"],
    ["leading zeros in a group (RFC 5952 §4.1)", "2001:0db8::0001", "2001:db8::1"],
    ["as short as it goes (RFC 5952 §4.2.1)", "2001:db8:0:0:0:0:2:1", "2001:db8::2:1"],
    ["one zero group, not compressed (§4.2.2)", "2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["the longest run compressed (§4.2.3)", "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["the first of two equal runs (§4.2.3)", "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["no groups at all", "::", "::"],
    ["zeros at the end", "fe80::", "fe80::"],
    ["eight groups", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["an IPv4 tail", "64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ])("reads %s", (_, text, canonical) => {
    expect(parseAddress(text)).toEqual({ ok: true, value: canonical });
  });

  test.each([
    ["nothing", "", "empty"],
    ["a leading space", " 192.0.2.1", "whitespace"],
    ["a trailing newline", "192.0.2.1\n", "whitespace"],
    ["an octal look", "010.0.0.1", "leadingZero"],
    ["a double zero", "10.0.0.00", "leadingZero"],
    ["three numbers", "10.0.1", "malformed"],
    ["five numbers", "10.0.0.1.2", "malformed"],
    ["256", "10.0.0.256", "malformed"],
    ["a sign", "10.0.0.+1", "malformed"],
    ["a name", "example", "malformed"],
    ["a plain number", "167772161", "malformed"],
    ["a zone", "fe80::1%eth0", "zone"],
    ["two double colons", "1::2::3", "malformed"],
    ["three colons", "1:::2", "malformed"],
    ["seven groups", "1:2:3:4:5:6:7", "malformed"],
    ["nine groups", "1:2:3:4:5:6:7:8:9", "malformed"],
    ["a double colon for no group", "1:2:3:4::5:6:7:8", "malformed"],
    ["five digits", "12345::", "malformed"],
    ["a lone colon", ":", "malformed"],
    ["a leading colon", ":1:2:3:4:5:6:7", "malformed"],
    ["a trailing colon", "1:2:3:4:5:6:7:", "malformed"],
    ["an IPv4 part that is not last", "1.2.3.4::", "malformed"],
    ["a bad IPv4 tail", "::1.2.3.400", "malformed"],
    ["brackets", "[::1]", "malformed"],
    ["IPv4 in disguise", "::ffff:192.0.2.1", "ipv4Mapped"],
    ["IPv4 in a hexadecimal disguise", "::ffff:c000:201", "ipv4Mapped"],
  ])("refuses %s", (_, text, reason) => {
    expect(parseAddress(text)).toMatchObject({ ok: false, reason });
  });

  test("says what to write instead of an IPv4-mapped address", () => {
    const refused = parseAddress("::ffff:c000:201");
    expect(refused).toMatchObject({ message: expect.stringContaining("write 192.0.2.1") });
  });

  test("cuts hostile texts short in its message", () => {
    const refused = parseAddress("9".repeat(100_000));
    expect(refused.ok ? Infinity : refused.message.length).toBeLessThan(300);
  });

  test("is total", () => {
    fc.assert(fc.property(fc.string(), (text) => typeof parseAddress(text).ok === "boolean"));
  });
});

describe("text, octets and numbers", () => {
  test("of IPv4 go round", () => {
    fc.assert(
      fc.property(octets4, (octets) => {
        const value = decodeAddress(octets);
        expect(encodeAddress(value)).toEqual(octets);
        expect(parseAddress(value)).toEqual({ ok: true, value });
        expect(addressFromBigInt(addressToBigInt(value), "ipv4")).toBe(value);
        expect(isIPv4(value) && ipv4FromNumber(ipv4ToNumber(value))).toBe(value);
      }),
    );
  });

  test("of IPv6 go round, and the text is the one that URLs use", () => {
    fc.assert(
      fc.property(octets6, (octets) => {
        const value = decodeAddress(octets);
        expect(encodeAddress(value)).toEqual(octets);
        expect(addressFromBigInt(addressToBigInt(value), "ipv6")).toBe(value);
        if (!value.startsWith("::ffff:")) {
          expect(parseAddress(value)).toEqual({ ok: true, value });
          expect(new URL(`http://[${value}]/`).hostname).toBe(`[${value}]`);
        }
      }),
    );
  });

  test("an IPv4-mapped address keeps its dotted form on the wire side", () => {
    const value = ipv6FromBigInt(0xffff_c000_0201n);
    expect(value).toBe("::ffff:192.0.2.1");
    expect(parseIPv6(value)).toEqual({ ok: true, value });
  });

  test.each([
    ["five octets", () => decodeAddress(new Uint8Array(5))],
    ["three octets for IPv4", () => decodeIPv4(new Uint8Array(7), 4)],
    ["fifteen octets for IPv6", () => decodeIPv6(new Uint8Array(16), 1)],
    ["2^32 for IPv4", () => addressFromBigInt(1n << 32n, "ipv4")],
    ["2^128 for IPv6", () => addressFromBigInt(1n << 128n, "ipv6")],
    ["-1", () => addressFromBigInt(-1n, "ipv6")],
  ])("%s: the caller's mistake", (_, call) => {
    expect(call).toThrow(RangeError);
  });

  test("address() throws on what is no address", () => {
    expect(address("2001:DB8::1")).toBe("2001:db8::1");
    expect(() => address("nonsense")).toThrow(TypeError);
  });
});

test("compareAddresses orders by family, then by number, not by text", () => {
  const texts = ["10.0.0.10", "::2", "10.0.0.9", "::1", "9.255.255.255", "::10", "10.0.0.9"];
  const sorted = texts.map((text) => address(text)).sort(compareAddresses);
  expect(sorted).toEqual([
    "9.255.255.255",
    "10.0.0.9",
    "10.0.0.9",
    "10.0.0.10",
    "::1",
    "::2",
    "::10",
  ]);
  expect(sorted.map(familyOf).filter((family) => family === "ipv6")).toHaveLength(3);
});

test.each([
  ["fe80::1", "link-local", isLinkLocal, true],
  ["febf:ffff::1", "link-local", isLinkLocal, true],
  ["fec0::1", "link-local", isLinkLocal, false],
  ["2001:db8::1", "link-local", isLinkLocal, false],
  ["ff02::1", "multicast", isIPv6Multicast, true],
  ["ff::1", "multicast", isIPv6Multicast, false],
  ["fe80::1", "multicast", isIPv6Multicast, false],
] as const)("%s as %s", (text, _, is, expected) => {
  const value = address(text);
  expect(isIPv6(value) && is(value)).toBe(expected);
});

test.each([
  // The example of RFC 4291 §2.7.1.
  ["4037::1:800:200e:8c6c", "ff02::1:ff0e:8c6c", "33:33:ff:0e:8c:6c"],
  ["2001:db8::", "ff02::1:ff00:0", "33:33:ff:00:00:00"],
])("%s is solicited through %s at %s", (target, group, mac) => {
  expect(solicitedNodeAddress(target as IPv6Address)).toBe(group);
  expect(multicastMac(group as IPv6Address)).toBe(mac);
});
