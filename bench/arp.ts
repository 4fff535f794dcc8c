/**
 * ARP and Neighbor Discovery: ours, MetalLB's Go speaker and the kernel's own responder on one LAN,
 * by turns, round after round.
 *
 *   node bench/arp.ts [PHASE …]       needs root; ROUNDS=9 unless said otherwise
 *
 * Phases, all of them without arguments:
 *   answering    one address of each family: latency, replies a second, memory
 *   arp-1000     CPU under foreign requests with so many announced addresses …
 *   arp-10000    … and latency; the addresses are scattered, so that no filter can be exact
 *   ndp-10000
 *   ndp-1000
 */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { compiledPrograms } from "../tests/cluster/binary.ts";
import { runMain, UsageError } from "../tests/cluster/failure.ts";
import { ControlPlane } from "../tests/support/control-plane.ts";
import { scatter } from "./arp/addresses.ts";
import { Arena, type Asking, type Protocol, type Storm } from "./arp/arena.ts";
import { PeerSubject } from "./arp/peer.ts";
import { loadProgram, peerProgram, responderProgram } from "./arp/programs.ts";
import {
  Companion,
  cpuDuring,
  KernelSubject,
  OurSubject,
  residentMemory,
  rest,
  type Subject,
} from "./arp/subjects.ts";
import { nodeFlags } from "./support/image.ts";
import { report, type Figure, type Side, type Target } from "./support/report.ts";

const ROUNDS = Number(process.env["ROUNDS"] ?? 9);
const LATENCY_REQUESTS = 2000;
const FLOOD_MS = 1000;
const UNICAST_REQUESTS = 20;
const FOREIGN_PER_SECOND = 13_000;
const STORM_MS = 2000;
const REST_MS = 1000;
/** For a subject to answer for one address more. */
const PROGRESS_WITHIN_MS = 120_000;
const PROTOCOLS: readonly Protocol[] = ["ARP", "NDP"];
/** Shown beside, for a filter's work is the kernel's: of the latter and of the sender, together. */
const WITH_KERNEL = ", with kernel and sender";
const BUSY = " while objects are parsed";
/** Of a core, in per cent: less is not told from the noise of the measurement. */
const NEGLIGIBLE_CPU = 0.5;

/** In an order in which the peer's objects change least. */
const ANNOUNCED = {
  "arp-1000": ["ARP", 1000, false],
  "arp-10000": ["ARP", 10_000, true],
  "ndp-10000": ["NDP", 10_000, true],
  "ndp-1000": ["NDP", 1000, false],
} as const;
type Phase = "answering" | keyof typeof ANNOUNCED;
const PHASES = ["answering", ...Object.keys(ANNOUNCED)] as Phase[];

/** What was measured, by figure and side, a value a round. */
class Results {
  readonly #values = new Map<string, Map<Side, number[]>>();

  add(figure: string, side: Side, value: number): void {
    const sides = this.#values.get(figure) ?? new Map<Side, number[]>();
    this.#values.set(figure, sides);
    const rounds = sides.get(side) ?? [];
    sides.set(side, rounds);
    rounds.push(value);
  }

  figure(figure: string, unit: string, ...targets: readonly Target[]): Figure {
    const sides = this.#values.get(figure);
    const [peer, limit] = [sides?.get("peer"), sides?.get("limit")];
    return {
      figure,
      unit,
      ours: sides?.get("ours") ?? [],
      ...(peer && { peer }),
      ...(limit && { limit }),
      targets,
    };
  }
}

class Benchmark {
  readonly #results = new Results();
  readonly #arena: Arena;
  readonly #subjects: readonly Subject[];
  readonly #freeze: () => void;

  constructor(arena: Arena, subjects: readonly Subject[], freeze: () => void) {
    this.#arena = arena;
    this.#subjects = subjects;
    this.#freeze = freeze;
  }

  /** Runs phases one after the other. @returns figures as far as they were measured */
  async run(phases: readonly Phase[]): Promise<readonly Figure[]> {
    for (const phase of phases) {
      if (phase === "answering") await this.#answering();
      else {
        const [protocol, count, latency] = ANNOUNCED[phase];
        await this.#announced(protocol, count, latency);
      }
    }
    return this.#figures().filter(({ ours }) => ours.length > 0);
  }

  // ---- phases

