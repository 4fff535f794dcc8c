/**
 * The allocator: the one book of which Service has which address. Pure in the sense that nothing
 * but its arguments moves it: it reads no clock and writes nowhere.
 *
 * What always holds:
 * 1. An address has several holders only when {@link Occupancy.conflict} lets them stand together.
 * 2. All addresses of one holding lie in one pool, at most one a family.
 * 3. An address that a Service still publishes (its status in the API shows it, or a write that may
 *    have arrived does) is not given to anyone else, also when the Service has lost its claim to it.
 * 4. The address chosen is the lowest that may be taken, so equal books choose equally.
 *
 * Allocating, claiming and releasing take O(log n) in the size of the pool and in what it holds.
 */
import type { AddressReason, ServiceReason } from "../api/reason.ts";
import {
  addressToBigInt,
  compareAddresses,
  familyOf,
  type Address,
  type Family,
} from "../packet/address/address.ts";
import { admission, FAMILIES, FAMILY_NAMES, isPinned, OrdinalSet } from "./pool.ts";
import type { Pool, Tenant } from "./pool.ts";
import {
  formatConflict,
  groupName,
  Occupancy,
  SharingGroup,
  type SharingTerms,
} from "./sharing.ts";

/** What a Service asks for. */
export interface AddressRequest extends Tenant {
  /** `namespace/name`. */
  readonly service: string;
  /** Families of its cluster addresses, the primary one first. */
  readonly families: readonly Family[];
  /** With two families: one address will do where both cannot be had. */
  readonly oneWillDo: boolean;
  readonly terms: SharingTerms;
  /** Addresses asked for by name. */
  readonly addresses?: readonly Address[];
  /** The pool asked for by name. */
  readonly pool?: string;
}

/** Why one pool was passed over. */
export interface PoolVerdict {
  readonly pool: string;
  readonly why: "autoAssignOff" | "namespace" | "labels" | "noFamily" | "full";
}

/** Why a Service gets nothing. */
export interface Refusal {
  readonly ok: false;
  readonly reason: ServiceReason | AddressReason;
  /** What is wrong and what to do; for refusals by pools, {@link formatRefusal} adds `considered`. */
  readonly message: string;
  readonly considered?: readonly PoolVerdict[];
}

/** What a Service holds, or why it holds nothing. */
export type Assignment = Granted | Refusal;

/** Addresses of one pool, IPv4 before IPv6 unless they were asked for or held in another order. */
export interface Granted {
  readonly ok: true;
  readonly pool: string;
  readonly addresses: readonly Address[];
}

/** How full a pool is in one family. */
export interface Usage {
  /** Addresses that have a holder. */
  readonly assigned: number;
  /** Holders of all of them; more than addresses where some are shared. */
  readonly holders: number;
  readonly available: bigint;
}

interface Holding {
  /** Undefined while the Service holds nothing. */
  granted: Granted | undefined;
  /** One or two, seldom more: a list is smaller than a set. */
  published: readonly Address[];
}

/** One address about which there is something to know. An address without a state is free. */
interface AddressState {
  readonly address: Address;
  readonly occupancy: Occupancy;
  /** Services that publish the address without holding it. */
  lingerers: Set<string> | undefined;
  quarantined: boolean;
  rest: { readonly since: number; readonly by: string } | undefined;
  /** Where the address lies now; undefined when no pool has it. */
  site: Site | undefined;
}

interface Site {
  readonly book: PoolBook;
  readonly shelf: Shelf;
  readonly ordinal: bigint;
  /** Group that the address is entered in. */
  group: string | undefined;
  /** Holders that are counted. */
  holders: number;
}

/** One family of a pool. */
interface Shelf {
  readonly taken: OrdinalSet;
  readonly groups: Map<string, SharingGroup>;
  /** Addresses with a holder. */
  assigned: number;
  /** Holders of all addresses together. */
  holders: number;
}

interface PoolBook {
  pool: Pool;
  readonly shelves: Readonly<Record<Family, Shelf>>;
  /** Oldest first. */
  readonly resting: Set<AddressState>;
}

interface IndexEntry {
  readonly first: bigint;
  readonly book: PoolBook;
}

