import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  admission,
  AddressSpace,
  isPinned,
  OrdinalSet,
  readPools,
} from "../../../controller/pool.ts";
import { address } from "../../../packet/address/address.ts";
import { formatRange, parsePoolEntry } from "../../../packet/address/range.ts";
import { poolConfig } from "../../support/builders.ts";
import { pool, pools } from "./objects.ts";

describe("entries of a pool", () => {
  for (const { name, entries, holds } of [
    {
      name: "takes a prefix with its first and last address",
      entries: ["10.0.0.1/32", "2001:db8::/126"],
      holds: [1n, 4n],
    },
    { name: "takes a range", entries: ["10.0.0.1-10.0.0.5"], holds: [5n, 0n] },
    {
      name: "takes a range with spaces round the dash",
      entries: ["10.0.0.1 - 10.0.0.5"],
      holds: [5n, 0n],
    },
    { name: "takes a range of one", entries: ["10.0.0.1-10.0.0.1"], holds: [1n, 0n] },
    {
      name: "takes a range up to the last address there is",
      entries: ["255.255.255.252-255.255.255.255"],
      holds: [4n, 0n],
    },
    { name: "takes an IPv6 range", entries: ["2001:db8::1-2001:db8::4"], holds: [0n, 4n] },
    {
      name: "takes a bare address, which upstream does not",
      entries: ["10.0.0.1", "fd00::1"],
      holds: [1n, 1n],
    },
    { name: "takes everything there is", entries: ["0.0.0.0/0"], holds: [1n << 32n, 0n] },
    {
      name: "counts a huge IPv6 pool exactly",
      entries: ["fd00::/8", "10.0.0.0/30"],
      holds: [4n, 1n << 120n],
    },
  ]) {
    test(name, () => {
      const { spaces } = pool("a", entries);
      expect([spaces.ipv4.size, spaces.ipv6.size]).toEqual(holds);
    });
  }

  for (const { name, entry, says } of [
    { name: "refuses host bits, which upstream drops", entry: "10.0.0.5/24", says: "10.0.0.0/24" },
    {
      name: "refuses an IPv4-mapped prefix, which upstream takes for IPv4",
      entry: "::ffff:1.2.3.0/120",
      says: "1.2.3.0",
    },
    {
      name: "refuses an IPv4-mapped range",
      entry: "::ffff:1.2.3.4-::ffff:1.2.3.9",
      says: "1.2.3.4",
    },
    { name: "refuses an empty entry", entry: "", says: "empty" },
    { name: "refuses space before an entry", entry: " 10.0.0.0/24", says: "white space" },
    { name: "refuses space after an entry", entry: "10.0.0.0/24 ", says: "white space" },
    { name: "refuses a prefix length that does not exist", entry: "10.0.0.0/33", says: "0 to 32" },
    { name: "refuses leading zeros", entry: "010.0.0.1/32", says: "leading zero" },
    { name: "refuses a zone", entry: "fe80::1%eth0", says: "zone" },
    { name: "refuses a range whose end is a number", entry: "10.0.0.1-5", says: "end of range" },
    { name: "refuses three ends", entry: "a-b-c", says: "start of range" },
    {
      name: "refuses a range of prefixes",
      entry: "10.0.0.0/24-10.0.1.0/24",
      says: "start of range",
    },
    {
      name: "refuses a range that starts after its end",
      entry: "10.0.0.10-10.0.0.1",
      says: "10.0.0.1-10.0.0.10",
    },
    { name: "refuses a range from IPv6 to IPv4", entry: "fe80::1-1.2.3.4", says: "one family" },
    {
      name: "refuses a range from IPv4 to IPv6, which upstream takes for nothing",
      entry: "1.2.3.4-fe80::1",
      says: "one family",
    },
  ]) {
    test(name, () => {
      const read = readPools([
        poolConfig("a", ["192.0.2.1", entry]),
        poolConfig("b", ["192.0.2.2"]),
      ]);
      expect(read.faults).toEqual([
        expect.objectContaining({
          pool: "a",
          field: "address-pools[0].addresses[1]",
          reason: "Invalid",
          message: expect.stringContaining(says),
        }),
      ]);
      expect(read.pools.map(({ name }) => name)).toEqual(["b"]);
    });
  }
});

