/** Exponential back-off with jitter; pure. */

/** How delays grow. */
export interface BackoffPolicy {
  /** Delay after the first failure. */
  readonly initialMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
  /** What each further failure multiplies by. */
  readonly factor: number;
  /** Share of the delay that chance decides, 0 (none) to 1 (all of it). */
  readonly jitter: number;
}

/** For failures of a server that answers: 100 ms doubling to 30 s. */
export const SERVER_BACKOFF: BackoffPolicy = {
  initialMs: 100,
  maxMs: 30_000,
  factor: 2,
  jitter: 0.5,
};
/**
 * For a server that is not there at all. A refused connection costs nobody anything, and whoever
 * waits 30 s for a server that came back after one is blind for 29 of them.
 */
export const CONNECT_BACKOFF: BackoffPolicy = {
  initialMs: 100,
  maxMs: 2_000,
  factor: 2,
  jitter: 0.5,
};
/** For one key of a work queue: 5 ms doubling to 1,000 s, without jitter. */
export const KEY_BACKOFF: BackoffPolicy = { initialMs: 5, maxMs: 1_000_000, factor: 2, jitter: 0 };

/**
 * The delay before the next attempt.
 * @param failures failures in a row so far; 0 counts as 1.
 * @param random in [0, 1); 0 gives the shortest delay.
 * @returns milliseconds, between `(1 - jitter)` times the exponential delay and all of it.
 */
export function backoffMs(policy: BackoffPolicy, failures: number, random: number): number {
  const exponent = Math.max(0, failures - 1);
  // factor ** 1100 is Infinity, which min() turns into the maximum.
  const delay = Math.min(policy.maxMs, policy.initialMs * policy.factor ** exponent);
  return delay * (1 - policy.jitter + policy.jitter * random);
}
