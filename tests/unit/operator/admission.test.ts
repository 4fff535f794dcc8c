import { describe, expect, test } from "@jest/globals";
import type { AddressPool } from "../../../api/address-pool.ts";
import type { PoolConfig } from "../../../api/rendered-config.ts";
import { admitMetalLB, admitPool, type Known } from "../../../operator/admission.ts";
import { compilePools } from "../../../operator/config.ts";
import {
  addressPool,
  metallb,
  NAMESPACE,
  withMetadata,
  withMetalLBSpec,
  withPoolSpec,
} from "../../support/builders.ts";

const created = (seconds: number) =>
  withMetadata<AddressPool>({
    creationTimestamp: `2026-01-01T00:00:${String(seconds).padStart(2, "0")}Z`,
  });

const known = (pools: readonly AddressPool[], inEffect: readonly PoolConfig[] = []): Known => ({
  namespace: NAMESPACE,
  pools,
  inEffect,
});

/** Pools as they are once the operator has rendered them. */
const settled = (...pools: readonly AddressPool[]): Known =>
  known(pools, compilePools(pools, []).pools);

const first = addressPool("first", ["192.0.2.0/25", "2001:db8::/64"], created(1));
const allowed = { allowed: true, warnings: [] };

describe("a pool that is created", () => {
  const refused: readonly { name: string; pool: AddressPool; says: RegExp }[] = [
    {
      name: "overlaps another",
      pool: addressPool("second", ["192.0.2.100-192.0.2.200"]),
      says: /^spec.addresses: 192.0.2.100-192.0.2.200 overlaps 192.0.2.0\/25 of AddressPool first/,
    },
    {
      name: "overlaps another in IPv6 only",
      pool: addressPool("second", ["198.51.100.0/24", "2001:db8::7"]),
      says: /2001:db8::7 overlaps 2001:db8::\/64 of AddressPool first/,
    },
    {
      name: "has a name that sorts before, and the same time",
      pool: addressPool("a", ["192.0.2.1"], created(1)),
      says: /of AddressPool first/,
    },
    {
      name: "overlaps itself",
      pool: addressPool("second", ["203.0.113.0/28", "203.0.113.1"]),
      says: /spec.addresses\[1\]/,
    },
  ];
  for (const { name, pool, says } of refused)
    test(`is refused if it ${name}`, () => {
      for (const world of [settled(first), known([first])]) {
        const answer = admitPool({ object: pool, before: undefined }, world);
        expect(answer.allowed ? "" : answer.message).toMatch(says);
      }
    });

  test("is let through beside others", () => {
    const pool = addressPool("second", ["192.0.2.128/25"]);
    expect(admitPool({ object: pool, before: undefined }, settled(first))).toEqual(allowed);
  });

  test("may take what a pool has that is being deleted, once the operator has let go of it", () => {
    const going = withMetadata<AddressPool>({ deletionTimestamp: "2026-01-01T00:00:09Z" })(first);
    const pool = addressPool("second", ["192.0.2.1"]);
    expect(admitPool({ object: pool, before: undefined }, known([going]))).toEqual(allowed);
  });

  test("may take the name and the addresses of one that is gone", () => {
    const pool = addressPool("first", ["192.0.2.0/24"]);
    const world = known([], settled(first).inEffect);
    expect(admitPool({ object: pool, before: undefined }, world)).toEqual(allowed);
  });

  test("in the wrong namespace is let through with a warning, whatever it says", () => {
    const elsewhere = withMetadata<AddressPool>({ namespace: "default" });
    const pool = addressPool("second", ["192.0.2.1"], elsewhere);
    expect(admitPool({ object: pool, before: undefined }, settled(first))).toEqual({
      allowed: true,
      warnings: [expect.stringContaining(NAMESPACE)],
    });
  });
});

describe("a pool that is changed", () => {
  const second = addressPool("second", ["198.51.100.0/24"], created(2));
  const overlapping = addressPool("second", ["198.51.100.0/24", "192.0.2.1"], created(2));

  test("is refused if it would overlap another, older or younger", () => {
    const world = settled(first, second);
    const answer = admitPool({ object: overlapping, before: second }, world);
    expect(answer.allowed ? "" : answer.message).toMatch(/192.0.2.1 overlaps .* AddressPool first/);
    const grown = addressPool("first", ["192.0.2.0/25", "198.51.100.9"], created(1));
    const other = admitPool({ object: grown, before: first }, known([first, second]));
    expect(other.allowed ? "" : other.message).toMatch(/of AddressPool second/);
  });

  test("is let through if it shrinks, moves or changes something else", () => {
    const world = settled(first, second);
    for (const object of [
      addressPool("second", ["198.51.100.7"], created(2)),
      addressPool("second", ["203.0.113.0/24"], created(2)),
      withPoolSpec({ autoAssign: false })(second),
    ])
      expect(admitPool({ object, before: second }, world)).toEqual(allowed);
  });

  test("is let through if only its metadata change, though it is at fault", () => {
    const world = known([first, overlapping]);
    const labelled = withMetadata<AddressPool>({ labels: { a: "b" } })(overlapping);
    expect(admitPool({ object: labelled, before: overlapping }, world)).toEqual(allowed);
  });

  test("is let through while it is being deleted", () => {
    const going = withMetadata<AddressPool>({ deletionTimestamp: "2026-01-01T00:00:09Z" });
    const question = { object: going(overlapping), before: second };
    expect(admitPool(question, settled(first, second))).toEqual(allowed);
  });
});

test("what the webhook refuses is what the condition would refuse", () => {
  const pool = addressPool("second", ["192.0.2.1"], created(2));
  const answer = admitPool({ object: pool, before: undefined }, settled(first));
  const verdict = compilePools([first, pool], []).verdicts.find(({ name }) => name === "second");
  expect(answer).toEqual({ allowed: false, message: verdict?.fault?.message });
});

describe("a MetalLB object", () => {
  const question = (object = metallb(), before?: ReturnType<typeof metallb>) => ({
    object,
    before,
  });

  test("is let through if it is valid", () => {
    expect(admitMetalLB(question(), { namespace: NAMESPACE })).toEqual(allowed);
  });

  test("is refused for what the schema cannot know, field by field", () => {
    const bad = metallb(withMetalLBSpec({ excludedInterfaces: ["("] }));
    const answer = admitMetalLB(question(bad), { namespace: NAMESPACE });
    expect(answer.allowed ? "" : answer.message).toMatch(/spec.excludedInterfaces\[0\]/);
  });

  test("is let through with a warning in the wrong namespace", () => {
    const object = metallb(withMetadata({ namespace: "default" }));
    expect(admitMetalLB(question(object), { namespace: NAMESPACE })).toEqual({
      allowed: true,
      warnings: [expect.stringContaining(NAMESPACE)],
    });
  });

  test("is let through if only its metadata change, though it is at fault", () => {
    const bad = metallb(withMetalLBSpec({ excludedInterfaces: ["("] }));
    expect(admitMetalLB(question(bad, bad), { namespace: NAMESPACE })).toEqual(allowed);
  });
});
