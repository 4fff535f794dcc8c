/**
 * Who is a member, and who of them is alive. A member is a node name; its current life is the one
 * with the highest epoch. Liveness is ordered by (epoch, refutation), and for equal pairs dead beats
 * alive: only the member itself can contradict its death, by a higher refutation. What a member says
 * of itself is ordered by (epoch, revision), and nobody else may write it.
 */
import type { NodeReason } from "../api/reason.ts";
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { Life } from "./claims.ts";
import { digestOf, DigestSum, sameDigest, type Digest } from "./digest.ts";
import { Rings, type RingPosition } from "./rings.ts";

/** Where a speaker is reached. */
export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

/** A link that is up and has carrier. */
export interface Link {
  readonly name: string;
  readonly mac: MacAddress;
  /** Connected subnets in text form, such as 192.0.2.0/24. */
  readonly prefixes: readonly string[];
}

/** What a member is up to. Joining and left members own nothing, vote nowhere and count nowhere. */
export const MEMBER_STATUSES = ["joining", "active", "draining", "left"] as const;

/** What a member is up to. */
export type MemberStatus = (typeof MEMBER_STATUSES)[number];

/** What keeps a member from taking addresses, in its own word: of {@link NODE_REASONS}, in wire order. */
export const PLIGHTS = [
  "NoUsableInterface",
  "NoCarrier",
  "DataPlaneNotReady",
  "Draining",
] as const satisfies readonly NodeReason[];

/** What keeps a member from taking addresses, in its own word. */
export type Plight = (typeof PLIGHTS)[number];

/** What is known of a member. Immutable: a change is a new record. */
export interface MemberRecord {
  readonly name: string;
  readonly epoch: number;
  readonly life: Life;
  /** Raised by the member to contradict its own death. */
  readonly refutation: number;
  /** Somebody decided that this (epoch, refutation) is dead. The only field that is not the member's. */
  readonly dead: boolean;
  /** Raised by the member at each change of the fields below. */
  readonly revision: number;
  readonly status: MemberStatus;
  /** It receives no frame at all; others treat it as gone. */
  readonly deaf: boolean;
  /** It would hand over addresses that rank elsewhere. */
  readonly rebalancing: boolean;
  /**
   * Its claims up to this version are not firm, whatever they say: it was thought dead, and others may
   * have taken over. In the record, so that nobody can learn that it lives without learning this.
   */
  readonly humbled?: number;
  /** Why it takes no address, if it says so; for people, nothing is decided by it. */
  readonly plight?: Plight;
  readonly endpoints: readonly Endpoint[];
  readonly links: readonly Link[];
  /** Ids of the keys it accepts, newest last. */
  readonly keyIds: readonly number[];
}

/** How a merge changed what is believed of a member. */
export type RosterChange =
  | "none"
  /** It says something new of itself, and counts as before. */
  | "content"
  /** It counts now and did not before. */
  | "rose"
  /** It counted before and does not now. */
  | "fell"
  /** It runs another life than before. */
  | "life";

/** A member died that long ago at most to count against a quorum. */
export const QUORUM_MEMORY_MS = 600_000;

interface Member {
  record: MemberRecord;
  /** Hash of what the records of two speakers must agree on. */
  digest: Digest;
  diedAt: number;
  roseAt: number;
  /** When what it says of its own condition last changed. */
  changedAt: number;
}

/** Tells whether a record counts: of a member that is alive and neither joining nor gone. */
export function isLive(record: MemberRecord): boolean {
  return !record.dead && (record.status === "active" || record.status === "draining");
}

/** Tells whether a member's claims count and whether it may be given addresses. */
export function isHearing(record: MemberRecord): boolean {
  return isLive(record) && !record.deaf;
}

/** Records are immutable, and many are met again and again. */
const digests = new WeakMap<MemberRecord, Digest>();

