import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { AddressPool } from "../../../api/address-pool.ts";
import { parsePoolEntry, rangesOverlap } from "../../../packet/address/range.ts";
import {
  compilePools,
  desiredConfig,
  NO_REBALANCE,
  type CompiledPools,
} from "../../../operator/config.ts";
import {
  addressPool,
  metallb,
  withMetadata,
  withMetalLBSpec,
  withPoolSpec,
} from "../../support/builders.ts";

/** A pool made at a second of the same minute. */
function pool(name: string, second: number, ...addresses: string[]): AddressPool {
  const creationTimestamp = `2026-01-01T00:00:${String(second).padStart(2, "0")}Z`;
  return addressPool(name, addresses, withMetadata({ creationTimestamp }));
}

/** What was in effect after these pools were compiled. */
function after(...pools: AddressPool[]): CompiledPools["pools"] {
  return compilePools(pools, []).pools;
}

/** Addresses in effect, by pool. */
function inEffect({ pools }: CompiledPools): Record<string, string[]> {
  return Object.fromEntries(pools.map(({ name, addresses }) => [name, addresses]));
}

/** Reasons, by pool. */
function reasons({ verdicts }: CompiledPools): Record<string, string> {
  return Object.fromEntries(verdicts.map(({ name, reason }) => [name, reason]));
}

function messageOf({ verdicts }: CompiledPools, pool: string): string {
  return verdicts.find(({ name }) => name === pool)?.message ?? "";
}

describe("pools by themselves", () => {
  test("renders every field of a pool, addresses in canonical form", () => {
    const selector = { matchLabels: { a: "b" } };
    const full = addressPool(
      "full",
      ["192.0.2.0-192.0.2.255", "2001:DB8:0::1"],
      withPoolSpec({
        autoAssign: false,
        avoidBuggyIPs: true,
        serviceAllocation: {
          priority: 3,
          namespaces: ["a"],
          namespaceSelectors: [selector],
          serviceSelectors: [selector],
        },
        cooldownSeconds: 60,
        nodeSelectors: [selector],
        interfaces: ["eth0"],
        announceFrom: "AllNodes",
      }),
    );
    expect(compilePools([full], []).pools).toEqual([
      {
        name: "full",
        protocol: "layer2",
        addresses: ["192.0.2.0/24", "2001:db8::1"],
        "auto-assign": false,
        "avoid-buggy-ips": true,
        priority: 3,
        namespaces: ["a"],
        "namespace-selectors": [selector],
        "service-selectors": [selector],
        "cooldown-seconds": 60,
        "node-selectors": [selector],
        interfaces: ["eth0"],
        "announce-from": "AllNodes",
      },
    ]);
  });

  for (const { name, addresses, reason, says } of [
    {
      name: "refuses an entry that is no address",
      addresses: ["192.0.2.0/24", "somewhere"],
      reason: "Invalid",
      says: /spec\.addresses\[1\].*somewhere/,
    },
    {
      name: "refuses an IPv6 range that starts after its end",
      addresses: ["2001:db8::9-2001:db8::1"],
      reason: "Invalid",
      says: /starts after its end/,
    },
    {
      name: "refuses multicast addresses",
      addresses: ["224.0.0.0/24"],
      reason: "Invalid",
      says: /multicast/,
    },
    {
      name: "refuses entries that overlap within the pool",
      addresses: ["192.0.2.0/24", "192.0.2.7"],
      reason: "Overlapping",
      says: /spec\.addresses\[1\].*spec\.addresses\[0\]/,
    },
  ]) {
    test(name, () => {
      const compiled = compilePools(
        [pool("bad", 0, ...addresses), pool("good", 1, "10.0.0.1")],
        [],
      );
      expect(reasons(compiled)).toEqual({ bad: reason, good: "Valid" });
      expect(messageOf(compiled, "bad")).toMatch(says);
      expect(messageOf(compiled, "bad")).toContain("the pool has no effect");
      expect(inEffect(compiled)).toEqual({ good: ["10.0.0.1"] });
    });
  }

  test("refuses bgp under its own reason", () => {
    const bgp = addressPool("bgp", ["192.0.2.1"], withPoolSpec({ protocol: "bgp" }));
    expect(reasons(compilePools([bgp], []))).toEqual({ bgp: "UnsupportedProtocol" });
  });
});

