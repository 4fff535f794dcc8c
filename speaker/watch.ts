/**
 * Watching the neighbours: beats, silence, suspicion, death. A suspicion becomes a death only when
 * nobody who can be asked has newer evidence, and somebody agrees.
 *
 * - Silence is counted in contact time (see `contact.ts`), from the newest packet of the neighbour.
 * - All co-watchers asked agree: dead at once. Some agree and nobody objects in the voting time: dead.
 * - None answers: three strangers ping the suspect; one says "not heard" and none "heard": dead.
 * - A suspect whose MAC still answers on the LAN for its addresses is not dead, whatever is not heard
 *   of it: a firewall, a wrong key. Nobody takes its addresses, or two would answer.
 * - One address of each neighbour that is heard is asked for on the LAN once a second: the beats may
 *   travel another link than its addresses live on. Nothing follows from it but a reason.
 * - Nobody answers anything: the alone rule. Dead only if the suspect's MAC does not answer on the
 *   LAN and frames of others still come in.
 */
import type { Address } from "../packet/address/address.ts";
import { count, sample, type Context } from "./context.ts";
import { Contact } from "./contact.ts";
import type { Ask, Beat, Evidence, Message, PingFor, PingResult, Standing } from "./messages.ts";
import { Peer, type Suspicion, type Witness } from "./peer.ts";
import type { MemberRecord } from "./roster.ts";
import {
  ANSWERING_MS,
  ASK_INTERVAL_MS,
  ASKS,
  CHECK_MS,
  CHECKS,
  PING_FOR_MS,
  PING_FOR_PATIENCE_MS,
} from "./timing.ts";

const SENT_MEMORY = 256;
/** Round trips kept until somebody asks for them. */
const ROUND_TRIPS = 256;
/** Addresses of a suspect that the LAN is asked for. */
const WITNESS_ADDRESSES = 8;
/** Members believed dead that are tried by chance, beside the ideal neighbours. */
const HEAL_SAMPLE = 8;
/** How long a verdict of the LAN is worth something, in intervals. */
const WITNESS_LASTS = 2.5;

/** What watching needs to know of the speaker, and whom it tells. */
export interface WatchHost {
  readonly context: Context;
  /** The name's peer, made anew if its life changed; undefined for strangers. */
  peer(name: string): Peer | undefined;
  ownRecord(): MemberRecord;
  /** Has a message sent where a member was last, and where the API says that it is. */
  reach(name: string, message: Message): void;
  /** Those to exchange beats with. */
  wanted(): readonly string[];
  beatFields(): Pick<Beat, "own" | "table" | "members" | "joining" | "versions">;
  died(name: string, alone: boolean): void;
  /** Something is the matter with a member, or no longer, that does not change its standing. */
  noticed(name: string): void;
}

/** What is odd about a neighbour that is not dead. */
export interface Oddity {
  readonly reason: "PeerUnreachableButAnswering" | "NotAnswering";
  readonly since: number;
  /** The address that was asked for in vain. */
  readonly address?: Address;
}

interface Errand {
  readonly asker: string;
  readonly subject: string;
  readonly until: number;
}

/** Watches the neighbours of one speaker. */
export class Watch {
  readonly contact: Contact;
  /** Those that beats are exchanged with at the moment. */
  readonly watched = new Map<string, Peer>();
  /** No acknowledgement from anybody who is heard. */
  isUnheard = false;
  readonly #host: WatchHost;
  readonly #context: Context;
  readonly #sentAt = new Float64Array(SENT_MEMORY).fill(-Infinity);
  #sequence = 0;
  #beatAt: number;
  #healAt: number;
  #lonelyAt = 0;
  #lonelyRounds = 0;
  #hearsSince = Infinity;
  #wantedKey: unknown;
  #errands: Errand[] = [];
  #checkAt: number;
  /** Something may be due earlier than `#nextAt` says. */
  #touched = true;
  #nextAt = -Infinity;
  #seenRevision = -1;
  #roundTrips: number[] = [];

  /** Watches nobody yet. */
  constructor(host: WatchHost, now: number) {
    this.#host = host;
    this.#context = host.context;
    const { interval, contact } = host.context.timing;
    this.contact = new Contact(contact, now);
    // Beats of all nodes shall not fall together.
    this.#beatAt = now + host.context.random() * interval;
    this.#healAt = now + host.context.random() * 5 * interval;
    this.#checkAt = now + host.context.random() * CHECK_MS;
  }

