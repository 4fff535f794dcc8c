/**
 * How fast Services get their addresses from the whole controller, beside MetalLB's: bursts, restart,
 * memory, what it writes at rest, and takeover by a stand-by. QUIET_SECONDS (300) is how long rest is
 * watched; PARTS=bursts,scale,standby chooses what is measured (all).
 */
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "../kubernetes/client.ts";
import { Reflector } from "../kubernetes/reflector.ts";
import { SERVICES, type KubernetesObject, type Service } from "../kubernetes/resources.ts";
import { ControlPlane } from "../tests/support/control-plane.ts";
import { eventually } from "../tests/support/eventually.ts";
import { ours, theirs, type Contender } from "./controller/contender.ts";
import { buildPeer, memoryOf } from "./controller/peer.ts";
import { report, type Figure } from "./support/report.ts";

const ROUNDS = 3;
const SMALL = 1_000;
const LARGE = 10_000;
const TAKEOVERS = 4;
const SETTLE_MS = 5_000;
const CREATORS = 32;
const QUIET_SECONDS = Number(process.env["QUIET_SECONDS"] ?? 300);

interface Seen extends KubernetesObject {
  readonly address: string | undefined;
}

/** Counts the Services of a namespace that have an address. */
class Watcher {
  readonly #reflector: Reflector<Service, Seen>;
  readonly #abort = new AbortController();
  assigned = 0;
  lastMs = 0;

  constructor(client: Awaited<ReturnType<typeof createClient>>, namespace: string) {
    const trim = ({ metadata, status }: Service): Seen => {
      const { name, resourceVersion = "", uid = "" } = metadata;
      return {
        metadata: { name, namespace, resourceVersion, uid },
        address: status?.loadBalancer?.ingress?.[0]?.ip,
      };
    };
    this.#reflector = new Reflector({ client, resource: SERVICES, namespace, trim });
    this.#reflector.onChange(({ type, object, previous }) => {
      if (type === "deleted" || object.address === undefined) return;
      if (previous?.address !== undefined) return;
      this.assigned += 1;
      this.lastMs = performance.now();
    });
  }

  async start(): Promise<void> {
    void this.#reflector.run(this.#abort.signal);
    await this.#reflector.synced();
  }

  stop(): void {
    this.#abort.abort();
  }
}

async function create(
  plane: ControlPlane,
  namespace: string,
  count: number,
  loadBalancerClass: string,
): Promise<number> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const name = `s-${next++}`;
      const { status, body } = await plane.call({
        method: "POST",
        path: `/api/v1/namespaces/${namespace}/services`,
        body: {
          apiVersion: "v1",
          kind: "Service",
          metadata: { name, namespace },
          spec: {
            type: "LoadBalancer",
            loadBalancerClass,
            allocateLoadBalancerNodePorts: false,
            ports: [{ port: 80 }],
          },
        },
      });
      if (status !== 201) throw new Error(JSON.stringify(body));
    }
  };
  await Promise.all(Array.from({ length: CREATORS }, worker));
  return performance.now();
}

/** Seconds from the last create to the last address. */
async function burst(
  plane: ControlPlane,
  contender: Contender,
  namespace: string,
  count: number,
): Promise<number> {
  const client = await createClient({ program: "bench", kubeconfig: plane.kubeconfig });
  const metadata = { name: namespace };
  await plane.call({
    method: "POST",
    path: "/api/v1/namespaces",
    body: { apiVersion: "v1", kind: "Namespace", metadata },
  });
  const watcher = new Watcher(client, namespace);
  await watcher.start();
  const createdMs = await create(plane, namespace, count, contender.loadBalancerClass);
  await eventually(() => watcher.assigned === count, { deadlineMs: 30 * 60_000 });
  watcher.stop();
  client.close();
  return Math.max(0, watcher.lastMs - createdMs) / 1000;
}

/** Writes of our controller since a moment: those to Services, and how many there were to what else. */
async function writesSince(plane: ControlPlane, sinceMs: number) {
  const events = await plane.auditEvents();
  const ours = events.filter(
    ({ user, verb, requestReceivedTimestamp }) =>
      user.username.endsWith(":controller") &&
      !["get", "list", "watch"].includes(verb) &&
      Date.parse(requestReceivedTimestamp) >= sinceMs,
  );
  const to = (resource: string): number =>
    ours.filter(({ objectRef }) => objectRef?.resource === resource).length;
  return { services: to("services"), leases: to("leases"), all: ours.length };
}

/** Bursts of 1,000, ours and the peer's in turn. */
async function bursts(plane: ControlPlane, us: Contender): Promise<Figure[]> {
  const peer = await theirs(plane, await buildPeer());
  const seconds: Record<"ours" | "peer", number[]> = { ours: [], peer: [] };
  const memory: Record<"ours" | "peer", number[]> = { ours: [], peer: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of [us, peer]) {
      await using running = await contender.start();
      process.stderr.write(`round ${round + 1} of ${ROUNDS}: ${contender.name}\n`);
      const namespace = `${contender.name}-${round}`;
      seconds[contender.name].push(await burst(plane, contender, namespace, SMALL));
      memory[contender.name].push(memoryOf(running.pid).resident);
    }
  }
  return [
    {
      figure: "1,000 Services at once: last address after the last create",
      unit: "s",
      ...seconds,
      targets: [{ is: "at most", value: 3 }],
    },
    { figure: "resident memory after a burst of 1,000", unit: "MB", ...memory, targets: [] },
  ];
}

