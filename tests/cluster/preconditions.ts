/** What a machine must have for the cluster, each refusal one clear line. */
import { existsSync, mkdirSync, readFileSync, statfsSync } from "node:fs";
import { createServer } from "node:net";
import { attempt } from "./command.ts";
import { UsageError } from "./failure.ts";
import { STATE_DIRECTORY, type ClusterOptions } from "./layout.ts";

const MEBI = 1024 * 1024;
/** Measured: the control plane takes about 700 MiB, a node with our pods about 350 MiB. */
const memoryNeeded = (nodes: number): number => (900 + 400 * nodes) * MEBI;
/** Measured: images unpacked once a node, etcd, logs. */
const diskNeeded = (nodes: number): number => (500 + 400 * nodes) * MEBI;

function availableMemory(): number {
  const [, kibi] = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8")) ?? [];
  return Number(kibi ?? 0) * 1024;
}

const mebi = (octets: number): string => `${Math.floor(octets / MEBI)} MiB`;

async function canCreateNamespaces(): Promise<boolean> {
  const outcome = await attempt(["unshare", "--net", "--mount", "--pid", "--fork", "true"]);
  return outcome.status === 0;
}

/** Refuses with a {@link UsageError} unless this process may and can run a cluster here. */
export async function checkMachine(): Promise<void> {
  if (process.platform !== "linux")
    throw new UsageError(
      `the test cluster needs Linux, this is ${process.platform}: use a Linux machine`,
    );
  if (process.getuid?.() !== 0)
    throw new UsageError(
      "the test cluster needs root (network namespaces, mounts): run it with sudo",
    );
  if (!(await canCreateNamespaces()))
    throw new UsageError(
      "no right to create network, mount and process namespaces (CAP_SYS_ADMIN): run outside a container, or in a privileged one",
    );
  if (!existsSync("/sys/fs/cgroup/cgroup.controllers") && !existsSync("/sys/fs/cgroup/memory"))
    throw new UsageError(
      "no cgroups are mounted at /sys/fs/cgroup: mount them (kubelet needs them)",
    );
}

/** What a machine has left, in octets. */
export interface Room {
  readonly memory: number;
  readonly disk: number;
}

/** Tells what there is too little of for that many nodes, in one line; undefined: nothing. */
export function lackOfRoom(nodes: number, room: Room): string | undefined {
  const remedy = nodes > 1 ? "use fewer (NODES=1), or" : "";
  if (room.memory < memoryNeeded(nodes))
    return `too little memory: ${mebi(room.memory)} available, ${nodes} nodes need ${mebi(memoryNeeded(nodes))}: ${remedy} end something`;
  if (room.disk < diskNeeded(nodes))
    return `too little disk below ${STATE_DIRECTORY}: ${mebi(room.disk)} free, ${nodes} nodes need ${mebi(diskNeeded(nodes))}: ${remedy} make room`;
  return undefined;
}

/** Refuses with a {@link UsageError} unless there is room for that many nodes. */
export function checkRoom(options: ClusterOptions): void {
  mkdirSync(STATE_DIRECTORY, { recursive: true });
  const { bavail, bsize } = statfsSync(STATE_DIRECTORY);
  const lack = lackOfRoom(options.nodes, { memory: availableMemory(), disk: bavail * bsize });
  if (lack !== undefined) throw new UsageError(lack);
}

/** Refuses with a {@link UsageError} unless the loopback port is free. */
export async function checkPort(port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const server = createServer();
    server.once("error", () =>
      reject(
        new UsageError(
          `port 127.0.0.1:${port} is in use: end its user, or choose another with CLUSTER_PORT=n`,
        ),
      ),
    );
    server.listen(port, "127.0.0.1", () => server.close(() => resolve()));
  });
}

/** Refuses with a {@link UsageError} options that no cluster can have. */
export function checkOptions(options: ClusterOptions): void {
  if (!Number.isInteger(options.nodes) || options.nodes < 1 || options.nodes > 6)
    throw new UsageError(`NODES=${options.nodes}: a cluster has 1 to 6 nodes`);
  if (!["dual", "ipv4", "ipv6"].includes(options.family))
    throw new UsageError(`IP_FAMILY=${options.family}: use dual, ipv4 or ipv6`);
  if (options.lans !== 1 && options.lans !== 2)
    throw new UsageError(`LANS=${String(options.lans)}: a cluster has 1 or 2 LANs`);
}
