/**
 * The responder: a frame and the table of announced addresses in; a reply, a conflict or the reason
 * for silence out.
 *
 * - It is pure, never throws, and builds no text and no object before the table has said that a
 *   frame concerns us: noise of the LAN costs two look-ups.
 * - Each rule that a receiver has to check is one named reason, checked in the order of its RFC.
 * - A frame that claims one of our addresses is never answered: it is a conflict, and how to defend
 *   is decided, at a bounded rate, by `announcer.ts`.
 * - No reply goes to a MAC address of a group or of zeros, save the one that RFC 4861 §7.2.4 wants
 *   multicast to all nodes, and none is longer than three times what was received.
 */
import type { AddressMap } from "../packet/address/address-map.ts";
import type { Address } from "../packet/address/address.ts";
import { encodeIPv6, type IPv6Address } from "../packet/address/ipv6.ts";
import { decodeMac, encodeMac, type MacAddress } from "../packet/address/mac.ts";
import {
  ARP_FIELD,
  ARP_HARDWARE_ETHERNET,
  ARP_LENGTH,
  ARP_PROTOCOL_IPV4,
  ARP_REPLY,
  ARP_REQUEST,
} from "../packet/wire/arp.ts";
import { icmpv6Checksum } from "../packet/wire/checksum.ts";
import {
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV6,
  ETHERNET_FIELD,
  ETHERNET_HEADER_LENGTH,
  ETHERNET_MIN_LENGTH,
  isVlanTag,
  sameMac,
} from "../packet/wire/ethernet.ts";
import {
  ICMPV6_FIELD,
  ICMPV6_HEADER_LENGTH,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
} from "../packet/wire/icmpv6.ts";
import {
  IPV6_FIELD,
  IPV6_HEADER_LENGTH,
  NDP_HOP_LIMIT,
  NEXT_HEADER_ICMPV6,
} from "../packet/wire/ipv6.ts";
import { NDP_BODY_LENGTH, NDP_FIELD, NDP_FLAG } from "../packet/wire/ndp.ts";
import {
  NDP_OPTION_UNIT,
  OPTION_SOURCE_LINK_LAYER_ADDRESS,
  OPTION_TARGET_LINK_LAYER_ADDRESS,
} from "../packet/wire/ndp-option.ts";

/** Why a frame is not answered, in about the order in which it is found out. */
export const DROP_REASONS = [
  /** Shorter than its headers say. */
  "truncated",
  /** In an IEEE 802.1Q or 802.1ad tag: it belongs to another interface. */
  "vlanTag",
  /** Neither ARP nor IPv6. */
  "otherEtherType",
  /** Sent by this interface, or for it. */
  "ownFrame",
  /** ARP for hardware that is not Ethernet. */
  "hardwareType",
  /** ARP for a protocol that is not IPv4. */
  "protocolType",
  /** ARP with addresses of other lengths than six and four. */
  "addressLength",
  /** The version is not 6. */
  "ipVersion",
  /** IPv6 with another next header, which may be an extension header. */
  "notIcmpv6",
  /** ICMPv6, but neither a Neighbor Solicitation nor an Advertisement. */
  "notNeighborDiscovery",
  /** Of fewer than 24 octets (RFC 4861 §7.1.1). */
  "icmpLength",
  /** About addresses of others: the fate of most frames. */
  "notAnnounced",
  /** The address is announced, but not on this interface. */
  "notOnThisInterface",
  /** The address is being probed and not in use yet. */
  "probing",
  /** Another of our speakers says that it has the address. */
  "colleagueClaim",
  /** Sent to the MAC address of another host. */
  "notForUs",
  /** The reply would go to a MAC address of a group or of zeros. */
  "senderNotUnicast",
  /** ARP, but not a request. */
  "notRequest",
  /** It passed a router (RFC 4861 §7.1.1). */
  "hopLimit",
  /** The ICMPv6 checksum is wrong. */
  "checksum",
  /** The ICMPv6 code is not 0. */
  "code",
  /** The target is a multicast address. */
  "targetMulticast",
  /** An option has length 0, reaches beyond the end, or is no Ethernet address. */
  "option",
  /** A probe for duplicates to an address that is not a solicited-node one. */
  "probeDestination",
  /** A probe for duplicates with a source link-layer address. */
  "probeOption",
  /** A multicast advertisement that says that it was solicited (RFC 4861 §7.1.2). */
  "solicitedMulticast",
  /** The source is a multicast address. */
  "sourceMulticast",
  /** This interface has no IPv6 link-local address to answer from. */
  "noLinkLocal",
] as const;

