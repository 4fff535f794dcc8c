/**
 * The shell on the main thread: reads the stores, has each address decided, posts what changed to
 * the responder thread, and writes down why.
 *
 * The unit of work is the address. What touches an address (its Services, their slices, the nodes,
 * the configuration) puts it into the queue; nothing ever walks over all addresses but a change that
 * bears on all of them.
 */
import type { RenderedConfig } from "../api/rendered-config.ts";
import type { EndpointSlice, Node, Service } from "../kubernetes/resources.ts";
import type { Change } from "../kubernetes/reflector.ts";
import { objectKey, type Key, type Store } from "../kubernetes/store.ts";
import { familyOf, type Address } from "../packet/address/address.ts";
import { elect, type Election, type NodeFacts } from "./election.ts";
import { announceableAddresses, nodeFacts, PoolIndex, serviceFacts } from "./facts.ts";
import type { CandidacyEntry, Command, OwnerNews } from "./thread-protocol.ts";

/** What the speaker watches. */
export interface World {
  /** LoadBalancer Services, by address. */
  readonly services: Store<Service, "address">;
  /** EndpointSlices by the key of their Service. */
  readonly slices: Store<EndpointSlice, "service">;
  readonly nodes: Store<Node>;
}

/** What a reconciliation works with. */
export interface ReconcileOptions {
  readonly world: World;
  readonly post: (command: Command) => void;
  /** Told the keys of Services whose verdict may have changed. */
  readonly touched: (services: readonly Key[]) => void;
  readonly now: () => Date;
}

/** What is known about one address that some Service of ours has. */
export interface AddressDecision {
  readonly address: Address;
  readonly election: Election;
}

/** Who answers for an address, and since when it is so. */
export interface Ownership extends OwnerNews {
  readonly since: Date;
}

/**
 * Decides for each address who may announce it. Which of those does is settled among the speakers,
 * in the responder thread.
 */
export class SpeakerReconciler {
  readonly #options: ReconcileOptions;
  readonly #decisions = new Map<Address, AddressDecision>();
  #config: RenderedConfig | undefined;
  #pools = new PoolIndex([]);
  #nodes: readonly NodeFacts[] | undefined;
  readonly #owners = new Map<Address, Ownership>();
  #set: CandidacyEntry[] = [];
  #deleted: Address[] = [];

  /** Decides nothing before a configuration is known. */
  constructor(options: ReconcileOptions) {
    this.#options = options;
  }

  /** Whether a configuration was ever accepted. */
  get configured(): boolean {
    return this.#config !== undefined;
  }

  /** The configuration in effect. */
  get config(): RenderedConfig | undefined {
    return this.#config;
  }

  /** Who answers for an address, as far as this node knows. */
  ownership(address: Address): Ownership | undefined {
    return this.#owners.get(address);
  }

  /** Takes what the speakers have settled. */
  ownersChanged(news: readonly OwnerNews[]): void {
    const { touched, now } = this.#options;
    for (const each of news) {
      const before = this.#owners.get(each.address);
      if (!this.#decisions.has(each.address)) this.#owners.delete(each.address);
      else {
        const since = before?.owner === each.owner ? before?.since : undefined;
        this.#owners.set(each.address, { ...each, since: since ?? now() });
      }
      touched(this.#servicesOf(each.address).map(objectKey));
    }
  }

  /** What was last decided about an address. */
  decision(address: Address): AddressDecision | undefined {
    return this.#decisions.get(address);
  }

  /** Takes a configuration into effect. @returns the addresses to decide anew: all. */
  configure(config: RenderedConfig): Address[] {
    this.#config = config;
    this.#pools = new PoolIndex(config["address-pools"]);
    this.#options.post({
      kind: "configure",
      excludedInterfaces: config["excluded-interfaces"],
      refreshIntervalMs: 1000 * config["announcement-refresh-seconds"],
    });
    return this.#all();
  }

  /** @returns the addresses that a change of a Service touches. */
  serviceChanged({ object, previous }: Change<Service>): Address[] {
    return [...new Set([object, previous].flatMap((service) => this.#addressesOf(service)))];
  }

  /** @returns the addresses that a change of an EndpointSlice touches. */
  sliceChanged(
    { object, previous }: Change<EndpointSlice>,
    keysOf: (slice: EndpointSlice) => readonly Key[],
  ): Address[] {
    const keys = new Set(
      [object, previous].flatMap((slice) => (slice === undefined ? [] : keysOf(slice))),
    );
    return [...keys].flatMap((key) => this.#addressesOf(this.#options.world.services.get(key)));
  }

  /** @returns the addresses that a change of a Node touches: all, or none for a mere heartbeat. */
  nodeChanged({ object, previous, type }: Change<Node>): Address[] {
    if (type === "updated" && sameFacts(nodeFacts(object), nodeFacts(previous))) return [];
    this.#nodes = undefined;
    return this.#all();
  }

  /** Decides one address. What changed leaves with the next {@link flush}. */
  reconcile(address: Address): void {
    const { world, touched } = this.#options;
    const services = this.#servicesOf(address);
    const pool = this.#pools.find(address);
    if (services.length === 0 || pool === undefined || this.#config === undefined) {
      if (this.#decisions.delete(address)) this.#deleted.push(address);
      this.#owners.delete(address);
      touched(services.map(objectKey));
      return;
    }
    const family = familyOf(address);
    this.#nodes ??= [...world.nodes.values()].map(nodeFacts);
    const election = elect(
      address,
      services.map((service) =>
        serviceFacts(service, world.slices.byIndex("service", objectKey(service)), family),
      ),
      this.#nodes,
      {
        nodeSelectors: pool["node-selectors"],
        announceFrom: pool["announce-from"],
        ignoreExcludeLabel: this.#config["ignore-exclude-load-balancers"],
      },
    );
    this.#decisions.set(address, { address, election });
    this.#set.push({
      address,
      ranked: election.candidates,
      ...(election.prober !== undefined && { prober: election.prober }),
      ...(pool.interfaces.length > 0 && { interfaces: pool.interfaces }),
    });
    touched(services.map(objectKey));
  }

  /** Posts what has been decided since the last time. */
  flush(): void {
    if (this.#set.length === 0 && this.#deleted.length === 0) return;
    this.#options.post({ kind: "candidacies", set: this.#set, delete: this.#deleted });
    this.#set = [];
    this.#deleted = [];
  }

  #addressesOf(service: Service | undefined): Address[] {
    if (service === undefined || this.#config === undefined) return [];
    return announceableAddresses(service, this.#config["load-balancer-class"]);
  }

  #servicesOf(address: Address): Service[] {
    return this.#options.world.services
      .byIndex("address", address)
      .filter((service) => this.#addressesOf(service).includes(address));
  }

  #all(): Address[] {
    const { services } = this.#options.world;
    return [
      ...new Set([...(services.indexValues("address") as Address[]), ...this.#decisions.keys()]),
    ];
  }
}

function sameFacts(a: NodeFacts, b: NodeFacts): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
