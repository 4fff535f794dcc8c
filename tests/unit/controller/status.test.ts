import { describe, expect, test } from "@jest/globals";
import { announcementOf, reportOf, type Announcement } from "../../../controller/announced.ts";
import { readConfiguration } from "../../../controller/configuration.ts";
import { readEnvironment } from "../../../controller/environment.ts";
import { ANNOUNCED } from "../../../api/service-condition.ts";
import type { Decision } from "../../../controller/service.ts";
import { changeOf } from "../../../controller/status.ts";
import { trimL2Status, trimNamespace, trimPool, trimService } from "../../../controller/trim.ts";
import type { Service } from "../../../kubernetes/resources.ts";
import type { AddressObservation, ServiceL2Status } from "../../../api/service-l2-status.ts";
import { formatRenderedConfig } from "../../../api/rendered-config.ts";
import { address } from "../../../packet/address/address.ts";
import { poolConfig, addressPool, renderedConfig } from "../../support/builders.ts";
import { service } from "./objects.ts";

const NOW = new Date("2026-01-02T03:04:05.678Z");
const GRANTED: Decision = {
  ours: true,
  reason: "Assigned",
  message: "10.0.0.1 assigned from pool a",
  granted: { ok: true, pool: "a", addresses: [address("10.0.0.1")] },
  waiting: false,
};
const ANNOUNCEMENT: Announcement = {
  status: "True",
  reason: "Announced",
  message: "10.0.0.1 is announced by node1",
};

function observed(node: string, ...addresses: readonly AddressObservation[]): ServiceL2Status {
  return {
    apiVersion: "metallb.io/v1beta1",
    kind: "ServiceL2Status",
    metadata: { name: node },
    status: { node, serviceName: "s", serviceNamespace: "default", addresses: [...addresses] },
  };
}

describe("what is written on a Service", () => {
  test("is only what differs, on top of the version that was decided upon", () => {
    const change = changeOf(service("one", { resourceVersion: "7" }), GRANTED, ANNOUNCEMENT, NOW);
    expect(change?.patch).toEqual({
      metadata: {
        resourceVersion: "7",
        uid: "uid-default-one",
        annotations: {
          "metallb.io/ip-allocated-from-pool": "a",
          "metallb.io/verdict": "10.0.0.1 assigned from pool a; 10.0.0.1 is announced by node1",
        },
      },
      status: {
        loadBalancer: { ingress: [{ ip: "10.0.0.1" }] },
        conditions: [
          {
            type: "metallb.io/AddressAssigned",
            status: "True",
            reason: "Assigned",
            message: "10.0.0.1 assigned from pool a",
            lastTransitionTime: "2026-01-02T03:04:05Z",
          },
          {
            type: "metallb.io/Announced",
            status: "True",
            reason: "Announced",
            message: "10.0.0.1 is announced by node1",
            lastTransitionTime: "2026-01-02T03:04:05Z",
          },
        ],
      },
    });
  });

  /** The Service as it is after the change. */
  function written(): ReturnType<typeof service> {
    const before = service("one", { ingress: ["10.0.0.1"] });
    const patch = changeOf(before, GRANTED, ANNOUNCEMENT, NOW)!.patch;
    const annotations = patch.metadata.annotations as Record<string, string>;
    return {
      ...before,
      metadata: { ...before.metadata, annotations },
      status: { ...before.status, conditions: patch.status!.conditions! },
    };
  }

  test("is nothing when all is as it shall be, whatever ipMode the API server filled in", () => {
    expect(changeOf(written(), GRANTED, ANNOUNCEMENT, new Date())).toBeUndefined();
  });

  test("is no ingress when only the announcement changed, and keeps the transition time of the rest", () => {
    const lost = { status: "False", reason: "NoCarrier", message: "no carrier" } as const;
    const change = changeOf(written(), GRANTED, lost, new Date("2026-01-03T00:00:00Z"));
    expect(change?.patch.status?.loadBalancer).toBeUndefined();
    expect(
      change?.patch.status?.conditions?.map(({ lastTransitionTime }) => lastTransitionTime),
    ).toEqual(["2026-01-02T03:04:05Z", "2026-01-03T00:00:00Z"]);
    expect(change?.events).toEqual([
      { type: "Warning", reason: "announceFailed", message: "no carrier" },
    ]);
    const other = changeOf(written(), GRANTED, { ...lost, status: "Unknown" }, NOW);
    expect(other?.events).toEqual([]);
  });

  test("is not told again while the reason stays and only the words change", () => {
    const before = written();
    const conditions = before.status!.conditions!.map((each) =>
      each.type === ANNOUNCED ? { ...each, status: "False" as const, reason: "NoCarrier" } : each,
    );
    const still = { status: "False", reason: "NoCarrier", message: "other words" } as const;
    const change = changeOf(
      { ...before, status: { ...before.status, conditions } },
      GRANTED,
      still,
      NOW,
    );
    expect(change?.events).toEqual([]);
  });

  test("takes hostnames out, which are none of ours", () => {
    const before = service("one", {
      status: { loadBalancer: { ingress: [{ hostname: "x.example" }] } },
    });
    const nothing: Decision = { ours: true, reason: "NoPool", message: "m", waiting: false };
    expect(changeOf(before, nothing, ANNOUNCEMENT, NOW)?.patch.status?.loadBalancer).toEqual({
      ingress: null,
    });
  });
});

