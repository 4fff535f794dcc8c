/**
 * Keeps a store equal to what the API server has, for ever.
 *
 * - First all objects (a streaming list where the server has it, else pages), then a watch from
 *   there; the watch is resumed by resourceVersion.
 * - Nothing but the abort of `run`'s signal ends it. A closed watch is reopened at once; every failure
 *   waits with jitter, from 100 ms to 30 s (2 s while nobody answers at all), or as long as the server
 *   asked for. Success resets the wait.
 * - Listing again is a diff against the store: what disappeared meanwhile is reported as deleted, what
 *   did not change is not reported at all.
 * - It lists again when the server cannot resume (410 as status or as event), when versions went back
 *   (etcd restored from a snapshot), and when nobody answered for a while: the server that comes back
 *   may have another history.
 * - A connection without an octet for `silenceMs` is dead: the server sends a bookmark about once a
 *   minute.
 * - Handlers run outside the parser. What one throws is logged and counted; the others still run, and
 *   the watch goes on.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client, Selection, WatchEvent } from "./client.ts";
import { isAborted, sleep, systemClock, type Clock } from "./clock.ts";
import { describeError, hasCode, OperatorError } from "./errors.ts";
import { silentLogger, type Logger } from "./logging.ts";
import { Metrics } from "./metrics.ts";
import {
  afterWatch,
  HistoryChanged,
  isOlder,
  NO_FAILURES,
  RELIST_REASONS,
  WATCH_ENDS,
  type Next,
  type RelistReason,
  type WatchEnd,
} from "./reflector-policy.ts";
import type { KubernetesObject, Resource } from "./resources.ts";
import { IndexedStore, objectKey, type IndexFunction, type Key, type Store } from "./store.ts";
import { INITIAL_EVENTS_END } from "./watch-stream.ts";

/** What happened to an object. */
export type Change<T> =
  | { readonly type: "added"; readonly key: Key; readonly object: T; readonly previous?: undefined }
  | { readonly type: "updated"; readonly key: Key; readonly object: T; readonly previous: T }
  | { readonly type: "deleted"; readonly key: Key; readonly object: T; readonly previous: T };

/** Told about each change, after the store has it. For `deleted`, `object` is the last known state. */
export type ChangeHandler<T> = (change: Change<T>) => void;

/** What to reflect, and how. `T` comes from the server, `U` is kept. */
export interface ReflectorOptions<
  T extends KubernetesObject,
  U extends KubernetesObject,
  I extends string,
> extends Selection {
  readonly client: Client;
  readonly resource: Resource<T>;
  /** Drops what nobody reads, as objects arrive; without it {@link trimMetadata}. */
  readonly trim?: (object: T) => U;
  /** Index functions by name; see `store.byIndex`. */
  readonly indexes?: Readonly<Record<I, IndexFunction<U>>>;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
  /** In [0, 1); Math.random without it. */
  readonly random?: () => number;
  /** A connection without an octet for this long is dead; 90 s. */
  readonly silenceMs?: number;
  /** How long the server keeps a watch open, chosen anew each time; 300 to 600 s. */
  readonly watchSeconds?: readonly [number, number];
  /** Objects a page where there is no streaming list; 500. */
  readonly pageSize?: number;
}

const SILENCE_MS = 90_000;
const WATCH_SECONDS = [300, 600] as const;
const PAGE_SIZE = 500;
/** A watch that the server closes sooner counts as a failure. */
const SHORT_WATCH_MS = 1_000;

/** Thrown inside when the server ignores `sendInitialEvents`. */
class NoStreamingList extends Error {}

/** See the head of the file. */
export class Reflector<
  T extends KubernetesObject,
  U extends KubernetesObject = T,
  I extends string = never,
