import { describe, expect, test } from "@jest/globals";
import { Allocator } from "../../../controller/allocator.ts";
import type { Report } from "../../../controller/announced.ts";
import { ControllerMetrics } from "../../../controller/metrics.ts";
import { Convergence } from "../../../controller/convergence.ts";
import { differs, poolStatus } from "../../../controller/pool-status.ts";
import { Quarantine } from "../../../controller/quarantine.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import { address } from "../../../packet/address/address.ts";
import { poolConfig } from "../../support/builders.ts";
import { pools, request, service } from "./objects.ts";

const ONE = address("10.0.0.1");
const CONFLICT = {
  address: ONE,
  hardwareAddress: "02:00:00:00:00:01",
  since: "2026-01-01T00:00:00Z",
};
const ENTRY = {
  address: "10.0.0.1",
  hardwareAddress: CONFLICT.hardwareAddress,
  since: CONFLICT.since,
};

const NOTHING: Report = { conflicts: [], announced: [] };
const CONFLICTING: Report = { conflicts: [CONFLICT], announced: [] };
const announcing = (term: number, since = "2025-12-31T00:00:00Z"): Report => ({
  conflicts: [],
  announced: [{ address: ONE, term, since }],
});
const ANNOUNCING = announcing(2);

/** Marks after reports that came one after the other, each in place of another. */
function after(...reports: readonly (readonly [before: Report, after: Report])[]): Quarantine {
  const quarantine = new Quarantine();
  for (const [before, after] of reports) {
    quarantine.report(before, after);
    quarantine.settle("now");
  }
  return quarantine;
}

describe("the mark of an address in conflict", () => {
  test("is made by a report, and stays when the report goes with its Service", () => {
    const quarantine = after([NOTHING, CONFLICTING], [CONFLICTING, NOTHING]);
    expect([...quarantine.addresses]).toEqual([ONE]);
    expect(quarantine.entry(ONE)).toEqual(ENTRY);
  });

  test("says when it was made, if the report does not", () => {
    const vague = { ...CONFLICT, hardwareAddress: "", since: "" };
    const quarantine = after([NOTHING, { conflicts: [vague], announced: [] }]);
    expect(quarantine.entry(ONE)).toEqual({ address: "10.0.0.1", since: "now" });
  });

  test("is read from the pool's status, so that it outlives the controller", () => {
    const quarantine = new Quarantine();
    quarantine.list("a", [ENTRY, { address: "fish", since: "" }]);
    expect([...quarantine.addresses]).toEqual([ONE]);
    expect(quarantine.entry(ONE)).toEqual(ENTRY);
  });

  test("goes when somebody takes it out of the status, but not before it was in it", () => {
    const quarantine = after([NOTHING, CONFLICTING], [CONFLICTING, NOTHING]);
    quarantine.list("a", []);
    expect(quarantine.addresses.size).toBe(1);
    quarantine.list("a", [ENTRY]);
    quarantine.list("b", []);
    expect(quarantine.addresses.size).toBe(1);
    quarantine.list("a", []);
    expect(quarantine.addresses.size).toBe(0);
  });

  test("does not go while a speaker still reports the conflict, though another one announces", () => {
    const quarantine = after([NOTHING, CONFLICTING], [NOTHING, ANNOUNCING]);
    quarantine.list("a", [ENTRY]);
    quarantine.list("a", []);
    quarantine.settle("now");
    expect(quarantine.addresses.size).toBe(1);
  });

  test("goes when the address is announced unopposed", () => {
    const quarantine = after([NOTHING, CONFLICTING], [CONFLICTING, ANNOUNCING]);
    expect(quarantine.addresses.size).toBe(0);
  });

  test("goes when it is read of an address that is announced unopposed", () => {
    const quarantine = after([NOTHING, ANNOUNCING]);
    quarantine.list("a", [ENTRY]);
    quarantine.settle("now");
    expect(quarantine.addresses.size).toBe(0);
  });

  test("does not go for what a node said that died before the conflict", () => {
    const quarantine = after(
      [NOTHING, announcing(1)],
      [NOTHING, CONFLICTING],
      [CONFLICTING, NOTHING],
    );
    expect([...quarantine.addresses]).toEqual([ONE]);
    quarantine.report(NOTHING, announcing(3));
    quarantine.settle("now");
    expect(quarantine.addresses.size).toBe(0);
  });

  test.each([
    ["stays for what was announced before the conflict", "2025-12-31T00:00:00Z", 1],
    ["stays for what says nothing of its time", "", 1],
    ["goes for what is announced since after it", "2026-01-01T00:00:01Z", 0],
  ])("is looked at anew by a new process: it %s", (_name, since, left) => {
    const quarantine = new Quarantine();
    quarantine.list("a", [ENTRY]);
    quarantine.report(NOTHING, announcing(2, since), false);
    quarantine.settle("now");
    expect(quarantine.addresses.size).toBe(left);
    // another owner, in the sight of this process
    quarantine.report(NOTHING, announcing(3));
    quarantine.settle("now");
    expect(quarantine.addresses.size).toBe(0);
  });

  test("goes when the last of two conflicts ends and a third speaker announces", () => {
    const quarantine = after(
      [NOTHING, CONFLICTING],
      [NOTHING, CONFLICTING],
      [NOTHING, ANNOUNCING],
      [CONFLICTING, NOTHING],
    );
    expect(quarantine.addresses.size).toBe(1);
    quarantine.report(CONFLICTING, NOTHING);
    expect(quarantine.settle("now")).toBe(true);
    expect(quarantine.addresses.size).toBe(0);
  });

  test("that neither comes nor goes is no news", () => {
    const quarantine = after([NOTHING, CONFLICTING]);
    quarantine.report(CONFLICTING, CONFLICTING);
    quarantine.report(NOTHING, {
      conflicts: [],
      announced: [{ address: address("10.0.0.9"), term: 1, since: "" }],
    });
    expect(quarantine.settle("now")).toBe(false);
  });
});

