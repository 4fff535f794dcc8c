import { beforeEach, describe, expect, test } from "@jest/globals";
import type { EndpointSlice, Node, Service } from "../../../kubernetes/resources.ts";
import { byServiceName, IndexedStore } from "../../../kubernetes/store.ts";
import { address } from "../../../packet/address/address.ts";
import { decodeMac } from "../../../packet/address/mac.ts";
import { announceableAddresses } from "../../../speaker/facts.ts";
import { SpeakerReconciler } from "../../../speaker/reconcile.ts";
import type { Command, MemberNews } from "../../../speaker/thread-protocol.ts";
import { SpeakerView, standingOf } from "../../../speaker/view.ts";
import { poolConfig, renderedConfig } from "../../support/builders.ts";

const VIP = address("192.168.100.200"); // order by rank: node3, node2, node1
const CONFIG = renderedConfig([poolConfig("pool", ["192.168.100.0/24"])], {
  "excluded-interfaces": ["^docker"],
  "failure-detection": { "interval-milliseconds": 200, multiplier: 5 },
  "announcement-refresh-seconds": 120,
  "witness-addresses": ["192.168.100.1", "nonsense"],
  rebalance: { generation: 7, rollout: "", request: "" },
});

const node = (name: string, labels: Record<string, string> = {}): Node => ({
  metadata: { name, labels },
});
const service = (name: string, spec: object = {}, ...ips: string[]): Service => ({
  metadata: { name, namespace: "default" },
  spec: { type: "LoadBalancer", ...spec },
  status: { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } },
});
const slice = (of: string, ...nodes: string[]): EndpointSlice => ({
  metadata: {
    name: `${of}-1`,
    namespace: "default",
    labels: { "kubernetes.io/service-name": of },
  },
  addressType: "IPv4",
  endpoints: nodes.map((nodeName) => ({ addresses: [], nodeName })),
});

class World {
  readonly services = new IndexedStore<Service, "address">({
    address: (object) => announceableAddresses(object, object.spec?.loadBalancerClass ?? ""),
  });
  readonly slices = new IndexedStore<EndpointSlice, "service">({ service: byServiceName });
  readonly nodes = new IndexedStore<Node>();
  readonly posted: Command[] = [];
  readonly touched: string[] = [];
  readonly later: number[] = [];
  readonly members = new Map<string, MemberNews>();
  ms = 1000;
  isolated = false;
  readonly reconciler = new SpeakerReconciler({
    world: this,
    post: (command) => void this.posted.push(command),
    touched: (keys) => void this.touched.push(...keys),
    now: () => new Date(Date.UTC(2026, 0, 2) + this.ms),
    monotonicMs: () => this.ms,
    node: "node1",
    later: (_, milliseconds) => void this.later.push(milliseconds),
  });
  readonly view = new SpeakerView({
    node: "node1",
    services: this.services,
    decisions: this.reconciler,
    member: (name) => this.members.get(name),
    isolated: () => this.isolated,
    interfaces: () => [{ name: "eth0" }],
    interfacesOf: () => ["eth0"],
    now: () => new Date(Date.UTC(2026, 0, 2) + this.ms),
  });

  constructor() {
    for (const name of ["node1", "node2", "node3"]) {
      this.nodes.set(node(name));
      const links = [{ name: "eth0", mac: "", prefixes: ["192.168.100.0/24"] }] as never;
      this.members.set(name, { name, live: true, status: "active", links, keyIds: [] });
    }
    this.services.set(service("web", {}, VIP));
    this.reconciler.configure(CONFIG);
  }

  endpoints(...nodes: string[]): this {
    this.slices.set(slice("web", ...nodes));
    return this;
  }

  owner(owner: string | undefined, more: object = {}): this {
    this.reconciler.ownersChanged([
      { address: VIP, term: 1, ...(owner !== undefined && { owner }), ...more },
    ]);
    return this;
  }

  decide(): readonly string[] {
    this.reconciler.reconcile(VIP);
    this.reconciler.flush();
    const last = this.posted.at(-1);
    return last?.kind === "candidacies" ? (last.set.at(-1)?.ranked ?? []) : [];
  }

