import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  EXCLUDE_LABEL,
  elect,
  usableEndpoints,
  type EndpointFacts,
  type NodeFacts,
  type PlacementRules,
  type ServiceFacts,
} from "../../../speaker/election.ts";
import { address } from "../../../packet/address/address.ts";

const VIP = address("192.168.100.200");
const RULES: PlacementRules = {
  nodeSelectors: [],
  announceFrom: "AllNodes",
  ignoreExcludeLabel: false,
};
const NEAR: PlacementRules = { ...RULES, announceFrom: "EndpointNodes" };

const node = (name: string, more: Partial<NodeFacts> = {}): NodeFacts => ({
  name,
  networkUnavailable: false,
  labels: {},
  ...more,
});
const nodes = (...names: string[]): NodeFacts[] => names.map((name) => node(name));
const ready = (name: string): EndpointFacts => ({
  node: name,
  ready: true,
  serving: true,
  terminating: false,
});
const unready = (name: string): EndpointFacts => ({ ...ready(name), ready: false, serving: false });
const draining = (name: string): EndpointFacts => ({
  ...ready(name),
  ready: false,
  terminating: true,
});
const service = (...endpoints: EndpointFacts[]): ServiceFacts => ({ local: false, endpoints });
const localService = (...endpoints: EndpointFacts[]): ServiceFacts => ({ local: true, endpoints });

describe("the order of candidates is MetalLB's", () => {
  for (const [names, vip, order] of [
    ["node-a node-b node-c", "10.0.0.1", "node-b node-a node-c"],
    ["node-a node-b node-c", "10.0.0.2", "node-b node-c node-a"],
    ["iris1 iris2", "10.20.30.1", "iris2 iris1"],
    ["iris1 iris2", "10.20.30.2", "iris1 iris2"],
    ["node1 node2 node3", "192.168.100.200", "node3 node2 node1"],
    ["node1 node2 node3", "192.168.100.201", "node1 node3 node2"],
    ["worker-0 worker-1 worker-2", "fc00:f853:ccd:e799::1", "worker-0 worker-2 worker-1"],
  ] as const)
    test(`${names} for ${vip}: ${order}`, () => {
      const outcome = elect(address(vip), [service(ready("x"))], nodes(...names.split(" ")), RULES);
      expect(outcome.candidates.join(" ")).toBe(order);
    });
});

describe("which endpoints count", () => {
  for (const { name, endpoints, usable } of [
    { name: "the Ready ones", endpoints: [ready("a"), unready("b")], usable: ["a"] },
    { name: "not one that is not Ready", endpoints: [unready("b")], usable: [] },
    {
      name: "not a terminating one beside a Ready one",
      endpoints: [ready("a"), draining("b")],
      usable: ["a"],
    },
    {
      name: "a terminating one that serves when nothing is Ready",
      endpoints: [draining("b")],
      usable: ["b"],
    },
    { name: "none of none", endpoints: [], usable: [] },
  ])
    test(name, () => {
      expect(usableEndpoints(endpoints).map((endpoint) => endpoint.node)).toEqual(usable);
    });
});

describe("who is a candidate", () => {
  for (const {
    name,
    services,
    facts = nodes("node1", "node2"),
    rules = RULES,
    candidates,
    excluded = {},
  } of [
    {
      name: "every node when the policy is Cluster and the pool says AllNodes",
      services: [service(ready("node2"))],
      candidates: ["node2", "node1"],
    },
    {
      name: "nodes with a Ready endpoint when the pool says EndpointNodes",
      services: [service(ready("node1"))],
      rules: NEAR,
      candidates: ["node1"],
      excluded: { node2: "NoLocalReadyEndpoint" },
    },
    {
      name: "every node when all endpoints are on nodes that are none",
      services: [service(ready("node9"))],
      rules: NEAR,
      candidates: ["node2", "node1"],
    },
    {
      name: "nodes that have an endpoint of each Service that shares the address",
      services: [service(ready("node1"), ready("node2")), service(ready("node1"))],
      rules: NEAR,
      candidates: ["node1"],
      excluded: { node2: "NoLocalReadyEndpoint" },
    },
    {
      name: "every node when no node has an endpoint of each Service",
      services: [service(ready("node1")), service(ready("node2"))],
      rules: NEAR,
      candidates: ["node2", "node1"],
    },
    {
      name: "only nodes with a local Ready endpoint when the policy is Local",
      services: [localService(ready("node1"), unready("node2"))],
      candidates: ["node1"],
      excluded: { node2: "NoLocalReadyEndpoint" },
    },
    {
      name: "nobody when a Local Service has endpoints only elsewhere",
      services: [localService(ready("node9"))],
      rules: NEAR,
      candidates: [],
      excluded: { node1: "NoLocalReadyEndpoint", node2: "NoLocalReadyEndpoint" },
    },
    {
      name: "nobody when no endpoint is Ready",
      services: [service(unready("node1"))],
      candidates: [],
      excluded: { node1: "NoReadyEndpoint", node2: "NoReadyEndpoint" },
    },
    {
      name: "nodes of the Service that has endpoints when another on the address has none",
      services: [service(ready("node1")), localService(unready("node2"))],
      rules: NEAR,
      candidates: ["node1"],
      excluded: { node2: "NoLocalReadyEndpoint" },
    },
    {
      name: "an endpoint without a node name serves, but is on no node",
      services: [service({ ready: true, serving: true, terminating: false })],
      rules: NEAR,
      candidates: ["node2", "node1"],
    },
    {
      name: "not a node with the exclude label, whatever its value",
      services: [service(ready("node1"))],
      facts: [node("node1", { labels: { [EXCLUDE_LABEL]: "" } }), node("node2")],
      candidates: ["node2"],
      excluded: { node1: "ExcludedByLabel" },
    },
    {
      name: "a node with the exclude label when that is to be ignored",
      services: [service(ready("node1"))],
      facts: [node("node1", { labels: { [EXCLUDE_LABEL]: "" } })],
      rules: { ...RULES, ignoreExcludeLabel: true },
      candidates: ["node1"],
    },
    {
      name: "not a node whose network is unavailable",
      services: [service(ready("node1"))],
      facts: [node("node1", { networkUnavailable: true }), node("node2")],
      candidates: ["node2"],
      excluded: { node1: "NetworkUnavailable" },
    },
    {
      name: "only nodes that the pool's selectors select",
      services: [service(ready("node1"))],
      facts: [node("node1"), node("node2", { labels: { rack: "a" } })],
      rules: { ...RULES, nodeSelectors: [{ matchLabels: { rack: "a" } }] },
      candidates: ["node2"],
      excluded: { node1: "NodeNotSelected" },
    },
  ] as {
    name: string;
    services: ServiceFacts[];
    facts?: NodeFacts[];
    rules?: PlacementRules;
    candidates: string[];
    excluded?: Record<string, string>;
  }[])
    test(name, () => {
      const outcome = elect(VIP, services, facts, rules);
      expect(outcome.candidates).toEqual(candidates);
      expect(Object.fromEntries(outcome.excluded)).toEqual(excluded);
    });
});

