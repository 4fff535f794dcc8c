/**
 * A real control plane for tests: etcd and kube-apiserver on loopback, on free ports, with RBAC, in
 * a folder of their own. No controllers run: nothing is garbage-collected, a deleted namespace stays
 * Terminating, and ServiceAccounts are made by the test.
 *
 * The processes die with the process that started them, whatever ends it (PDEATHSIG). A folder that
 * a killed test left behind is removed by the next `up`.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, openSync, closeSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { controlPlaneBinary } from "../cluster/binary.ts";
import { send, type Answer, type Call } from "./api-call.ts";
import { makeCredentials, type Credentials } from "./credentials.ts";

/** Time to give a hook that calls {@link ControlPlane.up}: long enough to compile it first. */
export const UP_TIMEOUT_MS = 20 * 60_000;

const PREFIX = "control-plane-";
const READY_WITHIN_MS = 90_000;
const KILL_AFTER_MS = 10_000;

/** One line of the audit log, as far as tests look at it (audit.k8s.io/v1 Event, level Metadata). */
export interface AuditEvent {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly apiGroup?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

/** A running etcd and API server. Close it with `await using`. */
export class ControlPlane implements AsyncDisposable {
  /** The folder that holds everything: keys, logs, data. Gone after disposal. */
  readonly directory: string;
  /** URL of the API server, the same after `stop` and `start`. */
  readonly server: string;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  readonly #binary: string;
  readonly #etcdUrl: string;
  readonly #agent: Agent;
  #etcd: ChildProcess | undefined;
  #apiServer: ChildProcess | undefined;

  private constructor(directory: string, binary: string, ports: Ports, credentials: Credentials) {
    this.directory = directory;
    this.#binary = binary;
    this.server = `https://127.0.0.1:${ports.apiServer}`;
    this.kubeconfig = join(directory, "admin.kubeconfig");
    this.#etcdUrl = `http://127.0.0.1:${ports.etcd}`;
    this.#agent = new Agent({ ...credentials, keepAlive: true });
  }

