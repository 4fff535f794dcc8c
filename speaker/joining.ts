/**
 * From a fresh process to an active member.
 *
 * - A life is accepted by an echo of one's own fresh nonce, or through a record from an accepted
 *   one. That is the whole defence against a replay across restarts.
 * - If anybody active is known: the members and claims are pulled from it, and when the digests equal
 *   its own and those of a second one, one is active.
 * - If nobody is: all wait until no new joiner has come for two seconds; then the lowest on the first
 *   ring says Start and all become active in the same instant, so that the first to boot does not
 *   end up with everything.
 */
import type { Life } from "./claims.ts";
import { sample, type Context } from "./context.ts";
import type { Beat, Challenge, Hello, Message, Response, Welcome } from "./messages.ts";
import { MAX_PAYLOAD } from "./messages.ts";
import { isLive, type Endpoint, type MemberRecord } from "./roster.ts";
import { Rings, type RingPosition } from "./rings.ts";
import { sizeOfRecord } from "./sizes.ts";
import { START_CAP_MS, START_QUIET_MS } from "./timing.ts";

/** Nonces of the last so many intervals are taken as fresh. */
const FRESH_NONCES = 10;
const NONCE_SPAN = 2 ** 48;
/** The next in line says Start so much later, should the one before it have died. */
const START_STAGGER_MS = 500;
/** Synchronised or not, a joiner does not wait longer for equal digests. */
const SYNC_CAP_MS = 10_000;
const JOINERS_TOLD = 12;
/** An active member looks for nodes that it never met so often, in intervals. */
const SEEK_INTERVALS = 10;
/** Of so many members each greets, of more as many by chance. */
const SEEKERS = 12;

/** What joining needs of the speaker. */
export interface JoinHost {
  readonly context: Context;
  ownRecord(): MemberRecord;
  /** Raises the own epoch above one that was known for this name. */
  raiseEpoch(known: number): void;
  /** Takes the life of a record as running now, and the record with it. */
  accept(record: MemberRecord): void;
  heardAt(name: string): number;
  /** Where datagrams for a node go. */
  endpointOf(name: string): Endpoint | undefined;
  compare(name: string): void;
  agrees(name: string, beat: Beat): boolean;
  /** Forgets a member that cannot be reached. */
  giveUp(name: string): void;
  /** Becomes active; cold: together with all others. */
  activate(how: "joined" | "cold" | "alone"): void;
}

/** A node that the API knows, and where its speaker would be. */
export interface Hint {
  readonly name: string;
  readonly endpoints: readonly Endpoint[];
}

/** Who sent a part of a handshake: a name that it says, a life that has the key, where it came from. */
export interface Stranger {
  readonly name: string;
  readonly life: Life;
  readonly endpoint: Endpoint;
}

/** Makes one speaker a member. */
export class Joining {
  /** Those whose state is taken over; also whom beats go to meanwhile. */
  sponsors: readonly string[] = [];
  readonly #host: JoinHost;
  readonly #context: Context;
  readonly #position: RingPosition | undefined;
  readonly #hints = new Map<string, readonly Endpoint[]>();
  #hintNames: string[] = [];
  #hintRings: Rings;
  readonly #agreed = new Set<string>();
  readonly #comparedAt = new Map<string, number>();
  readonly #triedAt = new Map<string, number>();
  #joinersKnown: MemberRecord[] = [];
  #joinersAt = -Infinity;
  #nonces: number[] = [];
  #nonceAt = -Infinity;
  #hasHints = false;
  #done = false;
  #startedAt: number;
  #helloAt: number;
  #newJoinerAt: number;
  #syncingSince = Infinity;
  /** When there last was somebody to join. */
  #sponsoredAt: number;
  #leads: MemberRecord[] = [];

  /** Begins with nothing known but what the host says. */
  constructor(host: JoinHost, position: RingPosition | undefined, now: number) {
    this.#host = host;
    this.#context = host.context;
    this.#position = position;
    this.#hintRings = new Rings(position);
    this.#startedAt = now;
    this.#helloAt = now;
    this.#newJoinerAt = now;
    this.#sponsoredAt = now;
  }

  /** Tells whether this speaker is still joining. */
  get isJoining(): boolean {
    return !this.#done;
  }

