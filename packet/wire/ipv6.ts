import { decodeIPv6, encodeIPv6, type IPv6Address } from "../address/ipv6.ts";
import { TRUNCATED, UNSUPPORTED, viewOf, type Decoded } from "./decode.ts";

/** Octets of the header. */
export const IPV6_HEADER_LENGTH = 40;
/** ICMPv6 as a next header. */
export const NEXT_HEADER_ICMPV6 = 58;
/** The hop limit that proves that no router passed the packet on (RFC 4861 §3.1). */
export const NDP_HOP_LIMIT = 255;

/** Offsets of the header's fields. */
export const IPV6_FIELD = {
  versionClassFlow: 0,
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
} as const;

/** An IPv6 packet. */
export interface IPv6Packet {
  /** 0 to 255. */
  readonly trafficClass: number;
  /** 0 to 1048575. */
  readonly flowLabel: number;
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly source: IPv6Address;
  readonly destination: IPv6Address;
  /** As long as the header says. Aliases the octets when decoded. */
  readonly payload: Uint8Array;
}

/**
 * Decodes an IPv6 packet; octets after its payload are padding of the link and are ignored.
 * @returns reasons `truncated`, also when the payload is shorter than the header says;
 * `unsupported` for another version. Inverse of {@link encodeIPv6Packet}.
 * @see RFC 8200 §3
 */
export function decodeIPv6Packet(octets: Uint8Array): Decoded<IPv6Packet> {
  if (octets.length < IPV6_HEADER_LENGTH) return TRUNCATED;
  const view = viewOf(octets);
  const first = view.getUint32(IPV6_FIELD.versionClassFlow);
  if (first >>> 28 !== 6) return UNSUPPORTED;
  const end = IPV6_HEADER_LENGTH + view.getUint16(IPV6_FIELD.payloadLength);
  if (octets.length < end) return TRUNCATED;
  return {
    ok: true,
    value: {
      trafficClass: (first >>> 20) & 0xff,
      flowLabel: first & 0xfffff,
      nextHeader: view.getUint8(IPV6_FIELD.nextHeader),
      hopLimit: view.getUint8(IPV6_FIELD.hopLimit),
      source: decodeIPv6(octets, IPV6_FIELD.source),
      destination: decodeIPv6(octets, IPV6_FIELD.destination),
      payload: octets.subarray(IPV6_HEADER_LENGTH, end),
    },
  };
}

/**
 * Encodes an IPv6 packet.
 * @throws RangeError for a payload of more than 65535 octets.
 */
export function encodeIPv6Packet(packet: IPv6Packet): Uint8Array<ArrayBuffer> {
  if (packet.payload.length > 0xffff)
    throw new RangeError("an IPv6 payload has at most 65535 octets");
  const octets = new Uint8Array(IPV6_HEADER_LENGTH + packet.payload.length);
  const view = viewOf(octets);
  const first = 0x60000000 + packet.trafficClass * 2 ** 20 + packet.flowLabel;
  view.setUint32(IPV6_FIELD.versionClassFlow, first);
  view.setUint16(IPV6_FIELD.payloadLength, packet.payload.length);
  view.setUint8(IPV6_FIELD.nextHeader, packet.nextHeader);
  view.setUint8(IPV6_FIELD.hopLimit, packet.hopLimit);
  octets.set(encodeIPv6(packet.source), IPV6_FIELD.source);
  octets.set(encodeIPv6(packet.destination), IPV6_FIELD.destination);
  octets.set(packet.payload, IPV6_HEADER_LENGTH);
  return octets;
}

/** Writes a packet's header on one line. */
export function formatIPv6Packet(packet: IPv6Packet): string {
  const { source, destination, nextHeader, hopLimit, payload } = packet;
  return `${source} > ${destination} next header ${nextHeader}, hop limit ${hopLimit}, ${payload.length} octets`;
}
