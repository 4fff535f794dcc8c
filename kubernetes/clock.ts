/**
 * Time as an argument. Whatever waits or measures here takes a {@link Clock}, so that tests run
 * under a virtual one, and so that no decision depends on the wall clock: durations come from
 * `monotonicMs`, which neither an administrator nor NTP can move.
 */
import { performance } from "node:perf_hooks";

/** A timer that has not fired yet. */
export interface Timer {
  /** Ends the timer; harmless after it fired. */
  cancel(): void;
}

/** Where the programs get the time from. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. The only source of durations. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC; may jump. Only for timestamps that people read. */
  wallMs(): number;
  /** Calls back once, after at least `delayMs`. */
  setTimer(delayMs: number, callback: () => void): Timer;
}

/** The machine's clock. Its timers keep the process alive while they are pending. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/**
 * Waits.
 * @throws the signal's reason when it aborts before the time is over.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(abortReason(signal));
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** True when the signal has aborted; as a call, so that it may change between two of them. */
export function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** The reason of an aborted signal, always an Error. */
export function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error
    ? reason
    : new DOMException("This operation was aborted", "AbortError");
}
