/** What a reflector does after its watch ended: list again or resume, and after what delay; pure. */
import { backoffMs, CONNECT_BACKOFF, SERVER_BACKOFF } from "./backoff.ts";
import { ApiError, hasCode } from "./errors.ts";

/** Why everything is listed again. */
export const RELIST_REASONS = [
  "Start",
  "Gone",
  "HistoryChanged",
  "ServerWasAway",
  "Malformed",
] as const;
/** Why everything is listed again. */
export type RelistReason = (typeof RELIST_REASONS)[number];

/** How a watch ended. */
export const WATCH_ENDS = [
  "Closed",
  "Silent",
  "ConnectionLost",
  "Unreachable",
  "Refused",
  "Malformed",
  "HistoryChanged",
] as const;
/** How a watch ended. */
export type WatchEnd = (typeof WATCH_ENDS)[number];

/** A version that the server sent is older than one that it sent before. */
export class HistoryChanged extends Error {
  override readonly name = "HistoryChanged";
}

/** Failures in a row, by kind: they wait differently. */
export interface Failures {
  /** The server answered, or broke off. */
  readonly server: number;
  /** Nobody answered. */
  readonly connect: number;
  /** The same line could not be read. */
  readonly malformed: number;
}

/** No failure yet. */
export const NO_FAILURES: Failures = { server: 0, connect: 0, malformed: 0 };

/** What is next. */
export interface Next {
  readonly end: WatchEnd;
  readonly failures: Failures;
  readonly delayMs: number;
  /** Absent: resume. */
  readonly relist?: RelistReason;
}

/** No server, and nothing between us and it, may make us blind for longer. */
const MAX_ASKED_MS = 30_000;

/** A line that cannot be read twice in a row is passed by listing again. */
const MALFORMED_BEFORE_RELIST = 2;

/**
 * Decides after the end of a watch (or of a list).
 * @param failure what ended it; undefined: the server closed it properly.
 * @param successful true when changes arrived or the watch lasted: the row of failures is over.
 * @param random in [0, 1).
 */
export function afterWatch(
  failure: unknown,
  successful: boolean,
  before: Failures,
  random: number,
): Next {
  const past = successful ? NO_FAILURES : before;
  if (failure === undefined) {
    // A watch that closes at once, again and again, is a failure of a polite server.
    if (successful) return { end: "Closed", failures: NO_FAILURES, delayMs: 0 };
    const failures = { ...past, server: past.server + 1 };
    return { end: "Closed", failures, delayMs: backoffMs(SERVER_BACKOFF, failures.server, random) };
  }
  const end = endOf(failure);
  const unreachable = end === "Unreachable";
  const failures: Failures = {
    server: unreachable ? 0 : past.server + 1,
    connect: unreachable ? past.connect + 1 : 0,
    malformed: end === "Malformed" ? past.malformed + 1 : 0,
  };
  const relist = relistAfter(failure, failures);
  const policy = unreachable ? CONNECT_BACKOFF : SERVER_BACKOFF;
  const ownMs = backoffMs(policy, failures.server + failures.connect, random);
  const askedMs = failure instanceof ApiError ? (failure.retryAfterMs ?? 0) : 0;
  // "At once" is no answer of a server that refuses: whoever obeyed would ask without pause.
  const delayMs = askedMs > 0 ? Math.min(askedMs, MAX_ASKED_MS) * (1 + random / 4) : ownMs;
  return { end, failures, delayMs, ...(relist === undefined ? {} : { relist }) };
}

function endOf(failure: unknown): WatchEnd {
  if (failure instanceof HistoryChanged) return "HistoryChanged";
  if (hasCode(failure, "Unreachable")) return "Unreachable";
  if (hasCode(failure, "Silent")) return "Silent";
  if (hasCode(failure, "ConnectionLost", "Timeout")) return "ConnectionLost";
  if (hasCode(failure, "Malformed")) return "Malformed";
  return "Refused";
}

function relistAfter(failure: unknown, failures: Failures): RelistReason | undefined {
  if (hasCode(failure, "Gone")) return "Gone";
  if (failure instanceof HistoryChanged || hasCode(failure, "TooLargeResourceVersion")) {
    return "HistoryChanged";
  }
  if (hasCode(failure, "Unreachable")) return "ServerWasAway";
  return failures.malformed >= MALFORMED_BEFORE_RELIST ? "Malformed" : undefined;
}

/**
 * Compares resource versions: decimal numbers of any length. Others never count as older.
 */
export function isOlder(version: string, than: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}