/** The book of addresses and their holders. */
export class Allocator {
  #books = new Map<string, PoolBook>();
  #tiers: readonly (readonly PoolBook[])[] = [];
  #index: Readonly<Record<Family, readonly IndexEntry[]>> = { ipv4: [], ipv6: [] };
  readonly #states = new Map<Address, AddressState>();
  readonly #holdings = new Map<string, Holding>();
  readonly #quarantined = new Set<Address>();
  /** Addresses that rest, by the Service that released them. */
  readonly #restingOf = new Map<string, Set<Address>>();
  #freed = 0;

  /** Grows whenever something became free, so that who waits knows when to ask again. */
  get freed(): number {
    return this.#freed;
  }

  /** The pools, in the order in which they are tried. */
  get pools(): readonly Pool[] {
    return [...this.#books.values()].map((book) => book.pool);
  }

  /**
   * Changes the pools, given in the order in which they are tried. Nobody loses an address by this:
   * every holder has to claim again, and is then refused what no longer fits.
   */
  setPools(pools: readonly Pool[]): void {
    const books = new Map<string, PoolBook>();
    for (const pool of pools) {
      const old = this.#books.get(pool.name);
      if (old?.pool.fingerprint === pool.fingerprint) old.pool = pool;
      books.set(pool.name, old?.pool === pool ? old : makeBook(pool));
    }
    this.#books = books;
    const automatic = [...books.values()].filter(({ pool }) => pool.autoAssign);
    this.#tiers = [
      automatic.filter(({ pool }) => isPinned(pool)),
      automatic.filter(({ pool }) => !isPinned(pool)),
    ];
    this.#index = { ipv4: indexOf(books, "ipv4"), ipv6: indexOf(books, "ipv6") };
    this.#replace();
    this.#freed += 1;
  }

  /** Gives what a Service holds. */
  holding(service: string): Granted | undefined {
    return this.#holdings.get(service)?.granted;
  }

  /** Names the pool that an address lies in. */
  poolOf(address: Address): string | undefined {
    return this.#locate(address)?.book.pool.name;
  }

