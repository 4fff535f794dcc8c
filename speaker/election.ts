/**
 * Who may announce an address, and in which order. The unit is the address: services that share one
 * are announced by the same node.
 *
 * Rules, in this order; the first that excludes a node is its reason:
 * 1. the node carries no exclude-from-external-load-balancers label (unless told to ignore it)
 * 2. its network is available
 * 3. the pool's node selectors select it
 * 4. each Service on the address with externalTrafficPolicy Local has a usable endpoint there
 * 5. with `announceFrom: EndpointNodes` each other Service too, unless no candidate would be left; an
 *    owner that has just lost its endpoint stays one for {@link ENDPOINT_GRACE_MS}
 *
 * A Service's usable endpoints are its Ready ones; only when it has none, those that serve while
 * they terminate. Services without any usable endpoint do not count; when none has one, nobody
 * announces. Whether a node is alive is not asked here: that is the members' own business. The order is ascending bytewise sha256(node + "#" + address), MetalLB's since 0.11.
 */
import type { NodeReason } from "../api/reason.ts";
import type { LabelSelector, PoolConfig } from "../api/rendered-config.ts";
import { matchesSelector } from "../api/selector.ts";
import type { Address } from "../packet/address/address.ts";
import { rankOf } from "./claims.ts";

/** Label that keeps a node from announcing, whatever its value. */
export const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

/** An owner that lost its local endpoint keeps an address so long: an update does not chase pods. */
export const ENDPOINT_GRACE_MS = 5000;

/** What the election looks at in a node. */
export interface NodeFacts {
  readonly name: string;
  readonly networkUnavailable: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** One endpoint of a Service; the conditions have their defaults applied (absent ready is true). */
export interface EndpointFacts {
  /** Absent when nobody said where it runs. */
  readonly node?: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** What the election looks at in a Service. */
export interface ServiceFacts {
  /** externalTrafficPolicy is Local. */
  readonly local: boolean;
  readonly endpoints: readonly EndpointFacts[];
}

/** The rules of the pool that the address is from. */
export interface PlacementRules {
  readonly nodeSelectors: readonly LabelSelector[];
  readonly announceFrom: PoolConfig["announce-from"];
  readonly ignoreExcludeLabel: boolean;
  /** A node that stays a candidate under rule 5 although it has no endpoint any more. */
  readonly kept?: string;
}

/** The outcome for one address. */
export interface Election {
  /** Names of the candidates, the first is to announce; empty: nobody. */
  readonly candidates: readonly string[];
  /** The first by rank of those that could be one if endpoints were Ready. */
  readonly prober: string | undefined;
  /** Why each other node is none. */
  readonly excluded: ReadonlyMap<string, NodeReason | "NoReadyEndpoint">;
  /** Of them those that rule 5 excludes: they could announce, others are nearer to an endpoint. */
  readonly farther: ReadonlySet<string>;
}

/** Endpoints that can take connections: the Ready ones, or else those that serve while terminating. */
export function usableEndpoints(endpoints: readonly EndpointFacts[]): readonly EndpointFacts[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  if (ready.length > 0) return ready;
  return endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}

function exclusionOf(node: NodeFacts, rules: PlacementRules): NodeReason | undefined {
  if (!rules.ignoreExcludeLabel && Object.hasOwn(node.labels, EXCLUDE_LABEL))
    return "ExcludedByLabel";
  if (node.networkUnavailable) return "NetworkUnavailable";
  const { nodeSelectors } = rules;
  const selected = nodeSelectors.some((selector) => matchesSelector(selector, node.labels));
  if (nodeSelectors.length > 0 && !selected) return "NodeNotSelected";
  return undefined;
}

/** Nodes on which every one of these sets of endpoints has a member. */
function holdsAll(node: string, sets: readonly ReadonlySet<string>[]): boolean {
  return sets.every((set) => set.has(node));
}

/** Elects for one address; see the head of the file for the rules. */
export function elect(
  address: Address,
  services: readonly ServiceFacts[],
  nodes: readonly NodeFacts[],
  rules: PlacementRules,
): Election {
  const excluded = new Map<string, NodeReason | "NoReadyEndpoint">();
  const served = services
    .map((service) => ({ local: service.local, usable: usableEndpoints(service.endpoints) }))
    .filter(({ usable }) => usable.length > 0)
    .map(({ local, usable }) => ({
      local,
      nodes: new Set(usable.flatMap(({ node }) => (node === undefined ? [] : [node]))),
    }));
  const local = served.filter((service) => service.local).map((service) => service.nodes);
  const elsewhere = served.filter((service) => !service.local).map((service) => service.nodes);
  const possible: string[] = [];
  const able: string[] = [];
  for (const node of nodes) {
    const exclusion = exclusionOf(node, rules);
    if (exclusion === undefined) able.push(node.name);
    const reason =
      exclusion ??
      (served.length === 0 ? "NoReadyEndpoint" : undefined) ??
      (holdsAll(node.name, local) ? undefined : "NoLocalReadyEndpoint");
    if (reason === undefined) possible.push(node.name);
    else excluded.set(node.name, reason);
  }
  const farther =
    rules.announceFrom === "EndpointNodes" ? fartherOf(possible, elsewhere, rules) : [];
  for (const name of farther) excluded.set(name, "NoLocalReadyEndpoint");
  const [prober] = byRank(able, address);
  const candidates = byRank(
    possible.filter((name) => !excluded.has(name)),
    address,
  );
  return { candidates, prober, excluded, farther: new Set(farther) };
}

/** Those without an endpoint of each Service, if there are others with one. */
function fartherOf(
  possible: readonly string[],
  sets: readonly ReadonlySet<string>[],
  { kept }: PlacementRules,
): string[] {
  const isNear = (name: string): boolean => holdsAll(name, sets);
  if (!possible.some(isNear)) return [];
  return possible.filter((name) => !isNear(name) && name !== kept);
}

function byRank(names: readonly string[], address: Address): string[] {
  return names
    .map((name) => ({ name, rank: rankOf(name, address) }))
    .toSorted((a, b) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : a.name < b.name ? -1 : 1))
    .map(({ name }) => name);
}
