import { decodeMac, encodeMac, MAC_LENGTH, type MacAddress } from "../address/mac.ts";
import { MALFORMED, TRUNCATED, type Decoded } from "./decode.ts";

/** Octets of one unit of an option's length field. */
export const NDP_OPTION_UNIT = 8;
/** Source Link-Layer Address (RFC 4861 §4.6.1). */
export const OPTION_SOURCE_LINK_LAYER_ADDRESS = 1;
/** Target Link-Layer Address (RFC 4861 §4.6.1). */
export const OPTION_TARGET_LINK_LAYER_ADDRESS = 2;
/** Nonce (RFC 3971 §5.3.2), which RFC 7527 uses to know one's own probes again. */
export const OPTION_NONCE = 14;

/** Octets before an option's value: type and length. */
const HEADER_LENGTH = 2;
const MAX_LENGTH = 255 * NDP_OPTION_UNIT;

/** An option of a Neighbor Discovery message. Octets alias the message when decoded. */
export type NdpOption =
  | { readonly kind: "sourceLinkLayerAddress"; readonly address: MacAddress }
  | { readonly kind: "targetLinkLayerAddress"; readonly address: MacAddress }
  /** Six octets, or eight times n more. */
  | { readonly kind: "nonce"; readonly nonce: Uint8Array }
  /** Any other type. The value has six octets, or eight times n more. */
  | { readonly kind: "other"; readonly type: number; readonly value: Uint8Array };

/**
 * Decodes all options to the end of the octets.
 * @returns reasons `truncated` when an option reaches beyond the end; `malformed` when one has
 * length 0 (RFC 4861 §4.6: the packet is to be discarded), or a link-layer address is not an
 * Ethernet one. Inverse of {@link encodeNdpOptions}.
 */
export function decodeNdpOptions(octets: Uint8Array): Decoded<readonly NdpOption[]> {
  const options: NdpOption[] = [];
  let offset = 0;
  while (offset < octets.length) {
    const length = octets[offset + 1];
    if (length === undefined) return TRUNCATED;
    if (length === 0) return MALFORMED;
    const end = offset + length * NDP_OPTION_UNIT;
    if (end > octets.length) return TRUNCATED;
    const option = decodeOption(octets[offset] ?? 0, octets.subarray(offset + HEADER_LENGTH, end));
    if (option === undefined) return MALFORMED;
    options.push(option);
    offset = end;
  }
  return { ok: true, value: options };
}

function decodeOption(type: number, value: Uint8Array): NdpOption | undefined {
  if (type === OPTION_NONCE) return { kind: "nonce", nonce: value };
  const kind = linkLayerKind(type);
  if (kind === undefined) return { kind: "other", type, value };
  return value.length === MAC_LENGTH ? { kind, address: decodeMac(value) } : undefined;
}

function linkLayerKind(
  type: number,
): "sourceLinkLayerAddress" | "targetLinkLayerAddress" | undefined {
  if (type === OPTION_SOURCE_LINK_LAYER_ADDRESS) return "sourceLinkLayerAddress";
  if (type === OPTION_TARGET_LINK_LAYER_ADDRESS) return "targetLinkLayerAddress";
  return undefined;
}

/**
 * Encodes options one after the other.
 * @throws RangeError for a value that does not fill whole units of eight octets, or exceeds 255.
 */
export function encodeNdpOptions(options: readonly NdpOption[]): Uint8Array<ArrayBuffer> {
  const parts = options.map(encodeOption);
  const octets = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    octets.set(part, offset);
    offset += part.length;
  }
  return octets;
}

function encodeOption(option: NdpOption): Uint8Array {
  const [type, value] = typeAndValue(option);
  const length = HEADER_LENGTH + value.length;
  if (length % NDP_OPTION_UNIT !== 0 || length > MAX_LENGTH) {
    throw new RangeError(`an option's value has 6 + 8n octets, at most 2038, not ${value.length}`);
  }
  return Uint8Array.of(type, length / NDP_OPTION_UNIT, ...value);
}

function typeAndValue(option: NdpOption): readonly [number, Uint8Array] {
  switch (option.kind) {
    case "sourceLinkLayerAddress":
      return [OPTION_SOURCE_LINK_LAYER_ADDRESS, encodeMac(option.address)];
    case "targetLinkLayerAddress":
      return [OPTION_TARGET_LINK_LAYER_ADDRESS, encodeMac(option.address)];
    case "nonce":
      return [OPTION_NONCE, option.nonce];
    case "other":
      return [option.type, option.value];
  }
}

/** Writes an option on one line. */
export function formatNdpOption(option: NdpOption): string {
  switch (option.kind) {
    case "sourceLinkLayerAddress":
      return `source ${option.address}`;
    case "targetLinkLayerAddress":
      return `target ${option.address}`;
    case "nonce":
      return `nonce of ${option.nonce.length} octets`;
    case "other":
      return `option ${option.type} of ${option.value.length} octets`;
  }
}
