/**
 * How long a Service cannot be reached when something fails or is moved, beside MetalLB's Go speaker
 * in the same cluster and run, in turns.
 *
 * A client opens a connection every 10 ms to four addresses: both families, a Service with policy
 * Cluster (its backend stays) and one with policy Local; a round counts the worst of the four.
 *
 * - `ROUNDS` (20): of each kind of fault; the peer has a quarter of them, as it takes its time
 * - `ONLY` (all): `link`, `two`, `kill`, `api`, `planned`, `rollout`, `drain`, `ready`, `rest`,
 *   `starve`, `churn`, `mass`, separated by commas
 * - `REST_SECONDS` (30): how long rest and a starved main thread are watched
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ServiceL2Status } from "../api/service-l2-status.ts";
import { ANSWER_FILTER, readAnswers } from "../tests/cluster/answers.ts";
import { Api } from "../tests/cluster/api.ts";
import { Cluster, type ClusterNode } from "../tests/cluster/cluster.ts";
import { formatFindings, type Finding } from "../tests/cluster/failover.ts";
import { UsageError, runMain } from "../tests/cluster/failure.ts";
import { buildProductImage } from "../tests/cluster/for-tests.ts";
import { Mass } from "../tests/cluster/mass.ts";
import { downOnSignal } from "../tests/cluster/signal.ts";
import { waitFor } from "../tests/cluster/wait.ts";
import { memoryOf } from "./controller/peer.ts";
import { installOurs, installTheirs, type Contender } from "./failover/contenders.ts";
import { datagrams, processorShares } from "./failover/processes.ts";
import { report, type Figure } from "./support/report.ts";

/** Five, so that two may fail and a majority is left. */
const NODES = 5;
const SECTIONS = [
  "link",
  "two",
  "kill",
  "api",
  "planned",
  "rollout",
  "drain",
  "ready",
  "rest",
  "starve",
  "churn",
  "mass",
] as const;
type Section = (typeof SECTIONS)[number];

const ROUNDS = Number(process.env["ROUNDS"] ?? 20);
const REST_SECONDS = Number(process.env["REST_SECONDS"] ?? 30);
const MASS = { services: 1_000, together: 500, families: ["ipv4"] } as const;
const MASS_BLOCK = { ours: 64, peer: 128 } as const;
const CHURN = { perSecond: 200, seconds: 20, slices: 200 };
/**
 * Patience of a connection of which only is asked whether it was lost: Linux repeats a SYN after a
 * second, so that one which nobody answered has failed by then, and one that was merely late has not.
 */
const LOST_MS = 900;
const STARVED = { stillMs: 2_000, pauseMs: 200 };

function chosenSections(): readonly Section[] {
  const only = process.env["ONLY"];
  if (only === undefined) return SECTIONS;
  return only.split(",").map((text) => {
    const found = SECTIONS.find((section) => section === text);
    if (found === undefined) throw new UsageError(`ONLY=${only}: use ${SECTIONS.join(", ")}`);
    return found;
  });
}

/** Rounds of which each costs as much as so many others, one at least. */
const fewer = (by: number): number => Math.max(1, Math.round(ROUNDS / by));
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const longest = (findings: readonly Finding[]): number =>
  Math.max(...findings.map(({ outageMs, ended }) => (ended ? outageMs : Infinity)));
const failures = (findings: readonly Finding[]): number =>
  findings.reduce((sum, { failed }) => sum + failed, 0);

/** The bench at work. */
class Bench {
  readonly cluster: Cluster;
  readonly ours: Contender;
  readonly peer: Contender;
  readonly figures: Figure[] = [];

  constructor(cluster: Cluster, ours: Contender, peer: Contender) {
    this.cluster = cluster;
    this.ours = ours;
    this.peer = peer;
  }

  /** The node that has a contender's addresses, all of them. */
  async ownerOf({ scene, side }: Contender): Promise<ClusterNode> {
    if (side === "ours") return await scene.gather();
    return await scene.ownerOf(scene.subjects[0]?.address ?? "");
  }