/** Why a frame is not answered. */
export type DropReason = (typeof DROP_REASONS)[number];

/** What the table says about an address. */
export interface AnnouncedAddress {
  readonly address: Address;
  /** While `probing`, the address is listened for but not answered for. */
  readonly state: "announced" | "probing";
  /** Names of the interfaces to answer on; left out: all. */
  readonly interfaces?: ReadonlySet<string>;
}

/** The addresses that this node answers for. */
export type AnnouncedTable = AddressMap<AnnouncedAddress>;

/** What the responder has to know about the interface that a frame came in on. */
export interface InterfaceFacts {
  readonly name: string;
  readonly mac: MacAddress;
  /** Left out when the interface has no usable IPv6 link-local address. */
  readonly linkLocal?: IPv6Address;
}

/** Interface facts, made ready for answering; see {@link prepareInterface}. */
export interface RespondingInterface {
  readonly name: string;
  readonly mac: Uint8Array;
  readonly linkLocal: Uint8Array | undefined;
  /** Replies in which only the fields that depend on the question are missing. */
  readonly arpReply: Uint8Array;
  readonly neighborAdvertisement: Uint8Array;
}

/** Another host says that it has, or wants, an address of ours. */
export interface Conflict {
  readonly outcome: "conflict";
  readonly announced: AnnouncedAddress;
  /** Who says so. */
  readonly mac: MacAddress;
  /** `probe`: it asks, as we do, whether the address is free. */
  readonly seen: "claim" | "probe";
}

/** The reply stands in the first `length` octets of the buffer given. */
export interface Reply {
  readonly outcome: "reply";
  readonly announced: AnnouncedAddress;
  readonly length: number;
}

/** The frame is not answered. */
export interface Drop {
  readonly outcome: "drop";
  readonly reason: DropReason;
  /** The address concerned, if it is one of the table's. */
  readonly announced?: AnnouncedAddress;
}

/** What becomes of a frame. */
export type Verdict = Reply | Drop | Conflict;

/** Octets of the longest reply: a Neighbor Advertisement with its option. */
export const MAX_REPLY_LENGTH = 86;

// Offsets from the start of the frame.
const ARP = ETHERNET_HEADER_LENGTH;
const OPERATION = ARP + ARP_FIELD.operation;
const SENDER_HARDWARE = ARP + ARP_FIELD.senderHardwareAddress;
const SENDER_PROTOCOL = ARP + ARP_FIELD.senderProtocolAddress;
const TARGET_HARDWARE = ARP + ARP_FIELD.targetHardwareAddress;
const TARGET_PROTOCOL = ARP + ARP_FIELD.targetProtocolAddress;
const IP = ETHERNET_HEADER_LENGTH;
const SOURCE = IP + IPV6_FIELD.source;
const DESTINATION = IP + IPV6_FIELD.destination;
const ICMP = IP + IPV6_HEADER_LENGTH;
const BODY = ICMP + ICMPV6_HEADER_LENGTH;
const TARGET = BODY + NDP_FIELD.targetAddress;
const OPTIONS = BODY + NDP_BODY_LENGTH;

/** ff02::1:ff00:0/104 (RFC 4291 §2.7.1). */
const SOLICITED_NODE_PREFIX = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff);
const ALL_NODES_OCTETS = encodeIPv6("ff02::1" as IPv6Address);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);

/** Drops of frames that concern none of our addresses are made once: they are many. */
const DROPS = Object.fromEntries(
  DROP_REASONS.map((reason) => [reason, { outcome: "drop", reason }]),
) as unknown as Readonly<Record<DropReason, Drop>>;

