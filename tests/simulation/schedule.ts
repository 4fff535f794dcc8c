/** Random schedules: some seconds of whatever can go wrong, then quiet, then everything has to fit. */
import type { Address } from "../../packet/address/address.ts";
import { Checker, Timeline, unsettled, Violation } from "./checker.ts";
import { between, pick, seeded, shuffle, whole, type Random } from "./random.ts";
import { World, type SimNode } from "./world.ts";

export interface ScheduleOptions {
  readonly seed: number;
  readonly nodes: readonly [number, number];
  readonly addresses: readonly [number, number];
  /** Virtual milliseconds of trouble, and in all. */
  readonly trouble: number;
  readonly total: number;
  /** Bound of B1 after the last trouble. */
  readonly settle: number;
}

export interface Outcome {
  readonly seed: number;
  readonly nodes: number;
  readonly steps: number;
  readonly checks: number;
  /** Time from the end of the trouble until all was as it has to be. */
  readonly settledAfter: number;
  readonly moves: number;
  readonly trail: readonly string[];
}

const OCTETS = 250;

export function addressNumber(i: number): Address {
  return i % 4 === 3
    ? (`2001:db8::${(i + 1).toString(16)}` as Address)
    : (`192.0.${2 + Math.floor(i / OCTETS)}.${1 + (i % OCTETS)}` as Address);
}

/** Schedules of small clusters, most of them of few nodes, as in the world. */
export function smallSchedule(seed: number): ScheduleOptions {
  return {
    seed,
    nodes: [1, whole(seeded(seed), 1, 12)],
    addresses: [1, 20],
    trouble: 10_000,
    total: 30_000,
    settle: 1500,
  };
}

/** Schedules of 30 to 100 nodes. */
export function middleSchedule(seed: number): ScheduleOptions {
  const settle = 4000;
  // Fewer of the large ones: what a schedule costs grows with its nodes.
  const most = Math.round(30 + 70 * seeded(seed)() ** 3);
  return { seed, nodes: [30, most], addresses: [20, 60], trouble: 10_000, total: 30_000, settle };
}

/** One run: builds a world of the seed, troubles it, and checks what has to hold. */
export class Schedule {
  readonly world: World;
  readonly addresses: Address[];
  readonly options: ScheduleOptions;
  readonly trail: string[] = [];
  readonly timeline: Timeline;
  readonly checker: Checker;
  readonly #random: Random;

