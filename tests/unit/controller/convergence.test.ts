import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { PoolConfig } from "../../../api/rendered-config.ts";
import { ADDRESS_ASSIGNED, ANNOUNCED } from "../../../api/service-condition.ts";
import {
  POOL_ANNOTATION,
  VERDICT_ANNOTATION,
  isMarked,
  type ServiceObject,
} from "../../../controller/service.ts";
import { address } from "../../../packet/address/address.ts";
import { poolConfig } from "../../support/builders.ts";
import { service, type ServiceOptions } from "./objects.ts";
import { World } from "./world.ts";

const POOL = poolConfig("a", ["10.0.0.0/29", "fd00::/125"]);
const DUAL: ServiceOptions = {
  families: ["ipv4", "ipv6"],
  spec: { ipFamilyPolicy: "RequireDualStack" },
};

function world(configs: readonly PoolConfig[], ...services: readonly ServiceObject[]): World {
  const made = new World();
  made.configure(configs);
  for (const each of services) made.put(each);
  made.rest();
  return made;
}

function condition(
  world: World,
  key: string,
  type = ADDRESS_ASSIGNED,
): { status: string; reason: string; message: string } | undefined {
  return world.services
    .get(`default/${key}`)
    ?.status?.conditions?.find((each) => each.type === type);
}

function reasons(world: World, key: string): string[] {
  return world.events
    .filter(({ service }) => service === `default/${key}`)
    .map(({ reason }) => reason);
}

function change(world: World, name: string, options: ServiceOptions): void {
  world.edit(`default/${name}`, (before) => {
    const after = service(name, options);
    return {
      ...before,
      metadata: {
        ...before.metadata,
        labels: after.metadata.labels ?? {},
        annotations: { ...before.metadata.annotations, ...after.metadata.annotations },
      },
      spec: { ...before.spec, ...after.spec },
    };
  });
  world.rest();
}

describe("an answer to a write that comes after the watch", () => {
  const late = (): { subject: World; answer: ServiceObject; base: string | undefined } => {
    const subject = world([POOL], service("one"));
    const answer = subject.services.get("default/one")!;
    const base = "before the write";
    return { subject, answer, base };
  };

  test("does not take back what somebody has changed meanwhile", () => {
    const { subject, answer, base } = late();
    change(subject, "one", { spec: { loadBalancerIP: "10.0.0.5" } });
    const newest = subject.controller.service("default/one");
    expect(subject.controller.observeWritten(answer, base, 0)).toBe(false);
    expect(subject.controller.service("default/one")).toBe(newest);
  });

  test("does not bring back a Service that was deleted meanwhile", () => {
    const { subject, answer, base } = late();
    subject.remove("default/one");
    expect(subject.controller.observeWritten(answer, base, 0)).toBe(false);
    expect(subject.controller.service("default/one")).toBeUndefined();
    subject.put(service("two"));
    subject.rest();
    expect(subject.shown("default/two")).toEqual(["10.0.0.0"]);
  });

  test("is taken when nothing else was seen", () => {
    const subject = world([POOL], service("one"));
    const known = subject.controller.service("default/one")!;
    const { resourceVersion } = known.metadata;
    const metadata = { ...known.metadata, resourceVersion: "9999" };
    const answer = { ...known, metadata };
    expect(subject.controller.observeWritten(answer, resourceVersion, 0)).toBe(true);
    expect(subject.controller.service("default/one")).toBe(answer);
  });
});