describe("pools together", () => {
  test("refuses a pool without addresses", () => {
    expect(readPools([poolConfig("a", [])]).faults).toMatchObject([
      { field: "address-pools[0].addresses" },
    ]);
  });

  test("refuses the second of two pools of one name", () => {
    const read = readPools([poolConfig("a", ["10.0.0.1"]), poolConfig("a", ["10.0.0.2"])]);
    expect(read.faults).toMatchObject([{ field: "address-pools[1].name", reason: "Invalid" }]);
    expect(read.pools).toHaveLength(1);
  });

  for (const { name, first, second } of [
    { name: "equal", first: ["10.0.0.0/24"], second: ["10.0.0.0/24"] },
    { name: "contained", first: ["10.0.0.0/16"], second: ["10.0.3.0-10.0.3.1"] },
    { name: "containing", first: ["10.0.3.7"], second: ["10.0.0.0/16"] },
    { name: "crossing", first: ["10.0.0.5-10.0.0.9"], second: ["10.0.0.9-10.0.0.20"] },
    {
      name: "hidden behind other ranges",
      first: ["10.0.0.0/24", "10.0.2.0/24", "10.0.1.0/25"],
      second: ["10.0.1.127"],
    },
    { name: "IPv6", first: ["fd00::/64"], second: ["fd00::ffff:0-fd00:0:0:1::"] },
  ]) {
    test(`refuses the later of two pools that overlap: ${name}`, () => {
      const read = readPools([
        poolConfig("z", first),
        poolConfig("a", second),
        poolConfig("c", ["192.0.2.0/24"]),
      ]);
      expect(read.faults).toMatchObject([
        { pool: "a", reason: "Overlapping", message: expect.stringContaining("of pool z") },
      ]);
      expect(read.pools.map(({ name }) => name)).toEqual(["c", "z"]);
    });
  }

  test("refuses a pool that overlaps itself", () => {
    const read = readPools([poolConfig("a", ["10.0.0.0/24", "10.0.0.255-10.0.1.3"])]);
    expect(read.faults).toMatchObject([
      { field: "address-pools[0].addresses[1]", reason: "Overlapping" },
    ]);
  });

  test("a refused pool does not stand in the way of the ones after it", () => {
    const read = readPools([
      poolConfig("a", ["10.0.0.1", "nonsense"]),
      poolConfig("b", ["10.0.0.1"]),
    ]);
    expect(read.pools.map(({ name }) => name)).toEqual(["b"]);
  });

  test("families do not overlap each other", () => {
    expect(readPools([poolConfig("a", ["0.0.0.1"]), poolConfig("b", ["::1"])]).faults).toEqual([]);
  });

  test("are tried by priority, those without one last, then by name", () => {
    const ordered = pools(
      poolConfig("none-b", ["10.0.0.1"]),
      poolConfig("ten", ["10.0.0.2"], { priority: 10 }),
      poolConfig("none-a", ["10.0.0.3"]),
      poolConfig("one", ["10.0.0.4"], { priority: 1 }),
    );
    expect(ordered.map(({ name }) => name)).toEqual(["one", "ten", "none-a", "none-b"]);
  });

  test("finds overlaps just as comparing every pair does", () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 6 }));
    fc.assert(
      fc.property(
        fc.array(fc.array(range, { minLength: 1, maxLength: 3 }), { maxLength: 6 }),
        (all) => {
          const configs = all.map((ranges, index) =>
            poolConfig(
              `p${index}`,
              ranges.map(([first, more]) => `10.0.0.${first}-10.0.0.${first + more}`),
            ),
          );
          const accepted: (readonly [number, number])[] = [];
          const good: string[] = [];
          for (const [index, ranges] of all.entries()) {
            const own: (readonly [number, number])[] = [];
            const bad = ranges.some(([first, more]) => {
              const last = first + more;
              const hit = [...accepted, ...own].some(([a, b]) => a <= last && first <= b);
              own.push([first, last]);
              return hit;
            });
            if (bad) continue;
            accepted.push(...own);
            good.push(`p${index}`);
          }
          expect(readPools(configs).pools.map(({ name }) => name)).toEqual(good.sort());
        },
      ),
    );
  });
});