/** Makes ready what does not change from one reply to the next. */
export function prepareInterface(facts: InterfaceFacts): RespondingInterface {
  const mac = encodeMac(facts.mac);
  const linkLocal = facts.linkLocal === undefined ? undefined : encodeIPv6(facts.linkLocal);
  return {
    name: facts.name,
    mac,
    linkLocal,
    arpReply: arpReplyTemplate(mac),
    neighborAdvertisement: advertisementTemplate(mac, linkLocal),
  };
}

function arpReplyTemplate(mac: Uint8Array): Uint8Array {
  const octets = new Uint8Array(ETHERNET_MIN_LENGTH);
  octets.set(mac, ETHERNET_FIELD.source);
  setUint16(octets, ETHERNET_FIELD.etherType, ETHER_TYPE_ARP);
  setUint16(octets, ARP + ARP_FIELD.hardwareType, ARP_HARDWARE_ETHERNET);
  setUint16(octets, ARP + ARP_FIELD.protocolType, ARP_PROTOCOL_IPV4);
  octets[ARP + ARP_FIELD.hardwareLength] = 6;
  octets[ARP + ARP_FIELD.protocolLength] = 4;
  setUint16(octets, OPERATION, ARP_REPLY);
  octets.set(mac, SENDER_HARDWARE);
  return octets;
}

function advertisementTemplate(mac: Uint8Array, linkLocal: Uint8Array | undefined): Uint8Array {
  const octets = new Uint8Array(MAX_REPLY_LENGTH);
  octets.set(mac, ETHERNET_FIELD.source);
  setUint16(octets, ETHERNET_FIELD.etherType, ETHER_TYPE_IPV6);
  octets[IP] = 0x60;
  setUint16(octets, IP + IPV6_FIELD.payloadLength, MAX_REPLY_LENGTH - ICMP);
  octets[IP + IPV6_FIELD.nextHeader] = NEXT_HEADER_ICMPV6;
  octets[IP + IPV6_FIELD.hopLimit] = NDP_HOP_LIMIT;
  if (linkLocal !== undefined) octets.set(linkLocal, SOURCE);
  octets[ICMP + ICMPV6_FIELD.type] = ICMPV6_NEIGHBOR_ADVERTISEMENT;
  octets[OPTIONS] = OPTION_TARGET_LINK_LAYER_ADDRESS;
  octets[OPTIONS + 1] = 1;
  octets.set(mac, OPTIONS + 2);
  return octets;
}

/**
 * Decides about a frame, and writes the reply if there is one.
 * @param frame the frame from its Ethernet header on, without check sequence.
 * @param on the interface that it came in on.
 * @param table the addresses that this node answers for.
 * @param colleagues MAC addresses of our other interfaces and of the other speakers: a claim from
 * them is a hand-over, not a conflict.
 * @param reply at least {@link MAX_REPLY_LENGTH} octets to write a reply to.
 */
export function respond(
  frame: Uint8Array,
  on: RespondingInterface,
  table: AnnouncedTable,
  colleagues: ReadonlySet<MacAddress>,
  reply: Uint8Array,
): Verdict {
  if (frame.length < ETHERNET_HEADER_LENGTH) return DROPS.truncated;
  const etherType = uint16(frame, ETHERNET_FIELD.etherType);
  if (etherType === ETHER_TYPE_ARP) return respondToArp(frame, on, table, colleagues, reply);
  if (etherType === ETHER_TYPE_IPV6) return respondToNdp(frame, on, table, colleagues, reply);
  return isVlanTag(etherType) ? DROPS.vlanTag : DROPS.otherEtherType;
}

