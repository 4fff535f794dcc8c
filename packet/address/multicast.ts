import { decodeMac, type MacAddress } from "./mac.ts";
import { decodeIPv6, encodeIPv6, type IPv6Address } from "./ipv6.ts";

/**
 * Gives the solicited-node multicast address of an address: ff02::1:ff00:0/104 and its low 24 bits.
 * @see RFC 4291 §2.7.1
 */
export function solicitedNodeAddress(target: IPv6Address): IPv6Address {
  const octets = new Uint8Array(16);
  octets.set([0xff, 0x02]);
  octets.set([0x01, 0xff], 11);
  octets.set(encodeIPv6(target).subarray(13), 13);
  return decodeIPv6(octets);
}

/**
 * Gives the MAC address that a multicast IPv6 packet is sent to: 33:33 and the low 32 bits.
 * @see RFC 2464 §7
 */
export function multicastMac(group: IPv6Address): MacAddress {
  const octets = Uint8Array.of(0x33, 0x33, ...encodeIPv6(group).subarray(12));
  return decodeMac(octets);
}
