import { encodeIPv6, type IPv6Address } from "../address/ipv6.ts";
import { addOctets, finishChecksum } from "./checksum.ts";
import { BAD_CHECKSUM, TRUNCATED, viewOf, type Decoded } from "./decode.ts";
import { NEXT_HEADER_ICMPV6 } from "./ipv6.ts";

/** Octets before the body: type, code, checksum. */
export const ICMPV6_HEADER_LENGTH = 4;
/** Type of a Neighbor Solicitation (RFC 4861 §4.3). */
export const ICMPV6_NEIGHBOR_SOLICITATION = 135;
/** Type of a Neighbor Advertisement (RFC 4861 §4.4). */
export const ICMPV6_NEIGHBOR_ADVERTISEMENT = 136;

/** Offsets of the header's fields. */
export const ICMPV6_FIELD = { type: 0, code: 1, checksum: 2 } as const;

/** The addresses of the IPv6 header, over which the checksum reaches too. */
export interface Icmpv6Addresses {
  readonly source: IPv6Address;
  readonly destination: IPv6Address;
}

/** An ICMPv6 message; its checksum is computed, never carried. */
export interface Icmpv6Message {
  readonly type: number;
  readonly code: number;
  /** What follows the checksum. Aliases the octets when decoded. */
  readonly body: Uint8Array;
}

/**
 * Decodes an ICMPv6 message that came between two addresses.
 * @returns reasons `truncated` and `checksum`. Inverse of {@link encodeIcmpv6}.
 * @see RFC 4443 §2.1
 */
export function decodeIcmpv6(
  octets: Uint8Array,
  addresses: Icmpv6Addresses,
): Decoded<Icmpv6Message> {
  if (octets.length < ICMPV6_HEADER_LENGTH) return TRUNCATED;
  if (checksumBetween(octets, addresses) !== 0) return BAD_CHECKSUM;
  const view = viewOf(octets);
  return {
    ok: true,
    value: {
      type: view.getUint8(ICMPV6_FIELD.type),
      code: view.getUint8(ICMPV6_FIELD.code),
      body: octets.subarray(ICMPV6_HEADER_LENGTH),
    },
  };
}

/** Encodes an ICMPv6 message, with its checksum, to go between two addresses. */
export function encodeIcmpv6(
  message: Icmpv6Message,
  addresses: Icmpv6Addresses,
): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(ICMPV6_HEADER_LENGTH + message.body.length);
  const view = viewOf(octets);
  view.setUint8(ICMPV6_FIELD.type, message.type);
  view.setUint8(ICMPV6_FIELD.code, message.code);
  octets.set(message.body, ICMPV6_HEADER_LENGTH);
  view.setUint16(ICMPV6_FIELD.checksum, checksumBetween(octets, addresses));
  return octets;
}

/** Writes a message's header on one line. */
export function formatIcmpv6(message: Icmpv6Message): string {
  return `ICMPv6 type ${message.type}, code ${message.code}, ${message.body.length} octets`;
}

/** The checksum with the pseudo-header of RFC 8200 §8.1. */
function checksumBetween(octets: Uint8Array, { source, destination }: Icmpv6Addresses): number {
  let sum = octets.length + NEXT_HEADER_ICMPV6;
  sum = addOctets(sum, encodeIPv6(source), 0, 16);
  sum = addOctets(sum, encodeIPv6(destination), 0, 16);
  return finishChecksum(addOctets(sum, octets, 0, octets.length));
}
