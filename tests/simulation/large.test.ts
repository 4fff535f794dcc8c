/**
 * A thousand speakers: five schedules of three virtual seconds and more one after the other on one
 * cluster, since coming up is what costs. And case 15, the owner of everything that dies. `SOAK` runs it with 10,000 addresses.
 */
import { expect, test } from "@jest/globals";
import { Cluster } from "./cluster.ts";
import { between, shuffle } from "./random.ts";
import type { SimNode } from "./world.ts";
import type { Address } from "../../packet/address/address.ts";

const MINUTES = 60_000;
/** B1, B4 and the packet budget for the largest clusters. */
const SETTLE_MS = 4000;
const OVERLAP_MS = 3000;
const PACKETS_PER_SECOND = 500;
const isSoak = process.env["SOAK"] !== undefined;

function expectSettled(cluster: Cluster, within: number): void {
  cluster.world.runUntil(() => cluster.problems().length === 0, within, 100);
  expect(cluster.problems().slice(0, 5)).toEqual([]);
}

/** Runs and gives the most packets that any node sent in any one second of it. */
function busiest(cluster: Cluster, duration: number): number {
  let most = 0;
  const { nodes } = cluster.world;
  for (let passed = 0; passed < duration; passed += 1000) {
    const before = nodes.map(({ packetsSent }) => packetsSent);
    cluster.run(1000);
    for (const [i, node] of nodes.entries()) {
      most = Math.max(most, node.packetsSent - (before[i] ?? 0));
    }
  }
  return most;
}

test(
  "five schedules of 1,000 nodes hold",
  () => {
    const cluster = new Cluster({
      seed: 7,
      nodes: 1000,
      addresses: 100,
      warm: true,
      checked: false,
    });
    const { world } = cluster;
    const { nodes, lan } = world;
    expectSettled(cluster, 5000);
    cluster.run(2500);

    lan.loss = 0.05;
    expect(busiest(cluster, 1000)).toBeLessThanOrEqual(100);
    const before = cluster.owners();
    cluster.run(2000);
    expect(cluster.owners()).toEqual(before);
    expect(cluster.deaths()).toBe(0);

    // 1. One owner dies.
    const owner = cluster.someOwner();
    const addresses = cluster.owned(owner);
    owner.crash();
    expect(cluster.outage(addresses, [owner])).toBeLessThan(505);
    expect(busiest(cluster, 2000)).toBeLessThanOrEqual(PACKETS_PER_SECOND);
    expectSettled(cluster, SETTLE_MS);

    // 2. A rack of forty dies at once.
    const rack = shuffle(world.random, nodes).slice(0, 40);
    const orphans = rack.flatMap((node) => cluster.owned(node));
    for (const node of rack) node.crash();
    expect(cluster.outage(orphans, rack)).toBeLessThan(1200);
    expectSettled(cluster, SETTLE_MS);

    // 3. It comes back: joins by the dozen, no move.
    const owners = cluster.owners();
    for (const node of rack) world.after(between(world.random, 0, 1000), () => node.start());
    cluster.run(3000);
    expectSettled(cluster, SETTLE_MS);
    expect(cluster.owners()).toEqual(owners);

    // 4. Twenty nodes drain at once; nothing is ever without an answerer.
    const from = world.now;
    const draining = shuffle(world.random, nodes).slice(0, 20);
    for (const node of draining) node.take({ type: "drain", on: true });
    cluster.run(3000);
    expect(draining.flatMap((node) => cluster.owned(node))).toEqual([]);
    expect(cluster.timeline.longestGap(from)).toBe(0);
    for (const node of draining) node.take({ type: "drain", on: false });

    // 5. A part is cut off for some seconds and comes back.
    for (const node of nodes.slice(0, 10)) lan.part.set(node, 1);
    cluster.run(3000);
    lan.heal();
    const healed = world.now;
    expectSettled(cluster, SETTLE_MS);
    expect(cluster.timeline.longestOverlap(healed)).toBeLessThan(OVERLAP_MS);
  },
  15 * MINUTES,
);

const [sizeOfCluster, sizeOfTable] = isSoak ? [1000, 10_000] : [60, 2000];

test(
  `15: one owner of ${sizeOfTable} addresses dies among ${sizeOfCluster}, members come, go and move`,
  () => {
    const options = { seed: 15, nodes: sizeOfCluster, addresses: sizeOfTable, warm: true };
    const cluster = new Cluster({ ...options, checked: false });
    const { world } = cluster;
    const [owner, ...others] = world.nodes as [SimNode, ...SimNode[]];
    const all = world.nodes.map(({ name }) => name);
    for (const address of cluster.addresses) world.assign(address, [owner.name]);
    for (const node of world.nodes) node.readApi();
    const isAll = () => owner.active.size === cluster.addresses.length;
    expect(world.runUntil(isAll, 10_000, 100)).toBe(true);
    cluster.run(5000);
    for (const address of cluster.addresses) world.assign(address, all);
    for (const node of world.nodes) node.readApi();
    cluster.run(1000);
    expect(owner.active.size).toBe(cluster.addresses.length);

    world.lan.loss = 0.05;
    const [a, b, c, d] = others as [SimNode, SimNode, SimNode, SimNode];
    c.crash();
    cluster.run(600);
    owner.crash();
    c.start();
    d.crash();
    const [atA, atB] = [a.endpoint.address, b.endpoint.address];
    a.renumber("10.77.0.1" as Address);
    b.renumber(atA);
    a.renumber(atB);
    const from = world.now;
    const most = busiest(cluster, 3000);
    expect(most).toBeLessThanOrEqual(PACKETS_PER_SECOND);
    const orphans = cluster.addresses.filter((address) => world.answering(address).length !== 1);
    expect(orphans).toEqual([]);
    expectSettled(cluster, SETTLE_MS);
    expect(cluster.timeline.longestOverlap(from)).toBeLessThan(OVERLAP_MS);
    expect(cluster.counter("claims stepped-up")).toBeLessThan(cluster.addresses.length / 50);
  },
  30 * MINUTES,
);
