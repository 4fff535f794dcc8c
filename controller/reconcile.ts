/**
 * The shell round {@link Convergence}: what reflectors see goes in, what it decides is written out.
 * It exists only while this process leads; a stand-by keeps its reflectors warm and nothing else.
 *
 * Events only mark; all that came in one turn of the event loop is decided together. Workers then
 * write one Service each, on top of the version that was decided upon: a write that lost a race is
 * refused by the API server, and the newer version is decided anew.
 */
import type { EventRecorder } from "../kubernetes/events.ts";
import type { Client } from "../kubernetes/client.ts";
import { sleep, type Clock, type Timer } from "../kubernetes/clock.ts";
import { hasCode } from "../kubernetes/errors.ts";
import type { Logger } from "../kubernetes/logging.ts";
import type { ReconcileContext, ReconcileResult } from "../kubernetes/reconciler.ts";
import type { Change, Reflector } from "../kubernetes/reflector.ts";
import {
  ADDRESS_POOLS,
  SERVICES,
  type KubernetesObject,
  type Namespace,
  type Resource,
  type Service,
} from "../kubernetes/resources.ts";
import { formatKey, parseKey } from "../kubernetes/store.ts";
import type { WorkQueue } from "../kubernetes/work-queue.ts";
import type { AddressPool } from "../api/address-pool.ts";
import { formatTime } from "../api/condition.ts";
import type { ServiceL2Status } from "../api/service-l2-status.ts";
import { announcementOf, reportOf, type Announcement, type Report } from "./announced.ts";
import type { Configuration } from "./configuration.ts";
import { Convergence } from "./convergence.ts";
import type { ControllerMetrics } from "./metrics.ts";
import { differs, poolStatus } from "./pool-status.ts";
import { Quarantine } from "./quarantine.ts";
import { publishedBy, type Decision } from "./service.ts";
import { changeOf, type ServiceEvent } from "./status.ts";
import {
  trimService,
  type TrimmedL2Status,
  type TrimmedPool,
  type TrimmedService,
} from "./trim.ts";

/** Index of ServiceL2Status objects by the key of their Service. */
export const BY_SERVICE = "service";

/** What the controller watches. */
export interface Reflectors {
  readonly services: Reflector<Service, TrimmedService>;
  readonly pools: Reflector<AddressPool, TrimmedPool>;
  readonly l2Statuses: Reflector<ServiceL2Status, TrimmedL2Status, typeof BY_SERVICE>;
  readonly namespaces: Reflector<Namespace, KubernetesObject>;
}

/** What the shell works with. */
export interface LeaderOptions {
  readonly reflectors: Reflectors;
  /** Writes only while we lead. */
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  /** Keys are Services. */
  readonly services: WorkQueue;
  /** Keys are names of pools. */
  readonly pools: WorkQueue;
  readonly namespace: string;
}

/** Of a pool only the status is written. */
const POOL_STATUS: Resource<KubernetesObject> = ADDRESS_POOLS;
/** While an address is not announced, this often somebody is told. */
const REMINDER_MS = 30 * 60_000;
/** Counts of a pool are written at most this often. */
const POOL_STATUS_MS = 1_000;
/** API servers give up a request after a minute (`--request-timeout`). */
const REQUEST_LIFETIME_MS = 65_000;
/** A safety net under the watch, after a write that lost a race. */
const RACE_RETRY_MS = 1_000;

/** How often is looked whether all Services have been told of the end. */
const FAREWELL_LOOK_MS = 20;

const NOTHING_SAID: Report = { conflicts: [], announced: [] };

const UNINSTALLED: Announcement = {
  status: "False",
  reason: "Uninstalled",
  message: "MetalLB was uninstalled, and nobody announces the address any more",
};

/** The controller while it leads. */
export class Leader {
  readonly #options: LeaderOptions;
  readonly #convergence = new Convergence();
  readonly #quarantine = new Quarantine();
  /** For Services whose own last writes the watch has not brought back yet: the versions before them. */
  readonly #outrun = new Map<string, Set<string>>();
  /** Since when it is open what became of a write. */
  readonly #uncertain = new Map<string, number>();
  /** When to tell again that an address is not announced, the next one first. */
  readonly #reminders = new Map<string, number>();
  readonly #unsubscribe: (() => void)[] = [];
  #configured = false;
  #uninstalled = false;
  /** Services that have not been told yet that everything is being uninstalled. */
  readonly #untold = new Set<string>();
  #settling: Timer | undefined;
  #waking: Timer | undefined;
  #showing: Timer | undefined;
  #reminding: Timer | undefined;

