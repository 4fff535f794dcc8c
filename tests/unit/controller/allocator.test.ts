import { describe, expect, test } from "@jest/globals";
import type { PoolConfig } from "../../../api/rendered-config.ts";
import {
  Allocator,
  formatRefusal,
  type AddressRequest,
  type Assignment,
} from "../../../controller/allocator.ts";
import { address, type Address } from "../../../packet/address/address.ts";
import { poolConfig } from "../../support/builders.ts";
import { pools, request } from "./objects.ts";

function allocator(...configs: readonly PoolConfig[]): Allocator {
  const made = new Allocator();
  made.setPools(pools(...configs));
  return made;
}

function addresses(...texts: readonly string[]): Address[] {
  return texts.map(address);
}

/** Allocates one after the other and gives what each got: its addresses, or the reason. */
function outcomes(subject: Allocator, ...requests: readonly AddressRequest[]): string[] {
  return requests.map((each) => outcome(subject.allocate(each, 0)));
}

function outcome(assignment: Assignment): string {
  return assignment.ok ? assignment.addresses.join("+") : assignment.reason;
}

const DUAL = { families: ["ipv4", "ipv6"] } as const;
const V6 = { families: ["ipv6"] } as const;

describe("choosing an address", () => {
  for (const { name, configs, asks, gets } of [
    {
      name: "takes the lowest, the first and the last address of a prefix included",
      configs: [poolConfig("a", ["10.0.0.0/31"])],
      asks: [request("a"), request("b"), request("c")],
      gets: ["10.0.0.0", "10.0.0.1", "PoolExhausted"],
    },
    {
      name: "takes the lowest of all entries, whatever their order",
      configs: [poolConfig("a", ["10.0.0.9", "10.0.0.3-10.0.0.4"])],
      asks: [request("a"), request("b"), request("c")],
      gets: ["10.0.0.3", "10.0.0.4", "10.0.0.9"],
    },
    {
      name: "leaves out .0 and .255 when told so",
      configs: [poolConfig("a", ["10.0.0.254-10.0.1.1"], { "avoid-buggy-ips": true })],
      asks: [request("a"), request("b"), request("c")],
      gets: ["10.0.0.254", "10.0.1.1", "PoolExhausted"],
    },
    {
      name: "goes on with the next pool by name when one is full",
      configs: [poolConfig("b", ["10.0.1.0/32"]), poolConfig("a", ["10.0.0.0/32"])],
      asks: [request("a"), request("b"), request("c")],
      gets: ["10.0.0.0", "10.0.1.0", "PoolExhausted"],
    },
    {
      name: "tries pools by priority, 0 last",
      configs: [
        poolConfig("a", ["10.0.0.1"]),
        poolConfig("b", ["10.0.0.2"], { priority: 20 }),
        poolConfig("c", ["10.0.0.3"], { priority: 10 }),
      ],
      asks: [request("a"), request("b"), request("c")],
      gets: ["10.0.0.3", "10.0.0.2", "10.0.0.1"],
    },
    {
      name: "tries pools that name the namespace before those open to all",
      configs: [
        poolConfig("a", ["10.0.0.1"]),
        poolConfig("b", ["10.0.0.2"], { namespaces: ["default"] }),
      ],
      asks: [request("a"), request("b")],
      gets: ["10.0.0.2", "10.0.0.1"],
    },
    {
      name: "never falls back on a pool for others",
      configs: [poolConfig("a", ["10.0.0.1"], { namespaces: ["other"] })],
      asks: [request("a")],
      gets: ["NoPool"],
    },
    {
      name: "leaves pools without autoAssign to those who name them",
      configs: [poolConfig("a", ["10.0.0.1"], { "auto-assign": false })],
      asks: [request("a"), request("b", { pool: "a" })],
      gets: ["NoPool", "10.0.0.1"],
    },
    {
      name: "does not open a pool for others to those who name it",
      configs: [poolConfig("a", ["10.0.0.1"], { namespaces: ["other"] })],
      asks: [request("a", { pool: "a" }), request("b", { addresses: addresses("10.0.0.1") })],
      gets: ["NoPool", "NoPool"],
    },
    {
      name: "refuses a pool that does not exist",
      configs: [poolConfig("a", ["10.0.0.1"])],
      asks: [request("a", { pool: "b" })],
      gets: ["NoPool"],
    },
    {
      name: "takes an IPv6 address for an IPv6 Service",
      configs: [poolConfig("a", ["10.0.0.1", "fd00::/64"])],
      asks: [request("a", V6), request("b", V6)],
      gets: ["fd00::", "fd00::1"],
    },
    {
      name: "refuses a family that no pool has",
      configs: [poolConfig("a", ["10.0.0.1"])],
      asks: [request("a", V6), request("b", { ...V6, pool: "a" })],
      gets: ["FamilyMismatch", "FamilyMismatch"],
    },
    {
      name: "has nothing without pools",
      configs: [],
      asks: [request("a")],
      gets: ["NoPool"],
    },
  ]) {
    test(name, () => expect(outcomes(allocator(...configs), ...asks)).toEqual(gets));
  }

  test("says of each pool why it was passed over", () => {
    const subject = allocator(
      poolConfig("full", ["10.0.0.1"]),
      poolConfig("named", ["10.0.0.2"], { "auto-assign": false }),
      poolConfig("other", ["10.0.0.3"], { namespaces: ["other"] }),
      poolConfig("picky", ["10.0.0.4"], { "service-selectors": [{ matchLabels: { a: "b" } }] }),
      poolConfig("six", ["fd00::1"]),
    );
    subject.allocate(request("a"), 0);
    const refusal = subject.allocate(request("b"), 0);
    if (refusal.ok) throw new TypeError("granted");
    expect(refusal.considered).toEqual([
      { pool: "full", why: "full" },
      { pool: "named", why: "autoAssignOff" },
      { pool: "other", why: "namespace" },
      { pool: "picky", why: "labels" },
      { pool: "six", why: "noFamily" },
    ]);
    expect(formatRefusal(refusal)).toBe(
      "no pool has a free address for this Service: pool full has no free address; pool named serves only Services that ask for it by name (autoAssign is false); pool other does not serve this namespace; pool picky serves only Services with other labels; pool six has no address of that family",
    );
  });

  test("keeps the message short with very many pools", () => {
    const many = Array.from({ length: 300 }, (_, i) =>
      poolConfig(`pool-${i}`, [`10.0.${i >> 8}.${i & 255}`], { "auto-assign": false }),
    );
    const refusal = allocator(...many).allocate(request("a"), 0);
    if (refusal.ok) throw new TypeError("granted");
    expect(formatRefusal(refusal)).toMatch(/; and 290 more pools$/);
  });
});

