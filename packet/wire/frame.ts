import { multicastMac } from "../address/multicast.ts";
import { isIPv6Multicast, type IPv6Address } from "../address/ipv6.ts";
import type { MacAddress } from "../address/mac.ts";
import { decodeArp, encodeArp, formatArp, type ArpPacket } from "./arp.ts";
import { UNSUPPORTED, type Decoded } from "./decode.ts";
import {
  decodeEthernet,
  encodeEthernet,
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV6,
  type EthernetFrame,
} from "./ethernet.ts";
import { decodeIcmpv6, encodeIcmpv6 } from "./icmpv6.ts";
import { decodeIPv6Packet, encodeIPv6Packet, NDP_HOP_LIMIT, NEXT_HEADER_ICMPV6 } from "./ipv6.ts";
import { decodeNdp, encodeNdp, formatNdp, type NdpMessage } from "./ndp.ts";

/** An Ethernet frame with an ARP packet. */
export interface ArpFrame {
  readonly kind: "arp";
  readonly destination: MacAddress;
  readonly source: MacAddress;
  readonly packet: ArpPacket;
}

/** An Ethernet frame with a message of Neighbor Discovery. */
export interface NdpFrame {
  readonly kind: "ndp";
  readonly destination: MacAddress;
  readonly source: MacAddress;
  readonly hopLimit: number;
  readonly code: number;
  readonly sourceAddress: IPv6Address;
  readonly destinationAddress: IPv6Address;
  readonly message: NdpMessage;
}

/** A frame of one of the two protocols that bind addresses to hardware. */
export type NeighborFrame = ArpFrame | NdpFrame;

/**
 * Decodes a frame through all its layers, for people and tests; the responder reads octets.
 * @returns reasons of the layers; `unsupported` for any other protocol.
 */
export function decodeFrame(octets: Uint8Array): Decoded<NeighborFrame> {
  const ethernet = decodeEthernet(octets);
  if (!ethernet.ok) return ethernet;
  const { destination, source, etherType, payload } = ethernet.value;
  if (etherType === ETHER_TYPE_IPV6) return decodeNdpFrame(ethernet.value);
  if (etherType !== ETHER_TYPE_ARP) return UNSUPPORTED;
  const packet = decodeArp(payload);
  if (!packet.ok) return packet;
  return { ok: true, value: { kind: "arp", destination, source, packet: packet.value } };
}

function decodeNdpFrame({ destination, source, payload }: EthernetFrame): Decoded<NdpFrame> {
  const ip = decodeIPv6Packet(payload);
  if (!ip.ok) return ip;
  if (ip.value.nextHeader !== NEXT_HEADER_ICMPV6) return UNSUPPORTED;
  const icmp = decodeIcmpv6(ip.value.payload, ip.value);
  if (!icmp.ok) return icmp;
  const ndp = decodeNdp(icmp.value);
  if (!ndp.ok) return ndp;
  return {
    ok: true,
    value: {
      kind: "ndp",
      destination,
      source,
      hopLimit: ip.value.hopLimit,
      code: icmp.value.code,
      sourceAddress: ip.value.source,
      destinationAddress: ip.value.destination,
      message: ndp.value,
    },
  };
}

/** Encodes an ARP packet in a frame of 60 octets. */
export function encodeArpFrame(frame: Omit<ArpFrame, "kind">): Uint8Array<ArrayBuffer> {
  const { destination, source, packet } = frame;
  const payload = encodeArp(packet);
  return encodeEthernet({ destination, source, etherType: ETHER_TYPE_ARP, payload });
}

/** What of an {@link NdpFrame} has to be said; the rest has only one right value. */
export type NdpFrameToSend = Pick<NdpFrame, "source" | "sourceAddress" | "destinationAddress"> & {
  readonly message: NdpMessage;
  /** Left out: the MAC address of the destination group. */
  readonly destination?: MacAddress;
};

/**
 * Encodes a message of Neighbor Discovery in a frame, hop limit 255, code 0.
 * @throws TypeError when a unicast destination comes without its MAC address.
 */
export function encodeNdpFrame(frame: NdpFrameToSend): Uint8Array<ArrayBuffer> {
  const { source, sourceAddress, destinationAddress, message } = frame;
  if (frame.destination === undefined && !isIPv6Multicast(destinationAddress)) {
    throw new TypeError(`the MAC address of ${destinationAddress} is missing`);
  }
  const addresses = { source: sourceAddress, destination: destinationAddress };
  const payload = encodeIPv6Packet({
    trafficClass: 0,
    flowLabel: 0,
    nextHeader: NEXT_HEADER_ICMPV6,
    hopLimit: NDP_HOP_LIMIT,
    ...addresses,
    payload: encodeIcmpv6(encodeNdp(message), addresses),
  });
  const destination = frame.destination ?? multicastMac(destinationAddress);
  return encodeEthernet({ destination, source, etherType: ETHER_TYPE_IPV6, payload });
}

/** Writes a frame on one line, as the evidence of an exchange. */
export function formatFrame(frame: NeighborFrame): string {
  const way = `${frame.source} > ${frame.destination}`;
  if (frame.kind === "arp") return `${way} ${formatArp(frame.packet)}`;
  return `${way} ${frame.sourceAddress} > ${frame.destinationAddress} ${formatNdp(frame.message)}`;
}
