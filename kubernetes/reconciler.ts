/**
 * Workers around a queue. Level-triggered: a reconciliation gets a key, reads the state, and makes the
 * world as it should be; it never learns which event woke it.
 *
 * - returns nothing → the key's failures are forgotten
 * - returns `requeueAfterMs` → the same, and the key comes again after that time
 * - throws → retried with back-off; `slowly` retryable errors at once with the longest steps
 * - throws a `TerminalError` (or another never-retryable error) → logged and counted, not retried
 * - takes longer than the time allowed → its signal aborts, and it counts as thrown
 * - two at a time never have the same key
 */
import { systemClock, type Clock } from "./clock.ts";
import { describeError, retryability } from "./errors.ts";
import { silentLogger, type Logger } from "./logging.ts";
import { Metrics, RECONCILE_RESULTS } from "./metrics.ts";
import type { WorkQueue } from "./work-queue.ts";

/** What a reconciliation wants next. */
export interface ReconcileResult {
  readonly requeueAfterMs?: number;
}

/** What a reconciliation gets beside its key. */
export interface ReconcileContext {
  /** Carries controller, object and reconcile id. */
  readonly logger: Logger;
}

/** Makes the world as it should be for one key. */
export type Reconcile = (
  key: string,
  context: ReconcileContext,
  signal: AbortSignal,
  // A function that returns nothing is fine.
  // eslint-disable-next-line @typescript-eslint/no-invalid-void-type
) => Promise<ReconcileResult | void>;

/** A controller. */
export interface ReconcilerOptions {
  /** Label of its metrics and log lines. */
  readonly name: string;
  readonly queue: WorkQueue;
  readonly reconcile: Reconcile;
  /** Keys at a time; 1. */
  readonly workers?: number;
  /** Time for one reconciliation; 60 s. */
  readonly timeoutMs?: number;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
}

const TIMEOUT_MS = 60_000;
/** After an error that only people can mend, such as Forbidden. */
const SLOW_RETRY_MS = 30_000;

type Result = (typeof RECONCILE_RESULTS)[number];

class ReconcileTimeout extends Error {}

/**
 * Reconciles until the queue is closed and empty, or the signal aborts; then waits for what is in
 * flight. To stop gracefully close the queue; to stop at once abort.
 */
export async function runReconciler(
  options: ReconcilerOptions,
  signal: AbortSignal,
): Promise<void> {
  const workers = Array.from({ length: options.workers ?? 1 }, () => work(options, signal));
  await Promise.all(workers);
}

async function work(options: ReconcilerOptions, signal: AbortSignal): Promise<void> {
  const { queue, name } = options;
  const metrics = options.metrics ?? new Metrics();
  const clock = options.clock ?? systemClock;
  const total = metrics.counter(
    "controller_runtime_reconcile_total",
    "Reconciliations, by result.",
    {
      controller: [name],
      result: RECONCILE_RESULTS,
    },
  );
  const errors = metrics.counter(
    "controller_runtime_reconcile_errors_total",
    "Failed reconciliations.",
    {
      controller: [name],
    },
  );
  const seconds = metrics.histogram(
    "controller_runtime_reconcile_time_seconds",
    "Time of a reconciliation.",
    {
      controller: [name],
    },
  );
  for (let key = await queue.next(signal); key !== undefined; key = await queue.next(signal)) {
    const startedAt = clock.monotonicMs();
    const result = await once(key, options, clock, signal);
    total.inc({ controller: name, result });
    if (result !== "success" && result !== "requeue_after") errors.inc({ controller: name });
    seconds.observe({ controller: name }, (clock.monotonicMs() - startedAt) / 1000);
    queue.done(key);
  }
}

async function once(
  key: string,
  options: ReconcilerOptions,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result> {
  const { queue } = options;
  const logger = (options.logger ?? silentLogger).child({
    controller: options.name,
    object: key,
    reconcileId: crypto.randomUUID(),
  });
  try {
    const result = await withTimeout(options, clock, signal, (own) =>
      options.reconcile(key, { logger }, own),
    );
    queue.forget(key);
    if (result?.requeueAfterMs === undefined) return "success";
    queue.addAfter(key, result.requeueAfterMs);
    return "requeue_after";
  } catch (error) {
    if (signal.aborted) return "error";
    return afterFailure(key, queue, error, logger);
  }
}

function afterFailure(key: string, queue: WorkQueue, error: unknown, logger: Logger): Result {
  const wanted = retryability(error);
  if (wanted === "never") {
    queue.forget(key);
    logger.error("reconciliation refused", { reason: describeError(error), error });
    return "terminal_error";
  }
  const retryAfterMs = wanted === "slowly" ? SLOW_RETRY_MS : undefined;
  if (retryAfterMs !== undefined) queue.addAfter(key, retryAfterMs);
  const delayMs = retryAfterMs ?? queue.retry(key);
  logger.error("reconciliation failed", { reason: describeError(error), delayMs, error });
  return error instanceof ReconcileTimeout ? "timeout" : "error";
}

/**
 * Runs with a signal that aborts with the outer one and after the time allowed. It waits for the
 * reconciliation in any case: giving one up would let two run for the same key.
 */
async function withTimeout<R>(
  options: ReconcilerOptions,
  clock: Clock,
  outer: AbortSignal,
  run: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const own = new AbortController();
  const onAbort = (): void => own.abort(outer.reason);
  outer.addEventListener("abort", onAbort, { once: true });
  const timer = clock.setTimer(timeoutMs, () => {
    own.abort(new ReconcileTimeout(`reconciliation took longer than ${timeoutMs} ms`));
  });
  try {
    return await run(own.signal);
  } catch (error) {
    throw own.signal.reason instanceof ReconcileTimeout ? own.signal.reason : error;
  } finally {
    timer.cancel();
    outer.removeEventListener("abort", onAbort);
  }
}
