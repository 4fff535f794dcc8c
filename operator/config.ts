/**
 * Compiles all pools together into the rendered configuration and gives each its verdict.
 *
 * - What is in effect goes before what is new: an edit cannot take addresses away from a pool that
 *   other people's Services use. Among equals the earlier pool (creationTimestamp, then name) wins.
 * - A pool edited into error keeps the form that was accepted last, until it is mended or deleted.
 * - The admitted forms of two pools never share an address.
 */
import type { AddressPool } from "../api/address-pool.ts";
import { HEARTBEAT_INTERVAL_MS, MISSED_HEARTBEATS, type MetalLBSpec } from "../api/metallb.ts";
import type { ObjectReason } from "../api/reason.ts";
import type { PoolConfig, RenderedConfig } from "../api/rendered-config.ts";
import { parseAddress, type Family } from "../packet/address/address.ts";
import type { AddressRange } from "../packet/address/range.ts";
import { desiredPool, renderedPool, type PoolEntry, type PoolForm } from "./desired/pool.ts";

const SHOWN_ENTRIES = 5;

/** What became of one pool: a condition in the making. */
export interface PoolVerdict {
  readonly name: string;
  readonly reason: ObjectReason;
  readonly message: string;
  /** What is wrong, without what became of it; undefined when the pool is valid. */
  readonly fault: Fault | undefined;
  /** The form in effect; of a pool that is not valid, the last one that was. */
  readonly inEffect: PoolConfig | undefined;
}

/** The pools that take effect, by name, and what became of each pool. */
export interface CompiledPools {
  readonly pools: readonly PoolConfig[];
  /** In the order of precedence. */
  readonly verdicts: readonly PoolVerdict[];
}

/** What is wrong with a pool; the message names field, value and remedy. */
export interface Fault {
  readonly reason: ObjectReason;
  readonly message: string;
}

/** A pool, with the form it asks for and the one that was in effect until now. */
interface Candidate {
  readonly name: string;
  readonly wanted: PoolForm | undefined;
  /** What is wrong with the pool, looking at nothing but the pool. */
  readonly fault: Fault | undefined;
  readonly previous: PoolForm | undefined;
}

/**
 * Compiles the pools of the operator's namespace.
 * @param previous the pools that were in effect until now, which faulty pools fall back on
 */
export function compilePools(
  pools: readonly AddressPool[],
  previous: readonly PoolConfig[],
): CompiledPools {
  const before = new Map(previous.map((pool) => [pool.name, pool]));
  const candidates = [...pools].sort(byPrecedence).map((pool) => candidate(pool, before));
  const verdicts = admit(candidates);
  const inEffect = verdicts.flatMap((verdict) => verdict.inEffect ?? []);
  return { pools: inEffect.sort((a, b) => compareText(a.name, b.name)), verdicts };
}

/** Which rebalance was asked for last, and what for: a part of the rendered configuration. */
export type RebalanceRecord = RenderedConfig["rebalance"];

/** Before any rebalance was asked for. */
export const NO_REBALANCE: RebalanceRecord = { generation: 0, rollout: "", request: "" };

/** Builds the rendered configuration from the MetalLB object's settings and the compiled pools. */
export function desiredConfig(
  spec: MetalLBSpec,
  pools: readonly PoolConfig[],
  rebalance: RebalanceRecord,
): RenderedConfig {
  const { intervalMilliseconds, multiplier } = spec.failureDetection ?? {};
  return {
    "address-pools": [...pools],
    "log-level": spec.logLevel,
    "load-balancer-class": spec.loadBalancerClass ?? "",
    "ignore-exclude-load-balancers": spec.ignoreExcludeLoadBalancers,
    "excluded-interfaces": spec.excludedInterfaces ?? [],
    "failure-detection": {
      "interval-milliseconds": intervalMilliseconds ?? HEARTBEAT_INTERVAL_MS.default,
      multiplier: multiplier ?? MISSED_HEARTBEATS.default,
    },
    "announcement-refresh-seconds": spec.announcementRefreshSeconds,
    "witness-addresses": (spec.witnessAddresses ?? []).flatMap((text) => {
      const parsed = parseAddress(text);
      return parsed.ok ? [parsed.value] : [];
    }),
    rebalance,
  };
}

function byPrecedence(a: AddressPool, b: AddressPool): number {
  // RFC 3339 in UTC with whole seconds, as the API server writes it, sorts as text.
  const byTime = compareText(created(a), created(b));
  return byTime === 0 ? compareText(a.metadata.name, b.metadata.name) : byTime;
}

