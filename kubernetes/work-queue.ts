/**
 * The queue between changes and the reconciler. Invariants, each held by the model-based property in
 * `tests/unit/kubernetes/work-queue.test.ts`:
 *
 * 1. A key is handed out to one worker at a time.
 * 2. A key that is waiting is there once, however often it was added.
 * 3. A key that was added while in flight is handed out again after `done`.
 * 4. Keys come out in the order in which they became ready.
 * 5. After n failures in a row a key waits 5 ms × 2^(n-1), at most 1,000 s; `forget` ends the row.
 * 6. Of several delays for one key the earliest counts.
 * 7. After `close` nothing new enters, what is waiting comes out, then `next` says undefined.
 */
import { backoffMs, KEY_BACKOFF, type BackoffPolicy } from "./backoff.ts";
import { systemClock, type Clock, type Timer } from "./clock.ts";
import { Metrics } from "./metrics.ts";

/** How a queue behaves. */
export interface WorkQueueOptions {
  /** Label of its metrics. */
  readonly name: string;
  readonly clock?: Clock;
  readonly metrics?: Metrics;
  readonly backoff?: BackoffPolicy;
  /** Overall bound of retries a second, over all keys; 50, in bursts of up to 300. */
  readonly retriesPerSecond?: number;
  readonly retryBurst?: number;
}

const RETRIES_PER_SECOND = 50;
const RETRY_BURST = 300;

