/** The test's side of `agent.ts`. */
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";

import type { AfPacketOptions } from "../../packet/link/af-packet.ts";
import type { LinkStatistics } from "../../packet/link/link.ts";
import type { EchoResult } from "../../packet/link/witness.ts";
import type { BpfProgram } from "../../packet/wire/bpf.ts";
import type { JudgedInterfaces } from "../../speaker/interfaces.ts";

/** A frame that the agent's link handed over. */
export interface SeenFrame {
  readonly octets: Uint8Array;
  readonly atMs: number;
  /** The agent's clock when it was handed over. */
  readonly nowMs: number;
  readonly kind: string;
}

/** A handler call of the link, in words. */
export type AgentEvent = string;

interface Orders {
  open: { readonly options: AfPacketOptions };
  describe: object;
  send: { readonly frames: readonly Uint8Array[] };
  sendBatch: { readonly frames: readonly Uint8Array[] };
  /** Past the link, which does not send frames longer than a slot. */
  sendLong: { readonly frame: Uint8Array };
  echo: { readonly on: boolean };
  stall: { readonly ms: number };
  setFilter: { readonly programs: readonly BpfProgram[]; readonly etherType?: number };
  joinGroup: { readonly group: string };
  leaveGroup: { readonly group: string };
  refresh: object;
  statistics: object;
  frames: object;
  events: object;
  /** A capture of all frames since the link was opened. */
  pcap: object;
  /** The ring of exchanges, as a capture. */
  exchanges: object;
  /** Watches the interfaces of the namespace, over netlink or without it. */
  watch: { readonly excluded: readonly string[]; readonly netlink: boolean };
  /** What the watch told last, how often it told, and whether it polls. */
  interfaces: object;
  /** Interfaces over netlink and over files, for comparison. */
  facts: object;
  /** An echo request of the witness. */
  witness: {
    readonly interfaceName: string;
    readonly target: string;
    readonly timeoutMs: number;
  };
  /** Joins or leaves the solicited-node groups of addresses. */
  groups: {
    readonly interfaceIndex: number;
    readonly join?: readonly string[];
    readonly leave?: readonly string[];
  };
  gateways: object;
  close: object;
}

/** What the agent can be told. */
export type Command = {
  [Name in keyof Orders]: { readonly id: number; readonly name: Name } & Orders[Name];
}[keyof Orders];

/** What it says to that. */
export type Answer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly code: string; readonly message: string };

/** A refusal of the agent: `code` is that of the LinkError. */
export class AgentError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** What an agent's watch over interfaces has told. */
export interface Watched {
  readonly judged: JudgedInterfaces | null;
  readonly told: number;
  readonly polling: boolean;
}

/** What the agent's link says of itself. */
export interface Description {
  readonly interfaceName: string;
  readonly interfaceIndex: number;
  readonly macAddress: string;
  readonly up: boolean;
}

/** An agent at work in a namespace. */
export class Agent implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #errors: Buffer[] = [];
  #next = 1;

  private constructor(namespacePath: string, wrapper: readonly string[]) {
    const preload = process.env["AGENT_PRELOAD"];
    this.#child = fork(join(import.meta.dirname, "agent.ts"), {
      execPath: "nsenter",
      execArgv: [`--net=${namespacePath}`, "--", ...wrapper, process.execPath],
      serialization: "advanced",
      silent: true,
      env: {
        ...process.env,
        NODE_OPTIONS: "",
        ...(preload === undefined ? {} : { LD_PRELOAD: preload }),
      },
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#errors.push(chunk));
    this.#child.on("message", (answer) => this.#settle(answer as Answer));
    this.#child.on("exit", (code, signal) => this.#fail(`it ended with ${signal ?? code ?? ""}`));
  }

  /** Starts one; `wrapper` is a program that runs it, such as setpriv with arguments. */
  static async start(
    namespace: { readonly path: string },
    wrapper: readonly string[] = [],
  ): Promise<Agent> {
    const agent = new Agent(namespace.path, wrapper);
    const ready = Promise.withResolvers<unknown>();
    agent.#waiting.set(0, ready);
    await ready.promise;
    return agent;
  }

  /** Starts one and opens its link. */
  static async open(
    namespace: { readonly path: string },
    options: AfPacketOptions = { interfaceName: "eth0" },
  ): Promise<Agent> {
    const agent = await Agent.start(namespace);
    await agent.tell("open", { options });
    return agent;
  }

  /** Tells it something. @throws AgentError */
  tell<Name extends keyof Orders>(name: Name, order: Orders[Name]): Promise<unknown> {
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#child.send({ id, name, ...order });
    return answer.promise;
  }

  async send(...frames: readonly Uint8Array[]): Promise<void> {
    await this.tell("send", { frames });
  }

  /** Frames handed over since the last call. */
  async frames(): Promise<SeenFrame[]> {
    return (await this.tell("frames", {})) as SeenFrame[];
  }

  /** All handler calls so far but frames. */
  async events(): Promise<AgentEvent[]> {
    return (await this.tell("events", {})) as AgentEvent[];
  }

  async statistics(): Promise<LinkStatistics> {
    return (await this.tell("statistics", {})) as LinkStatistics;
  }

  async witness(target: string, timeoutMs = 2000): Promise<EchoResult> {
    return (await this.tell("witness", { interfaceName: "eth0", target, timeoutMs })) as EchoResult;
  }

  async interfaces(): Promise<Watched> {
    return (await this.tell("interfaces", {})) as Watched;
  }

  async describe(): Promise<Description> {
    return (await this.tell("describe", {})) as Description;
  }

  /** Ends it in order: the link closed, the loop empty. @returns what it wrote to standard error */
  async end(): Promise<string> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    await this.tell("close", {});
    this.#child.disconnect();
    await gone;
    return Buffer.concat(this.#errors).toString();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.ok) waiting?.resolve(answer.value);
    else waiting?.reject(new AgentError(answer.code, answer.message));
  }

  #fail(how: string): void {
    const said = Buffer.concat(this.#errors).toString();
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new Error(`the agent is gone: ${how}\n${said}`));
    }
    this.#waiting.clear();
  }
}