  /**
   * Starts a control plane and waits until it is ready.
   * @throws Error with the end of the log when it does not become ready.
   */
  static async up(): Promise<ControlPlane> {
    const binary = await findBinary();
    await sweep();
    const directory = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
    try {
      const ports = await freePorts();
      const credentials = await makeCredentials(directory);
      await writeFile(join(directory, "audit-policy.json"), JSON.stringify(AUDIT_POLICY));
      const plane = new ControlPlane(directory, binary, ports, credentials);
      await writeFile(plane.kubeconfig, plane.#kubeconfigText(adminUser(directory)));
      await plane.#boot(ports.etcdPeer);
      return plane;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends both processes and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    await end(this.#apiServer, "SIGKILL");
    await end(this.#etcd, "SIGKILL");
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Kills the API server, as a crash would; etcd keeps the data. */
  async stop(): Promise<void> {
    await end(this.#apiServer, "SIGKILL");
    this.#apiServer = undefined;
  }

  /** Starts the API server again, on the same port, and waits until it is ready. */
  async start(): Promise<void> {
    if (this.#apiServer !== undefined) throw new Error("the API server runs already");
    this.#apiServer = this.#spawn("kube-apiserver", this.#apiServerFlags());
    await this.#waitUntilReady(this.#apiServer);
  }

  /** Freezes the API server: connections stay open and nothing answers. */
  pause(): void {
    this.#apiServer?.kill("SIGSTOP");
  }

  /** Lets a paused API server go on. */
  resume(): void {
    this.#apiServer?.kill("SIGCONT");
  }

  /** Sends one request; every status is an answer, only a broken connection throws. */
  async call(call: Call): Promise<Answer> {
    return send(this.server, this.#agent, call);
  }

  /**
   * Mints a token for a ServiceAccount, which must exist (TokenRequest).
   * @throws Error with the API server's answer when it refuses.
   */
  async token(namespace: string, serviceAccount: string, seconds = 3600): Promise<string> {
    const { status, body } = await this.call({
      method: "POST",
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`,
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: seconds },
      },
    });
    if (status !== 201) throw new Error(`token for ${serviceAccount}: ${JSON.stringify(body)}`);
    return (body as { status: { token: string } }).status.token;
  }

  /** Writes a kubeconfig for a ServiceAccount, which must exist. @returns its path */
  async kubeconfigFor(namespace: string, serviceAccount: string): Promise<string> {
    const path = join(this.directory, `${namespace}-${serviceAccount}.kubeconfig`);
    const token = await this.token(namespace, serviceAccount);
    await writeFile(path, this.#kubeconfigText({ token }), { mode: 0o600 });
    return path;
  }

  /** Runs kubectl as administrator. @returns what it printed @throws when it exits with another code than 0 */
  async kubectl(...args: readonly string[]): Promise<string> {
    const all = ["kubectl", "--kubeconfig", this.kubeconfig, ...args];
    const { stdout } = await promisify(execFile)(this.#binary, all, { maxBuffer: 1 << 28 });
    return stdout;
  }

  /** Reads the audit log: every finished request since the start, level Metadata. */
  async auditEvents(): Promise<AuditEvent[]> {
    const text = await readFile(join(this.directory, "audit.log"), "utf8");
    // What follows the last line break is a line that is still being written.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    return whole
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as AuditEvent);
  }

  async #boot(etcdPeerPort: number): Promise<void> {
    const peer = `http://127.0.0.1:${etcdPeerPort}`;
    this.#etcd = this.#spawn("etcd", [join(this.directory, "etcd"), this.#etcdUrl, peer]);
    try {
      await this.start();
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  #spawn(program: string, flags: readonly string[]): ChildProcess {
    const log = openSync(join(this.directory, `${program}.log`), "a");
    const args = ["--pdeathsig", "KILL", "--", this.#binary, program, ...flags];
    const child = spawn("setpriv", args, { cwd: this.directory, stdio: ["ignore", log, log] });
    closeSync(log);
    return child;
  }

  #apiServerFlags(): string[] {
    const file = (name: string): string => join(this.directory, name);
    return [
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${new URL(this.server).port}`,
      `--etcd-servers=${this.#etcdUrl}`,
      `--cert-dir=${this.directory}`,
      `--tls-cert-file=${file("server.crt")}`,
      `--tls-private-key-file=${file("server.key")}`,
      `--client-ca-file=${file("ca.crt")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${file("service-account.pub")}`,
      `--service-account-signing-key-file=${file("service-account.key")}`,
      "--authorization-mode=Node,RBAC",
      // There is no controller that makes the account a pod would be refused without.
      "--disable-admission-plugins=ServiceAccount",
      "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
      // The endpoint of Service `kubernetes` would be loopback, which the API server refuses to write.
      "--endpoint-reconciler-type=none",
      "--allow-privileged=true",
      "--enable-aggregator-routing=true",
      `--audit-policy-file=${file("audit-policy.json")}`,
      `--audit-log-path=${file("audit.log")}`,
      "--audit-log-mode=blocking",
    ];
  }

  async #waitUntilReady(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + READY_WITHIN_MS;
    while (Date.now() < deadline) {
      if (ended(child) || (this.#etcd !== undefined && ended(this.#etcd))) break;
      if (await this.#isReady()) return;
      await delay(100);
    }
    const logs = await Promise.all(["etcd", "kube-apiserver"].map((name) => this.#logEnd(name)));
    throw new Error(`starting the control plane: it did not become ready\n${logs.join("\n")}`);
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await this.call({ method: "GET", path: "/readyz" })).status === 200;
    } catch {
      // Refused or reset while it starts: not ready, whatever the error says.
      return false;
    }
  }

  async #logEnd(program: string): Promise<string> {
    const path = join(this.directory, `${program}.log`);
    const text = existsSync(path) ? await readFile(path, "utf8") : "";
    return `${program}: ${text.split("\n").slice(-12).join("\n")}`;
  }

  #kubeconfigText(user: Readonly<Record<string, string>>): string {
    const cluster = {
      server: this.server,
      "certificate-authority": join(this.directory, "ca.crt"),
    };
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: "test", user }],
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      "current-context": "test",
    });
  }
}

/** The binary named by CONTROLPLANE_BINARY, else the one compiled for the test cluster. */
async function findBinary(): Promise<string> {
  return process.env["CONTROLPLANE_BINARY"] ?? (await controlPlaneBinary());
}

function adminUser(directory: string): Record<string, string> {
  return {
    "client-certificate": join(directory, "admin.crt"),
    "client-key": join(directory, "admin.key"),
  };
}

const AUDIT_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  rules: [{ level: "None", nonResourceURLs: ["/readyz"] }, { level: "Metadata" }],
};

interface Ports {
  readonly apiServer: number;
  readonly etcd: number;
  readonly etcdPeer: number;
}

/** Three ports that nobody listens on; all are held until all are known, so that they differ. */
async function freePorts(): Promise<Ports> {
  const servers = await Promise.all(
    [0, 1, 2].map(async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const [apiServer, etcd, etcdPeer] = servers.map(
    (server) => (server.address() as AddressInfo).port,
  );
  await Promise.all(servers.map(async (server) => once(server.close(), "close")));
  return { apiServer: apiServer!, etcd: etcd!, etcdPeer: etcdPeer! };
}

/** Removes folders of processes that are gone. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || (await isAlive(pid))) continue;
    await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** A zombie still has its folder in /proc, but no command line. */
async function isAlive(pid: string): Promise<boolean> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return commandLine !== "";
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || ended(child)) return;
  const exit = once(child, "exit", { signal: AbortSignal.timeout(KILL_AFTER_MS) });
  child.kill(signal);
  await exit;
}