describe("addresses ending in .0 and .255", () => {
  const avoiding = { "avoid-buggy-ips": true };
  for (const { name, entries, size } of [
    { name: "two less in a /24", entries: ["10.0.0.0/24"], size: 254n },
    { name: "two less in each /24 of a /16", entries: ["10.0.0.0/16"], size: 65024n },
    { name: "one less in the first half of a /24", entries: ["10.0.0.0/25"], size: 127n },
    {
      name: "nothing of a lone buggy address, which upstream counts as -1",
      entries: ["10.0.0.255/32"],
      size: 0n,
    },
    { name: "nothing between .255 and .0", entries: ["10.0.0.255-10.0.1.0"], size: 0n },
    { name: "the whole of IPv4", entries: ["0.0.0.0/0"], size: (1n << 24n) * 254n },
  ]) {
    test(`are left out: ${name}`, () => {
      expect(pool("a", entries, avoiding).spaces.ipv4.size).toBe(size);
    });
  }

  test("are no part of the pool", () => {
    const { ipv4, ipv6 } = pool("a", ["10.0.0.0/23", "fd00::/120"], avoiding).spaces;
    expect(
      ["10.0.0.0", "10.0.0.1", "10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"].map((text) =>
        ipv4.ordinalOf(address(text)),
      ),
    ).toEqual([undefined, 0n, 253n, undefined, undefined, 254n]);
    expect(ipv6.ordinalOf(address("fd00::ff"))).toBe(255n);
  });

  test("ordinals and addresses are two names of one thing, ascending", () => {
    const entry = fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 600 }));
    fc.assert(
      fc.property(entry, fc.boolean(), ([first, more], avoid) => {
        const [a, b] = [first, first + more].map((n) => `10.0.${n >> 8}.${n & 255}`);
        const parsed = parsePoolEntry(`${a ?? ""}-${b ?? ""}`);
        if (!parsed.ok) throw new TypeError(parsed.message);
        const space = new AddressSpace("ipv4", [parsed.value], avoid);
        const wanted = Array.from({ length: more + 1 }, (_, i) => first + i)
          .filter((n) => !avoid || ((n & 255) !== 0 && (n & 255) !== 255))
          .map((n) => `10.0.${n >> 8}.${n & 255}`);
        const addresses = wanted.map((_, ordinal) => space.addressAt(BigInt(ordinal)));
        expect(addresses).toEqual(wanted);
        expect(space.size).toBe(BigInt(wanted.length));
        expect(addresses.map((each) => space.ordinalOf(each))).toEqual(
          wanted.map((_, i) => BigInt(i)),
        );
        expect(formatRange(parsed.value)).not.toBe("");
      }),
    );
  });

  test("refuses ordinals outside of the space", () => {
    const space = pool("a", ["10.0.0.0/30"]).spaces.ipv4;
    expect(() => space.addressAt(4n)).toThrow(RangeError);
    expect(() => space.addressAt(-1n)).toThrow(RangeError);
    expect(() => pool("a", ["10.0.0.1"]).spaces.ipv6.addressAt(0n)).toThrow(RangeError);
  });
});

