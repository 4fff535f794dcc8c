/**
 * Failover as a client on the LAN sees it. The addresses of a scene all rank the nodes alike, so that
 * they are at one node together and move together: one fault tries both families and both policies.
 *
 * - `far`: externalTrafficPolicy Cluster, announced from all nodes, its backend on the last node
 * - `near`: externalTrafficPolicy Local, a backend on each node
 *
 * The last node has the backend of the one, so it is never what fails; nor does it rank first.
 */
import type { AddressObservation } from "../../api/service-l2-status.ts";
import { address as parsed } from "../../packet/address/address.ts";
import { rankOf } from "../../speaker/claims.ts";
import {
  ANSWER_FILTER,
  judgeAnswers,
  readAnswers,
  type Answer,
  type Answering,
} from "./answers.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { WEB_IMAGE } from "./images.ts";
import type { Capture, LanHost, Outage, Probe, Running } from "./lan.ts";
import { families } from "./layout.ts";
import { PRODUCT_NAMESPACE, waitForAddresses, waitForAnswer } from "./product.ts";
import { waitFor } from "./wait.ts";

/** Between two connections of a client, and between two questions for an address. */
const INTERVAL_MS = 10;
/** How long a connection may take before it counts as failed. */
const PATIENCE_MS = 50;
/** An outage that has lasted no longer when the client is stopped may be a connection that was late. */
const JUST_BEGUN_MS = 1_000;

/** Tells whether an outage had ended when the client was stopped, or may have been a late connection. */
export function isOver({ ended, outageMs }: Outage): boolean {
  return ended || outageMs < JUST_BEGUN_MS;
}

/** An address that is watched. */
export interface Subject {
  readonly service: string;
  readonly address: string;
}

/** What a client saw of one address. */
export interface Finding extends Subject, Omit<Answering, "order"> {
  /** Longest time without a connection that succeeded; 0 when all did. */
  readonly outageMs: number;
  readonly ended: boolean;
  readonly attempts: number;
  readonly failed: number;
  /** Names of the nodes that answered, in the order in which they began. */
  readonly owners: readonly string[];
  /** Name of the node that the client's neighbour table has at the end. */
  readonly neighbour: string | undefined;
}

/** Addresses for which the nodes rank in this order, the first ones that there are. */
export function addressesRanking(
  nodes: readonly string[],
  count: number,
  nth: (i: number) => string,
): string[] {
  const found: string[] = [];
  for (let i = 1; found.length < count && i < 65_536; i++) {
    const candidate = parsed(nth(i));
    const ranks = nodes.map((node) => rankOf(node, candidate));
    if (ranks.every((rank, j) => j === 0 || (ranks[j - 1] ?? "") < rank)) found.push(candidate);
  }
  return found;
}

/** Where the addresses of a scene are from, and whose they are. */
export interface SceneOptions {
  /** Names the namespace, and the pool that the Services ask for. */
  readonly pool: string;
  /** Its addresses begin at 172.30.BLOCK.1 and fd00:30::BLOCK:1; two or three blocks hold them. */
  readonly block: number;
  /** Makes the pool. */
  readonly makePool: (addresses: readonly string[]) => Promise<void>;
  readonly loadBalancerClass?: string;
}

/** A pool from which only those who ask get addresses, announced from all nodes. */
export const poolNamed = (name: string, addresses: readonly string[]) => ({
  apiVersion: "metallb.io/v1beta1",
  kind: "AddressPool",
  metadata: { name, namespace: PRODUCT_NAMESPACE },
  spec: { protocol: "layer2", addresses, autoAssign: false, announceFrom: "AllNodes" },
});

const CONTAINER = {
  name: "web",
  image: WEB_IMAGE,
  imagePullPolicy: "Never",
  readinessProbe: {
    httpGet: { path: "/healthz", port: 8080 },
    periodSeconds: 1,
    failureThreshold: 1,
  },
};

