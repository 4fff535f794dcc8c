/** The controller as a process of its own against a control plane, under its own rights. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Condition } from "../../api/condition.ts";
import { formatRenderedConfig, type PoolConfig } from "../../api/rendered-config.ts";
import { NAMESPACE, renderedConfig } from "../support/builders.ts";
import type { ControlPlane } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";

const TREE = join(import.meta.dirname, "../..");

/** Installs what the controller needs: kinds, namespace, account, rights. */
export async function installController(plane: ControlPlane): Promise<void> {
  await plane.kubectl("apply", "-f", join(TREE, "config/namespace/namespace.yaml"));
  await plane.kubectl("apply", "-k", join(TREE, "config/crd"));
  await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
  await plane.kubectl("apply", "-f", join(TREE, "config/rbac/controller.yaml"));
}

/** How to start a controller. */
export interface ControllerOptions {
  /** Name of its pod: its name among contenders. */
  readonly pod?: string;
}

/** A running controller. End it with `await using`. */
export class ControllerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (octets: Buffer) => this.#lines.push(octets.toString()));
    }
  }

  /** Starts the controller with the rights of `config/rbac/controller.yaml`. */
  static async start(
    plane: ControlPlane,
    { pod = "controller-0" }: ControllerOptions = {},
  ): Promise<ControllerProcess> {
    const kubeconfig = await plane.kubeconfigFor(NAMESPACE, "controller");
    const child = spawn(process.execPath, [join(TREE, "controller/main.ts")], {
      env: {
        PATH: process.env["PATH"],
        KUBECONFIG: kubeconfig,
        POD_NAMESPACE: NAMESPACE,
        POD_NAME: pod,
        PROBE_PORT: "0",
        METRICS_PORT: "0",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return new ControllerProcess(child);
  }

  /** What it printed. */
  get output(): string {
    return this.#lines.join("");
  }

  /** Process id. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits until it leads. */
  async leading(): Promise<void> {
    await eventually(() => this.output.includes('"leading"'), { deadlineMs: 60_000 });
  }

  /** Ends it: SIGTERM lets it release its lease, SIGKILL does not. @returns the exit code */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, "exit");
      this.#child.kill(signal);
      await exit;
    }
    return this.#child.exitCode;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** An event as a test looks at it. */
export interface SeenEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly name: string };
  readonly series?: { readonly count: number };
}

/** A Service as a test looks at it. */
export interface SeenService {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly type: string;
    readonly clusterIP: string;
    readonly loadBalancerIP?: string;
    readonly ports?: readonly { readonly port: number }[];
  };
  readonly status: {
    readonly loadBalancer: { readonly ingress?: readonly { readonly ip?: string }[] };
    readonly conditions?: readonly Condition[];
  };
}

const SERVICE_DEFAULTS = {
  type: "LoadBalancer",
  // The range of node ports has 2,768; tests want more Services than that.
  allocateLoadBalancerNodePorts: false,
  selector: { app: "web" },
  ports: [{ name: "http", port: 80 }],
};

/** What a test does as a user of the cluster. */
export class User {
  readonly #plane: ControlPlane;

  constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  /** Writes the rendered configuration as the operator would; with an owner, its uid is given. */
  async configure(
    pools: readonly PoolConfig[],
    loadBalancerClass = "",
    ownerUid?: string,
  ): Promise<void> {
    const config = formatRenderedConfig(
      renderedConfig(pools, { "load-balancer-class": loadBalancerClass }),
    );
    await this.#call("PATCH", `/api/v1/namespaces/${NAMESPACE}/configmaps/config${APPLY}`, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        name: "config",
        namespace: NAMESPACE,
        ...(ownerUid !== undefined && { ownerReferences: [{ ...OWNER, uid: ownerUid }] }),
      },
      data: { config },
    });
  }

  /** Makes the MetalLB object. @returns its uid */
  async install(): Promise<string> {
    const metadata = { name: OWNER.name, namespace: NAMESPACE };
    const { apiVersion, kind } = OWNER;
    const made = await this.#call("POST", METALLBS, { apiVersion, kind, metadata, spec: {} });
    return (made as SeenService).metadata.uid;
  }

  /** Gives the uid of the MetalLB object. */
  async uidOfInstallation(): Promise<string> {
    const found = await this.#call("GET", `${METALLBS}/${OWNER.name}`);
    return (found as SeenService).metadata.uid;
  }

  /** Deletes the MetalLB object; without controllers nothing goes with it. */
  async uninstall(): Promise<void> {
    await this.#call("DELETE", `${METALLBS}/${OWNER.name}`);
  }

  /** Makes an AddressPool object; its spec plays no part. */
  async createPool(name: string, addresses: readonly string[]): Promise<void> {
    await this.#call("POST", POOLS, {
      apiVersion: "metallb.io/v1beta1",
      kind: "AddressPool",
      metadata: { name, namespace: NAMESPACE },
      spec: { protocol: "layer2", addresses },
    });
  }

  /** Reads the status of an AddressPool. */
  async poolStatus(name: string): Promise<Readonly<Record<string, unknown>>> {
    const pool = (await this.#call("GET", `${POOLS}/${name}`)) as { status?: object };
    return (pool.status ?? {}) as Readonly<Record<string, unknown>>;
  }

  /** Makes a namespace. */
  async createNamespace(
    name: string,
    labels: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await this.#call("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels },
    });
  }

  /** Makes a Service of type LoadBalancer with one TCP port. */
  async createService(
    namespace: string,
    name: string,
    spec: object = {},
    metadata: object = {},
  ): Promise<SeenService> {
    return (await this.#call("POST", `/api/v1/namespaces/${namespace}/services`, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace, ...metadata },
      spec: { ...SERVICE_DEFAULTS, ...spec },
    })) as SeenService;
  }

  /** Changes a Service by a merge patch, its status when `subresource` says so. */
  async patchService(
    namespace: string,
    name: string,
    patch: object,
    subresource = "",
  ): Promise<SeenService> {
    const path = `/api/v1/namespaces/${namespace}/services/${name}${subresource}`;
    return (await this.#call("PATCH", path, patch, "application/merge-patch+json")) as SeenService;
  }

  /** Deletes a Service. */
  async deleteService(namespace: string, name: string): Promise<void> {
    await this.#call("DELETE", `/api/v1/namespaces/${namespace}/services/${name}`);
  }

  /** Reads a Service. */
  async service(namespace: string, name: string): Promise<SeenService> {
    const path = `/api/v1/namespaces/${namespace}/services/${name}`;
    return (await this.#call("GET", path)) as SeenService;
  }

  /** Reads all Services of a namespace. */
  async services(namespace: string): Promise<readonly SeenService[]> {
    const path = `/api/v1/namespaces/${namespace}/services`;
    return ((await this.#call("GET", path)) as { items: SeenService[] }).items;
  }

  /** Waits until a Service has addresses that satisfy, and gives them. */
  async addresses(
    namespace: string,
    name: string,
    satisfy: (addresses: readonly string[]) => boolean = (addresses) => addresses.length > 0,
  ): Promise<readonly string[]> {
    return eventually(
      async () => {
        const found = addressesOf(await this.service(namespace, name));
        if (!satisfy(found)) throw new Error(`${namespace}/${name} has ${found.join(", ")}`);
        return found;
      },
      { deadlineMs: 30_000 },
    );
  }

  /** Waits until a condition of a Service has a reason, and gives the condition. */
  async condition(
    namespace: string,
    name: string,
    type: string,
    reason: string,
  ): Promise<Condition> {
    return eventually(
      async () => {
        const found = (await this.service(namespace, name)).status.conditions ?? [];
        const condition = found.find((each) => each.type === type);
        if (condition?.reason !== reason) throw new Error(JSON.stringify(found));
        return condition;
      },
      { deadlineMs: 30_000 },
    );
  }

  /** Lists the events about a Service: reason and note. */
  async events(namespace: string, name: string): Promise<readonly SeenEvent[]> {
    const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
    const { items } = (await this.#call("GET", path)) as { items: SeenEvent[] };
    return items.filter(({ regarding }) => regarding.name === name);
  }

  /** Reports an observation about an address of a Service, as a speaker does. */
  async report(namespace: string, name: string, node: string, observation: object): Promise<void> {
    const object = {
      apiVersion: "metallb.io/v1beta1",
      kind: "ServiceL2Status",
      metadata: { name: `${namespace}-${name}-${node}`, namespace: NAMESPACE },
    };
    const path = `${L2_STATUSES}/${object.metadata.name}`;
    const status = {
      node,
      serviceName: name,
      serviceNamespace: namespace,
      addresses: [observation],
    };
    await this.#call("PATCH", `${path}${APPLY}`, { ...object, spec: {} });
    await this.#call("PATCH", `${path}/status${APPLY}`, { ...object, status });
  }

  /** Sends any other request. @throws when the answer is no success */
  async request(method: Method, path: string, body?: object, type?: string): Promise<unknown> {
    return this.#call(method, path, body, type);
  }

  async #call(method: Method, path: string, body?: object, type?: string): Promise<unknown> {
    const contentType =
      type ?? (path.includes(APPLY) ? "application/apply-patch+yaml" : "application/json");
    const content = body === undefined ? {} : { body, contentType };
    const answer = await this.#plane.call({ method, path, ...content });
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    return answer.body;
  }
}

const APPLY = "?fieldManager=test&force=true";
const METALLBS = `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/metallbs`;
/** Path of the reports of speakers. */
export const L2_STATUSES = `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/servicel2statuses`;
const OWNER = { apiVersion: "metallb.io/v1beta1", kind: "MetalLB", name: "metallb" };
const POOLS = `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/addresspools`;

/** The addresses that a Service shows. */
export function addressesOf(service: SeenService): readonly string[] {
  return (service.status.loadBalancer.ingress ?? []).flatMap(({ ip }) => ip ?? []);
}
