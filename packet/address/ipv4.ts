import { quote, refuse, type Parsed } from "./parsed.ts";

declare const ipv4Brand: unique symbol;

/** An IPv4 address in canonical form: four decimal numbers without leading zeros. */
export type IPv4Address = string & { readonly [ipv4Brand]: never };

/** Octets of an IPv4 address. */
export const IPV4_LENGTH = 4;
/** The address that means "none". */
export const IPV4_UNSPECIFIED = "0.0.0.0" as IPv4Address;

/**
 * Reads an IPv4 address. Leading zeros are refused: some programs take them for octal.
 * @returns reasons `leadingZero` and `malformed`.
 */
export function parseIPv4(text: string): Parsed<IPv4Address> {
  const parts = text.split(".");
  const digits = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part));
  if (digits && parts.some((part) => part.length > 1 && part.startsWith("0"))) {
    return refuse("leadingZero", `${quote(text)} has a number with a leading zero: leave it out`);
  }
  if (!digits || parts.some((part) => Number(part) > 255)) {
    return refuse("malformed", `${quote(text)} is no IPv4 address such as 192.0.2.1`);
  }
  return { ok: true, value: text as IPv4Address };
}

/** Gives the 32-bit number of an IPv4 address, 0 to 4294967295. Inverse of {@link ipv4FromNumber}. */
export function ipv4ToNumber(address: IPv4Address): number {
  let number = 0;
  for (const part of address.split(".")) number = number * 256 + Number(part);
  return number;
}

/**
 * Names the IPv4 address of a 32-bit number.
 * @throws RangeError outside 0 to 4294967295.
 */
export function ipv4FromNumber(number: number): IPv4Address {
  if (!Number.isInteger(number) || number < 0 || number > 0xffffffff) {
    throw new RangeError(`${number} is no 32-bit number`);
  }
  const low = `${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
  return `${number >>> 24}.${low}` as IPv4Address;
}

/**
 * Names the IPv4 address at an offset.
 * @throws RangeError when fewer than four octets are there.
 */
export function decodeIPv4(octets: Uint8Array, offset = 0): IPv4Address {
  if (octets.length < offset + IPV4_LENGTH) throw new RangeError("an IPv4 address has four octets");
  return octets.subarray(offset, offset + IPV4_LENGTH).join(".") as IPv4Address;
}

/** Gives the four octets of an IPv4 address. Inverse of {@link decodeIPv4}. */
export function encodeIPv4(address: IPv4Address): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(address.split("."), Number);
}