  /** The node that has a contender's first address, as the client sees it; nothing is moved for it. */
  async holderOf({ scene }: Contender): Promise<ClusterNode> {
    return await scene.nodeOf(scene.subjects[0]?.address ?? "");
  }

  /** Watches a contender's addresses during something. */
  async seen(
    contender: Contender,
    title: string,
    during: (moved: (away: readonly ClusterNode[]) => Promise<void>) => Promise<void>,
    patienceMs?: number,
  ): Promise<Finding[]> {
    const watch = await contender.scene.watch({ ...(patienceMs !== undefined && { patienceMs }) });
    return await watch.during(
      () => during((away) => watch.moved(away, 60)),
      (findings) => say(formatFindings(`${contender.side}: ${title}`, findings).trimEnd()),
    );
  }

  /** Outages of rounds of a fault, ours and in turns the peer's. */
  async outages(
    rounds: number,
    peerRounds: number,
    once: (contender: Contender) => Promise<number>,
  ): Promise<{ ours: number[]; peer: number[] }> {
    const found: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
    const every = Math.max(1, Math.floor(rounds / peerRounds));
    for (let round = 0; round < rounds; round++) {
      found.ours.push(await once(this.ours));
      if (round % every === 0 && found.peer.length < peerRounds)
        found.peer.push(await once(this.peer));
    }
    return found;
  }

  /** Fails the owner (and its successor) of a contender's addresses, and mends it. */
  async fault(
    contender: Contender,
    title: string,
    how: {
      readonly together?: number;
      readonly kill?: boolean;
      readonly api?: boolean;
    },
  ): Promise<number> {
    const { together = 1, kill = false, api = true } = how;
    await contender.recovered();
    const owner = await this.ownerOf(contender);
    const others = this.cluster.nodes.filter((node) => node !== owner);
    const failing = [owner, ...others.slice(0, together - 1)];
    if (!api) await this.cluster.apiServer.stop();
    try {
      const findings = await this.seen(contender, title, async (moved) => {
        await Promise.all(failing.map((node) => (kill ? node.kill() : node.cutLink())));
        await moved(failing);
      });
      return longest(findings);
    } finally {
      await Promise.all(failing.map((node) => (kill ? node.start() : node.restoreLink())));
      if (!api) await this.cluster.apiServer.start();
      await Promise.all(failing.map((node) => node.waitReady()));
    }
  }

  /** Adds the figures of outages: typical and longest. */
  showOutages(what: string, { ours, peer }: { ours: number[]; peer: number[] }): void {
    this.figures.push(
      {
        figure: `${what}: outage`,
        unit: "ms",
        ours,
        peer,
        targets: [{ is: "at most", value: 450 }],
      },
      {
        figure: `${what}: longest outage of ${ours.length}`,
        unit: "ms",
        ours: [Math.max(...ours)],
        peer: [Math.max(...peer)],
        targets: [{ is: "at most", value: 600 }],
      },
    );
  }

  async link(): Promise<void> {
    const title = "owner's link cut";
    const once = (contender: Contender): Promise<number> => this.fault(contender, title, {});
    this.showOutages(title, await this.outages(ROUNDS, fewer(4), once));
  }

  async two(): Promise<void> {
    const title = `links of owner and successor cut, of ${NODES} nodes`;
    const once = (contender: Contender): Promise<number> =>
      this.fault(contender, title, { together: 2 });
    this.showOutages(title, await this.outages(ROUNDS, fewer(7), once));
  }

  async kill(): Promise<void> {
    const title = "owner's kernel gone";
    const once = (contender: Contender): Promise<number> =>
      this.fault(contender, title, { kill: true });
    this.showOutages(title, await this.outages(fewer(2), fewer(10), once));
  }

  async api(): Promise<void> {
    const title = "owner's link cut, API server stopped";
    const once = (contender: Contender): Promise<number> =>
      this.fault(contender, title, { api: false });
    this.showOutages(title, await this.outages(fewer(4), fewer(10), once));
  }

