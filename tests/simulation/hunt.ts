/**
 * Looks for violations outside of Jest, for planted bugs and long runs:
 * `node tests/simulation/hunt.ts [first seed] [schedules]`. Says what it found and exits with 1.
 */
import assert from "node:assert/strict";
import { Cluster } from "./cluster.ts";
import { Schedule, smallSchedule } from "./schedule.ts";

const scenarios: Record<string, (seed: number) => void> = {
  "the LAN goes dark and nobody dies": (seed) => {
    const cluster = new Cluster({ seed, nodes: 5, addresses: 8 }).settle();
    const before = cluster.owners();
    cluster.world.lan.dark = true;
    cluster.run(3000);
    cluster.world.lan.dark = false;
    cluster.run(3000);
    assert.equal(cluster.deaths(), 0, "somebody was held dead");
    assert.deepEqual(cluster.owners(), before);
  },
  "a third stands still for 250 ms and nobody dies": (seed) => {
    const cluster = new Cluster({ seed, nodes: 6, addresses: 8 }).settle();
    for (const node of cluster.world.nodes.slice(0, 2)) node.freeze(250);
    cluster.run(2000);
    assert.equal(cluster.deaths(), 0, "somebody was held dead");
  },
  "a minute of 36 % loss and nobody dies": (seed) => {
    const cluster = new Cluster({ seed, nodes: 4, addresses: 4 }).settle();
    cluster.world.lan.loss = 0.36;
    cluster.run(60_000);
    assert.equal(cluster.deaths(), 0, "somebody was held dead");
  },
  "an owner that was held dead wrongly stops for those who took over": (seed) => {
    const cluster = new Cluster({ seed, nodes: 5, addresses: 8 }).settle();
    const owner = cluster.someOwner();
    const from = cluster.world.now;
    cluster.world.lan.noEgress.add(owner);
    cluster.run(3000);
    assert.ok(cluster.timeline.longestOverlap(from) < 60, "two answered");
  },
  "a deaf node grabs nothing": (seed) => {
    const cluster = new Cluster({ seed, nodes: 2, addresses: 4 }).settle();
    const owner = cluster.someOwner();
    const [deaf] = cluster.others(owner);
    assert.ok(deaf);
    const had = deaf.active.size;
    cluster.world.lan.noIngress.add(deaf);
    cluster.run(5000);
    assert.ok(deaf.active.size <= had, "it grabbed addresses");
  },
  "after a heal everybody has as many neighbours as before": (seed) => {
    const cluster = new Cluster({ seed, nodes: 40, addresses: 8 }).settle();
    const { lan } = cluster.world;
    for (const node of cluster.world.nodes) lan.part.set(node, node.index % 2);
    cluster.run(3000);
    lan.heal();
    cluster.run(5000);
    assert.ok(cluster.busiest(2000) <= 70, "neighbours are kept");
  },
  "an isolated node takes nothing back": (seed) => {
    const cluster = new Cluster({ seed, nodes: 6, addresses: 20 }).settle();
    const { world } = cluster;
    const [a, b] = world.nodes;
    for (const node of [a, b]) if (node !== undefined) world.lan.part.set(node, 1);
    cluster.run(30_000);
    const majority = cluster.addresses.map(
      (address) => world.answering(address).find((node) => node !== a && node !== b)?.name,
    );
    world.lan.heal();
    const from = world.now;
    const takeovers = cluster.counter("claims takeover");
    cluster.run(2000);
    assert.equal(cluster.counter("claims takeover"), takeovers, "a heal was taken for deaths");
    assert.deepEqual(
      cluster.addresses.map((address) =>
        world
          .answering(address)
          .map(({ name }) => name)
          .join(),
      ),
      majority,
    );
    assert.ok(cluster.timeline.longestOverlap(from) < 1000, "two answered for long after the heal");
  },
  "a rolling restart leaves no gap and no second move": (seed) => {
    const cluster = new Cluster({ seed, nodes: 4, addresses: 12 }).settle();
    const { world } = cluster;
    world.lan.loss = 0.1;
    const from = world.now;
    for (const node of world.nodes.slice(0, 2)) {
      node.take({ type: "drain", on: true, deadline: node.local() + 17_000 });
      assert.ok(
        world.runUntil(() => !node.isRunning, 16_000),
        "it did not leave",
      );
      node.start();
      cluster.run(2000);
      assert.equal(node.active.size, 0, "it took addresses back");
    }
    assert.equal(cluster.timeline.longestGap(from), 0, "nobody answered for a while");
  },
  "an owner that dies is replaced in time": (seed) => {
    const cluster = new Cluster({ seed, nodes: 6, addresses: 12 }).settle();
    const owner = cluster.someOwner();
    const addresses = cluster.owned(owner);
    owner.crash();
    const outage = cluster.outage(addresses, [owner]);
    assert.ok(outage <= 505, `${outage} ms without an answerer`);
  },
  "two halves of forty heal without a takeover": (seed) => {
    if (seed > 2) return;
    const cluster = new Cluster({ seed, nodes: 40, addresses: 40, warm: true }).settle();
    const { nodes, lan } = cluster.world;
    for (const node of nodes.slice(20)) lan.part.set(node, 1);
    cluster.run(10_000);
    lan.heal();
    const takeovers = cluster.counter("claims takeover");
    cluster.run(2500);
    assert.deepEqual(cluster.problems(), []);
    assert.equal(cluster.counter("claims takeover"), takeovers, "a heal was taken for deaths");
  },
  "all move while none hears another, and find each other again": (seed) => {
    const cluster = new Cluster({ seed, nodes: 3, addresses: 4 }).settle();
    cluster.moveApart();
    cluster.run(2_500);
    assert.deepEqual(cluster.problems(), []);
  },
  "a drain during a heal waits for claims that are worth more": (seed) => {
    const cluster = new Cluster({ seed, nodes: 4, addresses: 12 }).settle();
    const { nodes, lan } = cluster.world;
    for (const node of nodes.slice(2)) lan.part.set(node, 1);
    cluster.run(4000);
    for (const node of nodes.slice(0, 2)) node.take({ type: "drain", on: true });
    lan.heal();
    cluster.run(1500);
    assert.deepEqual(cluster.problems(), []);
  },
  "a heir that sees itself as none is passed over": (seed) => {
    const cluster = new Cluster({ seed, nodes: 4, addresses: 4 }).settle();
    const { world } = cluster;
    const [address] = cluster.addresses;
    assert.ok(address !== undefined);
    const owner = cluster.owner(address);
    const candidacy = world.truth.get(address);
    const heirs = [0, 1, 2, 3].flatMap((place) => candidacy?.heir(place) ?? []);
    const heir = heirs.find((name) => name !== owner.name);
    const rest = heirs.filter((name) => name !== heir);
    world.setCandidates(address, rest, (node) => (node.name === heir ? 1 : 20_000));
    cluster.run(100);
    owner.crash();
    assert.ok(cluster.outage([address], [owner]) < 1200, "nobody stepped up");
  },
  "an owner that hears nothing is relieved": (seed) => {
    const cluster = new Cluster({ seed, nodes: 4, addresses: 8 }).settle();
    const owner = cluster.someOwner();
    const addresses = cluster.owned(owner);
    cluster.world.lan.noIngress.add(owner);
    assert.ok(cluster.outage(addresses, [owner]) < 900, "nobody took over");
  },
  "no packet counts twice": (seed) => {
    const cluster = new Cluster({ seed, nodes: 3, addresses: 4, wire: () => undefined }).settle();
    cluster.world.lan.doubled = 1;
    cluster.run(1000);
    assert.ok(cluster.counter("dropped replayed") > 10, "doubled packets were taken");
  },
  "a firewall in between makes no second answerer": (seed) => {
    const cluster = new Cluster({ seed, nodes: 4, addresses: 8 }).settle();
    const owner = cluster.someOwner();
    for (const { name } of cluster.others(owner)) {
      cluster.world.lan.cutUdp.add(`${name}>${owner.name}`).add(`${owner.name}>${name}`);
    }
    const from = cluster.world.now;
    cluster.run(5000);
    assert.equal(cluster.timeline.longestOverlap(from), 0, "two answered");
  },
};

const [first = "1", count = "50"] = process.argv.slice(2);
try {
  for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
    if (seed - Number(first) < 5) {
      for (const [name, run] of Object.entries(scenarios)) {
        try {
          run(seed);
        } catch (error) {
          throw new Error(`${name} (seed ${seed}): ${String(error)}`, { cause: error });
        }
      }
    }
    new Schedule(smallSchedule(seed)).run();
  }
  process.stdout.write("nothing found\n");
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
