/** Sees by watches, so to the millisecond, what becomes of what the benchmark does. */
import { createClient, type Client } from "../../kubernetes/client.ts";
import { Reflector } from "../../kubernetes/reflector.ts";
import {
  ADDRESS_POOLS,
  CONFIG_MAPS,
  DAEMON_SETS,
  DEPLOYMENTS,
  METALLBS,
  PODS,
  SERVICE_L2_STATUSES,
  type KubernetesObject,
  type Resource,
} from "../../kubernetes/resources.ts";
import { PRODUCT_NAMESPACE } from "../../tests/cluster/product.ts";
import { waitFor } from "../../tests/cluster/wait.ts";
import { POOL, POOL_NAME } from "./objects.ts";

/** Without the Secret: a new key makes the speakers get to know each other anew. */
const CHILDREN: readonly (readonly [Resource<KubernetesObject>, string])[] = [
  [CONFIG_MAPS, "config"],
  [DEPLOYMENTS, "controller"],
  [DAEMON_SETS, "speaker"],
];
const LIMIT_SECONDS = 120;

/** Watches the product's namespace as administrator. */
export class Observer implements AsyncDisposable {
  readonly #client: Client;
  readonly #abort = new AbortController();
  readonly #stores = new Map<string, Reflector<KubernetesObject>>();

  private constructor(client: Client) {
    this.#client = client;
  }

  /** Starts it and waits until all is listed. */
  static async start(kubeconfig: string): Promise<Observer> {
    const observer = new Observer(await createClient({ program: "bench", kubeconfig }));
    const watched = [
      ...CHILDREN.map(([resource]) => resource),
      ...[METALLBS, ADDRESS_POOLS, SERVICE_L2_STATUSES, PODS],
    ];
    for (const resource of watched) await observer.#watch(resource);
    return observer;
  }

  async #watch(resource: Resource<KubernetesObject>): Promise<void> {
    const client = this.#client;
    const reflector = new Reflector<KubernetesObject>({
      client,
      resource,
      namespace: PRODUCT_NAMESPACE,
    });
    void reflector.run(this.#abort.signal);
    await reflector.synced();
    this.#stores.set(resource.plural, reflector);
  }

  #get<T extends KubernetesObject>({ plural }: Resource<T>, name: string): T | undefined {
    return this.#stores.get(plural)?.store.get(`${PRODUCT_NAMESPACE}/${name}`) as T | undefined;
  }

  #all<T extends KubernetesObject>({ plural }: Resource<T>): T[] {
    return [...(this.#stores.get(plural)?.store.values() ?? [])] as T[];
  }

  async #timed(what: string, holds: () => boolean): Promise<number> {
    const sinceMs = performance.now();
    await waitFor(what, LIMIT_SECONDS, holds, 2);
    return performance.now() - sinceMs;
  }

  #is(type: string, status: string): boolean {
    const { status: seen } = this.#get(METALLBS, "metallb") ?? {};
    return seen?.conditions?.some((each) => each.type === type && each.status === status) ?? false;
  }

  /** Milliseconds from now, when the object has just been applied, to Available. */
  async available(): Promise<number> {
    return await this.#timed("Available", () => this.#is("Available", "True"));
  }

  /**
   * Deletes each child; milliseconds from its disappearance until it is there anew. The pods of a program
   * are left alone: Kubernetes' garbage collector lets go of them first, which is no time of ours.
   */
  async deleteAndAwait(): Promise<number[]> {
    const times: number[] = [];
    for (const [resource, name] of CHILDREN) {
      const old = this.#get(resource, name)?.metadata.uid;
      const metadata = { name, namespace: PRODUCT_NAMESPACE };
      const propagation = resource === CONFIG_MAPS ? "Background" : "Orphan";
      await this.#client.delete(resource, metadata, { propagation });
      const uid = (): string | undefined => this.#get(resource, name)?.metadata.uid;
      await this.#timed(`${resource.kind} ${name} gone`, () => uid() !== old);
      const isNew = (): boolean => uid() !== undefined && uid() !== old;
      times.push(await this.#timed(`${resource.kind} ${name} restored`, isNew));
    }
    return times;
  }

  /** Tells whether every program runs an image (whatever it is without one) and all is rolled out. */
  isSettled(image?: string): boolean {
    const pods = this.#all(PODS);
    const fits = pods.every(
      ({ spec, status, metadata }) =>
        metadata.deletionTimestamp === undefined &&
        (image === undefined || spec?.containers[0]?.image === image) &&
        status?.conditions?.some((each) => each.type === "Ready" && each.status === "True"),
    );
    return pods.length === 5 && fits && this.#is("Progressing", "False");
  }

  /** Name of the pod of the operator that stays. */
  operatorPod(): string {
    const found = this.#all(PODS).find(
      ({ metadata }) =>
        metadata.name.startsWith("metallb-operator-controller-manager-") &&
        metadata.deletionTimestamp === undefined,
    );
    return found?.metadata.name ?? "";
  }

  /** How many pools are valid. */
  countPools(): number {
    return this.#all(ADDRESS_POOLS).filter(({ status }) =>
      status?.conditions?.some((each) => each.type === "Valid" && each.status === "True"),
    ).length;
  }

  /**
   * Edits the pool of the Service: one address more and no node that may announce, or back. The
   * controller has it when it counts the addresses anew, the speakers when they say so of the Service.
   */
  async editAndAwait(away: boolean): Promise<number> {
    const addresses = away ? ["172.30.9.0", "172.30.9.1"] : ["172.30.9.0"];
    const nowhere = [{ matchLabels: { "bench.example/node": "none" } }];
    const spec = { ...POOL.spec, addresses, ...(away && { nodeSelectors: nowhere }) };
    const metadata = { name: POOL_NAME, namespace: PRODUCT_NAMESPACE };
    await this.#client.apply(ADDRESS_POOLS, { metadata, spec }, { fieldManager: "kubectl" });
    const has = (): boolean => {
      const free = this.#get(ADDRESS_POOLS, POOL_NAME)?.status?.availableIPv4;
      const said = this.#all(SERVICE_L2_STATUSES).flatMap((each) => each.status?.addresses ?? []);
      const announced = said.some(({ reason }) => reason === "Announced");
      return free === (away ? 1 : 0) && announced !== away;
    };
    return await this.#timed("the edit in both programs", has);
  }

  /** Ends the watches. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    this.#client.close();
    return Promise.resolve();
  }
}
