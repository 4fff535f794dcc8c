/**
 * Sharing: which Services may stand on one address together.
 *
 * MetalLB's conditions (`allow-shared-ip`): both have the same sharing key, not empty; both have the
 * same backend key (equal selectors for `externalTrafficPolicy: Local`, nothing for `Cluster`); no
 * protocol and port is claimed twice. A Service alone on its address may change all of this in place.
 */
import type { Address } from "../packet/address/address.ts";
import { OrdinalSet } from "./pool.ts";

/** What a Service brings to an address that it might share. */
export interface SharingTerms {
  /** Value of the annotation `allow-shared-ip`; empty: shares with nobody. */
  readonly key: string;
  /** Empty for `Cluster`, the selector for `Local`. */
  readonly backend: string;
  /** Protocol and port of each of its ports, such as `TCP/80`. */
  readonly ports: readonly string[];
}

/** The rule that keeps a Service from an address, and the Service it collides with. */
export interface SharingConflict {
  readonly rule: "notShared" | "key" | "backend" | "port";
  /** The holder, `namespace/name`; the first by name where it is all of them. */
  readonly holder: string;
  /** The port claimed twice, for rule `port`. */
  readonly port?: string;
}

/**
 * The Services on one address. All of them have equal keys, for else they would not be here. Nearly
 * always there is one, and ten thousand maps of one entry would be more than all else together.
 */
export class Occupancy {
  /** The only holder, while there is no map. */
  #only: string | undefined;
  #terms: SharingTerms | undefined;
  #all: Map<string, SharingTerms> | undefined;
  /** Only where ports decide: an address that cannot be shared is the common case, and needs none. */
  #ports: Map<string, string> | undefined;

