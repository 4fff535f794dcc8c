import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { AddressMap } from "../../../../packet/address/address-map.ts";
import { address, encodeAddress, type Address } from "../../../../packet/address/address.ts";
import { ipv4ToNumber, type IPv4Address } from "../../../../packet/address/ipv4.ts";
import { ipv6FromBigInt } from "../../../../packet/address/ipv6.ts";

/** Few addresses, so that a run meets each of them often. */
const addresses = ["0.0.0.1", "128.0.0.1", "255.255.255.255", "::1", "2001:db8::1", "2001:db8::2"]
  .map((text) => address(text))
  .concat(colliding(6));

/** IPv6 addresses that the map files under one hash: its last step is `third * 0x1b873593 ^ last`. */
function colliding(count: number): Address[] {
  return Array.from({ length: count }, (_, third) => {
    const last = (Math.imul(third, 0x1b873593) ^ 5) >>> 0;
    return ipv6FromBigInt((BigInt(third) << 32n) | BigInt(last));
  });
}

test("behaves as a Map keyed by text, whatever is done to it", () => {
  const operation = fc.tuple(
    fc.constantFrom<"set" | "delete" | "get">("set", "delete", "get"),
    fc.constantFrom(...addresses),
    fc.nat(9),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const map = new AddressMap<number>();
      const model = new Map<Address, number>();
      for (const [kind, key, value] of operations) {
        if (kind === "set") {
          map.set(key, value);
          model.set(key, value);
        } else if (kind === "delete") expect(map.delete(key)).toBe(model.delete(key));
        expect(map.get(key)).toBe(model.get(key));
        expect(map.has(key)).toBe(model.has(key));
        expect(map.size).toBe(model.size);
      }
      expect(new Map(map.entries())).toEqual(model);
      map.clear();
      expect([map.size, ...map.entries()]).toEqual([0]);
    }),
  );
});

test.each([
  ["first to last", [0, 1, 2, 3, 4, 5]],
  ["last to first", [5, 4, 3, 2, 1, 0]],
  ["from the middle", [3, 2, 4, 1, 5, 0]],
])("addresses of one hash are forgotten one by one, %s", (_, order) => {
  const keys = colliding(6);
  const map = new AddressMap<Address>();
  for (const key of keys) map.set(key, key);
  for (const [done, index] of order.entries()) {
    expect(map.delete(keys[index]!)).toBe(true);
    expect(map.delete(keys[index]!)).toBe(false);
    const left = order.slice(done + 1).map((each) => keys[each]!);
    expect(keys.filter((key) => map.has(key)).sort()).toEqual(left.sort());
    expect(map.size).toBe(left.length);
  }
});

describe("finds by what stands in a frame", () => {
  const map = new AddressMap<string>();
  const many = Array.from({ length: 5000 }, (_, i) =>
    ipv6FromBigInt(0x20010db8n * (1n << 96n) + BigInt(i * 65_521) * (i % 2 === 0 ? 1n : 1n << 40n)),
  );
  for (const key of [...many, ...addresses]) map.set(key, key);

  test.each(addresses.filter((key) => !key.includes(":")))("%s, signed and unsigned", (key) => {
    const number = ipv4ToNumber(key as IPv4Address);
    expect(map.findIPv4(number)).toBe(key);
    expect(map.findIPv4(number | 0)).toBe(key);
  });
  test("thousands of IPv6 addresses at an offset", () => {
    const frame = new Uint8Array(100).fill(0xa5);
    for (const key of many) {
      frame.set(encodeAddress(key), 62);
      expect(map.findIPv6(frame, 62)).toBe(key);
      frame[61 + 16] = (frame[61 + 16] ?? 0) ^ 0x80;
      const other = map.findIPv6(frame, 62);
      expect(other).not.toBe(key);
    }
  });
  test("nothing beyond the end of the octets", () => {
    expect(map.findIPv6(new Uint8Array(3), 2)).toBeUndefined();
  });
});