describe("two families", () => {
  for (const { name, configs, asks, gets } of [
    {
      name: "both come from one pool, IPv4 first",
      configs: [poolConfig("a", ["10.0.0.1"]), poolConfig("b", ["10.0.1.1", "fd00::1"])],
      asks: [request("a", { families: ["ipv6", "ipv4"] })],
      gets: ["10.0.1.1+fd00::1"],
    },
    {
      name: "RequireDualStack: both or nothing",
      configs: [poolConfig("a", ["10.0.0.1-10.0.0.9", "fd00::1"])],
      asks: [request("a", DUAL), request("b", DUAL), request("c")],
      gets: ["10.0.0.1+fd00::1", "PoolExhausted", "10.0.0.2"],
    },
    {
      name: "RequireDualStack: two pools of one family each do not do",
      configs: [poolConfig("a", ["10.0.0.1"]), poolConfig("b", ["fd00::1"])],
      asks: [request("a", DUAL)],
      gets: ["FamilyMismatch"],
    },
    {
      name: "PreferDualStack: one address of the primary family will do",
      configs: [poolConfig("a", ["10.0.0.1"]), poolConfig("b", ["fd00::1"])],
      asks: [request("a", { families: ["ipv6", "ipv4"], oneWillDo: true })],
      gets: ["fd00::1"],
    },
    {
      name: "PreferDualStack: at last one of the other family",
      configs: [poolConfig("a", ["10.0.0.1"])],
      asks: [request("a", { families: ["ipv6", "ipv4"], oneWillDo: true })],
      gets: ["10.0.0.1"],
    },
    {
      name: "PreferDualStack: both from a later pool come before one from the first",
      configs: [poolConfig("a", ["10.0.0.1"]), poolConfig("b", ["10.0.1.1", "fd00::1"])],
      asks: [request("a", { ...DUAL, oneWillDo: true })],
      gets: ["10.0.1.1+fd00::1"],
    },
  ]) {
    test(name, () => expect(outcomes(allocator(...configs), ...asks)).toEqual(gets));
  }

  test("the missing one is added from the same pool, behind the first", () => {
    const subject = allocator(
      poolConfig("a", ["fd00::1"]),
      poolConfig("b", ["10.0.0.1", "fd00:1::1"]),
    );
    subject.allocate(request("a", V6), 0);
    expect(outcome(subject.extend(request("a", DUAL), 0))).toBe("FamilyMismatch");
    subject.allocate(request("b", { ...V6, pool: "b" }), 0);
    expect(outcome(subject.extend(request("b", DUAL), 0))).toBe("fd00:1::1+10.0.0.1");
    expect(outcome(subject.extend(request("nobody", DUAL), 0))).toBe("NoPool");
  });
});