> {
  readonly #options: ReflectorOptions<T, U, I>;
  readonly #store: IndexedStore<U, I>;
  readonly #handlers = new Set<ChangeHandler<U>>();
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #instruments: Instruments;
  readonly #synced = Promise.withResolvers<undefined>();
  #hasSynced = false;
  #resourceVersion: string | undefined;
  #relist: RelistReason = "Start";
  #streamingList = true;
  #lastContactMs: number | undefined;
  #running = false;
  /** Changes and bookmarks that arrived by watch. */
  #advances = 0;

  /** Nothing happens before {@link run}. */
  constructor(options: ReflectorOptions<T, U, I>) {
    this.#options = options;
    this.#store = new IndexedStore<U, I>(options.indexes);
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#logger = (options.logger ?? silentLogger).child({ resource: options.resource.plural });
    const metrics = options.metrics ?? new Metrics();
    this.#instruments = instruments(metrics, options.resource.plural);
    metrics.observed(
      "reflector_seconds_since_contact",
      "How long the server has said nothing about a resource; bookmarks come about once a minute.",
      { resource: options.resource.plural },
      () => this.#secondsSinceContact(),
    );
  }

  /** What is known now. */
  get store(): Store<U, I> {
    return this.#store;
  }

  /** Plural of what is reflected, for names of checks and tasks. */
  get resourceName(): string {
    return this.#options.resource.plural;
  }

  /** True once everything has been listed for the first time; stays true. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** How new the store is: of the last list, change or bookmark; undefined before the first. */
  get resourceVersion(): string | undefined {
    return this.#resourceVersion;
  }

  /** Monotonic time of the last octet from the server about this resource; undefined: never. */
  get lastContactMs(): number | undefined {
    return this.#lastContactMs;
  }

  /** Resolves when {@link hasSynced}; rejects with the signal's reason. */
  async synced(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal?.reason as Error);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await Promise.race([this.#synced.promise, aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Adds a handler; what is in the store already is reported to it as added. @returns removes it. */
  onChange(handler: ChangeHandler<U>): () => void {
    this.#handlers.add(handler);
    for (const object of this.#store.values()) {
      this.#tell(handler, { type: "added", key: objectKey(object), object });
    }
    return () => void this.#handlers.delete(handler);
  }

  /** Reflects until the signal aborts, then resolves. Call it once. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#running) throw new TypeError("a reflector runs once");
    this.#running = true;
    let failures = NO_FAILURES;
    while (!isAborted(signal)) {
      const openedAt = this.#clock.monotonicMs();
      const isResumed = this.#resourceVersion !== undefined;
      const advancesBefore = this.#advances;
      let failure: unknown;
      try {
        await this.#followOnce(signal);
      } catch (error) {
        if (isAborted(signal)) break;
        failure = error;
      }
      if (failure instanceof NoStreamingList) {
        this.#streamingList = false;
        continue;
      }
      const lasted = this.#clock.monotonicMs() - openedAt >= SHORT_WATCH_MS;
      const advanced = this.#advances > advancesBefore;
      // Something on the way cuts quiet connections: no fault of the server, and no reason to wait.
      const isCut = isResumed && hasCode(failure, "ConnectionLost");
      const successful = advanced || (lasted && (failure === undefined || isCut));
      const next = afterWatch(failure, successful, failures, this.#random());
      failures = next.failures;
      this.#follow(next, failure);
      // Only the abort ends the sleep early, and then the loop ends too.
      await sleep(this.#clock, next.delayMs, signal).catch(() => undefined);
    }
  }

  /** Takes note of what was decided. */
  #follow(next: Next, failure: unknown): void {
    const { end, relist, delayMs } = next;
    this.#instruments.ended(end);
    if (relist) {
      this.#resourceVersion = undefined;
      this.#relist = relist;
    }
    if (failure === undefined) {
      this.#logger.debug("watch closed", { delayMs: Math.round(delayMs) });
      return;
    }
    const fields = { end, relist, delayMs: Math.round(delayMs), reason: describeError(failure) };
    this.#logger.info("watch interrupted", fields);
  }

  /** Lists if need be, then watches until the server closes. */
  async #followOnce(signal: AbortSignal): Promise<void> {
    if (this.#resourceVersion !== undefined) {
      await this.#watch(this.#resourceVersion, undefined, signal);
      return;
    }
    this.#instruments.listed(this.#relist);
    const diff = new Diff<U>();
    if (this.#streamingList) {
      await this.#watchFromStart(diff, signal);
    } else {
      await this.#listPages(diff, signal);
      await this.#watch(this.#resourceVersion, undefined, signal);
    }
  }

  async #watchFromStart(diff: Diff<U>, signal: AbortSignal): Promise<void> {
    try {
      await this.#watch(undefined, diff, signal);
    } catch (error) {
      // Servers that know the parameter but not the feature refuse it.
      const refused = hasCode(error, "Invalid", "BadRequest") && diff.open && diff.size === 0;
      throw refused ? new NoStreamingList() : error;
    }
    if (diff.open)
      throw new OperatorError("ConnectionLost", `listing ${this.#options.resource.plural}`);
  }

  async #listPages(diff: Diff<U>, signal: AbortSignal): Promise<void> {
    const { client, resource, pageSize } = this.#options;
    let version = "";
    for await (const page of client.pages(
      resource,
      this.#selection,
      pageSize ?? PAGE_SIZE,
      signal,
    )) {
      this.#touch();
      for (const object of page.items) this.#upsert(this.#trim(object), diff);
      version = page.resourceVersion;
      // Let others run between two pages.
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#finishList(diff, version);
  }

  #watch(
    version: string | undefined,
    diff: Diff<U> | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, resource, silenceMs } = this.#options;
    const [least, most] = this.#options.watchSeconds ?? WATCH_SECONDS;
    return client.watch(
      resource,
      {
        ...this.#selection,
        resourceVersion: version,
        sendInitialEvents: diff !== undefined,
        timeoutSeconds: Math.round(least + (most - least) * this.#random()),
        silenceMs: silenceMs ?? SILENCE_MS,
      },
      (event) => this.#onEvent(event, diff),
      signal,
    );
  }

  get #selection(): Selection {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return { namespace, labelSelector, fieldSelector };
  }

  #onEvent(event: WatchEvent<T>, diff: Diff<U> | undefined): void {
    this.#touch();
    const { metadata } = event.object;
    const version = metadata.resourceVersion ?? "";
    if (event.type === "BOOKMARK") {
      if (diff?.open) {
        if (metadata.annotations?.[INITIAL_EVENTS_END] !== "true") throw new NoStreamingList();
        this.#finishList(diff, version);
        return;
      }
      this.#advance(version);
      return;
    }
    if (event.type === "DELETED") this.#remove(objectKey(event.object), diff);
    else this.#upsert(this.#trim(event.object), diff);
    if (!diff?.open) this.#advance(version);
  }

  #advance(version: string): void {
    if (this.#resourceVersion !== undefined && isOlder(version, this.#resourceVersion))
      throw new HistoryChanged();
    if (version === "") return;
    this.#resourceVersion = version;
    this.#advances++;
  }

  #finishList(diff: Diff<U>, version: string): void {
    for (const key of diff.unseen(this.#store)) this.#remove(key, undefined);
    diff.close();
    this.#resourceVersion = version;
    this.#logger.debug("listed", { objects: this.#store.size, resourceVersion: version });
    if (this.#hasSynced) return;
    this.#hasSynced = true;
    this.#synced.resolve(undefined);
  }

  #trim(object: T): U {
    const trim = this.#options.trim ?? (trimMetadata as unknown as (object: T) => U);
    return trim(object);
  }

  #upsert(object: U, diff: Diff<U> | undefined): void {
    const key = objectKey(object);
    if (diff?.open) diff.see(key);
    const previous = this.#store.get(key);
    // After a restore of etcd the same version can be another content: compare all of it. Equal
    // versions outside of a list are the same event twice.
    if (previous && isSame(previous, object, diff?.open === true)) return;
    this.#store.set(object);
    this.#report(
      previous ? { type: "updated", key, object, previous } : { type: "added", key, object },
    );
  }

  #remove(key: Key, diff: Diff<U> | undefined): void {
    diff?.unsee(key);
    const previous = this.#store.delete(key);
    if (previous) this.#report({ type: "deleted", key, object: previous, previous });
  }

  #report(change: Change<U>): void {
    for (const handler of this.#handlers) this.#tell(handler, change);
  }

  #tell(handler: ChangeHandler<U>, change: Change<U>): void {
    try {
      handler(change);
    } catch (error) {
      this.#instruments.handlerErrors();
      this.#logger.error("change handler threw", {
        change: change.type,
        object: change.key,
        error,
      });
    }
  }

  /** Before the first contact: since the process started, nearly. */
  #secondsSinceContact(): number {
    return (this.#clock.monotonicMs() - (this.#lastContactMs ?? 0)) / 1000;
  }

  #touch(): void {
    this.#lastContactMs = this.#clock.monotonicMs();
  }
}

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** Drops `managedFields` and kubectl's copy of the last applied object. */
export function trimMetadata<T extends KubernetesObject>(object: T): T {
  const metadata = omit(object.metadata, "managedFields");
  if (!metadata.annotations) return { ...object, metadata };
  return {
    ...object,
    metadata: { ...metadata, annotations: omit(metadata.annotations, LAST_APPLIED) },
  };
}

