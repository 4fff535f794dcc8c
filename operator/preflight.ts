/**
 * What about the cluster keeps addresses from being reached, or will: told as a condition before
 * anybody runs into it. Nothing is ever refused or held back for it.
 */
import type { PreflightReason } from "../api/reason.ts";
import type { PoolConfig } from "../api/rendered-config.ts";
import type { SpeakerStatusStatus } from "../api/speaker-status.ts";
import { parseAddress, type Family } from "../packet/address/address.ts";
import {
  parsePoolEntry,
  rangeOfAddress,
  rangesOverlap,
  type AddressRange,
} from "../packet/address/range.ts";
import type { ObservedObject } from "./desired/plain.ts";

/** One thing that stands in the way; the message names what and where, and the remedy. */
export interface Finding {
  readonly reason: PreflightReason;
  readonly message: string;
}

/** A Node as far as it matters here. */
export interface ObservedNode {
  readonly metadata: ObservedObject["metadata"];
  readonly spec?: { readonly podCIDRs?: readonly string[] } | undefined;
  readonly status?:
    | { readonly addresses?: readonly { readonly type: string; readonly address: string }[] }
    | undefined;
}

/** A DaemonSet as far as it matters here. */
export interface ObservedProgram {
  readonly metadata: ObservedObject["metadata"] & { readonly namespace?: string };
  readonly spec?:
    | {
        readonly template?: {
          readonly spec?:
            { readonly containers: readonly { readonly image?: string }[] } | undefined;
        };
      }
    | undefined;
}

/** All that the checks look at. */
export interface PreflightFacts {
  readonly ignoreExcludeLoadBalancers: boolean;
  /** The operator's namespace. */
  readonly namespace: ObservedObject | undefined;
  readonly nodes: readonly ObservedNode[];
  /** What the speakers say, one a node. */
  readonly speakers: readonly SpeakerStatusStatus[];
  /** How many speakers there should be; undefined while that is not known. */
  readonly expectedSpeakers: number | undefined;
  /** DaemonSets of others. */
  readonly programs: readonly ObservedProgram[];
  /** Somebody holds the lock under which kube-vip announces Services. */
  readonly hasKubeVipLock: boolean;
  /** CIDRs that Services get their cluster addresses from. */
  readonly serviceNetworks: readonly string[];
  /** Pools in effect: their ranges are disjoint. */
  readonly pools: readonly PoolConfig[];
}

const CHECKS: readonly ((facts: PreflightFacts) => readonly Finding[])[] = [
  podSecurity,
  otherAnnouncers,
  strictArp,
  excludedNodes,
  clusterNetworks,
  unconnectedPools,
  virtualRouters,
  kubeProxies,
  reversePathFilters,
];

/** Looks for everything; the gravest findings first. */
export function preflight(facts: PreflightFacts): Finding[] {
  return CHECKS.flatMap((check) => check(facts));
}

const ENFORCE_LABEL = "pod-security.kubernetes.io/enforce";
const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

function podSecurity({ namespace }: PreflightFacts): Finding[] {
  const level = namespace?.metadata.labels?.[ENFORCE_LABEL] ?? "privileged";
  if (level === "privileged") return [];
  const name = namespace?.metadata.name ?? "";
  const message = `namespace ${name} enforces Pod Security level ${level}, which forbids the speakers' host network: kubectl label namespace ${name} ${ENFORCE_LABEL}=privileged --overwrite`;
  return [{ reason: "PodSecurityTooStrict", message }];
}

/** Which program a DaemonSet runs that announces addresses, by its images and labels. */
function announcerOf({ metadata, spec }: ObservedProgram): string | undefined {
  const images = (spec?.template?.spec?.containers ?? []).map(({ image = "" }) => image);
  const runs = (pattern: RegExp): boolean => images.some((image) => pattern.test(image));
  if (runs(/(^|\/)kube-vip(-iptables)?([:@]|$)/)) return "kube-vip";
  if (runs(/keepalived/)) return "keepalived";
  const { app, component } = metadata.labels ?? {};
  const byLabel = app === "metallb" && component === "speaker";
  return byLabel || runs(/metallb[^/]*\/speaker([:@]|$)/) ? "MetalLB" : undefined;
}