describe("addresses asked for by name", () => {
  const configs = [
    poolConfig("a", ["10.0.0.0/24", "fd00::/64"]),
    poolConfig("b", ["10.0.1.0/24", "fd00:1::/64"], { "auto-assign": false }),
  ];
  for (const { name, asks, gets } of [
    {
      name: "are assigned, also where autoAssign is false",
      asks: [request("a", { addresses: addresses("10.0.1.7") })],
      gets: ["10.0.1.7"],
    },
    {
      name: "are not assigned twice",
      asks: [
        request("a", { addresses: addresses("10.0.0.7") }),
        request("b", { addresses: addresses("10.0.0.7") }),
      ],
      gets: ["10.0.0.7", "AddressInUse"],
    },
    {
      name: "must be in a pool",
      asks: [request("a", { addresses: addresses("192.0.2.1") })],
      gets: ["AddressNotInPool"],
    },
    {
      name: "must be of the Service's family",
      asks: [
        request("a", { addresses: addresses("fd00::1") }),
        request("b", { ...V6, addresses: addresses("10.0.0.1") }),
        request("c", { ...DUAL, addresses: addresses("10.0.0.1") }),
        request("d", { ...DUAL, oneWillDo: true, addresses: addresses("10.0.0.1") }),
      ],
      gets: ["FamilyMismatch", "FamilyMismatch", "FamilyMismatch", "FamilyMismatch"],
    },
    {
      name: "keep the order in which they were given",
      asks: [request("a", { ...DUAL, addresses: addresses("fd00::5", "10.0.0.5") })],
      gets: ["fd00::5+10.0.0.5"],
    },
    {
      name: "must be of one pool",
      asks: [request("a", { ...DUAL, addresses: addresses("fd00:1::5", "10.0.0.5") })],
      gets: ["AddressNotInPool"],
    },
    {
      name: "must be of the pool that is named too",
      asks: [
        request("a", { addresses: addresses("10.0.1.7"), pool: "a" }),
        request("b", { addresses: addresses("10.0.1.7"), pool: "b" }),
      ],
      gets: ["AddressNotInPool", "10.0.1.7"],
    },
    {
      name: "are shared by Services that may share",
      asks: [
        request("a", { addresses: addresses("10.0.0.7"), terms: { key: "k" } }),
        request("b", { addresses: addresses("10.0.0.7"), terms: { key: "k", ports: ["TCP/443"] } }),
        request("c", { addresses: addresses("10.0.0.7"), terms: { key: "k", ports: ["TCP/443"] } }),
        request("d", { addresses: addresses("10.0.0.7"), terms: { key: "j", ports: ["TCP/1"] } }),
        request("e", { addresses: addresses("10.0.0.7"), terms: { ports: ["TCP/2"] } }),
      ],
      gets: ["10.0.0.7", "10.0.0.7", "SharingRefused", "SharingRefused", "AddressInUse"],
    },
  ]) {
    test(name, () => expect(outcomes(allocator(...configs), ...asks)).toEqual(gets));
  }

  test("leave the lower ones to others", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30"]));
    expect(
      outcomes(
        subject,
        request("a", { addresses: addresses("10.0.0.1") }),
        request("b"),
        request("c"),
      ),
    ).toEqual(["10.0.0.1", "10.0.0.0", "10.0.0.2"]);
  });

  test("not in any pool are told by which address it is", () => {
    const refusal = allocator(...configs).allocate(
      request("a", { ...DUAL, addresses: addresses("10.0.0.1", "fd00:9::1") }),
      0,
    );
    expect(refusal).toMatchObject({ message: "fd00:9::1 is in no pool" });
  });
});