  /** Nothing happens before {@link Leader.configure}. */
  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  /** The state of all Services; for metrics and tests. */
  get convergence(): Convergence {
    return this.#convergence;
  }

  /**
   * Takes a configuration. With the first one everything that the reflectors know is taken too: all
   * holders are known before anybody new is served.
   */
  configure(configuration: Configuration): void {
    const { pools, loadBalancerClass } = configuration;
    const { reflectors } = this.#options;
    this.#convergence.configure(pools, loadBalancerClass);
    if (!this.#configured) {
      this.#configured = true;
      const { services, pools: poolObjects, l2Statuses, namespaces } = reflectors;
      // What is told at once was so before we led.
      let isNews = false;
      this.#unsubscribe.push(
        namespaces.onChange((change) => this.#onNamespace(change)),
        poolObjects.onChange((change) => this.#onPool(change)),
        l2Statuses.onChange((change) => this.#onL2Status(change, isNews)),
        services.onChange((change) => this.#onService(change)),
      );
      isNews = true;
    } else {
      // Strangers of the old class may be ours now.
      for (const service of reflectors.services.store.values()) this.#observe(service);
    }
    this.#onPoolNames();
    this.#schedule();
  }

  /** Says on every Service that nobody announces it any more. */
  uninstall(): void {
    if (this.#uninstalled) return;
    this.#uninstalled = true;
    this.#settle();
    for (const key of this.#convergence.keys()) {
      this.#untold.add(key);
      this.#options.services.add(key);
    }
  }

  /** Takes back what {@link Leader.uninstall} said. */
  reinstall(): void {
    if (!this.#uninstalled) return;
    this.#uninstalled = false;
    this.#untold.clear();
    for (const key of this.#convergence.keys()) this.#options.services.add(key);
  }

  /** Waits until every Service has been told of the end. Resolves early when the signal aborts. */
  async farewell(signal: AbortSignal): Promise<void> {
    while (this.#untold.size > 0 && !signal.aborted) {
      await sleep(this.#options.clock, FAREWELL_LOOK_MS, signal).catch(() => undefined);
    }
  }

  /** Takes no more notice of anything. */
  close(): void {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    this.#settling?.cancel();
    this.#waking?.cancel();
    this.#showing?.cancel();
    this.#reminding?.cancel();
  }

  /** Makes one Service what was decided. */
  async reconcileService(
    key: string,
    { logger }: ReconcileContext,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    // What was decided for another version of it may be wrong for this one.
    if (this.#convergence.isDue(key)) this.#settle();
    const service = this.#convergence.service(key);
    const decision = this.#convergence.decision(key);
    if (service === undefined || decision === undefined) {
      this.#untold.delete(key);
      return undefined;
    }
    const announcement = this.#announcement(key, decision);
    const change = changeOf(
      service,
      decision,
      announcement,
      new Date(this.#options.clock.wallMs()),
    );
    if (change === undefined && this.#convergence.isUncertain(key)) {
      return this.#findOut(key, service, signal);
    }
    this.#uncertain.delete(key);
    if (change === undefined) this.#untold.delete(key);
    else {
      this.#convergence.beginWrite(key, this.#now());
      const written = await this.#write(key, change.patch, signal);
      // Somebody was faster; the watch brings what they did.
      if (written === undefined) return { requeueAfterMs: RACE_RETRY_MS };
      this.#takeNewer(written, service.metadata.resourceVersion);
      if (announcement === UNINSTALLED) this.#untold.delete(key);
      for (const event of change.events) this.#tell(written, event);
      logger.info("service written", {
        service: key,
        reason: decision.reason,
        addresses: decision.granted?.addresses ?? [],
        pool: decision.granted?.pool,
        announced: announcement.reason,
      });
    }
    this.#remind(key, decision, announcement);
    return undefined;
  }

  /** Writes how a pool stands. */
  async reconcilePool(
    name: string,
    _context: ReconcileContext,
    signal: AbortSignal,
  ): Promise<undefined> {
    const { client, namespace, reflectors } = this.#options;
    const observed = reflectors.pools.store.get(formatKey(name, namespace));
    if (observed === undefined) return undefined;
    const status = poolStatus(name, this.#convergence.allocator, this.#quarantine);
    if (!differs(observed.status, status)) return undefined;
    const { uid } = observed.metadata;
    const metadata = { name, namespace, ...(uid !== undefined && { uid }) };
    try {
      await client.applyStatus(POOL_STATUS, { metadata, status }, {}, signal);
    } catch (error) {
      // Deleted, or deleted and made again: the watch says so next.
      if (!hasCode(error, "NotFound", "Conflict")) throw error;
    }
    return undefined;
  }

  /**
   * Clears up what became of a write whose answer never came, when there is nothing more to write: once
   * the server can have it no more, a patch of nothing tells whether the version is still the same.
   */
  async #findOut(
    key: string,
    { metadata }: Pick<TrimmedService, "metadata">,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    const since = this.#uncertain.get(key) ?? this.#now();
    this.#uncertain.set(key, since);
    const leftMs = since + REQUEST_LIFETIME_MS - this.#now();
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    const { resourceVersion, uid } = metadata;
    if ((await this.#write(key, { metadata: { resourceVersion, uid } }, signal)) === undefined) {
      return { requeueAfterMs: RACE_RETRY_MS };
    }
    this.#uncertain.delete(key);
    this.#convergence.endWrite(key, this.#now());
    this.#schedule();
    return undefined;
  }

  /** Gives the version that the API server has now, undefined when another one was there before. */
  async #write(
    key: string,
    patch: object,
    signal: AbortSignal,
  ): Promise<TrimmedService | undefined> {
    const { name, namespace } = parseKey(key);
    const { client } = this.#options;
    try {
      const options = { subresource: "status" };
      const written = await client.patch(SERVICES, { name, namespace }, patch, options, signal);
      return trimService(written);
    } catch (error) {
      if (hasCode(error, "Conflict", "NotFound")) return undefined;
      throw error;
    }
  }

  /** Takes what a write on top of version `base` answered, unless the watch was faster. */
  #takeNewer(written: TrimmedService, base: string | undefined): void {
    if (!this.#convergence.observeWritten(written, base, this.#now())) return;
    if (base !== undefined) this.#outrunOf(keyOfObject(written)).add(base);
    this.#schedule();
  }

  #onService({ type, key, object }: Change<TrimmedService>): void {
    if (type === "deleted") {
      this.#outrun.delete(key);
      this.#reminders.delete(key);
      this.#uncertain.delete(key);
      this.#untold.delete(key);
      this.#convergence.forget(key, this.#now());
      this.#schedule();
      return;
    }
    // What the watch brings late is older than what our own write answered.
    if (this.#isOutrun(key, object)) return;
    this.#outrun.delete(key);
    this.#observe(object);
    this.#schedule();
  }

  #outrunOf(key: string): Set<string> {
    const known = this.#outrun.get(key);
    if (known !== undefined) return known;
    const bases = new Set<string>();
    this.#outrun.set(key, bases);
    return bases;
  }

  #isOutrun(key: string, { metadata }: TrimmedService): boolean {
    return this.#outrun.get(key)?.has(metadata.resourceVersion ?? "") === true;
  }

  #observe(service: TrimmedService): void {
    if (this.#isOutrun(keyOfObject(service), service)) return;
    this.#convergence.observe(service, this.#now());
  }

  #onNamespace({ type, object }: Change<KubernetesObject>): void {
    const labels = type === "deleted" ? undefined : (object.metadata.labels ?? {});
    this.#convergence.setNamespaceLabels(object.metadata.name, labels);
    this.#schedule();
  }

  #onPool({ type, object }: Change<TrimmedPool>): void {
    const { name } = object.metadata;
    this.#quarantine.list(name, type === "deleted" ? [] : (object.status?.quarantined ?? []));
    if (type !== "updated") this.#onPoolNames();
    this.#options.pools.addAfter(name, POOL_STATUS_MS);
    this.#schedule();
  }

  /** Pools that exist as objects without being in effect. */
  #onPoolNames(): void {
    const inEffect = new Set(this.#convergence.allocator.pools.map(({ name }) => name));
    const names = [...this.#options.reflectors.pools.store.values()].map(
      ({ metadata }) => metadata.name,
    );
    this.#convergence.setInvalidPools(new Set(names.filter((name) => !inEffect.has(name))));
  }

  #onL2Status({ type, object, previous }: Change<TrimmedL2Status>, isNews: boolean): void {
    for (const { status } of [object, previous ?? object]) {
      if (status === undefined) continue;
      this.#options.services.add(formatKey(status.serviceName, status.serviceNamespace));
    }
    const said = previous === undefined ? NOTHING_SAID : reportOf(previous);
    const says = type === "deleted" ? NOTHING_SAID : reportOf(object);
    this.#quarantine.report(said, says, isNews);
    this.#schedule();
  }

  #readConflicts(): void {
    const now = formatTime(new Date(this.#options.clock.wallMs()));
    if (this.#quarantine.settle(now)) {
      this.#convergence.setQuarantined(this.#quarantine.addresses);
    }
  }

  #announcement(key: string, decision: Decision): Announcement {
    if (this.#uninstalled) return UNINSTALLED;
    const { store } = this.#options.reflectors.l2Statuses;
    const statuses = store.byIndex(BY_SERVICE, key);
    return announcementOf(decision.granted?.addresses ?? [], statuses);
  }

  /** Decides at the end of this turn of the event loop, once for all that comes in until then. */
  #schedule(): void {
    if (!this.#configured) return;
    this.#settling ??= this.#options.clock.setTimer(0, () => {
      this.#settling = undefined;
      this.#settle();
    });
  }

  #settle(): void {
    this.#readConflicts();
    const decided = this.#convergence.settle(this.#now());
    // Whoever waits for an address is not to wait until all who have theirs were looked at.
    const waits = (key: string) => {
      const service = this.#convergence.service(key);
      return service !== undefined && publishedBy(service).length === 0;
    };
    for (const key of decided) if (waits(key)) this.#options.services.add(key);
    for (const key of decided) this.#options.services.add(key);
    this.#wakeLater();
    this.#showing ??= this.#options.clock.setTimer(POOL_STATUS_MS, () => {
      this.#showing = undefined;
      this.#show();
    });
  }

