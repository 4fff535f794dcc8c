/**
 * The cluster as tests hold it. Every fault that is made through a handle is undone when the handle
 * is disposed of, so that the next test finds the cluster whole.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AUDIT_LOG, down, kubectl, startControlPlaneProgram, up, type Report } from "./boot.ts";
import { processesIn } from "./cgroup.ts";
import { attempt, inNamespace, isRunning, run, shell, type Outcome } from "./command.ts";
import { createHost, removeHost, type LanHost } from "./lan.ts";
import {
  CONTROL_NAMESPACE,
  KUBECONFIG,
  nodeLayout,
  type ClusterOptions,
  type NodeLayout,
} from "./layout.ts";
import { addRoutes, killNode, nodeInit, startNode } from "./node-boot.ts";
import { readState, recordProcess, type ClusterState } from "./state.ts";
import { waitFor } from "./wait.ts";

/** A request as the API server's audit log has it (level Metadata). */
export interface AuditEvent {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly resource?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly subresource?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

const TABLE = "mlb_faults";

/** Runs an nft script in the LAN's namespace. */
async function nft(script: string): Promise<void> {
  await run(inNamespace(CONTROL_NAMESPACE, ["nft", "-f", "-"]), { input: script });
}

function state(): ClusterState {
  const found = readState();
  if (found === undefined) throw new Error("no cluster is up");
  return found;
}

/** One node of the cluster. */
export class ClusterNode {
  readonly layout: NodeLayout;

  constructor(layout: NodeLayout) {
    this.layout = layout;
  }

  /** The node's name in Kubernetes. */
  get name(): string {
    return this.layout.name;
  }

  /** Runs a program in the node's network namespace. */
  async exec(command: readonly string[]): Promise<Outcome> {
    return await attempt(inNamespace(this.layout.namespace, command));
  }

  /** Takes the link to a LAN down at the switch's side, as if the cable were pulled. */
  async cutLink(lan = 1): Promise<void> {
    await run(["ip", "-n", CONTROL_NAMESPACE, "link", "set", this.layout.port(lan), "down"]);
  }

  /** Plugs the cable in again. */
  async restoreLink(lan = 1): Promise<void> {
    await run(["ip", "-n", CONTROL_NAMESPACE, "link", "set", this.layout.port(lan), "up"]);
    await addRoutes(this.layout, state().options);
  }

  /** Cuts the power: every process is gone at once and the kernel is silent; its disk stays. */
  async kill(): Promise<void> {
    for (let lan = 1; lan <= state().options.lans; lan++) await this.cutLink(lan);
    await killNode(this.layout);
  }

  /** Powers the node on again. */
  async start(): Promise<void> {
    const { options, programs } = state();
    const { namespace } = this.layout;
    await shell(`ip -n ${namespace} link del cni0 2>/dev/null || true`);
    await attempt(inNamespace(namespace, ["nft", "flush", "ruleset"]));
    await attempt(inNamespace(namespace, ["conntrack", "-F"]));
    for (let lan = 1; lan <= options.lans; lan++) await this.restoreLink(lan);
    recordProcess(this.name, await startNode(this.layout, options, programs));
  }

