import { describe, expect, test } from "@jest/globals";
import { ADDRESS_REASONS, NODE_REASONS, type NodeReason } from "../../../api/reason.ts";
import { address } from "../../../packet/address/address.ts";
import type { Election } from "../../../speaker/election.ts";
import {
  observe,
  REMEDIES,
  spokesman,
  statusLabels,
  statusName,
  type ObservedAddress,
  type Standing,
} from "../../../speaker/observation.ts";

const VIP = address("192.168.100.200"); // order by rank: node3, node2, node1
const SINCE = new Date("2026-01-02T03:04:05Z");
const election = (
  candidates: string[],
  excluded: Record<string, string> = {},
  prober = candidates[0],
): Election => ({
  candidates,
  prober,
  excluded: new Map(Object.entries(excluded)) as Election["excluded"],
  farther: new Set(),
});
const WELL: Standing = { live: true, reason: undefined };
const dead: Standing = { live: false, reason: "SpeakerDead", since: SINCE };
const standingOf = (others: Record<string, Standing>) => (node: string) => others[node] ?? WELL;
const observed = (of: Election, more: Partial<ObservedAddress> = {}): ObservedAddress => ({
  address: VIP,
  election: of,
  settled: true,
  owner: undefined,
  term: 7,
  hindrance: undefined,
  since: SINCE,
  standing: () => WELL,
  foreign: undefined,
  unansweredBy: [],
  interfaces: ["eth0"],
  noInterface: { reason: "NoCarrier", message: "eth1: up without carrier" },
  ...more,
});

describe("who speaks for an address", () => {
  const nobody = { node1: "NoReadyEndpoint", node2: "NoReadyEndpoint" };
  const draining: Standing = { live: true, reason: "Draining" };
  for (const { name, of, owner, standing = {}, node } of [
    { name: "its owner", of: election(["node1", "node2"]), owner: "node2", node: "node2" },
    { name: "the first candidate when nobody answers", of: election(["node2"]), node: "node2" },
    {
      name: "a candidate before a node of better rank that is none",
      of: election(["node1"], { node3: "ExcludedByLabel" }),
      node: "node1",
    },
    {
      name: "the first that is well",
      of: election(["node3", "node2", "node1"]),
      standing: { node3: dead, node2: draining },
      node: "node1",
    },
    {
      name: "one that is live when none is well",
      of: election(["node3", "node2"]),
      standing: { node3: dead, node2: draining },
      node: "node2",
    },
    {
      name: "whoever asks the LAN before the first use, while no endpoint is Ready",
      of: election([], { ...nobody, node3: "ExcludedByLabel" }, "node1"),
      node: "node1",
    },
    {
      name: "the first by rank of all when that one is not there",
      of: election([], nobody, "node1"),
      standing: { node1: dead },
      node: "node2",
    },
    {
      name: "nobody when nobody is",
      of: election([], nobody),
      standing: { node1: dead, node2: dead },
      node: undefined,
    },
  ] as {
    name: string;
    of: Election;
    owner?: string;
    standing?: Record<string, Standing>;
    node: string | undefined;
  }[])
    test(name, () => expect(spokesman(VIP, of, owner, standingOf(standing))).toBe(node));
});

