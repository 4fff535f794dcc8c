/**
 * Spreading what is new and comparing what is known.
 *
 * - News go from neighbour to neighbour: on first sight they are passed on to all but their source.
 *   Member records go at once and twice; claims are collected for some milliseconds and paced.
 * - Beats carry digests. Where they differ for three intervals, a Summary finds the members, a Pull
 *   the buckets, and Pages carry the records. Records merge in any order, so nothing is locked.
 * - A death that is not news but found by comparing is verified before it is believed: the two
 *   sides of a healed partition hold each other dead, and none of these deaths is true.
 */
import { bucketOf, type Claim } from "./claims.ts";
import { type Context } from "./context.ts";
import { DigestSum, sameDigest, type Digest } from "./digest.ts";
import { MAX_PAYLOAD, type Beat, type Page, type Pull, type Summary } from "./messages.ts";
import { Pace } from "./pace.ts";
import type { Peer } from "./peer.ts";
import { isLive, type MemberRecord } from "./roster.ts";
import { CLAIM_GROUP_SIZE, sizeOfClaim, sizeOfPull, sizeOfRecord } from "./sizes.ts";
import { BATCH_MS, MEMBER_REPEAT_MS, PACE_BURST, PACE_PER_SECOND } from "./timing.ts";

const MESSAGE_ROOM = MAX_PAYLOAD - 4;
const SUMMARY_ENTRIES = 70;
const LOWEST_ID = "0".repeat(16);
const HIGHEST_ID = "f".repeat(16);
/** Of more records than this none is sent twice. */
const AT_ONCE = 8;
/** Octets of Pulls that one Summary is answered by; what is left out the next comparison finds. */
const PULLED = 16 * MAX_PAYLOAD;
/** Of a member with no more claims all are asked for, and not those in some buckets. */
const FEW_CLAIMS = 20;
/** More neighbours than the rings give a member in quiet: not all of them are told everything. */
const FAN_OUT = 8;
/** Packets of member records a second, and at once: what is more is collected. */
const MEMBERS_PER_SECOND = 200;
const MEMBERS_BURST = 32;
/** A death found by comparing is believed after so long without a sign of life. */
const DOUBT_MS = 120;
const DOUBT_TRIES = 3;
/** Of more doubts than this each puts the later ones off by up to so much, up to the last in all. */
const DOUBTS_AT_ONCE = 8;
const DOUBT_EACH_MS = 8;
const DOUBT_WAIT_MS = 1000;

/** What gossip needs of the speaker. */
export interface GossipHost {
  readonly context: Context;
  /** Those that news go to. */
  readonly watched: ReadonlyMap<string, Peer>;
  /** First octets of sha256(name), 16 hexadecimal digits. */
  idOf(name: string): string;
  nameOf(id: string): string | undefined;
  /** Takes a member's record or a claim in, and passes on what is news. */
  learnMember(record: MemberRecord, from: string, isNews: boolean): void;
  learnClaim(claim: Claim, from: string): void;
  heardAt(name: string): number;
  ping(name: string): void;
}

interface News {
  readonly record: MemberRecord;
  readonly from: string;
}

/** A member of which somebody is to be told. */
interface Wanted {
  readonly to: string;
  readonly name: string;
  /** Buckets of claims that are wanted; undefined: all. */
  buckets: ReadonlySet<number> | undefined;
}

const NO_CLAIMS: ReadonlySet<number> = new Set();

interface LiveId {
  readonly id: string;
  readonly name: string;
}

interface Doubt {
  readonly record: MemberRecord;
  /** Of the first try. */
  since: number;
  tries: number;
  at: number;
}

/** Spreads and compares for one speaker. */
export class Gossip {
  readonly #host: GossipHost;
  readonly #context: Context;
  readonly #pace: Pace;
  readonly #burst: Pace;
  readonly #members = new Map<string, News>();
  readonly #repeats = new Map<string, News>();
  #membersAt = Infinity;
  #membersSentAt = -Infinity;
  #repeatAt = Infinity;
  readonly #claims = new Map<Claim, string>();
  #claimsAt = Infinity;
  #flushedAt = -Infinity;
  /** What is to be told to whom, by both; asked for twice it is told once. */
  readonly #wanted = new Map<string, Wanted>();
  /** Pages of what was last taken out of it. */
  readonly #pages: { to: string; page: Page }[] = [];
  /** When a page last went before claims that waited. */
  #pagedAt = -Infinity;
  /** When whose Summary was answered by one. */
  readonly #answeredAt = new Map<string, number>();
  /** What was asked for of each member since then, and of whom, by its id. */
  readonly #pulled = new Map<string, { readonly from: string; readonly digest: Digest }>();
  #pulledSince = -Infinity;
  readonly #doubts = new Map<string, Doubt>();
  #live: readonly LiveId[] = [];
  #liveRevision = -1;