  /** Numbers of the processes on the node, pods' too, whose command line has this word in it. */
  processes(word: string): number[] {
    return processesIn(this.layout.cgroup).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(word);
      } catch {
        return false; // ended meanwhile
      }
    });
  }

  /** Sends a signal to each of those. @throws Error when there is none. */
  signal(word: string, signal: NodeJS.Signals): void {
    const pids = this.processes(word);
    if (pids.length === 0) throw new Error(`no process ${word} on ${this.name}`);
    for (const pid of pids) process.kill(pid, signal);
  }

  /**
   * Lets the main thread of the one process with this word, and none of its other threads, stand still
   * for `stillMs` again and again, with pauses between, until stopped.
   */
  stall(word: string, stillMs: number, pauseMs: number): { stop(): Promise<void> } {
    const [pid, ...more] = this.processes(word);
    if (pid === undefined || more.length > 0)
      throw new Error(
        `${more.length + (pid === undefined ? 0 : 1)} processes ${word} on ${this.name}`,
      );
    const lantool = join(state().programs, "lantool");
    const args = ["stall", String(pid), String(stillMs), String(pauseMs)];
    const child = spawn(lantool, args, { stdio: ["ignore", "inherit", "inherit"] });
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const onExit = (): void => void child.kill();
    process.once("exit", onExit);
    return {
      stop: async () => {
        child.kill("SIGTERM");
        await closed;
        process.off("exit", onExit);
      },
    };
  }

  /** Whether the node's first process runs. */
  get running(): boolean {
    const identity = state().processes[this.name];
    return identity !== undefined && isRunning(identity);
  }

  /** Waits until Kubernetes says that the node is Ready, or is not. */
  async waitReady(ready = true, seconds = 60): Promise<void> {
    const path = `jsonpath={.status.conditions[?(@.type=="Ready")].status}`;
    await waitFor(`${this.name} ${ready ? "" : "not "}Ready`, seconds, async () => {
      const status = await kubectl(["get", "node", this.name, "-o", path]);
      return (status === "True") === ready;
    });
  }

  /** `kubectl drain`: cordon and evictions. */
  async drain(): Promise<void> {
    await kubectl([
      "drain",
      this.name,
      "--ignore-daemonsets",
      "--delete-emptydir-data",
      "--force",
      "--timeout=60s",
    ]);
  }

  /** `kubectl uncordon`. */
  async uncordon(): Promise<void> {
    await kubectl(["uncordon", this.name]);
  }

  /** Imports an image archive into the node's containerd. */
  async importImage(archive: string): Promise<void> {
    const launcher = state().processes[this.name];
    if (launcher === undefined) throw new Error(`${this.name} was never started`);
    const init = await nodeInit(launcher);
    const ctr = ["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"];
    await run([
      "nsenter",
      `--target=${init}`,
      "--mount",
      "--",
      ...ctr,
      "images",
      "import",
      archive,
    ]);
  }
}

/** The API server as something that fails. */
export class ApiServer {
  readonly #name = "kube-apiserver";

  #signal(signal: NodeJS.Signals): void {
    const identity = state().processes[this.#name];
    if (identity !== undefined && isRunning(identity)) process.kill(identity.pid, signal);
  }

  /** Ends it at once; etcd goes on. */
  async stop(): Promise<void> {
    this.#signal("SIGKILL");
    const identity = state().processes[this.#name];
    await waitFor("the API server's end", 10, () => identity === undefined || !isRunning(identity));
  }

  /** Starts it and waits until it is ready. */
  async start(): Promise<void> {
    const identity = state().processes[this.#name];
    if (identity === undefined || !isRunning(identity)) startControlPlaneProgram(this.#name);
    await waitFor("the API server ready", 60, async () => {
      return (await kubectl(["get", "--raw", "/readyz"])) === "ok";
    });
  }

  /** Freezes it: connections stay open and silent. */
  pause(): void {
    this.#signal("SIGSTOP");
  }

  /** Ends the freeze. */
  resume(): void {
    this.#signal("SIGCONT");
  }
}

/** The cluster that is up. */
export class Cluster implements AsyncDisposable {
  readonly nodes: readonly ClusterNode[];
  readonly apiServer = new ApiServer();
  readonly kubeconfig = KUBECONFIG;
  readonly options: ClusterOptions;
  /** Whether this handle started the cluster, and so ends it. */
  readonly #owner: boolean;
  readonly #hosts = new Set<LanHost>();
  #faults = 0;

  private constructor(options: ClusterOptions, owner: boolean) {
    this.options = options;
    this.#owner = owner;
    this.nodes = Array.from(
      { length: options.nodes },
      (_, index) => new ClusterNode(nodeLayout(index + 1)),
    );
  }

  /** Starts a cluster, or takes the one that is up if it is of this kind. */
  static async up(
    options: Partial<ClusterOptions> = {},
    archives: readonly string[] = [],
    report?: Report,
  ): Promise<Cluster> {
    const whole: ClusterOptions = { nodes: 3, family: "dual", lans: 1, ...options };
    const started = await up(whole, archives, report);
    const cluster = new Cluster(whole, started);
    // a cluster that was up already may have other images under the same names
    if (!started) for (const archive of archives) await cluster.importImage(archive);
    return cluster;
  }

  /** Takes the cluster that is up, whatever its kind. @throws Error when none is. */
  static attach(): Cluster {
    return new Cluster(state().options, false);
  }

  /** The node of that name. */
  node(name: string): ClusterNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** Runs kubectl as administrator and returns what it printed. */
  async kubectl(args: readonly string[], input?: string): Promise<string> {
    return await kubectl(args, input);
  }

  /** Applies objects, as YAML text or as values. */
  async apply(...objects: readonly (string | object)[]): Promise<void> {
    const documents = objects.map((object) =>
      typeof object === "string" ? object : JSON.stringify(object),
    );
    await kubectl(
      ["apply", "--server-side", "--force-conflicts", "-f", "-"],
      documents.join("\n---\n"),
    );
  }

  /** Reads one object, or undefined when there is none. */
  async get<T>(kind: string, name: string, namespace = "default"): Promise<T | undefined> {
    const text = await kubectl([
      "get",
      kind,
      name,
      "-n",
      namespace,
      "-o",
      "json",
      "--ignore-not-found",
    ]);
    return text.trim() === "" ? undefined : (JSON.parse(text) as T);
  }

  /** Imports an image archive into every node. */
  async importImage(archive: string): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.importImage(archive)));
  }

