/**
 * MetalLB's rules for what a Service asks for and for what it holds, beyond the tables of the single
 * parts; and where MetalLB 0.10, the era of OKD 4.9, does otherwise than we do.
 */
import { describe, expect, test } from "@jest/globals";
import { publishedBy, readRequest, type ServiceObject } from "../../../controller/service.ts";
import { poolConfig } from "../../support/builders.ts";
import { service, type ServiceOptions } from "./objects.ts";
import { World } from "./world.ts";

const POOLS = [
  poolConfig("a", ["10.0.0.0/29", "fd00::/125"]),
  poolConfig("b", ["10.1.0.0/29"], { "auto-assign": false }),
];

function world(...services: readonly ServiceObject[]): World {
  const made = new World();
  made.configure(POOLS);
  for (const each of services) made.put(each);
  made.rest();
  return made;
}

function reasons(world: World): string[] {
  return world.events.map(({ reason }) => reason);
}

describe("what a Service asks for", () => {
  for (const [name, ours, theirs, wanted] of [
    ["address-pool", "b", "a", { pool: "b" }],
    ["loadBalancerIPs", "10.0.0.5", "10.0.0.6", { addresses: ["10.0.0.5"] }],
    ["allow-shared-ip", "k", "j", { terms: { key: "k" } }],
  ] as const) {
    const read = (annotations: Readonly<Record<string, string>>): object =>
      readRequest(service("one", { annotations }), {});
    test(`is read from annotation ${name}`, () => {
      expect(read({ [name]: ours })).toMatchObject({ ok: true, request: wanted });
    });

    test(`is read from annotation ${name} under the old prefix too`, () => {
      const old = `metallb.universe.tf/${name}`;
      expect(read({ [old]: ours })).toMatchObject({ ok: true, request: wanted });
    });

    test(`is read from the new one of two annotations ${name}, even if it is empty`, () => {
      const old = `metallb.universe.tf/${name}`;
      expect(read({ [old]: theirs, [name]: ours })).toMatchObject({ request: wanted });
      expect(read({ [old]: theirs, [name]: "" })).toEqual(read({}));
    });
  }

  const request = (options: ServiceOptions): object => readRequest(service("one", options), {});

  for (const { name, options, wanted } of [
    {
      name: "takes its families from clusterIPs, in their order",
      options: { families: ["ipv6", "ipv4"] },
      wanted: { families: ["ipv6", "ipv4"] },
    },
    {
      name: "takes its family from clusterIP where there are no clusterIPs",
      options: { spec: { clusterIPs: [], clusterIP: "fd00::1" } },
      wanted: { families: ["ipv6"] },
    },
    {
      name: "wants all of its families without a policy",
      options: { families: ["ipv4", "ipv6"] },
      wanted: { oneWillDo: false },
    },
    {
      name: "is content with one of two under PreferDualStack",
      options: { families: ["ipv4", "ipv6"], spec: { ipFamilyPolicy: "PreferDualStack" } },
      wanted: { oneWillDo: true },
    },
    {
      name: "names a port by protocol and number, TCP unless it says so",
      options: { spec: { ports: [{ port: 53, protocol: "UDP" }, { port: 53 }] } },
      wanted: { terms: { ports: ["UDP/53", "TCP/53"] } },
    },
    {
      name: "has no backend under policy Cluster, whatever its selector",
      options: { spec: { externalTrafficPolicy: "Cluster", selector: { a: "1" } } },
      wanted: { terms: { backend: "" } },
    },
    {
      name: "has its selector for backend under policy Local, in one order whatever it is written in",
      options: { spec: { externalTrafficPolicy: "Local", selector: { b: "2", a: "1" } } },
      wanted: { terms: { backend: "a=1,b=2" } },
    },
    {
      name: "names one address by spec.loadBalancerIP",
      options: { spec: { loadBalancerIP: "10.0.0.5" } },
      wanted: { addresses: ["10.0.0.5"] },
    },
  ] satisfies { name: string; options: ServiceOptions; wanted: object }[]) {
    test(name, () => {
      expect(request(options)).toMatchObject({ ok: true, request: wanted });
    });
  }
});

describe("what a Service shows", () => {
  for (const { name, ingress, shows } of [
    { name: "is nothing with a host name", ingress: [{ hostname: "x.example" }], shows: [] },
    { name: "is nothing with what is no address", ingress: [{ ip: "fish" }], shows: [] },
    {
      name: "is the addresses beside those, in one spelling",
      ingress: [{ hostname: "x.example" }, { ip: "FD00:0::1" }, { ip: "10.0.0.1" }],
      shows: ["fd00::1", "10.0.0.1"],
    },
  ]) {
    test(name, () => {
      const status = { loadBalancer: { ingress } };
      expect(publishedBy(service("one", { status }))).toEqual(shows);
    });
  }

  test("is replaced when it cannot be read", () => {
    const status = { loadBalancer: { ingress: [{ ip: "fish" }] } };
    expect(world(service("one", { status })).shown("default/one")).toEqual(["10.0.0.0"]);
  });
});

