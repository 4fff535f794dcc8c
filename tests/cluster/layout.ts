/**
 * Where everything of the test cluster is: names, addresses, paths. A process has to do with one
 * cluster, so all of them are constants; everything of ours is recognisable by its name.
 */

/** What a cluster is made of. */
export interface ClusterOptions {
  /** Number of nodes, 1 to 6. */
  readonly nodes: number;
  readonly family: IPFamily;
  /** Number of LANs that each node has an interface on, 1 or 2. */
  readonly lans: number;
}

/** Address families of the LAN, the pods and the Services. */
export type IPFamily = "dual" | "ipv4" | "ipv6";

/** Which of several clusters on one machine, 1 to 9, from `CLUSTER`; 0 is the usual one. */
function whichCluster(): number {
  const text = process.env["CLUSTER"] ?? "0";
  if (!/^[0-9]$/.test(text)) {
    // everyone imports this file, so nobody could catch an exception
    process.stderr.write(`error: CLUSTER=${text}: use one digit; 0 is the usual cluster\n`);
    process.exit(2);
  }
  return Number(text);
}

const WHICH = whichCluster();
const SUFFIX = WHICH === 0 ? "" : `-${WHICH}`;

/** Everything on disk: PKI, etcd, logs, the nodes' /var. */
export const STATE_DIRECTORY = `/var/tmp/metallb-test-cluster${SUFFIX}`;
/** What is up, written by `up` and read by everyone. */
export const STATE_FILE = `${STATE_DIRECTORY}/state.json`;
/** Held while `up` or `down` works. */
export const LOCK_FILE = `/run/lock/metallb-test-cluster${SUFFIX}.lock`;
/** The administrator's kubeconfig; its server is a loopback port of the machine. */
export const KUBECONFIG = `${STATE_DIRECTORY}/admin.kubeconfig`;
/** Root of our part of every cgroup hierarchy. */
export const CGROUP = `metallb-test-cluster${SUFFIX}`;
/** Prefix of the names of our network namespaces. */
export const NAMESPACE_PREFIX = `mlb${SUFFIX.replace("-", "")}-`;
/** The network namespace of the control plane and of the LAN bridges. It has no way out. */
export const CONTROL_NAMESPACE = `${NAMESPACE_PREFIX}control`;
/** Port of the API server on the LAN. */
export const API_PORT = 6443;
/** Loopback port of the machine that is relayed to the API server. */
export const DEFAULT_LOCAL_PORT = 16443 + WHICH;

/** Service range of each family. */
export const SERVICE_RANGE = { ipv4: "10.96.0.0/16", ipv6: "fd00:96::/112" } as const;
/** First address of the Service range: the API server as pods see it. */
export const API_SERVICE = { ipv4: "10.96.0.1", ipv6: "fd00:96::1" } as const;
/** All pods of each family. */
export const POD_RANGE = { ipv4: "10.244.0.0/16", ipv6: "fd00:244::/56" } as const;

/** Prefix of LAN 1 or 2, without the last numbers. */
function lanBase(lan: number): { ipv4: string; ipv6: string } {
  return { ipv4: `172.${29 + lan}`, ipv6: `fd00:${29 + lan}` };
}

/** The address of a host on a LAN (1 or 2); `host` is 1 to 254. */
export function lanAddress(host: number, lan = 1): { ipv4: string; ipv6: string } {
  const base = lanBase(lan);
  return { ipv4: `${base.ipv4}.0.${host}`, ipv6: `${base.ipv6}::${host}` };
}

/** Prefix lengths of a LAN. */
export const LAN_PREFIX_LENGTH = { ipv4: 16, ipv6: 64 } as const;

/** Host number of the control plane on each LAN; it is the LAN's gateway, to nowhere. */
export const CONTROL_HOST = 1;
/** Host number of node 1 less one. */
export const NODE_HOST_BASE = 10;
/** Host numbers of client hosts. */
export const CLIENT_HOSTS: { readonly first: number; readonly last: number } = {
  first: 100,
  last: 190,
};

/** Facts about one node that follow from its number (1 to 6). */
export interface NodeLayout {
  readonly index: number;
  readonly name: string;
  readonly namespace: string;
  readonly directory: string;
  readonly cgroup: string;
  readonly podRange: { readonly ipv4: string; readonly ipv6: string };
  address(lan?: number): { ipv4: string; ipv6: string };
  hardwareAddress(lan?: number): string;
  /** The bridge's side of the node's link to a LAN, in {@link CONTROL_NAMESPACE}. */
  port(lan?: number): string;
}

/** Facts about node `index` (1 to 6). */
export function nodeLayout(index: number): NodeLayout {
  const name = `node${index}`;
  return {
    index,
    name,
    namespace: `${NAMESPACE_PREFIX}${name}`,
    directory: `${STATE_DIRECTORY}/${name}`,
    cgroup: `${CGROUP}/${name}`,
    podRange: { ipv4: `10.244.${index}.0/24`, ipv6: `fd00:244:0:${index}::/64` },
    address: (lan = 1) => lanAddress(NODE_HOST_BASE + index, lan),
    hardwareAddress: (lan = 1) => `02:4d:4c:0${lan}:00:0${index}`,
    port: (lan = 1) => `n${index}p${lan}`,
  };
}

/** Name of the bridge of a LAN, in {@link CONTROL_NAMESPACE}. */
export function bridgeName(lan: number): string {
  return `lan${lan}`;
}

/** The families that are in use, the first one first in every list. */
export function families(family: IPFamily): readonly ("ipv4" | "ipv6")[] {
  return family === "dual" ? ["ipv4", "ipv6"] : [family];
}
