/** Why a text is no address, prefix, range or pool entry. */
export type TextReason =
  | "empty"
  | "whitespace"
  | "malformed"
  | "leadingZero"
  | "zone"
  | "ipv4Mapped"
  | "prefixLength"
  | "hostBits"
  | "mixedFamilies"
  | "startAfterEnd";

/** A text that was refused: the reason for programs, the message (value and remedy) for people. */
export interface Refused {
  readonly ok: false;
  readonly reason: TextReason;
  readonly message: string;
}

/** What reading a text gives: its value, or why there is none. Parsers never throw. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | Refused;

/** Builds a refusal. */
export function refuse(reason: TextReason, message: string): Refused {
  return { ok: false, reason, message };
}

/** Quotes a text for a message, cut short: it may come from anyone. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 90 ? `${text.slice(0, 90)}…` : text);
}
