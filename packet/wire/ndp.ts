import { decodeIPv6, encodeIPv6, type IPv6Address } from "../address/ipv6.ts";
import { TRUNCATED, UNSUPPORTED, type Decoded } from "./decode.ts";
import {
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  type Icmpv6Message,
} from "./icmpv6.ts";
import {
  decodeNdpOptions,
  encodeNdpOptions,
  formatNdpOption,
  type NdpOption,
} from "./ndp-option.ts";

/** Octets of the body before the options: four of flags or reserved, and the target. */
export const NDP_BODY_LENGTH = 20;
/** Flags of a Neighbor Advertisement, in the first octet of the body. */
export const NDP_FLAG = { router: 0x80, solicited: 0x40, override: 0x20 } as const;

/** Offsets of the body's fields. */
export const NDP_FIELD = { flags: 0, targetAddress: 4, options: 20 } as const;

/** Asks who has the target address (RFC 4861 §4.3). */
export interface NeighborSolicitation {
  readonly kind: "neighborSolicitation";
  readonly targetAddress: IPv6Address;
  readonly options: readonly NdpOption[];
}

/** Tells who has the target address (RFC 4861 §4.4). */
export interface NeighborAdvertisement {
  readonly kind: "neighborAdvertisement";
  readonly router: boolean;
  readonly solicited: boolean;
  readonly override: boolean;
  readonly targetAddress: IPv6Address;
  readonly options: readonly NdpOption[];
}

/** A message of Neighbor Discovery about one neighbour. */
export type NdpMessage = NeighborSolicitation | NeighborAdvertisement;

/**
 * Decodes an ICMPv6 message as one of Neighbor Discovery. What a receiver must check beyond the
 * form (hop limit, code, target, sender) is for the receiver: see `speaker/responder.ts`.
 * @returns reasons `unsupported` for another type; `truncated` and `malformed`. Inverse of
 * {@link encodeNdp}.
 */
export function decodeNdp(message: Icmpv6Message): Decoded<NdpMessage> {
  const { type, body } = message;
  if (type !== ICMPV6_NEIGHBOR_SOLICITATION && type !== ICMPV6_NEIGHBOR_ADVERTISEMENT) {
    return UNSUPPORTED;
  }
  if (body.length < NDP_BODY_LENGTH) return TRUNCATED;
  const options = decodeNdpOptions(body.subarray(NDP_FIELD.options));
  if (!options.ok) return options;
  const common = {
    targetAddress: decodeIPv6(body, NDP_FIELD.targetAddress),
    options: options.value,
  };
  if (type === ICMPV6_NEIGHBOR_SOLICITATION) {
    return { ok: true, value: { kind: "neighborSolicitation", ...common } };
  }
  const flags = body[NDP_FIELD.flags] ?? 0;
  const router = (flags & NDP_FLAG.router) !== 0;
  const solicited = (flags & NDP_FLAG.solicited) !== 0;
  const override = (flags & NDP_FLAG.override) !== 0;
  const value = { kind: "neighborAdvertisement", router, solicited, override, ...common } as const;
  return { ok: true, value };
}

/** Encodes a message of Neighbor Discovery as an ICMPv6 one, code 0. */
export function encodeNdp(message: NdpMessage): Icmpv6Message {
  const options = encodeNdpOptions(message.options);
  const body = new Uint8Array(NDP_BODY_LENGTH + options.length);
  body.set(encodeIPv6(message.targetAddress), NDP_FIELD.targetAddress);
  body.set(options, NDP_FIELD.options);
  if (message.kind === "neighborSolicitation") {
    return { type: ICMPV6_NEIGHBOR_SOLICITATION, code: 0, body };
  }
  body[NDP_FIELD.flags] =
    (message.router ? NDP_FLAG.router : 0) |
    (message.solicited ? NDP_FLAG.solicited : 0) |
    (message.override ? NDP_FLAG.override : 0);
  return { type: ICMPV6_NEIGHBOR_ADVERTISEMENT, code: 0, body };
}

/** Writes a message on one line. */
export function formatNdp(message: NdpMessage): string {
  const options = message.options.map((option) => `, ${formatNdpOption(option)}`).join("");
  if (message.kind === "neighborSolicitation") {
    return `Neighbor Solicitation who has ${message.targetAddress}${options}`;
  }
  const flags = (["router", "solicited", "override"] as const).filter((flag) => message[flag]);
  const marks = flags.length === 0 ? "" : ` (${flags.join(", ")})`;
  return `Neighbor Advertisement of ${message.targetAddress}${marks}${options}`;
}