  /** Counts go out at most once a second, however much happens. */
  #show(): void {
    const { pools, metrics, reflectors } = this.#options;
    // Also a pool that is in effect no more has counts to take back.
    for (const { metadata } of reflectors.pools.store.values()) pools.add(metadata.name);
    metrics.show(this.#convergence);
  }

  /** An address that has rested long enough is news too. */
  #wakeLater(): void {
    this.#waking?.cancel();
    const at = this.#convergence.wakeAt(this.#now());
    if (at === undefined) return;
    this.#waking = this.#options.clock.setTimer(Math.max(1, at - this.#now()), () => {
      this.#schedule();
    });
  }

  /** Tells of an address that is not announced, now and then, for as long as it is not. */
  #remind(key: string, { granted }: Decision, announcement: Announcement): void {
    if (granted === undefined || announcement.status === "True" || this.#uninstalled) {
      this.#reminders.delete(key);
      return;
    }
    const now = this.#now();
    const due = this.#reminders.get(key);
    if (due !== undefined && now < due) return;
    const service = this.#convergence.service(key);
    if (due !== undefined && service !== undefined) {
      const { message } = announcement;
      this.#tell(service, { type: "Warning", reason: "announceFailed", message });
    }
    // Behind all others, so that the first one is always the next.
    this.#reminders.delete(key);
    this.#reminders.set(key, now + REMINDER_MS);
    this.#remindLater();
  }

  /** One timer for all: there may be ten thousand of them. */
  #remindLater(): void {
    const [next] = this.#reminders.values();
    if (next === undefined || this.#reminding !== undefined) return;
    this.#reminding = this.#options.clock.setTimer(Math.max(1, next - this.#now()), () => {
      this.#reminding = undefined;
      for (const [key, due] of this.#reminders) {
        if (due > this.#now()) break;
        this.#options.services.add(key);
      }
      // Whoever is due is put behind when its turn comes; until then look again after a while.
      this.#reminding = this.#options.clock.setTimer(RACE_RETRY_MS, () => {
        this.#reminding = undefined;
        this.#remindLater();
      });
    });
  }

  #tell({ metadata }: Pick<TrimmedService, "metadata">, event: ServiceEvent): void {
    const { type, reason, message } = event;
    // No more than that: thousands of events may be waiting, and should not keep thousands of Services.
    const { name, namespace, uid } = metadata;
    const identity = {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
    };
    const regarding = { apiVersion: "v1", kind: "Service", metadata: identity };
    this.#options.events.record({ regarding, type, reason, note: message });
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }
}

function keyOfObject({ metadata }: Pick<TrimmedService, "metadata">): string {
  return formatKey(metadata.name, metadata.namespace);
}
