/**
 * Pools: what the rendered configuration says about them, made ready for the allocator.
 *
 * A pool's addresses of one family form a space of consecutive ordinals 0 … size − 1, ascending by
 * address whatever the order of the entries. Addresses that `avoid-buggy-ips` excludes have no
 * ordinal at all, so that capacity is exact and "lowest free" is a question about ordinals alone.
 */
import type { LabelSelector, PoolConfig } from "../api/rendered-config.ts";
import { matchesSelector } from "../api/selector.ts";
import {
  addressFromBigInt,
  addressToBigInt,
  familyOf,
  type Address,
  type Family,
} from "../packet/address/address.ts";
import { compareRanges, formatRange, parsePoolEntry } from "../packet/address/range.ts";
import type { AddressRange } from "../packet/address/range.ts";
import type { Parsed } from "../packet/address/parsed.ts";

/** Both families, in the order in which a dual-stack pair is assigned. */
export const FAMILIES: readonly Family[] = ["ipv4", "ipv6"];

/** How a family is written in messages. */
export const FAMILY_NAMES = { ipv4: "IPv4", ipv6: "IPv6" } as const satisfies Record<
  Family,
  string
>;

/** A pool that may be assigned from. */
export interface Pool {
  readonly name: string;
  readonly autoAssign: boolean;
  /** Lower is preferred; 0 means unset and comes last. */
  readonly priority: number;
  readonly namespaces: readonly string[];
  readonly namespaceSelectors: readonly LabelSelector[];
  readonly serviceSelectors: readonly LabelSelector[];
  /** How long a released address rests. */
  readonly cooldownMs: number;
  readonly spaces: Readonly<Record<Family, AddressSpace>>;
  /** Equal for pools that hold the same addresses. */
  readonly fingerprint: string;
}

/** Why a pool of the rendered configuration is not used. */
export interface PoolFault {
  readonly pool: string;
  /** Path of the value inside the rendered configuration. */
  readonly field: string;
  readonly reason: "Invalid" | "Overlapping";
  /** Names the value, what is wrong with it and what to do. */
  readonly message: string;
}

/** Pools in the order in which they are tried, and those that cannot be used. */
export interface ReadPools {
  readonly pools: readonly Pool[];
  readonly faults: readonly PoolFault[];
}

/**
 * Reads the pools of a rendered configuration. A faulty pool costs no other one: of two that
 * overlap, the later of the list is refused.
 * @returns the good pools by priority (unset last), then name, and one fault for each bad one.
 */
export function readPools(configs: readonly PoolConfig[]): ReadPools {
  const parsed = configs.map(({ addresses }) => addresses.map(parsePoolEntry));
  const claims = new Claims(parsed.flat().flatMap((each) => (each.ok ? [each.value] : [])));
  const pools = new Map<string, Pool>();
  const faults: PoolFault[] = [];
  for (const [index, config] of configs.entries()) {
    const path = `address-pools[${index}]`;
    const ranges = pools.has(config.name)
      ? fault(config.name, `${path}.name`, "Invalid", `pool ${config.name} is listed twice`)
      : readEntries(config, parsed[index] ?? [], path, claims);
    if ("reason" in ranges) {
      faults.push(ranges);
      claims.withdraw();
      continue;
    }
    claims.confirm();
    pools.set(config.name, makePool(config, ranges));
  }
  return { pools: [...pools.values()].sort(comparePools), faults };
}