  /** A new client host on a LAN; it goes with the cluster handle, or with its own. */
  async host(lan = 1): Promise<LanHost> {
    const host = await createHost(this.options, lan, () => this.#hosts.delete(host));
    this.#hosts.add(host);
    return host;
  }

  async #fault(rules: readonly string[]): Promise<AsyncDisposable> {
    const table = `${TABLE}_${++this.#faults}`;
    await nft(`table netdev ${table} {\n${rules.join("\n")}\n}`);
    return {
      [Symbol.asyncDispose]: async () => {
        await nft(`table netdev ${table} {}\ndelete table netdev ${table}`);
      },
    };
  }

  /** Lets no frame pass between two groups of nodes, in either direction, until disposed of. */
  async partition(a: readonly ClusterNode[], b: readonly ClusterNode[]): Promise<AsyncDisposable> {
    const drop = (from: readonly ClusterNode[], to: readonly ClusterNode[]): string[] =>
      to.flatMap((target) =>
        this.#ports(target).map(
          ({ lan, port }) => `chain c_${port} { type filter hook egress device "${port}" priority 0;
            ether saddr { ${from.map((node) => node.layout.hardwareAddress(lan)).join(", ")} } drop; }`,
        ),
      );
    return await this.#fault([...drop(a, b), ...drop(b, a)]);
  }

  /**
   * Loses a share of the frames of nodes (1 to 100 %), until disposed of: both to and from them, or
   * to them alone, so that of what one of them sends another that very share is lost.
   */
  async loss(
    nodes: ClusterNode | readonly ClusterNode[],
    percent: number,
    hooks: readonly ("ingress" | "egress")[] = ["ingress", "egress"],
  ): Promise<AsyncDisposable> {
    const chosen = percent < 100 ? `numgen random mod 100 < ${percent}` : "";
    const ports = [nodes].flat().flatMap((node) => this.#ports(node));
    const rules = ports.flatMap(({ port }) =>
      hooks.map(
        (hook) => `chain ${hook}_${port} { type filter hook ${hook} device "${port}" priority 0;
          ${chosen} drop; }`,
      ),
    );
    return await this.#fault(rules);
  }

  #ports(node: ClusterNode): { lan: number; port: string }[] {
    return Array.from({ length: this.options.lans }, (_, index) => ({
      lan: index + 1,
      port: node.layout.port(index + 1),
    }));
  }

  /** Requests in the audit log since a moment, oldest first. */
  audit(since: Date, select: (event: AuditEvent) => boolean = () => true): AuditEvent[] {
    return readFileSync(AUDIT_LOG, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as AuditEvent)
      .filter((event) => new Date(event.requestReceivedTimestamp) >= since && select(event));
  }

  /** Path of a compiled program of the cluster. */
  program(name: "controlplane" | "lantool" | "web"): string {
    return join(state().programs, name);
  }

  /** Removes the hosts; ends the cluster too if this handle started it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of [...this.#hosts]) await removeHost(host);
    if (this.#owner) await down();
  }
}