  /**
   * Lets a holder keep addresses that it publishes or holds already: they must lie in one pool that
   * admits it, and no other holder may stand in the way. On refusal it holds nothing any more.
   */
  claim(request: AddressRequest, addresses: readonly Address[], now: number): Assignment {
    const found = this.#onePool(request, addresses);
    const assignment = found.ok
      ? (this.#blocked(request, addresses, true) ?? { ok: true, pool: found.name, addresses })
      : found;
    this.#hold(request, assignment.ok ? assignment : undefined, now);
    return assignment;
  }

  /**
   * Assigns what a Service asks for; or what rests since the Service itself released it, as when it was
   * deleted and made anew; or the lowest free address of the first pool that has one.
   */
  allocate(request: AddressRequest, now: number): Assignment {
    const assignment =
      request.addresses === undefined
        ? (this.#former(request) ?? this.#choose(request))
        : this.#chooseNamed(request, request.addresses);
    if (assignment.ok) this.#hold(request, assignment, now);
    return assignment;
  }

  /** Adds the missing family to what a Service has just claimed, from the same pool. */
  extend(request: AddressRequest, now: number): Assignment {
    const granted = this.holding(request.service);
    const book = granted && this.#books.get(granted.pool);
    if (granted === undefined || book === undefined) return refusePools("NoPool", []);
    const missing = request.families.filter((family) => !has(granted.addresses, family));
    const added = pick(book, missing, request.terms, "any");
    if (added === undefined) return refuseBook(book, missing);
    return this.#hold(request, { ...granted, addresses: [...granted.addresses, ...added] }, now);
  }

  /** Replaces some of what a Service holds from the same pool, or nothing if that has no others. */
  exchange(request: AddressRequest, unwanted: readonly Address[], now: number): Assignment {
    const granted = this.holding(request.service);
    const book = granted && this.#books.get(granted.pool);
    if (granted === undefined || book === undefined) return refusePools("NoPool", []);
    const families = unwanted.map(familyOf);
    const others = pick(book, families, request.terms, "any");
    if (others === undefined) return refuseBook(book, families);
    const addresses = granted.addresses.map((address) => {
      return others[unwanted.indexOf(address)] ?? address;
    });
    return this.#hold(request, { ...granted, addresses }, now);
  }

  /** Ends a Service's claim; what it publishes stays out of reach until {@link Allocator.publish}. */
  release(service: string, now: number): void {
    const holding = this.#holdings.get(service);
    if (holding?.granted === undefined) return;
    const { addresses } = holding.granted;
    holding.granted = undefined;
    for (const address of addresses) this.#leave(service, address, holding.published, now);
    if (holding.published.length === 0) this.#holdings.delete(service);
  }

  /** Notes which addresses a Service shows, or may show, in the API. */
  publish(service: string, addresses: Iterable<Address>, now: number): void {
    const holding = this.#holdings.get(service) ?? { granted: undefined, published: NOTHING };
    const published = [...new Set(addresses)];
    const old = holding.published;
    holding.published = published;
    this.#holdings.set(service, holding);
    const held = holding.granted?.addresses ?? [];
    for (const address of published) {
      if (!held.includes(address)) this.#linger(service, address);
    }
    for (const address of old) {
      if (held.includes(address) || published.includes(address)) continue;
      this.#unlinger(service, address, now);
    }
    if (published.length === 0 && holding.granted === undefined) this.#holdings.delete(service);
  }

  /**
   * Sets which addresses are not handed out because someone else on the LAN uses them. Holders keep
   * theirs until they let go.
   */
  setQuarantined(addresses: ReadonlySet<Address>): void {
    const changed = [...new Set([...this.#quarantined, ...addresses])].filter(
      (address) => this.#quarantined.has(address) !== addresses.has(address),
    );
    for (const address of changed) {
      const state = this.#stateOf(address);
      state.quarantined = addresses.has(address);
      if (state.quarantined) this.#quarantined.add(address);
      else this.#quarantined.delete(address);
      this.#settle(state);
    }
    if (changed.length > 0) this.#freed += 1;
  }

  /** Tells whether an address is quarantined. */
  isQuarantined(address: Address): boolean {
    return this.#quarantined.has(address);
  }

  /**
   * Ends the rest of the addresses whose time has come.
   * @returns when the next one's comes, undefined when none rests.
   */
  expire(now: number): number | undefined {
    let next: number | undefined;
    for (const { pool, resting } of this.#books.values()) {
      for (const state of resting) {
        const until = (state.rest?.since ?? 0) + pool.cooldownMs;
        if (until > now) {
          next = Math.min(next ?? until, until);
          break;
        }
        this.#wake(state);
        this.#settle(state);
        this.#freed += 1;
      }
    }
    return next;
  }

  /** Counts a pool's addresses of one family. */
  usage(pool: string, family: Family): Usage {
    const book = this.#books.get(pool);
    if (book === undefined) return { assigned: 0, holders: 0, available: 0n };
    const { taken, assigned, holders } = book.shelves[family];
    return { assigned, holders, available: book.pool.spaces[family].size - BigInt(taken.count) };
  }

  /** Lists the held addresses of a pool with their holders, ascending, IPv4 first. */
  *holders(pool: string): Generator<{ address: Address; services: readonly string[] }> {
    const book = this.#books.get(pool);
    if (book === undefined) return;
    for (const family of FAMILIES) {
      const { taken } = book.shelves[family];
      let ordinal = taken.nextPresent(0n);
      while (ordinal !== undefined) {
        const address = book.pool.spaces[family].addressAt(ordinal);
        const services = [...(this.#states.get(address)?.occupancy.holders ?? [])];
        if (services.length > 0) yield { address, services };
        ordinal = taken.nextPresent(ordinal + 1n);
      }
    }
  }

  /** Lists the quarantined addresses of a pool, ascending. */
  quarantined(pool: string): Address[] {
    return [...this.#quarantined]
      .filter((address) => this.poolOf(address) === pool)
      .sort(compareAddresses);
  }

  #onePool(
    request: AddressRequest,
    addresses: readonly Address[],
  ): Refusal | { readonly ok: true; readonly name: string } {
    const books = addresses.map((address) => this.#locate(address)?.book);
    const [book] = books;
    const outside = addresses[books.indexOf(undefined)];
    if (book === undefined || outside !== undefined) {
      return refuse("AddressNotInPool", `${outside ?? "the address"} is in no pool`);
    }
    const { pool } = book;
    const stranger = addresses[books.findIndex((other) => other !== book)];
    if (stranger !== undefined) {
      const message = `${addresses.join(" and ")} are of different pools: both must be of one pool`;
      return refuse("AddressNotInPool", message);
    }
    const why = admission(pool, request);
    if (why !== undefined) return refusePools("NoPool", [{ pool: pool.name, why }]);
    return { ok: true, name: pool.name };
  }

  /** Finds what stands between a Service and addresses. `own`: it publishes them already. */
  #blocked(
    request: AddressRequest,
    addresses: readonly Address[],
    own: boolean,
  ): Refusal | undefined {
    for (const address of addresses) {
      const state = this.#states.get(address);
      if (state === undefined) continue;
      const conflict = state.occupancy.conflict(request.service, request.terms);
      if (conflict !== undefined) {
        const inUse = conflict.rule === "notShared" && request.terms.key === "";
        return refuse(inUse ? "AddressInUse" : "SharingRefused", formatConflict(address, conflict));
      }
      const refusal = own ? undefined : unavailable(state, request.service);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #chooseNamed(request: AddressRequest, addresses: readonly Address[]): Assignment {
    const families = addresses.map(familyOf);
    const wanted = request.families;
    if (families.length !== wanted.length || !wanted.every((family) => families.includes(family))) {
      const named = families.map((family) => FAMILY_NAMES[family]).join(" and ");
      const needed = wanted.map((family) => FAMILY_NAMES[family]).join(" and one ");
      return refuse(
        "FamilyMismatch",
        `the Service asks for ${named} addresses (${addresses.join(", ")}), but its cluster addresses need one ${needed} address`,
      );
    }
    const found = this.#onePool(request, addresses);
    if (!found.ok) return found;
    const { name } = found;
    if (request.pool !== undefined && request.pool !== name) {
      const message = `${addresses.join(" and ")} lies in pool ${name}, but annotation metallb.io/address-pool asks for pool ${request.pool}`;
      return refuse("AddressNotInPool", message);
    }
    return this.#blocked(request, addresses, false) ?? { ok: true, pool: name, addresses };
  }

  /** What it had, if it rests still and is as good as any other: an address of each family. */
  #former(request: AddressRequest): Granted | undefined {
    const { service, families, pool } = request;
    const resting = [...(this.#restingOf.get(service) ?? [])].sort(compareAddresses);
    const addresses = inOrder(families).flatMap(
      (family) => resting.find((address) => familyOf(address) === family) ?? [],
    );
    if (addresses.length === 0 || addresses.length < families.length) return undefined;
    const found = this.#onePool(request, addresses);
    if (!found.ok || this.#blocked(request, addresses, false) !== undefined) return undefined;
    const isOpen = this.#books.get(found.name)?.pool.autoAssign === true;
    if (pool === undefined ? !isOpen : pool !== found.name) return undefined;
    return { ok: true, pool: found.name, addresses };
  }

  #choose(request: AddressRequest): Assignment {
    if (request.pool !== undefined) {
      const book = this.#books.get(request.pool);
      if (book === undefined) return refuse("NoPool", this.#unknownPool(request.pool));
      const why = admission(book.pool, request);
      if (why !== undefined) return refusePools("NoPool", [{ pool: book.pool.name, why }]);
      return chooseAmong([book], request) ?? refuseBook(book, request.families, request.oneWillDo);
    }
    for (const tier of this.#tiers) {
      const open = tier.filter(({ pool }) => admission(pool, request) === undefined);
      const granted = chooseAmong(open, request);
      if (granted !== undefined) return granted;
    }
    return this.#refuseAll(request);
  }

  #unknownPool(name: string): string {
    const names = [...this.#books.keys()].slice(0, NAMED_POOLS).join(", ");
    return `there is no pool ${JSON.stringify(name.slice(0, 64))}; pools: ${names === "" ? "none" : names}`;
  }

  #refuseAll(request: AddressRequest): Refusal {
    const considered = [...this.#books.values()].map(({ pool }): PoolVerdict => {
      const why = pool.autoAssign ? admission(pool, request) : "autoAssignOff";
      return { pool: pool.name, why: why ?? lacking(pool, request.families, request.oneWillDo) };
    });
    const reasons = new Set(considered.map(({ why }) => why));
    if (reasons.has("full")) return refusePools("PoolExhausted", considered);
    return refusePools(reasons.has("noFamily") ? "FamilyMismatch" : "NoPool", considered);
  }

  /** Makes a grant the holding of a Service and lets go of what it held before. */
  #hold<T extends Granted | undefined>(request: AddressRequest, granted: T, now: number): T {
    const { service, terms } = request;
    const holding = this.#holdings.get(service) ?? { granted: undefined, published: NOTHING };
    const old = holding.granted?.addresses ?? [];
    holding.granted = granted;
    this.#holdings.set(service, holding);
    for (const address of granted?.addresses ?? []) this.#enter(service, address, terms);
    for (const address of old) {
      if (granted?.addresses.includes(address) === true) continue;
      this.#leave(service, address, holding.published, now);
    }
    if (granted === undefined && holding.published.length === 0) this.#holdings.delete(service);
    return granted;
  }

  #enter(service: string, address: Address, terms: SharingTerms): void {
    const state = this.#stateOf(address);
    const before = state.occupancy.termsOf(service);
    if (before !== undefined && sameTerms(before, terms)) return;
    if (state.lingerers?.delete(service) === true && state.lingerers.size === 0) {
      // Ten thousand empty sets are not nothing.
      state.lingerers = undefined;
    }
    state.occupancy.set(service, terms);
    this.#wake(state);
    this.#settle(state, before?.ports, terms.ports);
    // Other terms, or an address that may be shared, may be what someone waits for.
    if (before !== undefined || terms.key !== "") this.#freed += 1;
  }

  #leave(service: string, address: Address, published: readonly Address[], now: number): void {
    const state = this.#stateOf(address);
    const ports = state.occupancy.termsOf(service)?.ports;
    state.occupancy.delete(service);
    if (published.includes(address)) (state.lingerers ??= new Set()).add(service);
    else this.#rest(state, service, now);
    this.#settle(state, ports);
    this.#freed += 1;
  }

  #linger(service: string, address: Address): void {
    const state = this.#stateOf(address);
    (state.lingerers ??= new Set()).add(service);
    this.#settle(state);
  }

  #unlinger(service: string, address: Address, now: number): void {
    const state = this.#stateOf(address);
    if (state.lingerers?.delete(service) === true) this.#rest(state, service, now);
    this.#settle(state);
    this.#freed += 1;
  }

  #rest(state: AddressState, by: string, now: number): void {
    const { site } = state;
    if (site === undefined || site.book.pool.cooldownMs === 0) return;
    if (state.occupancy.size > 0 || isLingered(state)) return;
    state.rest = { since: now, by };
    site.book.resting.add(state);
    const own = this.#restingOf.get(by);
    if (own === undefined) this.#restingOf.set(by, new Set([state.address]));
    else own.add(state.address);
  }

  #wake(state: AddressState): void {
    if (state.rest === undefined) return;
    const own = this.#restingOf.get(state.rest.by);
    own?.delete(state.address);
    if (own?.size === 0) this.#restingOf.delete(state.rest.by);
    state.rest = undefined;
    state.site?.book.resting.delete(state);
  }