/** Orders pools: lower priority first, unset (0) last, then by name. */
export function comparePools(a: Pool, b: Pool): number {
  const rank = (pool: Pool): number => (pool.priority === 0 ? Infinity : pool.priority);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function readEntries(
  config: PoolConfig,
  entries: readonly Parsed<AddressRange>[],
  path: string,
  claims: Claims,
): AddressRange[] | PoolFault {
  const ranges: AddressRange[] = [];
  if (entries.length === 0) {
    return fault(config.name, `${path}.addresses`, "Invalid", "the pool has no addresses: add one");
  }
  for (const [index, parsed] of entries.entries()) {
    const field = `${path}.addresses[${index}]`;
    if (!parsed.ok) return fault(config.name, field, "Invalid", parsed.message);
    const other = claims.overlapping(parsed.value);
    if (other !== undefined) {
      const partner = `${formatRange(other.range)} of pool ${other.pool}`;
      const message = `${formatRange(parsed.value)} overlaps ${partner}: take one of them out`;
      return fault(config.name, field, "Overlapping", message);
    }
    claims.add(parsed.value, config.name);
    ranges.push(parsed.value);
  }
  return ranges;
}

function fault(
  pool: string,
  field: string,
  reason: PoolFault["reason"],
  message: string,
): PoolFault {
  return { pool, field, reason, message };
}

interface Claimed {
  readonly range: AddressRange;
  readonly pool: string;
}

/**
 * Ranges that are taken; no two of them overlap. All that may ever come are sorted once by their last
 * address: the first one taken that ends at or after the start of another range is then the only one
 * that can overlap it, so n entries cost n log n.
 */
class Claims {
  readonly #ends: Readonly<Record<Family, readonly bigint[]>>;
  readonly #taken: Readonly<Record<Family, OrdinalSet>>;
  readonly #claimed: Readonly<Record<Family, Map<bigint, Claimed>>> = {
    ipv4: new Map(),
    ipv6: new Map(),
  };
  /** Those of the pool that is being read. */
  #unconfirmed: AddressRange[] = [];

  constructor(ranges: readonly AddressRange[]) {
    const ends: Record<Family, bigint[]> = { ipv4: [], ipv6: [] };
    for (const { family, last } of ranges) ends[family].push(last);
    for (const family of FAMILIES) ends[family].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    this.#ends = ends;
    this.#taken = {
      ipv4: new OrdinalSet(BigInt(ends.ipv4.length)),
      ipv6: new OrdinalSet(BigInt(ends.ipv6.length)),
    };
  }

  /** Finds the lowest range taken that has an address of this one. */
  overlapping({ family, first, last }: AddressRange): Claimed | undefined {
    const at = this.#taken[family].nextPresent(this.#place(family, first));
    const claimed = at === undefined ? undefined : this.#claimed[family].get(at);
    return claimed !== undefined && claimed.range.first <= last ? claimed : undefined;
  }

  /** Takes a range that overlaps none, for now. */
  add(range: AddressRange, pool: string): void {
    const at = this.#place(range.family, range.last);
    this.#taken[range.family].add(at);
    this.#claimed[range.family].set(at, { range, pool });
    this.#unconfirmed.push(range);
  }

  /** Keeps what was added since the last time. */
  confirm(): void {
    this.#unconfirmed = [];
  }

  /** Gives back what was added since the last time. */
  withdraw(): void {
    for (const { family, last } of this.#unconfirmed.splice(0)) {
      const at = this.#place(family, last);
      this.#taken[family].delete(at);
      this.#claimed[family].delete(at);
    }
  }

  /** Gives the place of the first range that ends at or after an address. */
  #place(family: Family, address: bigint): bigint {
    const ends = this.#ends[family];
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] ?? 0n) < address) low = middle + 1;
      else high = middle;
    }
    return BigInt(low);
  }
}

function makePool(config: PoolConfig, ranges: readonly AddressRange[]): Pool {
  const avoidBuggy = config["avoid-buggy-ips"];
  const sorted = [...ranges].sort(compareRanges);
  const space = (family: Family): AddressSpace =>
    new AddressSpace(
      family,
      sorted.filter((range) => range.family === family),
      avoidBuggy && family === "ipv4",
    );
  return {
    name: config.name,
    autoAssign: config["auto-assign"],
    priority: config.priority,
    namespaces: config.namespaces,
    namespaceSelectors: config["namespace-selectors"],
    serviceSelectors: config["service-selectors"],
    cooldownMs: config["cooldown-seconds"] * 1000,
    spaces: { ipv4: space("ipv4"), ipv6: space("ipv6") },
    fingerprint: [
      avoidBuggy,
      ...sorted.map(({ family, first, last }) => `${family} ${first} ${last}`),
    ].join(","),
  };
}

interface Segment {
  /** First and last address, in the space's own coordinates. */
  readonly first: bigint;
  readonly last: bigint;
  /** Ordinal of the first address. */
  readonly ordinal: bigint;
}

/**
 * The addresses of one family in a pool, numbered from 0 in ascending order. With `avoidBuggy` the
 * addresses that end in .0 or .255 do not exist: coordinates then count 254 addresses a block.
 */
export class AddressSpace {
  readonly family: Family;
  readonly size: bigint;
  /** What the pool's entries say, sorted; with `avoidBuggy` not every address of it is usable. */
  readonly ranges: readonly AddressRange[];
  readonly #segments: readonly Segment[];
  readonly #avoidBuggy: boolean;

  /** Numbers the addresses of sorted ranges that do not overlap. */
  constructor(family: Family, sorted: readonly AddressRange[], avoidBuggy: boolean) {
    this.family = family;
    this.ranges = sorted;
    this.#avoidBuggy = avoidBuggy;
    const segments: Segment[] = [];
    let ordinal = 0n;
    for (const range of sorted) {
      const first = avoidBuggy ? compactUp(range.first) : range.first;
      const last = avoidBuggy ? compactDown(range.last) : range.last;
      if (first > last) continue;
      segments.push({ first, last, ordinal });
      ordinal += last - first + 1n;
    }
    this.#segments = segments;
    this.size = ordinal;
  }

