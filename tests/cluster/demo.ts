/** `make demo`: everything from nothing to a failover, shown on a cluster of its own. */
import { join } from "node:path";
import { Cluster } from "./cluster.ts";
import { UsageError } from "./failure.ts";
import { buildProductImage } from "./for-tests.ts";
import { CONTROL_NAMESPACE, KUBECONFIG } from "./layout.ts";
import type { LanHost } from "./lan.ts";
import {
  installOperator,
  ownerSeenBy,
  waitAvailable,
  waitForAddresses,
  waitForAnswer,
} from "./product.ts";
import { downOnSignal } from "./signal.ts";
import { waitFor } from "./wait.ts";

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const step = (text: string): void => say(`\n==> ${text}`);
const keep = process.env["KEEP"] === "1";
let shown: Cluster | undefined;

async function show(cluster: Cluster, ...args: string[]): Promise<void> {
  say(`$ kubectl ${args.join(" ")}`);
  say((await cluster.kubectl(args)).trimEnd());
}

async function showFromClient(host: LanHost, command: readonly string[]): Promise<void> {
  say(`client$ ${command.join(" ")}`);
  const { stdout, stderr } = await host.exec(command);
  say((stdout + stderr).trimEnd());
}

/** Cuts the owner's link and shows who answers next, and how long nobody did. */
async function failOver(cluster: Cluster, host: LanHost, address: string): Promise<void> {
  const before = await waitFor("the owner in the client's neighbour table", 30, () =>
    ownerSeenBy(cluster, host, address),
  );
  step(`cutting the link of ${before}, which answers for ${address}`);
  const probe = await host.probe(address, 80, 10, 50);
  await cluster.node(before).cutLink();
  const after = await waitFor("another owner", 60, async () => {
    const owner = await ownerSeenBy(cluster, host, address);
    return owner !== before && owner;
  });
  await waitForAnswer(host, address);
  await cluster.node(before).waitReady(false);
  await probe.nextOutage(30);
  const report = await probe.stop();
  const longest = Math.max(...report.outages.map(({ outageMs }) => outageMs));
  await showFromClient(host, ["ip", "neighbour", "show", address]);
  say(`new owner: ${after}`);
  say(
    `outage: ${longest.toFixed(0)} ms at most at a stretch, ${report.failed} of ${report.attempts} connections failed`,
  );
  await cluster.node(before).restoreLink();
  await cluster.node(before).waitReady();
}

async function demonstrate(): Promise<void> {
  const started = performance.now();
  step("building the image");
  const image = buildProductImage();
  step("starting a cluster: three nodes, a LAN, a client on it");
  const cluster = await Cluster.up({}, [image], say);
  shown = cluster;
  const host = await cluster.host();
  step("installing the operator: kubectl apply -k config/default");
  await installOperator(cluster);
  step(
    "applying config/samples: a MetalLB object, an AddressPool, a web Deployment and its Service",
  );
  await cluster.kubectl(["apply", "-k", join(import.meta.dirname, "samples")]);
  await waitAvailable(cluster);
  await cluster.kubectl(["rollout", "status", "deployment/web", "--timeout=60s"]);
  const addresses = await waitForAddresses(cluster, "web", 2);
  await show(cluster, "-n", "metallb-system", "get", "pods", "-o", "wide");
  await show(cluster, "get", "service", "web");
  step(`a client on the LAN reaches the Service at ${addresses.join(" and ")}`);
  for (const address of addresses) {
    await waitForAnswer(host, address);
    await showFromClient(host, [
      "curl",
      "--silent",
      address.includes(":") ? `http://[${address}]/` : `http://${address}/`,
    ]);
  }
  await showFromClient(host, ["ip", "neighbour", "show"]);
  step("what Kubernetes says");
  await show(cluster, "describe", "service", "web");
  await show(cluster, "-n", "metallb-system", "describe", "metallb", "metallb");
  await failOver(cluster, host, addresses[0] ?? "");
  step(`done in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  if (keep) {
    say("The cluster stays up. Go on by hand:");
    say(`  export KUBECONFIG=${KUBECONFIG}`);
    say(`  ${cluster.program("controlplane")} kubectl get service web`);
    say(`  nsenter --net=/run/netns/${host.namespace}      # a shell on the LAN client`);
    say(`  nsenter --net=/run/netns/${CONTROL_NAMESPACE}   # the switch and the control plane`);
    say("  make cluster-down");
  }
}

/** Ends the cluster if this run started it. @returns what went wrong. */
async function takeDown(): Promise<unknown> {
  try {
    await shown?.[Symbol.asyncDispose]();
    return undefined;
  } catch (error) {
    return error;
  }
}

downOnSignal();
const failure = await demonstrate().then(
  () => undefined,
  (error: unknown) => error,
);
if (failure instanceof UsageError) {
  process.stderr.write(`error: ${failure.message}\n`);
  process.exit(2);
}
const trouble = failure ?? (keep ? undefined : await takeDown());
if (failure !== undefined && !keep) await takeDown();
const what = trouble instanceof Error ? trouble.message : JSON.stringify(trouble);
say(trouble === undefined ? "demo: ok" : `demo: FAILED: ${what}`);
process.exit(trouble === undefined ? 0 : 1);
