import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { PoolConfig } from "../../../api/rendered-config.ts";
import { Allocator, type AddressRequest, type Assignment } from "../../../controller/allocator.ts";
import { address, type Address } from "../../../packet/address/address.ts";
import { NaiveAllocator, type Outcome } from "./naive-allocator.ts";
import { poolConfig } from "../../support/builders.ts";
import { pools, request } from "./objects.ts";

/** Blocks that pools are made of; no two overlap. */
const BLOCKS = [
  "10.0.0.0/31",
  "10.0.0.2",
  "10.0.0.254-10.0.1.0",
  "10.0.0.4-10.0.0.5",
  "fd00::/127",
  "fd00::8-fd00::9",
] as const;

const configs: fc.Arbitrary<readonly PoolConfig[]> = fc
  .tuple(
    fc.array(fc.integer({ min: -1, max: 2 }), {
      minLength: BLOCKS.length,
      maxLength: BLOCKS.length,
    }),
    fc.array(
      fc.record(
        {
          "auto-assign": fc.boolean(),
          "avoid-buggy-ips": fc.boolean(),
          priority: fc.nat(2),
          namespaces: fc.constantFrom<readonly string[]>([], ["default"], ["other"]),
          "cooldown-seconds": fc.constantFrom(0, 0, 5),
        },
        { noNullPrototype: true },
      ),
      { minLength: 3, maxLength: 3 },
    ),
  )
  .map(([owners, forms]) =>
    forms.flatMap((form, index) => {
      const addresses = BLOCKS.filter((_, block) => owners[block] === index);
      return addresses.length === 0
        ? []
        : [poolConfig(`p${index}`, addresses, { ...form, namespaces: [...form.namespaces] })];
    }),
  );

const someAddress = fc
  .constantFrom(
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.254",
    "10.0.0.255",
    "10.0.1.0",
    "10.0.0.4",
    "10.9.9.9",
    "fd00::",
    "fd00::1",
    "fd00::8",
  )
  .map(address);
const pair = fc.uniqueArray(someAddress, { maxLength: 2, selector: (each) => each.includes(":") });

const requests: fc.Arbitrary<AddressRequest> = fc
  .record(
    {
      name: fc.constantFrom("a", "b", "c", "d", "e", "f"),
      families: fc.constantFrom(["ipv4"], ["ipv4"], ["ipv6"], ["ipv4", "ipv6"], ["ipv6", "ipv4"]),
      oneWillDo: fc.boolean(),
      key: fc.constantFrom("", "k", "k"),
      backend: fc.constantFrom("", "", "app=a"),
      ports: fc.uniqueArray(fc.constantFrom("TCP/1", "TCP/2", "TCP/3"), {
        minLength: 1,
        maxLength: 2,
      }),
      addresses: fc.option(pair, { nil: undefined, freq: 3 }),
      pool: fc.constantFrom(undefined, undefined, undefined, "p0", "p2"),
    },
    { noNullPrototype: true },
  )
  .map(({ name, families, oneWillDo, key, backend, ports, addresses, pool }) =>
    request(name, {
      families: families as AddressRequest["families"],
      oneWillDo,
      terms: { key, backend, ports },
      ...(addresses !== undefined && addresses.length > 0 && { addresses }),
      ...(pool !== undefined && { pool }),
    }),
  );

type Step =
  | { readonly do: "allocate" | "extend" | "release"; readonly request: AddressRequest }
  | {
      readonly do: "claim";
      readonly request: AddressRequest;
      readonly addresses: readonly Address[];
    }
  | {
      readonly do: "publish";
      readonly request: AddressRequest;
      readonly what: "held" | "nothing" | readonly Address[];
    }
  | { readonly do: "pools"; readonly configs: readonly PoolConfig[] }
  | { readonly do: "quarantine"; readonly addresses: readonly Address[] }
  | { readonly do: "wait"; readonly ms: number };

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("allocate" as const), request: requests }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("extend" as const), request: requests }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("release" as const), request: requests }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("claim" as const),
      request: requests,
      addresses: pair.filter((all) => all.length > 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      request: requests,
      what: fc.oneof(fc.constantFrom("held" as const, "held" as const, "nothing" as const), pair),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("pools" as const), configs }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("quarantine" as const),
      addresses: fc.uniqueArray(someAddress, { maxLength: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(6_000) }) },
);

function plain(assignment: Assignment): Outcome {
  if (!assignment.ok) return assignment.reason;
  return { pool: assignment.pool, addresses: assignment.addresses };
}

/** Does one step to both; they must answer alike. */
function play(step: Step, now: number, real: Allocator, naive: NaiveAllocator): void {
  switch (step.do) {
    case "allocate":
      expect(plain(real.allocate(step.request, now))).toEqual(naive.allocate(step.request, now));
      return;
    case "extend": {
      // A Service claims what it has before it asks for more: its terms are the known ones.
      const { terms = step.request.terms } = naive.holdings.get(step.request.service) ?? {};
      const extending = { ...step.request, terms };
      expect(plain(real.extend(extending, now))).toEqual(naive.extend(extending, now));
      return;
    }
    case "claim":
      expect(plain(real.claim(step.request, step.addresses, now))).toEqual(
        naive.claim(step.request, step.addresses, now),
      );
      return;
    case "release":
      real.release(step.request.service, now);
      naive.release(step.request.service, now);
      return;
    case "publish": {
      const { service } = step.request;
      const held = naive.holdings.get(service)?.addresses ?? [];
      const what = step.what === "held" ? held : step.what === "nothing" ? [] : step.what;
      real.publish(service, what, now);
      naive.publish(service, what, now);
      return;
    }
    case "pools":
      real.setPools(pools(...step.configs));
      naive.setPools(step.configs);
      return;
    case "quarantine":
      real.setQuarantined(new Set(step.addresses));
      naive.setQuarantined(new Set(step.addresses));
      return;
    case "wait":
      real.expire(now);
      naive.expire(now);
  }
}

/** Both must list the same holders of a pool, and count them. */
function compare(pool: string, real: Allocator, naive: NaiveAllocator): void {
  const expected = new Map<Address, string[]>();
  for (const [service, { addresses }] of naive.holdings) {
    for (const each of addresses.filter((each) => real.poolOf(each) === pool)) {
      expected.set(each, [...(expected.get(each) ?? []), service].sort());
    }
  }
  const found = [...real.holders(pool)].map(
    ({ address, services }) => [address, [...services].sort()] as const,
  );
  expect(new Map(found)).toEqual(expected);
  const [ipv4, ipv6] = [real.usage(pool, "ipv4"), real.usage(pool, "ipv6")];
  expect(ipv4.assigned + ipv6.assigned).toBe(expected.size);
  expect(ipv4.holders + ipv6.holders).toBe([...expected.values()].flat().length);
}

test("the allocator answers every sequence of requests, releases and pool changes as the naive one does", () => {
  fc.assert(
    fc.property(configs, fc.array(steps, { minLength: 30, maxLength: 60 }), (first, sequence) => {
      const [real, naive] = [new Allocator(), new NaiveAllocator()];
      let current = first;
      real.setPools(pools(...first));
      naive.setPools(first);
      let now = 0;
      for (const step of sequence) {
        if (step.do === "wait") now += step.ms;
        if (step.do === "pools") current = step.configs;
        play(step, now, real, naive);
        for (const { name } of current) compare(name, real, naive);
      }
    }),
    { numRuns: 150 },
  );
});