function digestOfRecord(record: MemberRecord): Digest {
  let digest = digests.get(record);
  if (digest === undefined) {
    const { name, epoch, life, refutation, revision, status } = record;
    digest = digestOf(`${name}/${epoch}/${life}/${refutation}/${revision}/${status}`);
    digests.set(record, digest);
  }
  return digest;
}

/** Tells whether a record belongs to a life that replaces the other's: higher epoch, then life. */
export function isLaterLife(a: MemberRecord, b: MemberRecord): boolean {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.life > b.life;
}

function mergeRecords(known: MemberRecord, news: MemberRecord): MemberRecord {
  if (news.life !== known.life) return isLaterLife(news, known) ? news : known;
  // The same life raised its epoch above that of another life of its name.
  const content = isNewerContent(news, known) ? news : known;
  const order = news.epoch - known.epoch || news.refutation - known.refutation;
  const alive = order > 0 ? news : known;
  const dead = order === 0 ? known.dead || news.dead : alive.dead;
  const { epoch, refutation } = alive;
  if (content.epoch === epoch && content.refutation === refutation && content.dead === dead) {
    return content;
  }
  return { ...content, epoch, refutation, dead };
}

function isNewerContent(news: MemberRecord, known: MemberRecord): boolean {
  return news.epoch !== known.epoch ? news.epoch > known.epoch : news.revision > known.revision;
}

/** The members as one speaker sees them. */
export class Roster {
  readonly self: string;
  readonly #rings: Rings;
  /** Only those that count, so that finding a neighbour never walks over a dead half. */
  readonly #liveRings: Rings;
  /** Raised whenever somebody begins or ceases to count. */
  liveRevision = 0;
  readonly #members = new Map<string, Member>();
  readonly #nameOfLife = new Map<Life, string>();
  readonly #dead = new Set<string>();
  readonly #sum = new DigestSum();
  #liveCount = 0;

  /** Knows nobody, not even itself. */
  constructor(self: string, position?: RingPosition) {
    this.self = self;
    this.#rings = new Rings(position);
    this.#liveRings = new Rings(position);
  }

  /** Gives the record of a member. */
  get(name: string): MemberRecord | undefined {
    return this.#members.get(name)?.record;
  }

