import { describe, expect, test } from "@jest/globals";
import type { PoolConfig } from "../../../api/rendered-config.ts";
import { address } from "../../../packet/address/address.ts";
import {
  announceableAddresses,
  memberHint,
  nodeFacts,
  PoolIndex,
  serviceFacts,
  type NodeView,
  type ServiceView,
} from "../../../speaker/facts.ts";
import { poolConfig } from "../../support/builders.ts";

const service = (spec: object, ...ips: string[]): ServiceView => ({
  spec: { type: "LoadBalancer", ...spec },
  status: { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } },
});

describe("the addresses to announce of a Service", () => {
  for (const { name, object, ours = "", addresses } of [
    {
      name: "all that it has",
      object: service({}, "192.0.2.1", "2001:db8::1"),
      addresses: ["192.0.2.1", "2001:db8::1"],
    },
    { name: "in canonical form", object: service({}, "2001:DB8:0::1"), addresses: ["2001:db8::1"] },
    {
      name: "none of another type",
      object: service({ type: "NodePort" }, "192.0.2.1"),
      addresses: [],
    },
    {
      name: "none of a class when ours is none",
      object: service({ loadBalancerClass: "other" }, "192.0.2.1"),
      addresses: [],
    },
    {
      name: "none without a class when ours is one",
      object: service({}, "192.0.2.1"),
      ours: "metallb",
      addresses: [],
    },
    {
      name: "those of our class",
      object: service({ loadBalancerClass: "metallb" }, "192.0.2.1"),
      ours: "metallb",
      addresses: ["192.0.2.1"],
    },
    {
      name: "none that is a host name or nonsense",
      object: service({}, "", "example.com", "192.0.2.300"),
      addresses: [],
    },
    {
      name: "none when there is no status",
      object: { spec: { type: "LoadBalancer" } },
      addresses: [],
    },
    { name: "none of an empty object", object: {}, addresses: [] },
  ] as { name: string; object: ServiceView; ours?: string; addresses: string[] }[])
    test(name, () => expect(announceableAddresses(object, ours)).toEqual(addresses));
});

describe("facts about a node", () => {
  const node = (
    conditions: { type: string; status: string }[],
    addresses: { type: string; address: string }[] = [],
  ): NodeView => ({ metadata: { name: "node1" }, status: { conditions, addresses } });

  for (const { name, view, networkUnavailable } of [
    { name: "no condition", view: node([]), networkUnavailable: false },
    {
      name: "NetworkUnavailable True",
      view: node([{ type: "NetworkUnavailable", status: "True" }]),
      networkUnavailable: true,
    },
    {
      name: "NetworkUnavailable False",
      view: node([{ type: "NetworkUnavailable", status: "False" }]),
      networkUnavailable: false,
    },
    { name: "no status at all", view: { metadata: { name: "node1" } }, networkUnavailable: false },
  ])
    test(name, () =>
      expect(nodeFacts(view)).toEqual({ name: "node1", labels: {}, networkUnavailable }),
    );

  test("its speaker is reached at its internal addresses", () => {
    const addresses = [
      { type: "Hostname", address: "node1" },
      { type: "InternalIP", address: "192.0.2.1" },
      { type: "InternalIP", address: "2001:DB8::1" },
      { type: "InternalIP", address: "nonsense" },
      { type: "ExternalIP", address: "198.51.100.1" },
    ];
    expect(memberHint(node([], addresses))).toEqual({
      name: "node1",
      endpoints: [
        { address: "192.0.2.1", port: 7946 },
        { address: "2001:db8::1", port: 7946 },
      ],
    });
  });
});

describe("facts about a Service", () => {
  const slices = [
    {
      addressType: "IPv4",
      endpoints: [
        { nodeName: "node1", conditions: { ready: true, serving: true, terminating: false } },
      ],
    },
    {
      addressType: "IPv6",
      endpoints: [{ nodeName: "node2", conditions: {} }, { conditions: { ready: false } }],
    },
    { addressType: "FQDN", endpoints: [{ nodeName: "node3" }] },
    { addressType: "IPv4" },
  ];

  test("endpoints of the address's own family only", () => {
    expect(serviceFacts({}, slices, "ipv4").endpoints).toEqual([
      { node: "node1", ready: true, serving: true, terminating: false },
    ]);
  });

  test("absent conditions have their defaults: ready, serving as ready, not terminating", () => {
    expect(serviceFacts({}, slices, "ipv6").endpoints).toEqual([
      { node: "node2", ready: true, serving: true, terminating: false },
      { ready: false, serving: false, terminating: false },
    ]);
  });

  test("the external traffic policy", () => {
    expect(serviceFacts({ spec: { externalTrafficPolicy: "Local" } }, [], "ipv4").local).toBe(true);
    expect(serviceFacts({ spec: { externalTrafficPolicy: "Cluster" } }, [], "ipv4").local).toBe(
      false,
    );
    expect(serviceFacts({}, [], "ipv4").local).toBe(false);
  });
});

describe("the pool of an address", () => {
  const pool = (name: string, ...addresses: string[]): PoolConfig => poolConfig(name, addresses);
  const index = new PoolIndex([
    pool("a", "192.0.2.64/28", "192.0.2.10"),
    pool("b", "192.0.2.20-192.0.2.30", "2001:db8::/64"),
    pool("odd", "nonsense"),
  ]);
  for (const [text, name] of [
    ["192.0.2.9", undefined],
    ["192.0.2.10", "a"],
    ["192.0.2.11", undefined],
    ["192.0.2.19", undefined],
    ["192.0.2.20", "b"],
    ["192.0.2.30", "b"],
    ["192.0.2.31", undefined],
    ["192.0.2.64", "a"],
    ["192.0.2.79", "a"],
    ["192.0.2.80", undefined],
    ["2001:db8::ffff", "b"],
    ["2001:db9::", undefined],
    ["0.0.0.0", undefined],
  ] as const)
    test(`${text} is of ${name ?? "none"}`, () =>
      expect(index.find(address(text))?.name).toBe(name));
});
