import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  ADDRESS_BITS,
  address,
  addressFromBigInt,
  type Family,
} from "../../../../packet/address/address.ts";
import { formatPrefix, maskNumber, parsePrefix } from "../../../../packet/address/prefix.ts";
import {
  compareRanges,
  coverRange,
  formatRange,
  parseAddressRange,
  parsePoolEntry,
  rangeContains,
  rangeOfPrefix,
  rangeSize,
  rangesOverlap,
  specialUse,
  type AddressRange,
} from "../../../../packet/address/range.ts";

/** The range of an entry that is known to be right. */
function range(text: string): AddressRange {
  const parsed = parsePoolEntry(text);
  if (!parsed.ok) throw new TypeError(parsed.message);
  return parsed.value;
}

const anyRange = fc.constantFrom<Family>("ipv4", "ipv6").chain((family) =>
  fc
    .tuple(
      fc.bigInt(0n, (1n << BigInt(ADDRESS_BITS[family])) - 1n),
      fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 1n << BigInt(ADDRESS_BITS[family]))),
    )
    .map(([first, more]) => {
      const highest = (1n << BigInt(ADDRESS_BITS[family])) - 1n;
      return { family, first, last: first + more > highest ? highest : first + more };
    }),
);

describe("parsePoolEntry", () => {
  test.each([
    ["a bare address", "192.0.2.1", "192.0.2.1", "192.0.2.1"],
    ["a prefix", "10.0.0.0/24", "10.0.0.0", "10.0.0.255"],
    ["a prefix of one", "10.0.0.5/32", "10.0.0.5", "10.0.0.5"],
    ["everything", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"],
    ["a range", "10.0.0.1-10.0.0.5", "10.0.0.1", "10.0.0.5"],
    ["a range with spaces", "10.0.0.1 - 10.0.0.5", "10.0.0.1", "10.0.0.5"],
    ["a range of one", "10.0.0.1-10.0.0.1", "10.0.0.1", "10.0.0.1"],
    ["an IPv6 prefix", "2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"],
    ["an IPv6 range", "2001:DB8::1-2001:db8::4", "2001:db8::1", "2001:db8::4"],
  ])("reads %s", (_, text, first, last) => {
    const value = range(text);
    expect(addressFromBigInt(value.first, value.family)).toBe(first);
    expect(addressFromBigInt(value.last, value.family)).toBe(last);
  });

  test.each([
    ["nothing", "", "empty"],
    ["a leading space", " 10.0.0.0/24", "whitespace"],
    ["a trailing space", "10.0.0.0/24 ", "whitespace"],
    ["a range with a leading space", " 10.0.0.1-10.0.0.2", "whitespace"],
    ["a prefix length of 33", "10.0.0.0/33", "prefixLength"],
    ["a prefix length of 129", "2001:db8::/129", "prefixLength"],
    ["an empty prefix length", "10.0.0.0/", "prefixLength"],
    ["a signed prefix length", "10.0.0.0/+8", "prefixLength"],
    ["a prefix length with a leading zero", "10.0.0.0/08", "prefixLength"],
    ["two slashes", "10.0.0.0/8/8", "malformed"],
    ["host bits", "10.0.0.5/24", "hostBits"],
    ["IPv6 host bits", "2001:db8::1/64", "hostBits"],
    ["a leading zero", "010.0.0.1/32", "leadingZero"],
    ["a zone", "fe80::1%eth0/64", "zone"],
    ["an IPv4-mapped prefix", "::ffff:1.2.3.0/120", "ipv4Mapped"],
    ["a range end that is only a number", "10.0.0.1-5", "malformed"],
    ["three parts", "a-b-c", "malformed"],
    ["a range of prefixes", "10.0.0.0/24-10.0.1.0/24", "malformed"],
    ["a range without a start", "-10.0.0.1", "empty"],
    ["a range without an end", "10.0.0.1-", "empty"],
    ["a range that starts after its end", "10.0.0.10-10.0.0.1", "startAfterEnd"],
    ["an IPv6 range that starts after its end", "2001:db8::10-2001:db8::9", "startAfterEnd"],
    ["a range from IPv4 to IPv6", "1.2.3.4-fe80::1", "mixedFamilies"],
    ["a range from IPv6 to IPv4", "fe80::1-1.2.3.4", "mixedFamilies"],
  ])("refuses %s", (_, text, reason) => {
    expect(parsePoolEntry(text)).toMatchObject({ ok: false, reason });
  });

  test.each([
    ["10.0.0.5/24", "10.0.0.0/24"],
    ["10.0.0.5/24", "10.0.0.5"],
    ["10.0.0.9-10.0.0.1", "10.0.0.1-10.0.0.9"],
    ["10.0.0.1-10.0.0.300", "10.0.0.300"],
  ])("the message about %s says %s", (text, part) => {
    expect(parsePoolEntry(text)).toMatchObject({ message: expect.stringContaining(part) });
  });

  test("is total", () => {
    fc.assert(
      fc.property(fc.string(), fc.stringMatching(/^[0-9a-f:./ -]{0,60}$/), (any, close) => {
        expect([true, false]).toContain(parsePoolEntry(any).ok);
        expect([true, false]).toContain(parsePoolEntry(close).ok);
      }),
    );
  });
});

test("a range without a dash is refused", () => {
  expect(parseAddressRange("10.0.0.1")).toMatchObject({ reason: "malformed" });
});

test("a prefix and its text are inverse", () => {
  fc.assert(
    fc.property(anyRange, fc.nat(128), ({ family, first }, anyLength) => {
      const length = Math.min(anyLength, ADDRESS_BITS[family]);
      const prefix = { family, network: maskNumber(first, length, family), length };
      expect(parsePrefix(formatPrefix(prefix))).toEqual({ ok: true, value: prefix });
    }),
  );
});

describe("coverRange", () => {
  test.each([
    ["10.0.0.1-10.0.0.5", ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31"]],
    ["10.0.0.0-10.0.0.255", ["10.0.0.0/24"]],
    ["0.0.0.0-255.255.255.255", ["0.0.0.0/0"]],
    ["255.255.255.255", ["255.255.255.255/32"]],
    ["2001:db8::1-2001:db8::4", ["2001:db8::1/128", "2001:db8::2/127", "2001:db8::4/128"]],
  ])("of %s is minimal and ascending", (text, prefixes) => {
    expect(coverRange(range(text)).map(formatPrefix)).toEqual(prefixes);
  });

  test("holds exactly the range, in prefixes that cannot be joined", () => {
    fc.assert(
      fc.property(anyRange, (whole) => {
        const parts = coverRange(whole).map(rangeOfPrefix);
        let next = whole.first;
        for (const part of parts) {
          expect(part.first).toBe(next);
          next = part.last + 1n;
        }
        expect(next).toBe(whole.last + 1n);
        for (const [i, part] of parts.entries()) {
          const after = parts[i + 1];
          const size = rangeSize(part);
          const joins = after && rangeSize(after) === size && part.first % (size * 2n) === 0n;
          expect(joins ?? false).toBe(false);
        }
      }),
    );
  });
});

test("a range and its text are inverse", () => {
  fc.assert(
    fc.property(anyRange, (value) => {
      expect(parsePoolEntry(formatRange(value))).toEqual({ ok: true, value });
    }),
  );
});

test.each([
  ["10.0.0.1-10.0.0.5", "10.0.0.1", true],
  ["10.0.0.1-10.0.0.5", "10.0.0.5", true],
  ["10.0.0.1-10.0.0.5", "10.0.0.6", false],
  ["10.0.0.1-10.0.0.5", "::a00:1", false],
])("%s contains %s: %s", (text, value, expected) => {
  expect(rangeContains(range(text), address(value))).toBe(expected);
});

test.each([
  ["10.0.0.0/24", "10.0.0.255", true],
  ["10.0.0.0/24", "10.0.1.0/24", false],
  ["10.0.0.0/24", "10.0.0.0/8", true],
  ["0.0.0.0/0", "::/0", false],
])("%s and %s overlap: %s", (a, b, expected) => {
  expect(rangesOverlap(range(a), range(b))).toBe(expected);
  expect(rangesOverlap(range(b), range(a))).toBe(expected);
});

test("compareRanges orders by family, first and last address", () => {
  const texts = ["::1", "10.0.0.0/8", "9.0.0.0/8", "10.0.0.0", "10.0.0.0", "10.0.0.0/16"];
  const sorted = texts.map(range).sort(compareRanges).map(formatRange);
  expect(sorted).toEqual(["9.0.0.0/8", "10.0.0.0", "10.0.0.0", "10.0.0.0/16", "10.0.0.0/8", "::1"]);
});

test.each([
  ["10.0.0.0/8", undefined],
  ["2001:db8::/32", undefined],
  ["0.0.0.0/0", "unspecified"],
  ["127.0.0.1", "loopback"],
  ["169.254.1.1-169.254.1.9", "linkLocal"],
  ["223.255.255.255-224.0.0.1", "multicast"],
  ["255.255.255.255", "reserved"],
  ["::", "unspecified"],
  ["::1", "loopback"],
  ["fe80::/64", "linkLocal"],
  ["ff02::1", "multicast"],
])("special use of %s: %s", (text, use) => {
  expect(specialUse(range(text))?.use).toBe(use);
});
