import type { TextReason } from "../packet/address/parsed.ts";
import type { ObjectReason } from "./reason.ts";

/** Why a field of an object is refused. */
export type FaultReason =
  | TextReason
  | "required"
  | "schema"
  | "unsupportedProtocol"
  | "specialUse"
  | "overlapping"
  | "regularExpression";

/** One thing that is wrong with an object: the reason for programs, the message for people. */
export interface Fault {
  /** Path of the field, such as `spec.addresses[0]`. */
  readonly field: string;
  /** What stands there; undefined when the field is missing. */
  readonly value: unknown;
  readonly reason: FaultReason;
  /** What is wrong and what would be right; goes on after the field's name. */
  readonly message: string;
}

/** Writes a fault as one line: field, value, what is wrong. */
export function formatFault({ field, value, message }: Fault): string {
  const text = value === undefined ? "" : ` ${shorten(JSON.stringify(value))}`;
  // Messages about addresses quote the value themselves, in the words of the address parser.
  return text !== "" && message.includes(text.trim())
    ? `${field}: ${message}`
    : `${field}${text}: ${message}`;
}

function shorten(text: string): string {
  return text.length > 90 ? `${text.slice(0, 90)}…` : text;
}

/** Names the condition reason for a list of faults: that of the first which has a name of its own. */
export function objectReasonOf(faults: readonly Fault[]): ObjectReason {
  const reasons = new Set(faults.map(({ reason }) => reason));
  if (reasons.has("unsupportedProtocol")) return "UnsupportedProtocol";
  return reasons.size === 1 && reasons.has("overlapping") ? "Overlapping" : "Invalid";
}
