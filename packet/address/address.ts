import {
  decodeIPv4,
  encodeIPv4,
  ipv4FromNumber,
  IPV4_LENGTH,
  ipv4ToNumber,
  parseIPv4,
  type IPv4Address,
} from "./ipv4.ts";
import {
  decodeIPv6,
  encodeIPv6,
  ipv6FromBigInt,
  IPV6_LENGTH,
  ipv6ToBigInt,
  isIPv4Mapped,
  parseIPv6,
  type IPv6Address,
} from "./ipv6.ts";
import { quote, refuse, type Parsed } from "./parsed.ts";

/** An address of either family, in its one canonical text form: comparable, usable as a key. */
export type Address = IPv4Address | IPv6Address;

/** The two families. */
export type Family = "ipv4" | "ipv6";

/** Bits of an address of each family. */
export const ADDRESS_BITS = { ipv4: 32, ipv6: 128 } as const satisfies Record<Family, number>;

/**
 * Reads an address of either family and gives its canonical form. IPv4-mapped IPv6 is refused
 * here: it is another spelling of an IPv4 address, and one address shall have one key.
 * @returns reasons `empty`, `whitespace`, `malformed`, `leadingZero`, `zone`, `ipv4Mapped`.
 */
export function parseAddress(text: string): Parsed<Address> {
  if (text === "") return refuse("empty", "an address is missing: the text is empty");
  if (/\s/.test(text)) {
    return refuse("whitespace", `${quote(text)} contains white space: remove it`);
  }
  if (!text.includes(":")) {
    if (text.includes(".")) return parseIPv4(text);
    return refuse("malformed", `${quote(text)} is no address such as 192.0.2.1 or 2001:db8::1`);
  }
  const parsed = parseIPv6(text);
  if (parsed.ok && isIPv4Mapped(parsed.value)) {
    const plain = parsed.value.slice("::ffff:".length);
    return refuse("ipv4Mapped", `${quote(text)} is an IPv4-mapped address: write ${plain}`);
  }
  return parsed;
}

/**
 * Gives the canonical address of a text that is known to be one.
 * @throws TypeError when it is none.
 */
export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed.ok) return parsed.value;
  throw new TypeError(parsed.message);
}

/** Tells whether an address is an IPv6 one. */
export function isIPv6(value: Address): value is IPv6Address {
  return value.includes(":");
}

/** Tells whether an address is an IPv4 one. */
export function isIPv4(value: Address): value is IPv4Address {
  return !value.includes(":");
}

/** Gives the family of an address. */
export function familyOf(value: Address): Family {
  return isIPv6(value) ? "ipv6" : "ipv4";
}

/** Gives the number of an address, for arithmetic on ranges. Inverse of {@link addressFromBigInt}. */
export function addressToBigInt(value: Address): bigint {
  return isIPv6(value) ? ipv6ToBigInt(value) : BigInt(ipv4ToNumber(value));
}

/**
 * Names the address of a number.
 * @throws RangeError when the number does not fit the family.
 */
export function addressFromBigInt(number: bigint, family: Family): Address {
  return family === "ipv6" ? ipv6FromBigInt(number) : ipv4FromNumber(Number(number));
}

/**
 * Names the address whose octets these are: four or sixteen.
 * @throws RangeError for any other number of octets.
 */
export function decodeAddress(octets: Uint8Array): Address {
  if (octets.length === IPV4_LENGTH) return decodeIPv4(octets);
  if (octets.length === IPV6_LENGTH) return decodeIPv6(octets);
  throw new RangeError(`${octets.length} octets are no address`);
}

/** Gives the four or sixteen octets of an address. Inverse of {@link decodeAddress}. */
export function encodeAddress(value: Address): Uint8Array<ArrayBuffer> {
  return isIPv6(value) ? encodeIPv6(value) : encodeIPv4(value);
}

/** Orders addresses: IPv4 before IPv6, then by number. */
export function compareAddresses(a: Address, b: Address): number {
  if (isIPv6(a) !== isIPv6(b)) return isIPv6(a) ? 1 : -1;
  const [x, y] = [addressToBigInt(a), addressToBigInt(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
