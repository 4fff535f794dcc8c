/** Advertisements of virtual routers, VRRP over IPv4 (RFC 5798 §5). Pure. */
import { decodeIPv4, type IPv4Address } from "../address/ipv4.ts";
import { viewOf } from "../wire/decode.ts";

/** IP protocol number (RFC 5798 §5.1.1.4). */
export const VRRP_PROTOCOL = 112;
/** The group that advertisements go to (RFC 5798 §5.1.1.2). */
export const VRRP_GROUP = "224.0.0.18" as IPv4Address;

const IPV4_FIELD = { timeToLive: 8, protocol: 9, source: 12 } as const;
const IPV4_MIN_HEADER_LENGTH = 20;
/** Fields up to the checksum, which both versions have. */
const MIN_LENGTH = 8;
const ADVERTISEMENT = 1;
const VERSIONS: readonly number[] = [2, 3];

/** A virtual router, as far as its advertisement names it. */
export interface VrrpAdvertisement {
  readonly source: IPv4Address;
  /** Virtual router id. */
  readonly id: number;
}

/**
 * Decodes an advertisement as a raw socket gives it: with its IPv4 header. CARP looks the same, and
 * means the same here.
 * @returns null for anything else, such as one that was routed (RFC 5798 §5.1.1.3: TTL must be 255)
 */
export function decodeVrrp(octets: Uint8Array): VrrpAdvertisement | null {
  if (octets.length < IPV4_MIN_HEADER_LENGTH + MIN_LENGTH) return null;
  const view = viewOf(octets);
  const headerLength = (view.getUint8(0) & 0xf) * 4;
  if (headerLength < IPV4_MIN_HEADER_LENGTH || octets.length < headerLength + MIN_LENGTH)
    return null;
  if (view.getUint8(IPV4_FIELD.timeToLive) !== 255) return null;
  if (view.getUint8(IPV4_FIELD.protocol) !== VRRP_PROTOCOL) return null;
  const versionAndType = view.getUint8(headerLength);
  if (!VERSIONS.includes(versionAndType >> 4) || (versionAndType & 0xf) !== ADVERTISEMENT)
    return null;
  return {
    source: decodeIPv4(octets, IPV4_FIELD.source),
    id: view.getUint8(headerLength + 1),
  };
}
