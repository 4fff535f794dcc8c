/**
 * How soon, how cheaply and how surely programs know what the API server knows: our client layer
 * beside the informer and the API classes of `@kubernetes/client-node`, bundled alike, against the same
 * real kube-apiserver. 10,000 Services and 10,000 EndpointSlices; the delay of events is measured
 * against a server that says in each event when it was sent.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { createClient, type Client } from "../kubernetes/client.ts";
import { ENDPOINT_SLICES, NAMESPACES, SERVICES } from "../kubernetes/resources.ts";
import { ControlPlane } from "../tests/support/control-plane.ts";
import { bundle } from "../tools/image/bundle.ts";
import { nodeEnvironment, nodeFlags } from "./support/image.ts";
import { report, type Figure, type Target } from "./support/report.ts";
import { recoveries, recoveryOfServer } from "./watch/recovery.ts";
import { NAMESPACE, rate } from "./watch/subject.ts";

const TREE = join(import.meta.dirname, "..");
const BUNDLES = join(TREE, "build/bench/watch");
const ROUNDS = 3;
const MANY = 10_000;
const FEW = 100;
/** Memory is read when the collector had time to give back what the list needed. */
const SETTLE_MS = 5_000;
const IDLE_UNIT_S = 300;

type Side = "ours" | "peer";
const SIDES: readonly Side[] = ["ours", "peer"];

/** Values of one figure, by side. */
type Values = Record<Side, number[]>;
const values = new Map<string, Values>();

function note(figure: string, side: Side, value: number): void {
  const known = values.get(figure) ?? { ours: [], peer: [] };
  known[side].push(value);
  values.set(figure, known);
}

async function programs(): Promise<void> {
  const names = [...SIDES, "event-server"];
  await bundle(
    names.map((out) => ({ in: `bench/watch/${out}.ts`, out })),
    BUNDLES,
  );
}

/** A subject that runs, and what it says. */
class Subject implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(program: string, ...args: readonly string[]) {
    const command = [...nodeFlags(), join(BUNDLES, `${program}.mjs`), ...args];
    this.#child = spawn(process.execPath, command, {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...nodeEnvironment() },
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done) throw new Error("a subject of the benchmark ended before it said its figure");
    return next.value;
  }

  async said<T>(): Promise<T> {
    return JSON.parse(await this.line()) as T;
  }

  async memory(): Promise<number> {
    this.#child.stdin?.write("memory\n");
    return (await this.said<{ residentMb: number }>()).residentMb;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
  }
}

