/** Cases 14: what an attacker on the LAN, or a key that is being replaced, can do to sealed packets. */
import { expect, test } from "@jest/globals";
import { makeKey, type Key } from "../../speaker/seal.ts";
import { Cluster } from "./cluster.ts";
import { forSeeds } from "./seeds.ts";
import { World, type Captured, type SimNode } from "./world.ts";

const SEEDS = 3;
const OLD = makeKey(new Uint8Array(32).fill(1));
const NEW = makeKey(new Uint8Array(32).fill(2));

/** All that a node believes, in one text. */
function beliefs(node: SimNode): string {
  const { protocol } = node;
  if (protocol === undefined) return "nothing";
  const records = [...protocol.roster.records()].map(
    ({ endpoints: _endpoints, links: _links, ...rest }) => rest,
  );
  const views = [...node.view.keys()].map((address) => protocol.view(address).owner);
  return JSON.stringify([
    records,
    views,
    protocol.fence,
    protocol.claims.table(),
    [...node.active],
  ]);
}

function capturing(seed: number, nodes: number, addresses: number) {
  const captured: Captured[] = [];
  const cluster = new Cluster({ seed, nodes, addresses, wire: (one) => captured.push(one) });
  return { cluster: cluster.settle(), captured };
}

test("14: the whole traffic of a previous life, replayed, changes nothing but counters (I7)", () => {
  forSeeds(2000, SEEDS, (seed) => {
    const { cluster, captured } = capturing(seed, 3, 4);
    const [victim] = cluster.world.nodes;
    victim!.crash();
    cluster.run(800);
    victim!.start();
    cluster.run(4000);
    const recorded = captured.filter(({ at }) => at < cluster.world.now - 4500);
    const before = cluster.world.nodes.map(beliefs);
    for (const { from, to, octets } of recorded) {
      if (to !== undefined) cluster.world.receiveSealed(to, from.endpoint, octets);
    }
    expect(cluster.world.nodes.map(beliefs)).toEqual(before);
    cluster.run(3000);
    expect(cluster.problems()).toEqual([]);
    expect(recorded.length).toBeGreaterThan(100);
  });
});

test("14: packets on their way to one node do not open at another, nor in another cluster", () => {
  forSeeds(2020, SEEDS, (seed) => {
    const { cluster, captured } = capturing(seed, 3, 4);
    const other = new World({ seed, nodes: 1, names: ["node-0"] });
    other.wire = () => undefined;
    other.cluster = "another";
    other.nodes[0]!.start();
    for (const { from, to, octets } of captured.slice(-200)) {
      for (const node of cluster.world.nodes) {
        if (node === to) continue;
        expect(cluster.world.receiveSealed(node, from.endpoint, octets)).toBe("bad-tag");
      }
      expect(other.receiveSealed(other.nodes[0]!, from.endpoint, octets)).toBe("bad-tag");
    }
  });
});

test("14: beats that were held back and are released later keep nobody alive", () => {
  forSeeds(2040, SEEDS, (seed) => {
    const { cluster, captured } = capturing(seed, 4, 8);
    const { world } = cluster;
    const owner = cluster.someOwner();
    const addresses = cluster.owned(owner);
    // Held back from the very moment of the crash on: what was sent before and not delivered.
    world.lan.noEgress.add(owner);
    cluster.run(300);
    owner.crash();
    world.lan.heal();
    const held = captured.filter(({ at, from }) => from === owner && at > world.now - 300);
    cluster.run(600);
    for (const { to, octets } of held) {
      if (to !== undefined) world.receiveSealed(to, owner.endpoint, octets);
      cluster.run(60);
    }
    expect(held.length).toBeGreaterThan(5);
    expect(addresses.every((address) => world.answering(address).length === 1)).toBe(true);
    expect(cluster.problems()).toEqual([]);
  });
});

test("14: a packet taken twice counts once", () => {
  forSeeds(2060, SEEDS, (seed) => {
    const { cluster } = capturing(seed, 3, 4);
    cluster.world.lan.doubled = 1;
    cluster.run(3000);
    expect(cluster.counter("dropped replayed")).toBeGreaterThan(50);
    expect(cluster.problems()).toEqual([]);
  });
});

test("14: forged, truncated and random octets are refused and change nothing", () => {
  forSeeds(2080, SEEDS, (seed) => {
    const { cluster, captured } = capturing(seed, 3, 4);
    const { world } = cluster;
    const before = world.nodes.map(beliefs);
    for (const { from, to, octets } of captured.slice(-100)) {
      const forged = Uint8Array.from(octets, (octet) =>
        world.random() < 0.02 ? octet ^ 0x55 : octet,
      );
      const isSame = Buffer.compare(forged, octets) === 0;
      const results = [
        octets.subarray(0, Math.floor(octets.length * world.random())),
        Uint8Array.from({ length: 200 }, () => Math.floor(256 * world.random())),
        ...(isSame ? [] : [forged]),
      ].map((bad) => world.receiveSealed(to ?? world.nodes[0]!, from.endpoint, bad));
      expect(results).not.toContain("taken");
    }
    expect(world.nodes.map(beliefs)).toEqual(before);
  });
});

/** All nodes get these keys within ten seconds, as from a mounted Secret. */
function distribute(cluster: Cluster, keys: readonly Key[], nodes: readonly SimNode[]): void {
  for (const node of nodes) cluster.world.after(10_000 * cluster.random(), () => node.rekey(keys));
  cluster.run(10_500);
}

test("14: keys are replaced without a death, a move or a gap", () => {
  forSeeds(2100, SEEDS, (seed) => {
    const { cluster } = capturing(seed, 4, 8);
    const { world } = cluster;
    const before = cluster.owners();
    const from = world.now;
    distribute(cluster, [OLD, NEW], world.nodes);
    const knows = (node: SimNode) =>
      [...node.protocol!.roster.records()].every(({ keyIds }) => keyIds.includes(NEW.id));
    expect(world.nodes.every(knows)).toBe(true);
    distribute(cluster, [NEW], world.nodes);
    expect(cluster.deaths()).toBe(0);
    expect(cluster.owners()).toEqual(before);
    expect(cluster.timeline.longestGap(from)).toBe(0);
    const [node] = world.nodes;
    node!.crash();
    cluster.run(300);
    node!.start();
    cluster.run(4000);
    expect(cluster.problems()).toEqual([]);
  });
});

test("14: a node that never gets the new key is not heard, yet nobody takes its addresses", () => {
  forSeeds(2120, SEEDS, (seed) => {
    const { cluster } = capturing(seed, 4, 8);
    const { world } = cluster;
    const left = cluster.someOwner();
    const addresses = cluster.owned(left);
    distribute(cluster, [OLD, NEW], cluster.others(left));
    distribute(cluster, [NEW], cluster.others(left));
    cluster.run(5000);
    expect(addresses.every((address) => left.answers(address))).toBe(true);
    expect(cluster.timeline.longestOverlap(0)).toBeLessThan(100);
    left.rekey([NEW]);
    world.runUntil(() => cluster.problems().length === 0, 3000, 20);
    expect(cluster.problems()).toEqual([]);
  });
});