  /** The API knows no other node than this. */
  get isOnly(): boolean {
    return this.#hintNames.length === 0;
  }

  /** Takes the nodes that the API knows. */
  hint(hints: readonly Hint[]): void {
    this.#hints.clear();
    this.#hintRings = new Rings(this.#position);
    for (const { name, endpoints } of hints) {
      this.#hints.set(name, endpoints);
      this.#hintRings.add(name);
    }
    this.#hintNames = [...this.#hints.keys()].filter((name) => name !== this.#context.self);
    if (!this.#hasHints && !this.#done) {
      const { now } = this.#context;
      this.#hasHints = true;
      this.#startedAt = now;
      this.#newJoinerAt = now;
      this.#helloAt = now;
    }
  }

  /** Gives where the API says that a node's speaker is. */
  endpointOf(name: string): Endpoint | undefined {
    return this.#hints.get(name)?.[0];
  }

  /** Has a message sent where a node was last, and where the API says that it is: it may have moved. */
  reach(name: string, message: Message): void {
    const { outbox } = this.#context;
    outbox.send(name, message);
    const elsewhere = this.#elsewhere(name);
    if (elsewhere !== undefined) outbox.sendTo(name, elsewhere, message);
  }

  /**
   * Where the API says that a node is, when datagrams for it go to none of its endpoints there; of the
   * same family if possible.
   */
  #elsewhere(name: string): Endpoint | undefined {
    const usual = this.#host.endpointOf(name);
    const hinted = this.#hints.get(name) ?? [];
    if (usual === undefined) return undefined;
    if (hinted.some(({ address, port }) => address === usual.address && port === usual.port))
      return undefined;
    const isIPv6 = usual.address.includes(":");
    return hinted.find(({ address }) => address.includes(":") === isIPv6) ?? hinted[0];
  }

  /** Does what is due, and gives when to come back. */
  tick(): number {
    const { now } = this.#context;
    if (this.#done) return this.#seek();
    if (!this.#hasHints && this.sponsors.length === 0) return Infinity;
    if (now >= this.#helloAt) {
      this.#helloAt = now + this.#context.timing.interval;
      this.#chooseSponsors();
      if (this.sponsors.length === 0) this.#sayHello();
    }
    if (this.#isReady()) this.#finish("joined");
    else if (this.sponsors.length === 0) this.#consider();
    return this.#helloAt;
  }

  /** Answers a Hello: whoever has the key may know who is here, but has proved nothing yet. */
  hello({ name, life, endpoint }: Stranger, hello: Hello): void {
    const { outbox } = this.#context;
    const echo = hello.nonce;
    const welcome = this.#welcome(name, life);
    outbox.sendTo(name, endpoint, { type: "challenge", echo, nonce: this.#nonce(), welcome });
  }

  /** Answers a packet of a life that is not accepted. */
  challenge({ name, life, endpoint }: Stranger): void {
    const { outbox } = this.#context;
    const welcome = this.#welcome(name, life);
    outbox.sendTo(name, endpoint, { type: "challenge", echo: 0, nonce: this.#nonce(), welcome });
  }

  /** Takes a Challenge: it proves its sender if it echoes my nonce, and wants an echo itself. */
  challenged({ name, life, endpoint }: Stranger, challenge: Challenge): void {
    // What it knows of earlier lives of this name is taken from anybody: it only makes one later.
    const { epochForYou } = challenge.welcome;
    if (epochForYou >= this.#host.ownRecord().epoch) this.#host.raiseEpoch(epochForYou);
    if (this.#isFresh(challenge.echo)) this.#take(challenge.welcome);
    const welcome = this.#welcome(name, life);
    const response = { type: "response", echo: challenge.nonce, welcome } as const;
    this.#context.outbox.sendTo(name, endpoint, response);
  }

  /** Takes a Response. */
  response(response: Response): void {
    if (this.#isFresh(response.echo)) this.#take(response.welcome);
  }

  /** Takes a beat of a sponsor: are we of one view? */
  beat(from: string, beat: Beat): void {
    if (this.#done || !this.sponsors.includes(from)) return;
    if (this.#host.agrees(from, beat)) {
      this.#agreed.add(from);
      return;
    }
    this.#agreed.delete(from);
    const { now, timing } = this.#context;
    // A paced answer takes its time: asking again too soon would have all sent twice.
    const wait = 3 * timing.interval;
    if (now - (this.#comparedAt.get(from) ?? -Infinity) < wait) return;
    this.#comparedAt.set(from, now);
    this.#host.compare(from);
  }

  /** Takes the end of a cold start, and passes it on. */
  start(): void {
    if (this.#done || this.#knowsActive()) return;
    this.#finish("cold");
  }

  /** Gives those that are joining like oneself. */
  #joiners(): readonly MemberRecord[] {
    const { roster, self, now, timing } = this.#context;
    if (now - this.#joinersAt < timing.interval / 2) return this.#joinersKnown;
    this.#joinersAt = now;
    this.#joinersKnown = [];
    for (const record of roster.records()) {
      if (isJoiner(record) && record.name !== self) this.#joinersKnown.push(record);
    }
    return this.#joinersKnown;
  }

  /** A joiner that was not known before is there. */
  noticeJoiner(): void {
    this.#newJoinerAt = this.#context.now;
  }

  #finish(how: "joined" | "cold" | "alone"): void {
    const { outbox, random, self } = this.#context;
    this.#done = true;
    this.sponsors = [];
    this.#helloAt = this.#context.now;
    this.#host.activate(how);
    if (how !== "cold") return;
    // Nobody is anybody's neighbour yet, so the first news of oneself goes straight to some.
    const near = this.#hintRings.neighbours(self);
    const records = [this.#host.ownRecord()];
    const some = sample(this.#joiners(), 8, random).map(({ name }) => name);
    for (const name of new Set([...near, ...some])) {
      outbox.send(name, { type: "start" });
      outbox.send(name, { type: "members", records });
    }
  }

  /** Decides whether the wait for others is over. */
  #consider(): void {
    const { now, roster, self } = this.#context;
    if (!this.#hasHints || this.#knowsActive()) return;
    if (this.#hintNames.length === 0) {
      this.#finish("alone");
      return;
    }
    const others = this.#joiners();
    const quiet = now - this.#newJoinerAt;
    const waited = now - this.#startedAt;
    if (others.length === 0) {
      if (waited >= START_QUIET_MS) this.#finish("alone");
      return;
    }
    if (quiet < START_QUIET_MS && waited < START_CAP_MS) return;
    const place = others.filter(({ name }) => roster.compareByRing(name, self) < 0).length;
    const patience = Math.min(place, 8) * START_STAGGER_MS;
    if (quiet >= START_QUIET_MS + patience || waited >= START_CAP_MS + patience) {
      this.#finish("cold");
    }
  }

  #knowsActive(): boolean {
    return this.#context.roster.liveCount > 0 || this.#leads.length > 0;
  }

  #chooseSponsors(): void {
    const { now, timing, roster, random, self } = this.#context;
    const live: string[] = [];
    for (const record of roster.records()) {
      if (record.name !== self && isLive(record)) live.push(record.name);
    }
    const isFresh = (name: string) => {
      const heardAt = Math.max(this.#host.heardAt(name), this.#triedAt.get(name) ?? -Infinity);
      return now - heardAt < 5 * timing.interval;
    };
    const kept = this.sponsors.filter((name) => live.includes(name) && isFresh(name));
    const others = live.filter((name) => !kept.includes(name));
    const heard = others.filter((name) => this.#host.heardAt(name) > now - 5 * timing.interval);
    // The first must be one that is heard; the second may be any that the first knows.
    const pool = heard.length > 0 || kept.length === 0 ? heard : others;
    for (const name of sample(pool, 2 - kept.length, random)) {
      this.#triedAt.set(name, now);
      kept.push(name);
    }
    if (kept.length !== this.sponsors.length || kept.some((n) => !this.sponsors.includes(n))) {
      this.sponsors = kept;
      for (const name of this.#agreed) if (!kept.includes(name)) this.#agreed.delete(name);
      for (const name of kept) if (!this.#comparedAt.has(name)) this.#comparedAt.set(name, now);
    }
    if (kept.length > 0) this.#sponsoredAt = now;
    else if (now - this.#sponsoredAt >= START_QUIET_MS)
      for (const name of live) this.#host.giveUp(name);
    if (kept.length > 0 && this.#syncingSince === Infinity) this.#syncingSince = now;
    if (kept.length === 0) this.#syncingSince = Infinity;
  }

  #isReady(): boolean {
    const [first, second] = this.sponsors;
    if (first === undefined) return false;
    const { now, roster } = this.#context;
    if (now - this.#syncingSince >= SYNC_CAP_MS) return true;
    if (second === undefined) return this.#agreed.has(first) && roster.liveCount === 1;
    return this.#agreed.has(first) && this.#agreed.has(second);
  }

  #sayHello(): void {
    const { random, self } = this.#context;
    const near = this.#hintRings.neighbours(self);
    const targets = new Set([...near, ...sample(this.#hintNames, 4, random)]);
    for (const lead of this.#leads) targets.add(lead.name);
    this.#leads = [];
    const nonce = this.#nonce();
    for (const name of targets) this.#greet(name, nonce);
  }

  #greet(name: string, nonce: number): void {
    this.reach(name, { type: "hello", nonce, welcome: this.#welcome(name) });
  }

  /** An active member greets nodes that it never met: both may have started alone. */
  #seek(): number {
    const { now, timing, roster, random } = this.#context;
    if (this.#hintNames.length === 0) return Infinity;
    if (now < this.#helloAt) return this.#helloAt;
    this.#helloAt = now + SEEK_INTERVALS * timing.interval;
    const unmet = this.#hintNames.filter((name) => {
      const status = roster.get(name)?.status;
      return status === undefined || status === "joining";
    });
    const nonce = this.#nonce();
    // In a big cluster all would greet the same newcomer: some of them by chance are enough.
    const { liveCount } = roster;
    for (const name of sample(unmet, 2, random))
      if (liveCount <= SEEKERS || random() < SEEKERS / liveCount) this.#greet(name, nonce);
    return this.#helloAt;
  }

  #take(welcome: Welcome): void {
    const { self, epochForYou } = welcome;
    if (epochForYou >= this.#host.ownRecord().epoch) this.#host.raiseEpoch(epochForYou);
    this.#host.accept(self);
    if (this.#done) return;
    if (welcome.active !== undefined && !isLive(self)) this.#leads = [welcome.active];
    for (const record of welcome.joiners) {
      const known = this.#context.roster.get(record.name);
      if (known === undefined && isJoiner(record)) this.#host.accept(record);
    }
  }

  /** Says what is known; the receiver's own life is no news to it, an earlier life of its name is. */
  #welcome(to: string, life?: Life): Welcome {
    const { roster, random, self } = this.#context;
    const own = this.#host.ownRecord();
    let active: MemberRecord | undefined;
    let joiners: MemberRecord[] = [];
    if (this.#done) {
      active = isLive(own) ? own : undefined;
    } else {
      joiners = sample(this.#joiners(), JOINERS_TOLD, random).filter(({ name }) => name !== to);
      active = this.#someActive(self);
    }
    const room =
      MAX_PAYLOAD - 64 - sizeOfRecord(own) - (active === undefined ? 0 : sizeOfRecord(active));
    const told = fill(joiners, room);
    const known = roster.get(to);
    const epochForYou = known === undefined || known.life === life ? 0 : known.epoch;
    return { self: own, epochForYou, active, joiners: told };
  }

  #someActive(self: string): MemberRecord | undefined {
    if (this.#context.roster.liveCount === 0) return undefined;
    for (const record of this.#context.roster.records()) {
      if (record.name !== self && isLive(record)) return record;
    }
    return undefined;
  }

  #nonce(): number {
    const { now, timing, random } = this.#context;
    if (now - this.#nonceAt >= timing.interval) {
      this.#nonceAt = now;
      this.#nonces.push(1 + Math.floor(random() * (NONCE_SPAN - 1)));
      if (this.#nonces.length > FRESH_NONCES) this.#nonces.shift();
    }
    return this.#nonces.at(-1) ?? 0;
  }

  #isFresh(nonce: number): boolean {
    return nonce !== 0 && this.#nonces.includes(nonce);
  }
}

function isJoiner(record: MemberRecord): boolean {
  return record.status === "joining" && !record.dead;
}

function fill(records: readonly MemberRecord[], room: number): MemberRecord[] {
  const told: MemberRecord[] = [];
  let left = room;
  for (const record of records) {
    left -= sizeOfRecord(record);
    if (left < 0) break;
    told.push(record);
  }
  return told;
}
