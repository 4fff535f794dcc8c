/**
 * Compiles the addresses that a node answers for into a filter of its packet socket, so that the
 * process is not woken by what concerns others.
 *
 * - A frame passes when it is ARP, or Neighbor Discovery of one neighbour, and its target or its
 *   sender is one of the addresses: what the responder could answer, and what it would report as a
 *   conflict. Everything else that it may find wrong with a frame it counts, so that passes.
 * - A frame that came in an IEEE 802.1Q tag of another network does not pass, although the kernel
 *   has taken the tag out.
 * - The filter is exact as long as it fits the budget: in one program, or in several, each for a
 *   slice of the addresses in their order and for a socket of its own. A frame whose target and
 *   sender lie in two slices, a conflict, passes twice.
 * - Beyond, it is one program, in which neighbouring addresses are joined into ranges, over the
 *   smallest gaps first: it lets more through, never less.
 */
import { addressToBigInt, isIPv4, type Address } from "../address/address.ts";
import { ARP_FIELD } from "./arp.ts";
import {
  BPF,
  BPF_MAX_INSTRUCTIONS,
  BPF_VLAN_TAG,
  BPF_VLAN_TAG_PRESENT,
  BpfAssembler,
  type BpfInstruction,
  type BpfLabel,
  type BpfProgram,
} from "./bpf.ts";
import {
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV6,
  ETHERNET_FIELD,
  ETHERNET_HEADER_LENGTH,
} from "./ethernet.ts";
import {
  ICMPV6_HEADER_LENGTH,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
} from "./icmpv6.ts";
import { IPV6_FIELD, IPV6_HEADER_LENGTH, NEXT_HEADER_ICMPV6 } from "./ipv6.ts";
import { NDP_FIELD } from "./ndp.ts";

/** A filter, and how it had to be made. */
export interface CompiledFilter {
  /** At least one; a frame passes when any of them accepts it. */
  readonly programs: readonly BpfProgram[];
  /** Whether it lets through no more than it must. */
  readonly exact: boolean;
}

/** What a filter may cost. */
export interface FilterBudget {
  /** Instructions of a program, {@link MIN_FILTER_INSTRUCTIONS} to {@link BPF_MAX_INSTRUCTIONS}. */
  readonly instructions: number;
  /** Programs, 1 or more. */
  readonly programs: number;
}

/** Octets of a frame to keep: all of them. */
const KEEP = 0x40000;
/** The least instructions of a budget: the coarsest filter of both families fits, wherever the addresses lie. */
export const MIN_FILTER_INSTRUCTIONS = 256;
/** Comparisons in a row before the search halves: each costs an instruction, each half two more. */
const LEAF = 16;
/**
 * Ranges that stand for all senders in a filter that is not exact. Those who ask on a network are
 * mostly none of the addresses announced there, so that the budget is better spent on targets.
 */
const COARSE_SENDERS = 8;
const WORDS = 4;

const ARP_SENDER = ETHERNET_HEADER_LENGTH + ARP_FIELD.senderProtocolAddress;
const ARP_TARGET = ETHERNET_HEADER_LENGTH + ARP_FIELD.targetProtocolAddress;
const NEXT_HEADER = ETHERNET_HEADER_LENGTH + IPV6_FIELD.nextHeader;
const SOURCE = ETHERNET_HEADER_LENGTH + IPV6_FIELD.source;
const ICMP = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH;
const TARGET = ICMP + ICMPV6_HEADER_LENGTH + NDP_FIELD.targetAddress;

/** Numbers of one word, both ends included. */
interface Range {
  readonly first: number;
  readonly last: number;
}

/** Addresses that begin with the same words, by ranges of the word after those. */
interface Group {
  readonly path: readonly number[];
  readonly ranges: readonly Range[];
}

/** The addresses of one family to search for, target and sender. */
interface Plan {
  readonly targets: readonly Group[];
  readonly senders: readonly Group[];
}

/**
 * Compiles a filter.
 * @param addresses what the responder's table holds for the interface, announced and probed.
 * @param budget after the kernel answered ENOMEM, try with fewer instructions.
 * @throws RangeError for fewer than {@link MIN_FILTER_INSTRUCTIONS}.
 */