describe("what the speakers say", () => {
  const addresses = [address("10.0.0.1"), address("fd00::1")];
  const one: AddressObservation = { address: "10.0.0.1", reason: "Announced", term: 3 };
  const two: AddressObservation = { address: "fd00::1", reason: "Announced", term: 3 };
  for (const { name, statuses, says } of [
    {
      name: "nothing: nobody knows",
      statuses: [],
      says: {
        status: "Unknown",
        reason: "SpeakerMissing",
        message:
          "no speaker has said anything about 10.0.0.1 yet; no speaker has said anything about fd00::1 yet",
      },
    },
    {
      name: "of both that they are announced",
      statuses: [observed("n1", { ...one, interfaces: [{ name: "eth0" }, { name: "eth1" }] }, two)],
      says: {
        status: "True",
        reason: "Announced",
        message: "10.0.0.1 is announced by n1 on eth0, eth1; fd00::1 is announced by n1",
      },
    },
    {
      name: "of one only: the other decides",
      statuses: [observed("n1", one)],
      says: { status: "Unknown", reason: "SpeakerMissing" },
    },
    {
      name: "different things: the highest term is right",
      statuses: [
        observed("n1", one, two),
        observed("n2", { ...one, reason: "NoCarrier", term: 4 }),
      ],
      says: {
        status: "False",
        reason: "NoCarrier",
        message: expect.stringContaining("10.0.0.1 is not announced: NoCarrier on node n2"),
      },
    },
    {
      name: "different things at one term: who announces is right",
      statuses: [observed("n1", { ...one, reason: "Draining" }, two), observed("n2", one)],
      says: { status: "True", reason: "Announced" },
    },
    {
      name: "equal things: the first name stands for all",
      statuses: [observed("n2", one, two), observed("n1", one, two)],
      says: { message: "10.0.0.1 is announced by n1; fd00::1 is announced by n1" },
    },
    {
      name: "something about addresses of before: that counts for nothing",
      statuses: [observed("n1", { ...one, address: "10.9.9.9" })],
      says: { status: "Unknown" },
    },
  ]) {
    test(name, () => expect(announcementOf(addresses, statuses)).toMatchObject(says));
  }

  test("is read as conflicts, with who else has the address, and as what is announced without one", () => {
    const conflict = { hardwareAddress: "02:00:00:00:00:01", since: "2026-01-01T00:00:00Z" };
    const { kind, apiVersion, metadata } = observed("n3");
    expect(
      reportOf(
        observed(
          "n1",
          { ...one, reason: "AddressConflict", conflict },
          { ...two, reason: "AddressConflict", since: "2026-01-02T00:00:00Z" },
          { ...two, address: "fish", reason: "AddressConflict" },
          { ...one, address: "10.0.0.9" },
          { ...one, address: "10.0.0.8", reason: "NoCarrier" },
        ),
      ),
    ).toEqual({
      conflicts: [
        { address: "10.0.0.1", ...conflict },
        { address: "fd00::1", hardwareAddress: "", since: "2026-01-02T00:00:00Z" },
      ],
      announced: [{ address: "10.0.0.9", term: 3, since: "" }],
    });
    expect(reportOf({ kind, apiVersion, metadata } as never)).toEqual({
      conflicts: [],
      announced: [],
    });
  });
});

