import { decodeIPv4, encodeIPv4, type IPv4Address } from "../address/ipv4.ts";
import { decodeMac, encodeMac, type MacAddress } from "../address/mac.ts";
import { TRUNCATED, UNSUPPORTED, viewOf, type Decoded } from "./decode.ts";

/** Octets of a packet that binds IPv4 to Ethernet. */
export const ARP_LENGTH = 28;
/** Hardware type Ethernet. */
export const ARP_HARDWARE_ETHERNET = 1;
/** Protocol type IPv4: its EtherType. */
export const ARP_PROTOCOL_IPV4 = 0x0800;
/** ares_op$REQUEST. */
export const ARP_REQUEST = 1;
/** ares_op$REPLY. */
export const ARP_REPLY = 2;

/** Offsets of the packet's fields (RFC 826, "Packet format": ar$hrd, ar$pro, ar$hln ...). */
export const ARP_FIELD = {
  hardwareType: 0,
  protocolType: 2,
  hardwareLength: 4,
  protocolLength: 5,
  operation: 6,
  senderHardwareAddress: 8,
  senderProtocolAddress: 14,
  targetHardwareAddress: 18,
  targetProtocolAddress: 24,
} as const;

/** An ARP packet about IPv4 on Ethernet. */
export interface ArpPacket {
  /** {@link ARP_REQUEST}, {@link ARP_REPLY} or a number that we do not know. */
  readonly operation: number;
  readonly senderHardwareAddress: MacAddress;
  readonly senderProtocolAddress: IPv4Address;
  readonly targetHardwareAddress: MacAddress;
  readonly targetProtocolAddress: IPv4Address;
}

/**
 * Decodes an ARP packet; octets after it are padding and are ignored.
 * @returns reasons `truncated`; `unsupported` for other hardware or protocols, or other lengths of
 * their addresses. Inverse of {@link encodeArp}.
 * @see RFC 826, "Packet Reception"
 */
export function decodeArp(octets: Uint8Array): Decoded<ArpPacket> {
  if (octets.length < ARP_LENGTH) return TRUNCATED;
  const view = viewOf(octets);
  if (view.getUint16(ARP_FIELD.hardwareType) !== ARP_HARDWARE_ETHERNET) return UNSUPPORTED;
  if (view.getUint16(ARP_FIELD.protocolType) !== ARP_PROTOCOL_IPV4) return UNSUPPORTED;
  if (view.getUint8(ARP_FIELD.hardwareLength) !== 6) return UNSUPPORTED;
  if (view.getUint8(ARP_FIELD.protocolLength) !== 4) return UNSUPPORTED;
  return {
    ok: true,
    value: {
      operation: view.getUint16(ARP_FIELD.operation),
      senderHardwareAddress: decodeMac(octets, ARP_FIELD.senderHardwareAddress),
      senderProtocolAddress: decodeIPv4(octets, ARP_FIELD.senderProtocolAddress),
      targetHardwareAddress: decodeMac(octets, ARP_FIELD.targetHardwareAddress),
      targetProtocolAddress: decodeIPv4(octets, ARP_FIELD.targetProtocolAddress),
    },
  };
}

/** Encodes an ARP packet: 28 octets, without padding. */
export function encodeArp(packet: ArpPacket): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(ARP_LENGTH);
  const view = viewOf(octets);
  view.setUint16(ARP_FIELD.hardwareType, ARP_HARDWARE_ETHERNET);
  view.setUint16(ARP_FIELD.protocolType, ARP_PROTOCOL_IPV4);
  view.setUint8(ARP_FIELD.hardwareLength, 6);
  view.setUint8(ARP_FIELD.protocolLength, 4);
  view.setUint16(ARP_FIELD.operation, packet.operation);
  octets.set(encodeMac(packet.senderHardwareAddress), ARP_FIELD.senderHardwareAddress);
  octets.set(encodeIPv4(packet.senderProtocolAddress), ARP_FIELD.senderProtocolAddress);
  octets.set(encodeMac(packet.targetHardwareAddress), ARP_FIELD.targetHardwareAddress);
  octets.set(encodeIPv4(packet.targetProtocolAddress), ARP_FIELD.targetProtocolAddress);
  return octets;
}

/** Writes an ARP packet on one line, a reply as "is at", anything else by what it asks. */
export function formatArp(packet: ArpPacket): string {
  const { senderProtocolAddress: sender, senderHardwareAddress: mac } = packet;
  if (packet.operation === ARP_REPLY) {
    return `ARP reply ${sender} is at ${mac}, to ${packet.targetProtocolAddress}`;
  }
  const what = packet.operation === ARP_REQUEST ? "request" : `operation ${packet.operation}`;
  return `ARP ${what} who has ${packet.targetProtocolAddress}, tell ${sender} at ${mac}`;
}
