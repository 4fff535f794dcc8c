/** A stranger on the LAN, who hears what speakers tell each other and sends them what it likes. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { Seal, makeKey } from "../../speaker/seal.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { inNamespace, run } from "./command.ts";
import type { LanHost } from "./lan.ts";
import { PRODUCT_NAMESPACE } from "./product.ts";
import { waitFor } from "./wait.ts";

/** Port of the speakers' talk. */
export const MEMBER_PORT = 7946;

/** Records what a node's speaker is told until that are so many datagrams; hex digits. */
export async function overhear(node: ClusterNode, count: number): Promise<string[]> {
  const { ipv4, ipv6 } = node.layout.address();
  const file = `${node.layout.directory}/overheard.pcap`;
  const filter = `udp dst port ${MEMBER_PORT} and (dst host ${ipv4} or dst host ${ipv6})`;
  await node.exec(["tcpdump", "-i", "eth0", "-c", String(count), "-Z", "root", "-w", file, filter]);
  const text = await run(["tshark", "-n", "-r", file, "-T", "fields", "-e", "udp.payload"]);
  return text.split("\n").filter((line) => line !== "");
}

/** The key under which speakers talk. */
export async function speakersKey(cluster: Cluster): Promise<Uint8Array> {
  const secret = await cluster.get<{ data: Record<string, string> }>(
    "secret",
    "memberlist",
    PRODUCT_NAMESPACE,
  );
  const [text] = Object.values(secret?.data ?? {});
  if (text === undefined) throw new Error("Secret memberlist holds nothing");
  return Uint8Array.from(Buffer.from(text, "base64"));
}

/**
 * Makes what a stranger can send: recorded, cut short, with a bit changed, by chance, sealed with
 * another key, and of a cluster that has the same key and the same names.
 */
export function hostileDatagrams(recorded: readonly string[], key: Uint8Array): string[] {
  const hex = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");
  const whole = Buffer.from(recorded[0] ?? "", "hex");
  const changed = Array.from({ length: 200 }, (_none, i) => {
    const copy = Buffer.from(whole);
    copy[(i * 7) % copy.length]! ^= 1 << (i & 7);
    return copy;
  });
  const foreign = (cluster: string, secret: Uint8Array): string[] => {
    const life = randomBytes(16).toString("hex");
    const seal = new Seal(cluster, "node2", life, [makeKey(secret)]);
    return Array.from({ length: 100 }, (_none, i) => {
      return hex(seal.seal(randomBytes(40 + i), "node1", []) ?? new Uint8Array());
    });
  };
  return [
    ...recorded,
    ...Array.from(whole, (_octet, length) => hex(whole.subarray(0, length))),
    ...changed.map(hex),
    ...Array.from({ length: 500 }, (_none, i) => hex(randomBytes(1 + ((i * 37) % 1400)))),
    ...foreign(PRODUCT_NAMESPACE, randomBytes(32)),
    ...foreign("another-namespace", key),
  ];
}

/** Sends datagrams from a host of the LAN to a node's speaker, over each of its addresses. */
export async function assail(
  host: LanHost,
  node: ClusterNode,
  addresses: readonly string[],
  datagrams: readonly string[],
): Promise<void> {
  const sender = join(import.meta.dirname, "sender.ts");
  for (const address of addresses)
    await run(
      inNamespace(host.namespace, [process.execPath, sender, address, String(MEMBER_PORT)]),
      { input: `${datagrams.join("\n")}\n` },
    );
  // whoever is flooded has to be there afterwards
  await waitFor(`${node.name}'s speaker alive`, 10, async () => {
    return (await tell(node, "healthz")).status === 0;
  });
}

const tell = (node: ClusterNode, path: string) =>
  node.exec(["curl", "-sf", "--max-time", "5", `http://127.0.0.1:17472/${path}`]);

