/** Starting and ending the cluster. Both may be called at any time, in any state, and finish the job. */
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { compiledPrograms } from "./binary.ts";
import { cgroupExists, createCgroup, endCgroup } from "./cgroup.ts";
import { attempt, isRunning, run, shell, startDaemon, type ProcessIdentity } from "./command.ts";
import { UsageError } from "./failure.ts";
import { baseImages } from "./images.ts";
import {
  API_PORT,
  API_SERVICE,
  CGROUP,
  CONTROL_HOST,
  CONTROL_NAMESPACE,
  DEFAULT_LOCAL_PORT,
  KUBECONFIG,
  LAN_PREFIX_LENGTH,
  LOCK_FILE,
  NAMESPACE_PREFIX,
  POD_RANGE,
  SERVICE_RANGE,
  STATE_DIRECTORY,
  bridgeName,
  families,
  lanAddress,
  nodeLayout,
  type ClusterOptions,
} from "./layout.ts";
import { withLock } from "./lock.ts";
import { createNodeNetwork, lanServerUrl, startNode } from "./node-boot.ts";
import { createPki, writeKubeconfig, type CertificateRequest } from "./pki.ts";
import { checkMachine, checkOptions, checkPort, checkRoom } from "./preconditions.ts";
import { readState, recordProcess, writeState, type ClusterState } from "./state.ts";
import { waitFor } from "./wait.ts";

/** Tells a person what happens. */
export type Report = (line: string) => void;

const AUDIT_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  rules: [{ level: "Metadata" }],
};

/** File that the API server writes one JSON line a request to. */
export const AUDIT_LOG = `${STATE_DIRECTORY}/audit.log`;

function localPort(): number {
  const text = process.env["CLUSTER_PORT"];
  if (text === undefined) return DEFAULT_LOCAL_PORT;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new UsageError(`CLUSTER_PORT=${text}: use a port number, 1 to 65535`);
  return port;
}

async function createLans(options: ClusterOptions): Promise<void> {
  const ip = `ip -n ${CONTROL_NAMESPACE}`;
  await shell(
    `ip netns add ${CONTROL_NAMESPACE}; ${ip} link set lo up
     nsenter --net=/run/netns/${CONTROL_NAMESPACE} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`,
  );
  for (let lan = 1; lan <= options.lans; lan++) {
    const bridge = bridgeName(lan);
    await shell(
      `${ip} link add ${bridge} address 02:4d:4c:0${lan}:00:ff type bridge mcast_snooping 0; ${ip} link set ${bridge} up`,
    );
    for (const family of families(options.family)) {
      const address = `${lanAddress(CONTROL_HOST, lan)[family]}/${LAN_PREFIX_LENGTH[family]}`;
      await shell(`${ip} addr add ${address} dev ${bridge} ${family === "ipv6" ? "nodad" : ""}`);
    }
  }
  for (let index = 1; index <= options.nodes; index++)
    for (const family of families(options.family)) {
      const node = nodeLayout(index);
      await shell(`${ip} route replace ${node.podRange[family]} via ${node.address()[family]}`);
    }
}

function certificateRequests(): CertificateRequest[] {
  const lan = lanAddress(CONTROL_HOST);
  const user = (name: string, subject: string): CertificateRequest => ({
    name,
    subject,
    alternativeNames: [`DNS:${name}`],
  });
  return [
    {
      name: "apiserver",
      subject: "/CN=kube-apiserver",
      alternativeNames: [
        ...[lan.ipv4, lan.ipv6, "127.0.0.1", "::1", API_SERVICE.ipv4, API_SERVICE.ipv6].map(
          (address) => `IP:${address}`,
        ),
        ...["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(
          (name) => `DNS:${name}`,
        ),
      ],
    },
    user("admin", "/O=system:masters/CN=admin"),
    user("kubelet-client", "/O=system:masters/CN=kube-apiserver"),
    user("controller-manager", "/CN=system:kube-controller-manager"),
    user("scheduler", "/CN=system:kube-scheduler"),
    user("proxy", "/CN=system:kube-proxy"),
    ...[1, 2, 3, 4, 5, 6].map((index): CertificateRequest => {
      const node = nodeLayout(index);
      const { name } = node;
      return {
        name,
        subject: `/O=system:nodes/CN=system:node:${name}`,
        alternativeNames: [`DNS:${name}`, `IP:${node.address().ipv4}`, `IP:${node.address().ipv6}`],
      };
    }),
  ];
}