describe("who may use a pool", () => {
  const tenant = { namespace: "shop", namespaceLabels: { team: "red" }, labels: { app: "web" } };
  for (const { name, config, why, pinned } of [
    { name: "everybody, when it says nothing", config: {}, why: undefined, pinned: false },
    {
      name: "everybody, when it only has a priority",
      config: { priority: 3 },
      why: undefined,
      pinned: true,
    },
    {
      name: "a namespace that it names",
      config: { namespaces: ["shop"] },
      why: undefined,
      pinned: true,
    },
    {
      name: "not another namespace",
      config: { namespaces: ["bank"] },
      why: "namespace",
      pinned: true,
    },
    {
      name: "a namespace that a selector finds",
      config: { namespaces: ["bank"], "namespace-selectors": [{ matchLabels: { team: "red" } }] },
      why: undefined,
      pinned: true,
    },
    {
      name: "nobody, when selectors find no namespace (MetalLB: everybody who asks by name)",
      config: { "namespace-selectors": [{ matchLabels: { team: "blue" } }] },
      why: "namespace",
      pinned: true,
    },
    {
      name: "Services that one of its selectors finds",
      config: {
        "service-selectors": [{ matchLabels: { app: "db" } }, { matchLabels: { app: "web" } }],
      },
      why: undefined,
      pinned: true,
    },
    {
      name: "not Services that no selector finds",
      config: { "service-selectors": [{ matchLabels: { app: "db" } }] },
      why: "labels",
      pinned: true,
    },
    {
      name: "only Services that satisfy both, when it asks for both",
      config: { namespaces: ["shop"], "service-selectors": [{ matchLabels: { app: "db" } }] },
      why: "labels",
      pinned: true,
    },
  ] as const) {
    test(name, () => {
      const subject = pool("a", ["10.0.0.1"], config as never);
      expect(admission(subject, tenant)).toBe(why);
      expect(isPinned(subject)).toBe(pinned);
    });
  }
});

describe("a set of ordinals", () => {
  test("does what a plain set does, whatever its size", () => {
    const size = fc.constantFrom(1n, 31n, 32n, 33n, 1024n, 1025n, 40000n, 1n << 64n, 1n << 128n);
    const step = fc.tuple(fc.constantFrom("add", "delete", "fill"), fc.nat(70), fc.boolean());
    fc.assert(
      fc.property(size, fc.array(step, { maxLength: 60 }), (size, steps) => {
        const set = new OrdinalSet(size);
        const model = new Set<bigint>();
        // Ordinals near both ends, so that huge sets are used at both.
        const at = (near: number, fromEnd: boolean): bigint =>
          fromEnd ? size - 1n - (BigInt(near) % size) : BigInt(near) % size;
        for (const [kind, near, fromEnd] of steps) {
          const ordinal = at(near, fromEnd);
          if (kind === "delete") expect(set.delete(ordinal)).toBe(model.delete(ordinal));
          for (let i = 0n; i < (kind === "fill" ? 40n : kind === "add" ? 1n : 0n); i++) {
            const each = (ordinal + i) % size;
            expect(set.add(each)).toBe(!model.has(each));
            model.add(each);
          }
          expect(set.count).toBe(model.size);
          for (const from of [0n, ordinal, ordinal + 1n]) {
            expect(set.nextAbsent(from)).toBe(nextAbsent(model, from, size));
            expect(set.nextPresent(from)).toBe(nextPresent(model, from));
          }
          expect(set.has(ordinal)).toBe(model.has(ordinal));
        }
      }),
    );
  });
});

function nextAbsent(model: ReadonlySet<bigint>, from: bigint, size: bigint): bigint | undefined {
  let ordinal = from;
  while (model.has(ordinal)) ordinal++;
  return ordinal < size ? ordinal : undefined;
}

function nextPresent(model: ReadonlySet<bigint>, from: bigint): bigint | undefined {
  const after = [...model].filter((ordinal) => ordinal >= from);
  return after.length === 0 ? undefined : after.reduce((a, b) => (a < b ? a : b));
}
