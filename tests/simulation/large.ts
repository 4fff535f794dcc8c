/**
 * A thousand speakers: five schedules of three virtual seconds and more one after the other on one
 * cluster, since coming up is what costs. And case 15, the owner of everything that dies: `SOAK` runs
 * it with 10,000 addresses.
 */
import assert from "node:assert/strict";
import { Cluster } from "./cluster.ts";
import { between, shuffle } from "./random.ts";
import type { SimNode } from "./world.ts";
import type { Address } from "../../packet/address/address.ts";

/** B1, B4 and the packet budget for the largest clusters. */
const SETTLE_MS = 4000;
/** Until all tables agree when 10,000 claims, and that they are firm, are news to a thousand: they are paced. */
const FLOOD_SETTLE_MS = 12_000;
const OVERLAP_MS = 3000;
const PACKETS_PER_SECOND = 500;
const isSoak = process.env["SOAK"] !== undefined;

function assertBelow(found: number, bound: number): void {
  assert.ok(found < bound, `${found} is not below ${bound}`);
}

function assertAtMost(found: number, bound: number): void {
  assert.ok(found <= bound, `${found} is more than ${bound}`);
}

function assertSettled(cluster: Cluster, within: number): void {
  cluster.world.runUntil(() => cluster.problems().length === 0, within, 100);
  assert.deepEqual(cluster.problems().slice(0, 5), []);
}

/** Five schedules one after the other. */
function thousand(): void {
  const cluster = new Cluster({
    seed: 7,
    nodes: 1000,
    addresses: 100,
    warm: true,
    checked: false,
  });
  const { world } = cluster;
  const { nodes, lan } = world;
  assertSettled(cluster, 5000);
  cluster.run(2500);

  lan.loss = 0.05;
  assertAtMost(cluster.busiest(1000), 100);
  const before = cluster.owners();
  cluster.run(2000);
  assert.deepEqual(cluster.owners(), before);
  assert.equal(cluster.deaths(), 0);

  // 1. One owner dies.
  const owner = cluster.someOwner();
  const addresses = cluster.owned(owner);
  owner.crash();
  assertBelow(cluster.outage(addresses, [owner]), 505);
  assertAtMost(cluster.busiest(2000), PACKETS_PER_SECOND);
  assertSettled(cluster, SETTLE_MS);

  // 2. A rack of forty dies at once.
  const rack = shuffle(world.random, nodes).slice(0, 40);
  const orphans = rack.flatMap((node) => cluster.owned(node));
  for (const node of rack) node.crash();
  assertBelow(cluster.outage(orphans, rack), 1200);
  assertSettled(cluster, SETTLE_MS);

  // 3. It comes back: joins by the dozen, no move.
  const owners = cluster.owners();
  for (const node of rack) world.after(between(world.random, 0, 1000), () => node.start());
  cluster.run(3000);
  assertSettled(cluster, SETTLE_MS);
  assert.deepEqual(cluster.owners(), owners);

  // 4. Twenty nodes drain at once; nothing is ever without an answerer.
  const from = world.now;
  const draining = shuffle(world.random, nodes).slice(0, 20);
  for (const node of draining) node.take({ type: "drain", on: true });
  cluster.run(3000);
  assert.deepEqual(
    draining.flatMap((node) => cluster.owned(node)),
    [],
  );
  assert.equal(cluster.timeline.longestGap(from), 0);
  for (const node of draining) node.take({ type: "drain", on: false });

  // 5. A part is cut off for some seconds and comes back.
  for (const node of nodes.slice(0, 10)) lan.part.set(node, 1);
  cluster.run(3000);
  lan.heal();
  const healed = world.now;
  assertSettled(cluster, SETTLE_MS);
  assertBelow(cluster.timeline.longestOverlap(healed), OVERLAP_MS);
}

const [sizeOfCluster, sizeOfTable] = isSoak ? [1000, 10_000] : [60, 2000];

/** Case 15: one owner of everything dies while members come, go and move. */
function heir(): void {
  const options = { seed: 15, nodes: sizeOfCluster, addresses: sizeOfTable, warm: true };
  const cluster = new Cluster({ ...options, checked: false });
  const { world } = cluster;
  const [owner, ...others] = world.nodes as [SimNode, ...SimNode[]];
  const all = world.nodes.map(({ name }) => name);
  for (const address of cluster.addresses) world.assign(address, [owner.name]);
  for (const node of world.nodes) node.readApi();
  const isAll = () => owner.active.size === cluster.addresses.length;
  assert.equal(world.runUntil(isAll, 10_000, 100), true);
  cluster.run(5000);
  for (const address of cluster.addresses) world.assign(address, all);
  for (const node of world.nodes) node.readApi();
  cluster.run(1000);
  assert.equal(owner.active.size, cluster.addresses.length);

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
  const most = cluster.busiest(3000);
  assertAtMost(most, PACKETS_PER_SECOND);
  const orphans = cluster.addresses.filter((address) => world.answering(address).length !== 1);
  assert.deepEqual(orphans, []);
  assertSettled(cluster, isSoak ? FLOOD_SETTLE_MS : SETTLE_MS);
  assertBelow(cluster.timeline.longestOverlap(from), OVERLAP_MS);
  assertBelow(cluster.counter("claims stepped-up"), cluster.addresses.length / 50);
}

/** The large cases by name; each throws when something does not hold. */
export const LARGE_CASES = { thousand, heir } as const;
export type LargeCase = keyof typeof LARGE_CASES;