/** Command lines of the control plane, by program. */
export function controlPlaneCommands(state: ClusterState): Record<string, string[]> {
  const { options } = state;
  const pki = `${STATE_DIRECTORY}/pki`;
  const binary = join(state.programs, "controlplane");
  const ranges = (of: { ipv4: string; ipv6: string }): string =>
    families(options.family)
      .map((family) => of[family])
      .join(",");
  const [first = "ipv4"] = families(options.family);
  return {
    etcd: [
      binary,
      "etcd",
      `${STATE_DIRECTORY}/etcd`,
      "http://127.0.0.1:2379",
      "http://127.0.0.1:2380",
    ],
    "kube-apiserver": [
      binary,
      "kube-apiserver",
      "--enable-aggregator-routing=true",
      "--kubelet-preferred-address-types=InternalIP",
      "--etcd-servers=http://127.0.0.1:2379",
      `--secure-port=${API_PORT}`,
      "--bind-address=::",
      `--advertise-address=${lanAddress(CONTROL_HOST)[first]}`,
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--client-ca-file=${pki}/ca.crt`,
      `--kubelet-client-certificate=${pki}/kubelet-client.crt`,
      `--kubelet-client-key=${pki}/kubelet-client.key`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${pki}/sa.pub`,
      `--service-account-signing-key-file=${pki}/sa.key`,
      "--authorization-mode=Node,RBAC",
      "--enable-admission-plugins=NodeRestriction",
      `--service-cluster-ip-range=${ranges(SERVICE_RANGE)}`,
      "--allow-privileged=true",
      `--audit-policy-file=${STATE_DIRECTORY}/audit-policy.json`,
      `--audit-log-path=${AUDIT_LOG}`,
      "--audit-log-maxsize=200",
    ],
    "kube-controller-manager": [
      binary,
      "kube-controller-manager",
      `--kubeconfig=${STATE_DIRECTORY}/controller-manager.kubeconfig`,
      "--leader-elect=false",
      "--use-service-account-credentials",
      `--service-account-private-key-file=${pki}/sa.key`,
      `--root-ca-file=${pki}/ca.crt`,
      "--allocate-node-cidrs=false",
      `--cluster-cidr=${ranges(POD_RANGE)}`,
      `--service-cluster-ip-range=${ranges(SERVICE_RANGE)}`,
      "--secure-port=0",
      "--node-monitor-period=1s",
      "--node-monitor-grace-period=8s",
      "--concurrent-service-endpoint-syncs=20",
    ],
    "kube-scheduler": [
      binary,
      "kube-scheduler",
      `--kubeconfig=${STATE_DIRECTORY}/scheduler.kubeconfig`,
      "--leader-elect=false",
      "--secure-port=0",
    ],
  };
}

/** Starts one program of the control plane and remembers it. */
export function startControlPlaneProgram(name: string): ProcessIdentity {
  const state = readState();
  const command = state === undefined ? undefined : controlPlaneCommands(state)[name];
  if (command === undefined) throw new Error(`starting ${name}: no cluster is up`);
  const identity = startDaemon(command, {
    namespace: CONTROL_NAMESPACE,
    cgroups: createCgroup(`${CGROUP}/control`),
    log: `${STATE_DIRECTORY}/${name}.log`,
    cwd: "/",
  });
  recordProcess(name, identity);
  return identity;
}

/** Runs kubectl as the cluster's administrator. */
export async function kubectl(args: readonly string[], input?: string): Promise<string> {
  const state = readState();
  if (state === undefined) throw new UsageError("no cluster is up: make cluster-up");
  const command = [
    join(state.programs, "controlplane"),
    "kubectl",
    "--kubeconfig",
    KUBECONFIG,
    ...args,
  ];
  return await run(command, input === undefined ? {} : { input });
}

async function waitForApiServer(): Promise<void> {
  await waitFor(
    "the API server ready",
    60,
    async () => {
      const state = readState();
      for (const name of ["etcd", "kube-apiserver"]) {
        const identity = state?.processes[name];
        if (identity !== undefined && !isRunning(identity))
          throw new Error(`${name} ended: see ${STATE_DIRECTORY}/${name}.log`);
      }
      return (await kubectl(["get", "--raw", "/readyz"])) === "ok";
    },
    200,
  );
}

interface NodeList {
  readonly items: readonly { status: { conditions?: { type: string; status: string }[] } }[];
}

async function waitForNodes(count: number): Promise<void> {
  await waitFor(
    `${count} nodes ready (logs: ${STATE_DIRECTORY}/node*/*.log)`,
    90,
    async () => {
      const list = JSON.parse(await kubectl(["get", "nodes", "-o", "json"])) as NodeList;
      const ready = list.items.filter((node) =>
        node.status.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
      );
      return ready.length === count;
    },
    300,
  );
}

/** Lays the images that nodes import when they start into the state folder. */
async function stageImages(archives: readonly string[]): Promise<void> {
  const folder = `${STATE_DIRECTORY}/images`;
  mkdirSync(folder, { recursive: true });
  for (const archive of [...(await baseImages()), ...archives])
    copyFileSync(archive, join(folder, basename(archive)));
}

function sameOptions(a: ClusterOptions, b: ClusterOptions): boolean {
  return a.nodes === b.nodes && a.family === b.family && a.lans === b.lans;
}

function describe(options: ClusterOptions): string {
  return `${options.nodes} nodes, ${options.family}, ${options.lans} LAN${options.lans > 1 ? "s" : ""}`;
}

