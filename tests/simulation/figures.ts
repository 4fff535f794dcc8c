/**
 * Measures what the protocol does under the virtual clock: `node tests/simulation/figures.ts`.
 * Times are virtual milliseconds, with nothing of the machine in them.
 */
import { Cluster } from "./cluster.ts";

const { stdout } = process;
const quick = process.argv.includes("--quick");

function quantiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(share * (sorted.length - 1))] ?? NaN).toFixed(0);
  return `${at(0.5)} | ${at(0.99)} | ${at(1)}`;
}

function detection(nodes: number, loss: number, runs: number): string {
  const outages: number[] = [];
  for (let run = 0; run < runs; run++) {
    const cluster = new Cluster({ seed: 1 + run, nodes, addresses: 12, checked: false }).settle();
    cluster.world.lan.loss = loss;
    cluster.run(1000 + 100 * cluster.random());
    const owner = cluster.someOwner();
    const addresses = cluster.owned(owner);
    owner.crash();
    outages.push(cluster.outage(addresses, [owner]));
  }
  return `| ${nodes} | ${loss * 100} % | ${runs} | ${quantiles(outages)} |`;
}

function falseDeaths(nodes: number, loss: number, minutes: number, addresses: number): string {
  const cluster = new Cluster({ seed: 3, nodes, addresses, checked: false }).settle();
  cluster.world.lan.loss = loss;
  cluster.run(minutes * 60_000);
  const hours = (nodes * minutes) / 60;
  return `| ${nodes} | ${addresses} | ${loss * 100} % | ${hours.toFixed(1)} | ${cluster.deaths()} |`;
}

/** The most that any node sends in a second after so many were cut off for some seconds. */
function heal(nodes: number, away: number): string {
  const warm = nodes > 100;
  const cluster = new Cluster({ seed: 6, nodes, addresses: nodes, warm, checked: false });
  const { world } = cluster.settle(30_000);
  for (const node of world.nodes.slice(0, away)) world.lan.part.set(node, 1);
  cluster.run(5000);
  world.lan.heal();
  return cluster.busiest(4000).toFixed(0);
}

function packets(nodes: number): string {
  const warm = nodes > 100;
  const cluster = new Cluster({ seed: 5, nodes, addresses: 50, warm, checked: false }).settle(
    30_000,
  );
  const { world } = cluster;
  const count = () => world.nodes.map((node) => [node.packetsSent, node.packetsReceived] as const);
  const before = count();
  cluster.run(3000);
  const rates = count().map(([sent, received], i) => [
    (sent - (before[i]?.[0] ?? 0)) / 3,
    (received - (before[i]?.[1] ?? 0)) / 3,
  ]);
  const most = (which: 0 | 1) => Math.max(...rates.map((rate) => rate[which] ?? 0)).toFixed(0);
  const mean = rates.reduce((sum, [sent]) => sum + (sent ?? 0), 0) / nodes;
  const owner = cluster.someOwner();
  const atDeath = count();
  owner.crash();
  cluster.run(1000);
  const busy = Math.max(...count().map(([sent], i) => sent - (atDeath[i]?.[0] ?? 0)));
  return `| ${nodes} | ${mean.toFixed(0)} | ${most(0)} | ${most(1)} | ${busy} |`;
}

stdout.write(
  "Owner crashes, until all of its addresses are answered again (median, 99 %, longest):\n\n",
);
stdout.write(
  "| nodes | loss a path | runs | p50 | p99 | max |\n| --- | --- | --- | --- | --- | --- |\n",
);
for (const [nodes, loss, runs] of [
  [2, 0, 100],
  [3, 0, 300],
  [3, 0.05, 300],
  [3, 0.2, 300],
  [10, 0, 200],
  [10, 0.05, 200],
  [10, 0.2, 200],
  [100, 0, 10],
] as const) {
  stdout.write(`${detection(nodes, loss, quick ? Math.ceil(runs / 10) : runs)}\n`);
}
stdout.write("\nMembers that were held dead wrongly, under independent loss:\n\n");
stdout.write(
  "| nodes | addresses | loss a path | node-hours | false deaths |\n| --- | --- | --- | --- | --- |\n",
);
for (const [nodes, loss, minutes, addresses] of [
  [3, 0, 600, 6],
  [3, 0.05, 600, 0],
  [3, 0.2, 600, 0],
  [3, 0.2, 600, 6],
  [5, 0.2, 300, 0],
  [20, 0.2, 30, 0],
  [3, 0.36, 200, 0],
  [3, 0.36, 200, 6],
  [5, 0.36, 100, 0],
] as const) {
  stdout.write(`${falseDeaths(nodes, loss, quick ? minutes / 10 : minutes, addresses)}\n`);
}
stdout.write(
  "\nPackets a second of a node at rest, and the most sent in the second after an owner's death:\n\n",
);
stdout.write(
  "| nodes | mean sent | most sent | most received | after a death |\n| --- | --- | --- | --- | --- |\n",
);
for (const nodes of quick ? [3, 10, 100] : [3, 10, 100, 1000]) stdout.write(`${packets(nodes)}\n`);
stdout.write("\nThe most that a node sends in a second after a part was cut off for five:\n\n");
stdout.write("| nodes | half of them | ten of them |\n| --- | --- | --- |\n");
for (const nodes of quick ? [3, 10, 100] : [3, 10, 100, 300, 1000]) {
  const half = nodes < 1000 ? heal(nodes, Math.floor(nodes / 2)) : "";
  stdout.write(`| ${nodes} | ${half} | ${nodes > 10 ? heal(nodes, 10) : ""} |\n`);
}
