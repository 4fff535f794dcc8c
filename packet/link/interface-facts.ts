/** What is known of the host's interfaces, put together from the messages of a dump. Pure. */
import { addressToBigInt, familyOf, type Address } from "../address/address.ts";
import type { MacAddress } from "../address/mac.ts";
import { maskNumber, type Prefix } from "../address/prefix.ts";
import {
  decodeAddressMessage,
  decodeLink,
  INTERFACE_FLAG,
  NETLINK_TYPE,
  type AddressMessage,
  type LinkMessage,
  type NetlinkMessage,
} from "./netlink.ts";

/** An address of an interface, and the network that it makes directly reachable. */
export interface InterfaceAddress {
  readonly address: Address;
  readonly subnet: Prefix;
}

/** An interface as the kernel has it. */
export interface InterfaceFacts {
  readonly index: number;
  readonly name: string;
  readonly macAddress: MacAddress | null;
  readonly mtu: number;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly loopback: boolean;
  readonly noArp: boolean;
  readonly ethernet: boolean;
  /** Name and kind of the bridge, bond or VRF that it is a port of. */
  readonly master: { readonly name: string; readonly kind: string } | null;
  /** Usable addresses; without those that duplicate address detection holds back. */
  readonly addresses: readonly InterfaceAddress[];
}

const ARPHRD_ETHER = 1;

/** Puts the interfaces together from all messages of a dump of links and one of addresses. */
export function collectInterfaces(messages: readonly NetlinkMessage[]): InterfaceFacts[] {
  const links = messages
    .filter(({ type }) => type === NETLINK_TYPE.newLink)
    .flatMap((message) => decodeLink(message) ?? []);
  const addresses = messages
    .filter(({ type }) => type === NETLINK_TYPE.newAddress)
    .flatMap((message) => decodeAddressMessage(message) ?? [])
    .filter(({ tentative }) => !tentative);
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const ofLink = Map.groupBy(addresses, ({ index }) => index);
  return links
    .map((link) => factsOf(link, byIndex.get(link.master), ofLink.get(link.index) ?? []))
    .sort((a, b) => a.index - b.index);
}

function factsOf(
  link: LinkMessage,
  master: LinkMessage | undefined,
  addresses: readonly AddressMessage[],
): InterfaceFacts {
  const has = (flag: number): boolean => (link.flags & flag) !== 0;
  return {
    index: link.index,
    name: link.name,
    macAddress: link.macAddress,
    mtu: link.mtu,
    up: has(INTERFACE_FLAG.up),
    carrier: has(INTERFACE_FLAG.up) && link.carrier,
    loopback: has(INTERFACE_FLAG.loopback),
    noArp: has(INTERFACE_FLAG.noArp),
    ethernet: link.hardwareType === ARPHRD_ETHER,
    master: masterOf(link, master),
    addresses: addresses.map((message) => ({
      address: message.address,
      subnet: subnetOf(message),
    })),
  };
}

/** A master may be in another namespace, out of sight: then its index stands for its name. */
function masterOf(link: LinkMessage, master: LinkMessage | undefined): InterfaceFacts["master"] {
  if (link.master === 0) return null;
  return { name: master?.name ?? `#${link.master}`, kind: master?.kind ?? "" };
}

function subnetOf({ network, prefixLength }: AddressMessage): Prefix {
  const family = familyOf(network);
  const number = maskNumber(addressToBigInt(network), prefixLength, family);
  return { family, network: number, length: prefixLength };
}