/** A web server, on every node or on one. */
export const backend = (
  name: string,
  namespace: string,
  where: { node: string } | "each",
  nodes = 1,
) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace },
  spec: {
    replicas: where === "each" ? nodes : 1,
    selector: { matchLabels: { app: name } },
    strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        terminationGracePeriodSeconds: 10,
        ...(where === "each"
          ? {
              affinity: {
                podAntiAffinity: {
                  requiredDuringSchedulingIgnoredDuringExecution: [
                    {
                      topologyKey: "kubernetes.io/hostname",
                      labelSelector: { matchLabels: { app: name } },
                    },
                  ],
                },
              },
            }
          : { nodeSelector: { "kubernetes.io/hostname": where.node } }),
        // as users do who want to lose nothing: it serves on until everybody has heard that it goes
        containers: [{ ...CONTAINER, lifecycle: { preStop: { sleep: { seconds: 5 } } } }],
      },
    },
  },
});

/** Services, backends, a client and whoever asks for the addresses. */
export class FailoverScene implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly client: LanHost;
  readonly asker: LanHost;
  readonly subjects: readonly Subject[];

  private constructor(
    cluster: Cluster,
    namespace: string,
    hosts: { client: LanHost; asker: LanHost },
    subjects: readonly Subject[],
  ) {
    this.cluster = cluster;
    this.namespace = namespace;
    this.client = hosts.client;
    this.asker = hosts.asker;
    this.subjects = subjects;
  }

  /** Makes them on a cluster that has the product, or another that reads the same annotations. */
  static async open(cluster: Cluster, options: SceneOptions): Promise<FailoverScene> {
    const { pool, block, makePool, loadBalancerClass } = options;
    const names = cluster.nodes.map(({ name }) => name);
    const used = families(cluster.options.family);
    const ranked = {
      ipv4: addressesRanking(names, 2, (i) => `172.30.${block + (i >> 8)}.${i & 255}`),
      ipv6: addressesRanking(names, 2, (i) => `fd00:30::${block}:${i.toString(16)}`),
    };
    const service = (name: string, i: number, externalTrafficPolicy: string) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name,
        namespace: pool,
        annotations: {
          "metallb.io/address-pool": pool,
          "metallb.io/loadBalancerIPs": used.map((family) => ranked[family][i]).join(","),
        },
      },
      spec: {
        type: "LoadBalancer",
        externalTrafficPolicy,
        ...(loadBalancerClass !== undefined && { loadBalancerClass }),
        ipFamilyPolicy: used.length > 1 ? "RequireDualStack" : "SingleStack",
        selector: { app: name },
        ports: [{ port: 80, targetPort: 8080 }],
      },
    });
    await makePool(used.flatMap((family) => ranked[family]));
    await cluster.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: pool } },
      backend("far", pool, { node: names.at(-1) ?? "" }),
      backend("near", pool, "each", names.length),
    );
    for (const name of ["far", "near"])
      await cluster.kubectl([
        "-n",
        pool,
        "rollout",
        "status",
        `deployment/${name}`,
        "--timeout=90s",
      ]);
    await cluster.apply(service("far", 0, "Cluster"), service("near", 1, "Local"));
    const subjects: Subject[] = [];
    for (const name of ["far", "near"])
      for (const address of await waitForAddresses(cluster, name, used.length, pool))
        subjects.push({ service: name, address });
    const hosts = { client: await cluster.host(), asker: await cluster.host() };
    for (const { address } of subjects) await waitForAnswer(hosts.client, address);
    return new FailoverScene(cluster, pool, hosts, subjects);
  }

  /** The node that a client finds at an address when it asks anew. */
  async ownerOf(address: string): Promise<ClusterNode> {
    return await waitFor(`the owner of ${address}`, 30, async () => {
      await this.client.forgetNeighbours();
      await this.client.fetch(address);
      return this.nodeWith(await this.client.neighbour(address));
    });
  }

  /** The node that the client sends an address's packets to. */
  async nodeOf(address: string): Promise<ClusterNode> {
    const found = this.nodeWith(await this.client.neighbour(address));
    if (found === undefined) throw new Error(`the client knows no node that has ${address}`);
    return found;
  }

  /** The node with a hardware address. */
  nodeWith(hardwareAddress: string | undefined): ClusterNode | undefined {
    return this.cluster.nodes.find(({ layout }) => layout.hardwareAddress() === hardwareAddress);
  }

  /**
   * Waits until every node could take every address (its speaker is there, its backend Ready), in the
   * words of the node that the client finds there: what an earlier owner wrote says nothing.
   */
  async whole(seconds = 120): Promise<void> {
    const others = this.cluster.nodes.length - 1;
    await waitFor(
      "every node a candidate for every address",
      seconds,
      async () => {
        const observed = await this.#observations();
        const owners = await this.#neighbours();
        for (const { address } of this.subjects) {
          const { node, otherNodes = [] } = observed.get(address) ?? {};
          const owner = owners.get(address)?.name;
          if (node === undefined || node !== owner) {
            await this.client.fetch(address); // the client may have forgotten it
            throw new Error(`${address}: ${node ?? "nobody"} writes, ${owner ?? "nobody"} answers`);
          }
          const able = otherNodes.filter(({ reason }) => reason === "LowerRank");
          if (able.length !== others) throw new Error(`${address}: ${JSON.stringify(otherNodes)}`);
        }
        return true;
      },
      200,
    );
    await this.#eachServesItsOwn();
  }

  /**
   * Waits until each node serves the Service whose backends are its own. What the API says of a node
   * that was gone is not enough: while the API server was away too, it still says what was before.
   */
  async #eachServesItsOwn(): Promise<void> {
    const path = "jsonpath={.spec.ports[0].nodePort}";
    const get = ["-n", this.namespace, "get", "service", "near", "-o", path];
    const port = Number(await this.cluster.kubectl(get));
    const used = families(this.cluster.options.family);
    for (const { name, layout } of this.cluster.nodes)
      for (const family of used)
        await waitFor(`the local backend of ${name} over ${family}`, 60, () =>
          this.client.fetch(layout.address()[family], port),
        );
  }

  /** The nodes that the client sends packets to, by address. */
  async #neighbours(): Promise<Map<string, ClusterNode>> {
    const table = await this.client.neighbours();
    return new Map(
      table.flatMap(({ address, hardwareAddress }) => {
        const node = this.nodeWith(hardwareAddress);
        return node === undefined ? [] : [[address, node] as const];
      }),
    );
  }

  /** What the owner of each address says of it. */
  async #observations(): Promise<Map<string, AddressObservation & { readonly node: string }>> {
    const get = ["-n", PRODUCT_NAMESPACE, "get", "servicel2statuses", "-o", "json"];
    const { items } = JSON.parse(await this.cluster.kubectl(get)) as {
      items: { status?: { node: string; addresses?: AddressObservation[] } }[];
    };
    const announced = items
      .flatMap(({ status }) =>
        (status?.addresses ?? []).map((each) => ({ ...each, node: status?.node ?? "" })),
      )
      .filter(({ reason }) => reason === "Announced")
      // the highest term is right
      .toSorted((a, b) => a.term - b.term);
    return new Map(announced.map((each) => [each.address, each]));
  }

  /** Moves, if need be, all addresses to one node that is not the last. @returns that node */
  async gather(): Promise<ClusterNode> {
    for (let tries = 0; tries < 5; tries++) {
      await this.whole();
      const owners: ClusterNode[] = [];
      for (const { address } of this.subjects) owners.push(await this.ownerOf(address));
      const last = this.cluster.nodes.at(-1);
      const [first] = owners;
      if (first !== undefined && first !== last && owners.every((each) => each === first))
        return first;
      // by rank they all go from a node that leaves to the first of those that stay
      const leaving = owners.includes(last!)
        ? last
        : owners.find((each) => each !== this.cluster.nodes[0]);
      if (leaving !== undefined) await this.restartSpeaker(leaving);
    }
    throw new Error("the addresses do not come together at one node");
  }

  /** Ends the speaker of a node as kubectl does, and waits for the next one. */
  async restartSpeaker(node: ClusterNode): Promise<void> {
    const select = ["-l", "component=speaker", "--field-selector", `spec.nodeName=${node.name}`];
    await this.cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "pod", ...select]);
    await this.waitForSpeakers();
  }

  /** Waits until every speaker is Ready. */
  async waitForSpeakers(): Promise<void> {
    const status = ["rollout", "status", "daemonset/speaker", "--timeout=120s"];
    await this.cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...status]);
  }

  /** Begins to open connections and to ask, of each address one every so often. */
  async watch({ intervalMs = INTERVAL_MS, patienceMs = PATIENCE_MS } = {}): Promise<Watch> {
    for (const { address } of this.subjects) await waitForAnswer(this.client, address);
    const capture = await this.asker.capture(ANSWER_FILTER);
    const questions = await this.asker.ask(
      this.subjects.map(({ address }) => address),
      intervalMs,
    );
    const probes = await Promise.all(
      this.subjects.map(({ address }) => this.client.probe(address, 80, intervalMs, patienceMs)),
    );
    return new Watch(this, capture, questions, probes);
  }

  /** Removes the Services and all that belongs to them; the pool stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { cluster, namespace } = this;
    await cluster.kubectl(["delete", "namespace", namespace, "--ignore-not-found", "--wait=true"]);
  }
}

/** A client and an asker at work. */
export class Watch {
  readonly #scene: FailoverScene;
  readonly #capture: Capture;
  readonly #questions: Running;
  readonly #probes: readonly Probe[];
  #answers: readonly Answer[] = [];

