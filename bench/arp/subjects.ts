/** Who is measured: something on a host of its own that answers for addresses. */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Host } from "../../tests/support/netns.ts";
import type { Side } from "../support/report.ts";

/** Something that answers for addresses. */
export interface Subject {
  readonly side: Side;
  readonly host: Host;
  /** Its process; undefined: it has none. */
  readonly pid: number | undefined;
  /** Asks it to answer for these addresses and no others; it may take its time. */
  announce(addresses: readonly string[]): Promise<void>;
  /** Keeps a main thread busy parsing: its own, or where it has none, that of a process beside it. */
  parse(on: boolean): Promise<void>;
}

/** Runs a program in a host's namespace, such that it dies with this process. */
export function start(
  host: Host,
  command: readonly string[],
  stdio: StdioOptions,
  env: NodeJS.ProcessEnv = {},
): ChildProcess {
  const args = ["--pdeathsig", "KILL", "--", "nsenter", `--net=${host.path}`, "--", ...command];
  return spawn("setpriv", args, { stdio, env: { ...process.env, ...env } });
}

/** Ends a program and waits for its end. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** CPU time that the threads of a process have used, in milliseconds. */
function cpuTime(pid: number): number {
  let nanoseconds = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8");
    nanoseconds += Number(text.split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

/** Resident memory of a process in MiB. */
export function residentMemory(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]) / 1024;
}

/** Share of a core, in per cent, that a process uses meanwhile; none without a process. */
export async function cpuDuring<T>(
  pid: number | undefined,
  act: () => Promise<T>,
): Promise<{ readonly share: number; readonly result: T }> {
  const used = (): number => (pid === undefined ? 0 : cpuTime(pid));
  const [cpu, time] = [used(), performance.now()];
  const result = await act();
  return { share: (100 * (used() - cpu)) / (performance.now() - time), result };
}

/** Below this share of a core, in per cent, a process rests. */
const REST = 2;
const REST_WITHIN_MS = 60_000;

/** Waits until a process has done what there was to do. */
export async function rest(pid: number): Promise<void> {
  const deadline = performance.now() + REST_WITHIN_MS;
  for (let calm = 0; calm < 3;) {
    const { share } = await cpuDuring(pid, () => delay(500));
    calm = share < REST ? calm + 1 : 0;
    if (performance.now() > deadline)
      throw new Error(`process ${pid} does not come to rest: ${share.toFixed(1)} % of a core`);
  }
}

/** The program beside subjects that have no main thread to keep busy: stopped unless it is needed. */
export class Companion {
  readonly #process: ChildProcess;

  /** Starts it, stopped. */
  constructor(node: readonly string[]) {
    const args = ["--pdeathsig", "KILL", "--", ...node];
    this.#process = spawn("setpriv", args, { stdio: ["ignore", "ignore", "inherit"] });
    this.#process.kill("SIGSTOP");
  }

  /** Lets it run or stops it. */
  run(on: boolean): void {
    this.#process.kill(on ? "SIGCONT" : "SIGSTOP");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#process);
  }
}

/** The kernel's own responder: the addresses stand on the interface. */
export class KernelSubject implements Subject {
  readonly side = "limit";
  readonly host: Host;
  readonly pid = undefined;
  readonly #companion: Companion;
  #announced: ReadonlySet<string> = new Set();

  /** Answers on a host. */
  constructor(host: Host, companion: Companion) {
    this.host = host;
    this.#companion = companion;
  }

  async announce(addresses: readonly string[]): Promise<void> {
    const wanted = new Set(addresses);
    const lines = [
      ...without(this.#announced, wanted).map((each) => `addr del ${hostPrefix(each)}`),
      ...without(wanted, this.#announced).map(
        (each) => `addr add ${hostPrefix(each)}${noDad(each)}`,
      ),
    ].map((line) => `${line} dev eth0\n`);
    this.#announced = wanted;
    const batch = spawn("nsenter", [`--net=${this.host.path}`, "--", "ip", "-batch", "-"], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    batch.stdin.end(lines.join(""));
    await once(batch, "exit");
  }

  parse(on: boolean): Promise<void> {
    this.#companion.run(on);
    return Promise.resolve();
  }
}

const hostPrefix = (address: string): string => `${address}/${address.includes(":") ? 128 : 32}`;
const noDad = (address: string): string => (address.includes(":") ? " nodad" : "");

function without(all: ReadonlySet<string>, some: ReadonlySet<string>): string[] {
  return [...all].filter((each) => !some.has(each));
}

/** Our responder thread. */
export class OurSubject implements Subject {
  readonly side = "ours";
  readonly host: Host;
  readonly pid: number;
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #input: Writable;
  #announced: ReadonlySet<string> = new Set();

  /** Starts it on a host. */
  constructor(host: Host, node: readonly string[], log: number) {
    this.host = host;
    const child = start(host, node, ["pipe", "pipe", log]);
    if (child.pid === undefined || child.stdin === null || child.stdout === null)
      throw new Error("the responder did not start");
    this.#process = child;
    this.pid = child.pid;
    this.#input = child.stdin;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async announce(addresses: readonly string[]): Promise<void> {
    const wanted = new Set(addresses);
    await this.#order({
      announce: without(wanted, this.#announced),
      withdraw: without(this.#announced, wanted),
    });
    this.#announced = wanted;
  }

  async parse(on: boolean): Promise<void> {
    await this.#order({ parsing: on });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#process);
  }

  async #order(order: object): Promise<void> {
    this.#input.write(`${JSON.stringify(order)}\n`);
    const { done } = await this.#answers.next();
    if (done === true) throw new Error("the responder ended: see its log");
  }
}
