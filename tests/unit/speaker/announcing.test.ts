import { describe, expect, test } from "@jest/globals";

import { address, type Address } from "../../../packet/address/address.ts";
import { ipv4FromNumber } from "../../../packet/address/ipv4.ts";
import { ipv6FromBigInt } from "../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../packet/address/mac.ts";
import { LinkError, type LinkStatistics } from "../../../packet/link/link.ts";
import { LinkWrapper } from "../../../packet/link/wrapper.ts";
import type { BpfProgram } from "../../../packet/wire/bpf.ts";
import { ANNOUNCE_BATCH, ANNOUNCE_RATE, interfacesFor } from "../../../speaker/announcing.ts";
import { BURST_MS, CONFLICT_QUIET_MS, DEFEND_INTERVAL_MS } from "../../../speaker/announcer.ts";
import { facts, World, type Seen } from "./announcing-world.ts";
import { arpRequestFor, claimOf, NEIGHBOUR_MAC, requestFor } from "./frames.ts";

const V4 = address("192.0.2.80");
const V6 = address("2001:db8::80");
const STRANGER = "02:00:00:00:00:66" as MacAddress;
const MEMBER = "02:00:00:00:00:55" as MacAddress;
const OWN_OTHER = facts(2).mac;

const texts = (seen: readonly Seen[]): string[] => seen.map(({ text }) => text);

describe("interfacesFor", () => {
  const [first, second] = [facts(1), facts(2)];
  for (const { name, of, allowed, expected } of [
    { name: "the one whose network holds the address", of: V4, expected: ["eth0"] },
    { name: "the same for IPv6", of: address("2001:db8:0:1::9"), expected: ["eth1"] },
    {
      name: "all when no network holds it: a router may send it here",
      of: address("198.51.100.1"),
      expected: ["eth0", "eth1"],
    },
    {
      name: "those that the pool allows, though another network holds it",
      of: V4,
      allowed: ["eth1"],
      expected: ["eth1"],
    },
    { name: "none when the pool allows none of them", of: V4, allowed: ["eth9"], expected: [] },
  ])
    test(name, () => expect(interfacesFor(of, allowed, [first, second])).toEqual(expected));
});

describe("taking an address", () => {
  for (const target of [V4, V6])
    test(`answers for ${target} and announces it, on the interface of its network alone`, () => {
      const world = World.withInterfaces(2);
      world.announce(target);
      expect(world.reported("announced")).toEqual([
        { kind: "announced", address: target, interfaces: ["eth0"] },
      ]);
      expect(world.take().length).toBeGreaterThan(0);
      expect(world.take("eth1")).toEqual([]);
      expect(texts(world.send("eth0", requestFor(target)))).toEqual([
        expect.stringContaining(`02:00:00:00:00:01 > ${NEIGHBOUR_MAC}`),
      ]);
      expect(world.send("eth1", requestFor(target))).toEqual([]);
    });

  test("answers before the announcement is sent: whoever hears it may ask at once", () => {
    const world = World.withInterfaces(1);
    const { neighbour, seen } = world.network("eth0");
    world.announcing.change([{ address: V4 }], []);
    neighbour.send(requestFor(V4));
    world.settle();
    expect(seen.at(-1)?.text).toContain(`> ${NEIGHBOUR_MAC}`);
  });

  test("announces as often as the schedule says", () => {
    const world = World.withInterfaces(1);
    world.announce(V4);
    world.pass(10_000);
    const times = new Set(world.take().map(({ at }) => at - 1000));
    expect([...times]).toEqual(BURST_MS.ipv4);
  });

  test("withdraws at once, and says so", () => {
    const world = World.withInterfaces(1);
    world.announce(V4, V6);
    world.withdraw(V4);
    world.take();
    expect(world.send("eth0", requestFor(V4))).toEqual([]);
    expect(world.send("eth0", requestFor(V6))).toHaveLength(1);
    expect(world.reported("announced").at(-1)).toMatchObject({ address: V4, interfaces: [] });
    world.pass(300_000);
    expect(texts(world.take()).filter((text) => text.includes(V4))).toEqual([]);
  });

  test("that is announced already changes nothing", () => {
    const world = World.withInterfaces(1);
    world.announce(V4);
    world.pass(10_000);
    world.take();
    world.announce(V4);
    expect(world.take()).toEqual([]);
  });

  test("moves to the interfaces that the pool allows now", () => {
    const world = World.withInterfaces(2);
    world.announce(V4);
    world.announcing.change([{ address: V4, interfaces: ["eth1"] }], []);
    expect(world.send("eth0", requestFor(V4))).toEqual([]);
    expect(world.send("eth1", requestFor(V4)).length).toBeGreaterThan(0);
  });

  test("without an interface is taken when one comes", () => {
    const world = new World();
    world.announce(V4);
    expect(world.reported("announced").at(-1)).toMatchObject({ interfaces: [] });
    world.announcing.setInterfaces([facts(1)]);
    expect(world.take().length).toBeGreaterThan(0);
    expect(world.reported("announced").at(-1)).toMatchObject({ interfaces: ["eth0"] });
  });
});