  /** Another interval is in force: what was measured by the old one accuses nobody. */
  retimed(): void {
    const { now, timing } = this.#context;
    this.contact.setLimit(timing.contact);
    for (const peer of this.watched.values()) {
      peer.mark = Math.max(peer.mark, this.contact.time - timing.ping);
      peer.pingAt = now;
    }
    this.#beatAt = Math.min(this.#beatAt, now + timing.interval);
    this.#touched = true;
    this.absolve();
  }

  /** Takes out the round trips measured since the last call, in milliseconds. */
  takeRoundTrips(): number[] {
    const taken = this.#roundTrips;
    this.#roundTrips = [];
    return taken;
  }

  /** Tells what is odd about a neighbour. */
  oddity(name: string): Oddity | undefined {
    const peer = this.watched.get(name);
    if (peer === undefined) return undefined;
    const { answeringSince, excusedAt, unansweredSince, checked } = peer;
    if (answeringSince !== Infinity && this.#context.now - excusedAt < ANSWERING_MS) {
      return { reason: "PeerUnreachableButAnswering", since: answeringSince };
    }
    if (unansweredSince === Infinity || checked === undefined) return undefined;
    return { reason: "NotAnswering", since: unansweredSince, address: checked };
  }

  /** The sequence that the next packet will carry. */
  get nextSequence(): number {
    return this.#sequence + 1;
  }

