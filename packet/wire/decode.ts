/**
 * What every decoder of this folder keeps to:
 *
 * - it never throws, whatever the octets; a refusal is a value with a reason;
 * - it checks the length first, then fixed fields, then variable ones, and builds the result last;
 * - it reads nothing beyond the octets given, which may lie inside larger ones;
 * - what it cannot name it keeps as a number or as raw octets; reserved bits are ignored;
 * - a `Uint8Array` in a result aliases the octets decoded: copy it to keep it.
 */

/**
 * Why octets were refused: too few of them, of a kind that is not spoken here, against a rule of
 * the protocol, with a wrong checksum, or inside an IEEE 802.1Q tag.
 */
export type DecodeReason = "truncated" | "unsupported" | "malformed" | "checksum" | "vlanTag";

/** A refusal, without prose: a bad packet is dropped and counted. */
export interface Refusal {
  readonly ok: false;
  readonly reason: DecodeReason;
}

/** What decoding gives. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | Refusal;

/** Too few octets. */
export const TRUNCATED: Refusal = { ok: false, reason: "truncated" };
/** A version, type or length of address that is not spoken here. */
export const UNSUPPORTED: Refusal = { ok: false, reason: "unsupported" };
/** Against a rule of the protocol. */
export const MALFORMED: Refusal = { ok: false, reason: "malformed" };
/** The checksum is wrong. */
export const BAD_CHECKSUM: Refusal = { ok: false, reason: "checksum" };
/** The frame is in an IEEE 802.1Q or 802.1ad tag: it belongs to another interface. */
export const VLAN_TAGGED: Refusal = { ok: false, reason: "vlanTag" };

/** Views octets for reading numbers; the offset matters, octets mostly lie in larger ones. */
export function viewOf(octets: Uint8Array): DataView {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
}