describe("an interface", () => {
  function announced(): World {
    const world = World.withInterfaces(1);
    world.announce(V4, V6);
    world.pass(60_000);
    world.take();
    return world;
  }

  test("that goes away and comes back has its addresses announced anew", () => {
    const world = announced();
    world.announcing.setInterfaces([]);
    expect(world.send("eth0", requestFor(V4))).toEqual([]);
    world.announcing.setInterfaces([facts(1)]);
    expect(world.take().length).toBeGreaterThan(1);
    expect(world.send("eth0", requestFor(V6))).toHaveLength(1);
  });

  test("whose link was down has its addresses announced anew", () => {
    const world = announced();
    world.network("eth0").port.setDown();
    world.network("eth0").port.setUp();
    expect(world.take().length).toBeGreaterThan(1);
  });

  test("that changed its MAC address is announced with the new one, on the same link", () => {
    const world = announced();
    const mac = "02:00:00:00:00:77" as MacAddress;
    world.network("eth0").port.setUp({ macAddress: mac });
    world.announcing.setInterfaces([facts(1, { mac })]);
    expect(texts(world.take()).every((text) => text.startsWith(mac))).toBe(true);
    expect(texts(world.send("eth0", requestFor(V4)))).toEqual([expect.stringContaining(mac)]);
  });

  test("that gets a network more is not disturbed", () => {
    const world = announced();
    world.announcing.setInterfaces([facts(1, { subnets: [] })]);
    expect(world.take()).toEqual([]);
    expect(world.send("eth0", requestFor(V4))).toHaveLength(1);
  });

  test("without link-local address answers for IPv4 and counts why not for IPv6", () => {
    const world = new World();
    const { linkLocal: _without, ...bare } = facts(1);
    world.announcing.setInterfaces([bare]);
    world.announce(V4, V6);
    expect(texts(world.take()).every((text) => text.includes(V4))).toBe(true);
    expect(world.send("eth0", requestFor(V4))).toHaveLength(1);
    expect(world.send("eth0", requestFor(V6))).toEqual([]);
    expect(world.announcing.takeCounters().counters.interfaces[0]?.drops).toEqual({
      noLinkLocal: 1,
    });
  });

  for (const code of ["PermissionDenied", "NoSuchInterface", "NotEthernet", "Failed"] as const)
    test(`that cannot be opened (${code}) is told, the others serve`, () => {
      const world = new World((link, name) => (handlers) => {
        if (name === "eth0") throw new LinkError(code, `eth0: ${code}`);
        return link(handlers);
      });
      const refused = world.announcing.setInterfaces([facts(1), facts(2)]);
      expect([...refused].map(([name, { message }]) => [name, message])).toEqual([
        ["eth0", `eth0: ${code}`],
      ]);
      const served = address("192.0.3.80");
      world.announce(served);
      expect(world.send("eth1", requestFor(served)).length).toBeGreaterThan(0);
    });
});

