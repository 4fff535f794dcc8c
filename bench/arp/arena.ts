/**
 * The LAN that all are measured on: a client and one host for each subject, on one bridge. Broadcast
 * and multicast reach only the host whose turn it is, so that no subject works while another is
 * measured.
 */
import { setTimeout as delay } from "node:timers/promises";
import { run } from "../../tests/cluster/command.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { createLan, type Host, type Lan } from "../../tests/support/netns.ts";

/** For a port of the bridge to follow a change, and for wake-ups of the turn before to end. */
const TURN_MS = 50;

/** Which protocol asks. */
export type Protocol = "ARP" | "NDP";

/** Latencies of requests asked one after the other; µs, absent when none was answered. */
export interface Latencies {
  readonly sent: number;
  readonly answered: number;
  readonly p50?: number;
  readonly p99?: number;
}

/** What became of requests that nobody waited for. */
export interface Storm {
  /** May be less than wanted, on a busy machine. */
  readonly perSecond: number;
  /** Share of a core, in per cent, of the sender; the receiving kernel's work is in it. */
  readonly cpu: number;
}

/** Who asks, and of whom. */
export interface Asking {
  readonly protocol: Protocol;
  readonly targets: readonly string[];
  /** To ask this host alone. */
  readonly mac?: string;
}

/** The LAN of the benchmark. */
export class Arena implements AsyncDisposable {
  readonly #lan: Lan;
  readonly #loadProgram: string;
  readonly #client: Host;

  private constructor(lan: Lan, loadProgram: string) {
    this.#lan = lan;
    this.#loadProgram = loadProgram;
    this.#client = lan.host(1);
  }

  /** Makes a LAN with so many hosts beside the client. */
  static async open(subjects: number, loadProgram: string): Promise<Arena> {
    const lan = await createLan({ hosts: 1 + subjects });
    const arena = new Arena(lan, loadProgram);
    for (const host of lan.hosts) await eventually(() => isSettled(host));
    return arena;
  }

  /** Host of a subject, by number from 0. */
  host(subject: number): Host {
    return this.#lan.host(2 + subject);
  }

  /** Lets broadcast and multicast reach this host and the client, and no other. */
  async turnOf(host: Host): Promise<void> {
    for (const { port } of this.#lan.hosts.slice(1)) {
      const word = port === host.port ? "on" : "off";
      const flags = ["bcast_flood", word, "mcast_flood", word];
      await this.#lan.switch.ip("link", "set", port, "type", "bridge_slave", ...flags);
    }
    await delay(TURN_MS);
  }

  /** Asks for targets by chance, one after the other's reply. */
  async latency(asking: Asking, count: number): Promise<Latencies> {
    return (await this.#load("latency", asking, count)) as Latencies;
  }

  /** Asks with 64 requests outstanding. @returns replies a second */
  async flood(asking: Asking, milliseconds: number): Promise<number> {
    return ((await this.#load("flood", asking, milliseconds)) as { perSecond: number }).perSecond;
  }

  /** Asks without caring for replies. */
  async storm(asking: Asking, milliseconds: number, rate: number): Promise<Storm> {
    return (await this.#load("storm", asking, milliseconds, rate)) as Storm;
  }

  /** Asks for each target in turn until one is silent. @returns how far it came */
  async sweep(asking: Asking, first: number): Promise<number> {
    return ((await this.#load("sweep", asking, first)) as { next: number }).next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lan[Symbol.asyncDispose]();
  }

  async #load(
    mode: string,
    { protocol, targets, mac }: Asking,
    ...numbers: number[]
  ): Promise<unknown> {
    const { path, ipv4, ipv6, interfaceName } = this.#client;
    const source = protocol === "ARP" ? ipv4 : ipv6;
    const lines = targets.map((target) => (mac === undefined ? target : `${target} ${mac}`));
    const load = [this.#loadProgram, mode, interfaceName, source, ...numbers.map(String)];
    const options = { input: `${lines.join("\n")}\n` };
    return JSON.parse(await run(["nsenter", `--net=${path}`, "--", ...load], options));
  }
}

/** Whether the link-local address of a host can be used: duplicates have been looked for. */
async function isSettled(host: Host): Promise<boolean> {
  const { stdout } = await host.ip("-6", "addr", "show", "dev", "eth0", "scope", "link");
  return stdout.includes("fe80") && !stdout.includes("tentative");
}
