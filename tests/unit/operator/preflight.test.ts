import { describe, expect, test } from "@jest/globals";
import type { SpeakerStatusStatus } from "../../../api/speaker-status.ts";
import { compilePools } from "../../../operator/config.ts";
import { preflight, type PreflightFacts } from "../../../operator/preflight.ts";
import { addressPool } from "../../support/builders.ts";

const EXCLUDED = { "node.kubernetes.io/exclude-from-external-load-balancers": "" };

function node(name: string, labels: Record<string, string> = {}, podCIDRs = ["10.244.0.0/24"]) {
  const addresses = [{ type: "InternalIP", address: "192.0.2.11" }];
  return { metadata: { name, labels }, spec: { podCIDRs }, status: { addresses } };
}

function speaker(more: Partial<SpeakerStatusStatus> = {}): SpeakerStatusStatus {
  return {
    node: "node-1",
    interfaces: [
      { name: "eth0", subnets: ["192.0.2.0/24", "2001:db8::/64"], reversePathFilter: 2 },
    ],
    arpIgnore: 0,
    hasIPVSInterface: false,
    kubeProxy: "Healthy",
    virtualRouters: [],
    keys: ["00000001"],
    ...more,
  };
}

function program(name: string, image: string, labels: Record<string, string> = {}) {
  return {
    metadata: { name, namespace: "kube-system", labels },
    spec: { template: { spec: { containers: [{ image }] } } },
  };
}

const pools = (...addresses: string[]): PreflightFacts["pools"] =>
  compilePools([addressPool("pool", addresses)], []).pools;

const HEALTHY: PreflightFacts = {
  ignoreExcludeLoadBalancers: false,
  namespace: { metadata: { name: "metallb-system", labels: {} } },
  nodes: [node("node-1"), node("node-2", EXCLUDED)],
  speakers: [speaker()],
  expectedSpeakers: 1,
  programs: [program("kube-proxy", "registry.k8s.io/kube-proxy:v1.36.0")],
  hasKubeVipLock: false,
  serviceNetworks: ["10.96.0.0/12", "fd00::/108"],
  pools: pools("192.0.2.100-192.0.2.199", "2001:db8::100-2001:db8::1ff"),
};

const enforce = (level: string) => ({
  namespace: {
    metadata: {
      name: "metallb-system",
      labels: { "pod-security.kubernetes.io/enforce": level },
    },
  },
});

const twoInterfaces = (reversePathFilter: number) =>
  ["eth0", "eth1"].map((name) => ({
    name,
    subnets: ["192.0.2.0/24", "2001:db8::/64"],
    reversePathFilter,
  }));

describe("preflight finds", () => {
  test.each<{ name: string; facts: Partial<PreflightFacts>; reason: string; says: string }>([
    {
      name: "a level of Pod Security that forbids the host's network",
      facts: enforce("baseline"),
      reason: "PodSecurityTooStrict",
      says: "metallb-system pod-security.kubernetes.io/enforce=privileged",
    },
    {
      name: "another MetalLB, by its labels",
      facts: {
        programs: [program("speaker", "a/b", { app: "metallb", component: "speaker" })],
      },
      reason: "OtherAnnouncer",
      says: "MetalLB (DaemonSet kube-system/speaker)",
    },
    {
      name: "another MetalLB, by its image",
      facts: { programs: [program("mlb-speaker", "quay.io/metallb/speaker:v0.15.2")] },
      reason: "OtherAnnouncer",
      says: "MetalLB (DaemonSet kube-system/mlb-speaker)",
    },
    {
      name: "kube-vip, by its image",
      facts: { programs: [program("kv", "ghcr.io/kube-vip/kube-vip:v0.9")], hasKubeVipLock: true },
      reason: "OtherAnnouncer",
      says: "kube-vip (DaemonSet kube-system/kv) announces",
    },
    {
      name: "kube-vip as a static pod, by its lock",
      facts: { hasKubeVipLock: true },
      reason: "OtherAnnouncer",
      says: "Lease plndr-svcs-lock",
    },
    {
      name: "keepalived",
      facts: { programs: [program("ipfailover", "openshift/origin-keepalived-ipfailover")] },
      reason: "OtherAnnouncer",
      says: "keepalived",
    },
    {
      name: "IPVS without strictARP",
      facts: { speakers: [speaker({ hasIPVSInterface: true })] },
      reason: "StrictARPOff",
      says: "on node node-1",
    },
    {
      name: "nodes that are all excluded",
      facts: { nodes: [node("node-1", EXCLUDED), node("node-2", EXCLUDED)] },
      reason: "AllNodesExcluded",
      says: "spec.ignoreExcludeLoadBalancers",
    },
    {
      name: "a pool in the Services' network",
      facts: { pools: pools("10.100.0.0/24"), speakers: [] },
      reason: "PoolOverlapsCluster",
      says: "10.100.0.0/24 of AddressPool pool overlaps the Services' network 10.96.0.0/12",
    },
    {
      name: "a pool round the pods' network",
      facts: { pools: pools("10.0.0.0-10.255.255.255"), serviceNetworks: [], speakers: [] },
      reason: "PoolOverlapsCluster",
      says: "10.244.0.0/24 of node node-1",
    },
    {
      name: "a pool that holds a node's address",
      facts: { pools: pools("192.0.2.0/27") },
      reason: "PoolOverlapsCluster",
      says: "holds 192.0.2.11, an address of node node-1",
    },
    {
      name: "a pool in no node's network",
      facts: { pools: pools("198.51.100.0/24") },
      reason: "PoolNotOnLink",
      says: "choose addresses of 192.0.2.0/24, 2001:db8::/64",
    },
    {
      name: "virtual routers, each once",
      facts: {
        speakers: ["node-1", "node-2"].map((name) =>
          speaker({
            node: name,
            virtualRouters: [{ interface: "eth0", address: "192.0.2.9", id: 51 }],
          }),
        ),
      },
      reason: "VirtualRouterHeard",
      says: "hear virtual router 51 of 192.0.2.9:",
    },
    {
      name: "a kube-proxy that is not healthy",
      facts: { speakers: [speaker({ kubeProxy: "Unhealthy" })] },
      reason: "KubeProxyUnhealthy",
      says: "on node node-1",
    },
    {
      name: "a strict reverse path filter between several interfaces",
      facts: { speakers: [speaker({ interfaces: twoInterfaces(1) })] },
      reason: "StrictReversePathFilter",
      says: "rp_filter=2",
    },
  ])("$name", ({ facts, reason, says }) => {
    const found = preflight({ ...HEALTHY, ...facts });
    expect(found.map((each) => each.reason)).toEqual([reason]);
    expect(found[0]?.message).toContain(says);
  });
});

