/**
 * Claims: "I answer for this address". Only the owner writes its claims, each change with a higher
 * version, so records merge in any order. A claim belongs to a life: a restart voids it at once;
 * being thought dead only masks it, and masking is the reader's business, not this table's.
 */
import { createHash } from "node:crypto";
import type { Address } from "../packet/address/address.ts";
import { digestOf, DigestSum, EMPTY_DIGEST, type Digest } from "./digest.ts";

/** One run of a speaker: 128 random bits as 32 hexadecimal digits. */
export type Life = string;

/** One owner's word on one address. Immutable. */
export interface Claim {
  readonly address: Address;
  readonly life: Life;
  /** Raised by the owner at every change of any of its claims. */
  readonly version: number;
  /** 1 + the highest term that the owner had seen for the address. */
  readonly term: number;
  /** The owner was quorate and saw no rival for two seconds on end. */
  readonly firm: boolean;
  /** The owner looks for a successor and goes on answering. */
  readonly giving: boolean;
  /** The owner no longer answers; the record stays as a tombstone of older ones. */
  readonly released: boolean;
  /** Hash of all of the above. */
  readonly digest: Digest;
}

/** What a claim says, before it is hashed. */
export type ClaimFields = Omit<Claim, "digest">;

/** Highest term that fits the wire's 29 bits. */
export const MAX_TERM = 2 ** 29 - 1;
/** Buckets that an owner's set is compared by. */
export const BUCKETS = 64;

/** Makes a claim of its fields. */
export function makeClaim(fields: ClaimFields): Claim {
  const { address, life, version, term, firm, giving, released } = fields;
  const flags = (firm ? 1 : 0) | (giving ? 2 : 0) | (released ? 4 : 0);
  const digest = digestOf(`${life}/${address}/${version}/${term}/${flags}`);
  return { address, life, version, term, firm, giving, released, digest };
}

/** Gives the place of a node among those who might hold an address; the lowest goes first. */
export type Rank = (node: string, address: Address) => string;

/** MetalLB's rank: sha256(node + "#" + address). */
export function rankOf(node: string, address: Address): string {
  return createHash("sha256").update(`${node}#${address}`).digest("hex");
}

/** A claim and the name of the node whose claim it is. */
export interface HeldClaim {
  readonly claim: Claim;
  readonly node: string;
}

/** Gives a claim as it counts: not firm if its owner has been humbled since. */
export function countedClaim(claim: Claim, humbled: number | undefined): Claim {
  if (!claim.firm || humbled === undefined || claim.version > humbled) return claim;
  return { ...claim, firm: false };
}

/**
 * Orders the claims on one address: not giving, firm, higher term, lower rank, name. Total, so two
 * owners that see each other always agree who goes on.
 * @returns a negative number when `a` is the better one.
 */
export function compareClaims(a: HeldClaim, b: HeldClaim, rank: Rank): number {
  if (a.claim.giving !== b.claim.giving) return a.claim.giving ? 1 : -1;
  if (a.claim.firm !== b.claim.firm) return a.claim.firm ? -1 : 1;
  if (a.claim.term !== b.claim.term) return b.claim.term - a.claim.term;
  if (a.node === b.node) return 0;
  const [x, y] = [rank(a.node, a.claim.address), rank(b.node, a.claim.address)];
  if (x !== y) return x < y ? -1 : 1;
  return a.node < b.node ? -1 : 1;
}

/** Gives the bucket, 0 to 63, by which an address is compared. */
export function bucketOf(address: Address): number {
  return digestOf(address).low % BUCKETS;
}

interface OwnerSet {
  readonly sum: DigestSum;
  /** Every record, tombstones too. */
  readonly records: Map<Address, Claim>;
  held: number;
  /** The life is that of a live member: its claims are part of the whole table's digest. */
  counted: boolean;
}

type Holders = Claim | Claim[];

/** All claims that are known, by life and by address. */
export class ClaimTable {
  readonly #sets = new Map<Life, OwnerSet>();
  readonly #counted = new DigestSum();
  /** Claims that are not released; an array only in the rare case of several. */
  readonly #holders = new Map<Address, Holders>();
  /** Highest term seen, where no record that is held says it. */
  readonly #terms = new Map<Address, number>();

  /** Takes a record in if it is news, and tells whether it was. */
  merge(claim: Claim): boolean {
    const set = this.#setOf(claim.life);
    const known = set.records.get(claim.address);
    if (known !== undefined && known.version >= claim.version) return false;
    if (known !== undefined && !known.released) this.#unhold(set, known);
    // A term never falls: what a replaced or released record said is remembered.
    if (known !== undefined && known.term > claim.term) this.#remember(known);
    set.records.set(claim.address, claim);
    if (claim.released) this.#remember(claim);
    else this.#hold(set, claim);
    return true;
  }

