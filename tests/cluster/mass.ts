/** Very many Services, a part of them at one node, and how long it takes until all of that part moved. */
import { setTimeout as delay } from "node:timers/promises";
import { address as parsed } from "../../packet/address/address.ts";
import { rankOf } from "../../speaker/claims.ts";
import { ANSWER_FILTER, judgeAnswers, readAnswers, type Answer } from "./answers.ts";
import type { Api } from "./api.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import type { LanHost } from "./lan.ts";
import { waitFor } from "./wait.ts";

/** Between two questions for one address. */
const QUESTION_MS = 100;

/** What is to be made. */
export interface MassOptions {
  readonly namespace: string;
  /** Makes a pool of the namespace's name. */
  readonly makePool: (ranges: readonly string[]) => Promise<void>;
  readonly loadBalancerClass?: string;
  /** Makes the speaker of a node hand over what it has. */
  readonly replaceSpeaker?: (node: ClusterNode) => Promise<void>;
  readonly families: readonly ("ipv4" | "ipv6")[];
  /** Number of Services; each has an address of each family. */
  readonly services: number;
  /** Number of those whose addresses rank the first node first. */
  readonly together: number;
  /** A multiple of 32: its addresses are in 172.30.BLOCK.0/19 and fd00:30::BLOCK:0/112. */
  readonly block: number;
}

/** What was seen when they moved. */
export interface MassMove {
  /** Milliseconds until the last of them was answered for by another; Infinity when one was not. */
  readonly allMs: number;
  /** The longest time that two answered for one at once. */
  readonly overlapMs: number;
}

/** Services with an endpoint each that needs no pod of its own. */
export class Mass implements AsyncDisposable {
  /** Addresses that rank the first node first. */
  readonly together: readonly string[];
  readonly #cluster: Cluster;
  readonly #asker: LanHost;
  readonly #namespace: string;

  private constructor(
    cluster: Cluster,
    asker: LanHost,
    namespace: string,
    together: readonly string[],
  ) {
    this.#cluster = cluster;
    this.#asker = asker;
    this.#namespace = namespace;
    this.together = together;
  }

  /** Makes them and waits until each has its addresses and the first node answers for its part. */
  static async open(
    cluster: Cluster,
    api: Api,
    asker: LanHost,
    options: MassOptions,
  ): Promise<Mass> {
    const { namespace, families, services, together } = options;
    const lists = families.map((family) => addressesOf(cluster, family, options));
    const first = lists.flatMap((list) => list.slice(0, together));
    const mass = new Mass(cluster, asker, namespace, first);
    await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
    await options.makePool(families.map((family) => rangeOf(family, options.block)));
    const numbers = Array.from({ length: services }, (_none, i) => i);
    const backend = cluster.nodes.at(-1)?.name ?? "";
    await api.create(
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      numbers.flatMap((i) => families.map((family) => endpointSlice(i, family, backend))),
    );
    await api.create(
      `/api/v1/namespaces/${namespace}/services`,
      numbers.map((i) =>
        service(
          i,
          options,
          lists.map((list) => list[i] ?? ""),
        ),
      ),
    );
    await mass.#assigned(api, services, families.length);
    await mass.#gather(cluster.nodes[0]!, options.replaceSpeaker);
    return mass;
  }

