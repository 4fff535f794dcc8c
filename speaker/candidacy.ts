/**
 * Who may answer for an address: those whom the API allows, as far as their links reach it. A node
 * reaches an address by a link that the pool allows and that has carrier. Links whose network holds
 * the address go before all others: only when no candidate has one, every allowed link counts (a
 * router may send the address here).
 *
 * Of other nodes their own word on their links counts, dead or alive: that a node died opens no way
 * from another network. A change of a node's links touches only the addresses that it decides about.
 */
import type { NodeReason } from "../api/reason.ts";
import { addressToBigInt, familyOf, type Address } from "../packet/address/address.ts";
import { maskNumber, parsePrefix, type Prefix } from "../packet/address/prefix.ts";
import { BoundedMap } from "./bounded-map.ts";
import type { Link } from "./roster.ts";

/**
 * Who may answer for an address, as the API and the members' own words on their links have it.
 * Whether a candidate is alive, draining or deaf is not part of it: ownership knows that itself.
 */
export interface Candidacy {
  /** This node could answer at all: it has a link that reaches the address. Else it stops at once. */
  readonly usable: boolean;
  /** Ranks first of those that could answer were the Service ready: it probes at assignment. */
  readonly prober: string | undefined;
  /** Gives the candidate at a place, best rank first; undefined past the last. */
  heir(place: number): string | undefined;
  /** Tells whether a node is among them. */
  includes(node: string): boolean;
}

/** Gives the candidacy for an address that the API knows, undefined for others. */
export type Candidacies = (address: Address) => Candidacy | undefined;

/** Makes a candidacy of names in order of rank. */
export function listCandidacy(
  ranked: readonly string[],
  more: { readonly usable?: boolean; readonly prober?: string | undefined } = {},
): Candidacy {
  const names = new Set(ranked);
  return {
    usable: more.usable ?? true,
    prober: "prober" in more ? more.prober : ranked[0],
    heir: (place) => ranked[place],
    includes: (node) => names.has(node),
  };
}

/** Whom the API allows to answer for an address. */
export interface Allowance {
  readonly address: Address;
  /** Names of nodes, the first by rank first. */
  readonly ranked: readonly string[];
  readonly prober?: string;
  /** Interfaces that the pool allows, by name; absent: all. */
  readonly interfaces?: readonly string[];
}

/** What of a link decides whether it reaches an address. */
export type Reach = Pick<Link, "name" | "prefixes">;

/** How a node's links reach an address: by a network that holds it, some other way, not at all. */
type Nearness = "near" | "far" | "none";

/** Prefixes that were read: of hostile or endlessly renumbered links not all are remembered. */
const prefixes = new BoundedMap<string, Prefix | undefined>(4096);

function prefixOf(text: string): Prefix | undefined {
  return prefixes.of(text, () => {
    const parsed = parsePrefix(text);
    return parsed.ok ? parsed.value : undefined;
  });
}

function holds(text: string, address: Address): boolean {
  const prefix = prefixOf(text);
  if (prefix?.family !== familyOf(address)) return false;
  const { network, length, family } = prefix;
  return maskNumber(addressToBigInt(address), length, family) === network;
}

function nearness({ address, interfaces }: Allowance, links: readonly Reach[]): Nearness {
  const allowed = links.filter(({ name }) => interfaces?.includes(name) ?? true);
  if (allowed.length === 0) return "none";
  return allowed.some((link) => link.prefixes.some((text) => holds(text, address)))
    ? "near"
    : "far";
}

/**
 * Tells of which nodes that the API allows the links do not reach an address, and why: it has no
 * link that is up (`NoUsableInterface`), the pool allows none of them (`InterfaceNotSelected`), or
 * others are on a network that holds the address and it is not (`NoUsableInterface`).
 * @param linksOf gives the links of a node, undefined if nothing is known of them
 */
