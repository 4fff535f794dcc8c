/**
 * One process of the controller: what it watches, its configuration, and its turn to lead.
 *
 * Of several replicas one leads; the others watch along and take over. Whoever begins to lead starts
 * with an empty book, so that there is one way only to come to know who holds what.
 */
import type { OwnerReference } from "../api/object.ts";
import { METALLB_NAME } from "../api/metallb.ts";
import { CONFIG_NAME } from "../api/rendered-config.ts";
import type { ServiceL2Status } from "../api/service-l2-status.ts";
import { backoffMs, SERVER_BACKOFF } from "../kubernetes/backoff.ts";
import { isAborted, sleep } from "../kubernetes/clock.ts";
import { describeError, hasCode } from "../kubernetes/errors.ts";
import { EventRecorder } from "../kubernetes/events.ts";
import { LeaderElector } from "../kubernetes/lease.ts";
import type { Program } from "../kubernetes/program.ts";
import { runReconciler, type Reconcile } from "../kubernetes/reconciler.ts";
import { isOlder } from "../kubernetes/reflector-policy.ts";
import { Reflector } from "../kubernetes/reflector.ts";
import {
  ADDRESS_POOLS,
  CONFIG_MAPS,
  METALLBS,
  NAMESPACES,
  SERVICE_L2_STATUSES,
  SERVICES,
  type ConfigMap,
} from "../kubernetes/resources.ts";
import { formatKey, objectKey } from "../kubernetes/store.ts";
import { WorkQueue } from "../kubernetes/work-queue.ts";
import { readConfiguration, type Configuration } from "./configuration.ts";
import type { Environment } from "./environment.ts";
import { ControllerMetrics } from "./metrics.ts";
import { BY_SERVICE, Leader, type Reflectors } from "./reconcile.ts";
import {
  trimL2Status,
  trimNamespace,
  trimPool,
  trimService,
  type TrimmedL2Status,
} from "./trim.ts";

/** Name of the Lease. */
export const LEASE = "metallb-controller";
/** The name in `reportingController` of events, as MetalLB has it. */
const REPORTER = "metallb-controller";
/**
 * Short enough for a stand-by to take over within 5 s: it sees a renewal within a quarter of a second,
 * and 4 s later that there was no other. Looking costs a read; renewals are writes, one in 2 s at most.
 */
const LEASE_TIMES = {
  leaseDurationMs: 4_000,
  renewDeadlineMs: 3_800,
  retryPeriodMs: 2_000,
  standbyPeriodMs: 200,
};
/** Writes under way at once. */
const WORKERS = 32;
/** What each step of an ordinary end may take. */
const FINISH_MS = 4_000;
/** How often, and how many times, a store that is behind is looked at before the server is asked again. */
const CATCH_UP = { intervalMs: 50, looks: 20 };

interface Leadership {
  readonly leader: Leader;
  readonly queues: readonly WorkQueue[];
  /** Resolves when the last write is through. */
  done: Promise<unknown>;
}

/** One process of the controller. */
export class Replica {
  readonly #program: Program;
  readonly #namespace: string;
  readonly #metrics: ControllerMetrics;
  readonly #reflectors: Reflectors;
  readonly #configMaps: Reflector<ConfigMap>;
  readonly #elector: LeaderElector;
  readonly #events: EventRecorder;
  readonly #configured = Promise.withResolvers<undefined>();
  #configuration: Configuration | undefined;
  #refused: string | undefined;
  /** The last good one, in effect or soon. */
  #newest: ConfigMap | undefined;
  /** The MetalLB object, by which the configuration and the Lease go. */
  #owner: OwnerReference | undefined;
  /** The MetalLB object is gone, and we are about to follow. */
  #uninstalled = false;
  #namespacesSynced: Promise<void> | undefined;
  #leadership: Leadership | undefined;

