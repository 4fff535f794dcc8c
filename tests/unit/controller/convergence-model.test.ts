import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { PoolConfig } from "../../../api/rendered-config.ts";
import {
  estrangement,
  keyOf,
  publishedBy,
  readRequest,
  type ServiceObject,
} from "../../../controller/service.ts";
import { familyOf } from "../../../packet/address/address.ts";
import { addressesOf, compatible } from "./naive-allocator.ts";
import { poolConfig } from "../../support/builders.ts";
import { service } from "./objects.ts";
import { World } from "./world.ts";

const NAMES = ["a", "b", "c", "d", "e", "f", "g"];
/** Few addresses, so that Services stand in each other's way. */
const BLOCKS = ["10.0.0.0", "10.0.0.1", "10.0.0.2", "fd00::"] as const;

const configs: fc.Arbitrary<readonly PoolConfig[]> = fc
  .tuple(
    fc.array(fc.integer({ min: -1, max: 2 }), {
      minLength: BLOCKS.length,
      maxLength: BLOCKS.length,
    }),
    fc.array(fc.tuple(fc.boolean(), fc.nat(2)), { minLength: 3, maxLength: 3 }),
  )
  .map(([owners, forms]) =>
    forms.flatMap(([autoAssign, priority], index) => {
      const addresses = BLOCKS.filter((_, block) => owners[block] === index);
      const more = { "auto-assign": autoAssign, priority };
      return addresses.length === 0 ? [] : [poolConfig(`p${index}`, addresses, more)];
    }),
  );

const forms = fc.record(
  {
    created: fc.nat(3),
    type: fc.constantFrom("LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP"),
    families: fc.constantFrom<readonly ("ipv4" | "ipv6")[]>(
      ["ipv4"],
      ["ipv4"],
      ["ipv6"],
      ["ipv4", "ipv6"],
    ),
    policy: fc.constantFrom("SingleStack", "PreferDualStack"),
    key: fc.constantFrom("", "", "k"),
    port: fc.integer({ min: 1, max: 3 }),
    asks: fc.constantFrom("", "", "", "", "10.0.0.1", "fd00::", "fish", "192.0.2.1"),
    pool: fc.constantFrom("", "", "", "p1"),
  },
  { noNullPrototype: true },
);

function make(
  name: string,
  uid: string,
  form: typeof forms extends fc.Arbitrary<infer F> ? F : never,
): ServiceObject {
  const { created, type, families, policy, key, port, asks, pool } = form;
  return service(name, {
    created,
    uid,
    families,
    annotations: { "allow-shared-ip": key, loadBalancerIPs: asks, "address-pool": pool },
    spec: { type, ipFamilyPolicy: policy, ports: [{ port }] },
  });
}

const name = fc.constantFrom(...NAMES);
const steps = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("create" as const), name, form: forms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("edit" as const), name, form: forms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), name }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("recreate" as const), name, form: forms }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("pools" as const), configs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("settle" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("write" as const),
      nth: fc.nat(6),
      fate: fc.constantFrom(
        "answered" as const,
        "answered" as const,
        "answerLost" as const,
        "requestLost" as const,
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("watch" as const), name }) },
);

type Step = typeof steps extends fc.Arbitrary<infer S> ? S : never;

/** Services that a user made clash since they were last decided: no fault of the controller. */
type Edited = Set<string>;

function play(world: World, step: Step, edited: Edited, uid: string): void {
  switch (step.do) {
    case "create":
      if (!world.services.has(`default/${step.name}`)) world.put(make(step.name, uid, step.form));
      return;
    case "edit":
      edited.add(`default/${step.name}`);
      world.edit(`default/${step.name}`, (before) => {
        const after = make(step.name, uid, step.form);
        const metadata = {
          ...before.metadata,
          annotations: { ...before.metadata.annotations, ...after.metadata.annotations },
        };
        return { ...before, metadata, spec: { ...after.spec } };
      });
      return;
    case "remove":
      world.remove(`default/${step.name}`);
      return;
    case "recreate":
      // Deleted and made again in one breath: the watch shows a change of the uid and no deletion.
      if (world.services.has(`default/${step.name}`)) world.put(make(step.name, uid, step.form));
      return;
    case "pools":
      world.configure(step.configs);
      return;
    case "restart":
      world.restart();
      return;
    case "settle":
      world.settle();
      return;
    case "write": {
      const key = [...world.queue][step.nth % Math.max(1, world.queue.size)];
      if (key === undefined) return;
      world.write(key, step.fate);
      if (step.fate === "answered") edited.delete(key);
      return;
    }
    case "watch":
      world.watch(`default/${step.name}`);
  }
}

function termsOf(each: ServiceObject): { key: string; backend: string; ports: readonly string[] } {
  const read = readRequest(each, {});
  if (!read.ok) throw new TypeError(read.message);
  return read.request.terms;
}

