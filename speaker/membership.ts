/**
 * Membership of one speaker: who is there, who is alive, whether oneself may answer. Puts together
 * watching, the fence, joining and gossip; what each does is written at its head. Pure: it is told
 * the time, it never reads it.
 *
 * A packet counts only if its life is accepted: through a handshake or a record from an accepted
 * life. Of everything else nothing changes but a counter, except that it is challenged.
 */
import { createHash } from "node:crypto";
import { BoundedMap } from "./bounded-map.ts";
import type { Claim, Life } from "./claims.ts";
import { count, type Context, type WitnessPurpose } from "./context.ts";
import { Fence } from "./fence.ts";
import { Gossip } from "./gossip.ts";
import { Joining, type Hint, type Stranger } from "./joining.ts";
import type { Beat, Message, Sender } from "./messages.ts";
import { Pace } from "./pace.ts";
import { Peer, type Witness } from "./peer.ts";
import { ReplayWindow } from "./replay.ts";
import {
  isLaterLife,
  isLive,
  type Endpoint,
  type Link,
  type MemberRecord,
  type Plight,
} from "./roster.ts";
import type { RingPosition } from "./rings.ts";
import { LOOP_GAP_MS, type Timing } from "./timing.ts";
import { Watch } from "./watch.ts";

/** Lives that are over and senders that are not accepted are remembered up to so many. */
const STRANGERS = 2048;
/** Of those that are not accepted so many are challenged a second, and at once. */
const CHALLENGES_PER_SECOND = 100;
const CHALLENGES_AT_ONCE = 30;
/** Ids of so many names are remembered. */
const IDS = 8192;
/** The dead that the API no longer knows are forgotten after so long. */
const FORGET_MS = 600_000;
/** For so many intervals after a member was found alive, the two sides still learn of each other. */
const HEALING = 10;

/** A datagram whose tag was right. */
export interface Packet {
  readonly sender: Sender;
  readonly counter: number;
  readonly source: Endpoint;
  readonly messages: readonly Message[];
}

const ids = new BoundedMap<string, string>(IDS);

/** Gives the id of a name: the first octets of its sha256, 16 hexadecimal digits. */
export function idOfName(name: string): string {
  // Asked for with each packet, and always of the same few.
  return ids.of(name, () => createHash("sha256").update(name).digest("hex").slice(0, 16));
}

/** Whom membership tells of what concerns addresses. */
export interface MembershipHost {
  readonly context: Context;
  readonly position: RingPosition | undefined;
  idOf(name: string): string;
  /** A member's standing, life or word on itself changed. */
  memberChanged(name: string): void;
  /** A life is over: nothing that it claimed stands. */
  lifeEnded(life: Life): void;
  /** A member that the API no longer knows is forgotten. */
  forgotten(name: string): void;
  /** Takes a claim in, and tells whether it was news. */
  claimed(claim: Claim): boolean;
  /** Everybody died, as far as the LAN's word goes. */
  provedGone(name: string): void;
  /** `isOnly`: the API knows no other node. */
  activated(how: "joined" | "cold" | "alone", isOnly: boolean): void;
  /** Own claims cease to be firm. */
  demote(): void;
  /** The version of the newest own claim, 0 if there was none. */
  lastVersion(): number;
  /** Messages about addresses. */
  handle(from: string, message: Message): void;
}

/** The membership of one speaker. */
export class Membership {
  readonly watch: Watch;
  readonly fence: Fence;
  readonly gossip: Gossip;
  readonly joining: Joining;
  readonly #host: MembershipHost;
  readonly #context: Context;
  readonly #peers = new Map<string, Peer>();
  readonly #paths = new Map<string, Endpoint>();
  readonly #windows = new BoundedMap<Life, ReplayWindow>(STRANGERS);
  readonly #challengedAt = new BoundedMap<Life, number>(STRANGERS);
  readonly #challenges: Pace;
  readonly #retired = new Set<Life>();
  readonly #names = new Map<string, string>();
  /** Lives of my name that I raised my epoch above. */
  readonly #rivals = new Set<Life>();
  #own: MemberRecord;
  #wanted: readonly string[] = [];
  #wantedRevision: unknown;
  #forgetAt: number;
  #expected = Infinity;
  #lastFrameAt: number;