function otherAnnouncers({ programs, hasKubeVipLock }: PreflightFacts): Finding[] {
  const found = programs.flatMap((program) => {
    const what = announcerOf(program);
    const { name, namespace = "" } = program.metadata;
    return what === undefined ? [] : [`${what} (DaemonSet ${namespace}/${name})`];
  });
  const isKnown = found.some((text) => text.startsWith("kube-vip"));
  const all = hasKubeVipLock && !isKnown ? [...found, "kube-vip (Lease plndr-svcs-lock)"] : found;
  if (all.length === 0) return [];
  const message = `${listed(all.sort())} announces addresses too: two answers for one address cut connections; remove it, or give it Services of another class and addresses of its own`;
  return [{ reason: "OtherAnnouncer", message }];
}

function strictArp({ speakers }: PreflightFacts): Finding[] {
  const nodes = speakers.filter((each) => each.hasIPVSInterface && each.arpIgnore === 0);
  if (nodes.length === 0) return [];
  const message = `kube-proxy is in IPVS mode without strictARP on ${nodesOf(nodes)}: every node answers ARP for every Service; set ipvs.strictARP: true in kube-proxy's configuration`;
  return [{ reason: "StrictARPOff", message }];
}

function excludedNodes({ nodes, ignoreExcludeLoadBalancers }: PreflightFacts): Finding[] {
  const isExcluded = ({ metadata: { labels = {} } }: ObservedNode): boolean =>
    Object.hasOwn(labels, EXCLUDE_LABEL);
  if (ignoreExcludeLoadBalancers || nodes.length === 0 || !nodes.every(isExcluded)) return [];
  const message = `every node is labelled ${EXCLUDE_LABEL}, so none announces: remove the label from some, or set spec.ignoreExcludeLoadBalancers: true`;
  return [{ reason: "AllNodesExcluded", message }];
}

interface PoolRange {
  readonly pool: string;
  readonly text: string;
  readonly range: AddressRange;
}

function rangesOf(pools: readonly PoolConfig[]): PoolRange[] {
  return pools.flatMap(({ name, addresses }) =>
    addresses.flatMap((text) => {
      const parsed = parsePoolEntry(text);
      return parsed.ok ? [{ pool: name, text, range: parsed.value }] : [];
    }),
  );
}

/** Finds ranges of pools in O(log n): pools in effect never overlap. */
class PoolRanges {
  readonly #sorted: Record<Family, PoolRange[]> = { ipv4: [], ipv6: [] };

