import { parseIPv4, encodeIPv4 } from "./ipv4.ts";
import { quote, refuse, type Parsed } from "./parsed.ts";

declare const ipv6Brand: unique symbol;

/** An IPv6 address in the one text form of RFC 5952, without a zone. */
export type IPv6Address = string & { readonly [ipv6Brand]: never };

/** Octets of an IPv6 address. */
export const IPV6_LENGTH = 16;
/** The address that means "none". */
export const IPV6_UNSPECIFIED = "::" as IPv6Address;
/** Every node on the link (RFC 4291 §2.7.1). */
export const ALL_NODES = "ff02::1" as IPv6Address;

const GROUPS = 8;
const MAPPED_PREFIX = 0xffffn;

/**
 * Reads an IPv6 address in any of the forms of RFC 4291 §2.2 and gives its canonical form.
 * @returns reasons `zone` for a `%`, `malformed` for whatever else is wrong.
 * @see RFC 5952 §4
 */
export function parseIPv6(text: string): Parsed<IPv6Address> {
  if (text.includes("%")) {
    return refuse("zone", `${quote(text)} has a zone: leave "%" and what follows out`);
  }
  const groups = readGroups(text);
  if (groups === undefined) {
    return refuse("malformed", `${quote(text)} is no IPv6 address such as 2001:db8::1`);
  }
  return { ok: true, value: formatGroups(groups) };
}

function readGroups(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, i) => readHalf(half, i === halves.length - 1));
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === GROUPS ? head : undefined;
  // "::" stands for at least one group.
  if (tail === undefined || head.length + tail.length >= GROUPS) return undefined;
  const zeros = new Array<number>(GROUPS - head.length - tail.length).fill(0);
  return [...head, ...zeros, ...tail];
}

/** Reads groups joined by colons; only the very last may be an IPv4 address (two groups). */
function readHalf(half: string, last: boolean): number[] | undefined {
  if (half === "") return [];
  const parts = half.split(":");
  const groups: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const embedded = last && i === parts.length - 1 ? parseIPv4(part) : undefined;
    if (embedded?.ok !== true) return undefined;
    const [a = 0, b = 0, c = 0, d = 0] = encodeIPv4(embedded.value);
    groups.push(a * 256 + b, c * 256 + d);
  }
  return groups;
}

/** Writes eight groups: the longest run of two or more zeros, the first of equals, becomes "::". */
function formatGroups(groups: readonly number[]): IPv6Address {
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}` as IPv6Address;
  }
  const run = longestZeroRun(groups);
  const hex = (part: readonly number[]): string =>
    part.map((group) => group.toString(16)).join(":");
  if (run.length < 2) return hex(groups) as IPv6Address;
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}` as IPv6Address;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [i, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: i - length + 1, length };
  }
  return best;
}

/**
 * Names the IPv6 address at an offset.
 * @throws RangeError when fewer than sixteen octets are there.
 */
export function decodeIPv6(octets: Uint8Array, offset = 0): IPv6Address {
  if (octets.length < offset + IPV6_LENGTH) throw new RangeError("an IPv6 address has 16 octets");
  const groups: number[] = [];
  for (let i = offset; i < offset + IPV6_LENGTH; i += 2) {
    groups.push((octets[i] ?? 0) * 256 + (octets[i + 1] ?? 0));
  }
  return formatGroups(groups);
}

/** Gives the sixteen octets of an IPv6 address. Inverse of {@link decodeIPv6}. */
export function encodeIPv6(address: IPv6Address): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(IPV6_LENGTH);
  const groups = readGroups(address) ?? [];
  for (let i = 0; i < GROUPS; i++) {
    const group = groups[i] ?? 0;
    octets[2 * i] = group >> 8;
    octets[2 * i + 1] = group & 255;
  }
  return octets;
}

/** Gives the 128-bit number of an IPv6 address. Inverse of {@link ipv6FromBigInt}. */
export function ipv6ToBigInt(address: IPv6Address): bigint {
  const view = new DataView(encodeIPv6(address).buffer);
  return (view.getBigUint64(0) << 64n) | view.getBigUint64(8);
}

/**
 * Names the IPv6 address of a 128-bit number.
 * @throws RangeError outside 0 to 2^128 - 1.
 */
export function ipv6FromBigInt(number: bigint): IPv6Address {
  if (BigInt.asUintN(128, number) !== number)
    throw new RangeError(`${number} is no 128-bit number`);
  const octets = new Uint8Array(IPV6_LENGTH);
  const view = new DataView(octets.buffer);
  view.setBigUint64(0, number >> 64n);
  view.setBigUint64(8, BigInt.asUintN(64, number));
  return decodeIPv6(octets);
}

/** Tells whether an IPv6 address is an IPv4-mapped one, ::ffff:0:0/96 (RFC 4291 §2.5.5.2). */
export function isIPv4Mapped(address: IPv6Address): boolean {
  return ipv6ToBigInt(address) >> 32n === MAPPED_PREFIX;
}

/** Tells whether an IPv6 address is of the link alone, fe80::/10 (RFC 4291 §2.5.6). */
export function isLinkLocal(address: IPv6Address): boolean {
  return ipv6ToBigInt(address) >> 118n === 0x3fan;
}

/** Tells whether an IPv6 address is a group's, ff00::/8 (RFC 4291 §2.7). */
export function isIPv6Multicast(address: IPv6Address): boolean {
  return address.startsWith("ff") && ipv6ToBigInt(address) >> 120n === 0xffn;
}