  /** Gives the record of a life on an address, tombstones too. */
  get(life: Life, address: Address): Claim | undefined {
    return this.#sets.get(life)?.records.get(address);
  }

  /** Gives the claim of a life on an address, if it is not released. */
  held(life: Life, address: Address): Claim | undefined {
    const claim = this.get(life, address);
    return claim?.released === false ? claim : undefined;
  }

  /** Gives the claims on an address that are not released, of lives current or not. */
  on(address: Address): readonly Claim[] {
    const holders = this.#holders.get(address);
    if (holders === undefined) return [];
    return Array.isArray(holders) ? holders : [holders];
  }

  /** Gives every address on which somebody holds a claim. */
  addresses(): IterableIterator<Address> {
    return this.#holders.keys();
  }

  /** Gives all records of a life, tombstones too. */
  records(life: Life): Iterable<Claim> {
    return this.#sets.get(life)?.records.values() ?? [];
  }

  /** Counts the claims of a life that are not released. */
  count(life: Life): number {
    return this.#sets.get(life)?.held ?? 0;
  }

  /** Counts the records of a life, tombstones too. */
  size(life: Life): number {
    return this.#sets.get(life)?.records.size ?? 0;
  }

  /** Gives the digest of a life's claims that are not released. */
  digest(life: Life): Digest {
    return this.#sets.get(life)?.sum.value() ?? EMPTY_DIGEST;
  }

  /** Has the claims of a life be part of the whole table's digest, or no longer. */
  setCounted(life: Life, counted: boolean): void {
    const set = counted ? this.#setOf(life) : this.#sets.get(life);
    if (set === undefined || set.counted === counted) return;
    set.counted = counted;
    if (counted) this.#counted.add(set.sum);
    else this.#counted.remove(set.sum);
  }

  /** Gives the digest of the claims of all lives that are counted. */
  table(): Digest {
    return this.#counted.value();
  }

  /** Gives the digests of a life's buckets, for comparing where two views of it differ. */
  buckets(life: Life): Digest[] {
    const sums = Array.from({ length: BUCKETS }, () => new DigestSum());
    for (const claim of this.records(life)) {
      if (!claim.released) sums[bucketOf(claim.address)]?.add(claim.digest);
    }
    return sums.map((sum) => sum.value());
  }

  /** Gives the highest term seen for an address, as far as is remembered; 0 if none was. */
  term(address: Address): number {
    let highest = this.#terms.get(address) ?? 0;
    for (const claim of this.on(address)) highest = Math.max(highest, claim.term);
    return highest;
  }

  /** Drops all records of a life that is over; their terms are remembered. */
  void(life: Life): Address[] {
    const set = this.#sets.get(life);
    if (set === undefined) return [];
    const addresses: Address[] = [];
    for (const claim of set.records.values()) {
      if (claim.released) continue;
      this.#unhold(set, claim);
      this.#remember(claim);
      addresses.push(claim.address);
    }
    this.#sets.delete(life);
    return addresses;
  }

  /** Forgets the terms of an address that the cluster no longer uses. */
  forget(address: Address): void {
    this.#terms.delete(address);
  }

  #setOf(life: Life): OwnerSet {
    let set = this.#sets.get(life);
    if (set === undefined) {
      set = { sum: new DigestSum(), records: new Map(), held: 0, counted: false };
      this.#sets.set(life, set);
    }
    return set;
  }

  #remember(claim: Claim): void {
    const known = this.#terms.get(claim.address) ?? 0;
    if (claim.term > known) this.#terms.set(claim.address, claim.term);
  }

  #hold(set: OwnerSet, claim: Claim): void {
    set.sum.add(claim.digest);
    if (set.counted) this.#counted.add(claim.digest);
    set.held++;
    const holders = this.#holders.get(claim.address);
    if (holders === undefined) this.#holders.set(claim.address, claim);
    else if (Array.isArray(holders)) holders.push(claim);
    else this.#holders.set(claim.address, [holders, claim]);
  }

  #unhold(set: OwnerSet, claim: Claim): void {
    set.sum.remove(claim.digest);
    if (set.counted) this.#counted.remove(claim.digest);
    set.held--;
    const holders = this.#holders.get(claim.address);
    if (holders === claim) {
      this.#holders.delete(claim.address);
    } else if (Array.isArray(holders)) {
      const left = holders.filter((other) => other !== claim);
      const [only] = left;
      this.#holders.set(claim.address, left.length === 1 && only !== undefined ? only : left);
    }
  }
}
