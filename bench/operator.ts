/**
 * What the operator costs, and how fast it is, on the real cluster. REST_SECONDS (300) is how long rest is
 * watched, ROUNDS (3) how often an installation, a repair of everything and an upgrade are measured.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Cluster } from "../tests/cluster/cluster.ts";
import { buildProductImage, PRODUCT_IMAGE } from "../tests/cluster/for-tests.ts";
import { tagImage } from "../tests/cluster/olm-images.ts";
import {
  installOperator,
  PRODUCT_NAMESPACE,
  waitForAddresses,
  waitForAnswer,
} from "../tests/cluster/product.ts";
import { downOnSignal } from "../tests/cluster/signal.ts";
import { waitFor } from "../tests/cluster/wait.ts";
import { memoryOf } from "./controller/peer.ts";
import { compileAndRender } from "./operator/compile.ts";
import { METALLB, MANY_POOLS, NAMESPACE, POOL, WEB } from "./operator/objects.ts";
import { Observer } from "./operator/observer.ts";
import { operatorPid } from "./operator/process.ts";
import { estimate, report, type Figure, type Rounds } from "./support/report.ts";

const ROUNDS = Number(process.env["ROUNDS"] ?? 3);
const REST_SECONDS = Number(process.env["REST_SECONDS"] ?? 300);
const REPAIRS = 25;
const QUIET_SECONDS = 20;
const PATIENCE_MS = 50;
const MANAGER = "deployment/metallb-operator-controller-manager";

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** The value that 99 of 100 do not exceed. */
function p99(values: Rounds): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * 0.99) - 1] ?? NaN;
}

downOnSignal();
const image = buildProductImage();
await using cluster = await Cluster.up({}, [image], say);
const host = await cluster.host();
const inProduct = async (...args: string[]): Promise<string> =>
  await cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...args]);
await installOperator(cluster);
await cluster.apply(...WEB, POOL);
await using observer = await Observer.start(cluster.kubeconfig);

// The images are on the nodes: what is measured is the operator and Kubernetes, no registry.
const available: number[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  say(`round ${round} of ${ROUNDS}: from the MetalLB object to Available`);
  await cluster.apply(METALLB);
  available.push((await observer.available()) / 1000);
  if (round === ROUNDS) break;
  await inProduct("delete", "metallb", "metallb");
  await waitFor("no pods of the old one", 120, async () => {
    return (await inProduct("get", "pods", "-l", "app=metallb", "-o", "name")) === "";
  });
}

const [address = ""] = await waitForAddresses(cluster, "web", 1, NAMESPACE);
await waitForAnswer(host, address);

const restored: number[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  say(`round ${round} of ${ROUNDS}: ${REPAIRS} deletions of each child`);
  const times: number[] = [];
  for (let i = 0; i < REPAIRS; i++) times.push(...(await observer.deleteAndAwait()));
  restored.push(p99(times) / 1000);
}
await waitFor("all pods ready again", 120, () => observer.isSettled());

const quiet: number[] = [];
const upgraded: number[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  const lost = async (work: () => Promise<void>): Promise<number> => {
    const probe = await host.probe(address, 80, 10, PATIENCE_MS);
    await work();
    const { attempts, failed } = await probe.stop();
    return (1000 * failed) / attempts;
  };
  say(`round ${round} of ${ROUNDS}: ${QUIET_SECONDS} s of quiet, then an upgrade`);
  quiet.push(await lost(async () => await delay(QUIET_SECONDS * 1000)));
  const to = PRODUCT_IMAGE.replace(/:.*/, `:bench-${round}`);
  await tagImage(cluster, PRODUCT_IMAGE, to);
  const upgrade = async (): Promise<void> => {
    await inProduct("set", "image", MANAGER, `operator=${to}`);
    await waitFor(`everything of ${to}`, 300, () => observer.isSettled(to), 200);
  };
  upgraded.push(await lost(upgrade));
}

say(`${MANY_POOLS.length} pools`);
const compiled = compileAndRender(MANY_POOLS, 15);
await cluster.apply(...MANY_POOLS);
await waitFor("all of them in effect", 120, () => observer.countPools() > MANY_POOLS.length);
const edited: number[] = [];
for (let i = 0; i < 10; i++) edited.push((await observer.editAndAwait(i % 2 === 0)) / 1000);
const memory = memoryOf(await operatorPid(observer.operatorPod()));

say(`rest for ${REST_SECONDS} s`);
await waitFor("rest", 120, () => observer.isSettled());
// what repeats itself within a minute is counted, and written as a series at the end of it
await delay(70_000);
const since = new Date();
await delay(REST_SECONDS * 1000);
const account = new RegExp(`^system:serviceaccount:${PRODUCT_NAMESPACE}:`);
const writes = cluster.audit(
  since,
  ({ user, verb, objectRef }) =>
    account.test(user.username) &&
    !["get", "list", "watch"].includes(verb) &&
    objectRef?.resource !== "leases",
);
for (const { verb, requestURI } of writes.slice(0, 10)) say(`  ${verb} ${requestURI}`);
const least = memoryOf(await operatorPid(observer.operatorPod()));

const figures: Figure[] = [
  {
    figure: "MetalLB object applied → Available",
    unit: "s",
    ours: available,
    targets: [{ is: "at most", value: 6 }],
  },
  {
    figure: "child deleted → restored, p99",
    unit: "s",
    ours: restored,
    targets: [{ is: "at most", value: 1 }],
  },
  {
    figure: `operator's resident memory with ${MANY_POOLS.length} pools, busy; at rest`,
    unit: "MB",
    ours: [memory.resident, least.resident],
    targets: [{ is: "at most", value: 100 }],
  },
  {
    figure: "of that anonymous",
    unit: "MB",
    ours: [memory.anonymous, least.anonymous],
    targets: [],
  },
  {
    figure: `${REST_SECONDS} s of rest: writes other than to Leases`,
    unit: "writes",
    ours: [writes.length],
    targets: [{ is: "at most", value: 0 }],
  },
  {
    figure: "planned upgrade: probes lost (limit: a quiet stretch)",
    unit: "‰",
    ours: upgraded,
    limit: quiet,
    // one of a thousand more is what one busy moment of the machine costs
    targets: [{ is: "at most", value: estimate(quiet).median + 2 * estimate(quiet).spread + 1 }],
  },
  {
    figure: `${MANY_POOLS.length} AddressPools with 2,000 ranges validated and rendered`,
    unit: "ms",
    ours: compiled,
    targets: [{ is: "at most", value: 100 }],
  },
  {
    figure: "one of them edited → controller and speakers run it",
    unit: "s",
    ours: edited,
    targets: [{ is: "at most", value: 1 }],
  },
];
report("operator", figures);
