/**
 * The allocator's rules once more, as plainly as they can be said: every question is answered by
 * looking at every address and every Service. For small pools only.
 */
import type { PoolConfig } from "../../../api/rendered-config.ts";
import type { AddressRequest } from "../../../controller/allocator.ts";
import type { SharingTerms } from "../../../controller/sharing.ts";
import {
  addressFromBigInt,
  compareAddresses,
  familyOf,
  type Address,
  type Family,
} from "../../../packet/address/address.ts";
import { parsePoolEntry } from "../../../packet/address/range.ts";

/** What a Service got, or the reason why not. */
export type Outcome = { readonly pool: string; readonly addresses: readonly Address[] } | string;

interface Holding {
  readonly pool: string;
  readonly addresses: readonly Address[];
  readonly terms: SharingTerms;
}

/** See the head of the file. */
export class NaiveAllocator {
  readonly holdings = new Map<string, Holding>();
  readonly published = new Map<string, ReadonlySet<Address>>();
  readonly resting = new Map<Address, { readonly since: number; readonly by: string }>();
  #quarantined: ReadonlySet<Address> = new Set();
  #pools: readonly PoolConfig[] = [];

  setPools(pools: readonly PoolConfig[]): void {
    const rank = ({ priority }: PoolConfig): number => (priority === 0 ? Infinity : priority);
    this.#pools = [...pools].sort(
      (a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)) || (a.name < b.name ? -1 : 1),
    );
    for (const address of this.resting.keys()) {
      if (this.#poolOf(address) === undefined) this.resting.delete(address);
    }
  }

  setQuarantined(addresses: ReadonlySet<Address>): void {
    this.#quarantined = addresses;
  }

  expire(now: number): void {
    for (const [address, { since }] of this.resting) {
      const cooldown = (this.#poolOf(address)?.["cooldown-seconds"] ?? 0) * 1000;
      if (since + cooldown <= now) this.resting.delete(address);
    }
  }

  publish(service: string, addresses: readonly Address[], now: number): void {
    const before = this.#lingering(service);
    this.published.set(service, new Set(addresses));
    const after = this.#lingering(service);
    for (const address of before) if (!after.includes(address)) this.#rest(address, service, now);
  }

  release(service: string, now: number): void {
    this.#hold(service, undefined, now);
  }

  claim(request: AddressRequest, addresses: readonly Address[], now: number): Outcome {
    const outcome = this.#check(request, addresses, true);
    this.#hold(
      request.service,
      typeof outcome === "string" ? undefined : { ...outcome, terms: request.terms },
      now,
    );
    return outcome;
  }

  allocate(request: AddressRequest, now: number): Outcome {
    const outcome = request.addresses
      ? this.#named(request, request.addresses)
      : (this.#former(request) ?? this.#choose(request));
    if (typeof outcome !== "string")
      this.#hold(request.service, { ...outcome, terms: request.terms }, now);
    return outcome;
  }

  extend(request: AddressRequest, now: number): Outcome {
    const held = this.holdings.get(request.service);
    const pool = this.#pools.find(({ name }) => name === held?.pool);
    if (held === undefined || pool === undefined) return "NoPool";
    const missing = request.families.filter(
      (family) => !held.addresses.some((each) => familyOf(each) === family),
    );
    const added = this.#pick(pool, missing, request, false);
    if (added === undefined)
      return this.#lacks(pool, missing, false) ? "FamilyMismatch" : "PoolExhausted";
    const outcome = { pool: pool.name, addresses: [...held.addresses, ...added] };
    this.#hold(request.service, { ...outcome, terms: request.terms }, now);
    return outcome;
  }

  #named(request: AddressRequest, addresses: readonly Address[]): Outcome {
    const families = addresses.map(familyOf).sort().join();
    if (families !== [...request.families].sort().join()) return "FamilyMismatch";
    const pool = this.#check(request, addresses, true);
    if (pool === "AddressNotInPool" || pool === "NoPool") return pool;
    if (request.pool !== undefined && this.#poolOf(addresses[0]!)?.name !== request.pool)
      return "AddressNotInPool";
    return this.#check(request, addresses, false);
  }

  #check(request: AddressRequest, addresses: readonly Address[], own: boolean): Outcome {
    const [pool, ...others] = addresses.map((address) => this.#poolOf(address));
    if (pool === undefined || others.some((other) => other !== pool)) return "AddressNotInPool";
    if (!admits(pool, request)) return "NoPool";
    for (const address of addresses) {
      const holders = this.#holders(address).filter(([service]) => service !== request.service);
      if (!holders.every(([, { terms }]) => compatible(terms, request.terms))) {
        return request.terms.key === "" ? "AddressInUse" : "SharingRefused";
      }
      if (own || this.holdings.get(request.service)?.addresses.includes(address) === true) continue;
      if (this.#quarantined.has(address)) return "AddressConflict";
      if (this.#lingerers(address).some((service) => service !== request.service))
        return "AddressInUse";
      const rest = this.resting.get(address);
      if (rest !== undefined && rest.by !== request.service) return "AddressInUse";
    }
    return { pool: pool.name, addresses };
  }

  /** What a Service without wishes had before, while it rests. */
  #former(request: AddressRequest): Outcome | undefined {
    const own = [...this.resting]
      .filter(([, { by }]) => by === request.service)
      .map(([address]) => address)
      .sort(compareAddresses);
    const wanted = [...request.families].sort();
    const addresses = wanted.flatMap(
      (family) => own.find((each) => familyOf(each) === family) ?? [],
    );
    if (addresses.length < wanted.length || addresses.length === 0) return undefined;
    const outcome = this.#check(request, addresses, false);
    const pool = this.#poolOf(addresses[0]!);
    if (typeof outcome === "string" || pool === undefined) return undefined;
    const fits = request.pool === undefined ? pool["auto-assign"] : pool.name === request.pool;
    return fits ? outcome : undefined;
  }

  #choose(request: AddressRequest): Outcome {
    if (request.pool !== undefined) {
      const pool = this.#pools.find(({ name }) => name === request.pool);
      if (pool === undefined || !admits(pool, request)) return "NoPool";
      const lacks = this.#lacks(pool, request.families, request.oneWillDo);
      return this.#among([pool], request) ?? (lacks ? "FamilyMismatch" : "PoolExhausted");
    }
    const open = this.#pools.filter((pool) => pool["auto-assign"] && admits(pool, request));
    const isPinned = (pool: PoolConfig): boolean => pool.priority > 0 || pool.namespaces.length > 0;
    const found =
      this.#among(open.filter(isPinned), request) ??
      this.#among(
        open.filter((pool) => !isPinned(pool)),
        request,
      );
    if (found !== undefined) return found;
    if (open.length === 0) return "NoPool";
    return open.every((pool) => this.#lacks(pool, request.families, request.oneWillDo))
      ? "FamilyMismatch"
      : "PoolExhausted";
  }

  #among(pools: readonly PoolConfig[], request: AddressRequest): Outcome | undefined {
    const all = [...request.families].sort();
    const single =
      request.oneWillDo && all.length > 1 ? request.families.map((family) => [family]) : [];
    for (const families of [all, ...single]) {
      for (const sharedOnly of request.terms.key === "" ? [false] : [true, false]) {
        for (const pool of pools) {
          const addresses = this.#pick(pool, families, request, sharedOnly);
          if (addresses !== undefined) return { pool: pool.name, addresses };
        }
      }
    }
    return undefined;
  }

  #pick(
    pool: PoolConfig,
    families: readonly Family[],
    request: AddressRequest,
    sharedOnly: boolean,
  ): Address[] | undefined {
    const picked: Address[] = [];
    for (const family of families) {
      const candidates = addressesOf(pool).filter((address) => familyOf(address) === family);
      const shared = candidates.find((address) => this.#isShareable(address, request.terms));
      const free = candidates.find((address) => this.#isFree(address));
      const chosen = shared ?? (sharedOnly ? undefined : free);
      if (chosen === undefined) return undefined;
      picked.push(chosen);
    }
    return picked;
  }

  #isShareable(address: Address, terms: SharingTerms): boolean {
    const holders = this.#holders(address);
    if (holders.length === 0 || this.#quarantined.has(address)) return false;
    return (
      this.#lingerers(address).length === 0 &&
      holders.every(([, held]) => compatible(held.terms, terms))
    );
  }

  #isFree(address: Address): boolean {
    return (
      this.#holders(address).length === 0 &&
      this.#lingerers(address).length === 0 &&
      !this.#quarantined.has(address) &&
      !this.resting.has(address)
    );
  }

  #lacks(pool: PoolConfig, families: readonly Family[], oneWillDo: boolean): boolean {
    const missing = (family: Family): boolean =>
      !addressesOf(pool).some((address) => familyOf(address) === family);
    return oneWillDo ? families.every(missing) : families.some(missing);
  }

  #hold(service: string, holding: Holding | undefined, now: number): void {
    const before = this.holdings.get(service)?.addresses ?? [];
    if (holding === undefined) this.holdings.delete(service);
    else this.holdings.set(service, holding);
    for (const address of holding?.addresses ?? []) this.resting.delete(address);
    for (const address of before) {
      const stays =
        holding?.addresses.includes(address) === true ||
        this.published.get(service)?.has(address) === true;
      if (!stays) this.#rest(address, service, now);
    }
  }

  #rest(address: Address, by: string, since: number): void {
    if (this.#holders(address).length > 0 || this.#lingerers(address).length > 0) return;
    if ((this.#poolOf(address)?.["cooldown-seconds"] ?? 0) > 0)
      this.resting.set(address, { since, by });
  }

  #holders(address: Address): [string, Holding][] {
    return [...this.holdings].filter(([, { addresses }]) => addresses.includes(address));
  }

  #lingering(service: string): Address[] {
    const held = this.holdings.get(service)?.addresses ?? [];
    return [...(this.published.get(service) ?? [])].filter((address) => !held.includes(address));
  }

  #lingerers(address: Address): string[] {
    return [...this.published.keys()].filter((service) =>
      this.#lingering(service).includes(address),
    );
  }

  #poolOf(address: Address): PoolConfig | undefined {
    return this.#pools.find((pool) => addressesOf(pool).includes(address));
  }
}

/** Lists all addresses of a small pool, ascending. */
export function addressesOf(pool: PoolConfig): Address[] {
  const addresses: Address[] = [];
  for (const entry of pool.addresses) {
    const parsed = parsePoolEntry(entry);
    if (!parsed.ok) throw new TypeError(parsed.message);
    const { first, last, family } = parsed.value;
    for (let number = first; number <= last; number++) {
      const isBuggy = family === "ipv4" && [0n, 255n].includes(number & 255n);
      if (!(pool["avoid-buggy-ips"] && isBuggy)) addresses.push(addressFromBigInt(number, family));
    }
  }
  return addresses.sort(compareAddresses);
}

function admits(pool: PoolConfig, request: AddressRequest): boolean {
  return pool.namespaces.length === 0 || pool.namespaces.includes(request.namespace);
}

/** The conditions of sharing, for two Services. */
export function compatible(a: SharingTerms, b: SharingTerms): boolean {
  return (
    a.key !== "" &&
    a.key === b.key &&
    a.backend === b.backend &&
    !a.ports.some((port) => b.ports.includes(port))
  );
}
