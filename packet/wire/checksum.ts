/**
 * The Internet checksum: the one's complement of the one's complement sum of 16-bit words.
 * @see RFC 1071 §1
 */

/** ICMPv6 as a next header. */
const NEXT_HEADER_ICMPV6 = 58;

/**
 * Adds octets from `start` up to `end` to a sum, as big-endian 16-bit words; an odd last octet is
 * the high half of its word. The sum is not folded and stays exact below 2^53.
 */
export function addOctets(sum: number, octets: Uint8Array, start: number, end: number): number {
  let total = sum;
  let i = start;
  for (; i + 1 < end; i += 2) total += (octets[i] ?? 0) * 256 + (octets[i + 1] ?? 0);
  if (i < end) total += (octets[i] ?? 0) * 256;
  return total;
}

/** Folds a sum into 16 bits and complements it: what stands in the packet. */
export function finishChecksum(sum: number): number {
  let total = sum;
  while (total > 0xffff) total = Math.floor(total / 65536) + (total % 65536);
  return total ^ 0xffff;
}

/** Computes the checksum of octets: 0 when they contain a right one. */
export function internetChecksum(octets: Uint8Array): number {
  return finishChecksum(addOctets(0, octets, 0, octets.length));
}

/**
 * Computes the checksum of the ICMPv6 message that reaches from `start` to `end`, with the
 * pseudo-header made of the 32 octets of source and destination at `addresses`: 0 when the message
 * contains a right one.
 * @see RFC 4443 §2.3, RFC 8200 §8.1
 */
export function icmpv6Checksum(
  octets: Uint8Array,
  addresses: number,
  start: number,
  end: number,
): number {
  const pseudo = addOctets(end - start + NEXT_HEADER_ICMPV6, octets, addresses, addresses + 32);
  return finishChecksum(addOctets(pseudo, octets, start, end));
}