  constructor(options: ScheduleOptions) {
    this.options = options;
    const base = new World({ seed: options.seed, nodes: 0 });
    const count = whole(base.random, ...options.nodes);
    const names = shuffle(
      base.random,
      Array.from({ length: Math.max(64, count) }, (_, i) => `node-${i}`),
    ).slice(0, count);
    const interval = base.random() < 0.85 ? 100 : pick(base.random, [50, 200]);
    this.world = new World({ seed: options.seed, nodes: count, names, interval });
    // Some with real octets: everything the machines say has to survive being written and sealed.
    if (base.random() < 0.02) this.world.wire = () => undefined;
    this.#random = this.world.random;
    const first = whole(this.#random, 0, 100);
    const wanted = whole(this.#random, ...options.addresses);
    this.addresses = Array.from({ length: wanted }, (_, i) => addressNumber(first + i));
    this.checker = new Checker(this.world);
    this.timeline = new Timeline(this.world);
    this.world.observers.push(this.checker, this.timeline);
  }

  run(): Outcome {
    const { world, options } = this;
    try {
      this.#boot();
      const end = world.now + options.trouble;
      this.#trouble(end);
      world.run(end);
      this.#calm();
      return this.#judge();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const trail = this.trail.slice(-40).join("\n  ");
      throw new Violation(`SEED=${options.seed}: ${error.message}\n  ${trail}`, { cause: error });
    }
  }

  #say(what: string): void {
    this.trail.push(`${this.world.now.toFixed(0)} ${what}`);
  }

  #candidates(): string[] {
    const { nodes } = this.world;
    if (this.#random() < 0.6) return nodes.map(({ name }) => name);
    const some = shuffle(this.#random, nodes).slice(0, whole(this.#random, 1, nodes.length));
    return some.map(({ name }) => name);
  }

  #boot(): void {
    const { world } = this;
    const random = this.#random;
    for (const address of this.addresses) world.assign(address, this.#candidates());
    world.lan.loss = pick(random, [0, 0, 0, 0.02, 0.05]);
    const span = pick(random, [10, 200, 3000]);
    this.#say(`boot ${world.nodes.length} nodes, ${this.addresses.length} addresses in ${span} ms`);
    // A cold start of many takes long to compute: of the larger clusters most begin as if it were over.
    if (world.nodes.length >= 30 && random() < 0.7) world.startTogether();
    else for (const node of world.nodes) world.at(between(random, 0, span), () => node.start());
    const isUp = () => world.nodes.every((node) => node.protocol?.own.status === "active");
    if (!world.runUntil(isUp, 20_000)) throw new Violation("not everybody became active");
    world.run(world.now + between(random, 0, 3000));
  }

  #trouble(end: number): void {
    const random = this.#random;
    const { world } = this;
    let at = world.now;
    const mood = pick(random, [300, 1000, 2500]);
    for (;;) {
      at += between(random, 0, 2 * mood);
      if (at >= end - 100) break;
      world.at(at, () => this.#event(end));
    }
  }

  #event(end: number): void {
    const random = this.#random;
    const { world } = this;
    const { lan } = world;
    const node = pick(random, world.nodes);
    const back = Math.min(
      end - 1,
      world.now + between(random, 20, pick(random, [300, 1500, 6000])),
    );
    const cases: [number, string, () => void][] = [
      [3, `crash ${node.name}`, () => this.#crash(node, back)],
      [2, `power off ${node.name}`, () => this.#powerOff(node, back)],
      [3, `freeze ${node.name}`, () => node.freeze(back - world.now, random() < 0.7)],
      [2, `partition`, () => this.#partition(back)],
      [
        1,
        `dark`,
        () =>
          this.#during(
            back,
            () => (lan.dark = true),
            () => (lan.dark = false),
          ),
      ],
      [2, `isolate ${node.name}`, () => this.#isolate(node, back)],
      [1, `no egress ${node.name}`, () => this.#oneWay(lan.noEgress, node, back)],
      [1, `no ingress ${node.name}`, () => this.#oneWay(lan.noIngress, node, back)],
      [1, `carrier ${node.name}`, () => this.#carrier(node, back)],
      [2, `cut one way`, () => this.#cutOneWay(lan.cut, back)],
      [1, `cut udp`, () => this.#cutOneWay(lan.cutUdp, back)],
      [1, `loss`, () => this.#weather(back)],
      [3, `candidates`, () => this.#flip()],
      [1, `api of ${node.name}`, () => this.#apiAway(node, back)],
      [2, `drain ${node.name}`, () => this.#drain(node, back)],
      [1, `rollout of ${node.name}`, () => this.#rollout(node)],
      [1, `rebalance`, () => this.#rebalance()],
      [1, `stall of a third`, () => this.#stall()],
      [1, `renumber ${node.name}`, () => this.#renumber(node)],
    ];
    let weight = random() * cases.reduce((sum, [one]) => sum + one, 0);
    for (const [one, name, act] of cases) {
      weight -= one;
      if (weight > 0) continue;
      this.#say(`${name} until ${back.toFixed(0)}`);
      act();
      return;
    }
  }

  #during(back: number, begin: () => void, end: () => void): void {
    begin();
    this.world.at(back, end);
  }

  #crash(node: SimNode, back: number): void {
    const wasUp = node.isRunning;
    node.crash();
    if (wasUp) this.world.at(back, () => !node.isRunning && node.start());
  }

  #powerOff(node: SimNode, back: number): void {
    node.powerOff();
    this.world.at(back, () => !node.isRunning && node.start());
  }

  #partition(back: number): void {
    const { lan, nodes } = this.world;
    const parts = whole(this.#random, 2, 3);
    for (const node of nodes) lan.part.set(node, whole(this.#random, 0, parts - 1));
    this.world.at(back, () => lan.part.clear());
  }

  #isolate(node: SimNode, back: number): void {
    const { lan } = this.world;
    this.#during(
      back,
      () => lan.part.set(node, 100 + node.index),
      () => lan.part.delete(node),
    );
  }

  #oneWay(set: Set<SimNode>, node: SimNode, back: number): void {
    this.#during(
      back,
      () => set.add(node),
      () => set.delete(node),
    );
  }

  #carrier(node: SimNode, back: number): void {
    this.#during(
      back,
      () => node.setCarrier(false),
      () => node.setCarrier(true),
    );
  }

  #cutOneWay(set: Set<string>, back: number): void {
    const a = pick(this.#random, this.world.nodes);
    const b = pick(this.#random, this.world.nodes);
    const pairs = [`${a.name}>${b.name}`];
    if (this.#random() < 0.5) pairs.push(`${b.name}>${a.name}`);
    for (const pair of pairs) {
      this.#during(
        back,
        () => set.add(pair),
        () => set.delete(pair),
      );
    }
  }

  #weather(back: number): void {
    const { lan } = this.world;
    const [loss, delay] = [lan.loss, lan.delay];
    lan.loss = pick(this.#random, [0.1, 0.2, 0.36]);
    lan.delay = pick(this.#random, [
      [0.2, 2],
      [1, 30],
      [5, 300],
    ] as const);
    lan.doubled = pick(this.#random, [0, 0.2]);
    lan.reordered = pick(this.#random, [0, 0.1]);
    this.world.at(back, () => {
      [lan.loss, lan.delay] = [loss, delay];
      [lan.doubled, lan.reordered] = [0, 0];
    });
  }

  #flip(): void {
    const { world } = this;
    const address = pick(this.#random, this.addresses);
    const names = this.#random() < 0.15 ? [] : this.#candidates();
    const slow = pick(this.#random, [0, 0, 1000, 10_000]);
    world.setCandidates(address, names, () => between(this.#random, 5, 50 + slow * this.#random()));
  }

  #apiAway(node: SimNode, back: number): void {
    this.#during(
      back,
      () => node.setApi(false),
      () => node.setApi(true),
    );
  }

  #drain(node: SimNode, back: number): void {
    node.take({ type: "drain", on: true });
    const { life } = node;
    this.world.at(back, () => node.life === life && node.take({ type: "drain", on: false }));
  }

  /** A pod is replaced: drain with a deadline, leave, start anew. */
  #rollout(node: SimNode): void {
    if (!node.isRunning) return;
    node.take({
      type: "drain",
      on: true,
      deadline: node.local() + between(this.#random, 500, 17_000),
    });
    const { life } = node;
    const restart = () => {
      if (node.life !== life) return;
      if (node.isRunning) this.world.after(100, restart);
      else
        this.world.after(between(this.#random, 200, 1500), () => !node.isRunning && node.start());
    };
    restart();
  }

  #rebalance(): void {
    for (const node of this.world.nodes) node.take({ type: "rebalance" });
  }

  #stall(): void {
    for (const node of this.world.nodes) {
      if (this.#random() < 0.34) node.freeze(between(this.#random, 200, 600));
    }
  }

  #renumber(node: SimNode): void {
    const other = `10.9.${node.index}.${whole(this.#random, 1, 250)}` as Address;
    if (!this.world.byEndpoint.has(other)) node.renumber(other);
    this.world.forgetHints();
  }

  /** The end of all trouble: everything works, all views are equal. */
  #calm(): void {
    const { world } = this;
    world.lan.heal();
    world.lan.loss = pick(this.#random, [0, 0, 0.05]);
    world.lan.delay = [0.2, 1];
    [world.lan.doubled, world.lan.reordered] = [0, 0];
    const keepDown = this.#random() < 0.3;
    for (const node of world.nodes) {
      node.setCarrier(true);
      if (node.frozen) node.thaw();
      if (!node.isRunning && !(keepDown && this.#random() < 0.5)) node.start();
      node.hasApi = true;
      if (node.isRunning && !node.hasLeft) node.take({ type: "drain", on: false });
      node.readApi();
    }
    if (!world.nodes.some((node) => node.isRunning)) world.nodes[0]?.start();
    if (this.#random() < 0.2 && world.nodes.length > 2) {
      for (const node of world.nodes) world.lan.part.set(node, whole(this.#random, 0, 1));
    }
    this.#say("calm");
  }

  #components(): SimNode[][] {
    const parts = new Map<number, SimNode[]>();
    for (const node of this.world.nodes) {
      if (!node.isRunning || node.hasLeft) continue;
      const part = this.world.lan.part.get(node) ?? 0;
      parts.set(part, [...(parts.get(part) ?? []), node]);
    }
    // A machine alone on a LAN without so much as a gateway is deaf, and that is as it should be.
    for (const [part, members] of parts) if (part !== 0 && members.length === 1) parts.delete(part);
    return [...parts.values()];
  }

  problems(): string[] {
    return this.#components().flatMap((members) => unsettled(this.world, members, this.addresses));
  }

  #judge(): Outcome {
    const { world, options } = this;
    // Whoever still drains towards its end is given the time to leave.
    const isPlanned = ({ protocol }: SimNode) =>
      protocol?.own.status === "draining" || protocol?.own.rebalancing === true;
    world.runUntil(() => !world.nodes.some(isPlanned), 60_000);
    for (const node of world.nodes) {
      if (node.hasLeft) world.after(2, () => !node.isRunning && node.start());
    }
    // Whoever is not yet a member joins first; all at once it may be a cold start.
    const isJoining = (node: SimNode) => node.isRunning && node.protocol?.own.status === "joining";
    if (!world.runUntil(() => !world.nodes.some(isJoining), 16_000)) {
      const names = world.nodes.filter(isJoining).map(({ name }) => name);
      throw new Violation(`B1: still joining after 16 s: ${names.join()}`);
    }
    const from = world.now;
    let last = from;
    const limit = from + options.settle * Math.max(1, world.interval / 100);
    let problems = this.problems();
    while (problems.length > 0 && world.now < limit) {
      world.run(world.now + 50);
      problems = this.problems();
      if (problems.length > 0) last = world.now;
    }
    if (problems.length > 0) {
      throw new Violation(
        `B1: not settled in ${options.settle} ms: ${problems.slice(0, 6).join("; ")}`,
      );
    }
    const settledAfter = last - from;
    const { moves } = this.timeline;
    world.run(Math.max(options.total, world.now + 3000));
    problems = this.problems();
    if (problems.length > 0)
      throw new Violation(`B1: did not stay so: ${problems.slice(0, 6).join("; ")}`);
    if (this.timeline.moves !== moves) throw new Violation("B1: something moved in quiet times");
    return {
      seed: options.seed,
      nodes: world.nodes.length,
      steps: world.steps,
      checks: this.checker.checks,
      settledAfter,
      moves,
      trail: this.trail,
    };
  }
}
