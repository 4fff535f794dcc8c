/** Client hosts on the LAN: a network namespace each, with what a test wants to see from there. */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { ourNamespaces } from "./boot.ts";
import { inNamespace, attempt, run, shell, type Outcome } from "./command.ts";
import {
  CLIENT_HOSTS,
  CONTROL_NAMESPACE,
  LAN_PREFIX_LENGTH,
  NAMESPACE_PREFIX,
  STATE_DIRECTORY,
  bridgeName,
  families,
  lanAddress,
  type ClusterOptions,
} from "./layout.ts";
import { readState } from "./state.ts";
import { waitFor } from "./wait.ts";

/** One entry of a host's neighbour table. */
export interface Neighbour {
  readonly address: string;
  /** Absent while unresolved. */
  readonly hardwareAddress?: string;
  /** NUD states as the kernel names them, such as REACHABLE, STALE, FAILED. */
  readonly states: readonly string[];
}

/** A time during which no attempt succeeded. */
export interface Outage {
  /** Milliseconds since the epoch. */
  readonly fromMs: number;
  readonly outageMs: number;
  readonly failed: number;
  readonly error?: string;
  /** It was over when the probe was stopped. */
  readonly ended: boolean;
}

/** What a probe found. */
export interface ProbeReport {
  readonly attempts: number;
  readonly failed: number;
  readonly outages: readonly Outage[];
}

interface ProbeLine {
  readonly kind: "up" | "down" | "outage" | "unended" | "total";
  readonly fromMs?: number;
  readonly outageMs: number;
  readonly attempts: number;
  readonly failed: number;
  readonly error?: string;
}

/** A probe that runs; stopping it gives its report. */
export interface Probe {
  /** Resolves at the end of the next outage that is seen, or the one under way. */
  nextOutage(seconds: number): Promise<Outage>;
  stop(): Promise<ProbeReport>;
}

/** Something that runs until it is stopped. */
export interface Running {
  stop(): Promise<void>;
}

/** A capture that runs; stopping it gives the file. */
export interface Capture {
  readonly file: string;
  stop(): Promise<string>;
}

const outage = (line: ProbeLine): Outage => ({
  fromMs: line.fromMs ?? 0,
  outageMs: line.outageMs,
  failed: line.failed,
  ...(line.error === undefined ? {} : { error: line.error }),
  ended: line.kind === "outage",
});

/** A host on a LAN. */
export class LanHost implements AsyncDisposable {
  readonly namespace: string;
  readonly addresses: { readonly ipv4: string; readonly ipv6: string };
  readonly #remove: () => void;
  #captures = 0;

  constructor(namespace: string, addresses: { ipv4: string; ipv6: string }, remove: () => void) {
    this.namespace = namespace;
    this.addresses = addresses;
    this.#remove = remove;
  }

  /** Runs a program on the host. */
  async exec(command: readonly string[]): Promise<Outcome> {
    return await attempt(inNamespace(this.namespace, command));
  }

  /** The body at http://ADDRESS:PORT/, or undefined when there is none within a second. */
  async fetch(address: string, port = 80, seconds = 1): Promise<string | undefined> {
    const host = address.includes(":") ? `[${address}]` : address;
    const curl = [
      "curl",
      "--silent",
      "--fail",
      "--max-time",
      String(seconds),
      `http://${host}:${port}/`,
    ];
    const outcome = await this.exec(curl);
    return outcome.status === 0 ? outcome.stdout : undefined;
  }

  /** The neighbour table, both families. */
  async neighbours(): Promise<Neighbour[]> {
    const text = await run(inNamespace(this.namespace, ["ip", "-json", "neighbour", "show"]));
    const entries = JSON.parse(text || "[]") as {
      dst: string;
      lladdr?: string;
      state?: string[];
    }[];
    return entries.map(({ dst, lladdr, state }) => ({
      address: dst,
      ...(lladdr === undefined ? {} : { hardwareAddress: lladdr }),
      states: state ?? [],
    }));
  }

  /** The hardware address that the host has for an address. */
  async neighbour(address: string): Promise<string | undefined> {
    return (await this.neighbours()).find((entry) => entry.address === address)?.hardwareAddress;
  }

  /** Forgets all neighbours. */
  async forgetNeighbours(): Promise<void> {
    await run(inNamespace(this.namespace, ["ip", "neighbour", "flush", "all"]));
  }