  /** Gives the ordinal of an address, undefined when it is not of this space. */
  ordinalOf(address: Address): bigint | undefined {
    if (familyOf(address) !== this.family) return undefined;
    const number = addressToBigInt(address);
    if (this.#avoidBuggy && isBuggy(number)) return undefined;
    const coordinate = this.#avoidBuggy ? compactUp(number) : number;
    const segment = this.#find((candidate) => candidate.first <= coordinate);
    if (segment === undefined || coordinate > segment.last) return undefined;
    return segment.ordinal + coordinate - segment.first;
  }

  /**
   * Gives the address of an ordinal. Inverse of {@link AddressSpace.ordinalOf}.
   * @throws RangeError outside 0 … size − 1.
   */
  addressAt(ordinal: bigint): Address {
    const segment = this.#find((candidate) => candidate.ordinal <= ordinal);
    if (segment === undefined || ordinal < 0n || ordinal >= this.size) {
      throw new RangeError(`ordinal ${ordinal} is outside a space of ${this.size}`);
    }
    const coordinate = segment.first + ordinal - segment.ordinal;
    return addressFromBigInt(this.#avoidBuggy ? expand(coordinate) : coordinate, this.family);
  }

  /** Finds the last segment that still satisfies a condition which holds for a leading run. */
  #find(holds: (segment: Segment) => boolean): Segment | undefined {
    let [low, high] = [0, this.#segments.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const segment = this.#segments[middle];
      if (segment !== undefined && holds(segment)) low = middle + 1;
      else high = middle;
    }
    return this.#segments[low - 1];
  }
}

const USABLE = 254n;

function isBuggy(number: bigint): boolean {
  const host = number & 255n;
  return host === 0n || host === 255n;
}

/** Numbers the first address at or after this one that is not buggy. */
function compactUp(number: bigint): bigint {
  const [block, host] = [number >> 8n, number & 255n];
  if (host === 255n) return (block + 1n) * USABLE;
  return block * USABLE + (host === 0n ? 0n : host - 1n);
}

/** Numbers the last address at or before this one that is not buggy. */
function compactDown(number: bigint): bigint {
  const [block, host] = [number >> 8n, number & 255n];
  if (host === 0n) return block * USABLE - 1n;
  return block * USABLE + (host === 255n ? USABLE : host) - 1n;
}

function expand(coordinate: bigint): bigint {
  return ((coordinate / USABLE) << 8n) + (coordinate % USABLE) + 1n;
}

/** What a pool's rules look at: a Service and the labels of its namespace. */
export interface Tenant {
  readonly namespace: string;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Tells why a pool does not admit a Service. Namespaces and namespace selectors add up; unlike
 * upstream, selectors that match no namespace at all admit nobody rather than everybody who asks.
 * @returns undefined when it admits it.
 */
export function admission(pool: Pool, tenant: Tenant): "namespace" | "labels" | undefined {
  const byNamespace = pool.namespaces.length > 0 || pool.namespaceSelectors.length > 0;
  const named =
    pool.namespaces.includes(tenant.namespace) ||
    pool.namespaceSelectors.some((selector) => matchesSelector(selector, tenant.namespaceLabels));
  if (byNamespace && !named) return "namespace";
  if (pool.serviceSelectors.length === 0) return undefined;
  return pool.serviceSelectors.some((selector) => matchesSelector(selector, tenant.labels))
    ? undefined
    : "labels";
}

/**
 * Tells whether a pool is pinned: it says something about who may use it, or has a priority, and
 * is then tried before the pools that say nothing.
 */
export function isPinned(pool: Pool): boolean {
  return (
    pool.priority > 0 ||
    pool.namespaces.length > 0 ||
    pool.namespaceSelectors.length > 0 ||
    pool.serviceSelectors.length > 0
  );
}

const DIGIT_BITS = 5n;
const ALL = -1;

/** A node of the trie. A child that is full is not kept: its bit in `full` says it all. */
interface Node {
  /** Digits under which every ordinal is in the set. */
  full: number;
  /** Digits under which some ordinal is in the set. */
  some: number;
  readonly children: (Node | undefined)[];
}

/**
 * A set of ordinals 0 … size − 1 as a trie of 32 branches: every operation descends one or two
 * paths, log₃₂ size steps, whatever the number and pattern of its members. A /64 takes 13.
 */
export class OrdinalSet {
  readonly size: bigint;
  readonly #topShift: bigint;
  readonly #root: Node = { full: 0, some: 0, children: [] };
  #count = 0;