describe("a holder", () => {
  const dual: ServiceOptions = {
    families: ["ipv4", "ipv6"],
    spec: { ipFamilyPolicy: "RequireDualStack" },
  };

  test("keeps the order of its pair when it asks for the same two in another order", () => {
    const subject = world(service("one", dual));
    const { writes } = subject;
    subject.put(
      service("one", {
        ...dual,
        annotations: {
          ...subject.services.get("default/one")!.metadata.annotations,
          loadBalancerIPs: "fd00::,10.0.0.0",
        },
        status: subject.services.get("default/one")!.status!,
      }),
    );
    subject.rest();
    subject.restart();
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0", "fd00::"]);
    expect(subject.writes).toBe(writes);
  });

  test("with PreferDualStack that cannot have the second address is told once, not at every look", () => {
    const subject = new World();
    subject.configure([poolConfig("v4", ["10.0.0.0/29"])]);
    subject.put(
      service("one", {
        families: ["ipv4", "ipv6"],
        spec: { ipFamilyPolicy: "PreferDualStack" },
      }),
    );
    subject.rest();
    for (let n = 0; n < 3; n++) {
      subject.put(service(`other-${n}`, { created: n + 1 }));
      subject.rest();
      subject.restart();
      subject.rest();
    }
    const told = subject.events.filter(({ service }) => service === "default/one");
    expect(told.map(({ reason }) => reason)).toEqual(["IPAllocated", "AdditionalAssignFailed"]);
  });

  test("of our class that becomes a ClusterIP, and so loses its class, gives its address back", () => {
    const subject = new World();
    subject.configure(POOLS, "our.example/lb");
    subject.put(service("one", { spec: { loadBalancerClass: "our.example/lb" } }));
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.0"]);
    subject.edit("default/one", ({ metadata, status }) => {
      // The API server takes the class away with the type.
      const { loadBalancerClass: _, ...spec } = service("one", { spec: { type: "ClusterIP" } })
        .spec as Record<string, unknown>;
      return { metadata, spec, ...(status !== undefined && { status }) };
    });
    subject.rest();
    expect(subject.shown("default/one")).toEqual([]);
    expect(subject.controller.allocator.usage("a", "ipv4").available).toBe(8n);
  });
});

describe("where MetalLB 0.10 does otherwise", () => {
  test("a Service with two families gets two addresses (0.10: one)", () => {
    const subject = world(service("one", { families: ["ipv4", "ipv6"] }));
    expect(subject.shown("default/one")).toEqual(["10.0.0.0", "fd00::"]);
  });

  test("a Service of one family gets one, of that family (0.10: the same)", () => {
    const subject = world(service("one", { families: ["ipv6"] }));
    expect(subject.shown("default/one")).toEqual(["fd00::"]);
  });

  test("a pool that no longer holds a holder's address moves the holder (0.10: the whole configuration is refused)", () => {
    const subject = world(service("one"));
    subject.configure([poolConfig("a", ["10.0.0.4/30"])]);
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["10.0.0.4"]);
    expect(reasons(subject)).toEqual(["IPAllocated", "ClearAssignment", "IPAllocated"]);
  });

  test("spec.loadBalancerIP is compared as an address (0.10: as text)", () => {
    const six = (loadBalancerIP: string): ServiceObject =>
      service("one", { families: ["ipv6"], spec: { loadBalancerIP } });
    const subject = world(six("FD00:0:0::5"));
    expect(subject.shown("default/one")).toEqual(["fd00::5"]);
    const { writes } = subject;
    subject.edit("default/one", (before) => ({ ...before, spec: six("fd00::5").spec! }));
    subject.rest();
    expect(subject.writes).toBe(writes);
  });

  test("the pool is written on the Service (0.10: only the address)", () => {
    const { metadata } = world(service("one")).services.get("default/one")!;
    expect(metadata.annotations?.["metallb.io/ip-allocated-from-pool"]).toBe("a");
  });

  test("a Service that got nothing is served when something becomes free (0.10: when it is looked at again)", () => {
    const subject = new World();
    subject.configure([poolConfig("a", ["10.0.0.1"])]);
    subject.put(service("one"));
    subject.put(service("two", { created: 1 }));
    subject.rest();
    subject.remove("default/one");
    subject.rest();
    expect(subject.shown("default/two")).toEqual(["10.0.0.1"]);
  });

  test("a pool may be a single address (no version of MetalLB takes one)", () => {
    const subject = new World();
    subject.configure([poolConfig("a", ["192.0.2.9"])]);
    subject.put(service("one"));
    subject.rest();
    expect(subject.shown("default/one")).toEqual(["192.0.2.9"]);
  });
});
