/**
 * The main thread's end of the responder thread: starts it, posts commands, keeps what it reports.
 * When the thread dies the process has no purpose left, and ends so that its pod is started anew.
 */
import { setPriority } from "node:os";
import { inspect, isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import type { Logger } from "../kubernetes/logging.ts";
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import {
  compileFor,
  type Command,
  type InterfaceNews,
  type MemberNews,
  type MoveNews,
  type OwnerNews,
  type Report,
  type ResponderCounters,
  type SelfNews,
} from "./thread-protocol.ts";

/** What the client tells of. */
export interface ResponderClientOptions {
  readonly logger: Logger;
  /** An address is answered for on other interfaces than before. */
  readonly announcedChanged?: (address: Address) => void;
  /** The node's interfaces changed. */
  readonly interfacesChanged?: (interfaces: readonly InterfaceNews[]) => void;
  /** What the thread counted, about once a second if anything happened. */
  readonly counted?: (counters: ResponderCounters) => void;
  /** Who answers for addresses, as settled among the speakers. */
  readonly owners?: (owners: readonly OwnerNews[]) => void;
  /** Members came, went, or stand otherwise than before. */
  readonly membersChanged?: (members: readonly MemberNews[]) => void;
  /** Another host claims an address that is answered for here; undefined: no longer. */
  readonly contested?: (address: Address, hardwareAddress: MacAddress | undefined) => void;
  /** Addresses changed hands here. */
  readonly moved?: (moves: readonly MoveNews[]) => void;
  /** Hosts are to be asked by ICMP. */
  readonly echo?: (request: Extract<Report, { kind: "echo" }>) => void;
  /** The outcome of a probe. */
  readonly probed?: (outcome: Extract<Report, { kind: "probed" }>) => void;
  /** The thread ended though nobody told it to; ends the process unless said otherwise. */
  readonly died?: (why: string) => void;
  /** The thread's program; given by tests. */
  readonly entry?: URL;
}

/** Nice value (0 to 19) of the main thread: with it the scheduler lets the other one in at once. */
const MAIN_THREAD_NICE = 10;

/**
 * Has the responder thread go first where it and the calling thread want the same core: an answer
 * must not wait until a list of the API server is parsed. Raising its priority would need a
 * capability, lowering one's own needs none. On Linux it is the calling thread's alone, and inherited
 * by those that it starts: to be called once the responder thread was started.
 */
export function yieldToResponder(logger: Logger): void {
  try {
    setPriority(MAIN_THREAD_NICE);
  } catch (error) {
    logger.info("the main thread keeps its priority", { error });
  }
}

/** The entry of the thread: beside this file, or bundled beside the program. */
function entry(): URL {
  return new URL(
    import.meta.url.endsWith(".ts") ? "responder-thread.ts" : "responder-thread.mjs",
    import.meta.url,
  );
}

/** The running responder thread. */
export class ResponderClient {
  readonly #worker: Worker;
  readonly #options: ResponderClientOptions;
  readonly #interfacesOf = new Map<Address, readonly string[]>();
  readonly #stopped = Promise.withResolvers<undefined>();
  readonly #exchanges: PromiseWithResolvers<Uint8Array>[] = [];
  readonly #left = Promise.withResolvers<number>();
  #interfaces: readonly InterfaceNews[] = [];
  #members: readonly MemberNews[] = [];
  #memberOf: ReadonlyMap<string, MemberNews> = new Map();
  #self: SelfNews | undefined;
  #ready = false;
  #stopping = false;
  #ended = false;

  /** Starts the thread. */
  constructor(options: ResponderClientOptions) {
    this.#options = options;
    this.#worker = new Worker(options.entry ?? entry());
    this.#worker.on("message", (report: Report) => this.#take(report));
    this.#worker.on("error", (error: unknown) => this.#end(inspect(error)));
    this.#worker.on("exit", (code) => this.#end(`exit code ${code}`));
  }

  /** Why packets cannot be answered, or undefined when they can. */
  get notReady(): string | undefined {
    return this.#ready ? undefined : "the responder thread does not know the interfaces yet";
  }

  /** Interfaces that an address is answered for on. */
  interfacesOf(address: Address): readonly string[] {
    return this.#interfacesOf.get(address) ?? [];
  }

  /** All interfaces of the node, as last reported. */
  get interfaces(): readonly InterfaceNews[] {
    return this.#interfaces;
  }

  /** The speakers, as this one sees them. */
  get members(): readonly MemberNews[] {
    return this.#members;
  }

  /** How this speaker itself stands; undefined before it talks to the others. */
  get self(): SelfNews | undefined {
    return this.#self;
  }

  /** The speaker of a node, as this one sees it; undefined: it was never heard. */
  member(node: string): MemberNews | undefined {
    return this.#memberOf.get(node);
  }

  /** Hands every address over to the other speakers, and leaves. @returns how many nobody took */
  async leave(withinMs: number): Promise<number> {
    if (this.#ended) return 0;
    this.post({ kind: "leave", withinMs });
    return await this.#left.promise;
  }

  /** Posts a command. */
  post(command: Command): void {
    this.#worker.postMessage(command);
  }

  /** Gives the last exchanges of frames as a capture file. */
  exchanges(): Promise<Uint8Array> {
    const answer = Promise.withResolvers<Uint8Array>();
    if (this.#ended) answer.reject(new Error("the responder thread has ended"));
    else {
      this.#exchanges.push(answer);
      this.post({ kind: "exchanges" });
    }
    return answer.promise;
  }

  /** Has the thread withdraw everything and end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.post({ kind: "stop" });
    await this.#stopped.promise;
  }

  #take(report: Report): void {
    const { logger } = this.#options;
    switch (report.kind) {
      case "ready":
        this.#ready = true;
        break;
      case "interfaces":
        this.#interfacesChanged(report.interfaces);
        break;
      case "announced":
        this.#announced(report.address, report.interfaces);
        break;
      case "owners":
        this.#options.owners?.(report.owners);
        break;
      case "members":
        this.#self = report.self;
        this.#membersChanged(report.members);
        break;
      case "moves":
        this.#options.moved?.(report.moves);
        break;
      case "echo":
        this.#options.echo?.(report);
        break;
      case "left":
        this.#left.resolve(report.forced);
        break;
      case "probed":
        this.#options.probed?.(report);
        break;
      case "conflict":
        logger.error("another host claims an announced address", {
          address: report.address,
          hardwareAddress: report.mac,
          interface: report.interfaceName,
          defended: report.defended,
        });
        this.#options.contested?.(report.address, report.mac);
        break;
      case "conflictOver":
        logger.info("the other host claims the address no longer", {
          address: report.address,
          hardwareAddress: report.mac,
        });
        this.#options.contested?.(report.address, undefined);
        break;
      case "compile":
        this.post(compileFor(report));
        break;
      case "exchanges":
        this.#exchanges.shift()?.resolve(report.pcap);
        break;
      case "trouble":
        logger.error("responder trouble", { problem: report.message });
        break;
      case "counters":
        this.#options.counted?.(report.counters);
        break;
      case "stopped":
        this.#stopped.resolve(undefined);
        break;
    }
  }

  #interfacesChanged(interfaces: readonly InterfaceNews[]): void {
    this.#interfaces = interfaces;
    this.#options.logger.info("interfaces changed", {
      interfaces: interfaces.map(({ name, why }) =>
        why === undefined ? name : `${name} (${why})`,
      ),
    });
    this.#options.interfacesChanged?.(interfaces);
  }

  #membersChanged(members: readonly MemberNews[]): void {
    const { logger, membersChanged } = this.#options;
    for (const { name, live, status } of members) {
      const before = this.#memberOf.get(name);
      if (before?.live !== live) logger.info("member changed", { member: name, live, status });
    }
    const isNews = !isDeepStrictEqual(members, this.#members);
    this.#members = members;
    this.#memberOf = new Map(members.map((each) => [each.name, each]));
    if (isNews) membersChanged?.(members);
  }

  #announced(address: Address, interfaces: readonly string[]): void {
    if (interfaces.length > 0) this.#interfacesOf.set(address, interfaces);
    else this.#interfacesOf.delete(address);
    this.#options.announcedChanged?.(address);
  }

  /** An error is told before the exit that follows it. */
  #end(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopped.resolve(undefined);
    this.#left.resolve(0);
    for (const answer of this.#exchanges.splice(0))
      answer.reject(new Error("the responder thread has ended"));
    if (this.#stopping) return;
    if (this.#options.died !== undefined) {
      this.#options.died(why);
      return;
    }
    this.#options.logger.error("the responder thread died: ending, to be started anew", { why });
    process.exit(1);
  }
}