  /** Gives all records, of the dead and the joining too. */
  *records(): Generator<MemberRecord> {
    for (const member of this.#members.values()) yield member.record;
  }

  /** Counts all that are known, the dead and the joining too. */
  get size(): number {
    return this.#members.size;
  }

  /** Gives the record of the member whose current life this is. */
  ofLife(life: Life): MemberRecord | undefined {
    const name = this.#nameOfLife.get(life);
    return name === undefined ? undefined : this.get(name);
  }

  /** Tells whether a member is alive and neither joining nor gone. */
  isLive(name: string): boolean {
    const record = this.get(name);
    return record !== undefined && isLive(record);
  }

  /** Tells whether the claims of a life count now. */
  holds(life: Life): boolean {
    const record = this.ofLife(life);
    return record !== undefined && isHearing(record);
  }

  /** Counts the live members, oneself included once active. */
  get liveCount(): number {
    return this.#liveCount;
  }

  /** Gives the names of those believed dead who had counted. */
  dead(): IterableIterator<string> {
    return this.#dead.values();
  }

  /** Tells when a member was seen to die. */
  diedAt(name: string): number {
    return this.#members.get(name)?.diedAt ?? -Infinity;
  }

  /** Tells when a member that was believed dead was found alive. */
  roseAt(name: string): number {
    return this.#members.get(name)?.roseAt ?? -Infinity;
  }

  /** Tells when a member's status, or whether it hears anything, last changed. */
  changedAt(name: string): number {
    return this.#members.get(name)?.changedAt ?? -Infinity;
  }

  /** Tells whether the live are more than half of the live and the recently dead. */
  isQuorate(now: number): boolean {
    if (this.#dead.size < this.#liveCount) return true;
    let lost = 0;
    for (const name of this.#dead) if (now - this.diedAt(name) < QUORUM_MEMORY_MS) lost++;
    return this.#liveCount > (this.#liveCount + lost) / 2;
  }

  /** Gives the digest of what is believed of all live members. */
  digest(): Digest {
    return this.#sum.value();
  }

  /** Gives the digest of what is believed of one member. */
  digestOf(name: string): Digest | undefined {
    return this.#members.get(name)?.digest;
  }

  /** Gives the neighbours of a member among those that count. */
  neighbours(name: string): string[] {
    return this.#liveRings.neighbours(name);
  }

  /** Compares two names by their place on the first ring. */
  compareByRing(a: string, b: string): number {
    return this.#rings.compare(a, b);
  }

  /** Gives the neighbours that a member would have if nobody had died. */
  idealNeighbours(name: string): string[] {
    return this.#rings.neighbours(name);
  }

  /** Merges what somebody says of a member into what is known. */
  apply(news: MemberRecord, now: number): RosterChange {
    const member = this.#members.get(news.name);
    if (member === undefined) {
      this.#insert(news, now);
      return isLive(news) ? "rose" : "content";
    }
    const before = member.record;
    const after = mergeRecords(before, news);
    if (after === before || isSame(before, after)) return "none";
    this.#replace(member, after, now);
    if (before.life !== after.life) return "life";
    if (isLive(before) === isLive(after)) return "content";
    return isLive(after) ? "rose" : "fell";
  }

  /** Forgets a member altogether. */
  forget(name: string): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    if (isLive(member.record)) this.#uncount(member);
    this.#members.delete(name);
    this.#dead.delete(name);
    if (this.#nameOfLife.get(member.record.life) === name) {
      this.#nameOfLife.delete(member.record.life);
    }
    this.#rings.remove(name);
    this.#liveRings.remove(name);
  }

  #insert(record: MemberRecord, now: number): void {
    const member = {
      record,
      digest: digestOfRecord(record),
      diedAt: now,
      roseAt: -Infinity,
      changedAt: now,
    };
    this.#members.set(record.name, member);
    this.#nameOfLife.set(record.life, record.name);
    this.#settle(member, now);
  }

  #replace(member: Member, record: MemberRecord, now: number): void {
    const before = member.record;
    if (isLive(before)) this.#uncount(member);
    if (before.life !== record.life) {
      this.#nameOfLife.delete(before.life);
      this.#nameOfLife.set(record.life, record.name);
    }
    if (record.status !== before.status || record.deaf !== before.deaf) member.changedAt = now;
    if (record.dead && !before.dead) member.diedAt = now;
    if (!record.dead && before.dead) member.roseAt = now;
    member.record = record;
    member.digest = digestOfRecord(record);
    this.#settle(member, now);
  }

  #uncount(member: Member): void {
    this.#sum.remove(member.digest);
    this.#liveCount--;
    this.liveRevision++;
  }

  #settle(member: Member, now: number): void {
    const { record } = member;
    const { name } = record;
    if (isLive(record)) {
      this.#sum.add(member.digest);
      this.#liveCount++;
      this.liveRevision++;
    }
    const mourned = record.dead && (record.status === "active" || record.status === "draining");
    if (!mourned) this.#dead.delete(name);
    else if (!this.#dead.has(name)) {
      this.#dead.add(name);
      member.diedAt = now;
    }
    // The dead stay on the rings: that is how the two sides of a partition find each other.
    if (mourned || isLive(record)) this.#rings.add(name);
    else this.#rings.remove(name);
    if (isLive(record)) this.#liveRings.add(name);
    else this.#liveRings.remove(name);
  }
}

function isSame(a: MemberRecord, b: MemberRecord): boolean {
  return (
    a.life === b.life &&
    a.epoch === b.epoch &&
    a.refutation === b.refutation &&
    a.revision === b.revision &&
    a.dead === b.dead &&
    sameDigest(digestOfRecord(a), digestOfRecord(b))
  );
}