test("a pool that would fill the ConfigMap is refused, and takes nothing from the others", () => {
  const values = Array.from({ length: 64 }, (_, i) => `${"v".repeat(59)}${i}`);
  const term = (i: number) => ({
    key: `example.com/${"k".repeat(50)}${i}`,
    operator: "In",
    values,
  });
  const selector = { matchExpressions: Array.from({ length: 16 }, (_, i) => term(i)) };
  const namespaceSelectors = Array.from({ length: 16 }, () => selector);
  const serviceAllocation = { namespaceSelectors } as never;
  const huge = addressPool("huge", ["192.0.2.1"], withPoolSpec({ serviceAllocation }));
  const { pools, verdicts } = compilePools([huge, pool("small", 1, "192.0.2.2")], []);
  expect(pools.map(({ name }) => name)).toEqual(["small"]);
  const verdict = verdicts.find(({ name }) => name === "huge");
  expect(verdict?.reason).toBe("Invalid");
  expect(verdict?.message).toContain("at most 65536");
});

describe("pools that overlap", () => {
  test("the pool that was made later is invalid and names the other, whatever the names", () => {
    const compiled = compilePools(
      [pool("a", 2, "192.0.2.128/25"), pool("b", 1, "192.0.2.0/24")],
      [],
    );
    expect(reasons(compiled)).toEqual({ a: "Overlapping", b: "Valid" });
    expect(messageOf(compiled, "a")).toContain("192.0.2.0/24 of AddressPool b");
    expect(inEffect(compiled)).toEqual({ b: ["192.0.2.0/24"] });
  });

  test("of two made in the same second the one whose name comes later is invalid", () => {
    const compiled = compilePools([pool("b", 1, "192.0.2.1"), pool("a", 1, "192.0.2.0/30")], []);
    expect(reasons(compiled)).toEqual({ a: "Valid", b: "Overlapping" });
  });

  test("touching ranges do not overlap, and families do not meet", () => {
    const compiled = compilePools(
      [
        pool("a", 1, "10.0.0.10-10.0.0.20"),
        pool("b", 2, "10.0.0.21", "10.0.0.9"),
        pool("c", 3, "2001:db8::/32"),
      ],
      [],
    );
    expect(reasons(compiled)).toEqual({ a: "Valid", b: "Valid", c: "Valid" });
  });

  test("an older pool that is edited over a younger one does not take its addresses away", () => {
    const before = after(pool("old", 1, "192.0.2.0/25"), pool("young", 2, "192.0.2.128/25"));
    const edited = [pool("old", 1, "192.0.2.0/24"), pool("young", 2, "192.0.2.128/25")];
    const compiled = compilePools(edited, before);
    expect(reasons(compiled)).toEqual({ old: "Overlapping", young: "Valid" });
    expect(inEffect(compiled)).toEqual({ old: ["192.0.2.0/25"], young: ["192.0.2.128/25"] });
    expect(messageOf(compiled, "old")).toContain("stays in effect: 192.0.2.0/25");
  });

  test("a range can move from one pool to another in one go, in either direction", () => {
    const before = after(pool("a", 1, "10.0.0.1", "10.0.0.2"), pool("b", 2, "10.0.0.3"));
    const toLater = [pool("a", 1, "10.0.0.1"), pool("b", 2, "10.0.0.2-10.0.0.3")];
    expect(Object.values(reasons(compilePools(toLater, before)))).toEqual(["Valid", "Valid"]);
    const beforeThat = after(pool("a", 1, "10.0.0.1"), pool("b", 2, "10.0.0.2", "10.0.0.3"));
    const toEarlier = [pool("a", 1, "10.0.0.1-10.0.0.2"), pool("b", 2, "10.0.0.3")];
    expect(Object.values(reasons(compilePools(toEarlier, beforeThat)))).toEqual(["Valid", "Valid"]);
  });

  test("a new pool cannot take what a refused edit falls back on", () => {
    const before = after(pool("b", 2, "10.0.0.1"), pool("c", 3, "10.0.0.2"));
    const compiled = compilePools(
      [pool("a", 1, "10.0.0.1"), pool("b", 2, "10.0.0.2-10.0.0.9"), pool("c", 3, "10.0.0.2")],
      before,
    );
    expect(reasons(compiled)).toEqual({ a: "Overlapping", b: "Overlapping", c: "Valid" });
    expect(inEffect(compiled)).toEqual({ b: ["10.0.0.1"], c: ["10.0.0.2"] });
  });
});

describe("pools edited into error", () => {
  const before = after(pool("a", 1, "192.0.2.0/28"));

  test("keep the form that was accepted last", () => {
    const compiled = compilePools([pool("a", 1, "192.0.2.0/99")], before);
    expect(reasons(compiled)).toEqual({ a: "Invalid" });
    expect(inEffect(compiled)).toEqual({ a: ["192.0.2.0/28"] });
  });

  test("name a few of the addresses that stay in effect, and how many more there are", () => {
    const many = Array.from({ length: 9 }, (_, i) => `192.0.2.${10 * i + 1}`);
    const compiled = compilePools([pool("a", 1, "nonsense")], after(pool("a", 1, ...many)));
    expect(messageOf(compiled, "a")).toMatch(/192\.0\.2\.41 and 4 more$/);
  });

  test("are forgotten when they are deleted", () => {
    expect(compilePools([], before)).toEqual({ pools: [], verdicts: [] });
  });

  test("take effect when they are mended", () => {
    const broken = compilePools([pool("a", 1, "x")], before).pools;
    const mended = compilePools([pool("a", 1, "192.0.2.64/28")], broken);
    expect(inEffect(mended)).toEqual({ a: ["192.0.2.64/28"] });
  });
});

