/** Echo requests and replies of ICMP and ICMPv6 (RFC 792, RFC 4443 §4). Pure. */
import { isIPv6, type Address } from "../address/address.ts";
import { internetChecksum } from "../wire/checksum.ts";
import { viewOf } from "../wire/decode.ts";

const TYPE = {
  ipv4: { request: 8, reply: 0 },
  ipv6: { request: 128, reply: 129 },
} as const;
const FIELD = { type: 0, code: 1, checksum: 2, identifier: 4, sequence: 6, data: 8 } as const;
const IPV4_MIN_HEADER_LENGTH = 20;

/** Octets of data that an echo carries, by which its reply is known. */
export const ECHO_NONCE_LENGTH = 16;

/** An echo request or reply. */
export interface Echo {
  readonly identifier: number;
  readonly sequence: number;
  /** Data; aliases the packet when decoded. */
  readonly nonce: Uint8Array;
}

/** Encodes a request to an address. The kernel puts in the checksum of ICMPv6, and IP headers. */
export function encodeEchoRequest(target: Address, echo: Echo): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(FIELD.data + echo.nonce.length);
  const view = viewOf(octets);
  view.setUint8(FIELD.type, TYPE[isIPv6(target) ? "ipv6" : "ipv4"].request);
  view.setUint16(FIELD.identifier, echo.identifier);
  view.setUint16(FIELD.sequence, echo.sequence);
  octets.set(echo.nonce, FIELD.data);
  if (!isIPv6(target)) view.setUint16(FIELD.checksum, internetChecksum(octets));
  return octets;
}

/**
 * Decodes a reply as a raw socket gives it: IPv4 with its header, IPv6 without.
 * @returns null for anything else
 */
export function decodeEchoReply(family: "ipv4" | "ipv6", octets: Uint8Array): Echo | null {
  const message = family === "ipv6" ? octets : withoutIPv4Header(octets);
  if (message === null || message.length < FIELD.data) return null;
  const view = viewOf(message);
  if (view.getUint8(FIELD.type) !== TYPE[family].reply || view.getUint8(FIELD.code) !== 0) {
    return null;
  }
  return {
    identifier: view.getUint16(FIELD.identifier),
    sequence: view.getUint16(FIELD.sequence),
    nonce: message.subarray(FIELD.data),
  };
}

function withoutIPv4Header(octets: Uint8Array): Uint8Array | null {
  const length = ((octets[0] ?? 0) & 0xf) * 4;
  return length < IPV4_MIN_HEADER_LENGTH || length > octets.length ? null : octets.subarray(length);
}
