import {
  ADDRESS_BITS,
  addressFromBigInt,
  addressToBigInt,
  familyOf,
  parseAddress,
  type Address,
  type Family,
} from "./address.ts";
import { quote, refuse, type Parsed, type Refused } from "./parsed.ts";
import { formatPrefix, parsePrefix, type Prefix } from "./prefix.ts";

/** Consecutive addresses of one family, both ends included; `first` is not after `last`. */
export interface AddressRange {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * Reads an entry of a pool: one address, a prefix in CIDR notation, or two addresses joined by a
 * dash with or without spaces round it.
 * @returns reasons of {@link parsePrefix} and {@link parseAddressRange}.
 */
export function parsePoolEntry(text: string): Parsed<AddressRange> {
  if (text.includes("-")) return parseAddressRange(text);
  if (text.includes("/")) {
    const prefix = parsePrefix(text);
    return prefix.ok ? { ok: true, value: rangeOfPrefix(prefix.value) } : prefix;
  }
  const parsed = parseAddress(text);
  return parsed.ok ? { ok: true, value: rangeOfAddress(parsed.value) } : parsed;
}

/**
 * Reads two addresses joined by a dash; spaces round the dash are allowed, elsewhere not.
 * @returns reasons of {@link parseAddress}, `mixedFamilies` and `startAfterEnd`.
 */
export function parseAddressRange(text: string): Parsed<AddressRange> {
  const dash = text.indexOf("-");
  if (dash < 0) return refuse("malformed", `${quote(text)} is no range: its dash is missing`);
  const start = parseAddress(text.slice(0, dash).trimEnd());
  if (!start.ok) return within(text, "start", start);
  const end = parseAddress(text.slice(dash + 1).trimStart());
  if (!end.ok) return within(text, "end", end);
  const family = familyOf(start.value);
  if (family !== familyOf(end.value)) {
    const message = `range ${quote(text)} begins with an address of one family and ends with one of the other: give each family an entry of its own`;
    return refuse("mixedFamilies", message);
  }
  const [first, last] = [addressToBigInt(start.value), addressToBigInt(end.value)];
  if (first > last) {
    const message = `range ${quote(text)} starts after its end: write ${end.value}-${start.value}`;
    return refuse("startAfterEnd", message);
  }
  return { ok: true, value: { family, first, last } };
}

function within(text: string, end: string, refused: Refused): Refused {
  return { ...refused, message: `${end} of range ${quote(text)}: ${refused.message}` };
}

/** Gives the range of a single address. */
export function rangeOfAddress(value: Address): AddressRange {
  const number = addressToBigInt(value);
  return { family: familyOf(value), first: number, last: number };
}

/** Gives the range of all addresses of a prefix, the first and the last included. */
export function rangeOfPrefix(prefix: Prefix): AddressRange {
  const host = BigInt(ADDRESS_BITS[prefix.family] - prefix.length);
  const { family, network } = prefix;
  return { family, first: network, last: network + (1n << host) - 1n };
}

/** Gives the fewest prefixes that hold exactly the addresses of a range, ascending. */
export function coverRange(range: AddressRange): Prefix[] {
  const bits = ADDRESS_BITS[range.family];
  const prefixes: Prefix[] = [];
  let network = range.first;
  while (network <= range.last) {
    let host = 0;
    // Grow the block while it stays aligned and inside the range.
    while (host < bits && isAligned(network, host + 1) && ends(network, host + 1) <= range.last)
      host++;
    prefixes.push({ family: range.family, network, length: bits - host });
    network = ends(network, host) + 1n;
  }
  return prefixes;
}

function isAligned(number: bigint, host: number): boolean {
  return BigInt.asUintN(host, number) === 0n;
}

function ends(network: bigint, host: number): bigint {
  return network + (1n << BigInt(host)) - 1n;
}

/** Writes a range as shortly as it goes: one address, a prefix, or `first-last`. */
export function formatRange(range: AddressRange): string {
  const first = addressFromBigInt(range.first, range.family);
  if (range.first === range.last) return first;
  const [prefix, ...more] = coverRange(range);
  if (prefix !== undefined && more.length === 0) return formatPrefix(prefix);
  return `${first}-${addressFromBigInt(range.last, range.family)}`;
}

/** Counts the addresses of a range. */
export function rangeSize(range: AddressRange): bigint {
  return range.last - range.first + 1n;
}

/** Tells whether a range holds an address. */
export function rangeContains(range: AddressRange, value: Address): boolean {
  if (familyOf(value) !== range.family) return false;
  const number = addressToBigInt(value);
  return range.first <= number && number <= range.last;
}

/** Tells whether two ranges have an address in common. */
export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** Orders ranges: IPv4 before IPv6, then by first, then by last address. */
export function compareRanges(a: AddressRange, b: AddressRange): number {
  if (a.family !== b.family) return a.family < b.family ? -1 : 1;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return a.last < b.last ? -1 : a.last > b.last ? 1 : 0;
}

/** What an address is set aside for; none of these can be given to a Service. */
export type SpecialUse = "unspecified" | "loopback" | "linkLocal" | "multicast" | "reserved";

const SPECIAL: readonly (readonly [string, SpecialUse])[] = [
  ["0.0.0.0/8", "unspecified"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "linkLocal"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"],
  ["::/128", "unspecified"],
  ["::1/128", "loopback"],
  ["fe80::/10", "linkLocal"],
  ["ff00::/8", "multicast"],
];

const SPECIAL_RANGES = SPECIAL.map(([text, use]) => {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new TypeError(parsed.message);
  return { text, use, range: rangeOfPrefix(parsed.value) };
});

/**
 * Finds the first block set aside by IANA that a range touches.
 * @returns undefined when every address of the range is an ordinary unicast one.
 * @see RFC 6890 §2.2
 */
export function specialUse(
  range: AddressRange,
): { readonly use: SpecialUse; readonly prefix: string } | undefined {
  const found = SPECIAL_RANGES.find((special) => rangesOverlap(special.range, range));
  return found && { use: found.use, prefix: found.text };
}
