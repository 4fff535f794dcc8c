/**
 * Metrics of one program. Every series exists from the start at zero, so that the rate of an alert is
 * defined before the first failure. Names are those of client-go and controller-runtime where they
 * have one.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";

/** Values that each label can have; every combination starts at zero. */
export type LabelValues<L extends string> = Readonly<Record<L, readonly string[]>>;

const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const VERBS = ["get", "list", "post", "put", "patch", "delete", "watch"] as const;
const CODES = [
  "200",
  "201",
  "400",
  "401",
  "403",
  "404",
  "409",
  "410",
  "422",
  "429",
  "500",
  "503",
  "504",
  "error",
];

/** How a reconciliation ended, in controller-runtime's words. */
export const RECONCILE_RESULTS = [
  "success",
  "requeue_after",
  "error",
  "terminal_error",
  "timeout",
] as const;

/** Longest interval that there is: twenty-four days. */
const NEVER_MS = 2 ** 31 - 1;
const LAG_STATISTICS = ["min", "max", "mean", "stddev", "p50", "p90", "p99"] as const;

/** Where the value of an observed series comes from. */
interface Reader {
  readonly series: Readonly<Record<string, string>>;
  readonly read: () => number;
}

/** All metrics of a program; make one a process. */
export class Metrics {
  /** What the metrics endpoint prints. */
  readonly registry = new Registry();
  readonly #readers = new Map<string, Map<string, Reader>>();

  /** Requests that were repeated by the client itself. */
  readonly clientRetries = this.counter(
    "rest_client_request_retries_total",
    "Requests that were repeated.",
  );
  readonly #requests = this.counter("rest_client_requests_total", "Requests to the API server.", {
    method: VERBS,
    code: CODES,
  });
  readonly #requestSeconds = this.histogram(
    "rest_client_request_duration_seconds",
    "Time until the headers of the answer.",
    { verb: VERBS },
  );

  /** Adds process and event loop metrics (`process_*`, `nodejs_*`). */
  collectDefaults(): void {
    // A histogram of the event loop's lag wakes the process a hundred times a second, which costs an
    // idle one more than all else. What the loop was busy costs nothing to tell.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: NEVER_MS });
    for (const statistic of LAG_STATISTICS)
      this.registry.removeSingleMetric(`nodejs_eventloop_lag_${statistic}_seconds`);
    let last = performance.eventLoopUtilization();
    this.observed(
      "nodejs_eventloop_utilization",
      "Share of the time since it was last asked for that the main thread was busy, 0 to 1.",
      {},
      () => {
        const now = performance.eventLoopUtilization();
        const { utilization } = performance.eventLoopUtilization(now, last);
        last = now;
        return utilization;
      },
    );
  }

  /** Counts a request to the API server. */
  observeRequest(verb: string, code: string, seconds: number): void {
    this.#requests.inc({ method: verb, code });
    this.#requestSeconds.observe({ verb }, seconds);
  }

  /** A counter; the same name gives the same one. Every combination of the label values starts at zero. */
  counter<L extends string = never>(
    name: string,
    help: string,
    labels?: LabelValues<L>,
  ): Counter<L> {
    const found = this.registry.getSingleMetric(name);
    const settings = { name, help, labelNames: labelNames(labels), registers: [this.registry] };
    const counter = found instanceof Counter ? (found as Counter<L>) : new Counter<L>(settings);
    for (const series of combinations(labels)) counter.inc(series, 0);
    return counter;
  }

  /** A gauge; the same name gives the same one. Every combination of the label values starts at zero. */
  gauge<L extends string = never>(name: string, help: string, labels?: LabelValues<L>): Gauge<L> {
    const found = this.registry.getSingleMetric(name) as Gauge<L> | undefined;
    const gauge =
      found ??
      new Gauge<L>({ name, help, labelNames: labelNames(labels), registers: [this.registry] });
    for (const series of combinations(labels)) gauge.inc(series, 0);
    return gauge;
  }

  /** A gauge whose value is asked for when the metrics are read; one series a call, whose reader is the last given. */
  observed<L extends string>(
    name: string,
    help: string,
    series: Readonly<Record<L, string>>,
    read: () => number,
  ): void {
    const readers = this.#readers.get(name) ?? new Map<string, Reader>();
    readers.set(JSON.stringify(series), { series, read });
    if (this.#readers.has(name)) return;
    this.#readers.set(name, readers);
    new Gauge<string>({
      name,
      help,
      labelNames: Object.keys(series),
      registers: [this.registry],
      collect(): void {
        for (const { series: labels, read: value } of readers.values()) this.set(labels, value());
      },
    });
  }

  /** A histogram of seconds; the same name gives the same one. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    labels?: LabelValues<L>,
    buckets: readonly number[] = SECONDS,
  ): Histogram<L> {
    const found = this.registry.getSingleMetric(name) as Histogram<L> | undefined;
    const histogram =
      found ??
      new Histogram<L>({
        name,
        help,
        labelNames: labelNames(labels),
        buckets: [...buckets],
        registers: [this.registry],
      });
    for (const series of combinations(labels)) histogram.zero(series);
    return histogram;
  }
}

function labelNames<L extends string>(labels: LabelValues<L> | undefined): L[] {
  return Object.keys(labels ?? {}) as L[];
}

function combinations<L extends string>(labels: LabelValues<L> | undefined): Record<L, string>[] {
  let all = [{} as Record<L, string>];
  for (const name of labelNames(labels)) {
    const values = labels?.[name] ?? [];
    all = all.flatMap((series) => values.map((value) => ({ ...series, [name]: value })));
  }
  return all;
}
