/** What this speaker says of a Service in its ServiceL2Status and to who asks it: pure. */
import { createHash } from "node:crypto";
import {
  MAX_OTHER_NODES,
  NODE_LABEL,
  SERVICE_NAMESPACE_LABEL,
  SERVICE_NAME_LABEL,
  type AddressObservation,
} from "../api/service-l2-status.ts";
import { formatTime } from "../api/condition.ts";
import type { NodeReason } from "../api/reason.ts";
import type { Address } from "../packet/address/address.ts";
import { rankOf } from "./claims.ts";
import type { Election } from "./election.ts";

/** Name of the ServiceL2Status that a node's speaker writes about a Service: always the same one. */
export function statusName(namespace: string, service: string, node: string): string {
  const hash = createHash("sha256").update(`${namespace}/${service}@${node}`).digest("hex");
  return `l2-${hash.slice(0, 20)}`;
}

/** Labels of that object, by which people find it. Values that no label can hold are left out. */
export function statusLabels(
  namespace: string,
  service: string,
  node: string,
): Record<string, string> {
  const labels = {
    [NODE_LABEL]: node,
    [SERVICE_NAME_LABEL]: service,
    [SERVICE_NAMESPACE_LABEL]: namespace,
  };
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value.length <= 63));
}

/** What the speakers know of a node. */
export interface Standing {
  /** Its speaker is a live member. */
  readonly live: boolean;
  /** Why it takes no address, were it a candidate; undefined: nothing speaks against it. */
  readonly reason: NodeReason | undefined;
  /** Since when; undefined: nobody knows. */
  readonly since?: Date;
}

/** Why an address is answered for on no interface of this node. */
export interface NoInterface {
  readonly reason: "NoUsableInterface" | "NoCarrier" | "InterfaceNotSelected";
  /** Each interface and why not. */
  readonly message: string;
}

/** Another host that uses the address. */
export interface ForeignHost {
  readonly hardwareAddress: string;
  readonly since: Date;
}

/** The facts about one address that a node reports. */
export interface ObservedAddress {
  readonly address: Address;
  readonly election: Election;
  /** The speakers have told who answers for it, or that nobody does. */
  readonly settled: boolean;
  /** The node that answers for it, if any. */
  readonly owner: string | undefined;
  readonly term: number;
  /** Why nobody does although somebody could, in the protocol's word. */
  readonly hindrance: string | undefined;
  readonly since: Date;
  /** What is known of each node. */
  readonly standing: (node: string) => Standing;
  /** A host that is no speaker and claims the address. */
  readonly foreign: ForeignHost | undefined;
  /** Members that asked the LAN for it, while this node holds it, and heard no answer. */
  readonly unansweredBy: readonly string[];
  /** Interfaces that the address is answered for on. */
  readonly interfaces: readonly string[];
  /** Why there are none, if there are none. */
  readonly noInterface: NoInterface;
}

/**
 * The node that speaks for an address: its owner, or, while nobody answers for it, whoever is next to
 * do so: the first candidate whose speaker is well, or else the one that asks the LAN whether the
 * address is free, or else the first of all whose speaker is there to say so.
 */
export function spokesman(
  address: Address,
  { candidates, excluded, prober }: Election,
  owner: string | undefined,
  standing: (node: string) => Standing,
): string | undefined {
  if (owner !== undefined) return owner;
  const isLive = (node: string): boolean => standing(node).live;
  const next = candidates.find((node) => isLive(node) && standing(node).reason === undefined);
  if (next !== undefined) return next;
  const first = candidates.find(isLive);
  if (first !== undefined) return first;
  if (prober !== undefined && isLive(prober)) return prober;
  return sortedByRank([...excluded.keys()].filter(isLive), address)[0];
}

function sortedByRank(nodes: readonly string[], address: Address): string[] {
  return nodes
    .map((node) => ({ node, rank: rankOf(node, address) }))
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ node }) => node);
}

/** What a reason says and what to do about it, in one sentence each. */
export const REMEDIES: Readonly<Record<AddressObservation["reason"], string>> = {
  Announced: "nothing to do",
  LowerRank: "the speakers are about to settle who announces it",
  NoReadyEndpoint: "no endpoint of the Service is Ready: look at its pods and its selector",
  NoLocalReadyEndpoint:
    "no node that may announce it has a Ready endpoint, and the Service's externalTrafficPolicy is Local or the pool's announceFrom EndpointNodes",
  ExcludedByLabel:
    "remove the label node.kubernetes.io/exclude-from-external-load-balancers, or set ignoreExcludeLoadBalancers in the MetalLB object",
  NetworkUnavailable: "the network of the nodes is not available: look at the Node conditions",
  NodeNotSelected: "the pool's nodeSelectors select no such node",
  DataPlaneNotReady:
    "kube-proxy on the node answers 503 at port 10256, /healthz: look at its log and at the taints of the Node",
  NoUsableInterface: "no interface of the node can be used",
  NoCarrier: "no interface has carrier: look at cable and switch port",
  InterfaceNotSelected: "the pool's interfaces are not on the node",
  SpeakerDead: "the node's speaker was heard and is not any more: look at the node and its pod",
  SpeakerMissing:
    "no speaker of the node was ever heard: look at the DaemonSet speaker, the MetalLB object's nodeSelector and speakerTolerations, and UDP port 7946",
  Draining:
    "the node is being drained: it has a taint or the label metallb.io/drain, or its speaker is about to end",
  Isolated: "the node hears nobody on the LAN: look at its link and at UDP port 7946",
  ConfigurationNotRead: "the speaker has not read ConfigMap config yet: look at its log",
  PeerUnreachableButAnswering:
    "a node that is not heard still answers for it: look at UDP port 7946 between the nodes and at the key in Secret memberlist",
  NotAnswering:
    "other nodes ask the LAN for it and hear no answer: look at the owner's link and switch port",
  Probing: "the LAN is asked whether the address is free",
  AddressConflict:
    "another host uses the address: remove it there, or take the address out of the pool",
};