  /** Begins with nothing known but what the host says. */
  constructor(host: GossipHost, now: number) {
    this.#host = host;
    this.#context = host.context;
    this.#pace = new Pace(PACE_PER_SECOND, PACE_BURST, now);
    this.#burst = new Pace(MEMBERS_PER_SECOND, MEMBERS_BURST, now);
  }

  /** Passes a member's record on to all neighbours but the one that it came from. */
  spreadMember(record: MemberRecord, from = ""): void {
    const { now } = this.#context;
    this.#members.set(record.name, { record, from });
    // A few go at once; in a storm of news they are collected, or each would be packets of its own.
    const wait = this.#burst.take(this.#hearers().length, now)
      ? now
      : this.#membersSentAt + this.#membersInterval();
    this.#membersAt = Math.min(this.#membersAt, Math.max(now, wait));
  }

  /** Passes a claim on. */
  spreadClaim(claim: Claim, from = ""): void {
    this.#claims.set(claim, from);
    this.#claimsAt = Math.min(
      this.#claimsAt,
      Math.max(this.#context.now, this.#flushedAt + BATCH_MS),
    );
  }

  /** Compares the digests of a beat with what is known, and asks when they differ for long. */
  beat(peer: Peer, beat: Beat): void {
    const { now, timing } = this.#context;
    if (this.agrees(peer.name, beat)) {
      peer.differsSince = Infinity;
      return;
    }
    if (peer.differsSince === Infinity) peer.differsSince = now;
    if (now - peer.differsSince < 3 * timing.interval) return;
    // who cannot be asked now is asked at its next beat, if it differs even then
    if (!this.#pace.take(1, now, this.#kept())) return;
    peer.differsSince = now;
    this.compare(peer.name);
  }

  /** Tells whether a beat's digests are my own. */
  agrees(from: string, beat: Beat): boolean {
    const { roster, claims } = this.#context;
    const record = roster.get(from);
    return (
      record !== undefined &&
      sameDigest(beat.members, roster.digest()) &&
      sameDigest(beat.table, claims.table()) &&
      (beat.joining || sameDigest(beat.own, claims.digest(record.life)))
    );
  }

  /** Sends a Summary of everything to a member; `answer`: wants its Summary in return. */
  compare(to: string, answer = true): void {
    const { outbox, now } = this.#context;
    const entries = this.#liveIds();
    let from = LOWEST_ID;
    for (let i = 0; i === 0 || i < entries.length; i += SUMMARY_ENTRIES) {
      const part = entries.slice(i, i + SUMMARY_ENTRIES);
      const last = i + SUMMARY_ENTRIES >= entries.length;
      const upTo = last ? HIGHEST_ID : (part.at(-1)?.id ?? HIGHEST_ID);
      const list = part.map(({ id, name }) => ({ id, digest: this.#memberDigest(name) }));
      outbox.send(to, { type: "summary", from, to: upTo, entries: list, answer });
      this.#pace.spend(1, now);
      from = upTo;
    }
  }

  /** Answers a Summary: asks for what differs, sends what the other lacks. */
  summary(from: string, summary: Summary): void {
    const { roster, now, timing } = this.#context;
    const theirs = new Set<string>();
    let differs = false;
    // Differing is in the nature of tables while claims pour in: who waits for none asks later.
    const isNew = roster.get(this.#context.self)?.status === "joining";
    const mayPull = isNew || this.#pace.take(1, now, this.#kept());
    let pulled = 0;
    const pull = (id: string, digest: Digest, record?: MemberRecord): void => {
      if (mayPull && pulled < PULLED) pulled += this.#pull(from, id, digest, record);
    };
    for (const { id, digest } of summary.entries) {
      theirs.add(id);
      const name = this.#host.nameOf(id);
      const record = name === undefined ? undefined : roster.get(name);
      // whether it is dead is being found out
      if (name !== undefined && this.#doubts.has(name)) continue;
      if (record === undefined || name === undefined) {
        pull(id, digest);
      } else if (!isLive(record)) {
        // dead, gone, or begun anew without having joined yet: it counts there, and must not
        this.#want(from, record.name, NO_CLAIMS);
        pull(id, digest, record);
      } else if (!sameDigest(digest, this.#memberDigest(name))) {
        pull(id, digest, record);
      } else continue;
      differs = true;
    }
    for (const { id, name } of this.#liveIds()) {
      if (id <= summary.from || id > summary.to || theirs.has(id)) continue;
      this.#want(from, name, undefined);
    }
    // they go together, and the last packet is one whatever its size
    this.#pace.spend(Math.ceil(pulled / MAX_PAYLOAD) - (mayPull && !isNew ? 1 : 0), now);
    if (!summary.answer || !differs) return;
    if (now - (this.#answeredAt.get(from) ?? -Infinity) < timing.interval) return;
    if (!this.#pace.take(1, now, this.#kept())) return;
    this.#answeredAt.set(from, now);
    this.compare(from, false);
  }

  /** Answers a Pull. */
  pull(from: string, pull: Pull): void {
    const name = this.#host.nameOf(pull.id);
    const record = name === undefined ? undefined : this.#context.roster.get(name);
    if (record === undefined) return;
    if (pull.buckets.length === 0) {
      this.#want(from, record.name, undefined);
      return;
    }
    const mine = this.#context.claims.buckets(record.life);
    const differing = new Set<number>();
    for (const [i, digest] of mine.entries()) {
      const theirs = pull.buckets[i];
      if (theirs === undefined || !sameDigest(digest, theirs)) differing.add(i);
    }
    this.#want(from, record.name, differing);
  }

  /** Takes a Page in. */
  page(from: string, page: Page): void {
    this.#host.learnMember(page.record, from, false);
    for (const claim of page.claims) this.#host.learnClaim(claim, from);
  }

  /** A member is gone for good. */
  forget(name: string): void {
    this.#answeredAt.delete(name);
  }

  /** Asks the subject itself whether what a comparison says of its death is true. */
  doubt(record: MemberRecord): void {
    const known = this.#doubts.get(record.name);
    if (known !== undefined && known.record.refutation >= record.refutation) return;
    const { now, random } = this.#context;
    // Of a heal many doubt the same many: each asks in an order of its own, and few are asked twice.
    const others = Math.max(0, this.#doubts.size - DOUBTS_AT_ONCE);
    const wait = Math.min(others * DOUBT_EACH_MS, DOUBT_WAIT_MS) * random();
    this.#doubts.set(record.name, { record, since: now, tries: 0, at: now + wait });
  }

  /** Sends what is due, and gives when to come back. */
  tick(): number {
    const { now } = this.#context;
    for (const doubt of this.#doubts.values()) this.#pursueDoubt(doubt);
    // Claims first: who says that it lives after all has given up what it said before it.
    if (now >= this.#claimsAt) this.#flushClaims();
    if (now >= this.#membersAt) this.#flushMembers();
    if (now >= this.#repeatAt) this.#repeatMembers();
    this.#flushPages();
    let next = Math.min(this.#membersAt, this.#repeatAt, this.#claimsAt);
    if (this.#pages.length + this.#wanted.size > 0) next = Math.min(next, now + BATCH_MS);
    for (const { at } of this.#doubts.values()) next = Math.min(next, at);
    return next;
  }

  /** The live members by their ids. */
  #liveIds(): readonly LiveId[] {
    const { roster } = this.#context;
    if (this.#liveRevision === roster.liveRevision) return this.#live;
    this.#liveRevision = roster.liveRevision;
    this.#live = [...roster.records()]
      .filter(isLive)
      .map(({ name }) => ({ id: this.#host.idOf(name), name }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    return this.#live;
  }

  #memberDigest(name: string): Digest {
    const { roster, claims } = this.#context;
    const sum = new DigestSum();
    const record = roster.get(name);
    const digest = roster.digestOf(name);
    if (digest !== undefined) sum.add(digest);
    if (record !== undefined) sum.add(claims.digest(record.life));
    return sum.value();
  }

  /**
   * Asks for what differs of a member: once, though after a heal all neighbours have the same to
   * tell. If the answer gets lost, the next comparison asks again.
   * @returns octets sent
   */
  #pull(from: string, id: string, digest: Digest, record?: MemberRecord): number {
    const { outbox, claims, now, timing } = this.#context;
    if (now - this.#pulledSince >= 2 * timing.interval) {
      this.#pulled.clear();
      this.#pulledSince = now;
    }
    // Whoever tells the same a second time was asked, and its answer got lost.
    const asked = this.#pulled.get(id);
    if (asked !== undefined && asked.from !== from && sameDigest(asked.digest, digest)) return 0;
    this.#pulled.set(id, { from, digest });
    // the digests of the buckets are more than the claims of most members
    const hasMany = record !== undefined && claims.size(record.life) > FEW_CLAIMS;
    const buckets = hasMany ? claims.buckets(record.life) : [];
    outbox.send(from, { type: "pull", id, buckets });
    return sizeOfPull(buckets.length);
  }

  #want(to: string, name: string, buckets: ReadonlySet<number> | undefined): void {
    const key = `${to}/${name}`;
    const known = this.#wanted.get(key);
    if (known === undefined) this.#wanted.set(key, { to, name, buckets });
    else if (known.buckets === undefined || buckets === undefined) known.buckets = undefined;
    else known.buckets = new Set([...known.buckets, ...buckets]);
  }

  /** Lays out the pages of what is next; false when there is nothing. */
  #layOut(): boolean {
    for (const [key, { to, name, buckets }] of this.#wanted) {
      this.#wanted.delete(key);
      const record = this.#context.roster.get(name);
      if (record === undefined) continue;
      this.#addPages(to, record, buckets);
      return true;
    }
    return false;
  }

  #addPages(to: string, record: MemberRecord, buckets: ReadonlySet<number> | undefined): void {
    if (buckets?.size === 0) {
      this.#pages.push({ to, page: { type: "page", record, claims: [] } });
      return;
    }
    const space = MESSAGE_ROOM - sizeOfRecord(record) - 2 * CLAIM_GROUP_SIZE;
    let claims: Claim[] = [];
    let room = space;
    for (const claim of this.#context.claims.records(record.life)) {
      if (buckets !== undefined && !buckets.has(bucketOf(claim.address))) continue;
      if (sizeOfClaim(claim) > room) {
        this.#pages.push({ to, page: { type: "page", record, claims } });
        claims = [];
        room = space;
      }
      claims.push(claim);
      room -= sizeOfClaim(claim);
    }
    this.#pages.push({ to, page: { type: "page", record, claims } });
  }

  /** Claims that wait go before all that compares: what is left over would never do for all hearers. */
  #kept(): number {
    return this.#claims.size > 0 ? this.#hearers().length : 0;
  }

  #flushPages(): void {
    const { outbox } = this.#context;
    while (this.#pages.length > 0 || this.#layOut()) {
      if (!this.#mayPage(this.#pages[0]?.to ?? "")) break;
      // Small pages share a datagram: what is paced are packets, not members.
      let room = MAX_PAYLOAD;
      const to = this.#pages[0]?.to;
      for (;;) {
        if (this.#pages.length === 0) this.#layOut();
        const next = this.#pages[0];
        if (next === undefined || next.to !== to) break;
        const size = sizeOfRecord(next.page.record) + next.page.claims.length * 24 + 40;
        if (size > room && room < MAX_PAYLOAD) break;
        room -= size;
        this.#pages.shift();
        outbox.send(next.to, next.page);
      }
    }
  }

  /** Whoever joins is not to wait until ten thousand claims have passed: now and then it has a page. */
  #mayPage(to: string): boolean {
    const { now, roster } = this.#context;
    if (this.#pace.take(1, now, this.#kept())) return true;
    if (roster.get(to)?.status !== "joining" || now < this.#pagedAt + BATCH_MS) return false;
    if (!this.#pace.take(1, now)) return false;
    this.#pagedAt = now;
    return true;
  }

  #flushMembers(): void {
    const { now } = this.#context;
    this.#membersAt = Infinity;
    this.#membersSentAt = now;
    this.#sendMembers([...this.#members.values()]);
    // A single record is worth repeating; of many, other paths and the comparison bring what is lost.
    if (this.#members.size < AT_ONCE && this.#repeats.size < AT_ONCE) {
      for (const [name, entry] of this.#members) this.#repeats.set(name, entry);
      this.#repeatAt = Math.min(this.#repeatAt, now + MEMBER_REPEAT_MS);
    }
    this.#members.clear();
  }

  #repeatMembers(): void {
    this.#repeatAt = Infinity;
    this.#sendMembers([...this.#repeats.values()]);
    this.#repeats.clear();
  }

  /** Between two batches of records: what is more than a batch waits. */
  #membersInterval(): number {
    return Math.max(BATCH_MS, (this.#hearers().length * 1000) / MEMBERS_PER_SECOND);
  }

  /**
   * Whom news go to: all neighbours, unless they are many, as in the second after a heal. Then those
   * that the rings make neighbours are enough, for every member is one of some, and whoever is joining,
   * for it is none of any yet.
   */
  #hearers(): readonly string[] {
    const { watched } = this.#host;
    if (watched.size <= FAN_OUT) return [...watched.keys()];
    const { roster } = this.#context;
    const isTold = ({ name, chosen }: Peer) => chosen || roster.get(name)?.status === "joining";
    return [...watched.values()].filter(isTold).map(({ name }) => name);
  }

  #sendMembers(entries: readonly News[]): void {
    for (const name of this.#hearers()) {
      let records: MemberRecord[] = [];
      let room = MESSAGE_ROOM;
      const send = () => {
        if (records.length > 0) this.#context.outbox.send(name, { type: "members", records });
      };
      for (const { record, from } of entries) {
        if (from === name) continue;
        const size = sizeOfRecord(record);
        if (size > room) {
          send();
          [records, room] = [[], MESSAGE_ROOM];
        }
        records.push(record);
        room -= size;
      }
      send();
    }
  }

  #flushClaims(): void {
    const { now } = this.#context;
    const names = this.#hearers();
    this.#flushedAt = now;
    while (this.#claims.size > 0 && this.#pace.take(names.length, now)) {
      const packet = this.#takePacket();
      for (const name of names) {
        const claims = packet.filter(({ from }) => from !== name).map(({ claim }) => claim);
        if (claims.length > 0) this.#context.outbox.send(name, { type: "claims", claims });
      }
    }
    this.#claimsAt = this.#claims.size > 0 ? now + BATCH_MS : Infinity;
  }

  /** Takes claims out of the queue, as many as fit a packet. */
  #takePacket(): { claim: Claim; from: string }[] {
    const packet: { claim: Claim; from: string }[] = [];
    let room = MESSAGE_ROOM;
    let group = "";
    for (const [claim, from] of this.#claims) {
      const kind = `${claim.life}${claim.address.includes(":") ? "6" : "4"}`;
      const size = sizeOfClaim(claim) + (kind === group ? 0 : CLAIM_GROUP_SIZE);
      if (size > room) break;
      room -= size;
      group = kind;
      packet.push({ claim, from });
      this.#claims.delete(claim);
    }
    return packet;
  }

  #pursueDoubt(doubt: Doubt): void {
    const { now, roster, outbox } = this.#context;
    const { record } = doubt;
    const known = roster.get(record.name);
    const isOver =
      known === undefined ||
      !isLive(known) ||
      known.life !== record.life ||
      known.refutation > record.refutation;
    if (isOver || (doubt.tries > 0 && this.#host.heardAt(record.name) > doubt.since)) {
      this.#doubts.delete(record.name);
      return;
    }
    if (now < doubt.at) return;
    if (doubt.tries >= DOUBT_TRIES) {
      this.#doubts.delete(record.name);
      this.#host.learnMember(record, "", true);
      return;
    }
    if (doubt.tries++ === 0) doubt.since = now;
    doubt.at = now + DOUBT_MS / DOUBT_TRIES;
    outbox.send(record.name, { type: "page", record, claims: [] });
    this.#host.ping(record.name);
  }
}
