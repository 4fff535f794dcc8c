/** A cluster that has come up and settled, for the named cases. */
import type { Address } from "../../packet/address/address.ts";
import { Checker, Timeline, unsettled } from "./checker.ts";
import { addressNumber } from "./schedule.ts";
import { World, type Captured, type SimNode, type WorldOptions } from "./world.ts";

export interface ClusterOptions extends WorldOptions {
  readonly addresses: number;
  readonly checked?: boolean;
  readonly warm?: boolean;
  /** Have all packets written and sealed, and see each. */
  readonly wire?: (captured: Captured) => void;
}

export class Cluster {
  readonly world: World;
  readonly addresses: Address[];
  readonly timeline: Timeline;
  readonly checker: Checker;

  constructor(options: ClusterOptions) {
    this.world = new World(options);
    this.world.wire = options.wire;
    this.timeline = new Timeline(this.world);
    this.checker = new Checker(this.world);
    if (options.checked !== false) this.world.observers.push(this.checker);
    this.world.observers.push(this.timeline);
    this.addresses = Array.from({ length: options.addresses }, (_, i) => addressNumber(i));
    const names = this.world.nodes.map(({ name }) => name);
    for (const address of this.addresses) this.world.assign(address, names);
    if (options.warm === true) this.world.startTogether();
    else
      for (const node of this.world.nodes) this.world.after(20 * this.random(), () => node.start());
  }

  random(): number {
    return this.world.random();
  }

  /** Waits until all is as it has to be, and then until every owner is firm. */
  settle(patience = 15_000): this {
    const isUp = () => this.world.nodes.every((node) => node.protocol?.own.status === "active");
    if (!this.world.runUntil(() => isUp() && this.problems().length === 0, patience, 20)) {
      throw new Error(`did not settle: ${this.problems().slice(0, 5).join("; ")}`);
    }
    this.world.run(this.world.now + 2_500);
    return this;
  }

  /** What is not as it has to be, in each component of those that run. */
  problems(addresses: readonly Address[] = this.addresses): string[] {
    const parts = new Map<number, SimNode[]>();
    for (const node of this.world.nodes) {
      if (!node.isRunning || node.hasLeft) continue;
      const part = this.world.lan.part.get(node) ?? 0;
      parts.set(part, [...(parts.get(part) ?? []), node]);
    }
    return [...parts.values()].flatMap((members) => unsettled(this.world, members, addresses));
  }

  owner(address: Address): SimNode {
    const [owner, second] = this.world.answering(address);
    if (owner === undefined || second !== undefined)
      throw new Error(`${address} has not one owner`);
    return owner;
  }

  owned(node: SimNode): Address[] {
    return this.addresses.filter((address) => node.answers(address));
  }

  /** A node that owns something, and one that owns nothing less than the others. */
  someOwner(): SimNode {
    return this.owner(this.addresses[0]!);
  }

  others(...nodes: SimNode[]): SimNode[] {
    return this.world.nodes.filter((node) => !nodes.includes(node));
  }

  /** Time until each of the addresses is answered by one that is none of the given nodes. */
  outage(addresses: readonly Address[], without: readonly SimNode[], patience = 5_000): number {
    const { world } = this;
    const from = world.now;
    const isBack = () =>
      addresses.every((address) =>
        world.answering(address).some((node) => !without.includes(node)),
      );
    return world.runUntil(isBack, patience) ? world.now - from : Infinity;
  }

  run(duration: number): this {
    this.world.run(this.world.now + duration);
    return this;
  }

  /** Every node gets another endpoint while none hears another: only the API can tell where they are. */
  moveApart(): void {
    const { world } = this;
    for (const node of world.nodes) world.lan.part.set(node, node.index);
    this.run(5_000);
    for (const [i, node] of world.nodes.entries()) node.renumber(`10.77.0.${i + 1}` as Address);
    world.forgetHints();
    for (const node of world.nodes) node.readApi();
    this.run(1_000);
    world.lan.heal();
  }

  /** Runs and gives the most packets that any node sent in any one second of it, to a tenth. */
  busiest(duration: number): number {
    const { nodes } = this.world;
    const counts = [nodes.map(({ packetsSent }) => packetsSent)];
    for (let passed = 0; passed < duration; passed += 100) {
      this.run(100);
      counts.push(nodes.map(({ packetsSent }) => packetsSent));
    }
    const inOneSecond = counts.map((before, i) => {
      const after = counts[Math.min(i + 10, counts.length - 1)]!;
      return Math.max(...after.map((sent, node) => sent - before[node]!));
    });
    return Math.max(...inOneSecond);
  }

  owners(): Map<Address, string> {
    return new Map(
      this.addresses.map((address) => [
        address,
        this.world
          .answering(address)
          .map(({ name }) => name)
          .join(),
      ]),
    );
  }

  counter(name: string): number {
    return this.world.nodes.reduce(
      (sum, node) => sum + (node.protocol?.counters.get(name) ?? 0),
      0,
    );
  }

  /** Deaths that were decided on, by a vote or alone. */
  deaths(): number {
    return this.counter("deaths found") + this.counter("deaths found alone");
  }
}