export function compileFilter(
  addresses: Iterable<Address>,
  { instructions, programs }: FilterBudget,
): CompiledFilter {
  if (instructions < MIN_FILTER_INSTRUCTIONS) {
    throw new RangeError(`a filter needs a budget of ${MIN_FILTER_INSTRUCTIONS} instructions`);
  }
  const most = Math.min(instructions, BPF_MAX_INSTRUCTIONS);
  const [ipv4, ipv6] = sortByFamily(addresses);
  const exact = compileExact(ipv4, ipv6, most, programs);
  if (exact !== undefined) return { programs: exact, exact: true };
  const program = compileCoarse(new Cover(ipv4, 1), new Cover(ipv6, WORDS), most);
  return { programs: [program], exact: false };
}

/** Cuts the addresses into so many equal slices that the program of each fits, if that suffices. */
function compileExact(
  ipv4: readonly bigint[],
  ipv6: readonly bigint[],
  most: number,
  slices: number,
): BpfProgram[] | undefined {
  const size = new Cover(ipv4, 1).size + new Cover(ipv6, WORDS).size;
  // A range costs an instruction at least, twice: do not assemble what cannot fit.
  for (let count = Math.max(1, Math.ceil((2 * size) / most)); count <= slices; count++) {
    const programs: BpfProgram[] = [];
    for (let i = 0; i < count; i++) {
      const program = emitFilter(
        exactPlan(new Cover(slice(ipv4, i, count), 1)),
        exactPlan(new Cover(slice(ipv6, i, count), WORDS)),
      );
      if (program.length > most) break;
      programs.push(program);
    }
    if (programs.length === count) return programs;
  }
  return undefined;
}

/** Slice `i` of `count` nearly equal ones. */
function slice<T>(all: readonly T[], i: number, count: number): readonly T[] {
  const end = (n: number): number => Math.floor((n * all.length) / count);
  return all.slice(end(i), end(i + 1));
}

function exactPlan(family: Cover): Plan {
  return { targets: family.exact(), senders: family.exact() };
}

/** Spends the budget on the ranges of targets, and what is left of it on those of senders. */
function compileCoarse(ipv4: Cover, ipv6: Cover, most: number): readonly BpfInstruction[] {
  const compile = (targets: number, senders: number): BpfInstruction[] =>
    emitFilter(
      { targets: ipv4.coarse(targets), senders: ipv4.coarse(senders) },
      { targets: ipv6.coarse(targets), senders: ipv6.coarse(senders) },
    );
  const highest = Math.min(most, Math.max(ipv4.size, ipv6.size));
  const targets = mostThatFits(1, highest, (n) => compile(n, COARSE_SENDERS).length <= most);
  if (targets < highest) return compile(targets, COARSE_SENDERS);
  const senders = mostThatFits(COARSE_SENDERS, highest, (n) => compile(targets, n).length <= most);
  return compile(targets, senders);
}