  /** Notes a packet of an accepted life. Only one that is newer than all before is a sign of life. */
  heard(peer: Peer): void {
    const { now } = this.#context;
    const counts = this.#context.roster.isLive(peer.name);
    // Silence of others begins to count again.
    if (!this.contact.lasts(now) || peer.suspicion !== undefined) this.#touched = true;
    this.contact.heard(now, counts);
    if (counts) this.#lonelyRounds = 0;
    peer.heardAt = now;
    peer.mark = this.contact.time;
    peer.witness = undefined;
    peer.suspicion = undefined;
    if (peer.answeringSince !== Infinity) {
      peer.answeringSince = Infinity;
      this.#host.noticed(peer.name);
    }
    if (this.#errands.length > 0) this.#finishErrands(peer.name, true);
  }

  /** Takes a Beat, Ping or Pong in. */
  beat(peer: Peer, beat: Beat): void {
    const { now } = this.#context;
    if (beat.sequence > peer.sequence) {
      peer.sequence = beat.sequence;
      peer.sequenceAt = now;
    }
    if (beat.ack > peer.acknowledged && beat.ack <= this.#sequence) {
      peer.acknowledged = beat.ack;
      if (this.#sequence - beat.ack < SENT_MEMORY) {
        peer.ackedSentAt = this.#sentAt[beat.ack % SENT_MEMORY] ?? -Infinity;
        const roundTrip = now - peer.ackedSentAt - beat.ackAgeMs;
        if (now - peer.ackedSentAt < this.#context.timing.unheard) this.isUnheard = false;
        if (this.#roundTrips.length < ROUND_TRIPS) this.#roundTrips.push(Math.max(0, roundTrip));
      }
    }
    if (beat.type === "beat" && beat.guest && beat.sequence >= peer.sequence) {
      // It beats me because I beat it. If I do so for the same reason, both may stop.
      this.#touched ||= !peer.chosen && peer.guestUntil > now;
      peer.guestUntil = -Infinity;
    } else if (beat.type === "beat" && !beat.guest) {
      peer.guestUntil = now + this.#context.timing.guest;
      if (!this.watched.has(peer.name)) {
        this.watched.set(peer.name, peer);
        this.#touched = true;
      }
    } else if (beat.type === "ping") {
      this.send(peer.name, "pong");
    }
  }

  /** Gives how long ago I sent the newest packet that all but one of my neighbours acknowledged. */
  leaseAge(): number {
    const times: number[] = [];
    for (const peer of this.watched.values()) {
      if (this.#context.roster.isLive(peer.name)) times.push(peer.ackedSentAt);
    }
    times.sort((a, b) => a - b);
    const oldest = times[times.length > 1 ? 1 : 0] ?? -Infinity;
    return this.#context.now - oldest;
  }

  /** Forgets all suspicions: who stood still judges nobody. */
  absolve(): void {
    for (const peer of this.watched.values()) peer.suspicion = undefined;
    // Nor does it know whether anybody heard it meanwhile: it sent nothing.
    this.#hearsSince = Infinity;
    this.isUnheard = false;
    this.#errands = [];
    this.#touched = true;
  }

  /**
   * Does what is due, and gives when to come back. Most packets put off what is due and change nothing
   * else: then nobody is looked at.
   */
  tick(): number {
    const { now, roster } = this.#context;
    const isSame =
      !this.#touched &&
      this.#seenRevision === roster.liveRevision &&
      this.#wantedKey === this.#host.wanted();
    if (isSame && now < this.#nextAt) return this.#nextAt;
    this.#touched = false;
    this.#seenRevision = roster.liveRevision;
    this.#nextAt = this.#run(now);
    return this.#nextAt;
  }

  #run(now: number): number {
    this.#renew();
    if (now >= this.#beatAt) this.#beatAll();
    if (now >= this.#healAt) this.#heal();
    this.#lonely();
    let next = Math.min(this.#beatAt, this.#healAt);
    for (const peer of this.watched.values()) next = Math.min(next, this.#check(peer));
    for (const errand of this.#errands) next = Math.min(next, errand.until);
    if (next <= now || this.#errands.length > 0) this.#expireErrands();
    return Math.min(next, this.#lonelyNext());
  }

  /** Sends a Beat, Ping or Pong to a member. */
  send(to: string, type: Beat["type"]): void {
    if (type !== "beat") this.#number();
    this.#context.outbox.send(to, this.#compose(to, type));
  }

  /** Answers what I know of somebody's suspect. */
  ask(from: string, ask: Ask): void {
    const { subject, epoch, refutation } = ask;
    const record = this.#context.roster.get(subject);
    const isDead =
      record !== undefined &&
      (record.epoch > epoch ||
        (record.epoch === epoch && record.dead && record.refutation >= refutation));
    const peer = this.watched.get(subject);
    const silence = peer === undefined ? 0 : this.contact.time - peer.mark;
    const isAnswering = peer !== undefined && this.#isAnswering(peer);
    const seen = isAnswering ? "answering" : peer === undefined ? "unknown" : "heard";
    const finding = isDead ? "dead" : seen;
    const ageMs = Math.max(0, Math.min(Math.round(silence), 0xffffffff));
    const evidence = { type: "evidence", subject, epoch, refutation, finding, ageMs } as const;
    this.#context.outbox.send(from, evidence);
  }

  /** Takes what a co-watcher knows of my suspect. */
  evidence(from: string, evidence: Evidence): void {
    const peer = this.watched.get(evidence.subject);
    const suspicion = peer?.suspicion;
    if (peer === undefined || suspicion === undefined) return;
    if (suspicion.epoch !== evidence.epoch || suspicion.refutation !== evidence.refutation) return;
    this.#touched = true;
    if (evidence.finding === "heard" && evidence.ageMs < this.#context.timing.evidence) {
      peer.mark = Math.max(peer.mark, this.contact.time - evidence.ageMs);
      peer.suspicion = undefined;
      return;
    }
    if (evidence.finding === "answering") {
      this.#excuse(peer);
      return;
    }
    if (suspicion.stage !== "asking" || !suspicion.asked.has(from)) return;
    suspicion.asked.set(from, evidence.finding === "unknown" ? "unknown" : "agrees");
  }

  /** Pings a suspect for somebody who hears no co-watcher of it. */
  pingFor(from: string, { subject }: PingFor): void {
    const { now, timing, outbox } = this.#context;
    // Whoever heard it lately need not ask: in a small cluster the helper is the co-watcher whose
    // evidence was lost on its way.
    const age = now - (this.#host.peer(subject)?.heardAt ?? -Infinity);
    if (age < timing.evidence) {
      const ageMs = Math.round(age);
      outbox.send(from, { type: "ping-result", subject, heard: true, ageMs });
      return;
    }
    const until = now + PING_FOR_PATIENCE_MS;
    this.#touched = true;
    if (this.#errands.length < 64) this.#errands.push({ asker: from, subject, until });
    this.send(subject, "ping");
  }

  /** Takes what a stranger found out about my suspect. */
  pingResult(from: string, { subject, heard, ageMs }: PingResult): void {
    const peer = this.watched.get(subject);
    const suspicion = peer?.suspicion;
    if (peer === undefined || suspicion?.stage !== "pinging-for") return;
    if (!suspicion.asked.has(from)) return;
    this.#touched = true;
    if (!heard) {
      suspicion.asked.set(from, "agrees");
      return;
    }
    if (ageMs >= this.#context.timing.evidence) return;
    peer.mark = Math.max(peer.mark, this.contact.time - ageMs);
    peer.suspicion = undefined;
  }

  /** Takes what the LAN says of an address of a neighbour that is heard. */
  checked(subject: string, { answered, heard }: Witness): void {
    const peer = this.watched.get(subject);
    const address = peer?.checked;
    if (peer === undefined || address === undefined) return;
    const { claims, outbox, now, timing } = this.#context;
    const isHeld = claims.held(peer.life, address) !== undefined;
    if (answered || !isHeld) {
      if (peer.unansweredSince !== Infinity) this.#host.noticed(subject);
      peer.failures = 0;
      peer.unansweredSince = Infinity;
      peer.checked = undefined;
      return;
    }
    // Where no frame comes in, or it is not heard either, silence says nothing of it.
    if (!heard || now - peer.heardAt > timing.contact) return;
    peer.failures++;
    if (peer.failures < CHECKS) return;
    outbox.send(subject, { type: "unanswered", address });
    if (peer.unansweredSince !== Infinity) return;
    peer.unansweredSince = now;
    count(this.#context, "addresses not answered for");
    this.#host.noticed(subject);
  }

  /** Takes what the LAN says of a suspect. */
  witness(subject: string, witness: Witness): void {
    this.#touched = true;
    if (!witness.heard) this.contact.heardNothing();
    const peer = this.watched.get(subject);
    if (peer === undefined || peer.heardAt >= witness.at) return;
    peer.witness = witness;
    if (witness.answered) peer.answeredAt = witness.at;
    if (witness.answered && peer.suspicion !== undefined) this.#excuse(peer);
  }

  /** Tells whether the LAN said lately that a silent peer's MAC answers. */
  #isAnswering(peer: Peer): boolean {
    const { now, timing } = this.#context;
    return now - peer.answeredAt < WITNESS_LASTS * timing.interval;
  }

  /** It lives, only our packets do not pass: it is pinged on and suspected again. */
  #excuse(peer: Peer): void {
    const { now } = this.#context;
    if (now - peer.excusedAt >= ANSWERING_MS || peer.answeringSince === Infinity) {
      peer.answeringSince = now;
      peer.excusedAt = now;
      count(this.#context, "unreachable but answering");
      this.#host.noticed(peer.name);
    }
    peer.excusedAt = now;
    peer.mark = this.contact.time - this.#context.timing.ping;
    peer.suspicion = undefined;
  }

  /** Asks the LAN whether a silent peer's MAC still answers for its addresses. */
  #askLan(peer: Peer): void {
    const { now, timing, claims, actions } = this.#context;
    if (now < peer.witnessAt) return;
    peer.witnessAt = now + timing.interval;
    const addresses = [];
    for (const claim of claims.records(peer.life)) {
      if (claim.released) continue;
      if (addresses.push(claim.address) >= WITNESS_ADDRESSES) break;
    }
    actions.push({ type: "witness", subject: peer.name, addresses, purpose: "suspicion" });
  }

  /** Asks the LAN for one address of each neighbour that is heard. */
  #checkAll(): void {
    const { now, actions, roster, self } = this.#context;
    this.#checkAt = now + CHECK_MS;
    if (!roster.isLive(self)) return;
    for (const peer of this.watched.values()) {
      peer.checked ??= this.#someAddress(peer);
      if (peer.checked === undefined || !roster.isLive(peer.name)) continue;
      const addresses = [peer.checked];
      actions.push({ type: "witness", subject: peer.name, addresses, purpose: "check" });
    }
  }

  /** Any address that a member holds, by chance. */
  #someAddress(peer: Peer): Address | undefined {
    const { claims, random } = this.#context;
    let place = Math.floor(random() * claims.count(peer.life));
    for (const claim of claims.records(peer.life)) {
      if (!claim.released && place-- <= 0) return claim.address;
    }
    return undefined;
  }

  /** Keeps the set of neighbours in step with the rings. */
  #renew(): void {
    const { now, roster } = this.#context;
    const wanted = this.#host.wanted();
    if (this.#wantedKey !== wanted) {
      this.#wantedKey = wanted;
      for (const peer of this.watched.values()) peer.chosen = false;
      for (const name of wanted) this.#choose(name);
    }
    for (const peer of this.watched.values()) {
      const record = roster.get(peer.name);
      const isOver = record === undefined || record.dead || record.status === "left";
      if (peer.chosen && record?.life === peer.life) continue;
      if (isOver || record.life !== peer.life || now > peer.guestUntil) {
        peer.suspicion = undefined;
        this.watched.delete(peer.name);
        // a last one, which says that I am no neighbour any more: silence would have it ping me
        if (!isOver && record.life === peer.life) this.send(peer.name, "beat");
      }
    }
  }

  #choose(name: string): void {
    const peer = this.#host.peer(name);
    if (peer === undefined) return;
    peer.chosen = true;
    if (this.watched.get(name) === peer) return;
    // A new watcher knows nothing yet: it pings at once, and needs 1.7 T to find a death.
    peer.mark = Math.max(peer.mark, this.contact.time - this.#context.timing.ping);
    peer.pingAt = this.#context.now;
    peer.suspicion = undefined;
    this.watched.set(name, peer);
  }

  #beatAll(): void {
    const { now, timing } = this.#context;
    this.#beatAt += timing.interval;
    if (this.#beatAt <= now) this.#beatAt = now + timing.interval;
    this.#number();
    for (const name of this.watched.keys()) this.send(name, "beat");
    if (now >= this.#checkAt) this.#checkAll();
    this.#noticeUnheard();
  }

  /**
   * Beats the neighbours that should be and are believed dead: so partitions find each other. Some
   * by chance as well: of a small part of the cluster no ideal neighbour may be on the same side.
   * Each where it was last, and where the API says that it is: all may have moved meanwhile.
   */
  #heal(): void {
    const { now, timing, roster, self } = this.#context;
    this.#healAt = now + 5 * timing.interval;
    if (!roster.isLive(self)) return;
    this.#number();
    const dead = [...roster.dead()];
    const some = sample(dead, HEAL_SAMPLE, this.#context.random);
    for (const name of new Set([...roster.idealNeighbours(self), ...some])) {
      if (roster.isLive(name)) continue;
      const isOld = now - roster.diedAt(name) > 600_000;
      if (isOld && this.#context.random() >= 0.1) continue;
      this.#host.reach(name, this.#compose(name, "beat"));
    }
  }

  /** When to look for others again; while somebody was heard lately the next beat is soon enough. */
  #lonelyNext(): number {
    const { now, timing, roster, self } = this.#context;
    const { companyAt } = this.contact;
    if (now - companyAt < timing.interval || !roster.isLive(self)) return Infinity;
    return Math.max(companyAt + timing.lonely, this.#lonelyAt);
  }

  /** With no contact for a while, pings others by chance: all neighbours may have died at once. */
  #lonely(): void {
    const { now, timing, roster, self } = this.#context;
    if (now - this.contact.companyAt < timing.lonely || now < this.#lonelyAt) return;
    if (!roster.isLive(self)) return;
    this.#lonelyAt = now + timing.interval;
    const others: string[] = [];
    for (const { name } of roster.records()) {
      if (name !== self && roster.isLive(name) && !this.watched.has(name)) others.push(name);
    }
    for (const name of sample(others, 3, this.#context.random)) this.send(name, "ping");
    this.#lonelyRounds++;
    if (this.contact.running - this.contact.companyRunning >= timing.contact) this.#pingAll();
    this.#alone();
  }

  /** Silence of single neighbours does not count any more, so nobody would ping them. */
  #pingAll(): void {
    for (const peer of this.watched.values()) this.#pingNow(peer);
    this.#lonelyAt = Math.min(
      this.#lonelyAt,
      this.#context.now + this.#context.timing.interval / 2,
    );
  }

  #pingNow(peer: Peer): void {
    const { now, random } = this.#context;
    if (now < peer.pingAt) return;
    peer.pingAt = now + 40 + 20 * random();
    this.send(peer.name, "ping");
  }

  /** The alone rule: nobody answers, so the LAN is asked. */
  #alone(): void {
    const { now, timing, roster, claims } = this.#context;
    const silence = this.contact.running - this.contact.companyRunning;
    if (silence < timing.ping) return;
    const suspects = [...this.watched.values()].filter(({ name }) => roster.isLive(name));
    for (const peer of suspects) this.#askLan(peer);
    this.#lonelyAt = Math.min(this.#lonelyAt, now + timing.interval / 5);
    // Of those that hold nothing the LAN cannot say anything, and their death is not urgent.
    const hold = suspects.some(({ life }) => claims.count(life) > 0);
    const isLong = this.contact.loneliness() >= (hold ? 1 : 2) * timing.suspect;
    if (isLong && this.#lonelyRounds >= 3) this.#judgeAlone(suspects);
  }

  #judgeAlone(suspects: readonly Peer[]): void {
    const { now, timing, roster, self } = this.#context;
    let all = suspects.length > 0;
    for (const { name, witness, answeredAt } of suspects) {
      const isValid = witness !== undefined && now - witness.at < WITNESS_LASTS * timing.interval;
      const isGone = now - answeredAt >= timing.evidence;
      if (isValid && isGone && witness.heard && !witness.answered) this.#host.died(name, true);
      else all = false;
    }
    if (!all) return;
    // All that I watch are gone and nobody else answers: the others are, to me, gone as well.
    for (const { name } of [...roster.records()]) {
      if (name !== self && roster.isLive(name)) this.#host.died(name, true);
    }
  }

  /** Looks at one neighbour's silence, and gives when to look again. */
  #check(peer: Peer): number {
    const { now, timing, roster, claims, self } = this.#context;
    if (!roster.isLive(peer.name) || !roster.isLive(self)) return Infinity;
    const silence = this.contact.time - peer.mark;
    if (silence < timing.ping) {
      return this.contact.lasts(now) ? now + (timing.ping - silence) : Infinity;
    }
    if (now >= peer.pingAt) {
      this.#pingNow(peer);
      if (claims.count(peer.life) > 0) this.#askLan(peer);
    }
    if (peer.suspicion === undefined && silence >= timing.suspect) {
      if (this.#isAnswering(peer)) this.#excuse(peer);
      else this.#suspect(peer);
    }
    if (peer.suspicion !== undefined) return Math.min(peer.pingAt, this.#pursue(peer));
    const suspectAt = this.contact.lasts(now) ? now + (timing.suspect - silence) : Infinity;
    return Math.min(peer.pingAt, suspectAt);
  }

  #suspect(peer: Peer): void {
    const { now, timing, roster, self } = this.#context;
    const record = roster.get(peer.name);
    if (record === undefined) return;
    count(this.#context, "suspicions");
    const watchers = roster.neighbours(peer.name).filter((name) => name !== self);
    peer.suspicion = {
      epoch: record.epoch,
      refutation: record.refutation,
      stage: "asking",
      asked: new Map(watchers.map((name) => [name, "silent"])),
      asks: 0,
      askAt: now,
      until: now + timing.vote,
    };
  }

  #pursue(peer: Peer): number {
    const { suspicion } = peer;
    if (suspicion === undefined) return Infinity;
    return suspicion.stage === "asking"
      ? this.#pursueByAsking(peer, suspicion)
      : this.#pursueByPinging(peer, suspicion);
  }

  #pursueByAsking(peer: Peer, suspicion: Suspicion): number {
    const { now, outbox } = this.#context;
    const { epoch, refutation } = suspicion;
    const answers = [...suspicion.asked.values()].filter((answer) => answer !== "unknown");
    const agreed = answers.filter((answer) => answer === "agrees").length;
    if (agreed > 0 && (agreed === answers.length || now >= suspicion.until)) {
      this.#host.died(peer.name, false);
      return Infinity;
    }
    if (answers.length === 0 || now >= suspicion.until) {
      this.#pingByOthers(peer, suspicion);
      return suspicion.until;
    }
    if (now >= suspicion.askAt && suspicion.asks < ASKS) {
      suspicion.asks++;
      suspicion.askAt = now + ASK_INTERVAL_MS;
      for (const [name, answer] of suspicion.asked) {
        if (answer !== "silent") continue;
        outbox.send(name, { type: "ask", subject: peer.name, epoch, refutation });
      }
    }
    return suspicion.asks < ASKS ? Math.min(suspicion.askAt, suspicion.until) : suspicion.until;
  }

  /** Has three others ping the suspect: the co-watchers may have died with it. */
  #pingByOthers(peer: Peer, suspicion: Suspicion): void {
    const { now, roster, outbox, random, self } = this.#context;
    const others: string[] = [];
    for (const { name } of roster.records()) {
      if (name === self || name === peer.name || !roster.isLive(name)) continue;
      if (suspicion.stage === "asking" && suspicion.asked.has(name)) continue;
      others.push(name);
    }
    // Those that were heard lately are on this side of whatever happened, so they can answer.
    const { contact } = this.#context.timing;
    const near = others.filter((name) => (this.watched.get(name)?.heardAt ?? 0) > now - contact);
    // In a small cluster the co-watchers are all there are; they may have come back meanwhile.
    const pool = others.length > 0 ? others : [...suspicion.asked.keys()];
    const helpers = new Set([...sample(near, 2, random), ...sample(pool, 3, random)]);
    suspicion.stage = "pinging-for";
    suspicion.asked = new Map([...helpers].map((name) => [name, "silent"]));
    suspicion.until = now + PING_FOR_MS;
    for (const name of helpers) outbox.send(name, { type: "ping-for", subject: peer.name });
  }

  #pursueByPinging(peer: Peer, suspicion: Suspicion): number {
    const { now } = this.#context;
    if (now < suspicion.until) return suspicion.until;
    const agrees = [...suspicion.asked.values()].some((answer) => answer === "agrees");
    if (agrees) {
      this.#host.died(peer.name, false);
      return Infinity;
    }
    // Nobody said anything. Ask again, the co-watchers first, while there is contact at all.
    peer.suspicion = undefined;
    if (!this.contact.lasts(now)) return Infinity;
    this.#suspect(peer);
    return now + 1;
  }

  #finishErrands(subject: string, heard: boolean): void {
    const { outbox } = this.#context;
    this.#errands = this.#errands.filter((errand) => {
      if (errand.subject !== subject) return true;
      outbox.send(errand.asker, { type: "ping-result", subject, heard, ageMs: 0 });
      return false;
    });
  }

  #expireErrands(): void {
    const { now, outbox } = this.#context;
    this.#errands = this.#errands.filter(({ asker, subject, until }) => {
      if (now < until) return true;
      outbox.send(asker, { type: "ping-result", subject, heard: false, ageMs: 0 });
      return false;
    });
  }

  #noticeUnheard(): void {
    const { now, timing } = this.#context;
    let [hears, acked] = [false, false];
    for (const peer of this.watched.values()) {
      // Who hears nothing cannot acknowledge, and says so.
      const isDeaf = this.#context.roster.get(peer.name)?.deaf === true;
      if (now - peer.heardAt < timing.contact && !isDeaf) hears = true;
      if (now - peer.ackedSentAt < timing.unheard) acked = true;
    }
    if (!hears) this.#hearsSince = Infinity;
    else if (this.#hearsSince === Infinity) this.#hearsSince = now;
    this.isUnheard = hears && !acked && now - this.#hearsSince >= timing.unheard;
  }

  #number(): void {
    this.#sequence++;
    this.#sentAt[this.#sequence % SENT_MEMORY] = this.#context.now;
  }

  #compose(to: string, type: Beat["type"]): Beat {
    const { roster } = this.#context;
    const own = this.#host.ownRecord();
    const record = roster.get(to);
    const fields = this.#host.beatFields();
    const peer = this.#host.peer(to);
    const hasAck = peer !== undefined && peer.sequence > 0;
    return {
      type,
      epoch: own.epoch,
      refutation: own.refutation,
      sequence: this.#sequence,
      unheard: this.isUnheard,
      joining: fields.joining,
      guest: peer?.chosen !== true,
      ack: peer?.sequence ?? 0,
      ackAgeMs: hasAck ? Math.min(6553.5, this.#context.now - peer.sequenceAt) : 0,
      standing: standingOf(record),
      standingRefutation: record?.refutation ?? 0,
      own: fields.own,
      table: fields.table,
      members: fields.members,
      versions: fields.versions,
    };
  }
}

function standingOf(record: MemberRecord | undefined): Standing {
  if (record === undefined) return "unknown";
  return record.dead ? "dead" : "alive";
}