export function linkExclusions(
  allowance: Allowance,
  linksOf: (node: string) => readonly Reach[] | undefined,
): Map<string, NodeReason> {
  const excluded = new Map<string, NodeReason>();
  const far: string[] = [];
  let isNear = false;
  for (const name of allowance.ranked) {
    const links = linksOf(name);
    if (links === undefined) continue;
    const how = nearness(allowance, links);
    if (how === "near") isNear = true;
    else if (how === "far") far.push(name);
    else excluded.set(name, links.length === 0 ? "NoUsableInterface" : "InterfaceNotSelected");
  }
  if (isNear) for (const name of far) excluded.set(name, "NoUsableInterface");
  return excluded;
}

/** The links of a node, as far as they decide: equal ones share one. */
interface LinkClass {
  readonly links: readonly Reach[];
}

interface Entry extends Allowance {
  /** What was found out about a kind of links. */
  readonly known: Map<LinkClass, Nearness>;
  /** Candidates, best first; undefined: to be found out again. */
  able: readonly string[] | undefined;
  names: ReadonlySet<string> | undefined;
  usable: boolean;
}

/** All allowances, narrowed by the links of the nodes. */
export class LinkedCandidacies {
  readonly #self: string;
  readonly #entries = new Map<Address, Entry>();
  readonly #classes = new Map<string, LinkClass>();
  readonly #classOf = new Map<string, LinkClass>();

  /** Knows no address and no node's links. */
  constructor(self: string) {
    this.#self = self;
  }

  /** Gives all addresses. */
  addresses(): IterableIterator<Address> {
    return this.#entries.keys();
  }

  /** Gives what the API allows for an address. */
  allowance(address: Address): Allowance | undefined {
    return this.#entries.get(address);
  }

  /** Takes what the API allows for an address. */
  set({ address, ranked, prober, interfaces }: Allowance): void {
    this.#entries.set(address, {
      address,
      ranked,
      ...(prober !== undefined && { prober }),
      ...(interfaces !== undefined && { interfaces }),
      known: new Map(),
      able: undefined,
      names: undefined,
      usable: false,
    });
  }

  /** Forgets an address. */
  delete(address: Address): void {
    this.#entries.delete(address);
  }

  /** Takes a node's word on its links. @returns the addresses whose candidates that may change */
  setLinks(node: string, links: readonly Reach[]): Address[] {
    const before = this.#classOf.get(node);
    const after = this.#classFor(links);
    if (before === after) return [];
    this.#classOf.set(node, after);
    const touched: Address[] = [];
    for (const entry of this.#entries.values()) {
      if (node !== this.#self && !entry.ranked.includes(node)) continue;
      if (this.#nearness(entry, before) === this.#nearness(entry, after)) continue;
      entry.able = undefined;
      entry.names = undefined;
      touched.push(entry.address);
    }
    return touched;
  }

  /** Gives the candidacy for an address, undefined if the API does not know it. */
  get(address: Address): Candidacy | undefined {
    const entry = this.#entries.get(address);
    if (entry === undefined) return undefined;
    const able = this.#ableOf(entry);
    return {
      usable: entry.usable,
      prober: entry.prober,
      heir: (place) => able[place],
      includes: (node) => (entry.names ??= new Set(able)).has(node),
    };
  }

  #classFor(links: readonly Reach[]): LinkClass {
    const key = JSON.stringify(links.map(({ name, prefixes }) => [name, prefixes]));
    let found = this.#classes.get(key);
    if (found === undefined) this.#classes.set(key, (found = { links }));
    return found;
  }

  #nearness(entry: Entry, kind: LinkClass | undefined): Nearness {
    // Of whom nothing is known it is not known that it cannot.
    if (kind === undefined) return "far";
    let found = entry.known.get(kind);
    if (found === undefined) entry.known.set(kind, (found = nearness(entry, kind.links)));
    return found;
  }

  #ableOf(entry: Entry): readonly string[] {
    if (entry.able !== undefined) return entry.able;
    const of = (node: string): Nearness => this.#nearness(entry, this.#classOf.get(node));
    const near = entry.ranked.filter((node) => of(node) === "near");
    entry.able = near.length > 0 ? near : entry.ranked.filter((node) => of(node) !== "none");
    const own = of(this.#self);
    entry.usable = own === "near" || (own === "far" && near.length === 0);
    return entry.able;
  }
}