/** Reads metrics of speakers as somebody who may. */
export class MetricsReader implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #host: LanHost;
  readonly #name: string;
  readonly #token: string;

  private constructor(cluster: Cluster, host: LanHost, name: string, token: string) {
    this.#cluster = cluster;
    this.#host = host;
    this.#name = name;
    this.#token = token;
  }

  /** Makes an account that may read them, in a namespace that goes with the test. */
  static async open(cluster: Cluster, host: LanHost, namespace: string): Promise<MetricsReader> {
    const name = `${namespace}-metrics`;
    const group = "rbac.authorization.k8s.io";
    await cluster.apply(
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
      {
        apiVersion: `${group}/v1`,
        kind: "ClusterRole",
        metadata: { name },
        rules: [{ nonResourceURLs: ["/metrics"], verbs: ["get"] }],
      },
      {
        apiVersion: `${group}/v1`,
        kind: "ClusterRoleBinding",
        metadata: { name },
        roleRef: { apiGroup: group, kind: "ClusterRole", name },
        subjects: [{ kind: "ServiceAccount", name, namespace }],
      },
    );
    const token = (await cluster.kubectl(["-n", namespace, "create", "token", name])).trim();
    return new MetricsReader(cluster, host, name, token);
  }

  /** The metrics of a node's speaker. */
  async read(node: ClusterNode): Promise<string> {
    const { ipv4, ipv6 } = node.layout.address();
    const address = this.#cluster.options.family === "ipv6" ? `[${ipv6}]` : ipv4;
    const header = `Authorization: Bearer ${this.#token}`;
    const curl = [
      "curl",
      "-sfk",
      "--max-time",
      "10",
      "-H",
      header,
      `https://${address}:9120/metrics`,
    ];
    const { status, stdout } = await this.#host.exec(curl);
    if (status !== 0) throw new Error(`reading the metrics of ${node.name}: curl ${status}`);
    return stdout;
  }

  /** How many datagrams a node's speaker refused, by reason; and what else it counted. */
  async refusals(node: ClusterNode): Promise<Map<string, number>> {
    const line =
      /^metallb_speaker_(?:datagrams_refused_total\{reason|protocol_events_total\{event)="([^"]+)"\} (\d+)$/gm;
    const found = (await this.read(node)).matchAll(line);
    return new Map([...found].map(([, reason = "", count]) => [reason, Number(count)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.kubectl(["delete", "clusterrole,clusterrolebinding", this.#name]);
  }
}

/** Everything that the product says anywhere: logs, events, objects, and what its programs serve. */
export async function everythingSaid(
  cluster: Cluster,
  metrics: MetricsReader,
): Promise<Map<string, string>> {
  const said = new Map<string, string>();
  const ask = async (...args: string[]): Promise<void> => {
    said.set(args.join(" "), await cluster.kubectl(args));
  };
  const pods = await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "get", "pods", "-o", "name"]);
  for (const pod of pods.trim().split("\n"))
    await ask("-n", PRODUCT_NAMESPACE, "logs", pod, "--all-containers");
  await ask("get", "events", "-A", "-o", "yaml");
  const kinds = "metallbs,addresspools,servicel2statuses,configmaps,daemonsets,deployments,pods";
  await ask("-n", PRODUCT_NAMESPACE, "get", kinds, "-o", "yaml");
  await ask("get", "services", "-A", "-o", "yaml");
  for (const node of cluster.nodes) {
    for (const path of ["healthz", "readyz", "exchanges.pcap", "verdict"])
      said.set(`${node.name} ${path}`, (await tell(node, path)).stdout);
    said.set(`${node.name} metrics`, await metrics.read(node));
  }
  return said;
}

/** Every way in which a key could be written down, in part too. */
export function spellings(key: Uint8Array): string[] {
  const octets = Buffer.from(key);
  const pieces = (text: string, length: number): string[] =>
    Array.from({ length: Math.floor(text.length / length) }, (_none, i) => {
      return text.slice(i * length, (i + 1) * length);
    });
  return [
    ...pieces(octets.toString("base64"), 12),
    ...pieces(octets.toString("hex"), 12),
    octets.toString("latin1"),
    octets.toString("utf8"),
    [...octets].slice(0, 6).join(","),
    [...octets].slice(0, 6).join(", "),
  ];
}
