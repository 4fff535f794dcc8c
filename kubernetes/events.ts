/**
 * Events of events.k8s.io for people who run `kubectl describe`.
 *
 * Never more than one write a minute for the same object and reason: the first occurrence is written
 * at once, what happens within the minute after is counted, and written at its end as a series with
 * the count and the last note. A few writes at most are under way at once. Recording never waits and never throws. An event that a server which is
 * away could not take is tried again at the end of its minute; one that is refused is dropped with a
 * log line.
 */
import { createHash } from "node:crypto";
import { systemClock, type Clock, type Timer } from "./clock.ts";
import type { Applied, Client } from "./client.ts";
import { hasCode, retryability } from "./errors.ts";
import { microTime } from "./lease.ts";
import { silentLogger, type Logger } from "./logging.ts";
import { Metrics } from "./metrics.ts";
import { EVENTS, type Event, type KubernetesObject } from "./resources.ts";

/** What happened to what. */
export interface EventInput {
  /** The object; apiVersion and kind must be set. */
  readonly regarding: Pick<KubernetesObject, "apiVersion" | "kind"> & {
    readonly metadata: {
      readonly name: string;
      readonly namespace?: string;
      readonly uid?: string;
    };
  };
  readonly type: "Normal" | "Warning";
  /** One CamelCase word. */
  readonly reason: string;
  /** What was done or tried, one CamelCase word; default: the reason. */
  readonly action?: string;
  /** A sentence for people, cut at 1,024 octets. */
  readonly note: string;
}

/** Who reports, and how. */
export interface EventRecorderOptions {
  readonly client: Pick<Client, "create" | "patch">;
  /** For instance `metallb-controller`. */
  readonly reportingController: string;
  /** For instance the pod's name. */
  readonly reportingInstance: string;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
  /** Between two writes for the same object and reason; 60 s. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 60_000;
const MAX_NOTE_OCTETS = 1_024;
/** Events are the least urgent of all writes: ten thousand of them must not hold up what they tell of. */
const MAX_WRITES = 8;
/** Memory stays bounded: the pair that was quiet for longest is forgotten first. */
const MAX_SERIES = 4_096;
/** Cluster-scoped objects have their events here, as everywhere in Kubernetes. */
const DEFAULT_NAMESPACE = "default";

/** What was sent, not what the server answered, which has several times as much in it. */
type Written = Applied<Event>;

/** One object and reason. */
interface Series {
  /** The written Event, once there is one. */
  written?: Written;
  count: number;
  pending?: EventInput;
  /** Ends with the last write so far; never rejects. */
  last: Promise<void>;
  timer: Timer;
}

/** Records events; close it at the end. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #series = new Map<string, Series>();
  readonly #writing = new Set<Promise<void>>();
  /** Writes under way, and those that wait for their turn. */
  #active = 0;
  readonly #queue: (() => void)[] = [];
  readonly #outcome: (result: "written" | "aggregated" | "dropped") => void;
  #closed = false;

