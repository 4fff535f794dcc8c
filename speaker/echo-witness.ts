/**
 * The main thread's part of the LAN witness: echo requests, which only the main thread can send (the
 * addon of raw sockets loads once in a process). Slower than what the responder thread asks by ARP
 * and Neighbor Discovery, and nothing waits for it: an answer is posted to the thread when it comes.
 */
import type { Logger } from "../kubernetes/logging.ts";
import type { Address } from "../packet/address/address.ts";
import type { EchoResult } from "../packet/link/witness.ts";
import { LanWitness } from "../packet/link/witness.ts";
import { BoundedMap } from "./bounded-map.ts";
import type { Command, Report } from "./thread-protocol.ts";

/** How long an answer is waited for. */
const PATIENCE_MS = 150;
/** A target is not asked again before this. */
const AGAIN_MS = 50;

/** What asks on one interface. */
interface Asking extends Disposable {
  echo(target: Address, timeoutMs: number): Promise<EchoResult>;
}

/** What the witness is given. */
export interface EchoWitnessOptions {
  readonly logger: Logger;
  /** Told of each answer. */
  readonly answered: (echo: Extract<Command, { kind: "echoed" }>) => void;
  /** Opens what asks on an interface; given by tests. */
  readonly open?: (interfaceName: string) => Asking;
  readonly now?: () => number;
}

/** Asks hosts whether they hear us. */
export class EchoWitness implements Disposable {
  readonly #options: EchoWitnessOptions;
  readonly #open = new Map<string, Asking>();
  readonly #askedAt = new BoundedMap<string, number>(1024);
  #refused = false;

  /** Opens nothing yet. */
  constructor(options: EchoWitnessOptions) {
    this.#options = options;
  }

  /** Asks every target once, and tells of those that answer. */
  async ask({ interfaceName, targets }: Extract<Report, { kind: "echo" }>): Promise<void> {
    const now = (this.#options.now ?? performance.now.bind(performance))();
    const due = targets.filter((target) => {
      const key = `${interfaceName} ${target}`;
      if (now - (this.#askedAt.get(key) ?? -Infinity) < AGAIN_MS) return false;
      this.#askedAt.set(key, now);
      return true;
    });
    await Promise.all(due.map((target) => this.#askOne(interfaceName, target)));
  }

  /** Ends all requests. */
  [Symbol.dispose](): void {
    for (const asking of this.#open.values()) asking[Symbol.dispose]();
    this.#open.clear();
  }

  #close(interfaceName: string, asking = this.#open.get(interfaceName)): void {
    asking?.[Symbol.dispose]();
    if (this.#open.get(interfaceName) === asking) this.#open.delete(interfaceName);
  }

  async #askOne(interfaceName: string, target: Address): Promise<void> {
    try {
      let asking = this.#open.get(interfaceName);
      if (asking === undefined) {
        asking = (this.#options.open ?? ((name) => new LanWitness(name)))(interfaceName);
        this.#open.set(interfaceName, asking);
      }
      const result = await asking.echo(target, PATIENCE_MS);
      if (result.ok) this.#options.answered({ kind: "echoed", interfaceName, target });
      // The interface was made anew under its name: what is bound to the old one sends no more.
      else if (result.reason === "Refused") this.#close(interfaceName, asking);
    } catch (error) {
      // Without it the LAN is asked by ARP and Neighbor Discovery alone; said once.
      this.#close(interfaceName);
      if (this.#refused) return;
      this.#refused = true;
      this.#options.logger.error("hosts of the LAN are not asked by ICMP", {
        interfaceName,
        error,
      });
    }
  }
}
