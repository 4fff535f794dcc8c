import { describe, expect, test } from "@jest/globals";
import { address } from "../../../packet/address/address.ts";
import type { Election } from "../../../speaker/election.ts";
import { observe, spokesman, statusLabels, statusName } from "../../../speaker/observation.ts";

const VIP = address("192.168.100.200"); // order by rank: node3, node2, node1
const SINCE = new Date("2026-01-02T03:04:05Z");
const election = (candidates: string[], excluded: Record<string, string> = {}): Election => ({
  candidates,
  excluded: new Map(Object.entries(excluded)) as Election["excluded"],
});
const observed = (of: Election, interfaces: string[] = ["eth0"]) =>
  ({
    address: VIP,
    election: of,
    since: SINCE,
    interfaces,
    interfaceMessage: "eth1: no carrier",
  }) as const;

describe("who speaks for an address", () => {
  for (const { name, of, node } of [
    { name: "its owner", of: election(["node1", "node2"]), node: "node1" },
    {
      name: "the first by rank when nobody may announce",
      of: election([], { node1: "NoReadyEndpoint", node2: "NoReadyEndpoint" }),
      node: "node2",
    },
    {
      name: "none that is dead",
      of: election([], { node3: "SpeakerDead", node1: "ExcludedByLabel" }),
      node: "node1",
    },
    {
      name: "nobody when there is nobody",
      of: election([], { node3: "SpeakerDead" }),
      node: undefined,
    },
  ])
    test(name, () => expect(spokesman(VIP, of)).toBe(node));
});

describe("what a node says of an address", () => {
  test("announced, on which interfaces, and why not the others", () => {
    const of = election(["node3", "node1"], { node2: "ExcludedByLabel" });
    expect(observe(observed(of), "node3")).toEqual({
      address: VIP,
      reason: "Announced",
      term: SINCE.getTime() / 1000,
      since: "2026-01-02T03:04:05Z",
      interfaces: [{ name: "eth0" }],
      otherNodes: [
        { node: "node2", reason: "ExcludedByLabel" },
        { node: "node1", reason: "LowerRank" },
      ],
      otherNodeCounts: [
        { reason: "ExcludedByLabel", count: 1 },
        { reason: "LowerRank", count: 1 },
      ],
    });
  });

  test("elected without an interface: which ones there are and why not", () => {
    expect(observe(observed(election(["node3"]), []), "node3")).toMatchObject({
      reason: "NoUsableInterface",
      message: "eth1: no carrier",
    });
  });

  test("no Ready endpoint: the reason and the remedy", () => {
    const of = election([], { node1: "NoReadyEndpoint", node2: "NoReadyEndpoint" });
    expect(observe(observed(of, []), "node2")).toMatchObject({
      reason: "NoReadyEndpoint",
      message: expect.stringContaining("look at its pods and its selector"),
    });
  });

  test("names twenty other nodes, and counts all", () => {
    const names = Array.from({ length: 50 }, (_, index) => `n${index}`);
    const said = observe(observed(election(["me", ...names])), "me");
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
