/** What holds for every frame, whatever its octets. */
import {
  decodeFrame,
  encodeArpFrame,
  encodeNdpFrame,
  formatFrame,
  type NeighborFrame,
} from "../../packet/wire/frame.ts";
import {
  MAX_REPLY_LENGTH,
  prepareInterface,
  respond,
  type AnnouncedTable,
  type Verdict,
} from "../../speaker/responder.ts";
import { toHex } from "../support/hex.ts";
import { announcedTable, COLLEAGUES, fuzzFrames, INTERFACE } from "./generator.ts";

/** A frame that broke a rule. */
export interface Fault {
  readonly rule: string;
  readonly seed: number;
  readonly index: number;
  readonly hex: string;
}

/** What a run met: how often each outcome, and each drop reason, came up. */
export type Tally = Record<string, number>;

/** The codecs take tens of times longer than the responder: they get one frame in so many. */
const CODEC_SHARE = 8;

const on = prepareInterface(INTERFACE);
const own = toHex(on.mac);

/**
 * Feeds frames of a seed to the responder and the codecs.
 * @returns the first fault, if any, and what came up.
 */
export function fuzzResponder(
  seed: number,
  frames: number,
): { readonly fault: Fault | undefined; readonly tally: Tally } {
  const nextFrame = fuzzFrames(seed);
  const table = announcedTable();
  const size = table.size;
  const reply = new Uint8Array(MAX_REPLY_LENGTH);
  const tally: Tally = {};
  for (let index = 0; index < frames; index++) {
    const frame = nextFrame();
    const rule =
      brokenRule(frame, table, reply, tally) ??
      (index % CODEC_SHARE === 0 ? brokenCodec(frame) : undefined) ??
      (table.size === size ? undefined : "nothing grows");
    if (rule !== undefined) return { fault: { rule, seed, index, hex: toHex(frame) }, tally };
  }
  return { fault: undefined, tally };
}

/** The rule that a frame breaks, if any. */
function brokenRule(
  frame: Uint8Array,
  table: AnnouncedTable,
  reply: Uint8Array,
  tally: Tally,
): string | undefined {
  try {
    const verdict = respond(frame, on, table, COLLEAGUES, reply);
    const outcome = verdict.outcome === "drop" ? verdict.reason : verdict.outcome;
    tally[outcome] = (tally[outcome] ?? 0) + 1;
    return brokenReply(frame, verdict, reply);
  } catch (error) {
    return `nothing throws: ${String(error)}`;
  }
}

function brokenCodec(frame: Uint8Array): string | undefined {
  try {
    const decoded = decodeFrame(frame);
    if (!decoded.ok) return undefined;
    if (formatFrame(decoded.value).length > 10_000) return "one line is not endless";
    const encoded = encode(decoded.value);
    const again = decodeFrame(encoded);
    if (!again.ok) return `what was encoded decodes: ${again.reason}`;
    return same(encoded, encode(again.value)) ? undefined : "what decodes survives encoding";
  } catch (error) {
    return `nothing throws: ${String(error)}`;
  }
}

function encode(frame: NeighborFrame): Uint8Array {
  return frame.kind === "arp" ? encodeArpFrame(frame) : encodeNdpFrame(frame);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

function brokenReply(frame: Uint8Array, verdict: Verdict, reply: Uint8Array): string | undefined {
  if (verdict.outcome !== "reply") return undefined;
  const octets = reply.subarray(0, verdict.length);
  if (octets.length > 3 * frame.length) return "no more than three times the octets go out";
  const destination = toHex(octets.subarray(0, 6));
  const toAllNodes = destination === "333300000001" && octets[12] === 0x86;
  if (destination === "000000000000") return "no reply goes to the MAC address of zeros";
  if (((octets[0] ?? 0) & 1) === 1 && !toAllNodes) return "no reply goes to a group";
  if (toAllNodes && !isProbe(frame)) return "only a probe for duplicates is answered to all nodes";
  if (toHex(octets.subarray(6, 12)) !== own) return "a reply comes from us";
  return decodeFrame(octets).ok ? undefined : "a reply decodes";
}

function isProbe(frame: Uint8Array): boolean {
  return frame.subarray(22, 38).every((octet) => octet === 0);
}
