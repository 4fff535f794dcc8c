/**
 * When the webhook's certificate is renewed, and whom the API server trusts meanwhile. Pure: time and
 * observations come in, what is to be done goes out.
 *
 * A *generation* is a certificate with the authority that signed it; the authority's key is thrown away
 * once it has signed. A new generation is made when two thirds of the life of the one in use are over. It
 * is used only after the API server has been told to trust it, and has had time to hear of that; the old
 * one stays trusted until it expires. So at no moment is a certificate in use that is not trusted.
 *
 * Each process has generations of its own, so that no key is ever stored; what others added to the trusted
 * authorities stays while it is valid.
 */

/** A certificate in use, or about to be. */
export interface Generation {
  /** Its authority, PEM. */
  readonly authority: string;
  readonly madeAtMs: number;
  readonly expiresAtMs: number;
}

/** An authority that the API server trusts. */
export interface Anchor {
  /** PEM, as written. */
  readonly authority: string;
  /** NaN for one that cannot be read. */
  readonly expiresAtMs: number;
}

/** What is known. */
export interface CertificateView {
  readonly current: Generation | undefined;
  readonly next: Generation | undefined;
  /** Since when `next` has been seen to be trusted. */
  readonly nextTrustedSinceMs: number | undefined;
  /** Whom the API server trusts, oldest first; undefined when no webhook is configured. */
  readonly trusted: readonly Anchor[] | undefined;
}

/** What to do now, in this order. */
export interface CertificatePlan {
  /** Make a generation: it becomes `next`, or `current` when there is none. Then plan again. */
  readonly make: boolean;
  /** Authorities to be trusted from now on; undefined when they are as they should be. */
  readonly trust: readonly string[] | undefined;
  /** Use `next` from now on. */
  readonly use: boolean;
  /** When to look again though nothing was heard. */
  readonly wakeAtMs: number;
}

/** Share of a generation's life after which the next one is made. */
const RENEW_AT = 2 / 3;
/** Share of the life that the API server gets to hear of a new authority, and the most that it is. */
const SETTLE_SHARE = 1 / 12;
const MAX_SETTLE_MS = 10_000;
/** Authorities kept for others; each process that crashed left one until it expires. */
const MAX_OTHERS = 10;

/** One made so far ahead of the clock is not valid yet: the clock has been set back since. */
const AHEAD_MS = 300_000;

/** Plans what to do about the certificate. */
export function planCertificate(view: CertificateView, nowMs: number): CertificatePlan {
  const { current, next } = view;
  const nothing = { make: false, trust: undefined, use: false };
  if (current === undefined) return { ...nothing, make: true, wakeAtMs: nowMs };
  const renewAtMs = current.madeAtMs + RENEW_AT * (current.expiresAtMs - current.madeAtMs);
  const isAhead = current.madeAtMs > nowMs + AHEAD_MS;
  if (next === undefined && (nowMs >= renewAtMs || isAhead))
    return { ...nothing, make: true, wakeAtMs: nowMs };
  const trust = trustWanted(view, nowMs);
  if (next === undefined) return { ...nothing, trust, wakeAtMs: renewAtMs };
  const useAtMs = isAhead ? next.madeAtMs : usableAtMs(current, next, view);
  return { ...nothing, trust, use: nowMs >= useAtMs, wakeAtMs: useAtMs };
}

/** Tells whether the API server trusts what is in use; nobody asks when no webhook is configured. */
export function isTrusted({ current, trusted }: CertificateView): boolean {
  return trusted === undefined || trusted.some(({ authority }) => authority === current?.authority);
}

/** What has expired in use is no better than what is not trusted yet. */
function usableAtMs(
  current: Generation,
  next: Generation,
  { nextTrustedSinceMs, trusted }: CertificateView,
): number {
  if (trusted === undefined) return next.madeAtMs;
  if (nextTrustedSinceMs === undefined) return current.expiresAtMs;
  const life = next.expiresAtMs - next.madeAtMs;
  return Math.min(
    current.expiresAtMs,
    nextTrustedSinceMs + Math.min(SETTLE_SHARE * life, MAX_SETTLE_MS),
  );
}

function trustWanted(
  { current, next, trusted }: CertificateView,
  nowMs: number,
): readonly string[] | undefined {
  if (trusted === undefined) return undefined;
  const own = [current, next].flatMap((generation) => generation?.authority ?? []);
  const others = trusted
    .filter(({ authority, expiresAtMs }) => !own.includes(authority) && expiresAtMs > nowMs)
    .map(({ authority }) => authority)
    .slice(-MAX_OTHERS);
  const lacking = own.some(
    (authority) => !trusted.some((anchor) => anchor.authority === authority),
  );
  // What has expired does no harm; it goes with the next change, so that processes do not race for it.
  return lacking ? [...others, ...own] : undefined;
}
