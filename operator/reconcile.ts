/**
 * The shell round the decisions: reads the stores, asks the pure parts, applies, reports. There is
 * one key, since every pool and every child bears on the one configuration and the one status.
 */
import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { V1DaemonSet } from "@kubernetes/client-node";
import type { AddressPool } from "../api/address-pool.ts";
import { formatFault } from "../api/fault.ts";
import { METALLB_NAME, validateMetalLB, type MetalLB } from "../api/metallb.ts";
import { CONFIG_NAME, type PoolConfig } from "../api/rendered-config.ts";
import type { SpeakerStatus, SpeakerStatusStatus } from "../api/speaker-status.ts";
import type { Client } from "../kubernetes/client.ts";
import { describeError, retryability } from "../kubernetes/errors.ts";
import type { ReconcileContext, ReconcileResult } from "../kubernetes/reconciler.ts";
import {
  ADDRESS_POOLS,
  CONFIG_MAPS,
  DAEMON_SETS,
  DEPLOYMENTS,
  METALLBS,
  SECRETS,
  type ConfigMap,
  type DaemonSet,
  type Deployment,
  type Namespace,
  type Node,
  type Pod,
  type Secret,
} from "../kubernetes/resources.ts";
import { formatKey, type Store } from "../kubernetes/store.ts";
import { ChildApplier, observedChild, type Child } from "./apply.ts";
import {
  compilePools,
  desiredConfig,
  NO_REBALANCE,
  type PoolVerdict,
  type RebalanceRecord,
} from "./config.ts";
import { acceptedConfig, configMap } from "./desired/config-map.ts";
import { CONTROLLER_NAME, controllerDeployment } from "./desired/controller.ts";
import { ADOPT_ANNOTATION, HASH_ANNOTATION, isOurs } from "./desired/ownership.ts";
import type { ObservedObject, Rendered } from "./desired/plain.ts";
import { chooseImages, type Images } from "./desired/pod.ts";
import {
  presentKeys,
  SPEAKER_KEY_LENGTH,
  SPEAKER_KEY_NAME,
  speakerKey,
} from "./desired/speaker-key.ts";
import { SPEAKER_NAME, speakerDaemonSet } from "./desired/speaker.ts";
import { findHindrances } from "./hindrance.ts";
import { laggards, nextKeys, ROTATE_KEY_ANNOTATION, type RotationFacts } from "./key-rotation.ts";
import { preflight, type PreflightFacts } from "./preflight.ts";
import { leftovers } from "./prune.ts";
import { nextRebalance, REBALANCE_ANNOTATION } from "./rebalance.ts";
import { StatusWriter } from "./report.ts";
import {
  controllerReadiness,
  ineffectiveStatus,
  metallbStatus,
  misplaced,
  poolStatus,
  speakerReadiness,
  type PoolObservation,
  type Suspension,
  type Trouble,
} from "./status.ts";

import { SurroundingsReader, type Surroundings } from "./surroundings.ts";

/** The only key of the operator's queue. */
export const KEY = METALLB_NAME;

/** How soon to look again when the watch does not show yet what was applied. */
const UNSEEN_AGAIN_MS = 1_000;
/** How soon to try again what the API server refuses: a policy of the cluster may be mended. */
const REFUSED_AGAIN_MS = 30_000;

/** What the operator watches: the two kinds of its users everywhere, its children at home. */
export interface World {
  readonly metallbs: Store<MetalLB>;
  readonly pools: Store<AddressPool>;
  readonly configMaps: Store<ConfigMap>;
  readonly deployments: Store<Deployment>;
  /** Of all namespaces; those of others for their images alone. */
  readonly daemonSets: Store<DaemonSet>;
  /** Only the one with the speakers' key. */
  readonly secrets: Store<Secret>;
  /** Those of our programs. */
  readonly pods: Store<Pod>;
  readonly nodes: Store<Node>;
  /** Only the operator's. */
  readonly namespaces: Store<Namespace>;
  readonly speakerStatuses: Store<SpeakerStatus>;
}