async function startAll(
  options: ClusterOptions,
  archives: readonly string[],
  report: Report,
): Promise<void> {
  const programs = await compiledPrograms();
  const port = localPort();
  await checkPort(port);
  checkRoom(options);
  writeState({ phase: "starting", options, port, tree: process.cwd(), programs, processes: {} });
  report(`starting a cluster: ${describe(options)}`);
  const pki = `${STATE_DIRECTORY}/pki`;
  await Promise.all([
    createPki(pki, certificateRequests()),
    createLans(options),
    stageImages(archives),
  ]);
  writeFileSync(`${STATE_DIRECTORY}/audit-policy.json`, JSON.stringify(AUDIT_POLICY));
  writeKubeconfig(KUBECONFIG, pki, "admin", `https://127.0.0.1:${port}`);
  for (const user of ["controller-manager", "scheduler", "proxy"])
    writeKubeconfig(`${STATE_DIRECTORY}/${user}.kubeconfig`, pki, user, lanServerUrl(options));
  const relay = [
    "relay",
    `127.0.0.1:${port}`,
    `/run/netns/${CONTROL_NAMESPACE}`,
    `127.0.0.1:${API_PORT}`,
  ];
  recordProcess(
    "relay",
    startDaemon([join(programs, "lantool"), ...relay], {
      cgroups: createCgroup(`${CGROUP}/control`),
      log: `${STATE_DIRECTORY}/relay.log`,
      cwd: "/",
    }),
  );
  for (const name of ["etcd", "kube-apiserver"]) startControlPlaneProgram(name);
  const nodes = Array.from({ length: options.nodes }, (_, index) => nodeLayout(index + 1));
  for (const node of nodes) await createNodeNetwork(node, options);
  await waitForApiServer();
  report("the API server is ready");
  for (const name of ["kube-controller-manager", "kube-scheduler"]) startControlPlaneProgram(name);
  await Promise.all(
    nodes.map(async (node) => recordProcess(node.name, await startNode(node, options, programs))),
  );
  await waitForNodes(options.nodes);
  const state = readState();
  if (state !== undefined) writeState({ ...state, phase: "up" });
}

async function takeDown(report: Report): Promise<void> {
  if (cgroupExists()) {
    report("ending the cluster's processes");
    await endCgroup();
  }
  for (const name of await ourNamespaces()) {
    await attempt(["umount", "-l", `/run/netns/${name}`]);
    rmSync(`/run/netns/${name}`, { force: true });
  }
  for (const mount of await ourMounts()) await attempt(["umount", "-l", mount]);
  rmSync(STATE_DIRECTORY, { recursive: true, force: true });
}

/** Names of our network namespaces that exist. */
export async function ourNamespaces(): Promise<string[]> {
  if (!existsSync("/run/netns")) return [];
  return await Promise.resolve(
    readdirSync("/run/netns").filter((name) => name.startsWith(NAMESPACE_PREFIX)),
  );
}

/** Mount points below the state folder that exist, the innermost first. */
export async function ourMounts(): Promise<string[]> {
  const text = await run(["cat", "/proc/mounts"]);
  return text
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((point) => point.startsWith(`${STATE_DIRECTORY}/`))
    .reverse();
}

/** Whatever of a cluster exists on this machine, as lines; empty after `down`. */
export async function leftovers(): Promise<string[]> {
  return [
    ...(cgroupExists() ? [`cgroup ${CGROUP}`] : []),
    ...(await ourNamespaces()).map((name) => `network namespace ${name}`),
    ...(await ourMounts()).map((point) => `mount ${point}`),
    ...(existsSync(STATE_DIRECTORY) ? [STATE_DIRECTORY] : []),
    ...globSync("/sys/class/net/n[0-9]p[0-9]").map((path) => `interface ${basename(path)}`),
  ];
}

/**
 * Brings up a cluster, or finds it up already.
 * @returns whether it was started now.
 * @throws UsageError when this machine cannot, or another kind of cluster is up.
 */
export async function up(
  options: ClusterOptions,
  archives: readonly string[] = [],
  report: Report = () => undefined,
): Promise<boolean> {
  checkOptions(options);
  await checkMachine();
  await compiledPrograms();
  return await withLock(LOCK_FILE, "starting or ending the test cluster", async () => {
    const state = readState();
    if (state?.phase === "up" && state.processes["etcd"] && isRunning(state.processes["etcd"])) {
      if (sameOptions(state.options, options)) return false;
      throw new UsageError(
        `another cluster is up (${describe(state.options)}, started from ${state.tree}): make cluster-down first`,
      );
    }
    if ((await leftovers()).length > 0) await takeDown(report);
    const started = performance.now();
    try {
      await startAll(options, archives, report);
    } catch (error) {
      if (process.env["KEEP_FAILED"] === undefined) await takeDown(report);
      throw error;
    }
    report(`the cluster is up after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    return true;
  });
}

/** Ends the cluster and removes all of it, also what a crash left. */
export async function down(report: Report = () => undefined): Promise<void> {
  await checkMachine();
  await withLock(LOCK_FILE, "starting or ending the test cluster", async () => {
    await takeDown(report);
    const left = await leftovers();
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  });
}