  #stateOf(address: Address): AddressState {
    const known = this.#states.get(address);
    if (known !== undefined) return known;
    const state: AddressState = {
      address,
      occupancy: new Occupancy(),
      lingerers: undefined,
      quarantined: false,
      rest: undefined,
      site: this.#locate(address),
    };
    this.#states.set(address, state);
    return state;
  }

  /** Brings the indexes of its pool after an address that changed, and forgets it when free. */
  #settle(state: AddressState, freed: readonly string[] = [], taken: readonly string[] = []): void {
    if (state.site !== undefined) shelve(state, state.site, freed, taken);
    if (!isTaken(state)) this.#states.delete(state.address);
  }

  /** Finds all states whose pool is gone or changed a new place. */
  #replace(): void {
    const moved: AddressState[] = [];
    for (const state of this.#states.values()) {
      const { site } = state;
      if (site !== undefined && this.#books.get(site.book.pool.name) === site.book) continue;
      state.site = this.#locate(state.address);
      if (state.site !== undefined) shelve(state, state.site);
      if (state.rest !== undefined) moved.push(state);
    }
    moved.sort((a, b) => (a.rest?.since ?? 0) - (b.rest?.since ?? 0));
    for (const state of moved) {
      if (state.site !== undefined) {
        state.site.book.resting.add(state);
        continue;
      }
      this.#wake(state);
      this.#settle(state);
    }
  }

  #locate(address: Address): Site | undefined {
    const [number, family] = [addressToBigInt(address), familyOf(address)];
    const index = this.#index[family];
    let [low, high] = [0, index.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((index[middle]?.first ?? 0n) <= number) low = middle + 1;
      else high = middle;
    }
    const book = index[low - 1]?.book;
    const ordinal = book?.pool.spaces[family].ordinalOf(address);
    if (book === undefined || ordinal === undefined) return undefined;
    return { book, shelf: book.shelves[family], ordinal, group: undefined, holders: 0 };
  }
}