  /** Changes what is known of a member. */
  member(name: string, change: Partial<MemberNews>): MemberNews {
    const before = this.members.get(name);
    if (before === undefined) throw new Error(`no member ${name}`);
    const after = { ...before, ...change };
    this.members.set(name, after);
    return after;
  }
}

let world: World;
beforeEach(() => void (world = new World()));

describe("an owner whose local endpoint goes while another node has one", () => {
  beforeEach(() => {
    world.endpoints("node1", "node2").decide();
    world.owner("node1").endpoints("node2");
  });

  test("stays a candidate for five seconds, and is decided again then", () => {
    expect(world.decide()).toEqual(["node2", "node1"]);
    expect(world.later).toEqual([5000]);
    world.ms += 2000;
    expect(world.decide()).toEqual(["node2", "node1"]);
    expect(world.later).toEqual([5000, 3000]);
    world.ms += 3000;
    expect(world.decide()).toEqual(["node2"]);
    world.ms += 100_000;
    expect(world.decide()).toEqual(["node2"]);
  });

  test("begins anew when an endpoint came back meanwhile", () => {
    world.decide();
    world.ms += 4000;
    expect(world.endpoints("node1", "node2").decide()).toEqual(["node2", "node1"]);
    world.ms += 4000;
    expect(world.endpoints("node2").decide()).toEqual(["node2", "node1"]);
    expect(world.later.at(-1)).toBe(5000);
  });

  test("ends at once when it is the owner no longer", () => {
    world.decide();
    expect(world.owner("node2").decide()).toEqual(["node2"]);
  });

  test("hands over at once under externalTrafficPolicy Local", () => {
    world.services.set(service("web", { externalTrafficPolicy: "Local" }, VIP));
    expect(world.decide()).toEqual(["node2"]);
    expect(world.later).toEqual([]);
  });

  test("withdraws at once when no endpoint is Ready anywhere", () => {
    expect(world.endpoints().decide()).toEqual([]);
    expect(world.later).toEqual([]);
  });

  test("a node that does not own it has no such time", () => {
    world.owner("node3");
    expect(world.decide()).toEqual(["node2"]);
  });
});

describe("what a change touches", () => {
  test("a slice of a Service that is none of ours: nothing", () => {
    const object = slice("dns", "node1");
    const change = { type: "added", key: "default/dns-1", object } as const;
    expect(world.reconciler.sliceChanged(change, byServiceName)).toEqual([]);
  });

  test("a node whose heartbeat alone changed: nothing", () => {
    const object = node("node2");
    const change = { type: "updated", key: "node2", object, previous: node("node2") } as const;
    expect(world.reconciler.nodeChanged(change)).toEqual([]);
  });

  test("a node's label: every address", () => {
    const object = node("node2", { a: "b" });
    const change = { type: "updated", key: "node2", object, previous: node("node2") } as const;
    expect(world.reconciler.nodeChanged(change)).toEqual([VIP]);
  });
});

test("a configuration reaches the thread: interfaces, rhythm, witnesses, rebalance", () => {
  expect(world.posted).toEqual([
    { kind: "configure", excludedInterfaces: ["^docker"], refreshIntervalMs: 120_000 },
    {
      kind: "settings",
      intervalMs: 200,
      multiplier: 5,
      witnesses: ["192.168.100.1"],
      rebalance: 7,
    },
  ]);
});

describe("another host that uses an address", () => {
  const MAC = decodeMac(Uint8Array.from([2, 0, 0, 0, 0, 0x99]));
  beforeEach(() => void world.endpoints("node1").decide());

  test("is known from the probe before its first use, until it is gone", () => {
    world.owner(undefined, { hindrance: "conflict", usedBy: MAC });
    expect(world.reconciler.foreign(VIP)?.hardwareAddress).toBe(MAC);
    world.owner(undefined, { hindrance: "probing", usedBy: MAC });
    expect(world.reconciler.foreign(VIP)?.hardwareAddress).toBe(MAC);
    world.owner("node1");
    expect(world.reconciler.foreign(VIP)).toBeUndefined();
  });

  test("is known from its frames while this node answers, until it is over or another answers", () => {
    world.owner("node1");
    world.touched.length = 0;
    world.reconciler.contested(VIP, MAC);
    expect(world.touched).toEqual(["default/web"]);
    world.owner("node1");
    expect(world.view.verdict("default/web")).toMatchObject({
      reason: "AddressConflict",
      addresses: [{ conflict: { hardwareAddress: MAC, since: "2026-01-02T00:00:01Z" } }],
    });
    world.reconciler.contested(VIP, undefined);
    expect(world.view.verdict("default/web")?.reason).toBe("Announced");
    world.reconciler.contested(VIP, MAC);
    world.owner("node2");
    expect(world.reconciler.foreign(VIP)).toBeUndefined();
  });
});

