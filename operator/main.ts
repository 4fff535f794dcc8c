/** The operator: one MetalLB object and its pools in, a running MetalLB out. */
import { isDeepStrictEqual } from "node:util";
import dotI, { type ResourceEvent } from "@dot-i/k8s-operator";
import { OperatorError } from "../kubernetes/errors.ts";
import { LeaderElector } from "../kubernetes/lease.ts";
import { runProgram, type Program } from "../kubernetes/program.ts";
import { runReconciler } from "../kubernetes/reconciler.ts";
import { Reflector, type Change, type ReflectorOptions } from "../kubernetes/reflector.ts";
import {
  ADDRESS_POOLS,
  CONFIG_MAPS,
  DAEMON_SETS,
  DEPLOYMENTS,
  METALLBS,
  NAMESPACES,
  NODES,
  PODS,
  SECRETS,
  SPEAKER_STATUSES,
  type KubernetesObject,
  type Resource,
} from "../kubernetes/resources.ts";
import { WorkQueue } from "../kubernetes/work-queue.ts";
import packageJson from "../package.json" with { type: "json" };
import { FIELD_MANAGER } from "./desired/ownership.ts";
import { SPEAKER_KEY_NAME } from "./desired/speaker-key.ts";
import { readEnvironment, type Environment } from "./environment.ts";
import { findImages } from "./image.ts";
import { KEY, OperatorReconciler, type World } from "./reconcile.ts";
import { trimDaemonSet, trimNode, trimPod } from "./trim.ts";
import { serveWebhook } from "./webhook.ts";

/** Name of the Lease that decides which of several operators works. */
const LEASE = "metallb-operator";

/**
 * The program on the base class of `@dot-i/k8s-operator`: its `start` calls `init`, which asks for
 * the watches. The watch itself is ours: the base class's has no list, loses deletions and ends the
 * process at any error. Its finalizer and status helpers are not used: there is nothing to finalize,
 * and status is written by server-side apply.
 */
class MetalLBOperator extends dotI.default {
  readonly #program: Program;
  readonly #environment: Environment;
  readonly #queue: WorkQueue;
  readonly #world: World;
  readonly #reflectors = new Map<string, Reflector<KubernetesObject>>();
  #reconciler: OperatorReconciler | undefined;