/** Reasons for the protocol's words. */
const HINDRANCES: Readonly<Record<string, AddressObservation["reason"]>> = {
  probing: "Probing",
  conflict: "AddressConflict",
  answering: "PeerUnreachableButAnswering",
  isolated: "Isolated",
  fenced: "Isolated",
  outdated: "ConfigurationNotRead",
};

/** Where the protocol's word says more than its reason. */
const HINDRANCE_REMEDIES: Readonly<Record<string, string>> = {
  fenced: "this node is not sure to be in touch with the others, and keeps silent until it is",
  outdated:
    "others, with a newer view of the API, say that the address is gone: look at this node's way to the API server",
};

/** Why a node does not announce an address, and since when. */
export interface NodeVerdict {
  readonly node: string;
  readonly reason: NodeReason;
  readonly since?: Date;
}

/** Why each node but one does not announce an address; the first by rank first. */
export function otherNodes(
  { address, election, standing }: Pick<ObservedAddress, "address" | "election" | "standing">,
  node: string | undefined,
): NodeVerdict[] {
  const names = [...election.candidates, ...election.excluded.keys()];
  return sortedByRank(names, address)
    .filter((name) => name !== node)
    .map((name) => {
      const excluded = election.excluded.get(name);
      // that no endpoint is Ready anywhere is, for one node, that none is there
      if (excluded !== undefined)
        return {
          node: name,
          reason: excluded === "NoReadyEndpoint" ? "NoLocalReadyEndpoint" : excluded,
        };
      const { reason = "LowerRank", since } = standing(name);
      return { node: name, reason, ...(since !== undefined && { since }) };
    });
}

function count(reasons: Iterable<NodeReason>): { reason: NodeReason; count: number }[] {
  const counts = new Map<NodeReason, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, number]) => ({ reason, count: number }))
    .toSorted((a, b) => (a.reason < b.reason ? -1 : 1));
}

/** The reason of the node that speaks for an address, and the same for people. */
interface Finding {
  readonly reason: AddressObservation["reason"];
  readonly message?: string;
}

const found = (reason: Finding["reason"], message = REMEDIES[reason]): Finding => {
  return { reason, message: `${reason}: ${message}`.slice(0, 1024) };
};

/** In order of weight; the first that applies is the reason. */
function findingOf(observed: ObservedAddress, node: string): Finding {
  const { election, foreign, owner, hindrance, interfaces, unansweredBy } = observed;
  if (foreign !== undefined) return conflictWith(foreign, owner === node && interfaces.length > 0);
  if (owner === node) {
    if (interfaces.length === 0)
      return found(observed.noInterface.reason, observed.noInterface.message);
    if (unansweredBy.length > 0)
      return found("NotAnswering", `${unansweredBy.join(", ")}: ${REMEDIES.NotAnswering}`);
    return { reason: "Announced" };
  }
  const excluded = election.excluded.get(node);
  if (excluded !== undefined) return found(excluded);
  const word = HINDRANCES[hindrance ?? ""];
  if (word !== undefined) return found(word, HINDRANCE_REMEDIES[hindrance ?? ""]);
  const { reason } = observed.standing(node);
  if (reason !== undefined && isOfLinks(reason)) return found(reason, observed.noInterface.message);
  if (reason !== undefined) return found(reason);
  return found("LowerRank", owner === undefined ? undefined : `${owner} announces it`);
}

function isOfLinks(reason: NodeReason): boolean {
  return (
    reason === "NoUsableInterface" || reason === "NoCarrier" || reason === "InterfaceNotSelected"
  );
}

function conflictWith({ hardwareAddress }: ForeignHost, owns: boolean): Finding {
  const what = owns ? "this node announces and defends it, but " : "";
  return found(
    "AddressConflict",
    `${what}the host with hardware address ${hardwareAddress} uses it too: remove it there, or take the address out of the pool`,
  );
}

/** What a node that speaks for an address says of it. */
export function observe(observed: ObservedAddress, node: string): AddressObservation {
  const { owner, interfaces, foreign } = observed;
  const others = otherNodes(observed, node);
  const isAnswering = owner === node && interfaces.length > 0;
  return {
    address: observed.address,
    term: observed.term,
    since: formatTime(observed.since),
    otherNodes: others.slice(0, MAX_OTHER_NODES).map(({ node: name, reason, since }) => {
      return { node: name, reason, ...(since !== undefined && { since: formatTime(since) }) };
    }),
    otherNodeCounts: count(others.map(({ reason }) => reason)),
    ...(isAnswering && { interfaces: interfaces.map((name) => ({ name })) }),
    ...(foreign !== undefined && {
      conflict: { hardwareAddress: foreign.hardwareAddress, since: formatTime(foreign.since) },
    }),
    ...findingOf(observed, node),
  };
}