/** What a reconciliation works with. */
export interface ReconcileOptions {
  readonly client: Client;
  readonly world: World;
  /** The operator's namespace, where everything lives. */
  readonly namespace: string;
  /** Version of the operator. */
  readonly version: string;
  readonly images: Images;
  readonly now: () => Date;
}

/** Makes the cluster as the MetalLB object and the pools want it. Lives as long as we lead. */
export class OperatorReconciler {
  readonly #options: ReconcileOptions;
  readonly #applier: ChildApplier;
  readonly #statuses: StatusWriter;
  readonly #surroundings: SurroundingsReader;
  /** Objects elsewhere, by uid: up to which generation they were told that they do not count. */
  readonly #told = new Map<string, number>();
  /** The pools in effect; undefined until they are read back from the ConfigMap. */
  #accepted: readonly PoolConfig[] | undefined;
  #rebalance: RebalanceRecord = NO_REBALANCE;
  /** For where there is none yet, or a new one is asked for; the same until the watch shows it. */
  #freshKey = newKey();

  /** Does nothing before {@link reconcile}, which wants the stores to be synced. */
  constructor(options: ReconcileOptions) {
    this.#options = options;
    this.#applier = new ChildApplier(options.client);
    this.#statuses = new StatusWriter(options.client);
    this.#surroundings = new SurroundingsReader(options.client, options.now);
  }