function omit<O extends object>(from: O, field: string): O {
  if (!(field in from)) return from;
  return Object.fromEntries(Object.entries(from).filter(([name]) => name !== field)) as O;
}

/** The keys that one list has seen. */
class Diff<U extends KubernetesObject> {
  #seen: Set<Key> | undefined = new Set();

  get open(): boolean {
    return this.#seen !== undefined;
  }

  get size(): number {
    return this.#seen?.size ?? 0;
  }

  see(key: Key): void {
    this.#seen?.add(key);
  }

  unsee(key: Key): void {
    this.#seen?.delete(key);
  }

  unseen(store: Store<U, string>): Key[] {
    return [...store.keys()].filter((key) => !this.#seen?.has(key));
  }

  close(): void {
    this.#seen = undefined;
  }
}

function isSame(
  previous: KubernetesObject,
  object: KubernetesObject,
  thoroughly: boolean,
): boolean {
  const a = previous.metadata;
  const b = object.metadata;
  if (a.uid !== b.uid || a.resourceVersion !== b.resourceVersion) return false;
  return !thoroughly || isDeepStrictEqual(previous, object);
}

interface Instruments {
  listed(reason: RelistReason): void;
  ended(reason: WatchEnd): void;
  handlerErrors(): void;
}

function instruments(metrics: Metrics, plural: string): Instruments {
  const resource = [plural];
  const lists = metrics.counter("reflector_lists_total", "Lists of a resource, by why.", {
    resource,
    reason: RELIST_REASONS,
  });
  const ends = metrics.counter("reflector_watch_ends_total", "Watches that ended, by how.", {
    resource,
    reason: WATCH_ENDS,
  });
  const errors = metrics.counter("reflector_handler_errors_total", "Change handlers that threw.", {
    resource,
  });
  return {
    listed: (reason) => lists.inc({ resource: plural, reason }),
    ended: (reason) => ends.inc({ resource: plural, reason }),
    handlerErrors: () => errors.inc({ resource: plural }),
  };
}