describe("a claim of an address by", () => {
  function claimed(by: MacAddress, members?: readonly MacAddress[], of: Address = V4): World {
    const world = World.withInterfaces(2);
    if (members !== undefined) world.announcing.setColleagues(members);
    world.announce(of);
    world.pass(10_000);
    world.take();
    world.send("eth0", claimOf(of, by));
    return world;
  }

  test("anybody, while the other speakers are unknown, is reported and not defended against", () => {
    const world = claimed(STRANGER);
    expect(world.take()).toEqual([]);
    const conflict = { kind: "conflict", address: V4, mac: STRANGER, interfaceName: "eth0" };
    expect(world.reported("conflict")).toEqual([{ ...conflict, defended: false }]);
  });

  test("anybody is reported again only after half a minute", () => {
    const world = claimed(STRANGER);
    world.send("eth0", claimOf(V4, STRANGER));
    expect(world.reported("conflict")).toHaveLength(1);
    world.pass(30_000);
    world.send("eth0", claimOf(V4, STRANGER));
    expect(world.reported("conflict")).toHaveLength(2);
  });

  for (const target of [V4, V6])
    test(`a stranger is defended against once in DEFEND_INTERVAL, and reported once (${target})`, () => {
      const world = claimed(STRANGER, [MEMBER], target);
      expect(texts(world.network("eth0").seen)).toEqual([
        expect.stringContaining("02:00:00:00:00:01 > "),
      ]);
      world.take();
      for (let at = 0; at < DEFEND_INTERVAL_MS - 100; at += 100) {
        world.send("eth0", claimOf(target, STRANGER));
        world.pass(100);
      }
      expect(world.take()).toEqual([]);
      world.pass(200);
      world.send("eth0", claimOf(target, STRANGER));
      expect(world.take()).toHaveLength(1);
      expect(world.reported("conflict")).toMatchObject([
        { address: target, mac: STRANGER, interfaceName: "eth0", defended: true },
      ]);
    });

  test("a stranger that stops is reported as over", () => {
    const world = claimed(STRANGER, []);
    world.pass(CONFLICT_QUIET_MS + 1);
    expect(world.reported("conflictOver")).toEqual([
      { kind: "conflictOver", address: V4, mac: STRANGER },
    ]);
  });

  test("a flood of strangers leaves nothing behind", () => {
    const world = claimed(STRANGER, []);
    for (let i = 0; i < 2000; i++) {
      world.now += 1;
      world.send("eth0", claimOf(V4, STRANGER));
    }
    world.wakes = 0;
    world.pass(2 * CONFLICT_QUIET_MS);
    expect(world.wakes).toBeLessThan(20);
  });

  for (const { name, mac } of [
    { name: "another speaker", mac: MEMBER },
    { name: "another interface of this node", mac: OWN_OTHER },
  ])
    test(`${name} is no conflict`, () => {
      const world = claimed(mac, [MEMBER]);
      expect(world.take()).toEqual([]);
      expect(world.reported("conflict")).toEqual([]);
      const { counters } = world.announcing.takeCounters();
      expect(counters.addresses[0]?.drops).toEqual({ colleagueClaim: 1 });
    });

  test("another interface of this node is no conflict before the other speakers are known", () => {
    expect(claimed(OWN_OTHER).reported("conflict")).toEqual([]);
  });
});

