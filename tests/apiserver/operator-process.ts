/** The operator as a process of its own against a control plane, under its own rights. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Condition } from "../../api/condition.ts";
import { NAMESPACE } from "../support/builders.ts";
import type { ControlPlane } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";

const TREE = join(import.meta.dirname, "../..");
const POD = "metallb-operator-controller-manager-0";
/** Image of the operator, and so of the programs. */
export const IMAGE = "registry.example/metallb-operator:test";

/** Installs the operator as its users do. Nobody runs its Deployment here. */
export async function installOperator(plane: ControlPlane): Promise<void> {
  await plane.kubectl("apply", "-k", join(TREE, "config/default"));
  await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
  // The pod that the operator finds its image in; nobody runs it here.
  const container = { name: "operator", image: IMAGE, args: ["operator"] };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: POD, namespace: NAMESPACE },
    spec: { containers: [container], imagePullSecrets: [{ name: "pull" }] },
  };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  await plane.call({ method: "POST", path, body: pod });
}

/** A running operator. End it with `await using`. */
export class OperatorProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (octets: Buffer) => this.#lines.push(octets.toString()));
    }
  }

  /**
   * Starts the operator with the rights that `config/default` gives it.
   * @param variables more of its environment
   */
  static async start(
    plane: ControlPlane,
    variables: Readonly<Record<string, string>> = {},
  ): Promise<OperatorProcess> {
    const kubeconfig = await plane.kubeconfigFor(NAMESPACE, "metallb-operator");
    const child = spawn(process.execPath, [join(TREE, "operator/main.ts")], {
      env: {
        PATH: process.env["PATH"],
        KUBECONFIG: kubeconfig,
        POD_NAMESPACE: NAMESPACE,
        POD_NAME: POD,
        PROBE_PORT: "0",
        WEBHOOK_PORT: "0",
        ...variables,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return new OperatorProcess(child);
  }

  /** What it printed. */
  get output(): string {
    return this.#lines.join("");
  }

  /** Waits until it leads, and so works. */
  async leading(): Promise<void> {
    await eventually(
      () => {
        if (!this.output.includes('"leading"')) throw new Error(this.output.slice(-2_000));
      },
      { deadlineMs: 90_000 },
    );
  }

  /** Port of its webhook, once it listens. */
  async webhookPort(): Promise<number> {
    const port = await eventually(
      () => /"msg":"webhook".*"port":(\d+)/.exec(this.output)?.[1] ?? false,
      { deadlineMs: 60_000 },
    );
    return Number(port);
  }

  /** Exit code; null while it runs or when a signal ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode;
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

/** An object as a test looks at it. */
export interface Seen {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly uid: string; readonly kind: string }[];
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: { readonly conditions?: readonly Condition[] } & Readonly<
    Record<string, unknown>
  >;
}

/** Where the kinds of these tests are found. */
export const PATHS = {
  configmaps: "/api/v1",
  secrets: "/api/v1",
  deployments: "/apis/apps/v1",
  daemonsets: "/apis/apps/v1",
  metallbs: "/apis/metallb.io/v1beta1",
  addresspools: "/apis/metallb.io/v1beta1",
} as const;

/** A kind of these tests, by its plural. */
export type Plural = keyof typeof PATHS;

/** Requests as the administrator. */
export class Admin {
  readonly #plane: ControlPlane;

  constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  /** Reads an object. @throws when there is none */
  async get(plural: Plural, name: string, namespace = NAMESPACE): Promise<Seen> {
    const answer = await this.#plane.call({ method: "GET", path: path(plural, name, namespace) });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
    return answer.body as Seen;
  }

  /** Tells whether there is an object. */
  async has(plural: Plural, name: string): Promise<boolean> {
    const answer = await this.#plane.call({ method: "GET", path: path(plural, name) });
    return answer.status === 200;
  }

  /** Applies an object as kubectl would. */
  async apply(plural: Plural, object: object, namespace = NAMESPACE): Promise<Seen> {
    const { name } = (object as Seen).metadata;
    const query = "?fieldManager=kubectl&force=true";
    return this.#write("PATCH", path(plural, name, namespace) + query, object, "apply-patch+yaml");
  }

  /** Changes parts of an object, or of its status. */
  async patch(
    plural: Plural,
    name: string,
    change: object,
    status = false,
    namespace = NAMESPACE,
  ): Promise<Seen> {
    const at = path(plural, name, namespace) + (status ? "/status" : "");
    return this.#write("PATCH", at, change, "merge-patch+json");
  }

  /** Deletes an object; there may be none. */
  async delete(plural: Plural, name: string, namespace = NAMESPACE): Promise<void> {
    await this.#plane.call({ method: "DELETE", path: path(plural, name, namespace) });
  }

  /** Deletes the operator's Lease, as if it had run out. */
  async forgetLeader(): Promise<void> {
    const path = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/metallb-operator`;
    await this.#plane.call({ method: "DELETE", path });
  }

  /** Deletes all objects of a kind in the namespace. */
  async deleteAll(plural: Plural): Promise<void> {
    const at = `${PATHS[plural]}/namespaces/${NAMESPACE}/${plural}`;
    await this.#plane.call({ method: "DELETE", path: at });
  }

  async #write(method: "PATCH", at: string, body: object, type: string): Promise<Seen> {
    const contentType = `application/${type}`;
    const answer = await this.#plane.call({ method, path: at, body, contentType });
    if (answer.status > 201) throw new Error(JSON.stringify(answer.body));
    return answer.body as Seen;
  }
}

function path(plural: Plural, name: string, namespace = NAMESPACE): string {
  return `${PATHS[plural]}/namespaces/${namespace}/${plural}/${name}`;
}

/** The condition of a type; undefined when there is none. */
export function conditionOf(object: Seen, type: string): Condition | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type);
}
