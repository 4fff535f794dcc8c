/**
 * The main thread's end of the responder thread: starts it, posts commands, keeps what it reports.
 * When the thread dies the process has no purpose left, and ends so that its pod is started anew.
 */
import { Worker } from "node:worker_threads";
import type { Logger } from "../kubernetes/logging.ts";
import type { Address } from "../packet/address/address.ts";
import type { Command, InterfaceNews, Report, ResponderCounters } from "./thread-protocol.ts";

/** What the client tells of. */
export interface ResponderClientOptions {
  readonly logger: Logger;
  /** An address is answered for on other interfaces than before. */
  readonly announcedChanged: (address: Address) => void;
  /** The thread's counters, about once a second while they change. */
  readonly counted: (counters: ResponderCounters) => void;
  /** The thread ended though nobody told it to. */
  readonly died: (why: string) => void;
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
  #interfaces: readonly InterfaceNews[] = [];
  #ready = false;
  #stopping = false;

  /** Starts the thread. */
  constructor(options: ResponderClientOptions) {
    this.#options = options;
    this.#worker = new Worker(entry());
    this.#worker.on("message", (report: Report) => this.#take(report));
    this.#worker.on("error", (error: unknown) => this.#end(String(error)));
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

  /** One sentence about each interface that cannot be used. */
  explainInterfaces(): string {
    const unusable = this.#interfaces.flatMap(({ name, why }) =>
      why === undefined ? [] : [`${name}: ${why}`],
    );
    return unusable.length === 0 ? "the node has no interface" : unusable.join("; ").slice(0, 1000);
  }

  /** Posts a command. */
  post(command: Command): void {
    this.#worker.postMessage(command);
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
        this.#interfaces = report.interfaces;
        logger.info("interfaces changed", {
          interfaces: report.interfaces.map(({ name, why }) =>
            why === undefined ? name : `${name} (${why})`,
          ),
        });
        break;
      case "announced":
        if (report.interfaces.length > 0) this.#interfacesOf.set(report.address, report.interfaces);
        else this.#interfacesOf.delete(report.address);
        this.#options.announcedChanged(report.address);
        break;
      case "conflict":
        logger.error("another host claims an announced address", {
          address: report.address,
          hardwareAddress: report.mac,
          interface: report.interfaceName,
        });
        break;
      case "trouble":
        logger.error("responder trouble", { problem: report.message });
        break;
      case "counters":
        this.#options.counted(report.counters);
        break;
      case "stopped":
        this.#stopped.resolve(undefined);
        break;
    }
  }

  #end(why: string): void {
    this.#stopped.resolve(undefined);
    if (!this.#stopping) this.#options.died(why);
  }
}