const NOTHING: readonly Address[] = [];
/** Pools named in one message. */
const NAMED_POOLS = 10;

function makeBook(pool: Pool): PoolBook {
  const shelf = (family: Family): Shelf => ({
    taken: new OrdinalSet(pool.spaces[family].size),
    groups: new Map(),
    assigned: 0,
    holders: 0,
  });
  return { pool, shelves: { ipv4: shelf("ipv4"), ipv6: shelf("ipv6") }, resting: new Set() };
}

function indexOf(books: ReadonlyMap<string, PoolBook>, family: Family): IndexEntry[] {
  return [...books.values()]
    .flatMap((book) => book.pool.spaces[family].ranges.map(({ first }) => ({ first, book })))
    .sort((a, b) => (a.first < b.first ? -1 : 1));
}

function isLingered(state: AddressState): boolean {
  return state.lingerers !== undefined && state.lingerers.size > 0;
}

function isTaken(state: AddressState): boolean {
  const { occupancy, quarantined, rest } = state;
  return occupancy.size > 0 || quarantined || rest !== undefined || isLingered(state);
}

/** Enters in its pool's indexes what changed about an address: its ports, or more than those. */
function shelve(
  state: AddressState,
  site: Site,
  freed: readonly string[] = [],
  taken: readonly string[] = [],
): void {
  const { shelf, ordinal } = site;
  if (isTaken(state)) shelf.taken.add(ordinal);
  else shelf.taken.delete(ordinal);
  const { size } = state.occupancy;
  shelf.assigned += Number(size > 0) - Number(site.holders > 0);
  shelf.holders += size - site.holders;
  site.holders = size;
  const name = groupOf(state);
  const stays = name === site.group;
  if (site.group !== undefined) {
    const group = shelf.groups.get(site.group);
    group?.free(ordinal, freed);
    if (!stays) group?.remove(ordinal, state.occupancy.ports);
    if (group?.isEmpty === true) shelf.groups.delete(site.group);
  }
  site.group = name;
  if (name === undefined) return;
  let group = shelf.groups.get(name);
  if (group === undefined) shelf.groups.set(name, (group = new SharingGroup(shelf.taken.size)));
  group.add(ordinal, stays ? taken : state.occupancy.ports);
}