  /** Nothing is written before {@link record}. */
  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    const events = (options.metrics ?? new Metrics()).counter(
      "events_recorded_total",
      "Events, by their fate.",
      {
        result: ["written", "aggregated", "dropped"],
      },
    );
    this.#outcome = (result) => events.inc({ result });
  }

  /** Records an event; returns at once. */
  record(input: EventInput): void {
    if (this.#closed) return;
    const key = seriesKey(input);
    const running = this.#series.get(key);
    if (running) {
      running.count++;
      running.pending = input;
      this.#outcome("aggregated");
      return;
    }
    this.#makeRoom();
    const series: Series = {
      count: 1,
      last: Promise.resolve(),
      timer: this.#startInterval(key),
    };
    this.#series.set(key, series);
    this.#enqueue(series, input);
  }

  /** Writes what is counted and not written, and waits for all writes; further events are dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const series of this.#series.values()) {
      series.timer.cancel();
      this.#flush(series);
    }
    this.#series.clear();
    await Promise.all(this.#writing);
  }

  #startInterval(key: string): Timer {
    return this.#clock.setTimer(this.#options.intervalMs ?? INTERVAL_MS, () =>
      this.#endInterval(key),
    );
  }

  /** Quiet for a whole interval: forgotten, and the next occurrence is written at once. */
  #endInterval(key: string): void {
    const series = this.#series.get(key);
    if (!series) return;
    if (!series.pending) {
      this.#series.delete(key);
      return;
    }
    this.#flush(series);
    series.timer = this.#startInterval(key);
  }

  #flush(series: Series): void {
    const { pending } = series;
    if (!pending) return;
    delete series.pending;
    this.#enqueue(series, pending);
  }

  #makeRoom(): void {
    if (this.#series.size < MAX_SERIES) return;
    const oldest = this.#series.entries().next();
    if (oldest.done) return;
    const [key, series] = oldest.value;
    series.timer.cancel();
    this.#flush(series);
    this.#series.delete(key);
  }

  #enqueue(series: Series, input: EventInput): void {
    // One after the other: the second write of a series has to know the first.
    const task = series.last
      .then(() => this.#inTurn(() => this.#write(series, input)))
      .then(
        () => this.#outcome("written"),
        (error: unknown) => this.#afterFailure(series, input, error),
      );
    series.last = task;
    this.#writing.add(task);
    void task.finally(() => this.#writing.delete(task));
  }

  async #inTurn(write: () => Promise<void>): Promise<void> {
    if (this.#active >= MAX_WRITES) await new Promise<void>((go) => this.#queue.push(go));
    else this.#active++;
    try {
      await write();
    } finally {
      // Whoever is next takes over the place.
      const next = this.#queue.shift();
      if (next) next();
      else this.#active--;
    }
  }

  /** What a server that is away could not take is written at the end of the interval. */
  #afterFailure(series: Series, input: EventInput, error: unknown): void {
    const again = retryability(error) === "retry" && !this.#closed;
    if (again) series.pending ??= input;
    else this.#outcome("dropped");
    this.#logger.info("event not written", { reason: input.reason, again, error });
  }

  async #write(series: Series, input: EventInput): Promise<void> {
    const { client } = this.#options;
    const now = microTime(this.#clock.wallMs());
    const { written } = series;
    // The server refuses a changed note: another note is another event.
    if (written?.note === cutNote(input.note)) {
      const patch = { series: { count: series.count, lastObservedTime: now } };
      try {
        await client.patch(EVENTS, written.metadata, patch);
        return;
      } catch (error) {
        // Events expire after an hour; then it is written anew.
        if (!hasCode(error, "NotFound")) throw error;
      }
    }
    const event = this.#compose(series, input, now);
    await client.create(EVENTS, event);
    series.written = event;
  }

  #compose(series: Series, input: EventInput, now: string): Applied<Event> {
    const { metadata } = input.regarding;
    const namespace = metadata.namespace ?? DEFAULT_NAMESPACE;
    const { reportingController, reportingInstance } = this.#options;
    return {
      metadata: { name: this.#name(input), namespace },
      eventTime: now,
      reportingController,
      reportingInstance: reportingInstance.slice(0, 128),
      action: input.action ?? input.reason,
      reason: input.reason,
      type: input.type,
      note: cutNote(input.note),
      regarding: {
        apiVersion: input.regarding.apiVersion ?? "v1",
        kind: input.regarding.kind ?? "",
        name: metadata.name,
        ...(metadata.namespace ? { namespace: metadata.namespace } : {}),
        ...(metadata.uid ? { uid: metadata.uid } : {}),
      },
      ...(series.count > 1 ? { series: { count: series.count, lastObservedTime: now } } : {}),
    };
  }

  /** Unique: the object's name as everywhere in Kubernetes, then moment and content. */
  #name(input: EventInput): string {
    const content = `${seriesKey(input)}\0${input.note}\0${this.#options.reportingInstance}\0${this.#clock.wallMs()}`;
    const suffix = createHash("sha256").update(content).digest("hex").slice(0, 16);
    return `${input.regarding.metadata.name.slice(0, 236)}.${suffix}`;
  }
}

function seriesKey(input: EventInput): string {
  const { apiVersion, kind, metadata } = input.regarding;
  return [
    apiVersion,
    kind,
    metadata.namespace,
    metadata.name,
    metadata.uid,
    input.type,
    input.reason,
  ].join("\0");
}

function cutNote(note: string): string {
  const octets = Buffer.from(note, "utf8");
  if (octets.length <= MAX_NOTE_OCTETS) return note;
  // Three octets for the ellipsis; a character that is cut in two is dropped.
  return `${octets
    .subarray(0, MAX_NOTE_OCTETS - 3)
    .toString("utf8")
    .replace(/\uFFFD+$/, "")}…`;
}