describe("probing before the first use", () => {
  for (const target of [V4, V6])
    test(`finds ${target} free, not answering for it meanwhile`, () => {
      const world = World.withInterfaces(1);
      world.announcing.probe([{ address: target }], "full");
      world.pass(1500);
      expect(world.take().length).toBeGreaterThan(0);
      expect(world.send("eth0", requestFor(target))).toEqual([]);
      world.pass(20_000);
      expect(world.reported("probed")).toEqual([{ kind: "probed", address: target }]);
      world.take();
      expect(world.send("eth0", requestFor(target))).toEqual([]);
      world.announce(target);
      expect(world.send("eth0", requestFor(target)).length).toBeGreaterThan(0);
    });

  test("finds an address taken; whoever wants it all the same knows better, and has it at once", () => {
    const world = World.withInterfaces(1);
    world.announcing.probe([{ address: V4 }], "full");
    world.pass(1500);
    world.send("eth0", claimOf(V4, STRANGER));
    expect(world.reported("probed")).toEqual([{ kind: "probed", address: V4, takenBy: STRANGER }]);
    expect(world.send("eth0", requestFor(V4))).toEqual([]);
    world.announce(V4);
    expect(world.send("eth0", requestFor(V4)).length).toBeGreaterThan(0);
  });

  test("one word of a stranger after the probe does not delay who takes the address over", () => {
    const world = World.withInterfaces(1);
    world.announcing.probe([{ address: V4 }], "fast");
    world.pass(1000);
    expect(world.reported("probed")).toEqual([{ kind: "probed", address: V4 }]);
    world.send("eth0", claimOf(V4, STRANGER));
    world.announce(V4);
    expect(world.send("eth0", requestFor(V4)).length).toBeGreaterThan(0);
  });

  test("is forgotten when told so, unless the address is wanted meanwhile", () => {
    const world = World.withInterfaces(1);
    world.announcing.probe([{ address: V4 }, { address: V6 }], "fast");
    world.pass(1000);
    world.announce(V6);
    world.pass(1000);
    world.announcing.forget([V4, V6]);
    world.reports.length = 0;
    world.send("eth0", claimOf(V4, STRANGER));
    expect(world.reports).toEqual([]);
    expect(world.send("eth0", requestFor(V6)).length).toBeGreaterThan(0);
  });

  test("without an interface ends in an answer all the same once there is one and it is wanted", () => {
    const world = new World();
    world.announcing.probe([{ address: V4 }], "fast");
    world.pass(1000);
    world.announcing.setInterfaces([facts(1)]);
    world.pass(1000);
    world.announce(V4);
    expect(world.send("eth0", requestFor(V4)).length).toBeGreaterThan(0);
  });

  test("asks anew when asked again, whatever came of it before", () => {
    const world = World.withInterfaces(1);
    const ask = (): void => {
      world.announcing.probe([{ address: V4 }], "fast");
      world.pass(50);
    };
    ask();
    world.pass(500);
    ask();
    world.send("eth0", claimOf(V4, STRANGER));
    ask();
    world.pass(500);
    expect(world.reported("probed")).toEqual([
      { kind: "probed", address: V4 },
      { kind: "probed", address: V4, takenBy: STRANGER },
      { kind: "probed", address: V4 },
    ]);
  });

  test("leaves an address alone that is taken and that nobody wants", () => {
    const world = World.withInterfaces(1);
    world.announcing.probe([{ address: V4 }], "fast");
    world.pass(50);
    world.send("eth0", claimOf(V4, STRANGER));
    world.take();
    world.pass(600_000);
    expect(world.take()).toEqual([]);
  });

  test("of an address that is wanted meanwhile is hurried, and ends in its announcement", () => {
    const world = World.withInterfaces(1);
    world.announcing.probe([{ address: V4 }], "full");
    world.announce(V4);
    world.pass(101);
    expect(world.send("eth0", requestFor(V4)).length).toBeGreaterThan(0);
  });

  test("leaves an address alone that is announced", () => {
    const world = World.withInterfaces(1);
    world.announce(V4);
    world.pass(10_000);
    world.take();
    world.announcing.probe([{ address: V4 }], "fast");
    world.pass(5000);
    expect(world.take()).toEqual([]);
    expect(world.reported("probed")).toEqual([]);
  });
});