/** A burst of 10,000, a restart with all of them, and rest. */
async function scale(plane: ControlPlane, us: Contender): Promise<Figure[]> {
  process.stderr.write(`${LARGE} Services at once\n`);
  const { seconds, resident, anonymous } = await (async () => {
    await using running = await us.start();
    const seconds = await burst(plane, us, "ours-large", LARGE);
    return { seconds, ...memoryOf(running.pid) };
  })();
  const restarted = Date.now();
  await using running = await us.start();
  process.stderr.write(`rest for ${QUIET_SECONDS} s\n`);
  // Give whatever the start would still have to write the time to be written.
  await delay(SETTLE_MS);
  const afterRestart = await writesSince(plane, restarted);
  const resting = Date.now();
  await delay(QUIET_SECONDS * 1000);
  const atRest = await writesSince(plane, resting);
  return [
    {
      figure: "10,000 Services at once: last address after the last create",
      unit: "s",
      ours: [seconds],
      targets: [{ is: "at most", value: 40 }],
    },
    {
      figure: "resident memory after a burst of 10,000",
      unit: "MB",
      ours: [resident],
      targets: [{ is: "at most", value: 150 }],
    },
    { figure: "of that anonymous", unit: "MB", ours: [anonymous], targets: [] },
    {
      figure: "restart with 10,000 Services: ready",
      unit: "s",
      ours: [running.readyMs / 1000],
      targets: [{ is: "at most", value: 8 }],
    },
    {
      figure: "restart: writes to Services",
      unit: "writes",
      ours: [afterRestart.services],
      targets: [{ is: "at most", value: 0 }],
    },
    {
      figure: "resident memory with 10,000 Services at rest",
      unit: "MB",
      ours: [memoryOf(running.pid).resident],
      targets: [{ is: "at most", value: 150 }],
    },
    {
      figure: `${QUIET_SECONDS} s of rest: writes other than to the Lease`,
      unit: "writes",
      ours: [atRest.all - atRest.leases],
      targets: [{ is: "at most", value: 0 }],
    },
    {
      figure: "rest: writes to the Lease",
      unit: "writes/s",
      ours: [atRest.leases / QUIET_SECONDS],
      targets: [{ is: "at most", value: 0.5 }],
    },
  ];
}

/** Name of the pod that holds the controller's Lease. */
async function leaderOf(plane: ControlPlane): Promise<string> {
  const path = "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/metallb-controller";
  const { body } = await plane.call({ method: "GET", path });
  return (body as { spec?: { holderIdentity?: string } }).spec?.holderIdentity ?? "";
}

/**
 * Seconds from the leader's end to an address that the stand-by gave, with all Services there are: it
 * reads what each of them holds before it gives the first address.
 */
async function standby(plane: ControlPlane, us: Contender): Promise<Figure[]> {
  const seconds: Record<"SIGKILL" | "SIGSTOP", number[]> = { SIGKILL: [], SIGSTOP: [] };
  for (let round = 0; round < TAKEOVERS; round++) {
    for (const how of ["SIGKILL", "SIGSTOP"] as const) {
      process.stderr.write(`takeover ${round + 1} of ${TAKEOVERS}: ${how}\n`);
      const pods = ["a", "b"].map((each) => `${how.toLowerCase()}-${round}-${each}`);
      await using first = await us.start(pods[0]);
      await eventually(async () => (await leaderOf(plane)) === pods[0], { deadlineMs: 60_000 });
      await using _ = await us.start(pods[1]);
      // At any moment between two renewals.
      await delay(SETTLE_MS + Math.random() * 2_000);
      const endedMs = performance.now();
      first.signal(how);
      await burst(plane, us, pods[0] ?? "", 1);
      seconds[how].push((performance.now() - endedMs) / 1000);
    }
  }
  return (["SIGKILL", "SIGSTOP"] as const).map((how) => ({
    figure: `leader gets ${how}: the stand-by assigns after`,
    unit: "s",
    ours: seconds[how],
    targets: [{ is: "at most", value: 5 }],
  }));
}

const PARTS = { bursts, scale, standby };
const wanted = (process.env["PARTS"] ?? Object.keys(PARTS).join(",")).split(",");
await using plane = await ControlPlane.up();
const us = await ours(plane);
const figures: Figure[] = [];
for (const [name, part] of Object.entries(PARTS)) {
  if (wanted.includes(name)) figures.push(...(await part(plane, us)));
}
report(figures.length > 0 && wanted.length === 3 ? "burst" : `burst-${wanted.join("-")}`, figures);