/** Follows RFC 826, "Packet Reception", and RFC 5227 §2.4. */
function respondToArp(
  frame: Uint8Array,
  on: RespondingInterface,
  table: AnnouncedTable,
  colleagues: ReadonlySet<MacAddress>,
  reply: Uint8Array,
): Verdict {
  const malformed = checkArp(frame, on);
  if (malformed !== undefined) return malformed;
  const claimed = table.findIPv4(int32(frame, SENDER_PROTOCOL));
  if (claimed !== undefined && isOn(claimed, on)) {
    return contest(frame, SENDER_HARDWARE, claimed, "claim", colleagues);
  }
  // "?Am I the target protocol address?"
  const announced = table.findIPv4(int32(frame, TARGET_PROTOCOL));
  if (announced === undefined) return DROPS.notAnnounced;
  if (!isOn(announced, on)) return drop("notOnThisInterface", announced);
  // "(NOW look at the opcode!!)"
  if (uint16(frame, OPERATION) !== ARP_REQUEST) return drop("notRequest", announced);
  if (announced.state === "probing") {
    // An ARP Probe has no sender address; a plain request of others does not concern us yet.
    if (int32(frame, SENDER_PROTOCOL) !== 0) return drop("probing", announced);
    return contest(frame, SENDER_HARDWARE, announced, "probe", colleagues);
  }
  if (!isBroadcast(frame) && !sameMac(frame, ETHERNET_FIELD.destination, on.mac)) {
    return drop("notForUs", announced);
  }
  if (!isUnicastMac(frame, SENDER_HARDWARE)) return drop("senderNotUnicast", announced);
  writeArpReply(frame, on, reply);
  return { outcome: "reply", announced, length: ETHERNET_MIN_LENGTH };
}

function checkArp(frame: Uint8Array, on: RespondingInterface): Drop | undefined {
  if (frame.length < ARP + ARP_LENGTH) return DROPS.truncated;
  if (uint16(frame, ARP + ARP_FIELD.hardwareType) !== ARP_HARDWARE_ETHERNET)
    return DROPS.hardwareType;
  if (uint16(frame, ARP + ARP_FIELD.protocolType) !== ARP_PROTOCOL_IPV4) return DROPS.protocolType;
  if (frame[ARP + ARP_FIELD.hardwareLength] !== 6) return DROPS.addressLength;
  if (frame[ARP + ARP_FIELD.protocolLength] !== 4) return DROPS.addressLength;
  const own =
    sameMac(frame, ETHERNET_FIELD.source, on.mac) || sameMac(frame, SENDER_HARDWARE, on.mac);
  return own ? DROPS.ownFrame : undefined;
}

/** "Swap hardware and protocol fields, putting the local ones in the sender fields." */
function writeArpReply(frame: Uint8Array, on: RespondingInterface, reply: Uint8Array): void {
  reply.set(on.arpReply);
  copy(frame, SENDER_HARDWARE, reply, ETHERNET_FIELD.destination, 6);
  copy(frame, TARGET_PROTOCOL, reply, SENDER_PROTOCOL, 4);
  // Sender hardware and protocol address lie side by side.
  copy(frame, SENDER_HARDWARE, reply, TARGET_HARDWARE, 10);
}

/** Follows RFC 4861 §7.1.1, §7.1.2 and §7.2.4, and RFC 4862 §5.4.3 and §5.4.4. */
function respondToNdp(
  frame: Uint8Array,
  on: RespondingInterface,
  table: AnnouncedTable,
  colleagues: ReadonlySet<MacAddress>,
  reply: Uint8Array,
): Verdict {
  const malformed = checkLayers(frame);
  if (malformed !== undefined) return malformed;
  const target = table.findIPv6(frame, TARGET);
  const source = table.findIPv6(frame, SOURCE);
  const concerned = target ?? source;
  if (concerned === undefined) return DROPS.notAnnounced;
  if (sameMac(frame, ETHERNET_FIELD.source, on.mac)) return DROPS.ownFrame;
  if (!isOn(concerned, on)) return drop("notOnThisInterface", concerned);
  const end = ICMP + uint16(frame, IP + IPV6_FIELD.payloadLength);
  const invalid = checkMessage(frame, end);
  if (invalid !== undefined) return drop(invalid, concerned);

  const solicitation = frame[ICMP] === ICMPV6_NEIGHBOR_SOLICITATION;
  const sender = senderMacOffset(frame, end, solicitation);
  if (sameMac(frame, sender, on.mac)) return DROPS.ownFrame;
  const claimed = solicitation ? source : concerned;
  if (claimed !== undefined && isOn(claimed, on)) {
    return contest(frame, sender, claimed, "claim", colleagues);
  }
  return answer(frame, on, concerned, sender, colleagues, reply);
}