/** Names the group of an address that a newcomer may share, undefined when none may. */
function groupOf(state: AddressState): string | undefined {
  const { terms } = state.occupancy;
  const open = terms !== undefined && terms.key !== "" && !state.quarantined;
  return open && !isLingered(state) ? groupName(terms) : undefined;
}

/** Says why nobody but its holders may have an address just now. */
function unavailable(state: AddressState, service: string): Refusal | undefined {
  const { address, quarantined, rest, lingerers } = state;
  if (state.occupancy.termsOf(service) !== undefined) return undefined;
  if (quarantined) {
    const message = `${address} is quarantined because another host on the LAN uses it: remove that host, then take the address out of status.quarantined of the pool`;
    return refuse("AddressConflict", message);
  }
  const lingerer = [...(lingerers ?? [])].find((other) => other !== service);
  if (lingerer !== undefined) {
    return refuse("AddressInUse", `${address} is still being taken back from ${lingerer}`);
  }
  if (rest !== undefined && rest.by !== service) {
    return refuse("AddressInUse", `${address} rests since ${rest.by} released it`);
  }
  return undefined;
}

/** Assigns from the first of some pools that has what is asked, better fits first. */
function chooseAmong(books: readonly PoolBook[], request: AddressRequest): Granted | undefined {
  const { families, oneWillDo, terms } = request;
  const single = oneWillDo && families.length > 1 ? families.map((family) => [family]) : [];
  for (const wanted of [inOrder(families), ...single]) {
    // An address that carries the key already comes before a free one.
    for (const kind of terms.key === "" ? (["any"] as const) : (["shared", "any"] as const)) {
      for (const book of books) {
        const addresses = pick(book, wanted, terms, kind);
        if (addresses !== undefined) return { ok: true, pool: book.pool.name, addresses };
      }
    }
  }
  return undefined;
}