  /** Nothing happens before {@link Replica.start}. */
  constructor(program: Program, { namespace, podName }: Environment) {
    const { client, logger, metrics } = program;
    const common = { client, logger, metrics };
    this.#program = program;
    this.#namespace = namespace;
    this.#metrics = new ControllerMetrics(metrics);
    this.#reflectors = makeReflectors(program, namespace);
    this.#configMaps = new Reflector({
      ...common,
      resource: CONFIG_MAPS,
      namespace,
      fieldSelector: `metadata.name=${CONFIG_NAME}`,
    });
    this.#elector = new LeaderElector({
      ...common,
      // With a row of slow writes before it, a renewal would come too late.
      client: client.urgent(),
      ...LEASE_TIMES,
      name: LEASE,
      namespace,
      owner: () => this.#owner,
      // A container that restarts in its pod goes on as the same contender, without waiting.
      ...(podName !== undefined && { identity: podName }),
    });
    this.#events = new EventRecorder({
      ...common,
      reportingController: REPORTER,
      reportingInstance: podName ?? this.#elector.identity,
    });
  }

  /** Starts everything; resolves when all caches have synced. */
  async start(): Promise<void> {
    const { probes, shutdown } = this.#program;
    probes?.add("readyz", { name: "configuration", check: () => this.#unconfigured() });
    this.#configMaps.onChange(({ type, object }) => {
      this.#owner = ownerOf(object);
      if (type === "deleted") void this.#onConfigurationGone();
      else void this.#take(object);
    });
    const { services, pools, l2Statuses } = this.#reflectors;
    const synced = this.#program.reflect(this.#configMaps, services, pools, l2Statuses);
    this.#program.keep("leader", (signal) => this.#contend(synced, signal));
    shutdown.add("services", (signal) => this.#finish(signal));
    shutdown.add("events", (signal) => this.#inTime(this.#events.close(), signal));
    await synced;
  }

  /** Gone together with the MetalLB object that it belongs to, or only for a moment. */
  async #onConfigurationGone(): Promise<void> {
    const { logger, signal } = this.#program;
    this.#uninstalled = await this.#isUninstalled(signal);
    if (this.#uninstalled) {
      logger.info("MetalLB is being uninstalled; every Service is told");
      this.#leadership?.leader.uninstall();
    } else logger.warn("configuration is gone; the last one stays in effect");
  }

  #unconfigured(): string | undefined {
    return this.#configuration === undefined ? (this.#refused ?? "not yet read") : undefined;
  }

  /** Takes a configuration into effect; whatever that waits for ends with the program. */
  async #take(object: ConfigMap): Promise<void> {
    const { signal } = this.#program;
    try {
      await this.#read(object);
    } catch (error) {
      if (!isAborted(signal)) throw error;
    }
  }

  async #read(object: ConfigMap): Promise<void> {
    const { data } = object;
    const { logger } = this.#program;
    const read = readConfiguration(data);
    if (!read.ok) {
      this.#refused = read.message;
      this.#metrics.configuration("refused");
      const { message } = read;
      logger.error("configuration refused; the last good one stays in effect", { reason: message });
      return;
    }
    this.#newest = object;
    if (read.value.needsNamespaces) {
      this.#namespacesSynced ??= this.#program.reflect(this.#reflectors.namespaces);
      await this.#namespacesSynced;
    }
    // Whoever installs again while we are about to go has us back.
    if (this.#uninstalled) this.#uninstalled = await this.#isUninstalled(this.#program.signal);
    // While this one waited, a newer one came.
    if (this.#newest !== object) return;
    this.#configuration = read.value;
    this.#metrics.configuration("taken");
    logger.setLevel(read.value.logLevel);
    logger.info("configuration taken", { pools: read.value.pools.map(({ name }) => name) });
    this.#configured.resolve(undefined);
    this.#leadership?.leader.configure(read.value);
    if (!this.#uninstalled) this.#leadership?.leader.reinstall();
  }

  /** Leads whenever it may. A lost lease ends a leadership, not the process. */
  async #contend(synced: Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#program.shutdown.signal.aborted) {
      try {
        await this.#elector.run((leading) => this.#lead(synced, leading), signal);
      } catch (error) {
        if (!hasCode(error, "NotLeading")) throw error;
        this.#program.logger.info("no longer leading");
      }
    }
  }

  async #lead(synced: Promise<void>, signal: AbortSignal): Promise<void> {
    try {
      await unlessAborted(Promise.all([synced, this.#configured.promise]), signal);
      await this.#catchUp(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const { clock, logger, metrics } = this.#program;
    const services = new WorkQueue({ name: "services", metrics });
    const pools = new WorkQueue({ name: "pools", metrics });
    const leader = new Leader({
      reflectors: this.#reflectors,
      client: this.#program.client.guarded(() => this.#elector.assertLeading()),
      clock,
      logger,
      events: this.#events,
      metrics: this.#metrics,
      services,
      pools,
      namespace: this.#namespace,
    });
    const work = (name: string, queue: WorkQueue, workers: number, reconcile: Reconcile) =>
      runReconciler({ name, queue, workers, reconcile, logger, metrics }, signal);
    const done = Promise.all([
      work("services", services, WORKERS, (...args) =>
        this.#metrics.counted(() => leader.reconcileService(...args)),
      ),
      work("pools", pools, 2, (...args) =>
        this.#metrics.counted(() => leader.reconcilePool(...args)),
      ),
    ]);
    this.#leadership = { leader, queues: [services, pools], done };
    if (this.#configuration !== undefined) leader.configure(this.#configuration);
    if (this.#uninstalled) leader.uninstall();
    try {
      await done;
    } finally {
      this.#leadership = undefined;
      leader.close();
      // What a queue has put off for later would keep all of this leadership alive.
      for (const queue of [services, pools]) void queue.drain();
    }
  }

  /** Lets the writes under way finish, so that nothing is left half done when the lease goes. */
  async #finish(signal: AbortSignal): Promise<void> {
    if (this.#leadership === undefined) return;
    const { leader, queues, done } = this.#leadership;
    this.#uninstalled = await this.#isUninstalled(signal);
    // There may be ten thousand Services, and nobody after us who could tell them.
    if (this.#uninstalled) {
      leader.uninstall();
      await leader.farewell(signal);
    }
    for (const queue of queues) queue.close();
    await this.#inTime(done, signal);
  }

  /** Waits as long as is decent at an ordinary end; at the end of everything for as long as there is. */
  async #inTime(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
    if (this.#uninstalled) {
      await work;
      return;
    }
    const within = AbortSignal.any([signal, AbortSignal.timeout(FINISH_MS)]);
    try {
      await unlessAborted(work, within);
    } catch (error) {
      if (!within.aborted) throw error;
    }
  }

  /**
   * Tells whether the installation that we are a part of is on its way out: we are the last one left
   * who may write to Services. The configuration belongs to the MetalLB object; a configuration that
   * somebody deleted, or one that belongs to nobody, is no sign of that.
   */
  async #isUninstalled(until: AbortSignal): Promise<boolean> {
    const { client, logger } = this.#program;
    const namespace = this.#namespace;
    const signal = AbortSignal.any([until, AbortSignal.timeout(FINISH_MS)]);
    try {
      const config = await client.get(CONFIG_MAPS, { name: CONFIG_NAME, namespace }, signal);
      const owner = config && ownerOf(config);
      if (config !== undefined && owner === undefined) return false;
      const metallb = await client.get(METALLBS, { name: METALLB_NAME, namespace }, signal);
      if (metallb === undefined || metallb.metadata.deletionTimestamp !== undefined) return true;
      return owner !== undefined && owner.uid !== metallb.metadata.uid;
    } catch (error) {
      logger.warn("not found out whether MetalLB is being uninstalled", { error });
      return this.#uninstalled;
    }
  }

  /**
   * Waits until the store is as new as the API server is now. A stand-by's watch may lag behind the
   * last writes of the leader before, and an address that it gave away must not be given again.
   */
  async #catchUp(signal: AbortSignal): Promise<void> {
    const { client, clock, logger } = this.#program;
    const { store } = this.#reflectors.services;
    const behind = new Map<string, string>();
    const isBehind = (key: string, version: string): boolean => {
      const known = store.get(key)?.metadata.resourceVersion;
      return known === undefined || isOlder(known, version);
    };
    for (let failures = 0; ;) {
      behind.clear();
      try {
        for await (const { items } of client.metadataPages(SERVICES, {}, undefined, signal)) {
          for (const item of items) {
            const [key, version] = [objectKey(item), item.metadata.resourceVersion ?? ""];
            if (isBehind(key, version)) behind.set(key, version);
          }
        }
      } catch (error) {
        if (isAborted(signal)) throw error;
        // A server that is just coming back; who ended now would have to read everything anew.
        const delayMs = backoffMs(SERVER_BACKOFF, ++failures, Math.random());
        logger.warn("Services could not be listed", { error: describeError(error), delayMs });
        await sleep(clock, delayMs, signal);
        continue;
      }
      for (let look = 0; behind.size > 0 && look < CATCH_UP.looks; look++) {
        logger.debug("waiting for the watch of Services", { behind: behind.size });
        await sleep(clock, CATCH_UP.intervalMs, signal);
        for (const [key, version] of behind) if (!isBehind(key, version)) behind.delete(key);
      }
      // What is still missing may have been deleted meanwhile: then the next list lacks it.
      if (behind.size === 0) return;
    }
  }
}

/** The MetalLB object that an object belongs to; to belong to it blocks nothing. */
function ownerOf({ metadata }: ConfigMap): OwnerReference | undefined {
  const owner = metadata.ownerReferences?.find(({ kind }) => kind === METALLBS.kind);
  if (owner === undefined) return undefined;
  const { apiVersion, kind, name, uid } = owner;
  return { apiVersion, kind, name, uid };
}

function makeReflectors({ client, logger, metrics }: Program, namespace: string): Reflectors {
  const common = { client, logger, metrics };
  return {
    services: new Reflector({ ...common, resource: SERVICES, trim: trimService }),
    pools: new Reflector({ ...common, resource: ADDRESS_POOLS, namespace, trim: trimPool }),
    l2Statuses: new Reflector<ServiceL2Status, TrimmedL2Status, typeof BY_SERVICE>({
      ...common,
      resource: SERVICE_L2_STATUSES,
      namespace,
      trim: trimL2Status,
      indexes: { [BY_SERVICE]: serviceOf },
    }),
    namespaces: new Reflector({ ...common, resource: NAMESPACES, trim: trimNamespace }),
  };
}

function serviceOf({ status }: TrimmedL2Status): string[] {
  return status === undefined ? [] : [formatKey(status.serviceName, status.serviceNamespace)];
}

/** @throws the signal's reason when it aborts first. */
async function unlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