/** Halves towards the highest number that fits, to within three per cent: each try costs time. */
function mostThatFits(lowest: number, highest: number, fits: (n: number) => boolean): number {
  if (fits(highest)) return highest;
  let [good, bad] = [lowest, highest];
  while (bad - good > Math.max(1, good >> 5)) {
    const middle = (good + bad) >> 1;
    if (fits(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** The addresses of a family, to be covered by as many ranges as there is room for. */
class Cover {
  readonly #sorted: readonly bigint[];
  readonly #words: number;
  readonly #groups = new Map<number, readonly Group[]>();

  constructor(sorted: readonly bigint[], words: number) {
    this.#sorted = sorted;
    this.#words = words;
  }

  /** How many ranges hold exactly the addresses. */
  get size(): number {
    return countRanges(this.exact());
  }

  /** The addresses and no others. */
  exact(): readonly Group[] {
    return this.#grouped(this.#words);
  }

  /** At most so many ranges, as precise as that goes. */
  coarse(most: number): readonly Group[] {
    for (let precision = this.#words; precision > 1; precision--) {
      const groups = this.#grouped(precision);
      if (groups.length <= most) return mergeGaps(groups, most);
    }
    return mergeGaps(this.#grouped(1), most);
  }

  #grouped(precision: number): readonly Group[] {
    let groups = this.#groups.get(precision);
    if (groups === undefined) {
      groups = groupBy(this.#sorted, this.#words, precision);
      this.#groups.set(precision, groups);
    }
    return groups;
  }
}

function sortByFamily(addresses: Iterable<Address>): [ipv4: bigint[], ipv6: bigint[]] {
  const families: [Set<bigint>, Set<bigint>] = [new Set(), new Set()];
  for (const address of addresses) families[isIPv4(address) ? 0 : 1].add(addressToBigInt(address));
  const [ipv4, ipv6] = families.map((set) => [...set].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  return [ipv4 ?? [], ipv6 ?? []];
}

/**
 * Groups sorted addresses of `words` words by all but the last of their first `precision` words,
 * and joins what is consecutive.
 */
function groupBy(sorted: readonly bigint[], words: number, precision: number): Group[] {
  const groups = new Map<bigint, { path: number[]; ranges: Range[] }>();
  for (const number of sorted) {
    const kept = number >> BigInt(32 * (words - precision));
    const key = kept >> 32n;
    const last = Number(BigInt.asUintN(32, kept));
    let group = groups.get(key);
    if (group === undefined)
      groups.set(key, (group = { path: pathOf(key, precision - 1), ranges: [] }));
    const range = group.ranges.at(-1);
    if (range !== undefined && last <= range.last + 1) {
      group.ranges[group.ranges.length - 1] = { first: range.first, last };
    } else group.ranges.push({ first: last, last });
  }
  return [...groups.values()];
}

function pathOf(key: bigint, length: number): number[] {
  return Array.from({ length }, (_, i) =>
    Number(BigInt.asUintN(32, key >> BigInt(32 * (length - 1 - i)))),
  );
}

function countRanges(groups: readonly Group[]): number {
  return groups.reduce((count, group) => count + group.ranges.length, 0);
}

/** Closes the smallest gaps between the ranges of a group until there are few enough ranges. */
function mergeGaps(groups: readonly Group[], most: number): readonly Group[] {
  const excess = countRanges(groups) - most;
  if (excess <= 0) return groups;
  const gaps = groups.flatMap(({ ranges }) =>
    ranges.slice(1).map((range, i) => gap(ranges[i], range)),
  );
  // Float64Array sorts by number, and in place.
  const widest = Float64Array.from(gaps).sort()[excess - 1] ?? 0;
  let left = excess;
  return groups.map(({ path, ranges }) => {
    const merged: Range[] = [];
    for (const range of ranges) {
      const before = merged.at(-1);
      if (before !== undefined && left > 0 && gap(before, range) <= widest) {
        merged[merged.length - 1] = { first: before.first, last: range.last };
        left--;
      } else merged.push(range);
    }
    return { path, ranges: merged };
  });
}

function gap(before: Range | undefined, after: Range): number {
  return after.first - (before?.last ?? 0);
}

function emitFilter(ipv4: Plan, ipv6: Plan): BpfInstruction[] {
  const code = new BpfAssembler();
  const refuse = code.label();
  const arp = code.label();
  const ip = code.label();
  emitUntagged(code, refuse);
  code.add(BPF.LD_H, ETHERNET_FIELD.etherType);
  code.branch(BPF.JEQ, ETHER_TYPE_ARP, arp);
  code.branch(BPF.JEQ, ETHER_TYPE_IPV6, ip, refuse);
  code.place(arp);
  emitPlan(code, ipv4, ARP_TARGET, ARP_SENDER, refuse);
  code.place(ip);
  emitNeighborDiscovery(code, refuse);
  emitPlan(code, ipv6, TARGET, SOURCE, refuse);
  code.place(refuse);
  code.add(BPF.RET, 0);
  return code.assemble();
}

/** A tag of network 0 bears a priority only, and the kernel takes the frame as untagged. */
function emitUntagged(code: BpfAssembler, refuse: BpfLabel): void {
  const untagged = code.label();
  code.add(BPF.LD_W, BPF_VLAN_TAG_PRESENT);
  code.branch(BPF.JEQ, 0, untagged);
  code.add(BPF.LD_W, BPF_VLAN_TAG);
  code.add(BPF.AND, 0xfff);
  code.branch(BPF.JEQ, 0, untagged, refuse);
  code.place(untagged);
}

function emitNeighborDiscovery(code: BpfAssembler, refuse: BpfLabel): void {
  const neighbor = code.label();
  code.add(BPF.LD_B, NEXT_HEADER);
  code.branch(BPF.JEQ, NEXT_HEADER_ICMPV6, undefined, refuse);
  code.add(BPF.LD_B, ICMP);
  code.branch(BPF.JEQ, ICMPV6_NEIGHBOR_SOLICITATION, neighbor);
  code.branch(BPF.JEQ, ICMPV6_NEIGHBOR_ADVERTISEMENT, neighbor, refuse);
  code.place(neighbor);
}

function emitPlan(
  code: BpfAssembler,
  { targets, senders }: Plan,
  targetOffset: number,
  senderOffset: number,
  refuse: BpfLabel,
): void {
  const notTarget = code.label();
  emitGroups(code, targets, targetOffset, 0, notTarget);
  code.place(notTarget);
  emitGroups(code, senders, senderOffset, 0, refuse);
}

/** Searches for the word of a level, then within the groups that share it for the words after. */
function emitGroups(
  code: BpfAssembler,
  groups: readonly Group[],
  offset: number,
  level: number,
  notFound: BpfLabel,
): void {
  const [first] = groups;
  if (first === undefined) {
    code.jump(notFound);
    return;
  }
  code.add(BPF.LD_W, offset + 4 * level);
  if (level === first.path.length) {
    // The whole path is shared, so there is one group.
    emitSearch(code, first.ranges, notFound, "accept");
    return;
  }
  const byWord = Map.groupBy(groups, ({ path }) => path[level] ?? 0);
  const words = [...byWord.keys()].map((word) => ({ first: word, last: word }));
  emitSearch(code, words, notFound, (word) => {
    emitGroups(code, byWord.get(word) ?? [], offset, level + 1, notFound);
  });
}

/** What follows when A is in a range: the end, or what is emitted for the range's first number. */
type Found = "accept" | ((first: number) => void);

/** Searches sorted ranges for A by halving. */
function emitSearch(
  code: BpfAssembler,
  ranges: readonly Range[],
  notFound: BpfLabel,
  found: Found,
): void {
  if (ranges.length <= LEAF) {
    emitLeaf(code, ranges, notFound, found);
    return;
  }
  const middle = ranges.length >> 1;
  const upper = code.label();
  code.branch(BPF.JGE, ranges[middle]?.first ?? 0, upper);
  emitSearch(code, ranges.slice(0, middle), notFound, found);
  code.place(upper);
  emitSearch(code, ranges.slice(middle), notFound, found);
}

/** Compares A with one range after the other, then emits what follows. */
function emitLeaf(
  code: BpfAssembler,
  ranges: readonly Range[],
  notFound: BpfLabel,
  found: Found,
): void {
  const miss = code.label();
  const accept = code.label();
  const hits = ranges.map((range) => {
    const hit = found === "accept" ? accept : code.label();
    emitComparison(code, range, hit, miss);
    return { hit, first: range.first };
  });
  code.place(miss);
  code.jump(notFound);
  if (found === "accept") {
    code.place(accept);
    code.add(BPF.RET, KEEP);
    return;
  }
  for (const { hit, first } of hits) {
    code.place(hit);
    found(first);
  }
}

/** Ranges ascend: below a range there is none left to compare with. */
function emitComparison(code: BpfAssembler, range: Range, hit: BpfLabel, miss: BpfLabel): void {
  if (range.first === range.last) {
    code.branch(BPF.JEQ, range.first, hit);
    return;
  }
  const above = code.label();
  code.branch(BPF.JGT, range.last, above);
  code.branch(BPF.JGE, range.first, hit, miss);
  code.place(above);
}