describe("the configuration", () => {
  const config = (...pools: Parameters<typeof poolConfig>[]): Record<string, string> => ({
    config: formatRenderedConfig(
      renderedConfig(
        pools.map((each) => poolConfig(...each)),
        { "log-level": "debug", "load-balancer-class": "c" },
      ),
    ),
  });

  test("is read with its pools in order", () => {
    const read = readConfiguration(
      config(["b", ["10.0.0.1"]], ["a", ["10.0.0.2"], { "namespace-selectors": [{}] }]),
    );
    expect(read).toMatchObject({
      ok: true,
      value: { loadBalancerClass: "c", logLevel: "debug", needsNamespaces: true },
    });
    if (read.ok) expect(read.value.pools.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  for (const { name, data, says } of [
    { name: "without data", data: undefined, says: "no key config" },
    { name: "that is no YAML", data: { config: "{" }, says: "" },
    { name: "without its keys", data: { config: "fish: 1" }, says: "log-level" },
    {
      name: "with a bad pool beside a good one",
      data: config(["a", ["10.0.0.1"]], ["b", ["fish"]]),
      says: "address-pools[1].addresses[0]",
    },
  ]) {
    test(`is refused as a whole ${name}`, () => {
      expect(readConfiguration(data)).toEqual({
        ok: false,
        message: expect.stringContaining(says),
      });
    });
  }
});

describe("the environment", () => {
  test("has defaults for everything; what is empty is unset", () => {
    expect(readEnvironment({ POD_NAME: "" })).toEqual({
      ok: true,
      value: {
        namespace: "metallb-system",
        podName: undefined,
        probePort: 17472,
        metricsPort: 9120,
        metricsScheme: "https",
      },
    });
  });

  test("says everything", () => {
    const variables = {
      METALLB_NAMESPACE: "a",
      POD_NAMESPACE: "b",
      POD_NAME: "p",
      PROBE_PORT: "0",
      METRICS_PORT: "1",
      METRICS_SCHEME: "none",
    };
    expect(readEnvironment(variables)).toEqual({
      ok: true,
      value: { namespace: "a", podName: "p", probePort: 0, metricsPort: 1, metricsScheme: "none" },
    });
  });

  test("names every variable that cannot be used, its value and the remedy", () => {
    expect(
      readEnvironment({ PROBE_PORT: "65536", METRICS_PORT: "x", METRICS_SCHEME: "ftp" }),
    ).toEqual({
      ok: false,
      faults: [
        'METRICS_SCHEME is "ftp": set it to one of https, http, none',
        'PROBE_PORT is "65536": set it to a port from 0 to 65535',
        'METRICS_PORT is "x": set it to a port from 0 to 65535',
      ],
    });
  });
});

describe("what is kept of an object", () => {
  const full = {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: "s",
      namespace: "n",
      uid: "u",
      resourceVersion: "1",
      managedFields: [{}],
      labels: { a: "b" },
      annotations: { other: "x", "metallb.io/address-pool": "p" },
    },
    spec: {
      type: "LoadBalancer",
      clusterIP: "10.96.0.1",
      sessionAffinity: "None",
      ports: [{ port: 80, targetPort: 8080 }],
    },
    status: { loadBalancer: {} },
  } as unknown as Service;

  test("of a Service of ours: what decides about its addresses", () => {
    expect(trimService(full)).toEqual({
      metadata: {
        name: "s",
        namespace: "n",
        uid: "u",
        resourceVersion: "1",
        labels: { a: "b" },
        annotations: { "metallb.io/address-pool": "p" },
      },
      spec: { type: "LoadBalancer", clusterIP: "10.96.0.1", ports: [{ port: 80 }] },
      status: { loadBalancer: {} },
    });
  });

  test("of any other Service: its name and type", () => {
    expect(trimService({ ...full, spec: { type: "ClusterIP" } })).toEqual({
      metadata: { name: "s", namespace: "n", uid: "u", resourceVersion: "1" },
      spec: { type: "ClusterIP" },
    });
  });

  test("of a Service that was ours: everything that has to be taken back", () => {
    const annotations = {
      "metallb.io/ip-allocated-from-pool": "p",
      "metallb.io/verdict": "10.0.0.1 assigned from pool p",
    };
    const was = {
      ...full,
      metadata: { ...full.metadata, annotations },
      spec: { type: "ClusterIP" },
    } as Service;
    expect(trimService(was)).toMatchObject({
      metadata: { annotations },
      status: { loadBalancer: {} },
    });
  });

  test("of pools, speakers' reports and namespaces: no spec", () => {
    expect(trimPool(addressPool("p", ["10.0.0.1"]))).toEqual({
      metadata: { name: "p", namespace: "metallb-system" },
    });
    expect(trimL2Status(observed("n"))).toEqual({
      metadata: { name: "n" },
      status: observed("n").status,
    });
    expect(
      trimNamespace({ metadata: { name: "n", labels: { a: "b" }, annotations: { c: "d" } } }),
    ).toEqual({ metadata: { name: "n", labels: { a: "b" } } });
  });
});