describe("sharing", () => {
  const shared = (name: string, port: string, more = {}): AddressRequest =>
    request(name, { terms: { key: "k", ports: [port], ...more } });

  test("an address that carries the key comes before a lower free one", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/29"]));
    subject.allocate(request("x"), 0);
    expect(outcomes(subject, shared("a", "TCP/80"))).toEqual(["10.0.0.1"]);
    subject.release("default/x", 0);
    expect(outcomes(subject, shared("b", "TCP/81"), shared("c", "TCP/81"))).toEqual([
      "10.0.0.1",
      "10.0.0.0",
    ]);
  });

  test("an address of a later pool that carries the key comes before a free one of the first", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/29"]), poolConfig("b", ["10.0.1.0/29"]));
    subject.allocate({ ...shared("a", "TCP/80"), pool: "b" }, 0);
    expect(outcomes(subject, shared("b", "TCP/81"))).toEqual(["10.0.1.0"]);
  });

  test("a full pool still has room on an address that may be shared", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    expect(
      outcomes(subject, shared("a", "TCP/80"), shared("b", "TCP/81"), shared("c", "TCP/80")),
    ).toEqual(["10.0.0.1", "10.0.0.1", "PoolExhausted"]);
  });

  test("other selectors do not share with policy Local", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30"]));
    expect(
      outcomes(
        subject,
        shared("a", "TCP/80", { backend: "app=a" }),
        shared("b", "TCP/81", { backend: "app=b" }),
        shared("c", "TCP/82", { backend: "app=a" }),
      ),
    ).toEqual(["10.0.0.0", "10.0.0.1", "10.0.0.0"]);
  });

  test("two families are shared each for itself", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30", "fd00::/126"]));
    expect(
      outcomes(
        subject,
        shared("a", "TCP/80"),
        { ...shared("b", "TCP/81"), ...DUAL },
        { ...shared("c", "TCP/82"), ...DUAL },
        { ...shared("d", "TCP/80"), ...DUAL },
      ),
    ).toEqual(["10.0.0.0", "10.0.0.0+fd00::", "10.0.0.0+fd00::", "10.0.0.1+fd00::"]);
  });

  test("the address is free when the last one leaves", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    outcomes(subject, shared("a", "TCP/80"), shared("b", "TCP/81"));
    subject.release("default/a", 0);
    expect(outcomes(subject, request("c"))).toEqual(["PoolExhausted"]);
    subject.release("default/b", 0);
    expect(outcomes(subject, request("c"))).toEqual(["10.0.0.1"]);
  });
});

describe("claiming what one has", () => {
  test("is refused to the later of two who cannot share", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30"]));
    expect(outcome(subject.claim(request("a"), addresses("10.0.0.1"), 0))).toBe("10.0.0.1");
    expect(outcome(subject.claim(request("b"), addresses("10.0.0.1"), 0))).toBe("AddressInUse");
    expect(subject.holding("default/b")).toBeUndefined();
  });

  test("changes the terms in place while alone", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    subject.allocate(request("a"), 0);
    subject.claim(
      request("a", { terms: { key: "k", ports: ["TCP/1"] } }),
      addresses("10.0.0.1"),
      0,
    );
    expect(outcomes(subject, request("b", { terms: { key: "k" } }))).toEqual(["10.0.0.1"]);
  });

  test("takes the address away from who changes its port to one that is taken", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    outcomes(
      subject,
      request("a", { terms: { key: "k", ports: ["TCP/1"] } }),
      request("b", { terms: { key: "k", ports: ["TCP/2"] } }),
    );
    const changed = request("b", { terms: { key: "k", ports: ["TCP/1"] } });
    expect(outcome(subject.claim(changed, addresses("10.0.0.1"), 0))).toBe("SharingRefused");
    expect([...subject.holders("a")]).toEqual([{ address: "10.0.0.1", services: ["default/a"] }]);
  });

  test("follows an address into another pool", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    subject.allocate(request("a"), 0);
    subject.setPools(pools(poolConfig("b", ["10.0.0.0/24"])));
    expect(subject.claim(request("a"), addresses("10.0.0.1"), 0)).toMatchObject({ pool: "b" });
    expect(outcomes(subject, request("b"), request("c"))).toEqual(["10.0.0.0", "10.0.0.2"]);
  });

  test("is refused outside of all pools, and where avoid-buggy-ips came to exclude it", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/24"]));
    subject.allocate(request("a"), 0);
    subject.setPools(pools(poolConfig("a", ["10.0.0.0/24"], { "avoid-buggy-ips": true })));
    expect(outcome(subject.claim(request("a"), addresses("10.0.0.0"), 0))).toBe("AddressNotInPool");
  });

  test("is refused where the pool admits the Service no more", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    subject.allocate(request("a"), 0);
    subject.setPools(pools(poolConfig("a", ["10.0.0.1"], { namespaces: ["other"] })));
    expect(outcome(subject.claim(request("a"), addresses("10.0.0.1"), 0))).toBe("NoPool");
  });
});