  /** Failed connections of a planned move beside those of a stretch without one, just as long. */
  async planned(
    title: string,
    rounds: number,
    move: (contender: Contender) => Promise<void>,
  ): Promise<void> {
    const failed: Record<"ours" | "peer" | "quiet", number[]> = { ours: [], peer: [], quiet: [] };
    const lasted: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const contender of [this.ours, this.peer]) {
        if (contender === this.peer && round % 4 !== 0) continue;
        await contender.recovered();
        const began = performance.now();
        const findings = await this.seen(contender, title, () => move(contender), LOST_MS);
        failed[contender.side].push(failures(findings));
        const seconds = (performance.now() - began) / 1000;
        if (contender.side === "ours") lasted.push(seconds);
        else continue;
        const quiet = () => delay(seconds * 1000);
        const stretch = await this.seen(contender, "a quiet stretch", quiet, LOST_MS);
        failed.quiet.push(failures(stretch));
      }
    }
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
    this.figures.push(
      {
        figure: `${title}: failed connections a run (limit: a quiet stretch as long)`,
        unit: "connections",
        ours: failed.ours,
        peer: failed.peer,
        limit: failed.quiet,
        targets: [{ is: "at most", value: 1, times: "limit", negligible: 0 }],
      },
      {
        figure: `${title}: failed connections in all ${rounds} runs`,
        unit: "connections",
        ours: [sum(failed.ours)],
        limit: [sum(failed.quiet)],
        targets: [{ is: "at most", value: 1, times: "limit", negligible: 0 }],
      },
    );
  }

  /**
   * Ends the owner's speaker, and for comparison one that holds nothing: a container that ends and
   * another that starts cost a small machine time in which connections fail, whoever it is.
   */
  async sigterm(): Promise<void> {
    const end = async (contender: Contender, node: ClusterNode): Promise<void> => {
      const select = ["-l", "component=speaker", "--field-selector", `spec.nodeName=${node.name}`];
      await this.cluster.kubectl(["-n", contender.namespace, "delete", "pod", ...select]);
      await this.rolledOut(contender);
    };
    await this.planned("owner's speaker ended (SIGTERM)", ROUNDS, async (contender) => {
      await end(contender, await this.holderOf(contender));
    });
    await this.planned("another's speaker ended, nothing moves", fewer(2), async (contender) => {
      const owner = await this.holderOf(contender);
      const other = this.cluster.nodes.find((node) => node !== owner);
      if (other !== undefined) await end(contender, other);
    });
  }

  async rollout(): Promise<void> {
    await this.planned("rolling restart of all speakers", fewer(5), async (contender) => {
      const restart = ["rollout", "restart", "daemonset/speaker"];
      await this.cluster.kubectl(["-n", contender.namespace, ...restart]);
      await this.rolledOut(contender);
    });
  }

  async rolledOut({ namespace }: Contender): Promise<void> {
    const status = ["rollout", "status", "daemonset/speaker", "--timeout=180s"];
    await this.cluster.kubectl(["-n", namespace, ...status]);
  }

  async drain(): Promise<void> {
    await this.planned("owner's node drained", fewer(5), async (contender) => {
      const owner = await this.holderOf(contender);
      try {
        await owner.drain();
      } finally {
        await owner.uncordon();
      }
    });
  }

  /** From an endpoint that is Ready in the API to an answer on the wire. */
  async ready(api: Api): Promise<void> {
    const found: Record<"ours" | "peer", number[]> = { ours: [], peer: [] };
    for (const contender of [this.ours, this.peer]) await contender.recovered();
    const services = {
      ours: await this.#lonely(this.ours, "172.30.40.1"),
      peer: await this.#lonely(this.peer, "172.30.41.1"),
    };
    for (let round = 0; round < ROUNDS; round++)
      for (const contender of [this.ours, this.peer])
        found[contender.side].push(
          await this.#untilAnswered(api, contender, services[contender.side]),
        );
    this.figures.push({
      figure: "endpoint Ready in the API: address answered for",
      unit: "ms",
      ...found,
      targets: [{ is: "at most", value: 150 }],
    });
  }

  /** A Service with one endpoint, which is not Ready. @returns its address */
  async #lonely(contender: Contender, address: string): Promise<string> {
    const { scene, loadBalancerClass } = contender;
    const { namespace } = scene;
    const pool = `lonely-${contender.side}`;
    await contender.makePool(pool, [address]);
    const annotations = {
      "metallb.io/address-pool": pool,
      "metallb.io/loadBalancerIPs": address,
    };
    const ports = [{ port: 80, protocol: "TCP" }];
    await this.cluster.apply(
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "lonely", namespace, annotations },
        spec: { type: "LoadBalancer", loadBalancerClass, ipFamilies: ["IPv4"], ports },
      },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "lonely", namespace, labels: { "kubernetes.io/service-name": "lonely" } },
        addressType: "IPv4",
        endpoints: [this.#endpoint(true)],
        ports,
      },
    );
    await waitFor(`somebody at ${address}`, 60, () => this.#answered(contender, address));
    return address;
  }

  #endpoint(ready: boolean): object {
    const nodeName = this.cluster.nodes.at(-1)?.name;
    return { addresses: ["10.244.0.9"], nodeName, conditions: { ready } };
  }

  async #answered({ scene }: Contender, address: string): Promise<boolean> {
    await scene.client.forgetNeighbours();
    await scene.client.fetch(address, 80, 0.2);
    return (await scene.client.neighbour(address)) !== undefined;
  }

  async #untilAnswered(api: Api, contender: Contender, address: string): Promise<number> {
    const { scene } = contender;
    const path = `/apis/discovery.k8s.io/v1/namespaces/${scene.namespace}/endpointslices/lonely`;
    const set = (ready: boolean): Promise<unknown> =>
      api.call("PATCH", path, { endpoints: [this.#endpoint(ready)] });
    await set(false);
    await waitFor(
      `nobody at ${address}`,
      60,
      async () => !(await this.#answered(contender, address)),
    );
    const capture = await scene.asker.capture(ANSWER_FILTER);
    const questions = await scene.asker.ask([address], 5);
    const readyMs = Date.now();
    await set(true);
    await waitFor(`somebody at ${address}`, 60, () => this.#answered(contender, address));
    await questions.stop();
    const [first] = (await readAnswers(await capture.stop())).filter(
      (each) => each.address === address && each.atMs >= readyMs,
    );
    return first === undefined ? Infinity : first.atMs - readyMs;
  }

  pidsOf(contender: Contender): number[] {
    return this.cluster.nodes.map((node) => contender.speakerOn(node));
  }

  /** The terms of our addresses, by the speakers' own word: each move raises one. */
  async terms(): Promise<ReadonlyMap<string, number>> {
    const all = ["get", "servicel2statuses", "-A", "-o", "json"];
    const { items } = JSON.parse(await this.cluster.kubectl(all)) as {
      readonly items: readonly ServiceL2Status[];
    };
    const terms = new Map<string, number>();
    for (const { address, term } of items.flatMap(({ status }) => status?.addresses ?? []))
      terms.set(address, Math.max(term, terms.get(address) ?? 0));
    if (terms.size === 0) throw new Error("no ServiceL2Status tells of an address");
    return terms;
  }

  /** What speakers cost that have nothing to do, and whether anything moves. */
  async rest(): Promise<void> {
    await this.ours.recovered();
    const termsBefore = await this.terms();
    const [ourShares, peerShares] = await Promise.all([
      processorShares(this.pidsOf(this.ours), REST_SECONDS),
      processorShares(this.pidsOf(this.peer), REST_SECONDS),
    ]);
    const terms = await this.terms();
    const moves = [...termsBefore].map(
      ([address, term]) => (terms.get(address) ?? Infinity) - term,
    );
    const [first] = this.cluster.nodes;
    if (first === undefined) return;
    const [ourTraffic, peerTraffic] = await Promise.all([
      datagrams(first, this.ours.memberPort, 10),
      datagrams(first, this.peer.memberPort, 10),
    ]);
    const ourMemory = this.pidsOf(this.ours).map(memoryOf);
    const peerMemory = this.pidsOf(this.peer).map(memoryOf);
    this.figures.push(
      {
        figure: `at rest: moves in ${REST_SECONDS} s, by the terms of ${terms.size} addresses`,
        unit: "moves",
        ours: [moves.reduce((sum, each) => sum + each, 0)],
        targets: [{ is: "at most", value: 0 }],
      },
      {
        figure: `at rest, ${NODES} nodes: processor of a speaker`,
        unit: "% of a core",
        ours: ourShares,
        peer: peerShares,
        targets: [{ is: "at most", value: 3 }],
      },
      {
        figure: `at rest, ${NODES} nodes: datagrams sent`,
        unit: "1/s",
        ours: [ourTraffic.sent],
        peer: [peerTraffic.sent],
        targets: [{ is: "at most", value: 100 }],
      },
      {
        figure: `at rest, ${NODES} nodes: datagrams received`,
        unit: "1/s",
        ours: [ourTraffic.received],
        peer: [peerTraffic.received],
        targets: [{ is: "at most", value: 100 }],
      },
      {
        figure: "resident memory of a speaker, a few Services",
        unit: "MB",
        ours: ourMemory.map(({ resident }) => resident),
        peer: peerMemory.map(({ resident }) => resident),
        targets: [{ is: "at most", value: 90 }],
      },
      {
        figure: "of that anonymous",
        unit: "MB",
        ours: ourMemory.map(({ anonymous }) => anonymous),
        peer: peerMemory.map(({ anonymous }) => anonymous),
        targets: [],
      },
    );
  }

  /** Counts moves that nothing called for, at rest and while main threads stand still. */
  async starve(): Promise<void> {
    await this.ours.recovered();
    const moves = (findings: readonly Finding[]): number =>
      findings.reduce((sum, { owners }) => sum + owners.length - 1, 0);
    const idle = await this.seen(this.ours, "rest", () => delay(REST_SECONDS * 1000));
    const starved = await this.seen(this.ours, "busy main threads", async () => {
      const { stillMs, pauseMs } = STARVED;
      const stalls = this.cluster.nodes.map((node) => node.stall("speaker", stillMs, pauseMs));
      await delay(REST_SECONDS * 1000);
      for (const each of stalls) await each.stop();
    });
    const targets = [{ is: "at most", value: 0 }] as const;
    this.figures.push(
      {
        figure: `false moves in ${REST_SECONDS} s of rest`,
        unit: "moves",
        ours: [moves(idle)],
        targets,
      },
      {
        figure: `false moves in ${REST_SECONDS} s with main threads that stand still for 2 s at a time`,
        unit: "moves",
        ours: [moves(starved)],
        targets,
      },
    );
  }

  /** What Services that are nobody's cost. */
  async churn(api: Api): Promise<void> {
    const namespace = "churn";
    await this.cluster.apply({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: namespace },
    });
    const slices = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
    const names = Array.from({ length: CHURN.slices }, (_none, i) => `c-${i}`);
    await api.create(
      slices,
      names.map((name) => ({
        metadata: { name, labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        endpoints: [this.#endpoint(true)],
        ports: [{ port: 80, protocol: "TCP" }],
      })),
    );
    let updates = 0;
    const enough = new AbortController();
    const churning = (async () => {
      const began = performance.now();
      while (!enough.signal.aborted) {
        const wanted = ((performance.now() - began) / 1000) * CHURN.perSecond;
        const batch = Array.from({ length: Math.max(0, Math.floor(wanted) - updates) }, () => {
          const i = updates++;
          const ready = Math.floor(i / CHURN.slices) % 2 === 1;
          return api.call("PATCH", `${slices}/${names[i % CHURN.slices] ?? ""}`, {
            endpoints: [this.#endpoint(ready)],
          });
        });
        await Promise.all(batch);
        await delay(5);
      }
      return updates / ((performance.now() - began) / 1000);
    })();
    const [ours, peer] = await Promise.all([
      processorShares(this.pidsOf(this.ours), CHURN.seconds),
      processorShares(this.pidsOf(this.peer), CHURN.seconds),
    ]);
    enough.abort();
    const rate = await churning;
    await this.cluster.kubectl(["delete", "namespace", namespace, "--wait=false"]);
    this.figures.push({
      figure: `${rate.toFixed(0)} updates/s of EndpointSlices of other Services: processor of a speaker`,
      unit: "% of a core",
      ours,
      peer,
      targets: [{ is: "at most", value: 3 }],
    });
  }

  /** A thousand Services: memory, and five hundred addresses that move at once. */
  async mass(api: Api): Promise<void> {
    const found: Record<
      "ours" | "peer",
      { all: number[]; resident: number[]; anonymous: number[] }
    > = {
      ours: { all: [], resident: [], anonymous: [] },
      peer: { all: [], resident: [], anonymous: [] },
    };
    const [first] = this.cluster.nodes;
    if (first === undefined) return;
    const rounds = fewer(7);
    for (let round = 0; round < rounds; round++)
      for (const contender of round === 0 ? [this.ours, this.peer] : [this.ours]) {
        const of = found[contender.side];
        say(`${contender.side}: ${MASS.services} Services`);
        await contender.recovered();
        // made anew for each round, for what has moved does not come back by itself
        const { scene, loadBalancerClass, makePool, side } = contender;
        const namespace = `mass-${side}`;
        await using mass = await Mass.open(this.cluster, api, scene.asker, {
          ...MASS,
          namespace,
          loadBalancerClass,
          makePool: (ranges) => makePool(namespace, ranges),
          ...(side === "ours" && { replaceSpeaker: (node) => scene.restartSpeaker(node) }),
          block: MASS_BLOCK[side],
        });
        const memory = this.pidsOf(contender).map(memoryOf);
        of.resident.push(Math.max(...memory.map(({ resident }) => resident)));
        of.anonymous.push(Math.max(...memory.map(({ anonymous }) => anonymous)));
        const { allMs } = await mass.move(first, side === "ours" ? 4 : 15);
        of.all.push(allMs);
        say(`${contender.side}: all ${MASS.together} moved after ${allMs.toFixed(0)} ms`);
        await first.waitReady();
      }
    this.figures.push(
      {
        figure: `owner's link cut: all of ${MASS.together} addresses answered for`,
        unit: "ms",
        ours: found.ours.all,
        peer: found.peer.all,
        targets: [{ is: "at most", value: 1_000 }],
      },
      {
        figure: `resident memory of a speaker, ${MASS.services} Services`,
        unit: "MB",
        ours: found.ours.resident,
        peer: found.peer.resident,
        targets: [{ is: "at most", value: 110 }],
      },
      {
        figure: "of that anonymous",
        unit: "MB",
        ours: found.ours.anonymous,
        peer: found.peer.anonymous,
        targets: [],
      },
    );
  }
}

async function measure(cluster: Cluster, sections: readonly Section[]): Promise<void> {
  const ours = await installOurs(cluster);
  const peer = await installTheirs(cluster);
  using api = new Api();
  const bench = new Bench(cluster, ours, peer);
  const run: Record<Section, () => Promise<void>> = {
    link: () => bench.link(),
    two: () => bench.two(),
    kill: () => bench.kill(),
    api: () => bench.api(),
    planned: () => bench.sigterm(),
    rollout: () => bench.rollout(),
    drain: () => bench.drain(),
    ready: () => bench.ready(api),
    rest: () => bench.rest(),
    starve: () => bench.starve(),
    churn: () => bench.churn(api),
    mass: () => bench.mass(api),
  };
  const failed: string[] = [];
  for (const section of sections) {
    const began = performance.now();
    try {
      await run[section]();
    } catch (error) {
      // what the others measured is not lost for it
      failed.push(`${section}: ${error instanceof Error ? error.message : String(error)}`);
    }
    say(`${section}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
  }
  report(
    sections.length === SECTIONS.length ? "failover" : `failover-${sections.join("-")}`,
    bench.figures,
  );
  if (failed.length > 0) throw new Error(`not measured: ${failed.join("; ")}`);
}

await runMain(async () => {
  const sections = chosenSections();
  downOnSignal();
  await using cluster = await Cluster.up({ nodes: NODES }, [buildProductImage()], say);
  await measure(cluster, sections);
  return 0;
});
