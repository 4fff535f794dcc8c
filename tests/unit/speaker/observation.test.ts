import { describe, expect, test } from "@jest/globals";
import { address } from "../../../packet/address/address.ts";
import type { Election } from "../../../speaker/election.ts";
import {
  observe,
  spokesman,
  statusLabels,
  statusName,
  type ObservedAddress,
} from "../../../speaker/observation.ts";

const VIP = address("192.168.100.200"); // order by rank: node3, node2, node1
const SINCE = new Date("2026-01-02T03:04:05Z");
const election = (candidates: string[], excluded: Record<string, string> = {}): Election => ({
  candidates,
  prober: candidates[0],
  excluded: new Map(Object.entries(excluded)) as Election["excluded"],
});
const allLive = (): boolean => true;
const observed = (of: Election, more: Partial<ObservedAddress> = {}): ObservedAddress => ({
  address: VIP,
  election: of,
  owner: undefined,
  term: 7,
  hindrance: undefined,
  since: SINCE,
  isLive: allLive,
  interfaces: ["eth0"],
  interfaceMessage: "eth1: no carrier",
  ...more,
});

describe("who speaks for an address", () => {
  const nobody = election([], { node1: "NoReadyEndpoint", node2: "NoReadyEndpoint" });
  for (const { name, of, owner, live = ["node1", "node2", "node3"], node } of [
    { name: "its owner", of: election(["node1", "node2"]), owner: "node2", node: "node2" },
    { name: "the first by rank when nobody answers", of: nobody, node: "node2" },
    { name: "the first that is live", of: nobody, live: ["node1"], node: "node1" },
    { name: "nobody when nobody is", of: nobody, live: [], node: undefined },
  ] as { name: string; of: Election; owner?: string; live?: string[]; node: string | undefined }[])
    test(name, () => expect(spokesman(VIP, of, owner, (each) => live.includes(each))).toBe(node));
});

describe("what a node says of an address", () => {
  test("announced, on which interfaces, and why not the others", () => {
    const of = election(["node3", "node1", "node4"], { node2: "ExcludedByLabel" });
    const isLive = (name: string): boolean => name !== "node4";
    const said = observe(observed(of, { owner: "node3", isLive }), "node3");
    expect(said).toMatchObject({
      address: VIP,
      reason: "Announced",
      term: 7,
      since: "2026-01-02T03:04:05Z",
      interfaces: [{ name: "eth0" }],
    });
    expect(
      Object.fromEntries((said.otherNodes ?? []).map(({ node, reason }) => [node, reason])),
    ).toEqual({
      node1: "LowerRank",
      node2: "ExcludedByLabel",
      node4: "SpeakerDead",
    });
    expect(said.otherNodeCounts).toEqual([
      { reason: "ExcludedByLabel", count: 1 },
      { reason: "LowerRank", count: 1 },
      { reason: "SpeakerDead", count: 1 },
    ]);
  });

  for (const { name, of, more, reason, message } of [
    {
      name: "owner without an interface: which ones there are and why not",
      of: election(["node3"]),
      more: { owner: "node3", interfaces: [] },
      reason: "NoUsableInterface",
      message: /^eth1: no carrier$/,
    },
    {
      name: "no Ready endpoint: the reason and the remedy",
      of: election([], { node3: "NoReadyEndpoint" }),
      more: { interfaces: [] },
      reason: "NoReadyEndpoint",
      message: /look at its pods and its selector/,
    },
    {
      name: "the LAN is asked before the first use",
      of: election(["node3"]),
      more: { hindrance: "probing", interfaces: [] },
      reason: "Probing",
      message: /whether the address is free/,
    },
    {
      name: "another host has it",
      of: election(["node3"]),
      more: { hindrance: "conflict", interfaces: [] },
      reason: "AddressConflict",
      message: /remove it there, or from the pool/,
    },
    {
      name: "somebody unheard still answers",
      of: election(["node3"]),
      more: { hindrance: "answering", interfaces: [] },
      reason: "PeerUnreachableButAnswering",
      message: /still answers/,
    },
    {
      name: "cut off",
      of: election(["node3"]),
      more: { hindrance: "isolated", interfaces: [] },
      reason: "Isolated",
      message: /hears nobody/,
    },
  ] as {
    name: string;
    of: Election;
    more: Partial<ObservedAddress>;
    reason: string;
    message: RegExp;
  }[])
    test(name, () => {
      const said = observe(observed(of, more), "node3");
      expect(said.reason).toBe(reason);
      expect(said.message).toMatch(message);
    });

  test("names twenty other nodes, and counts all", () => {
    const names = Array.from({ length: 50 }, (_, index) => `n${index}`);
    const said = observe(observed(election(["me", ...names]), { owner: "me" }), "me");
    expect(said.otherNodes).toHaveLength(20);
    expect(said.otherNodeCounts).toEqual([{ reason: "LowerRank", count: 50 }]);
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
