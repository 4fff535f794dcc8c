/** A thousand Services of one contender, five hundred of them at one node. */
import { setTimeout as delay } from "node:timers/promises";
import { ANSWER_FILTER, readAnswers } from "../../tests/cluster/answers.ts";
import type { Cluster, ClusterNode } from "../../tests/cluster/cluster.ts";
import { waitFor } from "../../tests/cluster/wait.ts";
import { address as parsed } from "../../packet/address/address.ts";
import { rankOf } from "../../speaker/claims.ts";
import type { Api } from "./api.ts";
import type { Contender } from "./contenders.ts";

/** Services in all, and those at the one node. */
export const MASS = { services: 1_000, together: 500 } as const;
/** Between two questions for one address. */
const QUESTION_MS = 100;

/** Addresses for which a node ranks first, then addresses for which it does not. */
function massAddresses(nodes: readonly string[], block: number): string[] {
  const first: string[] = [];
  const other: string[] = [];
  const rest = MASS.services - MASS.together;
  for (let i = 1; first.length < MASS.together || other.length < rest; i++) {
    const candidate = parsed(`172.30.${block + (i >> 8)}.${i & 255}`);
    const [best] = nodes.toSorted((a, b) => (rankOf(a, candidate) < rankOf(b, candidate) ? -1 : 1));
    const list = best === nodes[0] ? first : other;
    list.push(candidate);
  }
  return [...first.slice(0, MASS.together), ...other.slice(0, rest)];
}

/** Services with an endpoint each that needs no pod of its own. */
export class Mass implements AsyncDisposable {
  /** The first of them are at one node. */
  readonly addresses: readonly string[];
  readonly #cluster: Cluster;
  readonly #contender: Contender;
  readonly #namespace: string;

  private constructor(cluster: Cluster, contender: Contender, addresses: readonly string[]) {
    this.#cluster = cluster;
    this.#contender = contender;
    this.#namespace = `mass-${contender.side}`;
    this.addresses = addresses;
  }

  /** Makes them and waits until each has its address. */
  static async open(cluster: Cluster, api: Api, contender: Contender): Promise<Mass> {
    const names = cluster.nodes.map(({ name }) => name);
    const block = contender.side === "ours" ? 64 : 128;
    const mass = new Mass(cluster, contender, massAddresses(names, block));
    await mass.#make(api, block);
    return mass;
  }

  async #make(api: Api, block: number): Promise<void> {
    const namespace = this.#namespace;
    const { loadBalancerClass } = this.#contender;
    await this.#contender.makePool(namespace, [`172.30.${block}.0-172.30.${block + 31}.255`]);
    await this.#cluster.apply({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: namespace },
    });
    const nodeName = this.#cluster.nodes.at(-1)?.name;
    const labels = (name: string) => ({ "kubernetes.io/service-name": name });
    const ports = [{ port: 80, protocol: "TCP" }];
    await api.create(
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      this.addresses.map((_address, i) => ({
        metadata: { name: `s-${i}`, labels: labels(`s-${i}`) },
        addressType: "IPv4",
        // nobody connects to it
        endpoints: [{ addresses: ["10.244.0.9"], nodeName, conditions: { ready: true } }],
        ports,
      })),
    );
    await api.create(
      `/api/v1/namespaces/${namespace}/services`,
      this.addresses.map((address, i) => ({
        metadata: {
          name: `s-${i}`,
          annotations: {
            "metallb.io/address-pool": namespace,
            "metallb.io/loadBalancerIPs": address,
          },
        },
        spec: {
          type: "LoadBalancer",
          loadBalancerClass,
          allocateLoadBalancerNodePorts: false,
          ipFamilies: ["IPv4"],
          ports,
        },
      })),
    );
    await waitFor(
      `${this.addresses.length} addresses`,
      300,
      async () => {
        const list = (await api.call("GET", `/api/v1/namespaces/${namespace}/services`)) as {
          items: { status: { loadBalancer: { ingress?: unknown[] } } }[];
        };
        return list.items.every(({ status }) => status.loadBalancer.ingress !== undefined);
      },
      1000,
    );
  }

  /**
   * Cuts the link of a node that has addresses.
   * @returns milliseconds until the last of them was answered for by another; Infinity when one was not
   */
  async move(from: ClusterNode, patienceSeconds: number): Promise<number> {
    const { asker } = this.#contender.scene;
    const together = this.addresses.slice(0, MASS.together);
    const capture = await asker.capture(ANSWER_FILTER);
    const questions = await asker.ask(together, QUESTION_MS);
    // some rounds of questions before, so that it is known who answered
    await delay(10 * QUESTION_MS);
    const cutMs = Date.now();
    await from.cutLink();
    await delay(patienceSeconds * 1000);
    await questions.stop();
    const answers = await readAnswers(await capture.stop());
    await from.restoreLink();
    const before = new Set(
      answers
        .filter(({ atMs, hardwareAddress }) => {
          return atMs < cutMs && hardwareAddress === from.layout.hardwareAddress();
        })
        .map(({ address }) => address),
    );
    if (before.size < MASS.together)
      throw new Error(`${from.name} answered for ${before.size} addresses of ${MASS.together}`);
    const after = new Map<string, number>();
    for (const { address, hardwareAddress, atMs } of answers) {
      if (atMs < cutMs || hardwareAddress === from.layout.hardwareAddress()) continue;
      if (!after.has(address)) after.set(address, atMs - cutMs);
    }
    return after.size < MASS.together ? Infinity : Math.max(...after.values());
  }

  /** Waits until a node answers for all of them that are to be together. */
  async gathered(at: ClusterNode): Promise<void> {
    const { asker } = this.#contender.scene;
    const together = this.addresses.slice(0, MASS.together);
    await waitFor(`${MASS.together} addresses at ${at.name}`, 120, async () => {
      const capture = await asker.capture(ANSWER_FILTER);
      const questions = await asker.ask(together, QUESTION_MS);
      await delay(4 * QUESTION_MS);
      await questions.stop();
      const answers = await readAnswers(await capture.stop());
      const there = answers.filter(
        ({ hardwareAddress }) => hardwareAddress === at.layout.hardwareAddress(),
      );
      return new Set(there.map(({ address }) => address)).size === MASS.together;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.kubectl(["delete", "namespace", this.#namespace, "--wait=true"]);
  }
}