  constructor(pools: readonly PoolConfig[]) {
    for (const each of rangesOf(pools)) this.#sorted[each.range.family].push(each);
    for (const ranges of Object.values(this.#sorted))
      ranges.sort((a, b) => (a.range.first < b.range.first ? -1 : 1));
  }

  /** The last range that overlaps another. */
  overlapping(range: AddressRange): PoolRange | undefined {
    const ranges = this.#sorted[range.family];
    let [low, high] = [0, ranges.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const candidate = ranges[middle];
      if (candidate !== undefined && candidate.range.first <= range.last) low = middle + 1;
      else high = middle;
    }
    const nearest = ranges[low - 1];
    return nearest !== undefined && nearest.range.last >= range.first ? nearest : undefined;
  }
}

function clusterNetworks({ nodes, serviceNetworks, pools }: PreflightFacts): Finding[] {
  const ranges = new PoolRanges(pools);
  const clashes: string[] = [];
  const look = (range: AddressRange | undefined, what: string): void => {
    const found = range && ranges.overlapping(range);
    if (found !== undefined) clashes.push(`${found.text} of AddressPool ${found.pool} ${what}`);
  };
  for (const network of serviceNetworks)
    look(rangeOf(network), `overlaps the Services' network ${network}`);
  for (const { metadata, spec, status } of nodes) {
    for (const network of spec?.podCIDRs ?? [])
      look(rangeOf(network), `overlaps the pods' network ${network} of node ${metadata.name}`);
    for (const { address } of (status?.addresses ?? []).filter(isAddress))
      look(rangeOf(address), `holds ${address}, an address of node ${metadata.name}`);
  }
  if (clashes.length === 0) return [];
  const message = `${listed(clashes.sort())}: take these addresses out of the pools`;
  return [{ reason: "PoolOverlapsCluster", message }];
}

function isAddress({ type }: { readonly type: string }): boolean {
  return type === "InternalIP" || type === "ExternalIP";
}

function rangeOf(text: string): AddressRange | undefined {
  if (text.includes("/")) {
    const parsed = parsePoolEntry(text);
    return parsed.ok ? parsed.value : undefined;
  }
  const parsed = parseAddress(text);
  return parsed.ok ? rangeOfAddress(parsed.value) : undefined;
}

/** A node that has not spoken yet may be the one with the subnet. */
function unconnectedPools({ pools, speakers, expectedSpeakers }: PreflightFacts): Finding[] {
  if (expectedSpeakers === undefined || speakers.length < Math.max(1, expectedSpeakers)) return [];
  const texts = speakers.flatMap(({ interfaces }) => interfaces.flatMap(({ subnets }) => subnets));
  const subnets = [...new Set(texts)].flatMap((text) => rangeOf(text) ?? []);
  const lost = rangesOf(pools).filter(
    ({ range }) => !subnets.some((subnet) => rangesOverlap(subnet, range)),
  );
  if (lost.length === 0) return [];
  const names = lost.map(({ text, pool }) => `${text} of AddressPool ${pool}`);
  const message = `${listed(names)}: in no network of a node, so that nobody on the LAN asks for these addresses; choose addresses of ${listed([...new Set(texts)])}, or have a router send them to the nodes`;
  return [{ reason: "PoolNotOnLink", message }];
}

function virtualRouters({ speakers }: PreflightFacts): Finding[] {
  const heard = new Set(
    speakers.flatMap((each) => each.virtualRouters.map(({ address, id }) => `${id} of ${address}`)),
  );
  if (heard.size === 0) return [];
  const message = `the speakers hear virtual router ${listed([...heard].sort())}: keepalived or an IP failover moves addresses on this LAN; keep its addresses out of the pools, or remove it`;
  return [{ reason: "VirtualRouterHeard", message }];
}

function kubeProxies({ speakers }: PreflightFacts): Finding[] {
  const nodes = speakers.filter(({ kubeProxy }) => kubeProxy === "Unhealthy");
  if (nodes.length === 0) return [];
  const message = `kube-proxy says that it is not healthy on ${nodesOf(nodes)}: connections that arrive there may go nowhere; look at its log`;
  return [{ reason: "KubeProxyUnhealthy", message }];
}

/** With one interface, answers leave by the one that the question came in by. */
function reversePathFilters({ speakers }: PreflightFacts): Finding[] {
  const nodes = speakers.filter(
    ({ interfaces }) =>
      interfaces.length > 1 && interfaces.some(({ reversePathFilter }) => reversePathFilter === 1),
  );
  if (nodes.length === 0) return [];
  const message = `several interfaces and a strict reverse path filter on ${nodesOf(nodes)}: connections that come in by another interface than their answers would take are dropped; set sysctl net.ipv4.conf.all.rp_filter=2`;
  return [{ reason: "StrictReversePathFilter", message }];
}

const SHOWN = 5;

function nodesOf(speakers: readonly SpeakerStatusStatus[]): string {
  const names = speakers.map(({ node }) => node).sort();
  return `${names.length === 1 ? "node" : "nodes"} ${listed(names)}`;
}

function listed(texts: readonly string[]): string {
  const more = texts.length - SHOWN;
  const shown = texts.slice(0, SHOWN).join(", ");
  return more > 0 ? `${shown} and ${more} more` : shown;
}