  /** Begins with nothing known but what the host says. */
  constructor(host: MembershipHost, own: MemberRecord) {
    this.#host = host;
    this.#context = host.context;
    this.#own = own;
    const { context } = host;
    const { now } = context;
    this.#forgetAt = now + FORGET_MS;
    this.#lastFrameAt = now;
    this.#challenges = new Pace(CHALLENGES_PER_SECOND, CHALLENGES_AT_ONCE, now);
    this.#note(own.name);
    context.roster.apply(own, now);
    this.watch = new Watch(this.#watchHost(), now);
    this.fence = new Fence(this.#fenceHost());
    this.gossip = new Gossip(this.#gossipHost(), now);
    this.joining = new Joining(this.#joinHost(), host.position, now);
  }

  /** What this speaker says of itself. */
  get own(): MemberRecord {
    return this.#own;
  }

  /** Tells whether this speaker may answer at all: it is a member and not fenced. */
  get mayAnswer(): boolean {
    return isLive(this.#own) && this.fence.reason === undefined;
  }

  /** Begins a step: time goes on, and a loop that stood still is noticed before anything else. */
  begin(): void {
    const { now, timing, roster, self } = this.#context;
    this.watch.contact.advance(now);
    if (now - this.#expected <= LOOP_GAP_MS) return;
    this.watch.absolve();
    count(this.#context, "loop gaps");
    const hasOthers = roster.size > 1 || !this.joining.isOnly;
    if (roster.isLive(self) && hasOthers && this.watch.leaseAge() > timing.lease) {
      this.fence.raise("stall");
    }
  }

  /** Ends a step: does what is due, and gives when to come back. */
  tick(): number {
    const { now } = this.#context;
    let next = Math.min(this.joining.tick(), this.watch.tick());
    this.#noticeFailings();
    next = Math.min(next, this.fence.tick(), this.gossip.tick());
    if (now >= this.#forgetAt) this.#forgetOld();
    this.#expected = next;
    return next;
  }

  /** The step ends later than this at the earliest: other parts have deadlines of their own. */
  expect(next: number): void {
    this.#expected = next;
  }

  /** Takes a datagram in. */
  packet(packet: Packet): void {
    const { sender, counter, source, messages } = packet;
    const record = this.#context.roster.ofLife(sender.life);
    if (record === undefined || this.idOf(record.name) !== sender.id) {
      this.#stranger(packet);
      return;
    }
    if (sender.life === this.#context.life) {
      count(this.#context, "dropped own");
      return;
    }
    const peer = this.#peerOf(record);
    const freshness = peer.window.note(counter);
    if (freshness === "seen") {
      count(this.#context, "dropped replayed");
      return;
    }
    if (freshness === "newest") {
      this.#paths.set(record.name, source);
      this.watch.heard(peer);
      this.frameHeard();
    }
    for (const message of messages) this.#handle(peer, source, message);
  }

  /** A frame of anybody else came in. */
  frameHeard(): void {
    this.#lastFrameAt = this.#context.now;
    if (!this.#own.deaf) return;
    this.amend({ deaf: false });
    this.#host.demote();
    this.fence.raise("carrier");
  }

  /** Takes what the LAN says of a member's addresses, or of my own. */
  witness(subject: string, witness: Witness, purpose: WitnessPurpose): void {
    if (witness.heard) this.frameHeard();
    if (purpose === "check") {
      this.watch.checked(subject, witness);
      return;
    }
    if (subject === this.#context.self) this.fence.witness(witness);
    else this.watch.witness(subject, witness);
  }

  /** Takes another rhythm. */
  retimed(timing: Timing): void {
    this.#context.timing = timing;
    this.watch.retimed();
  }

  /** Tells when a member gave its last sign of life, as far as is known here. */
  lastSign(name: string): number {
    const { roster, timing } = this.#context;
    return Math.max(
      this.#peers.get(name)?.heardAt ?? -Infinity,
      roster.diedAt(name) - timing.suspect,
    );
  }

  /** Carrier is back: much may have happened. */
  carrierReturned(): void {
    const { timing, roster, self } = this.#context;
    if (roster.isLive(self) && this.watch.leaseAge() > timing.lease) this.fence.raise("carrier");
  }

  /** Takes the nodes that the API knows. */
  hint(hints: readonly Hint[]): void {
    for (const { name } of hints) this.#note(name);
    this.joining.hint(hints);
  }

  /** Says something new of oneself, to all. */
  amend(patch: Partial<Pick<MemberRecord, "status" | "deaf" | "rebalancing">>): void {
    this.#write({ ...this.#own, ...patch, revision: this.#own.revision + 1 });
  }

  /** Says what keeps this speaker from taking addresses, if anything does. */
  setPlight(plight: Plight | undefined): void {
    const { plight: before, ...rest } = this.#own;
    if (before === plight) return;
    const revision = rest.revision + 1;
    this.#write({ ...rest, ...(plight !== undefined && { plight }), revision });
  }

  /** Tells all how this speaker is reached from now on. */
  moved(endpoints: readonly Endpoint[], links: readonly Link[]): void {
    const { own } = this;
    // Interfaces come and go with every pod of the node: what is none of these is no news.
    if (isSame([own.endpoints, own.links], [endpoints, links])) return;
    this.#write({ ...this.#own, endpoints, links, revision: this.#own.revision + 1 });
  }

  /** Tells all which keys this speaker accepts from now on. */
  rekeyed(keyIds: readonly number[]): void {
    if (isSame(this.#own.keyIds, keyIds)) return;
    this.#write({ ...this.#own, keyIds, revision: this.#own.revision + 1 });
  }

  /** Gives where a datagram for a member goes. */
  endpointOf(name: string): Endpoint | undefined {
    return (
      this.#paths.get(name) ??
      this.#context.roster.get(name)?.endpoints[0] ??
      this.joining.endpointOf(name)
    );
  }

  /** Gives the id of a name. */
  idOf(name: string): string {
    return this.#host.idOf(name);
  }

  /** Keeps the table's digest in step with who counts. */
  #recount(name: string): void {
    const { roster, claims } = this.#context;
    const record = roster.get(name);
    if (record !== undefined) claims.setCounted(record.life, isLive(record));
  }

  #note(name: string): void {
    this.#names.set(this.idOf(name), name);
  }

  #peerOf(record: MemberRecord): Peer {
    const known = this.#peers.get(record.name);
    if (known?.life === record.life) return known;
    // what it sent as a stranger was seen too, and may not be replayed now that it is none
    const peer = new Peer(record.name, record.life, this.#windows.get(record.life));
    this.#windows.delete(record.life);
    this.#peers.set(record.name, peer);
    return peer;
  }

  /** A life that is over, not accepted, or nobody's. */
  #stranger(packet: Packet): void {
    const { sender, counter, source, messages } = packet;
    const { life } = sender;
    const window = this.#windows.of(life, () => new ReplayWindow());
    if (window.note(counter) === "seen") {
      count(this.#context, "dropped replayed");
      return;
    }
    const [message] = messages;
    if (
      message?.type === "hello" ||
      message?.type === "challenge" ||
      message?.type === "response"
    ) {
      const { self } = message.welcome;
      if (self.life !== life || this.idOf(self.name) !== sender.id) {
        count(this.#context, "dropped misnamed");
        return;
      }
      if (self.name === this.#context.self) count(this.#context, "duplicate name");
      this.#note(self.name);
      this.#handshake({ name: self.name, life, endpoint: source }, message);
      if (this.#context.roster.ofLife(life) !== undefined) this.#paths.set(self.name, source);
      return;
    }
    count(this.#context, this.#retired.has(life) ? "dropped old life" : "dropped not accepted");
    const name = this.#names.get(sender.id);
    const { now, timing } = this.#context;
    if (name === undefined || now - (this.#challengedAt.get(life) ?? -Infinity) < timing.interval) {
      return;
    }
    // A joiner hears from all who wait for it: the records of one of them make the others known.
    if (!this.#challenges.take(1, now)) return;
    this.#challengedAt.set(life, now);
    this.joining.challenge({ name, life, endpoint: source });
  }

  #handshake(from: Stranger, message: Message): void {
    if (message.type === "hello") this.joining.hello(from, message);
    else if (message.type === "challenge") this.joining.challenged(from, message);
    else if (message.type === "response") this.joining.response(message);
  }

  #handle(peer: Peer, source: Endpoint, message: Message): void {
    const { name } = peer;
    switch (message.type) {
      case "beat":
      case "ping":
      case "pong":
        this.#beat(peer, message);
        return;
      case "hello":
      case "challenge":
      case "response":
        this.#handshake({ name, life: peer.life, endpoint: source }, message);
        return;
      case "ask":
        if (isLive(this.#own)) this.watch.ask(name, message);
        return;
      case "evidence":
        this.watch.evidence(name, message);
        return;
      case "ping-for":
        if (isLive(this.#own)) this.watch.pingFor(name, message);
        return;
      case "ping-result":
        this.watch.pingResult(name, message);
        return;
      case "members":
        for (const record of message.records) this.#learnMember(record, name, true);
        return;
      case "claims":
        for (const claim of message.claims) this.#learnClaim(claim, name);
        return;
      case "summary":
        this.gossip.summary(name, message);
        return;
      case "pull":
        this.gossip.pull(name, message);
        return;
      case "page":
        this.gossip.page(name, message);
        return;
      case "start":
        this.joining.start();
        return;
      default:
        this.#host.handle(name, message);
    }
  }

  #beat(peer: Peer, beat: Beat): void {
    const { name } = peer;
    const record = this.#context.roster.get(name);
    if (record === undefined) return;
    this.watch.beat(peer, beat);
    const isKnown = beat.epoch === record.epoch && beat.refutation === record.refutation;
    if (record.dead && beat.epoch <= record.epoch && beat.refutation <= record.refutation) {
      // It may not know that it is dead here; the standing in this answer tells it.
      this.#tell(peer, () => this.watch.send(name, "pong"));
    } else if (!isKnown && (beat.epoch > record.epoch || beat.refutation > record.refutation)) {
      const pull = { type: "pull", id: this.idOf(name), buckets: [] } as const;
      this.#tell(peer, () => this.#context.outbox.send(name, pull));
    }
    if (beat.standing === "dead") this.#toldDead(peer, beat.standingRefutation);
    if (beat.type === "pong") this.fence.pong(name, beat);
    this.joining.beat(name, beat);
    if (isLive(this.#own) && !beat.joining && isLive(record)) this.gossip.beat(peer, beat);
  }

  /** Does something of which one packet in half an interval is enough. */
  #tell(peer: Peer, act: () => void): void {
    const { now, timing } = this.#context;
    if (now - peer.toldAt < timing.interval / 2) return;
    peer.toldAt = now;
    act();
  }

  #toldDead(peer: Peer, refutation: number): void {
    if (refutation < this.#own.refutation) {
      const message = { type: "members", records: [this.#own] } as const;
      this.#tell(peer, () => this.#context.outbox.send(peer.name, message));
      return;
    }
    this.#refute(refutation, this.#fenceAsDead(peer.name));
  }

  /**
   * Told so by one that is dead to me, or was until now, this is a partition healing: then everybody
   * is told to be dead, and if all stopped nobody would be left to answer.
   *
   * Else others may have taken over, and their claims are not firm yet. Mine cease to be firm in the
   * word that says that I live, or the heirs would yield to one that is fenced, and all moved twice.
   * @returns the version up to which they do; undefined of a heal
   */
  #fenceAsDead(by: string): number | undefined {
    const { roster, self, now, timing } = this.#context;
    const isHealing = !roster.isLive(by) || now - roster.roseAt(by) < HEALING * timing.interval;
    if (isHealing || !roster.isLive(self)) return undefined;
    const humbled = this.#host.lastVersion();
    this.#host.demote();
    this.fence.raise("told-dead");
    return humbled;
  }

  /** `humbled`: own claims up to this version are not firm any more. */
  #refute(refutation: number, humbled: number | undefined): void {
    count(this.#context, "refutations");
    const own = { ...this.#own, refutation: refutation + 1 };
    if (humbled === undefined) this.#write(own);
    else this.#write({ ...own, humbled, revision: own.revision + 1 });
  }

  #write(record: MemberRecord): void {
    const { roster, now, self } = this.#context;
    this.#own = record;
    roster.apply(record, now);
    this.#recount(self);
    this.gossip.spreadMember(record);
    this.#host.memberChanged(self);
  }

  /** Takes a member's record in; if it is news, or changes what is believed, it is passed on. */
  #learnMember(news: MemberRecord, from: string, isNews: boolean): void {
    const { roster, now, self } = this.#context;
    if (news.name === self) {
      this.#learnOfSelf(news, from, isNews);
      return;
    }
    const before = roster.get(news.name);
    const isDeath = news.dead && before?.life === news.life;
    if (isDeath && !isNews && isLive(before) && isLive(this.#own)) {
      const isCurrent = news.epoch >= before.epoch && news.refutation >= before.refutation;
      if (isCurrent) this.gossip.doubt(news);
      return;
    }
    this.#note(news.name);
    const change = roster.apply(news, now);
    if (change === "none") return;
    this.#recount(news.name);
    const after = roster.get(news.name);
    if (before !== undefined && change === "life") {
      this.#retire(before.life);
      // where it was before says nothing, if it was not heard itself
      if (from !== news.name) this.#paths.delete(news.name);
    }
    if (after === undefined) return;
    if (after.status === "joining" && before?.life !== after.life) this.joining.noticeJoiner();
    if (isLive(this.#own)) this.gossip.spreadMember(after, from);
    this.#host.memberChanged(news.name);
  }

  #retire(life: Life): void {
    if (this.#retired.size >= STRANGERS) this.#retired.clear();
    this.#retired.add(life);
    this.#windows.delete(life);
    this.#host.lifeEnded(life);
  }

  #learnOfSelf(news: MemberRecord, from: string, isNews: boolean): void {
    const own = this.#own;
    const { outbox } = this.#context;
    if (news.life === own.life) {
      if (!news.dead || news.epoch !== own.epoch) return;
      if (news.refutation < own.refutation) {
        if (from !== "") outbox.send(from, { type: "members", records: [own] });
        return;
      }
      this.#refute(news.refutation, isNews ? this.#fenceAsDead(from) : undefined);
      return;
    }
    if (!isLaterLife(news, own)) {
      if (isLive(news) && from !== "") outbox.send(from, { type: "members", records: [own] });
      return;
    }
    // Another life of my name: an earlier one whose epoch I did not know, or a second one alive.
    count(this.#context, "duplicate name");
    if (isLive(news) && this.#rivals.has(news.life)) {
      this.fence.raise("superseded");
      return;
    }
    this.#rivals.add(news.life);
    this.#raiseEpoch(news.epoch);
  }

  #raiseEpoch(known: number): void {
    if (known < this.#own.epoch) return;
    this.#write({ ...this.#own, epoch: known + 1, revision: this.#own.revision + 1 });
  }

  #learnClaim(claim: Claim, from: string): void {
    const { life, roster } = this.#context;
    if (claim.life === life) return;
    // Of a life that is unknown nothing is kept: a comparison brings it with the member's record.
    if (roster.ofLife(claim.life) === undefined) return;
    if (!this.#host.claimed(claim)) return;
    if (isLive(this.#own)) this.gossip.spreadClaim(claim, from);
  }

  /** Somebody whom I watch is dead: tell all, and the dead one too, that it may contradict. */
  #died(name: string, alone: boolean): void {
    const { roster, outbox, now } = this.#context;
    const record = roster.get(name);
    if (record === undefined || !isLive(record)) return;
    count(this.#context, alone ? "deaths found alone" : "deaths found");
    if (alone) this.#host.provedGone(name);
    const dead = { ...record, dead: true };
    roster.apply(dead, now);
    this.#recount(name);
    this.gossip.spreadMember(dead);
    outbox.send(name, { type: "members", records: [dead] });
    this.#host.memberChanged(name);
  }

  #noticeFailings(): void {
    const { now, timing, roster, self } = this.#context;
    if (!roster.isLive(self)) return;
    if (this.watch.isUnheard) this.fence.raise("unheard");
    const { contact } = this.watch;
    const silence = Math.min(contact.running - contact.companyRunning, now - this.#lastFrameAt);
    if (
      !this.#own.deaf &&
      silence >= timing.suspect &&
      roster.liveCount > 1 &&
      this.#isSolicited()
    ) {
      this.amend({ deaf: true });
      this.fence.raise("deaf");
    }
  }

  /** The LAN was asked since the last frame came in, and nothing did. */
  #isSolicited(): boolean {
    for (const { witness } of this.watch.watched.values()) {
      if (witness !== undefined && !witness.heard && witness.at > this.#lastFrameAt) return true;
    }
    return false;
  }

  #forgetOld(): void {
    const { now, roster } = this.#context;
    this.#forgetAt = now + FORGET_MS / 10;
    for (const record of [...roster.records()]) {
      if (isLive(record) || record.name === this.#context.self) continue;
      const isGone = now - roster.diedAt(record.name) > FORGET_MS;
      if (!isGone || this.joining.endpointOf(record.name) !== undefined) continue;
      roster.forget(record.name);
      this.#peers.delete(record.name);
      this.#paths.delete(record.name);
      this.#names.delete(this.idOf(record.name));
      this.gossip.forget(record.name);
      this.#host.forgotten(record.name);
      this.#retire(record.life);
    }
  }

  /** Those to exchange beats with; the same array as long as nothing changed. */
  #wantedNow(): readonly string[] {
    const { roster, self } = this.#context;
    if (this.joining.isJoining) return this.joining.sponsors;
    if (!roster.isLive(self)) return [];
    if (this.#wantedRevision !== roster.liveRevision) {
      this.#wantedRevision = roster.liveRevision;
      const wanted = roster.neighbours(self);
      const isSame =
        wanted.length === this.#wanted.length && wanted.every((n, i) => n === this.#wanted[i]);
      // A member that began a new life is chosen again under the same name.
      if (!isSame || wanted.some((n) => this.#peers.get(n)?.life !== roster.get(n)?.life)) {
        this.#wanted = wanted;
      }
    }
    return this.#wanted;
  }

  #watchHost() {
    const { context } = this.#host;
    return {
      context,
      peer: (name: string) => {
        const record = context.roster.get(name);
        return record === undefined ? undefined : this.#peerOf(record);
      },
      ownRecord: () => this.#own,
      reach: (name: string, message: Message) => this.joining.reach(name, message),
      wanted: () => this.#wantedNow(),
      beatFields: () => ({
        own: context.claims.digest(context.life),
        table: context.claims.table(),
        members: context.roster.digest(),
        joining: this.joining.isJoining,
        versions: context.versions,
      }),
      died: (name: string, alone: boolean) => this.#died(name, alone),
      noticed: (name: string) => {
        context.actions.push({ type: "member", name });
      },
    };
  }

  #fenceHost() {
    return {
      context: this.#context,
      judges: () => [...this.watch.watched.keys()],
      ping: (name: string) => this.watch.send(name, "ping"),
      nextSequence: () => this.watch.nextSequence,
      heardAt: () => this.watch.contact.heardAt,
      compare: (name: string) => this.gossip.compare(name),
      agrees: (beat: Beat) => this.#agreesInAll(beat),
      demote: () => this.#host.demote(),
    };
  }

  #agreesInAll(beat: Beat): boolean {
    const { roster } = this.#context;
    const [table, members] = [this.#context.claims.table(), roster.digest()];
    return (
      beat.table.low === table.low &&
      beat.table.high === table.high &&
      beat.members.low === members.low &&
      beat.members.high === members.high
    );
  }

  #gossipHost() {
    return {
      context: this.#context,
      watched: this.watch.watched,
      idOf: (name: string) => this.idOf(name),
      nameOf: (id: string) => this.#names.get(id),
      learnMember: (record: MemberRecord, from: string, isNews: boolean) =>
        this.#learnMember(record, from, isNews),
      learnClaim: (claim: Claim, from: string) => this.#learnClaim(claim, from),
      heardAt: (name: string) => this.#peers.get(name)?.heardAt ?? -Infinity,
      ping: (name: string) => this.watch.send(name, "ping"),
    };
  }

  #joinHost() {
    const context = this.#context;
    return {
      context,
      ownRecord: () => this.#own,
      raiseEpoch: (known: number) => this.#raiseEpoch(known),
      accept: (record: MemberRecord) => this.#accept(record),
      endpointOf: (name: string) => this.endpointOf(name),
      heardAt: (name: string) => this.#peers.get(name)?.heardAt ?? -Infinity,
      compare: (name: string) => this.gossip.compare(name),
      agrees: (name: string, beat: Beat) => this.gossip.agrees(name, beat),
      giveUp: (name: string) => {
        const life = context.roster.get(name)?.life;
        context.roster.forget(name);
        if (life !== undefined) this.#host.lifeEnded(life);
        this.#host.memberChanged(name);
      },
      activate: (how: "joined" | "cold" | "alone") => {
        this.amend({ status: "active" });
        this.#host.activated(how, this.joining.isOnly);
      },
    };
  }

  /** Takes a life as running now: it proved so, or one that did knows it. */
  #accept(record: MemberRecord): void {
    const { roster, self } = this.#context;
    if (record.name === self) return;
    const before = roster.get(record.name);
    // A new life of a known name ends the old one, even before it knows which epoch it has to take.
    if (before !== undefined && before.life !== record.life && isLive(before)) {
      if (!isLaterLife(record, before)) this.#died(before.name, false);
    }
    this.#learnMember(record, "", true);
  }
}

/** Of plain data, made by the same hand both times. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
