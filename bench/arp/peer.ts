/**
 * MetalLB's Go speaker as it is, on a real API server: one Service an address, each with a Ready
 * endpoint. It has no memberlist and the only node, so that it announces them all.
 *
 * The API server is frozen while anything is measured: what the speaker still wants to write about
 * 10,000 Services, at its 20 requests a second, would disturb it and everybody else.
 */
import type { ChildProcess } from "node:child_process";
import { UsageError } from "../../tests/cluster/failure.ts";
import type { ControlPlane } from "../../tests/support/control-plane.ts";
import type { Host } from "../../tests/support/netns.ts";
import type { PeerProgram } from "./programs.ts";
import { end, start, type Companion, type Subject } from "./subjects.ts";

const NAMESPACE = "metallb-system";
const NODE = "node1";
const POD = "speaker";
/** Requests to the API server at once. */
const PARALLEL = 16;

const METALLB = "/apis/metallb.io/v1beta1";
const SERVICES = "/api/v1/namespaces/default/services";
const SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/** What the peer is started with. */
export interface PeerOptions {
  readonly plane: ControlPlane;
  readonly host: Host;
  readonly program: PeerProgram;
  readonly companion: Companion;
  /** The program that relays into another network namespace. */
  readonly lantool: string;
  /** Descriptor of its log file. */
  readonly log: number;
  /** Ranges that hold every address it is to announce. */
  readonly ranges: readonly string[];
}

/** MetalLB's speaker. */
export class PeerSubject implements Subject, AsyncDisposable {
  readonly side = "peer";
  readonly host: Host;
  readonly pid: number;
  readonly #plane: ControlPlane;
  readonly #companion: Companion;
  readonly #speaker: ChildProcess;
  readonly #relay: ChildProcess;
  /** Address of each Service, by its number; undefined: it has none. */
  readonly #services: (string | undefined)[] = [];

  private constructor(options: PeerOptions, speaker: ChildProcess, relay: ChildProcess) {
    if (speaker.pid === undefined) throw new Error("MetalLB's speaker did not start");
    this.host = options.host;
    this.pid = speaker.pid;
    this.#plane = options.plane;
    this.#companion = options.companion;
    this.#speaker = speaker;
    this.#relay = relay;
  }

  /** Makes its objects and starts it. */
  static async open(options: PeerOptions): Promise<PeerSubject> {
    const { plane, host, program, lantool, log } = options;
    await allowGroups(host);
    await prepare(options);
    // The API server listens on loopback of another namespace.
    const { host: address } = new URL(plane.server);
    const here = `/proc/${process.pid}/ns/net`;
    const stdio = ["ignore", log, log] as const;
    const relay = start(host, [lantool, "relay", address, here, address], [...stdio]);
    const flags = [`--namespace=${NAMESPACE}`, `--node-name=${NODE}`, `--pod-name=${POD}`];
    const environment = { KUBECONFIG: plane.kubeconfig };
    const speaker = start(host, [program.binary, ...flags], [...stdio], environment);
    return new PeerSubject(options, speaker, relay);
  }

  async announce(addresses: readonly string[]): Promise<void> {
    this.#plane.resume();
    const numbers = Array.from(
      { length: Math.max(addresses.length, this.#services.length) },
      (_none, i) => i,
    ).values();
    const work = async (): Promise<void> => {
      for (const i of numbers) await this.#set(i, addresses[i]);
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
  }

  /** Freezes the API server. */
  freeze(): void {
    this.#plane.pause();
  }

  parse(on: boolean): Promise<void> {
    this.#companion.run(on);
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#speaker);
    await end(this.#relay);
  }

  /** Gives a Service an address, or takes it away; makes the Service if there is none. */
  async #set(i: number, address: string | undefined): Promise<void> {
    const name = `service-${i}`;
    const fresh = i >= this.#services.length;
    if (!fresh && this.#services[i] === address) return;
    this.#services[i] = address;
    if (fresh) {
      await post(this.#plane, SLICES, endpointSlice(name));
      await post(this.#plane, SERVICES, service(name));
    }
    const ingress = address === undefined ? [] : [{ ip: address }];
    await patch(this.#plane, `${SERVICES}/${name}/status`, {
      status: { loadBalancer: { ingress } },
    });
  }
}

/**
 * The speaker joins a multicast group for each IPv6 address by one socket, which the kernel's default
 * ends at about 2,300: for the addresses beyond them it would not answer.
 */
async function allowGroups(host: Host): Promise<void> {
  try {
    await host.run("sysctl", "-qw", "net.core.optmem_max=16777216");
  } catch (error) {
    // In older kernels it is one for all namespaces, which is not ours to set.
    throw new UsageError("net.core.optmem_max of a namespace: needs Linux 6.8", { cause: error });
  }
}

async function prepare({ plane, program, ranges }: PeerOptions): Promise<void> {
  await plane.kubectl("create", "-f", program.definitions);
  await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s");
  await plane.kubectl("create", "namespace", NAMESPACE);
  await post(plane, "/api/v1/nodes", { metadata: { name: NODE } });
  await post(plane, `/api/v1/namespaces/${NAMESPACE}/pods`, {
    metadata: { name: POD },
    spec: { nodeName: NODE, containers: [{ name: "speaker", image: "speaker" }] },
  });
  await post(plane, `${METALLB}/namespaces/${NAMESPACE}/ipaddresspools`, {
    apiVersion: "metallb.io/v1beta1",
    kind: "IPAddressPool",
    metadata: { name: "pool" },
    spec: { addresses: ranges },
  });
  await post(plane, `${METALLB}/namespaces/${NAMESPACE}/l2advertisements`, {
    apiVersion: "metallb.io/v1beta1",
    kind: "L2Advertisement",
    metadata: { name: "all" },
    spec: {},
  });
}

function service(name: string): object {
  return {
    metadata: { name },
    spec: {
      type: "LoadBalancer",
      allocateLoadBalancerNodePorts: false,
      ports: [{ port: 80 }],
    },
  };
}

function endpointSlice(name: string): object {
  return {
    metadata: { name, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.2"], nodeName: NODE, conditions: { ready: true } }],
    ports: [{ port: 80 }],
  };
}

async function post(plane: ControlPlane, path: string, body: object): Promise<void> {
  const { status, body: answer } = await plane.call({ method: "POST", path, body });
  if (status !== 201) throw new Error(`POST ${path}: ${status} ${JSON.stringify(answer)}`);
}

async function patch(plane: ControlPlane, path: string, body: object): Promise<void> {
  const contentType = "application/merge-patch+json";
  const { status, body: answer } = await plane.call({ method: "PATCH", path, body, contentType });
  if (status !== 200) throw new Error(`PATCH ${path}: ${status} ${JSON.stringify(answer)}`);
}
