import { decodeMac, encodeMac, MAC_LENGTH, type MacAddress } from "../address/mac.ts";
import { TRUNCATED, UNSUPPORTED, viewOf, VLAN_TAGGED, type Decoded } from "./decode.ts";

/** Octets of the header: two addresses and the EtherType. */
export const ETHERNET_HEADER_LENGTH = 14;
/** The shortest frame without its check sequence (IEEE 802.3 §3.2.8). */
export const ETHERNET_MIN_LENGTH = 60;
/** EtherType of ARP. */
export const ETHER_TYPE_ARP = 0x0806;
/** EtherType of IPv6 (RFC 2464 §3). */
export const ETHER_TYPE_IPV6 = 0x86dd;
/** EtherType of an IEEE 802.1Q tag. */
export const ETHER_TYPE_VLAN = 0x8100;
/** EtherType of an IEEE 802.1ad service tag. */
export const ETHER_TYPE_SERVICE_VLAN = 0x88a8;
/** Below this the field is a length, not a type (IEEE 802.3 §3.2.6). */
const ETHER_TYPE_MIN = 0x0600;

/** Offsets of the header's fields. */
export const ETHERNET_FIELD = { destination: 0, source: 6, etherType: 12 } as const;

/** An Ethernet II frame without its check sequence. */
export interface EthernetFrame {
  readonly destination: MacAddress;
  readonly source: MacAddress;
  readonly etherType: number;
  /** What follows the header, padding included. Aliases the frame when decoded. */
  readonly payload: Uint8Array;
}

/**
 * Decodes an Ethernet II frame.
 * @returns reasons `truncated`; `vlanTag` for a frame in an IEEE 802.1Q or 802.1ad tag;
 * `unsupported` for an IEEE 802.3 frame with a length. Inverse of {@link encodeEthernet}.
 */
export function decodeEthernet(octets: Uint8Array): Decoded<EthernetFrame> {
  if (octets.length < ETHERNET_HEADER_LENGTH) return TRUNCATED;
  const etherType = viewOf(octets).getUint16(ETHERNET_FIELD.etherType);
  if (isVlanTag(etherType)) return VLAN_TAGGED;
  if (etherType < ETHER_TYPE_MIN) return UNSUPPORTED;
  return {
    ok: true,
    value: {
      destination: decodeMac(octets, ETHERNET_FIELD.destination),
      source: decodeMac(octets, ETHERNET_FIELD.source),
      etherType,
      payload: octets.subarray(ETHERNET_HEADER_LENGTH),
    },
  };
}

/** Encodes a frame, zero-padded to the 60 octets of the shortest one if need be. */
export function encodeEthernet(frame: EthernetFrame): Uint8Array<ArrayBuffer> {
  const length = ETHERNET_HEADER_LENGTH + frame.payload.length;
  const octets = new Uint8Array(Math.max(length, ETHERNET_MIN_LENGTH));
  octets.set(encodeMac(frame.destination), ETHERNET_FIELD.destination);
  octets.set(encodeMac(frame.source), ETHERNET_FIELD.source);
  viewOf(octets).setUint16(ETHERNET_FIELD.etherType, frame.etherType);
  octets.set(frame.payload, ETHERNET_HEADER_LENGTH);
  return octets;
}

/** Writes a frame's header on one line. */
export function formatEthernet(frame: EthernetFrame): string {
  const type = frame.etherType.toString(16).padStart(4, "0");
  return `${frame.source} > ${frame.destination} type 0x${type}, ${frame.payload.length} octets`;
}

/** Tells whether an EtherType is that of a tag. */
export function isVlanTag(etherType: number): boolean {
  return etherType === ETHER_TYPE_VLAN || etherType === ETHER_TYPE_SERVICE_VLAN;
}

/** Tells whether octets `a` at `offset` and octets `b` hold the same MAC address. */
export function sameMac(a: Uint8Array, offset: number, b: Uint8Array): boolean {
  for (let i = 0; i < MAC_LENGTH; i++) if (a[offset + i] !== b[i]) return false;
  return true;
}