describe("what is still published", () => {
  test("is out of reach for others until it is not", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.1"]));
    subject.allocate(request("a"), 0);
    subject.publish("default/a", addresses("10.0.0.1"), 0);
    subject.release("default/a", 0);
    expect(
      outcomes(subject, request("b"), request("c", { addresses: addresses("10.0.0.1") })),
    ).toEqual(["PoolExhausted", "AddressInUse"]);
    expect(subject.usage("a", "ipv4")).toEqual({ assigned: 0, holders: 0, available: 0n });
    const before = subject.freed;
    subject.publish("default/a", [], 0);
    expect(subject.freed).toBeGreaterThan(before);
    expect(outcomes(subject, request("b"))).toEqual(["10.0.0.1"]);
  });

  test("may be claimed by the Service itself, and asked for by name", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30"]));
    subject.publish("default/a", addresses("10.0.0.1"), 0);
    const again = request("a", { addresses: addresses("10.0.0.1") });
    expect(outcomes(subject, again)).toEqual(["10.0.0.1"]);
    subject.publish("default/b", addresses("10.0.0.2"), 0);
    expect(outcome(subject.claim(request("b"), addresses("10.0.0.2"), 0))).toBe("10.0.0.2");
  });

  test("is not shared with newcomers either", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30"]));
    const terms = { key: "k", ports: ["TCP/1"] };
    subject.allocate(request("a", { terms }), 0);
    subject.publish("default/x", addresses("10.0.0.0"), 0);
    const newcomer = request("b", { terms: { key: "k", ports: ["TCP/2"] } });
    expect(outcomes(subject, newcomer)).toEqual(["10.0.0.1"]);
  });

  test("counts also outside of all pools, and once a pool has it", () => {
    const subject = allocator();
    subject.publish("default/a", addresses("10.0.0.1"), 0);
    subject.setPools(pools(poolConfig("a", ["10.0.0.1"])));
    expect(outcomes(subject, request("b"))).toEqual(["PoolExhausted"]);
  });
});