/** See the head of the file. */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #backoff: BackoffPolicy;
  readonly #instruments: Instruments;
  /** Ready keys in order, with the time they became ready. */
  readonly #ready = new Map<string, number>();
  /** Keys in flight, with the time they were handed out. */
  readonly #inFlight = new Map<string, number>();
  /** Keys to hand out again when done. */
  readonly #touched = new Set<string>();
  readonly #delayed = new Map<string, { readonly at: number; readonly timer: Timer }>();
  readonly #failures = new Map<string, number>();
  readonly #waiting: ((key: string | undefined) => void)[] = [];
  readonly #idle: (() => void)[] = [];
  readonly #bucket: { tokens: number; at: number; readonly rate: number; readonly burst: number };
  #closed = false;

  /** An empty queue. */
  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#backoff = options.backoff ?? KEY_BACKOFF;
    this.#instruments = instruments(options.metrics ?? new Metrics(), options.name, this);
    const burst = options.retryBurst ?? RETRY_BURST;
    const rate = options.retriesPerSecond ?? RETRIES_PER_SECOND;
    this.#bucket = { tokens: burst, at: this.#clock.monotonicMs(), rate, burst };
  }

  /** Keys that are ready now. */
  get length(): number {
    return this.#ready.size;
  }

  /** Keys handed out and not done. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Failures in a row of a key. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** Seconds for which the keys in flight have been worked on: all together, and the longest. */
  unfinishedSeconds(): { readonly sum: number; readonly longest: number } {
    const now = this.#clock.monotonicMs();
    const seconds = Array.from(this.#inFlight.values(), (since) => (now - since) / 1000);
    return { sum: seconds.reduce((a, b) => a + b, 0), longest: Math.max(0, ...seconds) };
  }

  /** Adds a key at once. */
  add(key: string): void {
    if (this.#closed) return;
    this.#instruments.added();
    this.#undelay(key);
    if (this.#inFlight.has(key)) {
      this.#touched.add(key);
      return;
    }
    if (!this.#ready.has(key)) this.#ready.set(key, this.#clock.monotonicMs());
    this.#handOut();
  }

  /** Adds a key after a while, unless it is to come sooner anyway. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const at = this.#clock.monotonicMs() + delayMs;
    const earlier = this.#delayed.get(key);
    if (earlier && earlier.at <= at) return;
    earlier?.timer.cancel();
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { at, timer });
  }

  /** Adds a key that failed, after its back-off and the overall rate. @returns the delay. */
  retry(key: string): number {
    const failures = this.failures(key) + 1;
    this.#failures.set(key, failures);
    this.#instruments.retried();
    const delayMs = Math.max(backoffMs(this.#backoff, failures, 1), this.#takeToken());
    this.addAfter(key, delayMs);
    return delayMs;
  }

  /** Ends a key's row of failures. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /**
   * Waits for a key and hands it out; call {@link done} afterwards, always.
   * @returns undefined when the queue is closed and empty, or when the signal aborts.
   */
  next(signal?: AbortSignal): Promise<string | undefined> {
    return new Promise((resolve) => {
      if (signal?.aborted) {
        resolve(undefined);
        return;
      }
      const onAbort = (): void => {
        const index = this.#waiting.indexOf(waiter);
        if (index >= 0) this.#waiting.splice(index, 1);
        resolve(undefined);
      };
      const waiter = (key: string | undefined): void => {
        signal?.removeEventListener("abort", onAbort);
        resolve(key);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiter);
      this.#handOut();
    });
  }

  /** Says that the work on a key is over, well or not. */
  done(key: string): void {
    const since = this.#inFlight.get(key);
    if (since === undefined) throw new TypeError(`key ${JSON.stringify(key)} is not in flight`);
    this.#inFlight.delete(key);
    this.#instruments.worked((this.#clock.monotonicMs() - since) / 1000);
    if (this.#touched.delete(key)) this.#ready.set(key, this.#clock.monotonicMs());
    this.#handOut();
    if (this.#inFlight.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Refuses new keys and drops the delayed ones; keys that are ready still come out. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#handOut();
  }

  /** Closes, drops what is ready too, and waits until nothing is in flight. */
  async drain(): Promise<void> {
    this.#ready.clear();
    this.#touched.clear();
    this.close();
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #handOut(): void {
    while (this.#waiting.length > 0) {
      const first = this.#ready.entries().next();
      if (first.done) break;
      const [key, since] = first.value;
      const now = this.#clock.monotonicMs();
      this.#ready.delete(key);
      this.#inFlight.set(key, now);
      this.#instruments.waited((now - since) / 1000);
      this.#waiting.shift()?.(key);
    }
    if (this.#closed && this.#ready.size === 0 && this.#touched.size === 0) {
      for (const waiter of this.#waiting.splice(0)) waiter(undefined);
    }
  }

  #undelay(key: string): void {
    this.#delayed.get(key)?.timer.cancel();
    this.#delayed.delete(key);
  }

  /** Takes one token of the overall rate, on credit if need be. @returns ms until it is there. */
  #takeToken(): number {
    const now = this.#clock.monotonicMs();
    const bucket = this.#bucket;
    bucket.tokens =
      Math.min(bucket.burst, bucket.tokens + ((now - bucket.at) * bucket.rate) / 1000) - 1;
    bucket.at = now;
    return bucket.tokens >= 0 ? 0 : (-bucket.tokens * 1000) / bucket.rate;
  }
}

interface Instruments {
  added(): void;
  retried(): void;
  waited(seconds: number): void;
  worked(seconds: number): void;
}

function instruments(metrics: Metrics, queue: string, of: WorkQueue): Instruments {
  const labels = { name: [queue] };
  const name = { name: queue };
  const adds = metrics.counter("workqueue_adds_total", "Keys added.", labels);
  const retries = metrics.counter(
    "workqueue_retries_total",
    "Keys added again after a failure.",
    labels,
  );
  const waited = metrics.histogram(
    "workqueue_queue_duration_seconds",
    "Time a key was ready.",
    labels,
  );
  const worked = metrics.histogram(
    "workqueue_work_duration_seconds",
    "Time a key was in flight.",
    labels,
  );
  metrics.observed("workqueue_depth", "Keys that are ready.", name, () => of.length);
  metrics.observed(
    "workqueue_unfinished_work_seconds",
    "Time spent on keys in flight.",
    name,
    () => {
      return of.unfinishedSeconds().sum;
    },
  );
  metrics.observed(
    "workqueue_longest_running_processor_seconds",
    "Age of the oldest key in flight.",
    name,
    () => {
      return of.unfinishedSeconds().longest;
    },
  );
  return {
    added: () => adds.inc(name),
    retried: () => retries.inc(name),
    waited: (seconds) => waited.observe(name, seconds),
    worked: (seconds) => worked.observe(name, seconds),
  };
}
