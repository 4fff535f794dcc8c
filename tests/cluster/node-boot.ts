/**
 * One node: its own network, mount, process, host name and IPC namespaces, its own cgroup, and in
 * them containerd, kubelet and kube-proxy. All of it ends when its first process is killed.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createCgroup, endCgroup, isVersion1 } from "./cgroup.ts";
import { startDaemon, shell, run, attempt, type ProcessIdentity } from "./command.ts";
import { PAUSE_IMAGE } from "./images.ts";
import {
  API_PORT,
  CONTROL_HOST,
  CONTROL_NAMESPACE,
  LAN_PREFIX_LENGTH,
  POD_RANGE,
  STATE_DIRECTORY,
  bridgeName,
  families,
  lanAddress,
  nodeLayout,
  type ClusterOptions,
  type NodeLayout,
} from "./layout.ts";
import { writeKubeconfig } from "./pki.ts";
import { waitFor } from "./wait.ts";

/** URL of the API server on the LAN. */
export function lanServerUrl(options: ClusterOptions): string {
  const address = lanAddress(CONTROL_HOST);
  return options.family === "ipv6"
    ? `https://[${address.ipv6}]:${API_PORT}`
    : `https://${address.ipv4}:${API_PORT}`;
}

/** Makes the node's network namespace with an interface on every LAN. */
export async function createNodeNetwork(node: NodeLayout, options: ClusterOptions): Promise<void> {
  const { namespace } = node;
  await shell(`ip netns add ${namespace}; ip -n ${namespace} link set lo up`);
  for (let lan = 1; lan <= options.lans; lan++) {
    const name = `eth${lan - 1}`;
    const addresses = node.address(lan);
    await shell(
      `ip -n ${CONTROL_NAMESPACE} link add ${node.port(lan)} type veth peer name ${name} address ${node.hardwareAddress(lan)} netns ${namespace}
       ip -n ${CONTROL_NAMESPACE} link set ${node.port(lan)} master ${bridgeName(lan)} up`,
    );
    for (const family of families(options.family))
      await shell(
        `ip -n ${namespace} addr add ${addresses[family]}/${LAN_PREFIX_LENGTH[family]} dev ${name} ${family === "ipv6" ? "nodad" : ""}`,
      );
    await shell(`ip -n ${namespace} link set ${name} up`);
  }
  await shell(
    `nsenter --net=/run/netns/${namespace} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
       net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv6.conf.default.accept_dad=0`,
  );
  await addRoutes(node, options);
}

/** Routes to the other nodes' pods and to the gateway; written again after the link was down. */
export async function addRoutes(node: NodeLayout, options: ClusterOptions): Promise<void> {
  for (const family of families(options.family)) {
    const ip = `ip -n ${node.namespace} ${family === "ipv6" ? "-6" : "-4"}`;
    await shell(`${ip} route replace default via ${lanAddress(CONTROL_HOST)[family]}`);
    for (let other = 1; other <= options.nodes; other++) {
      const peer = nodeLayout(other);
      if (peer.index !== node.index)
        await shell(`${ip} route replace ${peer.podRange[family]} via ${peer.address()[family]}`);
    }
  }
}

function containerdConfig(node: NodeLayout, snapshotter: string): string {
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.restart"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${node.directory}/cni"
`;
}

function cniConfig(node: NodeLayout, options: ClusterOptions): string {
  const used = families(options.family);
  return JSON.stringify({
    cniVersion: "0.4.0",
    name: "test",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        hairpinMode: true,
        ipMasq: false,
        ipam: {
          type: "host-local",
          ranges: used.map((family) => [{ subnet: node.podRange[family] }]),
          routes: used.map((family) => ({ dst: family === "ipv4" ? "0.0.0.0/0" : "::/0" })),
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
}

function kubeletConfig(node: NodeLayout): string {
  const pki = `${STATE_DIRECTORY}/pki`;
  return JSON.stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${pki}/ca.crt` },
    },
    authorization: { mode: "Webhook" },
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${node.cgroup}`,
    ...(isVersion1() ? { failCgroupV1: false } : {}),
    failSwapOn: false,
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    tlsCertFile: `${pki}/${node.name}.crt`,
    tlsPrivateKeyFile: `${pki}/${node.name}.key`,
    resolvConf: "",
    volumePluginDir: `${node.directory}/volume-plugins`,
    evictionHard: {
      "memory.available": "50Mi",
      "nodefs.available": "0%",
      "imagefs.available": "0%",
    },
    enforceNodeAllocatable: [],
    nodeStatusUpdateFrequency: "2s",
    nodeLeaseDurationSeconds: 5,
    syncFrequency: "10s",
    localStorageCapacityIsolation: false,
    registerWithTaints: [],
    serializeImagePulls: false,
  });
}

function proxyConfig(node: NodeLayout, options: ClusterOptions): string {
  return JSON.stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clientConnection: { kubeconfig: `${STATE_DIRECTORY}/proxy.kubeconfig` },
    clusterCIDR: families(options.family)
      .map((family) => POD_RANGE[family])
      .join(","),
    hostnameOverride: node.name,
    conntrack: { maxPerCore: 0 },
    nftables: { minSyncPeriod: "100ms", syncPeriod: "30s" },
    healthzBindAddress: "0.0.0.0:10256",
    metricsBindAddress: "127.0.0.1:10249",
  });
}

/** Values that kubelet would write into the machine's own settings: it finds them written already. */
const KERNEL_SETTINGS = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1000000,
  "kernel/keys/root_maxbytes": 25000000,
} as const;

/** The first process of the node. Nothing outside the node's own folder is written. */
function initScript(node: NodeLayout, options: ClusterOptions, programs: string): string {
  const { directory } = node;
  const settings = Object.entries(KERNEL_SETTINGS).map(
    ([name, value]) => `echo ${value} >/run/settings/${name.replaceAll("/", "-")}