describe("any pools", () => {
  const entry = fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 9 }))
    .map(([first, more]) => `10.0.0.${first}-10.0.0.${first + more}`);
  const pools = fc
    .uniqueArray(
      fc.record({
        name: fc.constantFrom("a", "b", "c", "d", "e", "f"),
        second: fc.integer({ min: 0, max: 3 }),
        addresses: fc.array(fc.oneof({ weight: 9, arbitrary: entry }, fc.constant("bad")), {
          minLength: 1,
          maxLength: 3,
        }),
      }),
      { selector: ({ name }) => name },
    )
    .map((all) => all.map(({ name, second, addresses }) => pool(name, second, ...addresses)));

  test("in effect never share an address, each has one verdict, and what is in effect stays so", () => {
    fc.assert(
      fc.property(pools, pools, (before, now) => {
        const previous = compilePools(before, []).pools;
        const compiled = compilePools(now, previous);
        expect(compiled.verdicts).toHaveLength(now.length);
        const ranges = compiled.pools.flatMap(({ addresses }) =>
          addresses.map((text) => {
            const parsed = parsePoolEntry(text);
            if (!parsed.ok) throw new Error(parsed.message);
            return parsed.value;
          }),
        );
        for (const [i, a] of ranges.entries()) {
          for (const b of ranges.slice(i + 1)) expect(rangesOverlap(a, b)).toBe(false);
        }
        // A pool that nobody edited keeps what it had.
        for (const { name, addresses } of previous) {
          const same = now.find(({ metadata }) => metadata.name === name);
          const edited = same && JSON.stringify(reasons(compilePools([same], [])));
          if (same === undefined || edited !== `{"${name}":"Valid"}`) continue;
          const wanted = compilePools([same], []).pools[0]?.addresses;
          if (JSON.stringify(wanted) !== JSON.stringify(addresses)) continue;
          expect(inEffect(compiled)[name]).toEqual(addresses);
        }
        // The order in which the watch gives the pools does not matter.
        expect(compilePools(now.toReversed(), previous)).toEqual(compiled);
      }),
      { numRuns: 500 },
    );
  });

  test("keep all addresses that they had, or are valid in their new form", () => {
    fc.assert(
      fc.property(pools, pools, (before, now) => {
        const previous = compilePools(before, []).pools;
        const compiled = compilePools(now, previous);
        const had = new Set(previous.map(({ name }) => name));
        for (const { name, reason, inEffect: form } of compiled.verdicts) {
          if (had.has(name)) expect(form).toBeDefined();
          if (reason === "Valid") expect(form).toBeDefined();
        }
      }),
      { numRuns: 500 },
    );
  });
});

test("500 pools of four ranges each compile without comparing each with each", () => {
  const many = Array.from({ length: 500 }, (_, i) =>
    pool(
      `pool-${i}`,
      i % 60,
      ...[0, 64, 128, 192].map((start) => `10.${i >> 8}.${i & 255}.${start}/26`),
    ),
  );
  expect(compilePools(many, []).pools).toHaveLength(500);
});

test("renders the settings of the MetalLB object", () => {
  const { spec } = metallb(
    withMetalLBSpec({
      logLevel: "debug",
      loadBalancerClass: "example.com/lan",
      ignoreExcludeLoadBalancers: true,
      excludedInterfaces: ["^docker"],
      failureDetection: { intervalMilliseconds: 200, multiplier: 5 },
      announcementRefreshSeconds: 60,
      witnessAddresses: ["192.0.2.1", "2001:DB8:0::1"],
    }),
  );
  const rebalance = { generation: 3, rollout: "a", request: "b" };
  expect(desiredConfig(spec, [], rebalance)).toEqual({
    "address-pools": [],
    "log-level": "debug",
    "load-balancer-class": "example.com/lan",
    "ignore-exclude-load-balancers": true,
    "excluded-interfaces": ["^docker"],
    "failure-detection": { "interval-milliseconds": 200, multiplier: 5 },
    "announcement-refresh-seconds": 60,
    "witness-addresses": ["192.0.2.1", "2001:db8::1"],
    rebalance,
  });
  expect(desiredConfig(metallb().spec, [], NO_REBALANCE)).toMatchObject({
    "load-balancer-class": "",
    "excluded-interfaces": [],
    "failure-detection": { "interval-milliseconds": 100, multiplier: 4 },
    "announcement-refresh-seconds": 120,
    "witness-addresses": [],
  });
});
