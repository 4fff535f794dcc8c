/**
 * How fast Services get their addresses from the whole controller, beside MetalLB's: bursts, restart,
 * memory, and what it writes at rest. QUIET_SECONDS (300) is how long rest is watched.
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

const peerPrograms = await buildPeer();
await using plane = await ControlPlane.up();
const us = await ours(plane);
const peer = await theirs(plane, peerPrograms);
const small: Record<"ours" | "peer", number[]> = { ours: [], peer: [] };
const memory: Record<"ours" | "peer", number[]> = { ours: [], peer: [] };
for (let round = 0; round < ROUNDS; round++) {
  for (const contender of [us, peer]) {
    await using running = await contender.start();
    process.stderr.write(`round ${round + 1} of ${ROUNDS}: ${contender.name}\n`);
    const namespace = `${contender.name}-${round}`;
    small[contender.name].push(await burst(plane, contender, namespace, SMALL));
    memory[contender.name].push(memoryOf(running.pid).resident);
  }
}

process.stderr.write(`${LARGE} Services at once\n`);
const large: { seconds: number[]; memory: number[]; anonymous: number[] } = {
  seconds: [],
  memory: [],
  anonymous: [],
};
{
  await using running = await us.start();
  large.seconds.push(await burst(plane, us, "ours-large", LARGE));
  const { resident, anonymous } = memoryOf(running.pid);
  large.memory.push(resident);
  large.anonymous.push(anonymous);
}
const restarted = Date.now();
await using running = await us.start();
process.stderr.write(`rest for ${QUIET_SECONDS} s\n`);
// Give whatever the start would still have to write the time to be written.
await delay(5_000);
const afterRestart = await writesSince(plane, restarted);
const resting = Date.now();
await delay(QUIET_SECONDS * 1000);
const atRest = await writesSince(plane, resting);

const figures: Figure[] = [
  {
    figure: "1,000 Services at once: last address after the last create",
    unit: "s",
    ours: small.ours,
    peer: small.peer,
    targets: [{ is: "at most", value: 3 }],
  },
  {
    figure: "10,000 Services at once: last address after the last create",
    unit: "s",
    ours: large.seconds,
    targets: [{ is: "at most", value: 40 }],
  },
  {
    figure: "resident memory after a burst of 1,000",
    unit: "MB",
    ours: memory.ours,
    peer: memory.peer,
    targets: [],
  },
  {
    figure: "resident memory with 13,000 Services",
    unit: "MB",
    ours: large.memory,
    targets: [{ is: "at most", value: 150 }],
  },
  { figure: "of that anonymous", unit: "MB", ours: large.anonymous, targets: [] },
  {
    figure: "restart with 13,000 Services: ready",
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
report("burst", figures);