mount --bind /run/settings/${name.replaceAll("/", "-")} /proc/sys/${name}`,
  );
  const nodeIP = families(options.family)
    .map((family) => node.address()[family])
    .join(",");
  const controlplane = `${programs}/controlplane`;
  return `set -eu
mount --make-rprivate /
hostname ${node.name}
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount --bind ${directory}/log /var/log
for name in kubelet containerd cni; do
  mkdir -p /var/lib/$name
  mount --bind ${directory}/$name-data /var/lib/$name
done
mount --make-rshared /var/lib/kubelet
mkdir -p /run/containerd /run/netns /run/lock /run/settings
${settings.join("\n")}
containerd --config ${directory}/containerd.toml >>${directory}/containerd.log 2>&1 &
tries=0
until ctr --address /run/containerd/containerd.sock version >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 200 ] || { echo "containerd did not start"; exit 1; }
  sleep 0.05
done
if ls ${STATE_DIRECTORY}/images/*.tar >/dev/null 2>&1; then
  for archive in ${STATE_DIRECTORY}/images/*.tar; do
    ctr --address /run/containerd/containerd.sock --namespace k8s.io images import $archive
  done
fi >>${directory}/import.log 2>&1
touch ${directory}/images-imported
${controlplane} kubelet --config=${directory}/kubelet.yaml --kubeconfig=${STATE_DIRECTORY}/${node.name}.kubeconfig \\
  --hostname-override=${node.name} --node-ip=${nodeIP} --v=2 >>${directory}/kubelet.log 2>&1 &
${controlplane} kube-proxy --config=${directory}/proxy.yaml >>${directory}/kube-proxy.log 2>&1 &
wait
`;
}

/** Whether overlayfs works on top of the state folder's file system (not on another overlay). */
async function snapshotterFor(directory: string): Promise<string> {
  const script = `cd "$1"; mkdir -p try/l try/u try/w try/m
    mount -t overlay overlay -o lowerdir=try/l,upperdir=try/u,workdir=try/w try/m`;
  const outcome = await attempt(["unshare", "--mount", "sh", "-euc", script, "sh", directory]);
  rmSync(`${directory}/try`, { recursive: true, force: true });
  return outcome.status === 0 ? "overlayfs" : "native";
}

/** Writes the node's files and starts its first process. */
export async function startNode(
  node: NodeLayout,
  options: ClusterOptions,
  programs: string,
): Promise<ProcessIdentity> {
  const { directory } = node;
  for (const name of [
    "kubelet-data",
    "containerd-data",
    "cni-data",
    "log",
    "cni",
    "volume-plugins",
  ])
    mkdirSync(`${directory}/${name}`, { recursive: true });
  rmSync(`${directory}/images-imported`, { force: true });
  const snapshotter = await snapshotterFor(directory);
  writeFileSync(`${directory}/containerd.toml`, containerdConfig(node, snapshotter));
  writeFileSync(`${directory}/cni/10-test.conflist`, cniConfig(node, options));
  writeFileSync(`${directory}/kubelet.yaml`, kubeletConfig(node));
  writeFileSync(`${directory}/proxy.yaml`, proxyConfig(node, options));
  writeFileSync(`${directory}/init.sh`, initScript(node, options, programs));
  const server = lanServerUrl(options);
  writeKubeconfig(
    `${STATE_DIRECTORY}/${node.name}.kubeconfig`,
    `${STATE_DIRECTORY}/pki`,
    node.name,
    server,
  );
  const unshare =
    "unshare --mount --uts --ipc --pid --fork --kill-child=KILL --mount-proc --propagation private";
  return startDaemon([...unshare.split(" "), "--", "sh", `${directory}/init.sh`], {
    namespace: node.namespace,
    cgroups: createCgroup(node.cgroup),
    log: `${directory}/init.log`,
    cwd: "/",
  });
}

/** Ends every process of the node at once, its pods too, as a power cut does; its disk stays. */
export async function killNode(node: NodeLayout): Promise<void> {
  await endCgroup(node.cgroup);
}

/** The process of the node through which its namespaces are entered. */
export async function nodeInit(launcher: ProcessIdentity): Promise<number> {
  return await waitFor("first process of the node", 10, async () => {
    const file = `/proc/${launcher.pid}/task/${launcher.pid}/children`;
    const child = Number((await run(["cat", file])).trim().split(" ")[0]);
    return child > 0 ? child : undefined;
  });
}
