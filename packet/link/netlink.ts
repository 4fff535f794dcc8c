/**
 * The few messages of the routing netlink that tell of interfaces and their addresses (rtnetlink(7),
 * netlink(7)). Pure. Numbers are in the order of the host's processor. Decoding never throws: what
 * is cut off or unknown is left out.
 */
import { decodeAddress, type Address } from "../address/address.ts";
import { decodeMac, MAC_LENGTH, type MacAddress } from "../address/mac.ts";

/** Message types. */
export const NETLINK_TYPE = {
  error: 2,
  done: 3,
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
} as const;

/** Multicast groups, as a bit mask: links, IPv4 addresses, IPv6 addresses. */
export const NETLINK_GROUPS = 0x1 | 0x10 | 0x100;

/** Flag of every message that is part of a dump. */
export const NLM_F_MULTI = 0x2;
/** Flag of a dump that changed while it was read: ask again. */
export const NLM_F_DUMP_INTR = 0x10;

const NLM_F_REQUEST = 0x1;
const NLM_F_DUMP = 0x300;
const HEADER_LENGTH = 16;
const LINK_LENGTH = 16;
const ADDRESS_LENGTH = 8;
const ATTRIBUTE_HEADER_LENGTH = 4;
/** The type of an attribute without its flags (nested, network order). */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

const IFLA = { address: 1, name: 3, mtu: 4, master: 10, linkInfo: 18, extMask: 29, carrier: 33 };
const IFLA_INFO_KIND = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFA = { address: 1, local: 2, flags: 8 };
const AF_INET = 2;
const AF_INET6 = 10;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_DADFAILED = 0x08;

/** Flags of an interface (netdevice(7)). */
export const INTERFACE_FLAG = { up: 0x1, loopback: 0x8, noArp: 0x80, lowerUp: 0x10000 } as const;

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** One netlink message. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  /** That of the request which it answers, or which brought about what it tells; else 0. */
  readonly sequence: number;
  /** Aliases the datagram. */
  readonly payload: Uint8Array;
}

/** An interface as netlink tells of it. */
export interface LinkMessage {
  readonly index: number;
  readonly flags: number;
  /** ARPHRD_…, 1 for Ethernet. */
  readonly hardwareType: number;
  readonly name: string;
  readonly mtu: number;
  /** Null when the interface has none of six octets. */
  readonly macAddress: MacAddress | null;
  /** Index of the bridge, bond or VRF that it is a port of, or 0. */
  readonly master: number;
  readonly carrier: boolean;
  /** What kind of virtual interface it is (`bridge`, `veth` …), or "". */
  readonly kind: string;
}

/** An address of an interface as netlink tells of it. */
export interface AddressMessage {
  readonly index: number;
  readonly address: Address;
  /** The address that spans the network with the prefix: the peer's on a point-to-point link. */
  readonly network: Address;
  readonly prefixLength: number;
  /** Not yet or not at all usable: duplicate address detection is under way or has failed. */
  readonly tentative: boolean;
}

/** Encodes the request for all interfaces. */
export function encodeLinkDump(sequence: number): Uint8Array<ArrayBuffer> {
  const octets = encodeDump(NETLINK_TYPE.getLink, sequence, LINK_LENGTH + 8);
  const view = viewOf(octets);
  // Statistics would be most of each message, and nobody here reads them.
  const at = HEADER_LENGTH + LINK_LENGTH;
  view.setUint16(at, 8, LITTLE_ENDIAN);
  view.setUint16(at + 2, IFLA.extMask, LITTLE_ENDIAN);
  view.setUint32(at + 4, RTEXT_FILTER_SKIP_STATS, LITTLE_ENDIAN);
  return octets;
}

/** Encodes the request for all addresses of both families. */
export function encodeAddressDump(sequence: number): Uint8Array<ArrayBuffer> {
  return encodeDump(NETLINK_TYPE.getAddress, sequence, ADDRESS_LENGTH);
}

function encodeDump(type: number, sequence: number, length: number): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(HEADER_LENGTH + length);
  const view = viewOf(octets);
  view.setUint32(0, octets.length, LITTLE_ENDIAN);
  view.setUint16(4, type, LITTLE_ENDIAN);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, LITTLE_ENDIAN);
  view.setUint32(8, sequence, LITTLE_ENDIAN);
  return octets;
}