  /**
   * Opens a connection every interval and asks for a line, each with its own patience, until stopped.
   * Resolves when the first attempt has ended.
   */
  async probe(address: string, port = 80, intervalMs = 10, patienceMs = 50): Promise<Probe> {
    const state = readState();
    const lantool = join(state?.programs ?? "", "lantool");
    const command = [
      lantool,
      "probe",
      address,
      String(port),
      String(intervalMs),
      String(patienceMs),
    ];
    const [program = "", ...args] = inNamespace(this.namespace, command);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    const lines: ProbeLine[] = [];
    let seen = 0;
    createInterface(child.stdout).on("line", (text) => lines.push(JSON.parse(text) as ProbeLine));
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const onExit = (): void => void child.kill();
    process.once("exit", onExit);
    await waitFor(`first attempt at ${address}`, 10, () => lines.length > 0);
    return {
      nextOutage: async (seconds) =>
        await waitFor(`an outage of ${address} that ends`, seconds, () => {
          const ended = lines.filter((line) => line.kind === "outage");
          const next = ended[seen];
          if (next === undefined) return undefined;
          seen++;
          return outage(next);
        }),
      stop: async () => {
        child.kill("SIGTERM");
        await closed;
        process.off("exit", onExit);
        const total = lines.find((line) => line.kind === "total");
        if (total === undefined) throw new Error(`the probe of ${address} ended without a report`);
        const outages = lines
          .filter((line) => line.kind === "outage" || line.kind === "unended")
          .map(outage);
        return { attempts: total.attempts, failed: total.failed, outages };
      },
    };
  }

  /**
   * Asks everybody who has these addresses, each once an interval, until stopped: by ARP and Neighbor
   * Discovery, as a host does that knows nothing yet. Who answers is seen in a capture.
   */
  async ask(addresses: readonly string[], intervalMs = 10): Promise<Running> {
    const lantool = join(readState()?.programs ?? "", "lantool");
    const command = [lantool, "ask", "eth0", String(intervalMs), ...addresses];
    const [program = "", ...args] = inNamespace(this.namespace, command);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const onExit = (): void => void child.kill();
    process.once("exit", onExit);
    await waitFor("the first question", 10, () => {
      if (child.exitCode !== null) throw new Error(`lantool ask: status ${child.exitCode}`);
      return said.includes("asking");
    });
    return {
      stop: async () => {
        child.kill("SIGTERM");
        await closed;
        process.off("exit", onExit);
      },
    };
  }

  /** Captures what the host's interface sees into a pcap file. Resolves when it has begun. */
  async capture(filter = "arp or icmp6"): Promise<Capture> {
    const folder = `${STATE_DIRECTORY}/captures`;
    mkdirSync(folder, { recursive: true });
    const file = `${folder}/${this.namespace}-${process.pid}-${++this.#captures}.pcap`;
    const command = [
      "tcpdump",
      "-i",
      "eth0",
      "--immediate-mode",
      "-U",
      "-Z",
      "root",
      "-w",
      file,
      filter,
    ];
    const [program = "", ...args] = inNamespace(this.namespace, command);
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const onExit = (): void => void child.kill();
    process.once("exit", onExit);
    await waitFor("the capture's begin", 10, () => {
      if (child.exitCode !== null) throw new Error(said);
      return said.includes("listening on");
    });
    return {
      file,
      stop: async () => {
        child.kill("SIGINT");
        await closed;
        process.off("exit", onExit);
        return file;
      },
    };
  }

  /** Removes the host from the LAN. */
  async [Symbol.asyncDispose](): Promise<void> {
    await removeHost(this);
    this.#remove();
  }
}

/** Makes a host on a LAN with the next free number. */
export async function createHost(
  options: ClusterOptions,
  lan: number,
  onRemove: () => void,
): Promise<LanHost> {
  const taken = new Set(await ourNamespaces());
  for (let number = CLIENT_HOSTS.first; number <= CLIENT_HOSTS.last; number++) {
    const namespace = `${NAMESPACE_PREFIX}host${number}`;
    if (taken.has(namespace)) continue;
    const made = await attempt(["ip", "netns", "add", namespace]);
    if (made.status !== 0) continue; // another test took the number in this moment
    const port = `h${number}`;
    const addresses = lanAddress(number, lan);
    await shell(
      `ip -n ${namespace} link set lo up
       ip -n ${CONTROL_NAMESPACE} link add ${port} type veth peer name eth0 netns ${namespace}
       ip -n ${CONTROL_NAMESPACE} link set ${port} master ${bridgeName(lan)} up`,
    );
    for (const family of families(options.family))
      await shell(
        `ip -n ${namespace} addr add ${addresses[family]}/${LAN_PREFIX_LENGTH[family]} dev eth0 ${family === "ipv6" ? "nodad" : ""}`,
      );
    await shell(`ip -n ${namespace} link set eth0 up`);
    return new LanHost(namespace, addresses, onRemove);
  }
  throw new Error(`all host numbers ${CLIENT_HOSTS.first} to ${CLIENT_HOSTS.last} are taken`);
}

/** Removes a host: ends what runs on it and takes its namespace away. */
export async function removeHost(host: LanHost): Promise<void> {
  const pids = (await attempt(["ip", "netns", "pids", host.namespace])).stdout.trim().split("\n");
  for (const pid of pids.filter((text) => text !== "")) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // ended meanwhile
    }
  }
  await attempt(["ip", "netns", "del", host.namespace]);
}