describe("the view of a Service", () => {
  test("names every node with its reason", () => {
    world.endpoints("node1", "node2", "node3").decide();
    world.owner("node1");
    const gone = { live: false, reason: "SpeakerDead", since: Date.UTC(2026, 0, 1) } as const;
    world.member("node2", gone);
    world.members.delete("node3");
    expect(world.view.verdict("default/web")?.addresses[0]?.nodes).toEqual([
      { node: "node3", reason: "SpeakerMissing" },
      { node: "node2", reason: "SpeakerDead", since: "2026-01-01T00:00:00Z" },
    ]);
  });

  test("a node whose links are elsewhere is none to announce it", () => {
    world.endpoints("node1", "node2", "node3").decide();
    world.owner("node1");
    const far = [{ name: "eth0", mac: "", prefixes: ["10.0.0.0/8"] }] as never;
    world.member("node2", { links: far });
    world.member("node3", { links: [] });
    expect(world.view.verdict("default/web")?.addresses[0]?.nodes).toEqual([
      { node: "node3", reason: "NoUsableInterface" },
      { node: "node2", reason: "NoUsableInterface" },
    ]);
  });

  test("this node, when it hears nobody, says so", () => {
    world.endpoints("node1", "node2", "node3").decide();
    world.owner("node2");
    expect(world.view.verdict("default/web")?.addresses[0]?.here.reason).toBe("LowerRank");
    world.isolated = true;
    expect(world.view.verdict("default/web")?.addresses[0]?.here.reason).toBe("Isolated");
  });

  test("a member's own word goes before what others see of it", () => {
    const member = world.member("node2", { reason: "Draining" });
    expect(standingOf({ ...member, plight: "DataPlaneNotReady" }).reason).toBe("DataPlaneNotReady");
    expect(standingOf({ ...member, live: false, reason: "SpeakerDead" })).toEqual({
      live: false,
      reason: "SpeakerDead",
    });
  });

  for (const { name, object, reason, message } of [
    {
      name: "a class that is not ours",
      object: service("web", { loadBalancerClass: "other" }, VIP),
      reason: "ClassMismatch",
      message: /"other" and ours ""/,
    },
    {
      name: "no address: the controller's word",
      object: {
        ...service("web"),
        status: {
          conditions: [
            { type: "metallb.io/AddressAssigned", reason: "PoolExhausted", message: "full" },
          ],
        },
      },
      reason: "PoolExhausted",
      message: /^full$/,
    },
    {
      name: "an address of no pool",
      object: service("web", {}, "203.0.113.1"),
      reason: "AddressNotInPool",
      message: /no pool has the address/,
    },
  ] as { name: string; object: Service; reason: string; message: RegExp }[])
    test(`${name}: ${reason}`, () => {
      world.services.set(object);
      const verdict = world.view.verdict("default/web");
      expect(verdict?.reason).toBe(reason);
      expect(verdict?.message).toMatch(message);
    });

  test("nothing at all is known of a Service that is not there", () => {
    expect(world.view.verdict("default/none")).toBeUndefined();
  });

  test("without a configuration: ConfigurationNotRead", () => {
    const view = new SpeakerView({
      node: "node1",
      services: world.services,
      decisions: {
        config: undefined,
        decision: () => undefined,
        ownership: () => undefined,
        foreign: () => undefined,
      },
      member: () => undefined,
      isolated: () => false,
      interfaces: () => [],
      interfacesOf: () => [],
      now: () => new Date(),
    });
    expect(view.verdict("default/web")?.reason).toBe("ConfigurationNotRead");
  });
});