/** Splits a datagram into its messages. */
export function decodeMessages(octets: Uint8Array): NetlinkMessage[] {
  const view = viewOf(octets);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER_LENGTH <= octets.length;) {
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < HEADER_LENGTH || at + length > octets.length) break;
    messages.push({
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
      payload: octets.subarray(at + HEADER_LENGTH, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** Decodes a message of type newLink or delLink, or gives null when it is cut off or has no name. */
export function decodeLink({ payload }: NetlinkMessage): LinkMessage | null {
  if (payload.length < LINK_LENGTH) return null;
  const view = viewOf(payload);
  const attributes = decodeAttributes(payload.subarray(LINK_LENGTH));
  const name = textOf(attributes.get(IFLA.name));
  if (name === "") return null;
  const flags = view.getUint32(8, LITTLE_ENDIAN);
  const info = decodeAttributes(attributes.get(IFLA.linkInfo) ?? new Uint8Array());
  const mac = attributes.get(IFLA.address);
  const carrier = attributes.get(IFLA.carrier)?.[0];
  return {
    index: view.getInt32(4, LITTLE_ENDIAN),
    flags,
    hardwareType: view.getUint16(2, LITTLE_ENDIAN),
    name,
    mtu: numberOf(attributes.get(IFLA.mtu)),
    macAddress: mac?.length === MAC_LENGTH ? decodeMac(mac) : null,
    master: numberOf(attributes.get(IFLA.master)),
    carrier: carrier === undefined ? (flags & INTERFACE_FLAG.lowerUp) !== 0 : carrier !== 0,
    kind: textOf(info.get(IFLA_INFO_KIND)),
  };
}

/** Decodes a message of type newAddress or delAddress, or gives null when it is no IP address. */
export function decodeAddressMessage({ payload }: NetlinkMessage): AddressMessage | null {
  if (payload.length < ADDRESS_LENGTH) return null;
  const view = viewOf(payload);
  const attributes = decodeAttributes(payload.subarray(ADDRESS_LENGTH));
  const network = attributes.get(IFA.address);
  const local = attributes.get(IFA.local) ?? network;
  const octets = { [AF_INET]: 4, [AF_INET6]: 16 }[view.getUint8(0)];
  if (octets === undefined || local?.length !== octets || network?.length !== octets) return null;
  const prefixLength = view.getUint8(1);
  if (prefixLength > octets * 8) return null;
  // The full set of flags is an attribute; the field of eight bits is all that old kernels have.
  const wide = attributes.get(IFA.flags);
  const flags = wide === undefined ? view.getUint8(2) : numberOf(wide);
  return {
    index: view.getUint32(4, LITTLE_ENDIAN),
    address: decodeAddress(local),
    network: decodeAddress(network),
    prefixLength,
    tentative: (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) !== 0,
  };
}

/** Attributes by type; of several of one type the last. */
function decodeAttributes(octets: Uint8Array): Map<number, Uint8Array> {
  const view = viewOf(octets);
  const attributes = new Map<number, Uint8Array>();
  for (let at = 0; at + ATTRIBUTE_HEADER_LENGTH <= octets.length;) {
    const length = view.getUint16(at, LITTLE_ENDIAN);
    if (length < ATTRIBUTE_HEADER_LENGTH || at + length > octets.length) break;
    const type = view.getUint16(at + 2, LITTLE_ENDIAN) & ATTRIBUTE_TYPE_MASK;
    attributes.set(type, octets.subarray(at + ATTRIBUTE_HEADER_LENGTH, at + length));
    at += align(length);
  }
  return attributes;
}

function textOf(octets: Uint8Array | undefined): string {
  if (octets === undefined) return "";
  const end = octets.indexOf(0);
  return new TextDecoder().decode(end < 0 ? octets : octets.subarray(0, end));
}

function numberOf(octets: Uint8Array | undefined): number {
  return octets === undefined || octets.length < 4 ? 0 : viewOf(octets).getUint32(0, LITTLE_ENDIAN);
}

/** Messages and attributes begin at multiples of four. */
function align(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(octets: Uint8Array): DataView {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
}