describe("preflight finds nothing", () => {
  test.each<{ name: string; facts: Partial<PreflightFacts> }>([
    { name: "in a healthy cluster", facts: {} },
    { name: "where everything is allowed", facts: enforce("privileged") },
    {
      name: "in IPVS mode with strictARP",
      facts: { speakers: [speaker({ hasIPVSInterface: true, arpIgnore: 1 })] },
    },
    {
      name: "in excluded nodes that count all the same",
      facts: { nodes: [node("node-1", EXCLUDED)], ignoreExcludeLoadBalancers: true },
    },
    { name: "before there are nodes", facts: { nodes: [] } },
    {
      name: "about pools while a speaker has not spoken yet",
      facts: { pools: pools("198.51.100.0/24"), expectedSpeakers: 2 },
    },
    {
      name: "about pools before anything is known",
      facts: { pools: pools("198.51.100.0/24"), expectedSpeakers: undefined, speakers: [] },
    },
    {
      name: "where no kube-proxy answers",
      facts: { speakers: [speaker({ kubeProxy: "NoAnswer" })] },
    },
    {
      name: "in a strict filter of the only interface",
      facts: { speakers: [speaker({ interfaces: twoInterfaces(1).slice(0, 1) })] },
    },
    {
      name: "in a loose filter of several interfaces",
      facts: { speakers: [speaker({ interfaces: twoInterfaces(2) })] },
    },
    { name: "in names that cannot be read", facts: { serviceNetworks: ["pods"] } },
  ])("$name", ({ facts }) => {
    expect(preflight({ ...HEALTHY, ...facts })).toEqual([]);
  });
});

test("many findings are abridged, in an order that stays", () => {
  const speakers = Array.from({ length: 9 }, (_, i) =>
    speaker({ node: `node-${9 - i}`, kubeProxy: "Unhealthy" }),
  );
  const [found] = preflight({ ...HEALTHY, speakers });
  expect(found?.message).toContain("nodes node-1, node-2, node-3, node-4, node-5 and 4 more:");
});

test("500 pools of 4 ranges and 1,000 nodes are looked at in one go", () => {
  const many = Array.from({ length: 500 }, (_, i) =>
    addressPool(
      `pool-${i}`,
      [0, 1, 2, 3].map((j) => `192.${i >> 6}.${(i & 63) * 4 + j}.0/28`),
    ),
  );
  const nodes = Array.from({ length: 1000 }, (_, i) =>
    node(`node-${i}`, {}, [`10.${i >> 8}.${i & 255}.0/24`]),
  );
  const found = preflight({ ...HEALTHY, nodes, pools: compilePools(many, []).pools });
  expect(found.map(({ reason }) => reason)).toEqual(["PoolOverlapsCluster", "PoolNotOnLink"]);
});
