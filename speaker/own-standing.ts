/**
 * Whether this node may take addresses at all, from what the main thread knows: the node's links, its
 * kube-proxy, and what is written on its Node. The others are told why not; a node whose kube-proxy is
 * not ready, or that is being drained, hands over what it has. If nobody can take it, it goes on: an
 * address that is answered for by a doubtful node is better than one that nobody answers for.
 */
import { drainRequest, type DrainFacts, type Toleration } from "./drain.ts";
import { noInterface, type ListedInterface } from "./no-interface.ts";
import type { Plight } from "./roster.ts";
import type { Command } from "./thread-protocol.ts";

/** What it works with. */
export interface OwnStandingOptions {
  /** Tolerations that somebody asked for. */
  readonly tolerations: readonly Toleration[];
  readonly post: (command: Command) => void;
  readonly logger: { info(message: string, fields?: object): void };
}

/** Follows the three, and posts what changes. */
export class OwnStanding {
  readonly #options: OwnStandingOptions;
  #links: Plight | undefined;
  #dataPlane = true;
  #request: string | undefined;
  #drains = false;
  #plight: Plight | undefined;

  /** All is well until told otherwise. */
  constructor(options: OwnStandingOptions) {
    this.#options = options;
  }

  /** Takes all interfaces of the node. */
  interfacesChanged(interfaces: readonly ListedInterface[]): void {
    const usable = interfaces.some(({ why }) => why === undefined);
    const { reason } = noInterface(interfaces);
    this.#links = usable || reason === "InterfaceNotSelected" ? undefined : reason;
    this.#post();
  }

  /** Takes whether kube-proxy is ready. */
  dataPlaneChanged(ready: boolean): void {
    this.#options.logger.info("kube-proxy changed", { ready });
    this.#dataPlane = ready;
    this.#post();
  }

  /** Takes what is written on our Node. */
  nodeChanged(facts: DrainFacts): void {
    const request = drainRequest(facts, this.#options.tolerations);
    if (request === this.#request) return;
    this.#options.logger.info("drain request changed", { request: request ?? "none" });
    this.#request = request;
    this.#post();
  }

  #post(): void {
    const { post } = this.#options;
    const drains = this.#request !== undefined || !this.#dataPlane;
    const plight = this.#plightNow();
    if (plight !== this.#plight) post({ kind: "plight", ...(plight !== undefined && { plight }) });
    if (drains !== this.#drains) post({ kind: "drain", on: drains });
    this.#plight = plight;
    this.#drains = drains;
  }

  #plightNow(): Plight | undefined {
    if (this.#links !== undefined) return this.#links;
    if (this.#request !== undefined) return "Draining";
    return this.#dataPlane ? undefined : "DataPlaneNotReady";
  }
}