describe("a new Service", () => {
  test("gets the lowest address, the pool's name, two conditions, a verdict and one event", () => {
    const subject = world([POOL], service("one"));
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    const { annotations } = subject.services.get("default/one")!.metadata;
    expect(annotations?.[POOL_ANNOTATION]).toBe("a");
    expect(annotations?.[VERDICT_ANNOTATION]).toBe(
      "10.0.0.0 assigned from pool a; no speaker has said anything about 10.0.0.0 yet",
    );
    expect(condition(subject, "one")).toMatchObject({ status: "True", reason: "Assigned" });
    expect(condition(subject, "one", ANNOUNCED)).toMatchObject({
      status: "Unknown",
      reason: "SpeakerMissing",
    });
    expect(reasons(subject, "one")).toEqual(["IPAllocated"]);
  });

  test("is written once, and never again while nothing changes", () => {
    const subject = world([POOL], service("one"), service("two", DUAL));
    expect(subject.writes).toBe(2);
    subject.rest();
    subject.configure([POOL]);
    subject.rest();
    subject.restart();
    subject.rest();
    expect(subject.writes).toBe(2);
  });

  test("that waits together with others is served by age, then by namespace and name", () => {
    const subject = world(
      [POOL],
      service("young", { created: 9 }),
      service("b", { created: 5 }),
      service("a", { created: 5 }),
      service("z", { created: 5, namespace: "aaa" }),
      service("old", { created: 1 }),
    );
    const shown = ["default/old", "aaa/z", "default/a", "default/b", "default/young"].map(
      (key) => subject.shown(key)[0],
    );
    expect(shown).toEqual(["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
  });

  for (const { name, options, reason, event } of [
    {
      name: "that asks for an address in no pool is told so",
      options: { spec: { loadBalancerIP: "192.0.2.1" } },
      reason: "AddressNotInPool",
      event: "AllocationFailed",
    },
    {
      name: "that asks for an address of the other family is told so",
      options: { annotations: { loadBalancerIPs: "fd00::1" } },
      reason: "FamilyMismatch",
      event: "AllocationFailed",
    },
    {
      name: "that asks for nonsense is told so",
      options: { annotations: { loadBalancerIPs: "fish" } },
      reason: "InvalidRequest",
      event: "LoadBalancerFailed",
    },
    {
      name: "that asks in two ways is told so",
      options: {
        spec: { loadBalancerIP: "10.0.0.1" },
        annotations: { loadBalancerIPs: "10.0.0.1" },
      },
      reason: "InvalidRequest",
      event: "LoadBalancerFailed",
    },
    {
      name: "that asks for three addresses is told so",
      options: { annotations: { loadBalancerIPs: "10.0.0.1,10.0.0.2,10.0.0.3" } },
      reason: "InvalidRequest",
      event: "LoadBalancerFailed",
    },
    {
      name: "that asks for two of one family is told so",
      options: { annotations: { loadBalancerIPs: "10.0.0.1,10.0.0.2" } },
      reason: "InvalidRequest",
      event: "LoadBalancerFailed",
    },
    {
      name: "that asks for an address with a comma too many is told so",
      options: { annotations: { loadBalancerIPs: "10.0.0.1," } },
      reason: "InvalidRequest",
      event: "LoadBalancerFailed",
    },
    {
      name: "that asks for an unknown pool is told so",
      options: { annotations: { "address-pool": "nowhere" } },
      reason: "NoPool",
      event: "AllocationFailed",
    },
    {
      name: "that requires two families and has one is told so",
      options: { spec: { ipFamilyPolicy: "RequireDualStack" } },
      reason: "FamilyMismatch",
      event: "AllocationFailed",
    },
    {
      name: "without cluster address is told so",
      options: { spec: { clusterIP: "None", clusterIPs: ["None"] } },
      reason: "FamilyMismatch",
      event: "AllocationFailed",
    },
    {
      name: "with ten thousand characters is told so in few",
      options: {
        annotations: { loadBalancerIPs: "x".repeat(10_000), "allow-shared-ip": "y".repeat(10_000) },
      },
      reason: "InvalidRequest",
      event: "LoadBalancerFailed",
    },
    {
      name: "with a pool of ten thousand characters is told so in few",
      options: { annotations: { "address-pool": "x".repeat(10_000) } },
      reason: "NoPool",
      event: "AllocationFailed",
    },
  ] satisfies { name: string; options: ServiceOptions; reason: string; event: string }[]) {
    test(`${name}; others are served`, () => {
      const subject = world([POOL], service("bad", options), service("good", { created: 1 }));
      expect(subject.shown("default/bad")).toEqual([]);
      expect(condition(subject, "bad")).toMatchObject({ status: "False", reason });
      expect(condition(subject, "bad")?.message.length).toBeLessThan(400);
      expect(reasons(subject, "bad")).toEqual([event]);
      expect(subject.shown("default/good")).toEqual(["10.0.0.0"]);
    });
  }

  test("finds the old annotations too, and is told that they are old", () => {
    const subject = world(
      [POOL],
      service("one", { annotations: { "metallb.universe.tf/loadBalancerIPs": "10.0.0.5" } }),
    );
    expect(subject.shown("default/one")).toEqual(["10.0.0.5"]);
    expect(reasons(subject, "one")).toEqual(["IPAllocated", "deprecatedAnnotation"]);
  });

  test("asks with the new annotation where both are, even if it is empty", () => {
    const subject = world(
      [POOL],
      service("one", {
        annotations: { "metallb.universe.tf/loadBalancerIPs": "10.0.0.5", loadBalancerIPs: "" },
      }),
    );
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
  });

  test("trims the spaces round the addresses that it asks for, and keeps their order", () => {
    const subject = world(
      [POOL],
      service("one", { ...DUAL, annotations: { loadBalancerIPs: " fd00::5 , 10.0.0.5 " } }),
    );
    expect(subject.shown("default/one")).toEqual(["fd00::5", "10.0.0.5"]);
    subject.restart();
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["fd00::5", "10.0.0.5"]);
    expect(subject.writes).toBe(1);
  });

  test("of a pool that exists but is not in effect is told that", () => {
    const subject = world([POOL]);
    subject.controller.setInvalidPools(new Set(["broken"]));
    subject.put(service("one", { annotations: { "address-pool": "broken" } }));
    subject.rest();
    expect(condition(subject, "one")).toMatchObject({ reason: "PoolInvalid" });
    subject.controller.setInvalidPools(new Set());
    subject.configure([POOL, poolConfig("broken", ["10.9.0.1"])]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.9.0.1"]);
  });

  test("with policy Local shares only with its own selector", () => {
    const local = (name: string, port: number, app: string): ServiceObject =>
      service(name, {
        annotations: { "allow-shared-ip": "k" },
        spec: { externalTrafficPolicy: "Local", selector: { b: "2", app }, ports: [{ port }] },
      });
    const subject = world([POOL], local("a", 1, "x"), local("b", 2, "x"), local("c", 3, "y"));
    expect(["a", "b", "c"].map((name) => subject.shown(`default/${name}`)[0])).toEqual([
      "10.0.0.0",
      "10.0.0.0",
      "10.0.0.1",
    ]);
  });
});

describe("a Service that waits", () => {
  const full = [poolConfig("a", ["10.0.0.1"])];

  test("gets the address as soon as its holder no longer shows it, the oldest first", () => {
    const subject = world(
      full,
      service("one", { created: 1 }),
      service("third", { created: 3 }),
      service("second", { created: 2 }),
    );
    expect(condition(subject, "second")).toMatchObject({
      status: "False",
      reason: "PoolExhausted",
      message: "no pool has a free address for this Service: pool a has no free address",
    });
    expect(condition(subject, "second", ANNOUNCED)).toMatchObject({
      status: "False",
      reason: "PoolExhausted",
    });
    expect(
      subject.services.get("default/second")?.metadata.annotations?.[VERDICT_ANNOTATION],
    ).toMatch(/^No address: /);
    subject.remove("default/one");
    subject.rest();
    expect(subject.shown("default/second")).toEqual(["10.0.0.1"]);
    expect(subject.shown("default/third")).toEqual([]);
  });

  test("is not written again when somebody else waits too", () => {
    const subject = world(full, service("one"), service("two", { created: 2 }));
    const { writes } = subject;
    subject.put(service("three", { created: 3 }));
    subject.rest();
    expect(subject.writes).toBe(writes + 1);
    expect(reasons(subject, "two")).toEqual(["AllocationFailed"]);
  });

  test("gets an address when a pool comes", () => {
    const subject = world([], service("one"));
    expect(condition(subject, "one")).toMatchObject({
      reason: "NoPool",
      message: "no pool may serve this Service: there is no pool",
    });
    subject.configure(full);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
  });

  const red = poolConfig("a", ["10.0.0.1"], {
    "namespace-selectors": [{ matchLabels: { team: "red" } }],
  });

  test("gets an address when its namespace gets the label that a pool looks for", () => {
    const subject = world([red], service("one"));
    expect(condition(subject, "one")).toBeUndefined();
    subject.controller.setNamespaceLabels("default", {});
    subject.rest();
    expect(condition(subject, "one")).toMatchObject({ reason: "NoPool" });
    subject.controller.setNamespaceLabels("default", { team: "red" });
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    subject.controller.setNamespaceLabels("default", {});
    subject.rest();
    expect(subject.shown("default/one")).toEqual([]);
  });

  test("gets nothing from another pool before the labels of its namespace are known", () => {
    const common = poolConfig("z", ["10.1.0.1"]);
    const subject = world([red, common], service("one"));
    expect(subject.shown("default/one")).toEqual([]);
    subject.controller.setNamespaceLabels("default", { team: "red" });
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    subject.restart();
    subject.rest();
    subject.put(service("two", { created: 1 }));
    subject.rest();
    expect([subject.shown("default/one"), subject.shown("default/two")]).toEqual([
      ["10.0.0.1"],
      [],
    ]);
    subject.controller.setNamespaceLabels("default", undefined);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
  });

  test("gets a rested address when its time has come", () => {
    const subject = world(
      [poolConfig("a", ["10.0.0.1"], { "cooldown-seconds": 5 })],
      service("one"),
    );
    subject.remove("default/one");
    subject.put(service("two"));
    subject.rest();
    expect(subject.shown("default/two")).toEqual([]);
    expect(subject.controller.wakeAt(subject.now)).toBe(5_000);
    expect(subject.controller.unserved).toBe(1);
    subject.now = 5_000;
    subject.rest();
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
  });

  test("has at once what it had itself, though it rests", () => {
    const subject = world(
      [poolConfig("a", ["10.0.0.0/30"], { "cooldown-seconds": 3600 })],
      service("one"),
      service("two", { created: 1 }),
    );
    subject.remove("default/two");
    subject.remove("default/one");
    subject.put(service("three", { created: 2 }));
    subject.rest();
    subject.put(service("two", { created: 3, uid: "another" }));
    change(subject, "three", { spec: { type: "ClusterIP" } });
    change(subject, "three", { spec: { type: "LoadBalancer" } });
    expect([subject.shown("default/two"), subject.shown("default/three")]).toEqual([
      ["10.0.0.1"],
      ["10.0.0.2"],
    ]);
  });

  test("gets the address that it may share now", () => {
    const key = { annotations: { "allow-shared-ip": "k" } };
    const subject = world(
      full,
      service("one"),
      service("two", { ...key, created: 1, spec: { ports: [{ port: 443 }] } }),
    );
    expect(condition(subject, "two")).toMatchObject({ reason: "PoolExhausted" });
    change(subject, "one", key);
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
  });
});

describe("a holder", () => {
  test("keeps its address when a lower one becomes free", () => {
    const subject = world([POOL], service("one"), service("two", { created: 1 }));
    subject.remove("default/one");
    subject.rest();
    subject.restart();
    subject.rest();
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
  });

  test("keeps its address when autoAssign goes, or another pool comes before", () => {
    const subject = world([POOL], service("one"));
    subject.configure([
      { ...POOL, "auto-assign": false },
      poolConfig("0", ["10.9.0.0/24"], { priority: 1 }),
    ]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
  });

  test("keeps its address under another name of the pool", () => {
    const subject = world([POOL], service("one"));
    subject.configure([poolConfig("b", POOL.addresses)]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    expect(subject.services.get("default/one")?.metadata.annotations?.[POOL_ANNOTATION]).toBe("b");
    expect(reasons(subject, "one")).toEqual(["IPAllocated"]);
  });

  for (const { name, options, shown, tells } of [
    {
      name: "moves to the address that it now asks for",
      options: { annotations: { loadBalancerIPs: "10.0.0.5" } },
      shown: ["10.0.0.5"],
      tells: ["IPAllocated", "ClearAssignment", "IPAllocated"],
    },
    {
      name: "loses its address when it asks for one that it cannot have",
      options: { annotations: { loadBalancerIPs: "10.9.9.9" } },
      shown: [],
      tells: ["IPAllocated", "ClearAssignment", "AllocationFailed"],
    },
    {
      name: "keeps its address when it asks for nonsense, and is told",
      options: { annotations: { loadBalancerIPs: "fish" } },
      shown: ["10.0.0.0"],
      tells: ["IPAllocated", "LoadBalancerFailed"],
    },
    {
      name: "keeps its address when it asks for just that",
      options: { annotations: { loadBalancerIPs: "10.0.0.0", "address-pool": "a" } },
      shown: ["10.0.0.0"],
      tells: ["IPAllocated"],
    },
    {
      name: "moves to the pool that it now names",
      options: { annotations: { "address-pool": "b" } },
      shown: ["10.1.0.0"],
      tells: ["IPAllocated", "ClearAssignment", "IPAllocated"],
    },
    {
      name: "gets a second address when it becomes dual-stack",
      options: DUAL,
      shown: ["10.0.0.0", "fd00::"],
      tells: ["IPAllocated", "IPAllocated"],
    },
    {
      name: "changes its address with its family",
      options: { families: ["ipv6"] },
      shown: ["fd00::"],
      tells: ["IPAllocated", "ClearAssignment", "IPAllocated"],
    },
  ] satisfies { name: string; options: ServiceOptions; shown: string[]; tells: string[] }[]) {
    test(name, () => {
      const subject = world(
        [POOL, poolConfig("b", ["10.1.0.0/24"], { "auto-assign": false })],
        service("one"),
      );
      change(subject, "one", options);
      expect(subject.shown("default/one")).toEqual(shown);
      expect(reasons(subject, "one")).toEqual(tells);
      expect(subject.controller.allocator.usage("a", "ipv4").available).toBe(
        shown[0]?.startsWith("10.0.") === true ? 7n : 8n,
      );
    });
  }

  test("that asks for nonsense says so in its condition, and still is assigned", () => {
    const subject = world([POOL], service("one"));
    change(subject, "one", { annotations: { loadBalancerIPs: "fish" } });
    expect(condition(subject, "one")).toMatchObject({
      status: "True",
      reason: "InvalidRequest",
      message: expect.stringContaining("it keeps 10.0.0.0"),
    });
  });

  test("keeps the address of the family that stays", () => {
    const subject = world([POOL], service("one", DUAL));
    expect(subject.shown("default/one")).toEqual(["10.0.0.0", "fd00::"]);
    change(subject, "one", { families: ["ipv6"], spec: { ipFamilyPolicy: "SingleStack" } });
    expect(subject.shown("default/one")).toEqual(["fd00::"]);
  });

  test("with PreferDualStack keeps one address, and gets the other when there is one", () => {
    const prefer = {
      families: ["ipv4", "ipv6"],
      spec: { ipFamilyPolicy: "PreferDualStack" },
    } as const;
    const small = [poolConfig("a", ["10.0.0.0/29", "fd00::1"])];
    const subject = world(
      small,
      service("six", { families: ["ipv6"] }),
      service("one", { ...prefer, created: 1 }),
    );
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    expect(condition(subject, "one")).toMatchObject({
      status: "True",
      message: expect.stringContaining("pool a has no free address"),
    });
    expect(reasons(subject, "one")).toEqual(["IPAllocated", "AdditionalAssignFailed"]);
    subject.remove("default/six");
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0", "fd00::1"]);
  });

  test("with RequireDualStack that cannot have both where it is goes where it can", () => {
    const subject = world(
      [poolConfig("a", ["10.0.0.1"]), poolConfig("b", ["10.1.0.1", "fd00::1"])],
      service("one"),
    );
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    change(subject, "one", DUAL);
    expect(subject.shown("default/one")).toEqual(["10.1.0.1", "fd00::1"]);
  });

  test("of a shared address that takes a partner's port must leave, and is told by whom", () => {
    const shared = (name: string, port: number, created: number): ServiceObject =>
      service(name, {
        created,
        annotations: { "allow-shared-ip": "k" },
        spec: { ports: [{ port }] },
      });
    const subject = world(
      [poolConfig("a", ["10.0.0.1"])],
      shared("one", 80, 1),
      shared("two", 81, 2),
    );
    change(subject, "one", {
      annotations: { "allow-shared-ip": "k" },
      spec: { ports: [{ port: 81 }] },
    });
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
    expect(subject.shown("default/one")).toEqual([]);
    expect(subject.events.filter(({ reason }) => reason === "ClearAssignment")).toEqual([
      expect.objectContaining({
        service: "default/one",
        message: "Took back 10.0.0.1: 10.0.0.1 is in use by default/two, which has port TCP/81 too",
      }),
    ]);
  });

  test("whose status somebody edits gets it back", () => {
    const subject = world([POOL], service("one"));
    subject.edit("default/one", (before) => ({
      ...before,
      status: { ...before.status, loadBalancer: { ingress: [{ ip: "10.0.0.3" }] } },
    }));
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    subject.edit("default/one", (before) => ({ ...before, status: {} }));
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
  });

  test("keeps conditions of others beside ours", () => {
    const theirs = {
      type: "Other",
      status: "True",
      reason: "R",
      message: "",
      lastTransitionTime: "2026-01-01T00:00:00Z",
    } as const;
    const subject = world([POOL], service("one", { status: { conditions: [theirs] } }));
    expect(subject.services.get("default/one")?.status?.conditions).toContainEqual(theirs);
    change(subject, "one", { spec: { type: "ClusterIP" } });
    expect(subject.services.get("default/one")?.status?.conditions).toEqual([theirs]);
  });
});

describe("a Service that is none of ours any more", () => {
  for (const { name, after } of [
    { name: "another type", after: { type: "ClusterIP" } },
    { name: "another class", after: { loadBalancerClass: "other.example/lb" } },
  ]) {
    test(`is cleaned and gives its address back: ${name}`, () => {
      const subject = world([POOL], service("one"));
      change(subject, "one", { spec: after });
      expect(subject.shown("default/one")).toEqual([]);
      expect(isMarked(subject.services.get("default/one")!)).toBe(false);
      expect(subject.controller.allocator.usage("a", "ipv4").available).toBe(8n);
      expect(reasons(subject, "one")).toEqual(["IPAllocated", "ClearAssignment"]);
    });

    test(`is cleaned also when it happened while the controller was down: ${name}`, () => {
      const subject = world([POOL], service("one"));
      const before = subject.services.get("default/one")!;
      subject.services.set("default/one", { ...before, spec: { ...before.spec, ...after } });
      subject.restart();
      subject.put(service("two"));
      subject.settle();
      subject.write("default/two");
      // The address is still shown: nobody else may have it yet.
      expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
      subject.rest();
      expect(subject.shown("default/one")).toEqual([]);
      expect(isMarked(subject.services.get("default/one")!)).toBe(false);
    });
  }

  test("and never was, is left alone whatever its status says", () => {
    const subject = world(
      [POOL],
      service("theirs", { spec: { loadBalancerClass: "other" }, ingress: ["10.0.0.0"] }),
      service("plain", { spec: { type: "ClusterIP" } }),
    );
    expect(subject.writes).toBe(0);
    expect([...subject.controller.keys()]).toEqual([]);
  });

  test("but MetalLB's, which serves another class and writes the same annotation, is left alone", () => {
    const subject = world(
      [POOL],
      service("theirs", {
        spec: { loadBalancerClass: "other.example/lb" },
        annotations: { "ip-allocated-from-pool": "theirs" },
        ingress: ["10.0.0.0"],
      }),
      service("ours"),
    );
    expect(subject.writes).toBe(1);
    expect(subject.shown("default/theirs")).toEqual(["10.0.0.0"]);
  });

  test("with a class flag, only that class is ours", () => {
    const subject = new World();
    subject.configure([POOL], "our.example/lb");
    subject.put(service("none"));
    subject.put(service("ours", { spec: { loadBalancerClass: "our.example/lb" } }));
    subject.rest();
    expect(subject.shown("default/none")).toEqual([]);
    expect(subject.shown("default/ours")).toEqual(["10.0.0.0"]);
    subject.configure([POOL], "");
    subject.rest();
    expect(subject.shown("default/none")).not.toEqual([]);
    expect(subject.shown("default/ours")).toEqual([]);
  });

  test("but another one of the same name, stands behind those who wait", () => {
    const subject = world(
      [poolConfig("a", ["10.0.0.1"])],
      service("one", { uid: "first", created: 1 }),
      service("waits", { created: 2 }),
    );
    subject.put(service("one", { uid: "second", created: 3 }));
    subject.rest();
    expect(subject.shown("default/waits")).toEqual(["10.0.0.1"]);
    expect(subject.shown("default/one")).toEqual([]);
  });

  test("but another one of the same name, gets the address anew", () => {
    const subject = world([POOL], service("x"), service("one", { uid: "first", created: 1 }));
    subject.services.delete("default/one");
    subject.put(service("one", { uid: "second", created: 2 }));
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    expect(subject.controller.allocator.usage("a", "ipv4").available).toBe(6n);
  });
});

describe("pools that change", () => {
  test("move only those outside, one after the other, and tell them", () => {
    const subject = world([POOL], ...[0, 1, 2, 3].map((n) => service(`s${n}`, { created: n })));
    subject.configure([poolConfig("a", ["10.0.0.2-10.0.0.4"])]);
    subject.rest();
    expect([0, 1, 2, 3].map((n) => subject.shown(`default/s${n}`))).toEqual([
      ["10.0.0.4"],
      [],
      ["10.0.0.2"],
      ["10.0.0.3"],
    ]);
    expect(reasons(subject, "s0")).toEqual(["IPAllocated", "ClearAssignment", "IPAllocated"]);
    expect(condition(subject, "s1")).toMatchObject({ reason: "PoolExhausted" });
    expect(subject.events.find(({ reason }) => reason === "ClearAssignment")?.message).toBe(
      "Took back 10.0.0.0: 10.0.0.0 is in no pool",
    );
  });

  test("never give an address away before its last holder has let go of it in the API", () => {
    const one = [poolConfig("a", ["10.0.0.1"])];
    const subject = world(one, service("one"), service("two", { created: 1 }));
    subject.configure([{ ...one[0]!, namespaces: ["other"] }]);
    subject.settle();
    subject.configure([
      poolConfig("b", ["10.0.0.1"], { "service-selectors": [{ matchLabels: { app: "two" } }] }),
    ]);
    subject.edit("default/two", (before) => ({
      ...before,
      metadata: { ...before.metadata, labels: { app: "two" } },
    }));
    subject.settle();
    subject.write("default/two");
    expect(subject.shown("default/two")).toEqual([]);
    subject.write("default/one", "requestLost");
    subject.settle();
    expect(subject.controller.decision("default/two")?.granted).toBeUndefined();
    subject.write("default/one");
    subject.settle();
    subject.write("default/two");
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
  });

  test("never give an address away that a lost answer may have made visible", () => {
    const one = poolConfig("a", ["10.0.0.1"]);
    const subject = world([one]);
    subject.put(service("one"));
    subject.settle();
    subject.write("default/one", "answerLost");
    subject.configure([]);
    subject.settle();
    subject.put(service("two", { annotations: { "address-pool": "b" } }));
    subject.configure([{ ...one, name: "b", "auto-assign": false }]);
    subject.settle();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    expect(subject.controller.decision("default/two")?.reason).toBe("PoolExhausted");
    // A second try on top of the same version changes nothing about the first.
    subject.write("default/one", "requestLost");
    subject.settle();
    expect(subject.controller.decision("default/two")?.reason).toBe("PoolExhausted");
    // Now it is seen that the first one got through: what is shown and allowed is kept.
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    expect(subject.shown("default/two")).toEqual([]);
  });

  test("give an address free that was never written, once that is certain", () => {
    const one = poolConfig("a", ["10.0.0.1"]);
    const subject = world([], service("one"));
    subject.configure([one]);
    subject.settle();
    subject.write("default/one", "requestLost");
    subject.configure([]);
    subject.settle();
    expect(subject.controller.isUncertain("default/one")).toBe(true);
    subject.rest();
    expect(subject.controller.isUncertain("default/one")).toBe(false);
    subject.put(service("two", { created: 1, annotations: { "address-pool": "b" } }));
    subject.configure([{ ...one, name: "b", "auto-assign": false }]);
    subject.rest();
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
    subject.controller.endWrite("default/gone", 0);
    expect(subject.controller.isUncertain("default/gone")).toBe(false);
  });

  test("that are gone leave everybody without address", () => {
    const subject = world([POOL], service("one"));
    subject.configure([]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual([]);
    expect(condition(subject, "one")).toMatchObject({ status: "False", reason: "NoPool" });
  });
});

describe("an address in conflict", () => {
  const conflict = new Set([address("10.0.0.0")]);

  test("stays with a holder that says nothing about it", () => {
    const subject = world([POOL], service("one"));
    subject.controller.setQuarantined(conflict);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
  });

  test("is exchanged for a holder that asks for that", () => {
    const subject = world(
      [POOL],
      service("one", { annotations: { "on-address-conflict": "Reassign" } }),
    );
    subject.controller.setQuarantined(conflict);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
    expect(subject.events.find(({ reason }) => reason === "ClearAssignment")?.message).toContain(
      "another host on the LAN uses it",
    );
    subject.put(service("two", { created: 1 }));
    subject.rest();
    expect(subject.shown("default/two")).toEqual(["10.0.0.2"]);
  });

  test("is exchanged alone: the other family keeps its own", () => {
    const asks = { annotations: { "on-address-conflict": "Reassign" } };
    for (const ipFamilyPolicy of ["PreferDualStack", "RequireDualStack"]) {
      const dual = { ...DUAL, ...asks, spec: { ipFamilyPolicy } };
      const subject = world([POOL], service("zero", { created: -1 }), service("one", dual));
      subject.remove("default/zero");
      expect(subject.shown("default/one")).toEqual(["10.0.0.1", "fd00::"]);
      subject.controller.setQuarantined(new Set([address("10.0.0.1")]));
      subject.rest();
      expect(subject.shown("default/one")).toEqual(["10.0.0.0", "fd00::"]);
    }
  });

  test("is not given up for fewer addresses", () => {
    const dual = {
      families: ["ipv4", "ipv6"],
      spec: { ipFamilyPolicy: "PreferDualStack" },
    } as const;
    const asks = { ...dual, annotations: { "on-address-conflict": "Reassign" } };
    const subject = world([poolConfig("a", ["10.0.0.0", "fd00::/125"])], service("one", asks));
    subject.controller.setQuarantined(conflict);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0", "fd00::"]);
    subject.configure([poolConfig("a", ["10.0.0.0/31", "fd00::/125"])]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1", "fd00::"]);
  });

  test("stays while there is no other, and is exchanged once there is", () => {
    const subject = world(
      [poolConfig("a", ["10.0.0.0"])],
      service("one", { annotations: { "on-address-conflict": "Reassign" } }),
    );
    subject.controller.setQuarantined(conflict);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    subject.configure([poolConfig("a", ["10.0.0.0/31"])]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.1"]);
  });

  test("stays with a holder that asked for it by name", () => {
    const asks = {
      annotations: { "on-address-conflict": "Reassign", loadBalancerIPs: "10.0.0.0" },
    };
    const subject = world([POOL], service("one", asks));
    subject.controller.setQuarantined(conflict);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
  });
});

describe("a restart", () => {
  test("lets all holders claim before anybody new is served", () => {
    const subject = world([POOL], service("held", { created: 9 }));
    subject.restart();
    subject.put(service("new", { created: 1 }));
    subject.restart((keys) => keys.sort().reverse());
    subject.rest();
    expect(subject.shown("default/held")).toEqual(["10.0.0.0"]);
    expect(subject.shown("default/new")).toEqual(["10.0.0.1"]);
  });

  test("between decision and write neither loses nor doubles an address", () => {
    const subject = world([POOL]);
    subject.put(service("one"));
    subject.settle();
    subject.write("default/one", "answerLost");
    subject.restart();
    subject.put(service("two", { created: 1 }));
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
    expect(subject.controller.allocator.usage("a", "ipv4").available).toBe(6n);
  });

  test("parts two Services that were given one address, for the younger", () => {
    const subject = world([]);
    subject.put(service("young", { created: 2, ingress: ["10.0.0.3"] }));
    subject.put(service("old", { created: 1, ingress: ["10.0.0.3"] }));
    subject.configure([POOL]);
    subject.rest();
    expect(subject.shown("default/old")).toEqual(["10.0.0.3"]);
    expect(subject.shown("default/young")).toEqual(["10.0.0.0"]);
  });

  test("gives the same addresses whatever order the objects come in", () => {
    const some = fc.array(
      fc.record({
        created: fc.nat(3),
        held: fc.option(fc.constantFrom("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.9.9.9")),
        key: fc.constantFrom("", "k"),
        port: fc.integer({ min: 1, max: 3 }),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(some, fc.func(fc.integer()), (all, shuffle) => {
        const services = all.map(({ created, held, key, port }, n) =>
          service(`s${n}`, {
            created,
            annotations: { "allow-shared-ip": key },
            spec: { ports: [{ port }] },
            ...(held !== null && { ingress: [held] }),
          }),
        );
        const outcomes = [(a: number) => a, (a: number) => shuffle(a)].map((rank) => {
          const subject = new World();
          subject.configure([poolConfig("a", ["10.0.0.0/30"])]);
          const order = services
            .map((each, n) => ({ each, rank: rank(n) }))
            .sort((a, b) => a.rank - b.rank);
          for (const { each } of order) subject.put(each);
          subject.rest();
          return services.map((each) => subject.shown(`default/${each.metadata.name}`));
        });
        expect(outcomes[1]).toEqual(outcomes[0]);
      }),
    );
  });
});
