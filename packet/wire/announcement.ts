import { isIPv4, type Address } from "../address/address.ts";
import { IPV4_UNSPECIFIED, type IPv4Address } from "../address/ipv4.ts";
import { ALL_NODES, IPV6_UNSPECIFIED, type IPv6Address } from "../address/ipv6.ts";
import { BROADCAST_MAC, ZERO_MAC, type MacAddress } from "../address/mac.ts";
import { solicitedNodeAddress } from "../address/multicast.ts";
import { ARP_REPLY, ARP_REQUEST } from "./arp.ts";
import { encodeArpFrame, encodeNdpFrame } from "./frame.ts";

/**
 * What a host tells its link about an address of its own, unasked: is it free, it is mine, it still
 * is, it is mine and not yours.
 */
export type Announcement = "probe" | "announcement" | "refresh" | "defence";

/** What has to be known about the interface that tells it. */
export interface AnnouncingInterface {
  readonly mac: MacAddress;
  /** Left out when the interface has no usable IPv6 link-local address. */
  readonly linkLocal?: IPv6Address;
}

/**
 * Builds the frames of an announcement on one interface.
 * @returns none for IPv6 on an interface without link-local address, which can serve none either.
 */
export function announcementFrames(
  what: Announcement,
  address: Address,
  on: AnnouncingInterface,
): Uint8Array<ArrayBuffer>[] {
  return isIPv4(address) ? arpFrames(what, address, on) : ndpFrames(what, address, on);
}

/**
 * A probe has no sender (RFC 5227 §2.1.1), an announcement our address as sender and as target
 * (§2.3). Announcements go as request and as reply: some hosts heed only one form. The reply's
 * target hardware address is our own, which lets Linux take it even within its locktime.
 */
function arpFrames(
  what: Announcement,
  address: IPv4Address,
  on: AnnouncingInterface,
): Uint8Array<ArrayBuffer>[] {
  const sender = what === "probe" ? IPV4_UNSPECIFIED : address;
  const frame = (operation: number, targetHardwareAddress: MacAddress): Uint8Array<ArrayBuffer> =>
    encodeArpFrame({
      source: on.mac,
      destination: BROADCAST_MAC,
      packet: {
        operation,
        senderHardwareAddress: on.mac,
        senderProtocolAddress: sender,
        targetHardwareAddress,
        targetProtocolAddress: address,
      },
    });
  const request = frame(ARP_REQUEST, ZERO_MAC);
  return what === "announcement" ? [request, frame(ARP_REPLY, on.mac)] : [request];
}

/**
 * A probe is a solicitation without source (RFC 4862 §5.4.2); anything else an unsolicited
 * advertisement to all nodes, which overrides what they know (RFC 4861 §7.2.6).
 */
function ndpFrames(
  what: Announcement,
  address: IPv6Address,
  on: AnnouncingInterface,
): Uint8Array<ArrayBuffer>[] {
  if (on.linkLocal === undefined) return [];
  if (what === "probe") {
    const solicitation = {
      source: on.mac,
      sourceAddress: IPV6_UNSPECIFIED,
      destinationAddress: solicitedNodeAddress(address),
      message: { kind: "neighborSolicitation", targetAddress: address, options: [] },
    } as const;
    return [encodeNdpFrame(solicitation)];
  }
  const advertisement = encodeNdpFrame({
    source: on.mac,
    sourceAddress: on.linkLocal,
    destinationAddress: ALL_NODES,
    message: {
      kind: "neighborAdvertisement",
      router: false,
      solicited: false,
      override: true,
      targetAddress: address,
      options: [{ kind: "targetLinkLayerAddress", address: on.mac }],
    },
  });
  return [advertisement];
}

/**
 * Builds the frame that asks one host whether it still answers for an address: the unicast poll of
 * RFC 1122 §2.3.2.1 and the probe of RFC 4861 §7.3.3. Nobody else is bothered, and the answer goes to
 * us alone.
 * @param from an IPv4 address of our own on that link; the unspecified one if there is none
 * @returns none for IPv6 on an interface without link-local address
 */
export function pollFrames(
  address: Address,
  to: MacAddress,
  on: AnnouncingInterface,
  from: IPv4Address = IPV4_UNSPECIFIED,
): Uint8Array<ArrayBuffer>[] {
  if (isIPv4(address)) {
    const packet = {
      operation: ARP_REQUEST,
      senderHardwareAddress: on.mac,
      senderProtocolAddress: from,
      targetHardwareAddress: ZERO_MAC,
      targetProtocolAddress: address,
    };
    return [encodeArpFrame({ source: on.mac, destination: to, packet })];
  }
  if (on.linkLocal === undefined) return [];
  const options = [{ kind: "sourceLinkLayerAddress", address: on.mac }] as const;
  return [
    encodeNdpFrame({
      source: on.mac,
      destination: to,
      sourceAddress: on.linkLocal,
      destinationAddress: address,
      message: { kind: "neighborSolicitation", targetAddress: address, options },
    }),
  ];
}