function created(pool: AddressPool): string {
  return pool.metadata.creationTimestamp ?? "";
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function candidate(pool: AddressPool, before: ReadonlyMap<string, PoolConfig>): Candidate {
  const { name } = pool.metadata;
  const read = desiredPool(pool);
  const last = before.get(name);
  return {
    name,
    wanted: read.ok ? read.value : undefined,
    fault: read.ok ? undefined : { reason: read.reason, message: read.message },
    previous: last && renderedPool(last),
  };
}

/**
 * Admits candidates round by round. One whose new form is refused falls back on its previous form,
 * which may stand in the way of a new form that had been admitted: so another round follows, until
 * nobody falls back any more. Each round but the last adds to `fallen`, so there is an end.
 */
function admit(candidates: readonly Candidate[]): PoolVerdict[] {
  const fallen = new Map<string, Fault>();
  for (;;) {
    const size = fallen.size;
    const verdicts = admitOnce(candidates, fallen);
    if (fallen.size === size) return verdicts;
  }
}

function admitOnce(candidates: readonly Candidate[], fallen: Map<string, Fault>): PoolVerdict[] {
  const taken = new TakenRanges();
  const verdicts = new Map<string, PoolVerdict>();
  const judge = (one: Candidate): void => {
    const fault = one.fault ?? fallen.get(one.name);
    const form = fault === undefined ? one.wanted : one.previous;
    const clash = form && taken.claim(one.name, form);
    if (clash === undefined) {
      verdicts.set(one.name, verdict(one.name, fault, form));
      return;
    }
    verdicts.set(one.name, verdict(one.name, fault ?? clash, undefined));
    if (fault === undefined && one.previous !== undefined) fallen.set(one.name, clash);
  };
  // Which form a candidate stands for is settled before the round, whatever happens in it.
  const standing = (one: Candidate): boolean =>
    one.fault !== undefined || fallen.has(one.name) || isUnchanged(one);
  const [first, second] = [candidates.filter(standing), candidates.filter((one) => !standing(one))];
  [...first, ...second].forEach(judge);
  return candidates.flatMap((one) => verdicts.get(one.name) ?? []);
}

/** Tells whether a pool asks for no other addresses than those that it has. */
function isUnchanged({ wanted, previous }: Candidate): boolean {
  const had = new Set(previous?.config.addresses);
  return wanted?.config.addresses.every((text) => had.has(text)) ?? false;
}

function verdict(name: string, fault: Fault | undefined, form: PoolForm | undefined): PoolVerdict {
  const inEffect = form?.config;
  if (fault === undefined) {
    return { name, reason: "Valid", message: "every entry is valid", fault, inEffect };
  }
  const effect =
    inEffect === undefined
      ? "the pool has no effect"
      : `the form accepted before stays in effect: ${abridged(inEffect.addresses)}`;
  return { name, reason: fault.reason, message: `${fault.message}; ${effect}`, fault, inEffect };
}

/** A condition's message is for people: a few entries tell which form is meant. */
export function abridged(addresses: readonly string[]): string {
  const more = addresses.length - SHOWN_ENTRIES;
  const shown = addresses.slice(0, SHOWN_ENTRIES).join(", ");
  return more > 0 ? `${shown} and ${more} more` : shown;
}

interface Taken {
  readonly pool: string;
  readonly entry: PoolEntry;
}

/** The ranges of the pools admitted so far: disjoint, so a family's are sorted at both ends. */
class TakenRanges {
  readonly #byFamily: Record<Family, Taken[]> = { ipv4: [], ipv6: [] };

  /** Takes all ranges of a pool, or none. @returns the clash, if there is one */
  claim(pool: string, form: PoolForm): Fault | undefined {
    for (const entry of form.entries) {
      const other = this.#overlapping(entry.range);
      if (other !== undefined) return clash(entry, other);
    }
    for (const entry of form.entries) {
      const taken = this.#byFamily[entry.range.family];
      taken.splice(positionAfter(taken, entry.range.first), 0, { pool, entry });
    }
    return undefined;
  }

  /** Only the last range that begins at or before this one's end can reach into it. */
  #overlapping(range: AddressRange): Taken | undefined {
    const taken = this.#byFamily[range.family];
    const nearest = taken[positionAfter(taken, range.last) - 1];
    return nearest !== undefined && nearest.entry.range.last >= range.first ? nearest : undefined;
  }
}

/** Counts the ranges that begin at or before an address. */
function positionAfter(taken: readonly Taken[], number: bigint): number {
  let [low, high] = [0, taken.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const begins = taken[middle]?.entry.range.first;
    if (begins !== undefined && begins <= number) low = middle + 1;
    else high = middle;
  }
  return low;
}

function clash(entry: PoolEntry, other: Taken): Fault {
  const partner = `${other.entry.text} of AddressPool ${other.pool}`;
  const message = `spec.addresses: ${entry.text} overlaps ${partner}, which goes before: change one of them`;
  return { reason: "Overlapping", message };
}
