import {
  ADDRESS_BITS,
  addressFromBigInt,
  addressToBigInt,
  familyOf,
  parseAddress,
  type Family,
} from "./address.ts";
import { quote, refuse, type Parsed } from "./parsed.ts";

/** A block of addresses that share their first `length` bits; the bits after them are zero. */
export interface Prefix {
  readonly family: Family;
  readonly network: bigint;
  readonly length: number;
}

/**
 * Reads a prefix in CIDR notation. Host bits are refused rather than dropped: `10.0.0.5/24` may be
 * meant as one address or as a whole network, and guessing wrong takes 255 addresses of others.
 * @returns reasons of {@link parseAddress}, `prefixLength` and `hostBits`.
 */
export function parsePrefix(text: string): Parsed<Prefix> {
  if (/\s/.test(text)) {
    return refuse("whitespace", `${quote(text)} contains white space: remove it`);
  }
  const [left = "", right, ...rest] = text.split("/");
  if (right === undefined || rest.length > 0) {
    return refuse("malformed", `${quote(text)} is no prefix such as 192.0.2.0/24`);
  }
  const parsed = parseAddress(left);
  if (!parsed.ok) return { ...parsed, message: `prefix ${quote(text)}: ${parsed.message}` };
  const family = familyOf(parsed.value);
  const bits = ADDRESS_BITS[family];
  if (!/^(0|[1-9]\d{0,2})$/.test(right) || Number(right) > bits) {
    const message = `${quote(text)} has no prefix length from 0 to ${bits} after the slash`;
    return refuse("prefixLength", message);
  }
  const length = Number(right);
  const number = addressToBigInt(parsed.value);
  const network = maskNumber(number, length, family);
  if (network !== number) {
    const meant = formatPrefix({ family, network, length });
    const message = `${quote(text)} has bits set after the first ${length}: write ${meant} for the network or ${parsed.value} for the one address`;
    return refuse("hostBits", message);
  }
  return { ok: true, value: { family, network, length } };
}

/** Writes a prefix in CIDR notation. Inverse of {@link parsePrefix}. */
export function formatPrefix(prefix: Prefix): string {
  return `${addressFromBigInt(prefix.network, prefix.family)}/${prefix.length}`;
}

/** Keeps the first `length` bits of an address and clears the others. */
export function maskNumber(number: bigint, length: number, family: Family): bigint {
  const host = BigInt(ADDRESS_BITS[family] - length);
  return (number >> host) << host;
}
