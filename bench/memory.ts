/**
 * What the three programs hold at rest, bundled and run as in the image, as pods of a real API server with
 * a hundred Services; and what each package they load adds to a bare Node.
 * docs/memory.md explains the figures.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient, type Client } from "../kubernetes/client.ts";
import { NAMESPACES, SERVICES } from "../kubernetes/resources.ts";
import { ControlPlane } from "../tests/support/control-plane.ts";
import { bundle } from "../tools/image/bundle.ts";
import { nodeEnvironment, nodeFlags } from "./support/image.ts";
import { report, type Figure } from "./support/report.ts";

const TREE = join(import.meta.dirname, "..");
const FOLDER = join(TREE, "build/bench/memory");
const NAMESPACE = "metallb-system";
const ROUNDS = 3;
const SERVICES_HELD = 100;
/** V8 collects once more some seconds after a program has come to rest. */
const PROGRAM_SETTLES_MS = 20_000;
const PART_SETTLES_MS = 3_000;
/** Megabytes that a program may hold. */
const LIMITS = { operator: 100, controller: 100, speaker: 90 } as const;
const BARE = "node";
const PARTS = ["log", "https", "winston", "prom-client", "ajv", "ajv with meta-schema"].concat([
  "typebox",
  "yaml",
  "client-node",
]);
/** Puts the folder of the first argument where a pod finds its account. */
const IN_POD = [
  "--pdeathsig",
  "KILL",
  "--",
  "unshare",
  "--mount",
  "sh",
  "-ec",
  'mount -t tmpfs none /run; d=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $d; cp "$0"/* $d; exec "$@"',
];

interface Resident {
  readonly all: number;
  readonly anonymous: number;
}

const values = new Map<string, number[]>();

function note(figure: string, value: number): void {
  values.set(figure, [...(values.get(figure) ?? []), value]);
}

/** Megabytes of a process. */
function resident(pid: number): Resident {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const of = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) / 1024;
  return { all: of("Rss"), anonymous: of("Anonymous") };
}

/** Runs a command until it has settled. */
async function held(
  command: readonly string[],
  settleMs: number,
  env: Readonly<Record<string, string>>,
): Promise<Resident> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { PATH: process.env["PATH"], ...nodeEnvironment(), ...env },
  });
  const exit = once(child, "exit");
  await delay(settleMs);
  if (child.pid === undefined || child.exitCode !== null)
    throw new Error(`${command.join(" ")} ended with ${child.exitCode}`);
  const found = resident(child.pid);
  child.kill("SIGKILL");
  await exit;
  return found;
}

async function part(name: string): Promise<number> {
  const node = [process.execPath, ...nodeFlags(), join(FOLDER, "part.mjs"), name];
  const { all } = await held(
    ["setpriv", "--pdeathsig", "KILL", "--", ...node],
    PART_SETTLES_MS,
    {},
  );
  return all;
}

async function program(name: string, account: string, plane: ControlPlane): Promise<Resident> {
  const node = [process.execPath, ...nodeFlags(), join(FOLDER, "main.mjs"), name];
  const { hostname, port } = new URL(plane.server);
  return held(["setpriv", ...IN_POD, account, ...node], PROGRAM_SETTLES_MS, {
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
    POD_NAMESPACE: NAMESPACE,
    POD_NAME: `${name}-0`,
    POD_UID: "5b6f2c1e-0000-4000-8000-000000000000",
    METALLB_NODE_NAME: "node1",
    KEY_FILE: join(account, "key"),
    OPERAND_IMAGE: "bench:1",
    PROBE_PORT: "0",
    METRICS_PORT: "0",
  });
}

async function programs(): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  const names = Object.keys(LIMITS);
  await bundle(
    [
      { in: "tools/image/entry.ts", out: "main" },
      { in: "speaker/responder-thread.ts", out: "responder-thread" },
      { in: "bench/memory/part.ts", out: "part" },
      ...names.map((name) => ({ in: `${name}/main.ts`, out: name })),
    ],
    FOLDER,
  );
  cpSync(join(TREE, "build/packet_socket.node"), join(FOLDER, "packet_socket.node"));
}

/** What a pod of an account that may do all finds in it, and the speaker's key. @returns the folder */
async function account(plane: ControlPlane): Promise<string> {
  await plane.kubectl("create", "serviceaccount", "bench", "-n", NAMESPACE);
  const subject = `--serviceaccount=${NAMESPACE}:bench`;
  const role = "--clusterrole=cluster-admin";
  await plane.kubectl("create", "clusterrolebinding", "bench", role, subject);
  const folder = join(plane.directory, "bench-account");
  mkdirSync(folder);
  cpSync(join(plane.directory, "ca.crt"), join(folder, "ca.crt"));
  writeFileSync(join(folder, "token"), await plane.token(NAMESPACE, "bench", 7_200));
  writeFileSync(join(folder, "namespace"), NAMESPACE);
  writeFileSync(join(folder, "key"), Buffer.alloc(32, 7).toString("base64"));
  return folder;
}

async function load(client: Client): Promise<void> {
  for (let index = 0; index < SERVICES_HELD; index++) {
    await client.apply(SERVICES, {
      metadata: { name: `s${index}`, namespace: NAMESPACE },
      spec: {
        type: "LoadBalancer",
        allocateLoadBalancerNodePorts: false,
        selector: { app: `s${index}` },
        ports: [{ name: "http", port: 80, targetPort: 8080 }],
      },
    });
  }
}

await programs();
await using plane = await ControlPlane.up();
using client = await createClient({ program: "bench", kubeconfig: plane.kubeconfig });
await client.apply(NAMESPACES, { metadata: { name: NAMESPACE } });
await plane.kubectl("apply", "-k", join(TREE, "config/crd"));
await load(client);
const place = await account(plane);

for (let round = 1; round <= ROUNDS; round++) {
  process.stderr.write(`round ${round} of ${ROUNDS}\n`);
  for (const name of Object.keys(LIMITS)) {
    const { all, anonymous } = await program(name, place, plane);
    note(name, all);
    note(`${name}, of which anonymous`, anonymous);
  }
  const bare = await part(BARE);
  note("bare Node", bare);
  for (const name of PARTS) note(`with ${name}: more`, (await part(name)) - bare);
}

report(
  "memory",
  Array.from(values, ([figure, ours]): Figure => {
    const limit = (LIMITS as Readonly<Record<string, number>>)[figure];
    const targets = limit === undefined ? [] : [{ is: "at most", value: limit } as const];
    return { figure, unit: "MiB", ours, targets };
  }),
);