describe("addresses at rest", () => {
  const cooling = poolConfig("a", ["10.0.0.0/31"], { "cooldown-seconds": 10 });

  test("are not given out before their time, and the time is known", () => {
    const subject = allocator(cooling);
    subject.allocate(request("a"), 0);
    subject.release("default/a", 1_000);
    expect(outcomes(subject, request("b"))).toEqual(["10.0.0.1"]);
    expect(subject.expire(10_999)).toBe(11_000);
    expect(outcomes(subject, request("c"))).toEqual(["PoolExhausted"]);
    expect(subject.expire(11_000)).toBeUndefined();
    expect(outcomes(subject, request("c"))).toEqual(["10.0.0.0"]);
  });

  test("go back at once to the Service that had them", () => {
    const subject = allocator(cooling);
    subject.allocate(request("a"), 0);
    subject.release("default/a", 0);
    const named = { addresses: addresses("10.0.0.0") };
    expect(outcomes(subject, request("b", named), request("a", named))).toEqual([
      "AddressInUse",
      "10.0.0.0",
    ]);
    expect(subject.expire(0)).toBeUndefined();
  });

  test("rest from the moment that nobody shows them any more", () => {
    const subject = allocator(cooling);
    subject.allocate(request("a"), 0);
    subject.publish("default/a", addresses("10.0.0.0"), 0);
    subject.release("default/a", 5_000);
    expect(subject.expire(5_000)).toBeUndefined();
    subject.publish("default/a", [], 6_000);
    expect(subject.expire(6_000)).toBe(16_000);
  });

  test("obey a changed cooldown, and wake when the pool goes", () => {
    const subject = allocator(cooling);
    subject.allocate(request("a"), 0);
    subject.release("default/a", 0);
    subject.setPools(pools({ ...cooling, "cooldown-seconds": 20 }));
    expect(subject.expire(0)).toBe(20_000);
    subject.setPools(pools(poolConfig("b", ["10.0.0.0/24"], { "cooldown-seconds": 30 })));
    expect(subject.expire(0)).toBe(30_000);
    expect(outcomes(subject, request("b"))).toEqual(["10.0.0.1"]);
    subject.setPools([]);
    expect(subject.expire(0)).toBeUndefined();
  });
});

describe("quarantined addresses", () => {
  const marked = new Set(addresses("10.0.0.0", "10.9.9.9"));

  test("are not handed out, neither by chance nor by name nor shared", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/31"]));
    const terms = { key: "k", ports: ["TCP/1"] };
    subject.allocate(request("a", { terms }), 0);
    subject.setQuarantined(marked);
    expect(subject.isQuarantined(address("10.0.0.0"))).toBe(true);
    expect(
      outcomes(
        subject,
        request("b", { terms: { key: "k", ports: ["TCP/2"] } }),
        request("c", { addresses: addresses("10.0.0.0"), terms: { key: "k", ports: ["TCP/3"] } }),
      ),
    ).toEqual(["10.0.0.1", "AddressConflict"]);
  });

  test("stay with their holder, and out of use after it", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/32"]));
    subject.allocate(request("a"), 0);
    subject.setQuarantined(marked);
    expect(outcome(subject.claim(request("a"), addresses("10.0.0.0"), 0))).toBe("10.0.0.0");
    subject.release("default/a", 0);
    expect(outcomes(subject, request("b"))).toEqual(["PoolExhausted"]);
    expect(subject.quarantined("a")).toEqual(["10.0.0.0"]);
    subject.setQuarantined(new Set());
    expect(outcomes(subject, request("b"))).toEqual(["10.0.0.0"]);
  });
});

describe("the count of a pool", () => {
  test("tells addresses and holders of each family", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/30", "fd00::/64"]));
    outcomes(
      subject,
      request("a", { ...DUAL, terms: { key: "k" } }),
      request("b", { terms: { key: "k", ports: ["TCP/1"] } }),
      request("c"),
    );
    expect(subject.usage("a", "ipv4")).toEqual({ assigned: 2, holders: 3, available: 2n });
    expect(subject.usage("a", "ipv6")).toEqual({
      assigned: 1,
      holders: 1,
      available: (1n << 64n) - 1n,
    });
    expect(subject.usage("b", "ipv4")).toEqual({ assigned: 0, holders: 0, available: 0n });
    expect([...subject.holders("a")]).toEqual([
      { address: "10.0.0.0", services: ["default/a", "default/b"] },
      { address: "10.0.0.1", services: ["default/c"] },
      { address: "fd00::", services: ["default/a"] },
    ]);
    expect([...subject.holders("b")]).toEqual([]);
  });

  test("is right after pools changed", () => {
    const subject = allocator(poolConfig("a", ["10.0.0.0/24"]), poolConfig("b", ["10.0.1.0/24"]));
    outcomes(subject, request("a"), request("b"), request("c", { pool: "b" }));
    subject.setPools(pools(poolConfig("a", ["10.0.0.1"]), poolConfig("b", ["10.0.1.0/24"])));
    expect(subject.usage("a", "ipv4")).toEqual({ assigned: 1, holders: 1, available: 0n });
    expect(subject.usage("b", "ipv4")).toEqual({ assigned: 1, holders: 1, available: 255n });
    expect(subject.poolOf(address("10.0.0.0"))).toBeUndefined();
  });
});