  /** Names the Services that hold the address, in the order in which they came. */
  get holders(): Iterable<string> {
    if (this.#all !== undefined) return this.#all.keys();
    return this.#only === undefined ? [] : [this.#only];
  }

  /** Names the ports taken on the address. */
  get ports(): Iterable<string> {
    return this.#ports?.keys() ?? [];
  }

  /** How many Services hold the address. */
  get size(): number {
    return this.#all?.size ?? Number(this.#only !== undefined);
  }

  /** Terms that every holder agrees on, undefined when there is no holder. */
  get terms(): SharingTerms | undefined {
    if (this.#all === undefined) return this.#terms;
    for (const terms of this.#all.values()) return terms;
    return undefined;
  }

  /** Gives the terms of a holder, undefined when the Service is none. */
  termsOf(service: string): SharingTerms | undefined {
    if (this.#all !== undefined) return this.#all.get(service);
    return this.#only === service ? this.#terms : undefined;
  }

  /** Gives what stands between a Service and the address, looking at the other holders only. */
  conflict(service: string, terms: SharingTerms): SharingConflict | undefined {
    for (const holder of this.holders) {
      if (holder === service) continue;
      const rule = disagreement(terms, this.termsOf(holder));
      if (rule !== undefined) return { rule, holder: this.#firstOther(service) };
      // The others agree with this one.
      break;
    }
    for (const port of terms.ports) {
      const holder = this.#ports?.get(port);
      if (holder !== undefined && holder !== service) return { rule: "port", holder, port };
    }
    return undefined;
  }

  /** Enters a Service with its terms, or changes its terms. */
  set(service: string, terms: SharingTerms): void {
    this.delete(service);
    if (this.size === 0) {
      this.#all = undefined;
      this.#only = service;
      this.#terms = terms;
    } else this.#many().set(service, terms);
    if (terms.key === "") return;
    this.#ports ??= new Map();
    for (const port of terms.ports) this.#ports.set(port, service);
  }

  /** Takes a Service off the address. */
  delete(service: string): void {
    for (const port of this.termsOf(service)?.ports ?? []) this.#ports?.delete(port);
    if (this.#all !== undefined) this.#all.delete(service);
    else if (this.#only === service) this.#only = this.#terms = undefined;
  }

  /** By name: what is said of a conflict does not depend on who came when. */
  #firstOther(service: string): string {
    let first = "";
    for (const holder of this.holders)
      if (holder !== service && (first === "" || holder < first)) first = holder;
    return first;
  }

  #many(): Map<string, SharingTerms> {
    if (this.#all !== undefined) return this.#all;
    const all = new Map<string, SharingTerms>();
    if (this.#only !== undefined && this.#terms !== undefined) all.set(this.#only, this.#terms);
    this.#only = this.#terms = undefined;
    this.#all = all;
    return all;
  }
}

function disagreement(
  ours: SharingTerms,
  theirs: SharingTerms | undefined,
): Exclude<SharingConflict["rule"], "port"> | undefined {
  if (ours.key === "" || theirs?.key === "") return "notShared";
  if (ours.key !== theirs?.key) return "key";
  return ours.backend === theirs.backend ? undefined : "backend";
}

/**
 * The addresses of one pool and family that carry one sharing key and backend key, and on which of
 * them each port is taken: finds the lowest that takes a newcomer without looking at those between.
 */
export class SharingGroup {
  readonly #members: OrdinalSet;
  readonly #taken = new Map<string, OrdinalSet>();

  /** Makes an empty group in a space of `size` addresses. */
  constructor(size: bigint) {
    this.#members = new OrdinalSet(size);
  }

  /** Tells whether no address is in the group. */
  get isEmpty(): boolean {
    return this.#members.count === 0;
  }

  /** Enters an address, or some more ports of it. */
  add(ordinal: bigint, ports: Iterable<string>): void {
    this.#members.add(ordinal);
    for (const port of ports) {
      let taken = this.#taken.get(port);
      if (taken === undefined) this.#taken.set(port, (taken = new OrdinalSet(this.#members.size)));
      taken.add(ordinal);
    }
  }

  /** Frees some ports of an address. */
  free(ordinal: bigint, ports: Iterable<string>): void {
    for (const port of ports) {
      const taken = this.#taken.get(port);
      taken?.delete(ordinal);
      if (taken?.count === 0) this.#taken.delete(port);
    }
  }

  /** Takes an address out, with the ports that are still taken on it. */
  remove(ordinal: bigint, ports: Iterable<string>): void {
    this.free(ordinal, ports);
    this.#members.delete(ordinal);
  }

  /** Finds the lowest address of the group on which none of the ports is taken. */
  lowestFor(ports: readonly string[]): bigint | undefined {
    let candidate = this.#members.nextPresent(0n);
    while (candidate !== undefined) {
      const next = this.#free(candidate, ports);
      if (next === candidate || next === undefined) return next;
      candidate = this.#members.nextPresent(next);
    }
    return undefined;
  }

  /** Leaps over the addresses where one of the ports is taken. */
  #free(from: bigint, ports: readonly string[]): bigint | undefined {
    let ordinal = from;
    for (const port of ports) {
      const taken = this.#taken.get(port);
      const next = taken === undefined ? ordinal : taken.nextAbsent(ordinal);
      if (next === undefined) return undefined;
      ordinal = next;
    }
    return ordinal;
  }
}

/** Names a group: keys may hold anything, so they are joined without ambiguity. */
export function groupName(terms: SharingTerms): string {
  return JSON.stringify([terms.key, terms.backend]);
}

/** Says in a sentence why an address cannot be shared. */
export function formatConflict(address: Address, conflict: SharingConflict): string {
  switch (conflict.rule) {
    case "notShared":
      return `${address} is in use by ${conflict.holder}, and both need the same annotation metallb.io/allow-shared-ip to share it`;
    case "key":
      return `${address} is in use by ${conflict.holder}, whose annotation metallb.io/allow-shared-ip has another value`;
    case "backend":
      return `${address} is in use by ${conflict.holder}: with externalTrafficPolicy Local both need the same policy and the same selector to share it`;
    case "port":
      return `${address} is in use by ${conflict.holder}, which has port ${conflict.port ?? ""} too`;
  }
}