describe("what a node says of an address", () => {
  test("announced, on which interfaces, and why not the others, since when", () => {
    const of = election(["node3", "node1", "node4"], { node2: "ExcludedByLabel" });
    const standing = standingOf({ node4: dead });
    const said = observe(observed(of, { owner: "node3", standing }), "node3");
    expect(said).toMatchObject({
      address: VIP,
      reason: "Announced",
      term: 7,
      since: "2026-01-02T03:04:05Z",
      interfaces: [{ name: "eth0" }],
    });
    expect(said.otherNodes).toEqual([
      { node: "node2", reason: "ExcludedByLabel" },
      { node: "node1", reason: "LowerRank" },
      { node: "node4", reason: "SpeakerDead", since: "2026-01-02T03:04:05Z" },
    ]);
    expect(said.otherNodeCounts).toEqual([
      { reason: "ExcludedByLabel", count: 1 },
      { reason: "LowerRank", count: 1 },
      { reason: "SpeakerDead", count: 1 },
    ]);
  });

  for (const reason of NODE_REASONS.filter(
    (each) => !["Announced", "NoLocalReadyEndpoint", "ConfigurationNotRead"].includes(each),
  ))
    test(`${reason} of another node is passed on`, () => {
      const isOfApi = ["ExcludedByLabel", "NetworkUnavailable", "NodeNotSelected"].includes(reason);
      const of = isOfApi ? election(["node3"], { node1: reason }) : election(["node3", "node1"]);
      const other: Standing = reason === "LowerRank" || isOfApi ? WELL : { live: true, reason };
      const standing = standingOf({ node1: other });
      const said = observe(observed(of, { owner: "node3", standing }), "node3");
      expect(said.otherNodes).toEqual([{ node: "node1", reason }]);
    });

  const host = { hardwareAddress: "02:00:00:00:00:99", since: SINCE };
  const self = (reason: NodeReason) => ({
    standing: standingOf({ node3: { live: true, reason } }),
  });
  for (const { name, of = election(["node3"]), more, reason, message } of [
    {
      name: "owner without an interface: which ones there are and why not",
      more: { owner: "node3", interfaces: [] },
      reason: "NoCarrier",
      message: /eth1: up without carrier$/,
    },
    {
      name: "no Ready endpoint: the reason and the remedy",
      of: election([], { node3: "NoReadyEndpoint" }),
      more: { interfaces: [] },
      reason: "NoReadyEndpoint",
      message: /look at its pods and its selector/,
    },
    {
      name: "no endpoint where one may announce",
      of: election([], { node3: "NoLocalReadyEndpoint" }),
      more: { interfaces: [] },
      reason: "NoLocalReadyEndpoint",
      message: /externalTrafficPolicy is Local/,
    },
    {
      name: "the LAN is asked before the first use",
      more: { hindrance: "probing", interfaces: [] },
      reason: "Probing",
      message: /whether the address is free/,
    },
    {
      name: "another host has it",
      more: { hindrance: "conflict", foreign: host, interfaces: [] },
      reason: "AddressConflict",
      message: /02:00:00:00:00:99 uses it too: remove it there/,
    },
    {
      name: "another host has it, found out while no endpoint is Ready",
      of: election([], { node3: "NoReadyEndpoint" }),
      more: { foreign: host, interfaces: [] },
      reason: "AddressConflict",
      message: /02:00:00:00:00:99/,
    },
    {
      name: "another host claims what this node announces",
      more: { owner: "node3", foreign: host },
      reason: "AddressConflict",
      message: /announces and defends it/,
    },
    {
      name: "somebody unheard still answers",
      more: { hindrance: "answering", interfaces: [] },
      reason: "PeerUnreachableButAnswering",
      message: /UDP port 7946/,
    },
    {
      name: "cut off",
      more: { hindrance: "isolated", interfaces: [] },
      reason: "Isolated",
      message: /hears nobody/,
    },
    {
      name: "not sure to be in touch",
      more: { hindrance: "fenced", interfaces: [] },
      reason: "Isolated",
      message: /keeps silent/,
    },
    {
      name: "its view of the API is too old",
      more: { hindrance: "outdated", interfaces: [] },
      reason: "ConfigurationNotRead",
      message: /newer view/,
    },
    {
      name: "others hear no answer",
      more: { owner: "node3", unansweredBy: ["node1", "node2"] },
      reason: "NotAnswering",
      message: /node1, node2: other nodes ask/,
    },
    {
      name: "all candidates are being drained",
      more: { ...self("Draining"), interfaces: [] },
      reason: "Draining",
      message: /taint or the label/,
    },
    {
      name: "kube-proxy is not ready",
      more: { ...self("DataPlaneNotReady"), interfaces: [] },
      reason: "DataPlaneNotReady",
      message: /10256/,
    },
    {
      name: "the pool's interfaces are not here",
      more: {
        ...self("InterfaceNotSelected"),
        interfaces: [],
        noInterface: { reason: "InterfaceNotSelected", message: "eth0: not among them" },
      },
      reason: "InterfaceNotSelected",
      message: /eth0: not among them/,
    },
    {
      name: "no interface at all",
      more: {
        ...self("NoUsableInterface"),
        interfaces: [],
        noInterface: { reason: "NoUsableInterface", message: "eth0: set down" },
      },
      reason: "NoUsableInterface",
      message: /eth0: set down/,
    },
    {
      name: "another node announces it",
      more: { owner: "node1", interfaces: [] },
      reason: "LowerRank",
      message: /^LowerRank: node1 announces it$/,
    },
    {
      name: "nothing in the way",
      more: { interfaces: [] },
      reason: "LowerRank",
      message: /about to settle/,
    },
  ] as {
    name: string;
    of?: Election;
    more: Partial<ObservedAddress>;
    reason: string;
    message: RegExp;
  }[])
    test(`${name}: ${reason}`, () => {
      const said = observe(observed(of, more), "node3");
      expect(said.reason).toBe(reason);
      expect(said.message).toMatch(message);
    });

  test("who the other host is, and since when", () => {
    const said = observe(observed(election(["node3"]), { foreign: host }), "node3");
    expect(said.conflict).toEqual({
      hardwareAddress: "02:00:00:00:00:99",
      since: "2026-01-02T03:04:05Z",
    });
  });

  test("names twenty other nodes, and counts all", () => {
    const names = Array.from({ length: 50 }, (_, index) => `n${index}`);
    const said = observe(observed(election(["me", ...names]), { owner: "me" }), "me");
    expect(said.otherNodes).toHaveLength(20);
    expect(said.otherNodeCounts).toEqual([{ reason: "LowerRank", count: 50 }]);
  });

  test("every reason of a node or an address comes with what to do", () => {
    const reasons = [...NODE_REASONS, ...ADDRESS_REASONS, "NoReadyEndpoint"];
    expect(Object.keys(REMEDIES).toSorted()).toEqual(reasons.toSorted());
  });
});

describe("names and labels", () => {
  test("the name follows from node and Service alone, and differs for each", () => {
    const names = ["a b n1", "a b n2", "a c n1", "ab c n1"].map((text) => {
      const [namespace = "", service = "", node = ""] = text.split(" ");
      return statusName(namespace, service, node);
    });
    expect(new Set(names).size).toBe(4);
    for (const name of names) expect(name).toMatch(/^l2-[0-9a-f]{20}$/);
    expect(statusName("a", "b", "n1")).toBe(names[0]);
  });

  test("a name that is no label value is left out", () => {
    expect(statusLabels("default", "web", "n".repeat(64))).toEqual({
      "metallb.io/service-name": "web",
      "metallb.io/service-namespace": "default",
    });
  });
});