describe("the status of a pool", () => {
  function filled(count: number): Allocator {
    const allocator = new Allocator();
    allocator.setPools(
      pools(poolConfig("a", ["10.0.0.0/24", "fd00::/64"]), poolConfig("b", ["10.1.0.1"])),
    );
    for (let n = 0; n < count; n++) allocator.allocate(request(`s${n}`), 0);
    return allocator;
  }

  test("counts each family, and says who holds what", () => {
    const quarantine = new Quarantine();
    const allocator = filled(1);
    quarantine.report(NOTHING, {
      conflicts: [{ ...CONFLICT, address: address("10.0.0.9") }],
      announced: [],
    });
    quarantine.settle("now");
    allocator.setQuarantined(quarantine.addresses);
    expect(poolStatus("a", allocator, quarantine)).toEqual({
      assignedIPv4: 1,
      assignedIPv6: 0,
      availableIPv4: 254,
      availableIPv6: Number.MAX_SAFE_INTEGER,
      holders: [{ address: "10.0.0.0", namespace: "default", name: "s0" }],
      moreHolders: 0,
      quarantined: [{ ...ENTRY, address: "10.0.0.9" }],
    });
  });

  test("lists a hundred holders, sharing ones by name, and counts the others", () => {
    const allocator = filled(120);
    const shared = (name: string, port: string) =>
      request(name, { addresses: [ONE], terms: { key: "k", ports: [port] } });
    allocator.release("default/s1", 0);
    allocator.allocate(shared("z", "TCP/1"), 0);
    allocator.allocate(shared("y", "TCP/2"), 0);
    const status = poolStatus("a", allocator, new Quarantine());
    expect(status.holders).toHaveLength(100);
    expect(status.holders?.slice(0, 3).map(({ name }) => name)).toEqual(["s0", "y", "z"]);
    expect(status.moreHolders).toBe(21);
  });

  test("is empty for a pool that is not in effect", () => {
    expect(poolStatus("gone", filled(1), new Quarantine())).toEqual({});
  });

  test("differs only in what is ours, whatever order the server gives fields in", () => {
    const desired = poolStatus("a", filled(1), new Quarantine());
    const observed = {
      ...desired,
      holders: [{ name: "s0", namespace: "default", address: "10.0.0.0" }],
      conditions: [],
    };
    expect(differs(observed, desired)).toBe(false);
    expect(differs({ ...observed, assignedIPv4: 2 }, desired)).toBe(true);
    expect(differs(undefined, desired)).toBe(true);
    expect(differs({ ...observed, quarantined: undefined as never }, desired)).toBe(false);
    expect(differs(undefined, {})).toBe(false);
    expect(differs({ holders: [] }, {})).toBe(false);
  });
});

describe("metrics", () => {
  test("tell how full pools are, and forget those that are gone", async () => {
    const metrics = new Metrics();
    const subject = new ControllerMetrics(metrics);
    const convergence = new Convergence();
    convergence.configure(
      pools(poolConfig("a", ["10.0.0.0/30", "fd00::/126"]), poolConfig("b", ["10.1.0.1"])),
      "",
    );
    convergence.observe(service("one"), 0);
    convergence.observe(
      service("two", { annotations: { "address-pool": "b", loadBalancerIPs: "10.1.0.1" } }),
      0,
    );
    convergence.observe(service("three", { created: 1, annotations: { "address-pool": "b" } }), 0);
    convergence.settle(0);
    subject.show(convergence);
    subject.configuration("taken");
    const text = await metrics.registry.metrics();
    for (const line of [
      'metallb_allocator_addresses_total{pool="a"} 8',
      'metallb_allocator_ipv4_addresses_total{pool="a"} 4',
      'metallb_allocator_ipv6_addresses_in_use_total{pool="a"} 0',
      'metallb_allocator_addresses_in_use_total{pool="b"} 1',
      "metallb_allocator_services_waiting 1",
      "metallb_k8s_client_config_loaded_bool 1",
      "metallb_k8s_client_config_stale_bool 0",
    ]) {
      expect(text).toContain(line);
    }
    convergence.configure(pools(poolConfig("a", ["10.0.0.0/30"])), "");
    subject.show(convergence);
    subject.configuration("refused");
    const after = await metrics.registry.metrics();
    expect(after).not.toContain('pool="b"');
    expect(after).toContain("metallb_k8s_client_config_stale_bool 1");
    expect(after).toContain("metallb_k8s_client_config_loaded_bool 1");
  });

  test("count looks at objects, and those that failed", async () => {
    const metrics = new Metrics();
    const subject = new ControllerMetrics(metrics);
    expect(await subject.counted(() => Promise.resolve(1))).toBe(1);
    await expect(subject.counted(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
    const text = await metrics.registry.metrics();
    expect(text).toContain("metallb_k8s_client_updates_total 2");
    expect(text).toContain("metallb_k8s_client_update_errors_total 1");
  });
});