  /** Makes an empty set for ordinals below `size`. */
  constructor(size: bigint) {
    this.size = size;
    let shift = 0n;
    while (1n << (shift + DIGIT_BITS) < size) shift += DIGIT_BITS;
    this.#topShift = shift;
  }

  /** How many ordinals are in the set. */
  get count(): number {
    return this.#count;
  }

  /** Tells whether an ordinal is in the set. */
  has(ordinal: bigint): boolean {
    let node: Node | undefined = this.#root;
    for (let shift = this.#topShift; node !== undefined; shift -= DIGIT_BITS) {
      const digit = digitOf(ordinal, shift);
      if ((node.full & (1 << digit)) !== 0) return true;
      node = node.children[digit];
    }
    return false;
  }

  /** Puts an ordinal into the set. @returns false when it was there already. */
  add(ordinal: bigint): boolean {
    const added = addTo(this.#root, ordinal, this.#topShift);
    if (added) this.#count += 1;
    return added;
  }

  /** Takes an ordinal out of the set. @returns false when it was not there. */
  delete(ordinal: bigint): boolean {
    const deleted = deleteFrom(this.#root, ordinal, this.#topShift);
    if (deleted) this.#count -= 1;
    return deleted;
  }

  /** Finds the lowest ordinal at or after `from` that is not in the set. */
  nextAbsent(from: bigint): bigint | undefined {
    return this.#inside(seek(this.#root, from, this.#topShift, absent));
  }

  /** Finds the lowest ordinal at or after `from` that is in the set. */
  nextPresent(from: bigint): bigint | undefined {
    return this.#inside(seek(this.#root, from, this.#topShift, present));
  }

  #inside(ordinal: bigint | undefined): bigint | undefined {
    return ordinal !== undefined && ordinal < this.size ? ordinal : undefined;
  }
}

function digitOf(ordinal: bigint, shift: bigint): number {
  return Number((ordinal >> shift) & 31n);
}

function addTo(node: Node, ordinal: bigint, shift: bigint): boolean {
  const digit = digitOf(ordinal, shift);
  const bit = 1 << digit;
  if ((node.full & bit) !== 0) return false;
  node.some |= bit;
  if (shift === 0n) {
    node.full |= bit;
    return true;
  }
  const child = (node.children[digit] ??= { full: 0, some: 0, children: [] });
  const added = addTo(child, ordinal, shift - DIGIT_BITS);
  if (child.full === ALL) {
    node.full |= bit;
    node.children[digit] = undefined;
  }
  return added;
}

function deleteFrom(node: Node, ordinal: bigint, shift: bigint): boolean {
  const digit = digitOf(ordinal, shift);
  const bit = 1 << digit;
  if ((node.some & bit) === 0) return false;
  const wasFull = (node.full & bit) !== 0;
  node.full &= ~bit;
  if (shift === 0n) {
    node.some &= ~bit;
    return true;
  }
  if (wasFull) node.children[digit] = { full: ALL, some: ALL, children: [] };
  const child = node.children[digit];
  const deleted = child !== undefined && deleteFrom(child, ordinal, shift - DIGIT_BITS);
  if (child?.some === 0) {
    node.some &= ~bit;
    node.children[digit] = undefined;
  }
  return deleted;
}

/** What is looked for: which digits may lead to it, and whether a child that is not kept is it. */
interface Quest {
  readonly digits: (node: Node) => number;
  readonly missing: (node: Node, bit: number) => boolean;
}

const absent: Quest = { digits: (node) => ~node.full, missing: () => true };
const present: Quest = {
  digits: (node) => node.some,
  missing: (node, bit) => (node.full & bit) !== 0,
};

/** Only the first child can disappoint, because `from` cuts it; the next one never does. */
function seek(node: Node, from: bigint, shift: bigint, quest: Quest): bigint | undefined {
  if (from >> (shift + DIGIT_BITS) !== 0n) return undefined;
  const start = digitOf(from, shift);
  let digits = quest.digits(node) & (ALL << start);
  while (digits !== 0) {
    const digit = 31 - Math.clz32(digits & -digits);
    const base = BigInt(digit) << shift;
    const rest = digit === start ? from - base : 0n;
    const child = node.children[digit];
    if (shift === 0n) return base;
    if (child === undefined && quest.missing(node, 1 << digit)) return base + rest;
    const found = child && seek(child, rest, shift - DIGIT_BITS, quest);
    if (found !== undefined) return base + found;
    digits &= digits - 1;
  }
  return undefined;
}