describe("an owner that lost its endpoint", () => {
  const kept = { ...NEAR, kept: "node1" };
  for (const { name, services, rules, candidates } of [
    {
      name: "stays a candidate beside those that have one",
      services: [service(ready("node2"))],
      rules: kept,
      candidates: ["node2", "node1"],
    },
    {
      name: "not if the policy is Local",
      services: [localService(ready("node2"))],
      rules: kept,
      candidates: ["node2"],
    },
    {
      name: "not if no endpoint is Ready anywhere",
      services: [service(unready("node2"))],
      rules: kept,
      candidates: [],
    },
    {
      name: "not if its node selector does not select it",
      services: [service(ready("node2"))],
      rules: { ...kept, nodeSelectors: [{ matchLabels: { rack: "a" } }] },
      candidates: [],
    },
  ])
    test(name, () => {
      const outcome = elect(VIP, services, nodes("node1", "node2"), rules);
      expect(outcome.candidates).toEqual(candidates);
    });

  test("is told apart from those that could not announce at all", () => {
    const services = [service(ready("node2"))];
    const facts = [...nodes("node1", "node2"), node("node3", { networkUnavailable: true })];
    expect([...elect(VIP, services, facts, NEAR).farther]).toEqual(["node1"]);
    expect([...elect(VIP, [localService(ready("node2"))], facts, NEAR).farther]).toEqual([]);
  });
});

describe("who asks whether the address is free before its first use", () => {
  for (const { name, facts, prober } of [
    { name: "the first by rank", facts: nodes("node1", "node2", "node3"), prober: "node3" },
    {
      name: "the first that may announce",
      facts: [node("node3", { networkUnavailable: true }), ...nodes("node1", "node2")],
      prober: "node2",
    },
    { name: "nobody when nobody may", facts: [], prober: undefined },
  ])
    test(`${name}, whether endpoints are Ready or not`, () => {
      for (const services of [[service()], [service(ready("node1"))]])
        expect(elect(VIP, services, facts, RULES).prober).toBe(prober);
    });
});

describe("for any nodes", () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/), {
    minLength: 1,
    maxLength: 20,
  });

  test("the order of the input does not matter", () => {
    fc.assert(
      fc.property(names, (list) => {
        const services = [service(ready(list[0] ?? ""))];
        const forth = elect(VIP, services, nodes(...list), RULES);
        expect(elect(VIP, services, nodes(...list.toReversed()), RULES)).toEqual(forth);
      }),
    );
  });

  test("a node that leaves moves the address only if it announced it", () => {
    fc.assert(
      fc.property(names, fc.nat(), (list, index) => {
        const services = [service(ready("elsewhere"))];
        const before = elect(VIP, services, nodes(...list), RULES).candidates;
        const gone = list[index % list.length];
        const after = elect(
          VIP,
          services,
          nodes(...list.filter((name) => name !== gone)),
          RULES,
        ).candidates;
        expect(after).toEqual(before.filter((name) => name !== gone));
      }),
    );
  });

  test("each is a candidate or has a reason, never both", () => {
    fc.assert(
      fc.property(names, fc.array(fc.nat()), fc.boolean(), (list, picks, local) => {
        const endpoints = picks.map((pick) => ready(list[pick % list.length] ?? ""));
        const { candidates, excluded } = elect(VIP, [{ local, endpoints }], nodes(...list), NEAR);
        expect([...candidates, ...excluded.keys()].toSorted()).toEqual(list.toSorted());
      }),
    );
  });
});
