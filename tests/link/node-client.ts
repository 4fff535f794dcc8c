/** The test's side of `node.ts`. */
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";

import { expect } from "@jest/globals";

import type { Address } from "../../packet/address/address.ts";
import type {
  Command,
  InterfaceCounts,
  InterfaceNews,
  MemberNews,
  OwnerNews,
  ResponderCounters,
  SelfNews,
} from "../../speaker/thread-protocol.ts";
import type { AddressTraffic } from "../../speaker/traffic.ts";
import { eventually } from "../support/eventually.ts";

/** What a node can be told. */
export type NodeOrder =
  | { readonly name: "post"; readonly command: Command }
  | { readonly name: "state" }
  | { readonly name: "interfacesOf"; readonly address: Address }
  | { readonly name: "exchanges" }
  | { readonly name: "stall"; readonly ms: number }
  | { readonly name: "stop" };

/** What it says to that. */
export type NodeAnswer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly message: string };

/** A line of the node's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

/** What the node's main thread knows. */
export interface NodeState {
  readonly ready: boolean;
  readonly interfaces: readonly InterfaceNews[];
  readonly explanation: string;
  readonly lines: readonly LogLine[];
  readonly counted: readonly ResponderCounters[];
  readonly probed: readonly unknown[];
  /** As last told of each address. */
  readonly owners: readonly OwnerNews[];
  readonly members: readonly MemberNews[];
  readonly self: SelfNews | undefined;
  /** All that were ever told. */
  readonly hindrances: readonly string[];
}

/** A responder at work in a namespace. */
export class ResponderNode implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #errors: Buffer[] = [];
  #next = 1;

  private constructor(namespacePath: string, wrapper: readonly string[]) {
    this.#child = fork(join(import.meta.dirname, "node.ts"), {
      execPath: "nsenter",
      execArgv: [`--net=${namespacePath}`, "--", ...wrapper, process.execPath],
      serialization: "advanced",
      silent: true,
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#errors.push(chunk));
    this.#child.on("message", (answer) => this.#settle(answer as NodeAnswer));
    this.#child.on("exit", (code, signal) => this.#fail(`it ended with ${signal ?? code ?? ""}`));
  }

  /** Starts one; `wrapper` is a program that runs it, such as setpriv with arguments. */
  static async start(
    namespace: { readonly path: string },
    wrapper: readonly string[] = [],
  ): Promise<ResponderNode> {
    const node = new ResponderNode(namespace.path, wrapper);
    const ready = Promise.withResolvers<unknown>();
    node.#waiting.set(0, ready);
    await ready.promise;
    await node.post({ kind: "configure", excludedInterfaces: ["^lo$"] });
    await eventually(async () => (await node.state()).ready);
    return node;
  }

  tell(order: NodeOrder): Promise<unknown> {
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#child.send({ id, order });
    return answer.promise;
  }

  async post(command: Command): Promise<void> {
    await this.tell({ name: "post", command });
  }

  /** Has it announce addresses, and waits until it answers for them. */
  async announce(...addresses: readonly Address[]): Promise<void> {
    const announce = addresses.map((address) => ({ address }));
    await this.post({ kind: "table", announce, withdraw: [] });
    await eventually(async () => {
      const at = await this.tell({ name: "interfacesOf", address: addresses.at(-1)! });
      return (at as string[]).length > 0;
    });
  }

  /** Has it withdraw addresses, and waits until it answers for them no longer. */
  async withdraw(...addresses: readonly Address[]): Promise<void> {
    await this.post({ kind: "table", announce: [], withdraw: addresses });
    await eventually(async () => {
      const at = await this.tell({ name: "interfacesOf", address: addresses.at(-1)! });
      expect(at).toEqual([]);
    });
  }

  async state(): Promise<NodeState> {
    return (await this.tell({ name: "state" })) as NodeState;
  }

  /** Log lines with a message, so far. */
  async logged(message: string): Promise<LogLine[]> {
    return (await this.state()).lines.filter(({ msg }) => msg === message);
  }

  async exchanges(): Promise<Uint8Array> {
    return (await this.tell({ name: "exchanges" })) as Uint8Array;
  }

  /** All counts of an interface so far, summed up; `exact` as last told. */
  async interfaceCounts(name: string): Promise<Omit<InterfaceCounts, "name">> {
    const all = (await this.state()).counted.flatMap(({ interfaces }) => interfaces);
    return sum(all.filter((each) => each.name === name));
  }

  /** All counts of an address so far, summed up. */
  async addressCounts(address: Address): Promise<Pick<AddressTraffic, "answered" | "received">> {
    const all = (await this.state()).counted.flatMap(({ addresses }) => addresses);
    const of = all.filter((each) => each.address === address);
    return {
      answered: of.reduce((total, { answered }) => total + answered, 0),
      received: of.reduce((total, { received }) => total + received, 0),
    };
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    await this.tell({ name: "stop" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }

  #settle(answer: NodeAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.ok) waiting?.resolve(answer.value);
    else waiting?.reject(new Error(answer.message));
  }

  #fail(how: string): void {
    const said = Buffer.concat(this.#errors).toString();
    for (const waiting of this.#waiting.values())
      waiting.reject(new Error(`the node is gone: ${how}\n${said}`));
    this.#waiting.clear();
  }
}

function sum(counts: readonly InterfaceCounts[]): Omit<InterfaceCounts, "name"> {
  const drops: Record<string, number> = {};
  let [received, answered, overruns, refused] = [0, 0, 0, 0];
  for (const each of counts) {
    received += each.received;
    answered += each.answered;
    overruns += each.overruns;
    refused += each.refused;
    for (const [reason, by] of Object.entries(each.drops))
      drops[reason] = (drops[reason] ?? 0) + by;
  }
  const exact = counts.at(-1)?.exact;
  return {
    received,
    answered,
    overruns,
    refused,
    drops,
    ...(exact === undefined ? {} : { exact }),
  };
}
