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
 * The node that speaks for an address: its owner, or, while nobody can announce it, the first by
 * rank of all nodes whose speaker is there to say so.
 */
export function spokesman(address: Address, election: Election): string | undefined {
  const [owner] = election.candidates;
  if (owner !== undefined) return owner;
  const able = [...election.excluded]
    .filter(([, reason]) => reason !== "SpeakerDead")
    .map(([node]) => node);
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
  SpeakerDead: "the nodes are not Ready",
};

const count = (reasons: Iterable<NodeReason>): { reason: NodeReason; count: number }[] => {
  const counts = new Map<NodeReason, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, number]) => ({ reason, count: number }))
    .toSorted((a, b) => (a.reason < b.reason ? -1 : 1));
};

/** Reasons of all nodes but one, the first by rank first. */
function otherNodes(address: Address, election: Election, node: string): [string, NodeReason][] {
  const candidates = election.candidates.map((name): [string, NodeReason] => [name, "LowerRank"]);
  const excluded = [...election.excluded].map(([name, reason]): [string, NodeReason] => [
    name,
    // that no endpoint is Ready anywhere is, for one node, that none is there
    reason === "NoReadyEndpoint" ? "NoLocalReadyEndpoint" : reason,
  ]);
  return [...candidates, ...excluded]
    .filter(([name]) => name !== node)
    .map(([name, reason]) => ({
      rank: rankOf(name, address),
      entry: [name, reason] as [string, NodeReason],
    }))
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ entry }) => entry);
}

/** The facts about one address that a node reports. */
export interface ObservedAddress {
  readonly address: Address;
  readonly election: Election;
  readonly since: Date;
  /** Interfaces that the address is answered for on. */
  readonly interfaces: readonly string[];
  /** Why there are none, if there are none. */
  readonly interfaceMessage: string;
}

/** What a node that speaks for an address says of it. */
export function observe(observed: ObservedAddress, node: string): AddressObservation {
  const { address, election, since, interfaces } = observed;
  const others = otherNodes(address, election, node);
  const shared = {
    address,
    // Without claims the newest owner is told by when it took over.
    term: Math.floor(since.getTime() / 1000),
    since: formatTime(since),
    otherNodes: others.slice(0, MAX_OTHER_NODES).map(([name, reason]) => ({ node: name, reason })),
    otherNodeCounts: count(others.map(([, reason]) => reason)),
  };
  if (election.candidates[0] === node && interfaces.length > 0)
    return { ...shared, reason: "Announced", interfaces: interfaces.map((name) => ({ name })) };
  if (election.candidates[0] === node)
    return { ...shared, reason: "NoUsableInterface", message: observed.interfaceMessage };
  const reason = election.excluded.get(node) ?? "NoLocalReadyEndpoint";
  return {
    ...shared,
    reason,
    message: `${reason}: ${REMEDIES[reason] ?? "see the other nodes' reasons"}`,
  };
}