/** Finds the lowest address of each family in a pool, all of them or nothing. */
function pick(
  book: PoolBook,
  families: readonly Family[],
  terms: SharingTerms,
  kind: "shared" | "any",
): Address[] | undefined {
  const addresses: Address[] = [];
  for (const family of families) {
    const { taken, groups } = book.shelves[family];
    const group = terms.key === "" ? undefined : groups.get(groupName(terms));
    const ordinal =
      group?.lowestFor(terms.ports) ?? (kind === "any" ? taken.nextAbsent(0n) : undefined);
    if (ordinal === undefined) return undefined;
    addresses.push(book.pool.spaces[family].addressAt(ordinal));
  }
  return addresses;
}

function inOrder(families: readonly Family[]): readonly Family[] {
  return FAMILIES.filter((family) => families.includes(family));
}

function has(addresses: readonly Address[], family: Family): boolean {
  return addresses.some((address) => familyOf(address) === family);
}

function sameTerms(a: SharingTerms, b: SharingTerms): boolean {
  const same = a.key === b.key && a.backend === b.backend && a.ports.length === b.ports.length;
  return same && a.ports.every((port, index) => port === b.ports[index]);
}

/** Tells why a pool that admits a Service gave it nothing. */
function lacking(pool: Pool, families: readonly Family[], oneWillDo = false): "noFamily" | "full" {
  const isMissing = (family: Family): boolean => pool.spaces[family].size === 0n;
  const lacks = oneWillDo ? families.every(isMissing) : families.some(isMissing);
  return lacks ? "noFamily" : "full";
}

function refuse(reason: Refusal["reason"], message: string): Refusal {
  return { ok: false, reason, message };
}

const POOL_MESSAGES = {
  NoPool: "no pool may serve this Service",
  FamilyMismatch: "no pool has addresses of the family that this Service needs",
  PoolExhausted: "no pool has a free address for this Service",
} as const;

function refusePools(
  reason: keyof typeof POOL_MESSAGES,
  considered: readonly PoolVerdict[],
): Refusal {
  return { ok: false, reason, message: POOL_MESSAGES[reason], considered };
}

function refuseBook(book: PoolBook, families: readonly Family[], oneWillDo = false): Refusal {
  const why = lacking(book.pool, families, oneWillDo);
  const reason = why === "full" ? "PoolExhausted" : "FamilyMismatch";
  return refusePools(reason, [{ pool: book.pool.name, why }]);
}

const POOL_VERDICTS = {
  autoAssignOff: "serves only Services that ask for it by name (autoAssign is false)",
  namespace: "does not serve this namespace",
  labels: "serves only Services with other labels",
  noFamily: "has no address of that family",
  full: "has no free address",
} as const satisfies Record<PoolVerdict["why"], string>;

/** Says in a sentence why a Service gets nothing: which pools were considered and why each refused. */
export function formatRefusal(refusal: Refusal): string {
  const { message, considered } = refusal;
  if (considered === undefined) return message;
  if (considered.length === 0) return `${message}: there is no pool`;
  const named = considered
    .slice(0, NAMED_POOLS)
    .map(({ pool, why }) => `pool ${pool} ${POOL_VERDICTS[why]}`);
  const more = considered.length - named.length;
  return `${message}: ${named.join("; ")}${more > 0 ? `; and ${more} more pools` : ""}`;
}