/** What to do with a valid Neighbor Solicitation for an address of ours. */
function answer(
  frame: Uint8Array,
  on: RespondingInterface,
  announced: AnnouncedAddress,
  sender: number,
  colleagues: ReadonlySet<MacAddress>,
  reply: Uint8Array,
): Verdict {
  const probe = isZero(frame, SOURCE, 16);
  if (announced.state === "probing") {
    // RFC 4862 §5.4.3: only a solicitation without a source is a sign that another tries too.
    if (!probe) return drop("probing", announced);
    return contest(frame, sender, announced, "probe", colleagues);
  }
  if (!isGroupMac(frame, ETHERNET_FIELD.destination) && !sameMac(frame, 0, on.mac)) {
    return drop("notForUs", announced);
  }
  if (frame[SOURCE] === 0xff) return drop("sourceMulticast", announced);
  if (!isUnicastMac(frame, sender)) return drop("senderNotUnicast", announced);
  if (on.linkLocal === undefined) return drop("noLinkLocal", announced);
  writeAdvertisement(frame, on, probe, sender, reply);
  return { outcome: "reply", announced, length: MAX_REPLY_LENGTH };
}

/** The layers below Neighbor Discovery, as far as needed to read the target. */
function checkLayers(frame: Uint8Array): Drop | undefined {
  if (frame.length < ICMP) return DROPS.truncated;
  if ((frame[IP] ?? 0) >> 4 !== 6) return DROPS.ipVersion;
  const end = ICMP + uint16(frame, IP + IPV6_FIELD.payloadLength);
  if (frame.length < end) return DROPS.truncated;
  if (frame[IP + IPV6_FIELD.nextHeader] !== NEXT_HEADER_ICMPV6) return DROPS.notIcmpv6;
  if (end <= ICMP) return DROPS.icmpLength;
  const type = frame[ICMP + ICMPV6_FIELD.type];
  if (type !== ICMPV6_NEIGHBOR_SOLICITATION && type !== ICMPV6_NEIGHBOR_ADVERTISEMENT) {
    return DROPS.notNeighborDiscovery;
  }
  return end < OPTIONS ? DROPS.icmpLength : undefined;
}

/** The checks of RFC 4861 §7.1.1 and §7.1.2 that are left, in their order. */
function checkMessage(frame: Uint8Array, end: number): DropReason | undefined {
  if (frame[IP + IPV6_FIELD.hopLimit] !== NDP_HOP_LIMIT) return "hopLimit";
  if (icmpv6Checksum(frame, SOURCE, ICMP, end) !== 0) return "checksum";
  if (frame[ICMP + ICMPV6_FIELD.code] !== 0) return "code";
  if (frame[TARGET] === 0xff) return "targetMulticast";
  if (!optionsAreValid(frame, end)) return "option";
  return frame[ICMP] === ICMPV6_NEIGHBOR_SOLICITATION
    ? checkSolicitation(frame, end)
    : checkAdvertisement(frame);
}

function checkSolicitation(frame: Uint8Array, end: number): DropReason | undefined {
  if (!isZero(frame, SOURCE, 16)) return undefined;
  const group = SOLICITED_NODE_PREFIX.every((octet, i) => frame[DESTINATION + i] === octet);
  if (!group) return "probeDestination";
  const option = findOption(frame, end, OPTION_SOURCE_LINK_LAYER_ADDRESS);
  return option < 0 ? undefined : "probeOption";
}

function checkAdvertisement(frame: Uint8Array): DropReason | undefined {
  const solicited = ((frame[BODY + NDP_FIELD.flags] ?? 0) & NDP_FLAG.solicited) !== 0;
  return solicited && frame[DESTINATION] === 0xff ? "solicitedMulticast" : undefined;
}

/** Whether every option has a length, ends in time, and holds an Ethernet address if any. */
function optionsAreValid(frame: Uint8Array, end: number): boolean {
  let offset = OPTIONS;
  while (offset < end) {
    const length = offset + 1 < end ? (frame[offset + 1] ?? 0) : 0;
    if (length === 0) return false;
    const type = frame[offset];
    const linkLayer =
      type === OPTION_SOURCE_LINK_LAYER_ADDRESS || type === OPTION_TARGET_LINK_LAYER_ADDRESS;
    if (linkLayer && length !== 1) return false;
    offset += length * NDP_OPTION_UNIT;
  }
  return offset === end;
}