  /** One address of each family. */
  async #answering(): Promise<void> {
    await this.#prepare("one address of each family", (subject) =>
      PROTOCOLS.map((protocol) => this.#targets(subject, protocol, 1)),
    );
    for (const subject of this.#subjects) await this.#memory(subject);
    await this.#rounds(async (subject) => {
      for (const protocol of PROTOCOLS) {
        const asking = this.#targets(subject, protocol, 1);
        await this.#latency(subject, asking, "");
        await this.#flood(subject, asking);
      }
      await this.#unicast(subject);
      await subject.parse(true);
      for (const protocol of PROTOCOLS)
        await this.#latency(subject, this.#targets(subject, protocol, 1), BUSY);
      await subject.parse(false);
    });
  }

  async #announced(protocol: Protocol, count: number, latency: boolean): Promise<void> {
    const condition = conditionOf(count);
    await this.#prepare(`${condition}, ${protocol}`, (subject) => [
      this.#targets(subject, protocol, count),
    ]);
    await this.#rounds(async (subject) => {
      if (latency)
        await this.#latency(subject, this.#targets(subject, protocol, count), `, ${condition}`);
      await this.#storm(subject, protocol, condition);
    });
  }

  /** Has all subjects announce, and waits until they answer and have nothing else to do. */
  async #prepare(what: string, wanted: (subject: Subject) => Asking[]): Promise<void> {
    const begin = performance.now();
    process.stderr.write(`${what}: announcing`);
    for (const subject of this.#subjects) {
      const askings = wanted(subject);
      await this.#arena.turnOf(subject.host);
      await subject.announce(askings.flatMap(({ targets }) => targets));
      for (const asking of askings) await this.#untilAnswered(subject, asking);
    }
    this.#freeze();
    for (const { pid } of this.#subjects) if (pid !== undefined) await rest(pid);
    process.stderr.write(` took ${Math.round((performance.now() - begin) / 1000)} s`);
  }

  async #untilAnswered(subject: Subject, asking: Asking): Promise<void> {
    let next = 0;
    let deadline = performance.now() + PROGRESS_WITHIN_MS;
    while (next < asking.targets.length) {
      const reached = await this.#arena.sweep(asking, next);
      if (reached > next) deadline = performance.now() + PROGRESS_WITHIN_MS;
      else if (performance.now() > deadline)
        throw new Error(`${subject.side} does not answer for ${asking.targets[next] ?? ""}`);
      next = reached;
      await delay(10);
    }
  }

  /** Takes every subject in turn, each time beginning with another. */
  async #rounds(measure: (subject: Subject) => Promise<void>): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      process.stderr.write(`${round === 0 ? "; round" : ""} ${round + 1}`);
      const first = round % this.#subjects.length;
      for (const subject of [...this.#subjects.slice(first), ...this.#subjects.slice(0, first)]) {
        await this.#arena.turnOf(subject.host);
        await measure(subject);
      }
    }
    process.stderr.write("\n");
  }

  // ---- measurements

  #targets(subject: Subject, protocol: Protocol, count: number): Asking {
    const { announced } = scatter(protocol, this.#subjects.indexOf(subject));
    return { protocol, targets: announced.slice(0, count) };
  }

  async #latency({ side }: Subject, asking: Asking, condition: string): Promise<void> {
    const { p50, p99, answered } = await this.#arena.latency(asking, LATENCY_REQUESTS);
    if (p50 === undefined || p99 === undefined || answered < LATENCY_REQUESTS / 2)
      throw new Error(`${side} answered ${answered} of ${LATENCY_REQUESTS} ${asking.protocol}`);
    this.#results.add(`${asking.protocol} latency p50${condition}`, side, p50);
    this.#results.add(`${asking.protocol} latency p99${condition}`, side, p99);
  }

  async #flood({ side }: Subject, asking: Asking): Promise<void> {
    const replies = await this.#arena.flood(asking, FLOOD_MS);
    this.#results.add(`${asking.protocol} replies, 64 outstanding`, side, replies);
  }

  async #unicast(subject: Subject): Promise<void> {
    const asking = { ...this.#targets(subject, "NDP", 1), mac: subject.host.mac };
    const { sent, answered } = await this.#arena.latency(asking, UNICAST_REQUESTS);
    this.#results.add("NDP unicast solicitations answered", subject.side, (100 * answered) / sent);
  }

  /** What foreign requests cost: CPU under them less that of as much time without. */
  async #storm({ side, pid, host }: Subject, protocol: Protocol, condition: string): Promise<void> {
    const subject = this.#subjects.findIndex((each) => each.host === host);
    const asking = { protocol, targets: scatter(protocol, subject).foreign };
    const send = (): Promise<Storm> => this.#arena.storm(asking, STORM_MS, FOREIGN_PER_SECOND);
    const idle = await cpuDuring(pid, () => delay(REST_MS));
    const { share, result } = await cpuDuring(pid, send);
    // A busy machine may send fewer than were wanted.
    const scale = FOREIGN_PER_SECOND / result.perSecond;
    const cost = Math.max(0, share - idle.share) * scale;
    if (pid !== undefined) this.#results.add(stormFigure(protocol, condition), side, cost);
    const all = cost + result.cpu * scale;
    this.#results.add(`${stormFigure(protocol, condition)}${WITH_KERNEL}`, side, all);
  }

  /** Memory after both protocols were answered for a while, and before anything was parsed. */
  async #memory(subject: Subject): Promise<void> {
    if (subject.pid === undefined) return;
    await this.#arena.turnOf(subject.host);
    for (const protocol of PROTOCOLS)
      await this.#arena.flood(this.#targets(subject, protocol, 1), FLOOD_MS);
    this.#results.add("resident memory", subject.side, residentMemory(subject.pid));
  }

  // ---- report

  #figures(): Figure[] {
    const asFast: Target = { is: "at most", value: 1, times: "peer" };
    const figures = PROTOCOLS.flatMap((protocol) => [
      ...["", BUSY, `, ${conditionOf(10_000)}`].flatMap((condition) =>
        ["p50", "p99"].map((percentile) =>
          this.#results.figure(`${protocol} latency ${percentile}${condition}`, "µs", asFast),
        ),
      ),
      this.#results.figure(
        `${protocol} replies, 64 outstanding`,
        "1/s",
        { is: "at least", value: 1.5, times: "peer" },
        { is: "at least", value: 0.85, times: "limit" },
      ),
      ...this.#stormFigures(protocol, 1000, 0.1),
      ...this.#stormFigures(protocol, 10_000, 0.3),
    ]);
    return [
      ...figures,
      this.#results.figure("NDP unicast solicitations answered", "%", {
        is: "at least",
        value: 100,
      }),
      this.#results.figure("resident memory", "MiB", { is: "at most", value: 75 }),
    ];
  }

  #stormFigures(protocol: Protocol, count: number, value: number): Figure[] {
    const target: Target = { is: "at most", value, times: "peer", negligible: NEGLIGIBLE_CPU };
    const figure = stormFigure(protocol, conditionOf(count));
    return [
      this.#results.figure(figure, "% of a core", target),
      this.#results.figure(`${figure}${WITH_KERNEL}`, "% of a core"),
    ];
  }
}

