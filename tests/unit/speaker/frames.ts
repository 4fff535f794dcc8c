/** Frames of a neighbour, as the tests of the speaker's shells send them. */
import { isIPv4, type Address } from "../../../packet/address/address.ts";
import type { IPv4Address } from "../../../packet/address/ipv4.ts";
import type { IPv6Address } from "../../../packet/address/ipv6.ts";
import { BROADCAST_MAC, ZERO_MAC, type MacAddress } from "../../../packet/address/mac.ts";
import { solicitedNodeAddress } from "../../../packet/address/multicast.ts";
import { ARP_REQUEST } from "../../../packet/wire/arp.ts";
import { encodeArpFrame, encodeNdpFrame } from "../../../packet/wire/frame.ts";

export const NEIGHBOUR_MAC = "02:00:00:00:00:99" as MacAddress;
const NEIGHBOUR4 = "192.0.2.250" as IPv4Address;
const NEIGHBOUR6 = "fe80::99" as IPv6Address;

/** A broadcast ARP request for an address; claims `sender` as its own. */
export function arpRequestFor(
  target: Address,
  { mac = NEIGHBOUR_MAC, sender = NEIGHBOUR4 }: { mac?: MacAddress; sender?: IPv4Address } = {},
): Uint8Array<ArrayBuffer> {
  if (!isIPv4(target)) throw new TypeError(`${target} is no IPv4 address`);
  return encodeArpFrame({
    source: mac,
    destination: BROADCAST_MAC,
    packet: {
      operation: ARP_REQUEST,
      senderHardwareAddress: mac,
      senderProtocolAddress: sender,
      targetHardwareAddress: ZERO_MAC,
      targetProtocolAddress: target,
    },
  });
}

/** What another host says that has an address. */
export function claimOf(target: Address, mac: MacAddress = NEIGHBOUR_MAC): Uint8Array<ArrayBuffer> {
  if (isIPv4(target)) return arpRequestFor(target, { mac, sender: target });
  return encodeNdpFrame({
    source: mac,
    sourceAddress: target,
    destinationAddress: "ff02::1" as IPv6Address,
    message: {
      kind: "neighborAdvertisement",
      router: false,
      solicited: false,
      override: true,
      targetAddress: target,
      options: [{ kind: "targetLinkLayerAddress", address: mac }],
    },
  });
}

/** Asks for an address, by ARP or Neighbor Discovery. */
export function requestFor(target: Address): Uint8Array<ArrayBuffer> {
  if (isIPv4(target)) return arpRequestFor(target);
  return encodeNdpFrame({
    source: NEIGHBOUR_MAC,
    sourceAddress: NEIGHBOUR6,
    destinationAddress: solicitedNodeAddress(target),
    message: {
      kind: "neighborSolicitation",
      targetAddress: target,
      options: [{ kind: "sourceLinkLayerAddress", address: NEIGHBOUR_MAC }],
    },
  });
}
