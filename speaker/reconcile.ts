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
import { familyOf, parseAddress, type Address } from "../packet/address/address.ts";
import {
  elect,
  ENDPOINT_GRACE_MS,
  type Election,
  type NodeFacts,
  type PlacementRules,
  type ServiceFacts,
} from "./election.ts";
import { announceableAddresses, nodeFacts, PoolIndex, serviceFacts } from "./facts.ts";
import type { ForeignHost } from "./observation.ts";
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
  /** Milliseconds of a clock that never goes back. */
  readonly monotonicMs: () => number;
  /** This node. */
  readonly node: string;
  /** Has an address decided again after so many milliseconds. */
  readonly later: (address: Address, milliseconds: number) => void;
}

/** What is known about one address that some Service of ours has. */
export interface AddressDecision {
  readonly address: Address;
  readonly election: Election;
  /** Interfaces that its pool allows; empty: all. */
  readonly interfaces: readonly string[];
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
  /** Since when this node, their owner, has no local endpoint; by the monotonic clock. */
  readonly #farSince = new Map<Address, number>();
  readonly #foreign = new Map<Address, ForeignHost>();
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

  /** Has the verdict on an address's Services given anew. */
  judge(address: Address): void {
    this.#options.touched(this.#servicesOf(address).map(objectKey));
  }

  /** Another host that uses an address, as far as this node has seen. */
  foreign(address: Address): ForeignHost | undefined {
    return this.#foreign.get(address);
  }

  /** Takes that another host claims an address that this node announces; undefined: no longer. */
  contested(address: Address, hardwareAddress: string | undefined): void {
    if (this.#setForeign(address, hardwareAddress))
      this.#options.touched(this.#servicesOf(address).map(objectKey));
  }

  #setForeign(address: Address, hardwareAddress: string | undefined): boolean {
    const before = this.#foreign.get(address);
    if (before?.hardwareAddress === hardwareAddress) return false;
    if (hardwareAddress === undefined) this.#foreign.delete(address);
    else this.#foreign.set(address, { hardwareAddress, since: this.#options.now() });
    return true;
  }

  /** Takes what the speakers have settled. */
  ownersChanged(news: readonly OwnerNews[]): void {
    const { touched, now, node } = this.#options;
    for (const each of news) {
      const before = this.#owners.get(each.address);
      // Whoever announces is told of others by their frames; until then by the probe.
      if (each.owner !== node || before?.owner !== node)
        this.#setForeign(each.address, each.owner === undefined ? each.usedBy : undefined);
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
    const { post } = this.#options;
    post({
      kind: "configure",
      excludedInterfaces: config["excluded-interfaces"],
      refreshIntervalMs: 1000 * config["announcement-refresh-seconds"],
    });
    const detection = config["failure-detection"];
    post({
      kind: "settings",
      intervalMs: detection["interval-milliseconds"],
      multiplier: detection.multiplier,
      witnesses: config["witness-addresses"].flatMap((text) => {
        const parsed = parseAddress(text);
        return parsed.ok ? [parsed.value] : [];
      }),
      rebalance: config.rebalance.generation,
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
      this.#farSince.delete(address);
      this.#foreign.delete(address);
      touched(services.map(objectKey));
      return;
    }
    const family = familyOf(address);
    this.#nodes ??= [...world.nodes.values()].map(nodeFacts);
    const facts = services.map((service) =>
      serviceFacts(service, world.slices.byIndex("service", objectKey(service)), family),
    );
    const election = this.#elect(address, facts, this.#nodes, {
      nodeSelectors: pool["node-selectors"],
      announceFrom: pool["announce-from"],
      ignoreExcludeLabel: this.#config["ignore-exclude-load-balancers"],
    });
    this.#decisions.set(address, { address, election, interfaces: pool.interfaces });
    this.#set.push({
      address,
      ranked: election.candidates,
      ...(election.prober !== undefined && { prober: election.prober }),
      ...(pool.interfaces.length > 0 && { interfaces: pool.interfaces }),
    });
    touched(services.map(objectKey));
  }

  /** Elects, and lets this node keep an address of its own for a while after its endpoint went. */
  #elect(
    address: Address,
    services: readonly ServiceFacts[],
    nodes: readonly NodeFacts[],
    rules: PlacementRules,
  ): Election {
    const { node, monotonicMs, later } = this.#options;
    const election = elect(address, services, nodes, rules);
    const owns = this.#owners.get(address)?.owner === node;
    if (!owns || !election.farther.has(node)) {
      this.#farSince.delete(address);
      return election;
    }
    const now = monotonicMs();
    const since = this.#farSince.get(address) ?? now;
    this.#farSince.set(address, since);
    const left = since + ENDPOINT_GRACE_MS - now;
    if (left <= 0) return election;
    later(address, left);
    return elect(address, services, nodes, { ...rules, kept: node });
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