describe("thousands of addresses at once", () => {
  const COUNT = 3000;
  const all = Array.from({ length: COUNT }, (_, i) =>
    i % 2 === 0
      ? ipv4FromNumber(0xc0000200 + 256 * 7 + i)
      : ipv6FromBigInt((0x20010db8n << 96n) + BigInt(i)),
  );

  test("are answered for at once", () => {
    const world = World.withInterfaces(1);
    world.announcing.change(
      all.map((each) => ({ address: each })),
      [],
    );
    expect(world.send("eth0", requestFor(all[COUNT - 1]!)).at(-1)?.text).toContain(NEIGHBOUR_MAC);
  });

  test("are each announced first within the bound, and never more than a batch at a time", () => {
    const world = World.withInterfaces(1);
    world.announce(...all);
    world.pass(1000);
    const first = new Map<Address, number>();
    const batches = new Map<number, number>();
    for (const each of world.take()) {
      const { target } = each;
      if (!first.has(target)) first.set(target, each.at - 1000);
      batches.set(each.at, (batches.get(each.at) ?? 0) + 1);
    }
    expect(first.size).toBe(COUNT);
    const late = all.filter(
      (each, i) => first.get(each)! > (i < ANNOUNCE_BATCH ? 0 : (i * 1000) / ANNOUNCE_RATE + 2),
    );
    expect(late).toEqual([]);
    expect(Math.max(...batches.values())).toBeLessThanOrEqual(2 * ANNOUNCE_BATCH);
  });

  test("keep the distances of their schedules", () => {
    const world = World.withInterfaces(1);
    world.announce(...all);
    world.pass(6000);
    const last = new Map<Address, number>();
    const seen = world.take().filter(({ text }) => text.includes("2001:db8::"));
    const close = seen.filter((each) => {
      const { target } = each;
      const before = last.get(target) ?? -Infinity;
      last.set(target, each.at);
      return each.at - before < 1000;
    });
    expect(texts(close)).toEqual([]);
    expect(seen).toHaveLength(3 * (COUNT / 2));
  });

  test("come under an exact filter when the main thread has compiled it, and never under none", () => {
    const world = World.withInterfaces(1);
    world.compileBy = "never";
    world.announce(...all);
    world.pass(1000);
    expect(world.send("eth0", requestFor(all[0]!)).length).toBeGreaterThan(0);
    expect(world.announcing.takeCounters().counters.interfaces[0]?.exact).toBe(false);
    for (const report of world.reported("compile")) world.compiled(report);
    world.announcing.takeCounters();
    world.take();
    expect(world.send("eth0", arpRequestFor(address("203.0.113.9")))).toEqual([]);
    expect(world.announcing.takeCounters().counters.interfaces).toEqual([]);
    for (const each of all.slice(0, 50))
      expect(world.send("eth0", requestFor(each))).toHaveLength(1);
  });
});

/** A link whose kernel refuses and drops as a test says. */
class TroubledLink extends LinkWrapper {
  counts: Partial<LinkStatistics> = {};
  refuseFilters = false;
  refuseGroups = false;

  override statistics(): LinkStatistics {
    return { ...super.statistics(), ...this.counts };
  }

  override joinGroup(): void {
    if (this.refuseGroups) throw new LinkError("Failed", "joining a group: Failed");
  }

  override setFilter(programs: readonly BpfProgram[], etherType?: number): void {
    if (this.refuseFilters) throw new LinkError("FilterTooLarge", "attaching a filter: no room");
    super.setFilter(programs, etherType);
  }
}

function troubled(): {
  readonly world: World;
  readonly link: TroubledLink;
  readonly down: () => void;
} {
  let link: TroubledLink | undefined;
  let down = (): void => undefined;
  const world = new World((open) => (handlers) => {
    down = () => handlers.down?.("Failed", new LinkError("FilterTooLarge", "reopening: no room"));
    return (link = new TroubledLink(open(handlers)));
  });
  world.announcing.setInterfaces([facts(1)]);
  if (link === undefined) throw new TypeError("the link was not opened");
  return { world, link, down: () => down() };
}