  /** @throws what failed, after all else has been done. */
  async reconcile(context: ReconcileContext, signal: AbortSignal): Promise<ReconcileResult> {
    const { world, namespace } = this.#options;
    const metallbs = [...world.metallbs.values()].filter(isLive);
    const pools = [...world.pools.values()].filter(isLive);
    const installation = metallbs.find((each) => !misplaced(each, namespace, METALLB_NAME));
    const ownPools = pools.filter((pool) => !misplaced(pool, namespace));

    const accepted = this.#accepted ?? this.#readBack();
    const { pools: compiled, verdicts } = compilePools(ownPools, accepted);
    const isPaused = installation?.spec.paused ?? false;
    this.#accepted = installation === undefined ? compiled : accepted;

    const failures = new Failures();
    const children =
      installation === undefined || isPaused ? [] : this.#children(installation, compiled);
    let lookAgainMs: number | undefined;
    if (installation !== undefined) {
      const { troubles, isConfigured } = await this.#render(
        installation,
        children,
        failures,
        context,
        signal,
      );
      // What could not be written is not in effect, whoever is in the way.
      if (isConfigured) this.#accepted = compiled;
      lookAgainMs = await this.#reportInstallation(installation, troubles, failures, signal);
    }
    const suspension = installation === undefined ? "uninstalled" : isPaused ? "paused" : undefined;
    const observations = observePools(verdicts, this.#accepted);
    this.#forgetTold([...metallbs, ...pools]);
    await Promise.all([
      ...metallbs.map((each) => failures.collect(this.#reportMisplaced(each, signal))),
      ...pools.map((pool) => {
        const lost = misplaced(pool, namespace);
        if (lost !== undefined && !this.#mayTell(pool)) return undefined;
        const seen = lost
          ? { ...lost, inEffect: undefined, asWritten: false }
          : observations.get(pool.metadata.name);
        return failures.collect(
          this.#reportPool(pool, seen, lost ? undefined : suspension, signal),
        );
      }),
    ]);
    failures.throwRetryable();
    if (failures.any) return { requeueAfterMs: REFUSED_AGAIN_MS };
    const unseen = children.some((child) => observedChild(child) === undefined);
    const waits = [
      ...(unseen ? [UNSEEN_AGAIN_MS] : []),
      ...(lookAgainMs === undefined ? [] : [lookAgainMs]),
    ];
    return waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : {};
  }

  #readBack(): readonly PoolConfig[] {
    const { world, namespace } = this.#options;
    const observed = world.configMaps.get(formatKey(CONFIG_NAME, namespace));
    const config = acceptedConfig(observed);
    this.#rebalance = config?.rebalance ?? NO_REBALANCE;
    return config?.["address-pools"] ?? [];
  }

  #children(installation: MetalLB, pools: readonly PoolConfig[]): Child[] {
    const { configMaps, deployments, daemonSets, secrets } = this.#options.world;
    const { namespace } = this.#options;
    const present = presentKeys(secrets.get(formatKey(SPEAKER_KEY_NAME, namespace)));
    if ([present?.current, present?.next].includes(this.#freshKey)) this.#freshKey = newKey();
    const key = speakerKey(installation, nextKeys(present, this.#rotationFacts(installation)));
    const images = chooseImages(installation.spec, this.#options.images);
    const controller = controllerDeployment(installation, images.controller);
    const speaker = speakerDaemonSet(installation, images.speaker);
    this.#rebalance = nextRebalance(this.#rebalance, {
      mode: installation.spec.rebalance,
      finishedRollout: this.#finishedRollout(speaker),
      request: installation.metadata.annotations?.[REBALANCE_ANNOTATION],
    });
    const config = configMap(
      installation,
      desiredConfig(installation.spec, pools, this.#rebalance),
    );
    return [
      { resource: CONFIG_MAPS, store: configMaps, desired: config },
      // before the speakers, which mount it
      { resource: SECRETS, store: secrets, desired: key },
      { resource: DEPLOYMENTS, store: deployments, desired: controller },
      { resource: DAEMON_SETS, store: daemonSets, desired: speaker },
    ];
  }

  #rotationFacts({ metadata }: MetalLB): RotationFacts {
    return {
      request: metadata.annotations?.[ROTATE_KEY_ANNOTATION],
      ...this.#speakers(),
      fresh: this.#freshKey,
    };
  }

  /** What the speakers say of their nodes, and how many of them there should be. */
  #speakers() {
    const { world, namespace } = this.#options;
    const daemonSet = ours(world.daemonSets.get(formatKey(SPEAKER_NAME, namespace)));
    return {
      speakers: newestOfNodes([...world.speakerStatuses.values()]),
      expectedSpeakers: daemonSet?.status?.desiredNumberScheduled,
    };
  }

  /** Names what the speakers run, once all of them run what is desired. */
  #finishedRollout(desired: Rendered<V1DaemonSet>): string | undefined {
    const { world, namespace } = this.#options;
    const observed = ours(world.daemonSets.get(formatKey(SPEAKER_NAME, namespace)));
    const hash = (object: ObservedObject): string | undefined =>
      object.metadata.annotations?.[HASH_ANNOTATION];
    if (observed === undefined || hash(observed) !== hash(desired)) return undefined;
    const { uid = "", generation = 0 } = observed.metadata;
    // A version that is taken back has moved addresses as well: the same content is another rollout.
    return speakerReadiness(observed).finished ? `${uid}/${generation}` : undefined;
  }

  /**
   * Applies every child, whatever becomes of the others, and removes leftovers.
   * @returns what stands in the way, and whether the configuration is as it is wanted
   */
  async #render(
    installation: MetalLB,
    children: readonly Child[],
    failures: Failures,
    { logger }: ReconcileContext,
    signal: AbortSignal,
  ): Promise<{ readonly troubles: Trouble[]; readonly isConfigured: boolean }> {
    let isConfigured = false;
    const faults = validateMetalLB(installation.spec);
    if (faults.length > 0) {
      const message = `${faults.map(formatFault).join("; ")}; what runs is left as it is`;
      return { troubles: [{ reason: "Invalid", message }], isConfigured };
    }
    const troubles: Trouble[] = [];
    if (installation.spec.paused) return { troubles, isConfigured };
    for (const child of children) {
      const { kind } = child.resource;
      const object = formatKey(child.desired.metadata.name, child.desired.metadata.namespace);
      try {
        const result = await this.#applier.apply(child, signal);
        if (result === "applied") logger.info("applied", { kind, child: object });
        if (result === "foreign") troubles.push(foreign(kind, object));
        else if (child.resource === CONFIG_MAPS) isConfigured = true;
      } catch (error) {
        failures.add(error);
        if (retryability(error) === "never")
          logger.error("apply refused", { kind, child: object, error });
        troubles.push({ reason: "ReconcileFailed", message: describeError(error) });
      }
    }
    await failures.collect(this.#prune(installation, children, logger, signal));
    return { troubles, isConfigured };
  }

  async #prune(
    { metadata }: MetalLB,
    children: readonly Child[],
    logger: ReconcileContext["logger"],
    signal: AbortSignal,
  ): Promise<void> {
    for (const { resource, store } of children) {
      const same = children.filter((child) => child.resource === resource);
      const desired = same.map((child) => child.desired.metadata.name);
      const here = [...store.values()].filter(
        (each) => each.metadata.namespace === metadata.namespace,
      );
      for (const left of leftovers(desired, here, metadata.uid ?? "")) {
        const { name, namespace, uid } = left.metadata;
        const options = uid === undefined ? {} : { uid };
        await this.#options.client.delete(resource, { name, namespace }, options, signal);
        logger.info("deleted what is no longer desired", { kind: resource.kind, child: name });
      }
    }
  }

  /** @returns when to look again, though nothing happens */
  async #reportInstallation(
    installation: MetalLB,
    troubles: readonly Trouble[],
    failures: Failures,
    signal: AbortSignal,
  ): Promise<number> {
    const { world, namespace, version, now } = this.#options;
    const images = chooseImages(installation.spec, this.#options.images);
    const pods = [...world.pods.values()];
    const controller = findHindrances(pods, "controller", now());
    const speaker = findHindrances(pods, "speaker", now());
    const findings = preflight({
      ...this.#preflightFacts(installation),
      ...(await this.#surroundings.read(signal)),
    });
    const observation = {
      generation: installation.metadata.generation,
      version,
      readiness: [
        controllerReadiness(ours(world.deployments.get(formatKey(CONTROLLER_NAME, namespace)))),
        speakerReadiness(ours(world.daemonSets.get(formatKey(SPEAKER_NAME, namespace)))),
      ],
      images: { controller: images.controller.name, speaker: images.speaker.name },
      troubles,
      hindrances: { controller: controller.found, speaker: speaker.found },
      findings,
      keyLaggards: laggards(
        presentKeys(world.secrets.get(formatKey(SPEAKER_KEY_NAME, namespace))) ?? {},
        this.#speakers(),
      ),
      paused: installation.spec.paused,
    };
    const conclude = (before: MetalLB["status"]) => metallbStatus(observation, before, now());
    await failures.collect(this.#statuses.write(METALLBS, installation, conclude, signal));
    const waits = [controller, speaker].flatMap(({ lookAgainMs }) => lookAgainMs ?? []);
    return Math.min(...waits, this.#surroundings.againMs);
  }

  #preflightFacts({ spec }: MetalLB): Omit<PreflightFacts, keyof Surroundings> {
    const { world, namespace } = this.#options;
    const daemonSets = [...world.daemonSets.values()];
    return {
      ignoreExcludeLoadBalancers: spec.ignoreExcludeLoadBalancers,
      namespace: world.namespaces.get(formatKey(namespace)),
      nodes: [...world.nodes.values()],
      ...this.#speakers(),
      programs: daemonSets.filter((each) => !isOurs(each)),
      pools: this.#accepted ?? [],
    };
  }

  /**
   * Tells whether an object that does not count here is to be told so: once for what it says now. Another
   * operator, for which it does count, may answer otherwise, and the two would overrule each other for ever.
   */
  #mayTell({ metadata }: MetalLB | AddressPool): boolean {
    if (metadata.namespace === this.#options.namespace) return true;
    const { uid = "", generation = 0 } = metadata;
    if ((this.#told.get(uid) ?? -1) >= generation) return false;
    this.#told.set(uid, generation);
    return true;
  }

  #forgetTold(objects: readonly (MetalLB | AddressPool)[]): void {
    const present = new Set(objects.map(({ metadata }) => metadata.uid));
    for (const uid of this.#told.keys()) if (!present.has(uid)) this.#told.delete(uid);
  }

  async #reportMisplaced(metallb: MetalLB, signal: AbortSignal): Promise<void> {
    const { namespace, now } = this.#options;
    const trouble = misplaced(metallb, namespace, METALLB_NAME);
    if (trouble === undefined || !this.#mayTell(metallb)) return;
    const { generation } = metallb.metadata;
    const conclude = (before: MetalLB["status"]) =>
      ineffectiveStatus(trouble, generation, before, now());
    await this.#statuses.write(METALLBS, metallb, conclude, signal);
  }

  async #reportPool(
    pool: AddressPool,
    seen: PoolObservation | undefined,
    suspension: Suspension | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (seen === undefined) return;
    const { generation } = pool.metadata;
    const { now } = this.#options;
    const conclude = (before: AddressPool["status"]) =>
      poolStatus(seen, suspension, generation, before, now());
    await this.#statuses.write(ADDRESS_POOLS, pool, conclude, signal);
  }
}

/** What is said of each node last: after a restart two speakers' words may stand side by side. */
function newestOfNodes(statuses: readonly SpeakerStatus[]): SpeakerStatusStatus[] {
  const made = ({ metadata }: SpeakerStatus): string => metadata.creationTimestamp ?? "";
  const sorted = statuses.toSorted((a, b) => (made(a) < made(b) ? -1 : 1));
  const byNode = new Map(sorted.flatMap(({ status }) => (status ? [[status.node, status]] : [])));
  return [...byNode.values()];
}

function newKey(): string {
  return randomBytes(SPEAKER_KEY_LENGTH).toString("base64");
}

/** An object that is being deleted counts as gone: what it owned must not be made again. */
function isLive({ metadata }: MetalLB | AddressPool): boolean {
  return metadata.deletionTimestamp === undefined;
}

/** What became of each pool, given what is in effect: less than was compiled while all is paused. */
function observePools(
  verdicts: readonly PoolVerdict[],
  inEffect: readonly PoolConfig[],
): Map<string, PoolObservation> {
  const forms = new Map(inEffect.map((form) => [form.name, form]));
  return new Map(
    verdicts.map(({ name, reason, message, inEffect: wanted }) => {
      const form = forms.get(name);
      const asWritten = reason === "Valid" && isDeepStrictEqual(form, wanted);
      return [name, { reason, message, inEffect: form?.addresses, asWritten }];
    }),
  );
}

/** The readiness of somebody else's pods says nothing about ours. */
function ours<T extends ObservedObject>(object: T | undefined): T | undefined {
  return object !== undefined && isOurs(object) ? object : undefined;
}

function foreign(kind: string, object: string): Trouble {
  const remedy = `delete it, or annotate it with ${ADOPT_ANNOTATION}=true to hand it over`;
  const message = `${kind} ${object} exists and is not ours, so it is left alone: ${remedy}`;
  return { reason: "ForeignObject", message };
}

/** Collects failures, so that one does not keep the rest from being done. */
class Failures {
  readonly #errors: unknown[] = [];

  add(error: unknown): void {
    this.#errors.push(error);
  }

  async collect(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.add(error);
    }
  }

  get any(): boolean {
    return this.#errors.length > 0;
  }

  /** Throws the failure that is to be retried soonest: it decides when everything is tried again. */
  throwRetryable(): void {
    const order = ["retry", "slowly"];
    const rank = (error: unknown): number => order.indexOf(retryability(error));
    const retryable = this.#errors.filter((error) => rank(error) >= 0);
    const [worst] = retryable.toSorted((a, b) => rank(a) - rank(b));
    // Our own fault or the API server's: what was thrown is thrown on, whatever it is.
    // eslint-disable-next-line @typescript-eslint/only-throw-error
    if (worst !== undefined) throw worst;
  }
}