/** Nobody shows an address that another one shows, unless both agree to that. */
function expectNobodyDoubled(world: World, newlyShown: readonly string[], edited: Edited): void {
  for (const key of newlyShown) {
    const one = world.services.get(key);
    if (one === undefined || edited.has(key)) continue;
    for (const [other, two] of world.services) {
      if (other === key || edited.has(other)) continue;
      const common = publishedBy(one).filter((each) => publishedBy(two).includes(each));
      if (common.length === 0) continue;
      expect([key, other, common, compatible(termsOf(one), termsOf(two))]).toEqual([
        key,
        other,
        common,
        true,
      ]);
    }
  }
}

/** In the end every Service has what the rules give it. */
function expectAllRight(world: World, pools: readonly PoolConfig[]): void {
  const everything = pools.flatMap(addressesOf);
  const all = [...world.services.values()];
  expectNobodyDoubled(world, all.map(keyOf), new Set());
  for (const each of all) {
    const shown = publishedBy(each);
    if (estrangement(each, "") !== undefined) {
      expect(shown).toEqual([]);
      continue;
    }
    const inOnePool = pools.some((pool) =>
      shown.every((address) => addressesOf(pool).includes(address)),
    );
    expect([shown, shown.length === 0 || inOnePool]).toEqual([shown, true]);
    const read = readRequest(each, {});
    if (!read.ok || read.problem !== undefined || read.request.addresses !== undefined) continue;
    const { families, terms, pool } = read.request;
    if (shown.length > 0 || families.length > 1) continue;
    // Whoever has nothing could have had nothing.
    const open = pools.filter((candidate) =>
      pool === undefined ? candidate["auto-assign"] : candidate.name === pool,
    );
    const possible = open.flatMap(addressesOf).filter((address) => {
      const holders = all.filter((other) => publishedBy(other).includes(address));
      return (
        familyOf(address) === families[0] &&
        holders.every((other) => compatible(termsOf(other), terms))
      );
    });
    expect([keyOf(each), possible]).toEqual([keyOf(each), []]);
  }
  // Nothing leaked: what is taken is what is shown.
  const shown = new Set(all.flatMap(publishedBy));
  for (const { name } of pools) {
    const { allocator } = world.controller;
    const free = allocator.usage(name, "ipv4").available + allocator.usage(name, "ipv6").available;
    const pool = pools.find((each) => each.name === name)!;
    expect(free).toBe(BigInt(addressesOf(pool).filter((address) => !shown.has(address)).length));
  }
  expect([...shown].filter((address) => !everything.includes(address))).toEqual([]);
}

test("whatever users, pools, lost answers and crashes do, nobody is doubled, nothing leaks, and all get what they can", () => {
  fc.assert(
    fc.property(configs, fc.array(steps, { minLength: 30, maxLength: 70 }), (first, sequence) => {
      const world = new World();
      world.configure(first);
      let current = first;
      const edited: Edited = new Set();
      for (const [index, step] of sequence.entries()) {
        const before = new Map(
          [...world.services].map(([key, each]) => [key, publishedBy(each).join()]),
        );
        play(world, step, edited, `uid-${index}`);
        if (step.do === "pools") current = step.configs;
        const newly = [...world.services].filter(
          ([key, each]) => before.get(key) !== publishedBy(each).join(),
        );
        expectNobodyDoubled(
          world,
          newly.map(([key]) => key),
          edited,
        );
      }
      world.rest();
      expectAllRight(world, current);
      const { writes } = world;
      world.restart((keys) => keys.reverse());
      world.rest();
      expect(world.writes).toBe(writes);
    }),
    { numRuns: 500 },
  );
});

test("nobody who may keep an address is ever moved", () => {
  fc.assert(
    fc.property(
      configs,
      fc.array(fc.record({ name, form: forms }), { maxLength: 12 }),
      configs,
      (first, services, second) => {
        const world = new World();
        world.configure(first);
        for (const [index, { name, form }] of services.entries()) {
          if (!world.services.has(`default/${name}`)) world.put(make(name, `uid-${index}`, form));
        }
        world.rest();
        const before = new Map([...world.services].map(([key]) => [key, world.shown(key)]));
        world.configure(second);
        world.rest();
        for (const [key, shown] of before) {
          const asked = world.services.get(key)!.metadata.annotations?.["metallb.io/address-pool"];
          const stays = second.some((pool) => {
            const right = asked === "" || pool.name === asked;
            return right && shown.every((address) => addressesOf(pool).includes(address as never));
          });
          if (stays && shown.length > 0)
            expect(world.shown(key).slice(0, shown.length)).toEqual(shown);
        }
      },
    ),
    { numRuns: 500 },
  );
});