describe("a kernel", () => {
  test("that drops frames has them counted by reason", () => {
    const { world, link } = troubled();
    link.counts = { dropped: 5, oversized: 2, tagged: 3, foreign: 1, refused: 4 };
    expect(world.announcing.takeCounters().counters.interfaces).toMatchObject([
      { overruns: 5, refused: 4, drops: { oversized: 2, vlanTag: 3, foreign: 1 } },
    ]);
    link.counts = { ...link.counts, dropped: 6 };
    expect(world.announcing.takeCounters().counters.interfaces).toMatchObject([
      { overruns: 1, refused: 0, drops: {} },
    ]);
  });

  test("without room for a filter is told about, and answered to all the same", () => {
    const { world, link } = troubled();
    link.refuseFilters = true;
    world.announce(V4);
    expect(world.reported("trouble")[0]?.message).toContain("net.core.optmem_max");
    link.refuseFilters = false;
    world.pass(2000);
    expect(world.send("eth0", requestFor(V4)).length).toBeGreaterThan(0);
    expect(world.announcing.takeCounters().counters.interfaces[0]?.exact).toBe(true);
  });

  test("without room when an interface comes back gets a filter that fits", () => {
    const { world, down } = troubled();
    world.announce(V4);
    world.announcing.takeCounters();
    down();
    expect(world.announcing.takeCounters().counters.interfaces[0]?.exact).toBe(false);
    world.pass(100);
    expect(world.announcing.takeCounters().counters.interfaces[0]?.exact).toBe(true);
  });

  test("that lets no group be joined is told about, the address is announced", () => {
    const { world, link } = troubled();
    link.refuseGroups = true;
    world.announce(V6);
    expect(world.reported("trouble")).toMatchObject([{ message: "joining a group: Failed" }]);
    expect(world.take()).toHaveLength(1);
  });
});

test("what may not be answered is dropped and counted, whoever is asked for", () => {
  const world = World.withInterfaces(1);
  world.announce(V4);
  world.mayAnswer = false;
  world.take();
  expect(world.send("eth0", requestFor(V4))).toEqual([]);
  expect(world.announcing.takeCounters().counters.interfaces).toMatchObject([
    { received: 1, answered: 0, drops: { fenced: 1 } },
  ]);
});

test("what may not be answered any more still tells of another host", () => {
  const world = World.withInterfaces(1);
  world.announce(V4);
  world.mayAnswer = false;
  world.send("eth0", claimOf(V4, STRANGER));
  expect(world.reported("conflict")).toMatchObject([{ address: V4, mac: STRANGER }]);
});

describe("counters", () => {
  test("hold what happened since the last time, by interface and by address", () => {
    const world = World.withInterfaces(2);
    world.announce(V4);
    world.send("eth0", requestFor(V4), requestFor(V4), claimOf(V4, STRANGER));
    const { counters, more } = world.announcing.takeCounters();
    expect(more).toBe(false);
    expect(counters.interfaces).toEqual([
      { name: "eth0", received: 3, answered: 2, drops: {}, overruns: 0, refused: 0, exact: true },
      { name: "eth1", received: 0, answered: 0, drops: {}, overruns: 0, refused: 0, exact: true },
    ]);
    expect(counters.addresses).toEqual([
      {
        address: V4,
        interfaceName: "eth0",
        received: 3,
        answered: 2,
        announced: 2,
        conflicts: 1,
        drops: {},
      },
    ]);
    expect(world.announcing.takeCounters().counters).toEqual({ interfaces: [], addresses: [] });
  });

  test("of an interface that is closed are told once more, without a filter", () => {
    const world = World.withInterfaces(1);
    world.announce(V4);
    world.announcing.takeCounters();
    world.send("eth0", requestFor(V4));
    world.announcing.setInterfaces([]);
    const { interfaces, addresses } = world.announcing.takeCounters().counters;
    expect(interfaces).toEqual([
      { name: "eth0", received: 1, answered: 1, drops: {}, overruns: 0, refused: 0 },
    ]);
    expect(addresses).toMatchObject([{ address: V4, answered: 1 }]);
  });

  test("of very many addresses come in parts", () => {
    const world = World.withInterfaces(1);
    world.announce(...Array.from({ length: 1500 }, (_, i) => ipv4FromNumber(0xc0000700 + i)));
    world.pass(100);
    const first = world.announcing.takeCounters();
    const second = world.announcing.takeCounters();
    expect([first.more, second.more]).toEqual([true, false]);
    const announced = [...first.counters.addresses, ...second.counters.addresses];
    expect(new Set(announced.map((each) => each.address)).size).toBe(1500);
  });
});
