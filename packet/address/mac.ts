import { quote, refuse, type Parsed } from "./parsed.ts";

declare const macBrand: unique symbol;

/** A 48-bit MAC address in canonical form: six lower-case pairs joined by colons. */
export type MacAddress = string & { readonly [macBrand]: never };

/** Octets of a MAC address. */
export const MAC_LENGTH = 6;
/** The address of every host on the link. */
export const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff" as MacAddress;
/** No address: what an ARP request carries where the answer shall stand. */
export const ZERO_MAC = "00:00:00:00:00:00" as MacAddress;

const MAC_TEXT = /^[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}$/i;
const HEX = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, "0"));

/**
 * Reads six hexadecimal pairs joined by colons or by dashes, in either case.
 * @returns reason `malformed` for anything else.
 */
export function parseMac(text: string): Parsed<MacAddress> {
  if (MAC_TEXT.test(text)) {
    return { ok: true, value: text.toLowerCase().replaceAll("-", ":") as MacAddress };
  }
  return refuse("malformed", `${quote(text)} is no MAC address: write it as 02:00:5e:10:00:01`);
}

/**
 * Names the MAC address at an offset.
 * @throws RangeError when fewer than six octets are there.
 */
export function decodeMac(octets: Uint8Array, offset = 0): MacAddress {
  if (octets.length < offset + MAC_LENGTH) throw new RangeError("a MAC address has six octets");
  let text = HEX[octets[offset] ?? 0] ?? "";
  for (let i = 1; i < MAC_LENGTH; i++) text += `:${HEX[octets[offset + i] ?? 0] ?? ""}`;
  return text as MacAddress;
}

/** Gives the six octets of a MAC address. Inverse of {@link decodeMac}. */
export function encodeMac(mac: MacAddress): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(MAC_LENGTH);
  for (let i = 0; i < MAC_LENGTH; i++) octets[i] = Number.parseInt(mac.slice(i * 3, i * 3 + 2), 16);
  return octets;
}

/** Tells whether a MAC address is a group's (multicast or broadcast), which no host sends from. */
export function isGroupMac(mac: MacAddress): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}