/** Objects as a cluster has them, the first hundred of each marked as few. */
async function load(client: Client): Promise<void> {
  await rate(MANY, async (index) => {
    const name = `s${index}`;
    const size = index < FEW ? { few: "yes" } : {};
    const labels = { "app.kubernetes.io/name": name, many: "yes", ...size };
    await client.create(SERVICES, {
      metadata: {
        name,
        namespace: NAMESPACE,
        labels,
        annotations: { note: `service ${index} of the benchmark` },
      },
      spec: {
        type: "LoadBalancer",
        // Their number is that of the node ports otherwise.
        allocateLoadBalancerNodePorts: false,
        selector: { app: name },
        ports: [
          { name: "http", port: 80, targetPort: 8080 },
          { name: "https", port: 443, targetPort: 8443 },
        ],
      },
    });
    await client.create(ENDPOINT_SLICES, {
      metadata: {
        name: `${name}-x`,
        namespace: NAMESPACE,
        labels: { ...labels, "kubernetes.io/service-name": name },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
      endpoints: [0, 1, 2].map((pod) => ({
        addresses: [`10.244.${index >> 8}.${index & 255}`],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: `node${pod}`,
        targetRef: { kind: "Pod", name: `${name}-${pod}`, namespace: NAMESPACE },
      })),
    });
  });
}

interface Held {
  readonly objects: number;
  readonly firstMs: number;
  readonly syncedMs: number;
  readonly blockedMs: number;
}

async function hold(
  side: Side,
  place: readonly string[],
  selector: string,
  count: number,
): Promise<void> {
  await using subject = new Subject(side, "hold", ...place, selector);
  const held = await subject.said<Held>();
  if (held.objects !== 2 * count)
    throw new Error(`${side} holds ${held.objects} objects of ${2 * count}`);
  await delay(SETTLE_MS);
  const memory = await subject.memory();
  if (count === FEW) {
    note("bundled start to first list", side, held.firstMs);
    note("resident memory, 100 of each", side, memory);
    return;
  }
  note("start to 20,000 objects synced", side, held.syncedMs);
  note("main thread blocked at most meanwhile", side, held.blockedMs);
  note("resident memory, 10,000 of each", side, memory);
}

async function delays(side: Side): Promise<void> {
  await using server = new Subject("event-server");
  await using subject = new Subject(side, "events", "", "", "", await server.line());
  const { p50, p99 } = await subject.said<{ p50: number; p99: number }>();
  note("server event to handler, p50", side, p50);
  note("server event to handler, p99", side, p99);
}

async function writes(side: Side, place: readonly string[]): Promise<void> {
  await using subject = new Subject(side, "writes", ...place);
  note("status writes", side, (await subject.said<{ perSecond: number }>()).perSecond);
}

async function recover(plane: ControlPlane, client: Client): Promise<void> {
  const start = (origin: string): Subject => new Subject("ours", "follow", "", "", "", origin);
  const { resetMs, stormMs } = await recoveries(plane, client, start);
  note("sees again after a reset of its connection", "ours", resetMs);
  note("sees again after ten seconds of 429", "ours", stormMs);
}

async function recoverFromAbsence(
  plane: ControlPlane,
  client: Client,
  place: readonly string[],
): Promise<void> {
  await using follower = new Subject("ours", "follow", ...place, "");
  const ms = await recoveryOfServer(plane, client, follower);
  note("sees again after ten seconds without API server", "ours", ms);
}

/** Watches opened on something that never changes, counted by the API server's log. */
async function opened(plane: ControlPlane, user: string, sinceIso: string): Promise<number> {
  const events = await plane.auditEvents();
  return events.filter(
    ({ requestURI, userAgent, requestReceivedTimestamp }) =>
      requestURI.includes("idle%3Dyes") &&
      requestURI.includes("watch=true") &&
      (userAgent?.startsWith(user) ?? false) &&
      requestReceivedTimestamp > sinceIso,
  ).length;
}

async function account(plane: ControlPlane): Promise<readonly string[]> {
  await plane.kubectl("create", "serviceaccount", "bench", "-n", NAMESPACE);
  const subject = `--serviceaccount=${NAMESPACE}:bench`;
  await plane.kubectl(
    "create",
    "clusterrolebinding",
    "bench",
    "--clusterrole=cluster-admin",
    subject,
  );
  const directory = join(plane.directory, "bench-account");
  mkdirSync(directory);
  copyFileSync(join(plane.directory, "ca.crt"), join(directory, "ca.crt"));
  writeFileSync(join(directory, "token"), await plane.token(NAMESPACE, "bench", 7_200));
  const { hostname, port } = new URL(plane.server);
  return [directory, hostname, port];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

await programs();
await using plane = await ControlPlane.up();
using client = await createClient({ program: "bench", kubeconfig: plane.kubeconfig });
await client.apply(NAMESPACES, { metadata: { name: NAMESPACE } });
const place = await account(plane);

// Idle watches run beside all the rest; nothing ever carries their label.
const idleSince = new Date().toISOString();
const idleStarted = performance.now();
await using idleOurs = new Subject("ours", "hold", ...place, "idle=yes");
await using idlePeer = new Subject("peer", "hold", ...place, "idle=yes");
await Promise.all([idleOurs.said(), idlePeer.said()]);

say(`creating ${MANY} Services and ${MANY} EndpointSlices`);
await load(client);

for (let round = 1; round <= ROUNDS; round++) {
  for (const side of round % 2 === 1 ? SIDES : SIDES.toReversed()) {
    say(`round ${round} of ${ROUNDS}: ${side}`);
    await hold(side, place, "few=yes", FEW);
    await hold(side, place, "many=yes", MANY);
    await delays(side);
    await writes(side, place);
  }
  await recover(plane, client);
}

const minimumMs = IDLE_UNIT_S * 1000 - (performance.now() - idleStarted);
if (minimumMs > 0) {
  say(`watching idle watches for ${Math.ceil(minimumMs / 1000)} s more`);
  await delay(minimumMs);
}
const unitsOfIdling = (performance.now() - idleStarted) / (IDLE_UNIT_S * 1000);
const agents: Record<Side, string> = { ours: "metallb-operator", peer: "" };
const all = await opened(plane, "", idleSince);
const ours = await opened(plane, agents.ours, idleSince);
// Two watches each; the first opening is none again.
note("idle watch reopened in five minutes", "ours", Math.max(0, ours - 2) / 2 / unitsOfIdling);
note(
  "idle watch reopened in five minutes",
  "peer",
  Math.max(0, all - ours - 2) / 2 / unitsOfIdling,
);

for (let round = 1; round <= ROUNDS; round++) await recoverFromAbsence(plane, client, place);

const most = (value: number): readonly Target[] => [{ is: "at most", value }];
const least = (value: number): readonly Target[] => [{ is: "at least", value }];
const FIGURES: readonly (readonly [string, string, readonly Target[]])[] = [
  ["server event to handler, p50", "ms", most(5)],
  ["server event to handler, p99", "ms", most(25)],
  ["start to 20,000 objects synced", "ms", most(5_000)],
  ["main thread blocked at most meanwhile", "ms", most(50)],
  ["resident memory, 10,000 of each", "MB", most(140)],
  ["resident memory, 100 of each", "MB", most(85)],
  ["bundled start to first list", "ms", most(500)],
  ["status writes", "1/s", least(300)],
  ["idle watch reopened in five minutes", "", most(1)],
  ["sees again after a reset of its connection", "ms", most(2_000)],
  ["sees again after ten seconds of 429", "ms", most(2_000)],
  ["sees again after ten seconds without API server", "ms", most(2_000)],
];
report(
  "watch",
  FIGURES.map(([figure, unit, targets]): Figure => {
    const { ours, peer } = values.get(figure) ?? { ours: [], peer: [] };
    return { figure, unit, ours, ...(peer.length > 0 && { peer }), targets };
  }),
);
