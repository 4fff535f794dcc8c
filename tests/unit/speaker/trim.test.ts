import { describe, expect, test } from "@jest/globals";
import type { EndpointSlice, Node, Service } from "../../../kubernetes/resources.ts";
import { byServiceName } from "../../../kubernetes/store.ts";
import { nodeFacts, serviceFacts } from "../../../speaker/facts.ts";
import { trimNode, trimService, trimSlice } from "../../../speaker/trim.ts";

const METADATA = {
  name: "web-x",
  namespace: "default",
  uid: "1",
  resourceVersion: "2",
  creationTimestamp: "2026-01-02T03:04:05Z",
  labels: { "kubernetes.io/service-name": "web", app: "web" },
  annotations: { note: "long" },
};

describe("of an EndpointSlice", () => {
  const slice: EndpointSlice = {
    metadata: METADATA,
    addressType: "IPv4",
    ports: [{ port: 80 }],
    endpoints: [
      { addresses: ["10.0.0.1"], nodeName: "a", conditions: { ready: true } },
      { addresses: ["10.0.0.2"], nodeName: "a", conditions: { ready: true }, hostname: "x" },
      { addresses: ["10.0.0.3"], nodeName: "b", conditions: { ready: false, serving: true } },
      { addresses: ["10.0.0.4"], nodeName: "b" },
      { addresses: ["10.0.0.5"] },
    ],
  };
  const trimmed = trimSlice(slice);

  test("everything that is looked at is kept", () => {
    expect(byServiceName(trimmed)).toEqual(byServiceName(slice));
    const facts = (of: EndpointSlice) => serviceFacts({}, [of], "ipv4");
    expect(facts(trimmed)).toEqual(facts(slice));
    const { uid, resourceVersion } = trimmed.metadata;
    expect({ uid, resourceVersion }).toEqual({ uid: "1", resourceVersion: "2" });
  });

  test("nothing else, and what is alike is one object", () => {
    expect(JSON.stringify(trimmed)).not.toMatch(/10\.0\.0|note|app|creation|hostname/);
    const [first, second] = trimmed.endpoints ?? [];
    expect(first).toBe(second);
    expect(trimSlice(slice).endpoints?.[2]).toBe(trimmed.endpoints?.[2]);
  });
});

describe("of a Service", () => {
  const assigned = { type: "metallb.io/AddressAssigned", reason: "NoPool", message: "m" };
  const of = (...ips: string[]): Service =>
    trimService({
      metadata: METADATA,
      spec: { type: "LoadBalancer", clusterIP: "10.0.0.1", externalTrafficPolicy: "Local" },
      status: {
        loadBalancer: { ingress: ips.map((ip) => ({ ip })) },
        conditions: [
          { ...assigned, status: "False", lastTransitionTime: "2026-01-02T03:04:05Z" },
          { ...assigned, type: "x", status: "True", lastTransitionTime: "2026-01-02T03:04:05Z" },
        ],
      },
    });

  test("why it has no address is kept while it has none", () => {
    expect(of().status?.conditions).toMatchObject([assigned]);
    expect(of("192.0.2.1").status).toEqual({
      loadBalancer: { ingress: [{ ip: "192.0.2.1" }] },
    });
    expect(of().spec).toEqual({ type: "LoadBalancer", externalTrafficPolicy: "Local" });
  });
});

test("of a Node labels, taints, addresses and one condition are kept", () => {
  const node: Node = {
    metadata: { ...METADATA, name: "a" },
    spec: { taints: [{ key: "k", effect: "NoExecute", timeAdded: "x" }], podCIDR: "10.0.0.0/24" },
    status: {
      addresses: [{ type: "InternalIP", address: "192.0.2.1" }],
      conditions: [
        { type: "NetworkUnavailable", status: "True", lastHeartbeatTime: "x" },
        { type: "Ready", status: "True" },
      ],
      nodeInfo: {},
    },
  } as unknown as Node;
  const trimmed = trimNode(node);
  expect(nodeFacts(trimmed)).toEqual(nodeFacts(node));
  expect(trimmed.spec).toEqual({ taints: [{ key: "k", effect: "NoExecute" }] });
  expect(JSON.stringify(trimmed)).not.toMatch(/timeAdded|podCIDR|nodeInfo|Heartbeat|Ready/);
});