/** Where the value of the first option of a type stands, in valid options; -1 if there is none. */
function findOption(frame: Uint8Array, end: number, type: number): number {
  let offset = OPTIONS;
  while (offset < end) {
    if (frame[offset] === type) return offset + 2;
    offset += (frame[offset + 1] ?? 1) * NDP_OPTION_UNIT;
  }
  return -1;
}

/**
 * Where the sender's MAC address stands: in its option, else in the Ethernet header. A unicast
 * solicitation may come without the option (RFC 4861 §7.2.4 would have us solicit in turn).
 */
function senderMacOffset(frame: Uint8Array, end: number, solicitation: boolean): number {
  const type = solicitation ? OPTION_SOURCE_LINK_LAYER_ADDRESS : OPTION_TARGET_LINK_LAYER_ADDRESS;
  const option = findOption(frame, end, type);
  return option < 0 ? ETHERNET_FIELD.source : option;
}

/** RFC 4861 §7.2.4: to the one who asked, or to all nodes when no source says who that is. */
function writeAdvertisement(
  frame: Uint8Array,
  on: RespondingInterface,
  probe: boolean,
  sender: number,
  reply: Uint8Array,
): void {
  reply.set(on.neighborAdvertisement);
  if (probe) {
    reply.set(ALL_NODES_MAC, ETHERNET_FIELD.destination);
    reply.set(ALL_NODES_OCTETS, DESTINATION);
  } else {
    copy(frame, sender, reply, ETHERNET_FIELD.destination, 6);
    copy(frame, SOURCE, reply, DESTINATION, 16);
  }
  reply[BODY + NDP_FIELD.flags] = probe
    ? NDP_FLAG.override
    : NDP_FLAG.solicited | NDP_FLAG.override;
  copy(frame, TARGET, reply, TARGET, 16);
  const checksum = icmpv6Checksum(reply, SOURCE, ICMP, MAX_REPLY_LENGTH);
  setUint16(reply, ICMP + ICMPV6_FIELD.checksum, checksum);
}

/** Another MAC address stands for an address of ours: a conflict, unless a colleague's. */
function contest(
  frame: Uint8Array,
  macOffset: number,
  announced: AnnouncedAddress,
  seen: Conflict["seen"],
  colleagues: ReadonlySet<MacAddress>,
): Verdict {
  if (!isUnicastMac(frame, macOffset)) return drop("senderNotUnicast", announced);
  const mac = decodeMac(frame, macOffset);
  if (colleagues.has(mac)) return drop("colleagueClaim", announced);
  return { outcome: "conflict", announced, mac, seen };
}

function drop(reason: DropReason, announced: AnnouncedAddress): Drop {
  return { outcome: "drop", reason, announced };
}

function isOn(announced: AnnouncedAddress, on: RespondingInterface): boolean {
  return announced.interfaces === undefined || announced.interfaces.has(on.name);
}

function isGroupMac(octets: Uint8Array, offset: number): boolean {
  return ((octets[offset] ?? 0) & 1) === 1;
}

function isUnicastMac(octets: Uint8Array, offset: number): boolean {
  return !isGroupMac(octets, offset) && !isZero(octets, offset, 6);
}

function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (frame[i] !== 0xff) return false;
  return true;
}

function isZero(octets: Uint8Array, offset: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (octets[offset + i] !== 0) return false;
  return true;
}

function uint16(octets: Uint8Array, offset: number): number {
  return ((octets[offset] ?? 0) << 8) | (octets[offset + 1] ?? 0);
}

/** A big-endian 32-bit word, signed: the same for every address, and quick to look up. */
function int32(octets: Uint8Array, offset: number): number {
  return (uint16(octets, offset) << 16) | uint16(octets, offset + 2);
}

function setUint16(octets: Uint8Array, offset: number, value: number): void {
  octets[offset] = value >> 8;
  octets[offset + 1] = value & 0xff;
}

/** Copies a few octets; quicker than making a view of them. */
function copy(from: Uint8Array, at: number, to: Uint8Array, offset: number, length: number): void {
  for (let i = 0; i < length; i++) to[offset + i] = from[at + i] ?? 0;
}