  constructor(
    scene: FailoverScene,
    capture: Capture,
    questions: Running,
    probes: readonly Probe[],
  ) {
    this.#scene = scene;
    this.#capture = capture;
    this.#questions = questions;
    this.#probes = probes;
  }

  /** Waits until the client's neighbour table has none of these nodes, and every address is reached. */
  async moved(away: readonly ClusterNode[], seconds = 30): Promise<void> {
    const { client, subjects } = this.#scene;
    await waitFor(
      `addresses away from ${away.map(({ name }) => name).join()}`,
      seconds,
      async () => {
        const table = new Map(
          (await client.neighbours()).map((each) => [each.address, each.hardwareAddress]),
        );
        return subjects.every(({ address }) => {
          const node = this.#scene.nodeWith(table.get(address));
          return node !== undefined && !away.includes(node);
        });
      },
    );
    for (const { address } of subjects) await waitForAnswer(client, address);
  }

  /** Watches during something, to its end also when it fails, and shows what was seen. */
  async during(
    something: () => Promise<void>,
    show: (findings: readonly Finding[]) => void,
  ): Promise<Finding[]> {
    const outcome = await something().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const findings = await this.stop();
    show(findings);
    if (outcome !== undefined) throw outcome.error;
    return findings;
  }

  /** Ends it, when every address is reached again, and tells what was seen. */
  async stop(): Promise<Finding[]> {
    const { client, subjects } = this.#scene;
    for (const { address } of subjects) await waitForAnswer(client, address);
    const reports = await Promise.all(this.#probes.map((probe) => probe.stop()));
    await this.#questions.stop();
    this.#answers = await readAnswers(await this.#capture.stop());
    const neighbours = new Map(
      (await client.neighbours()).map((each) => [each.address, each.hardwareAddress]),
    );
    return subjects.map((subject, i) => {
      const { outages = [], attempts = 0, failed = 0 } = reports[i] ?? {};
      const { order, ...answering } = judgeAnswers(this.#about(subject.address));
      return {
        ...subject,
        ...answering,
        outageMs: Math.max(0, ...outages.map(({ outageMs }) => outageMs)),
        ended: outages.every(isOver),
        attempts,
        failed,
        owners: order.map((each) => this.#scene.nodeWith(each)?.name ?? each),
        neighbour: this.#scene.nodeWith(neighbours.get(subject.address))?.name,
      };
    });
  }

  /** Judges, after the end, only what was answered from a moment on. */
  since(address: string, ms: number): Answering {
    return judgeAnswers(this.#about(address).filter(({ atMs }) => atMs >= ms));
  }

  #about(address: string): Answer[] {
    return this.#answers.filter((each) => each.address === address);
  }
}

/** Lays findings out for people. */
export function formatFindings(title: string, findings: readonly Finding[]): string {
  const lines = findings.map((each) => {
    const { service, address, outageMs, failed, attempts, owners, answerers, overlapMs } = each;
    const shown = `${outageMs.toFixed(0).padStart(5)} ms out, ${failed} of ${attempts} failed`;
    const wire = `answering ${owners.join(" > ")}, at most ${answerers} at once for ${overlapMs.toFixed(1)} ms, silence ${each.silenceMs.toFixed(0)} ms`;
    return `  ${service.padEnd(5)} ${address.padEnd(18)} ${shown}; ${wire}; neighbour ${each.neighbour ?? "none"}\n`;
  });
  return `${title}\n${lines.join("")}`;
}
