/** The two controllers as processes against one control plane, each with a class of its own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { formatRenderedConfig } from "../../api/rendered-config.ts";
import { poolConfig, renderedConfig } from "../../tests/support/builders.ts";
import type { ControlPlane } from "../../tests/support/control-plane.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { bundle } from "../../tools/image/bundle.ts";
import { nodeEnvironment, nodeFlags } from "../support/image.ts";
import type { Peer } from "./peer.ts";

const TREE = join(import.meta.dirname, "../..");
const BUNDLES = join(TREE, "build/bench/controller");
const NAMESPACE = "metallb-system";
/** Four times what the largest burst needs. */
export const ADDRESSES = ["10.128.0.0/16"];

/** One of the two. */
export interface Contender {
  readonly name: "ours" | "peer";
  readonly loadBalancerClass: string;
  /** Starts it, as the pod of a name; it is there when it is ready. */
  start(pod?: string): Promise<Running>;
}

/** A contender that runs. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Milliseconds from start to ready. */
  readonly readyMs: number;
  /** Sends it a signal. */
  signal(name: "SIGKILL" | "SIGSTOP"): void;
}

/** Gives our controller what it needs, and runs it as a pod does. */
export async function ours(plane: ControlPlane): Promise<Contender> {
  const loadBalancerClass = "bench.example/ours";
  await bundle([{ in: "controller/main.ts", out: "main" }], BUNDLES);
  await plane.kubectl("apply", "-f", join(TREE, "config/namespace/namespace.yaml"));
  await plane.kubectl("apply", "-k", join(TREE, "config/crd"));
  await plane.kubectl("apply", "-f", join(TREE, "config/rbac/controller.yaml"));
  const config = formatRenderedConfig(
    renderedConfig([poolConfig("pool", ADDRESSES, { "announce-from": "AllNodes" })], {
      "log-level": "warn",
      "load-balancer-class": loadBalancerClass,
    }),
  );
  const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
  const metadata = { name: "config", namespace: NAMESPACE };
  await post(plane, path, { apiVersion: "v1", kind: "ConfigMap", metadata, data: { config } });
  const account = await serviceAccount(plane);
  return {
    name: "ours",
    loadBalancerClass,
    start: async (pod = "controller-0") => {
      const port = await freePort();
      const { hostname, port: serverPort } = new URL(plane.server);
      const child = spawn(
        "setpriv",
        [...WITH_US, "unshare", ...IN_POD, account, process.execPath, ...nodeFlags(), PROGRAM],
        {
          env: {
            ...nodeEnvironment(),
            PATH: process.env["PATH"],
            KUBERNETES_SERVICE_HOST: hostname,
            KUBERNETES_SERVICE_PORT: serverPort,
            POD_NAMESPACE: NAMESPACE,
            POD_NAME: pod,
            PROBE_PORT: String(port),
            METRICS_PORT: "0",
          },
          stdio: ["ignore", "ignore", "inherit"],
        },
      );
      return running(child, async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok);
    },
  };
}

const PROGRAM = join(BUNDLES, "main.mjs");
/** Runs a program that ends when we do, however that comes. */
const WITH_US = ["--pdeathsig", "KILL", "--"];
/** Runs a program where a pod finds its account: the first argument is the folder to find there. */
const IN_POD = [
  "--mount",
  "sh",
  "-ec",
  'mount -t tmpfs none /run; d=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $d; cp "$0"/* $d; exec "$@"',
];

/** Bundles our controller as the image has it: what is imported on demand stays apart. */
/** Writes what a pod of the controller's account finds in it. @returns the folder */
async function serviceAccount(plane: ControlPlane): Promise<string> {
  const folder = join(plane.directory, "account");
  await mkdir(folder);
  await copyFile(join(plane.directory, "ca.crt"), join(folder, "ca.crt"));
  await writeFile(join(folder, "namespace"), NAMESPACE);
  await writeFile(join(folder, "token"), await plane.token(NAMESPACE, "controller", 24 * 3600));
  return folder;
}

/** Gives the peer what it needs. */
export async function theirs(plane: ControlPlane, peer: Peer): Promise<Contender> {
  const loadBalancerClass = "bench.example/peer";
  // ServiceL2Status is a kind of ours too, and the peer's controller does not read it.
  for (const kind of [
    "ipaddresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bgppeers",
    "bfdprofiles",
    "communities",
    "servicebgpstatuses",
  ]) {
    await plane.kubectl("apply", "-f", join(peer.crds, `bases/metallb.io_${kind}.yaml`));
  }
  await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
  await post(plane, `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/ipaddresspools`, {
    apiVersion: "metallb.io/v1beta1",
    kind: "IPAddressPool",
    metadata: { name: "pool", namespace: NAMESPACE },
    spec: { addresses: ["10.129.0.0/16"] },
  });
  return {
    name: "peer",
    loadBalancerClass,
    start: async () => {
      const port = await freePort();
      const child = spawn(
        "setpriv",
        [
          ...WITH_US,
          peer.controller,
          `--port=${port}`,
          "--webhook-mode=disabled",
          "--log-level=error",
          `--lb-class=${loadBalancerClass}`,
          `--namespace=${NAMESPACE}`,
        ],
        { env: { PATH: process.env["PATH"], KUBECONFIG: plane.kubeconfig }, stdio: "ignore" },
      );
      return running(child, async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).ok);
    },
  };
}

async function running(child: ChildProcess, isReady: () => Promise<boolean>): Promise<Running> {
  const start = performance.now();
  await eventually(async () => isReady().catch(() => false), { deadlineMs: 120_000 });
  return {
    pid: child.pid ?? 0,
    readyMs: performance.now() - start,
    signal: (name) => void child.kill(name),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, "exit");
      child.kill("SIGTERM");
      // One that was stopped would take no notice of that.
      child.kill("SIGCONT");
      await exit;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await once(server.close(), "close");
  return port;
}

async function post(plane: ControlPlane, path: string, body: object): Promise<void> {
  const { status, body: answer } = await plane.call({ method: "POST", path, body });
  if (status !== 201) throw new Error(`POST ${path}: ${status} ${JSON.stringify(answer)}`);
}