function conditionOf(count: number): string {
  return `${count.toLocaleString("en")} announced`;
}

function stormFigure(protocol: Protocol, condition: string): string {
  return `CPU under ${FOREIGN_PER_SECOND.toLocaleString("en")} foreign ${protocol}/s, ${condition}`;
}

function readPhases(words: readonly string[]): readonly Phase[] {
  const unknown = words.find((word) => !PHASES.includes(word as Phase));
  if (unknown !== undefined)
    throw new UsageError(`${unknown} is no phase: use any of ${PHASES.join(", ")}`);
  return words.length === 0 ? PHASES : (words as Phase[]);
}

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) throw new UsageError("network namespaces need root: use sudo");
  if (!Number.isInteger(ROUNDS) || ROUNDS < 1)
    throw new UsageError(`ROUNDS: ${String(process.env["ROUNDS"])}: expected a number from 1 on`);
  const phases = readPhases(process.argv.slice(2));
  const [load, responder, peer, programs] = [
    await loadProgram(),
    await responderProgram(),
    await peerProgram(),
    await compiledPrograms(),
  ];
  const logs = join(import.meta.dirname, "../build/bench");
  mkdirSync(logs, { recursive: true });
  await using stack = new AsyncDisposableStack();
  const open = (name: string): number => {
    const descriptor = openSync(join(logs, name), "w");
    stack.defer(() => closeSync(descriptor));
    return descriptor;
  };
  const node = [process.execPath, ...nodeFlags()];
  const companion = stack.use(new Companion([...node, join(import.meta.dirname, "arp/busy.ts")]));
  const arena = stack.use(await Arena.open(3, load));
  const plane = stack.use(await ControlPlane.up());
  const kernel = new KernelSubject(arena.host(0), companion);
  const ours = stack.use(new OurSubject(arena.host(1), [...node, responder], open("ours.log")));
  const theirs = stack.use(
    await PeerSubject.open({
      plane,
      host: arena.host(2),
      program: peer,
      companion,
      lantool: join(programs, "lantool"),
      log: open("peer.log"),
      ranges: PROTOCOLS.map((protocol) => scatter(protocol, 2).range),
    }),
  );
  const benchmark = new Benchmark(arena, [kernel, ours, theirs], () => theirs.freeze());
  report("arp", await benchmark.run(phases));
  return 0;
}

await runMain(main);
