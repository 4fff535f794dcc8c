/** What this speaker says of a Service in its ServiceL2Status: pure. */
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

/**
 * The node that speaks for an address: its owner, or, while nobody answers for it, the first by rank
 * of all nodes whose speaker is there to say so.
 */
export function spokesman(
  address: Address,
  { candidates, excluded }: Election,
  owner: string | undefined,
  isLive: (node: string) => boolean,
): string | undefined {
  if (owner !== undefined) return owner;
  const able = [...candidates, ...excluded.keys()].filter(isLive);
  return able.toSorted((a, b) => (rankOf(a, address) < rankOf(b, address) ? -1 : 1))[0];
}

/** What to do, by reason why nobody announces. */
const REMEDIES: Readonly<Record<string, string>> = {
  NoReadyEndpoint: "no endpoint of the Service is Ready: look at its pods and its selector",
  NoLocalReadyEndpoint:
    "externalTrafficPolicy is Local and no node that may announce has a Ready endpoint",
  ExcludedByLabel:
    "remove the label node.kubernetes.io/exclude-from-external-load-balancers, or set ignoreExcludeLoadBalancers in the MetalLB object",
  NetworkUnavailable: "the network of the nodes is not available: look at the Node conditions",
  NodeNotSelected: "the pool's nodeSelectors select no such node",
  LowerRank: "the speakers are about to settle who announces it",
};

const count = (reasons: Iterable<NodeReason>): { reason: NodeReason; count: number }[] => {
  const counts = new Map<NodeReason, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, number]) => ({ reason, count: number }))
    .toSorted((a, b) => (a.reason < b.reason ? -1 : 1));
};

/** Reasons of all nodes but one, the first by rank first. */
function otherNodes(observed: ObservedAddress, node: string): [string, NodeReason][] {
  const { address, election, isLive } = observed;
  const reasonOf = (name: string): NodeReason => {
    const reason = election.excluded.get(name);
    // that no endpoint is Ready anywhere is, for one node, that none is there
    if (reason !== undefined) return reason === "NoReadyEndpoint" ? "NoLocalReadyEndpoint" : reason;
    return isLive(name) ? "LowerRank" : "SpeakerDead";
  };
  return [...election.candidates, ...election.excluded.keys()]
    .filter((name) => name !== node)
    .map((name) => ({ rank: rankOf(name, address), name }))
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ name }) => [name, reasonOf(name)]);
}

/** The facts about one address that a node reports. */
export interface ObservedAddress {
  readonly address: Address;
  readonly election: Election;
  /** The node that answers for it, if any. */
  readonly owner: string | undefined;
  readonly term: number;
  /** Why nobody does although somebody could, in the protocol's word. */
  readonly hindrance: string | undefined;
  readonly since: Date;
  /** Whether the speaker of a node is a live member. */
  readonly isLive: (node: string) => boolean;
  /** Interfaces that the address is answered for on. */
  readonly interfaces: readonly string[];
  /** Why there are none, if there are none. */
  readonly interfaceMessage: string;
}

/** Reasons for the protocol's words. */
const HINDRANCES: Readonly<Record<string, readonly [AddressObservation["reason"], string]>> = {
  probing: ["Probing", "the LAN is asked whether the address is free"],
  conflict: ["AddressConflict", "another host uses the address: remove it there, or from the pool"],
  answering: ["PeerUnreachableButAnswering", "a node that is not heard still answers for it"],
  isolated: ["Isolated", "this node hears nobody on the LAN: look at its link"],
  fenced: ["Isolated", "this node is not sure to be in touch with the others, and keeps silent"],
};

/** What a node that speaks for an address says of it. */
export function observe(observed: ObservedAddress, node: string): AddressObservation {
  const { election, interfaces, owner, hindrance } = observed;
  const others = otherNodes(observed, node);
  const shared = {
    address: observed.address,
    term: observed.term,
    since: formatTime(observed.since),
    otherNodes: others.slice(0, MAX_OTHER_NODES).map(([name, reason]) => ({ node: name, reason })),
    otherNodeCounts: count(others.map(([, reason]) => reason)),
  };
  if (owner === node && interfaces.length > 0)
    return { ...shared, reason: "Announced", interfaces: interfaces.map((name) => ({ name })) };
  if (
    owner === node ||
    (election.candidates.includes(node) && interfaces.length === 0 && hindrance === undefined)
  )
    return { ...shared, reason: "NoUsableInterface", message: observed.interfaceMessage };
  const [word, remedy] = HINDRANCES[hindrance ?? ""] ?? [];
  const reason = election.excluded.get(node) ?? word ?? "LowerRank";
  return {
    ...shared,
    reason,
    message: `${reason}: ${remedy ?? REMEDIES[reason] ?? "see the other nodes' reasons"}`,
  };
}