  async #assigned(api: Api, services: number, addresses: number): Promise<void> {
    const path = `/api/v1/namespaces/${this.#namespace}/services`;
    const all = async (): Promise<boolean> => {
      const list = (await api.call("GET", path)) as {
        items: { status: { loadBalancer: { ingress?: unknown[] } } }[];
      };
      return list.items.every(
        ({ status }) => (status.loadBalancer.ingress ?? []).length === addresses,
      );
    };
    await waitFor(`addresses of ${services} Services`, 300, all, 1000);
  }

  /**
   * Brings its part to a node. They are there, for it ranks first, unless it was taken for dead when
   * they were made; whoever leaves hands over to the first by rank.
   */
  async #gather(at: ClusterNode, replaceSpeaker: MassOptions["replaceSpeaker"]): Promise<void> {
    await waitFor(`${this.together.length} addresses at ${at.name}`, 240, async () => {
      const answers = await this.#ask(() => delay(6 * QUESTION_MS));
      const owners = new Map(answers.map((each) => [each.address, each.hardwareAddress]));
      const missing = this.together.filter((address) => !owners.has(address));
      if (missing.length > 0)
        throw new Error(
          `nobody answers for ${missing.length} of them, ${missing.slice(0, 5).join()}`,
        );
      const others = this.#cluster.nodes.filter((node) => {
        return node !== at && [...owners.values()].includes(node.layout.hardwareAddress());
      });
      const [leaving] = others;
      if (leaving === undefined) return true;
      await replaceSpeaker?.(leaving);
      throw new Error(`some were at ${leaving.name}`);
    });
  }

  async #ask(during: () => Promise<void>): Promise<Answer[]> {
    const capture = await this.#asker.capture(ANSWER_FILTER);
    const questions = await this.#asker.ask(this.together, QUESTION_MS);
    try {
      await during();
    } finally {
      await questions.stop();
    }
    return await readAnswers(await capture.stop());
  }

  /** Cuts the link of the node that has them, for so long, and tells what was seen. */
  async move(from: ClusterNode, seconds: number): Promise<MassMove> {
    let cutMs = 0;
    const answers = await this.#ask(async () => {
      await delay(4 * QUESTION_MS);
      cutMs = Date.now();
      await from.cutLink();
      await delay(seconds * 1000);
    });
    await from.restoreLink();
    const mac = from.layout.hardwareAddress();
    const after = new Map<string, number>();
    for (const { address, hardwareAddress, atMs } of answers)
      if (atMs >= cutMs && hardwareAddress !== mac && !after.has(address))
        after.set(address, atMs - cutMs);
    const overlaps = this.together.map((address) => {
      return judgeAnswers(answers.filter((each) => each.address === address)).overlapMs;
    });
    const complete = after.size === this.together.length;
    return {
      allMs: complete ? Math.max(...after.values()) : Infinity,
      overlapMs: Math.max(...overlaps),
    };
  }

  /** Removes the Services. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.kubectl(["delete", "namespace", this.#namespace, "--wait=true"]);
  }
}

function rangeOf(family: "ipv4" | "ipv6", block: number): string {
  return family === "ipv4" ? `172.30.${block}.0/19` : `fd00:30::${block}:0/112`;
}

/** Addresses for which the first node ranks first, then addresses for which it does not. */
function addressesOf(cluster: Cluster, family: "ipv4" | "ipv6", options: MassOptions): string[] {
  const { block, services, together } = options;
  const nodes = cluster.nodes.map(({ name }) => name);
  const first: string[] = [];
  const other: string[] = [];
  for (let i = 1; first.length < together || other.length < services - together; i++) {
    const text =
      family === "ipv4"
        ? `172.30.${block + (i >> 8)}.${i & 255}`
        : `fd00:30::${block}:${i.toString(16)}`;
    const candidate = parsed(text);
    const best = nodes.toSorted((a, b) =>
      rankOf(a, candidate) < rankOf(b, candidate) ? -1 : 1,
    )[0];
    (best === nodes[0] ? first : other).push(candidate);
  }
  return [...first.slice(0, together), ...other.slice(0, services - together)];
}

const PORTS = [{ port: 80, protocol: "TCP" }];

function endpointSlice(i: number, family: "ipv4" | "ipv6", nodeName: string): object {
  // nobody connects to it
  const address = family === "ipv4" ? "10.244.0.9" : "fd00:244::9";
  return {
    metadata: { name: `s-${i}-${family}`, labels: { "kubernetes.io/service-name": `s-${i}` } },
    addressType: family === "ipv4" ? "IPv4" : "IPv6",
    endpoints: [{ addresses: [address], nodeName, conditions: { ready: true } }],
    ports: PORTS,
  };
}

function service(i: number, options: MassOptions, addresses: readonly string[]): object {
  const { namespace, loadBalancerClass, families } = options;
  return {
    metadata: {
      name: `s-${i}`,
      annotations: {
        "metallb.io/address-pool": namespace,
        "metallb.io/loadBalancerIPs": addresses.join(","),
      },
    },
    spec: {
      type: "LoadBalancer",
      ...(loadBalancerClass !== undefined && { loadBalancerClass }),
      allocateLoadBalancerNodePorts: false,
      ipFamilyPolicy: families.length > 1 ? "RequireDualStack" : "SingleStack",
      ipFamilies: families.map((family) => (family === "ipv4" ? "IPv4" : "IPv6")),
      ports: PORTS,
    },
  };
}