  constructor(program: Program, environment: Environment) {
    super(program.logger);
    this.#program = program;
    this.#environment = environment;
    this.#queue = new WorkQueue({ name: "operator", metrics: program.metrics });
    const { namespace } = environment;
    this.#world = {
      metallbs: this.#reflector(METALLBS).store,
      pools: this.#reflector(ADDRESS_POOLS).store,
      configMaps: this.#reflector(CONFIG_MAPS, { namespace }).store,
      deployments: this.#reflector(DEPLOYMENTS, { namespace }).store,
      // In all namespaces: another program that announces addresses is found by its DaemonSet.
      daemonSets: this.#reflector(DAEMON_SETS, { trim: trimDaemonSet(namespace) }).store,
      secrets: this.#reflector(SECRETS, {
        namespace,
        fieldSelector: `metadata.name=${SPEAKER_KEY_NAME}`,
      }).store,
      pods: this.#reflector(PODS, { namespace, labelSelector: "app=metallb", trim: trimPod }).store,
      nodes: this.#reflector(NODES, { trim: trimNode }).store,
      namespaces: this.#reflector(NAMESPACES, { fieldSelector: `metadata.name=${namespace}` })
        .store,
      speakerStatuses: this.#reflector(SPEAKER_STATUSES, { namespace }).store,
    };
  }

  /** Stops taking up work; what runs for ever ends with the program. */
  override stop(): void {
    this.#queue.close();
  }

  protected override async init(): Promise<void> {
    const wake = (_event: ResourceEvent): Promise<void> => {
      this.#queue.add(KEY);
      return Promise.resolve();
    };
    const { namespace } = this.#environment;
    const watched: readonly Resource<KubernetesObject>[] = [
      ...[METALLBS, ADDRESS_POOLS],
      ...[CONFIG_MAPS, DEPLOYMENTS, DAEMON_SETS, SECRETS, PODS],
      ...[NODES, NAMESPACES, SPEAKER_STATUSES],
    ];
    await Promise.all(
      watched.map(({ group, version, plural }) => this.watchResource(group, version, plural, wake)),
    );
    const { client, logger, metrics } = this.#program;
    const { webhook } = this.#environment;
    if (webhook !== undefined) await serveWebhook(this.#program, webhook, namespace, this.#world);
    const elector = new LeaderElector({
      client: client.urgent(),
      name: LEASE,
      namespace,
      logger,
      metrics,
    });
    this.#program.keep("leader election", (signal) => this.#takePart(elector, signal));
  }

  /** Watches by one of our reflectors, which know their namespace. Resolves when all is listed. */
  protected override async watchResource(
    group: string,
    version: string,
    plural: string,
    onEvent: (event: ResourceEvent) => Promise<void>,
  ): Promise<void> {
    const reflector = this.#reflectors.get(plural);
    if (reflector === undefined) throw new TypeError(`nothing reflects ${plural}`);
    const apiVersion = group === "" ? version : `${group}/${version}`;
    reflector.onChange((change) => {
      if (isHeartbeat(change)) return;
      void onEvent(eventOf(`${plural}.${apiVersion}`, change));
    });
    await this.#program.reflect(reflector);
  }

  #reflector<T extends KubernetesObject>(
    resource: Resource<T>,
    options: Partial<
      Pick<ReflectorOptions<T, T, string>, "namespace" | "fieldSelector" | "labelSelector" | "trim">
    > = {},
  ): Reflector<T> {
    const { client, logger, metrics } = this.#program;
    const reflector = new Reflector<T>({ client, resource, ...options, logger, metrics });
    this.#reflectors.set(resource.plural, reflector as unknown as Reflector<KubernetesObject>);
    return reflector;
  }

  /** Whoever loses the lease, as when the API server is away for long, stands for it again. */
  async #takePart(elector: LeaderElector, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await elector.run((leading) => this.#lead(elector, leading), signal);
      } catch (error) {
        if (!(error instanceof OperatorError) || error.code !== "NotLeading") throw error;
        // What others did meanwhile is unknown: what was applied is looked at anew.
        this.#reconciler = undefined;
      }
    }
  }

  async #lead(elector: LeaderElector, signal: AbortSignal): Promise<void> {
    const { logger, metrics } = this.#program;
    const client = this.#program.client.guarded(() => elector.assertLeading());
    this.#queue.add(KEY);
    await runReconciler(
      {
        name: "operator",
        queue: this.#queue,
        logger,
        metrics,
        reconcile: async (_key, context, own) => {
          this.#reconciler ??= new OperatorReconciler({
            client,
            world: this.#world,
            namespace: this.#environment.namespace,
            version: packageJson.version,
            images: await findImages(client, this.#environment, own),
            now: () => new Date(),
          });
          return this.#reconciler.reconcile(context, own);
        },
      },
      signal,
    );
  }
}

/** Tells whether nothing changed that is kept of an object, as with the heartbeats of a Node. */
function isHeartbeat({ type, object, previous }: Change<KubernetesObject>): boolean {
  if (type !== "updated") return false;
  const kept = ({ metadata, ...rest }: KubernetesObject): object => {
    return { ...rest, metadata: { ...metadata, resourceVersion: "" } };
  };
  return isDeepStrictEqual(kept(object), kept(previous));
}

/** A change in the base class's words. */
function eventOf(id: string, { type, object }: Change<KubernetesObject>): ResourceEvent {
  const { name, namespace, resourceVersion = "" } = object.metadata;
  const { apiVersion = "", kind = "" } = object;
  const types = dotI.ResourceEventType;
  return {
    type: { added: types.Added, updated: types.Modified, deleted: types.Deleted }[type],
    meta: {
      id,
      name,
      ...(namespace !== undefined && { namespace }),
      resourceVersion,
      apiVersion,
      kind,
    },
    // The same JSON; the client's type would have times as Date.
    object: object as unknown as ResourceEvent["object"],
  };
}

const environment = readEnvironment(process.env);
if (environment.ok) {
  const { logLevel, probePort } = environment.value;
  // One name for all applies, whatever the program is called.
  const client = { program: FIELD_MANAGER };
  await runProgram({ name: "operator", logLevel, probePort, client }, async (program) => {
    const operator = new MetalLBOperator(program, environment.value);
    program.shutdown.add("operator", () => operator.stop());
    await operator.start();
  });
} else {
  process.stderr.write(`error: ${environment.faults.join("; ")}\n`);
  process.exitCode = 2;
}
