/**
 * Who answers for an address: claims, handovers, drains. Decides per address and only for those that
 * something touched.
 *
 * Holds at every instant:
 * - One answers only for what one's own set holds, as an active or draining member, unfenced.
 * - In the step in which a better live claim is learnt, one stops; a giver stops only for a claim
 *   of a strictly higher term, for want of any candidate, at its deadline.
 * - Nobody claims what it knows another, not giving, to hold: a returning node takes nothing back.
 * - Terms of a life never fall; only the owner writes a claim.
 */
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { Candidacies, Candidacy } from "./candidacy.ts";
import {
  compareClaims,
  countedClaim,
  makeClaim,
  type Claim,
  type HeldClaim,
  type Life,
} from "./claims.ts";
import { Contests } from "./contests.ts";
import { count, type Cause, type Context } from "./context.ts";
import { Deadlines } from "./deadlines.ts";
import type { Answer, Claims, Contest, Message, Query } from "./messages.ts";
import { Orphans, type Orphan } from "./orphans.ts";
import { Probes, type ProbeResult } from "./probes.ts";
import { isHearing } from "./roster.ts";
import {
  ANNOUNCE_MS,
  DRAIN_BATCH,
  DRAIN_INTERVAL_MS,
  FIRM_MS,
  GIVING_MS,
  HANDOVER_RETRIES_MS,
  LINGER_MS,
  REBALANCE_MS,
  START_GRACE_MS,
} from "./timing.ts";
import { Unanswered } from "./unanswered.ts";

/** The LAN's word that an owner is gone is worth something for so long. */
const PROOF_MS = 2000;
/** After yielding to a rival seen on the wire only, so long the LAN is asked before a claim. */
const RIVAL_MS = 5000;
const CLAIMS_DIRECT = 40;
const SCAN_MS = 10;
/** What was found out about an address that nobody has or may have is forgotten after so long. */
const FORGET_MS = 600_000;

type GivingCause = "drain" | "candidacy" | "rebalance" | "contest";

/** What an owner keeps beside its claim. */
interface Holding {
  /** Since when no rival was seen. */
  quietSince: number;
  giving: GivingCause | undefined;
  givingUntil: number;
  /** Next announcement at the earliest. */
  announceAt: number;
}

interface Handover {
  readonly giver: string;
  tries: number;
}

/** Why one does not claim an orphan at the moment; for the verdict. */
export type Hindrance =
  /** The LAN is being asked whether anybody uses it. */
  | "probing"
  /** A host that is no member uses it. */
  | "conflict"
  /** A member that is not heard still answers for it. */
  | "answering"
  /** No frame comes in: this speaker may be the one that is cut off. */
  | "isolated"
  /** This speaker may have been replaced and is finding out. */
  | "fenced"
  /** Others with a newer view of the API say that the address is gone. */
  | "outdated";

/** What ownership needs of the speaker. */
export interface OwnershipHost {
  readonly context: Context;
  readonly candidacies: Candidacies;
  /** An active member, not fenced. */
  mayAnswer(): boolean;
  /** Started with nobody to be heard: no claim is made without the LAN's word. */
  isLone(): boolean;
  isDraining(): boolean;
  isRebalancing(): boolean;
  isNeighbour(name: string): boolean;
  setRebalancing(on: boolean): void;
  leave(forced: number): void;
  /** Passes an own claim on. */
  spread(claim: Claim): void;
  /** When a member gave its last sign of life. */
  lastSign(name: string): number;
}

/** The addresses of one speaker. */
export class Ownership {
  readonly #host: OwnershipHost;
  readonly #context: Context;
  readonly #holdings = new Map<Address, Holding>();
  readonly #givers = new Set<Address>();
  readonly #dirty = new Set<Address>();
  readonly #firm = new Deadlines<Address>();
  readonly #until = new Deadlines<Address>();
  readonly #handovers = new Map<Address, Handover>();
  readonly #retries = new Deadlines<Address>();
  /** The last packet of claims straight to a giver: more of the same step go with it. */
  readonly #direct = new Map<string, { at: number; claims: Claim[] }>();
  readonly #hindrances = new Map<Address, Hindrance>();
  readonly #goneUntil = new Map<string, number>();
  readonly #rivalUntil = new Map<Address, number>();
  readonly #contests: Contests;
  readonly #orphans: Orphans;
  readonly #probes: Probes;
  /** What others say of own addresses. */
  readonly #unanswered = new Unanswered();
  /** Addresses that nobody has or may have, and until when they are remembered. */
  readonly #idle = new Map<Address, number>();
  readonly #idleUntil = new Deadlines<Address>();
  readonly #activated = new Map<Cause, { address: Address; since: number }[]>();
  readonly #withdrawn = new Map<Cause, Address[]>();
  readonly #announce = new Set<Address>();
  #version = 0;
  #claimsFrom = Infinity;
  #quorateSince = Infinity;
  #drainQueue: Address[] = [];
  #drainAt = Infinity;
  #drainDeadline = Infinity;
  #emptySince = Infinity;
  #leaving = false;
  #rebalanceAt = Infinity;
  #skipped = new Set<Address>();
  readonly #changed = new Set<Address>();

  /** Begins with nothing known but what the host says. */
  constructor(host: OwnershipHost) {
    this.#host = host;
    this.#context = host.context;
    this.#contests = new Contests(host.context);
    this.#orphans = new Orphans(host.context);
    this.#probes = new Probes(host.context);
  }

  // --- What happened ---------------------------------------------------------------------------

  /** This speaker is a member from now on. */
  activated(how: "joined" | "cold" | "alone"): void {
    const { now } = this.#context;
    this.#claimsFrom = how === "cold" ? now + START_GRACE_MS : now;
    // Who waits for those before it waits from now on: nobody could have claimed any earlier.
    this.#orphans.restart(this.#claimsFrom);
    this.#orphans.lookAt(this.#claimsFrom);
  }

  /** The candidates of these addresses may have changed. */
  candidaciesChanged(addresses: Iterable<Address>): void {
    this.#touch(addresses);
  }

  /** The view of the API is newer: what it forbade may be allowed. */
  versionsChanged(): void {
    this.#touch(this.#contests.barred());
  }

  /** A member's standing changed: its addresses and all orphans are looked at again. */
  memberChanged(name: string): void {
    const { roster, claims, now } = this.#context;
    const record = roster.get(name);
    if (record !== undefined) {
      for (const claim of claims.records(record.life)) {
        if (!claim.released) this.#dirty.add(claim.address);
      }
      for (const address of this.#probes.absolve(record.links)) this.#absolved(address);
    }
    this.#orphans.lookAt(now + SCAN_MS);
    // A giver stops when the last one that could succeed it is gone.
    this.#touch(this.#givers);
  }

  /** Whoever answered for it is a member after all: a claim of its own would be known. */
  #absolved(address: Address): void {
    const orphan = this.#orphans.get(address);
    if (orphan !== undefined) orphan.proofAt = this.#context.now;
    this.#hindrances.delete(address);
    this.#dirty.add(address);
  }

  /** A life is over, and with it its claims. */
  lifeEnded(life: Life): void {
    this.#touch(this.#context.claims.void(life));
  }

  /** A member is gone for good. */
  forgotten(name: string): void {
    this.#goneUntil.delete(name);
    this.#direct.delete(name);
  }

  /** Takes another's claim in, and tells whether it was news. */
  claimed(claim: Claim): boolean {
    if (!this.#context.claims.merge(claim)) return false;
    this.#dirty.add(claim.address);
    return true;
  }

  /** The LAN says that a member is gone: its addresses need no further proof. */
  provedGone(name: string): void {
    this.#goneUntil.set(name, this.#context.now + PROOF_MS);
  }

  /** The fence is down: what was held back may be claimed, and the LAN told who is here. */
  unfenced(): void {
    this.#orphans.release(Math.max(this.#context.now, this.#claimsFrom));
    for (const address of this.#holdings.keys()) this.#reannounce(address);
  }

  /** The version of the newest own claim, 0 if there was none. */
  get lastVersion(): number {
    return this.#version;
  }

  /** Own claims cease to be firm: others may have taken over meanwhile. */
  demote(): void {
    for (const address of this.#holdings.keys()) {
      const claim = this.#mine(address);
      if (claim?.firm === true) this.#write(claim, { firm: false });
      this.#restless(address);
      this.#dirty.add(address);
    }
  }

  /** The answer to a probe. */
  probed(address: Address, result: ProbeResult): void {
    const orphan = this.#orphans.get(address);
    const retryAt = this.#probes.answered(address, result);
    // Whatever came out, whoever looks at the address wants to know.
    this.#changed.add(address);
    if (orphan === undefined) {
      this.#dirty.add(address);
      return;
    }
    orphan.probing = false;
    if (result.taken || (!result.heard && this.#needsProof(address))) {
      const hindrance = result.taken ? "answering" : "isolated";
      const isConflict = this.#probes.isConflict(address);
      this.#hindrances.set(address, isConflict ? "conflict" : hindrance);
      orphan.proofAt = retryAt;
      this.#orphans.wake(orphan, retryAt);
    } else {
      orphan.proved = true;
      this.#dirty.add(address);
    }
  }

  /** Somebody else announced one of my addresses. */
  rivalSeen(address: Address, node: string): void {
    const claim = this.#mine(address);
    const { roster, rank, now } = this.#context;
    // A giver goes on until its successor's claim is heard, and draws nobody's traffic meanwhile.
    if (claim === undefined || claim.giving) return;
    // Of a member that I hold dead I hear nothing but this: rank alone decides, both know it.
    const isDeaf = !roster.isLive(node);
    if (isDeaf && rank(node, address) < rank(this.#context.self, address)) {
      this.#rivalUntil.set(address, now + RIVAL_MS);
      this.#stop(claim, "rival-on-the-wire");
      return;
    }
    this.#reannounce(address);
  }

  /** Begins or ends a drain; with a deadline the speaker leaves in the end. */
  drain(on: boolean, deadline = Infinity): void {
    const { now } = this.#context;
    this.#leaving = on && deadline !== Infinity;
    this.#drainDeadline = on ? deadline : Infinity;
    this.#drainQueue = on ? [...this.#holdings.keys()] : [];
    this.#drainAt = on ? now : Infinity;
    // Who held nothing has nobody to wait for.
    this.#emptySince = on && this.#holdings.size === 0 ? -Infinity : Infinity;
    if (!on) for (const address of this.#holdings.keys()) this.#dirty.add(address);
  }

  /** Begins to hand addresses over that rank elsewhere. */
  rebalance(): void {
    this.#skipped = new Set();
    this.#host.setRebalancing(true);
    this.#rebalanceAt = this.#context.now;
  }

  /** Takes a message about addresses. */
  handle(from: string, message: Message): void {
    if (message.type === "query") this.#query(from, message);
    else if (message.type === "reply") this.#touch(this.#orphans.reply(from, message));
    else if (message.type === "contest") this.#contested(from, message);
    else if (message.type === "unanswered") this.#noteUnanswered(from, message.address);
  }

  // --- What is so ------------------------------------------------------------------------------

  /** Gives the addresses that this speaker holds. */
  held(): IterableIterator<Address> {
    return this.#holdings.keys();
  }

  /** Tells whether frames for an address are answered now. */
  answers(address: Address): boolean {
    return this.#host.mayAnswer() && this.#holdings.has(address);
  }

  /** Gives the best live claim on an address, and whose it is. */
  owner(address: Address): HeldClaim | undefined {
    let best: HeldClaim | undefined;
    for (const claim of this.#context.claims.on(address)) {
      const held = this.#heldClaim(claim);
      if (held === undefined) continue;
      if (best === undefined || compareClaims(held, best, this.#context.rank) < 0) best = held;
    }
    return best;
  }

  /** Tells why this speaker, though first in line, does not claim an address at the moment. */
  hindrance(address: Address): Hindrance | undefined {
    return this.#hindrances.get(address);
  }

  /** Tells which foreign host uses an address, as far as is known. */
  usedBy(address: Address): MacAddress | undefined {
    return this.#probes.usedBy(address);
  }

  /** Tells which members get no answer for an address of mine. */
  unansweredBy(address: Address): string[] {
    return this.#unanswered.by(address, this.#context.now);
  }

  // --- A step's end ----------------------------------------------------------------------------

  /** Decides on all that was touched, does what is due, and gives when to come back. */
  settle(): number {
    this.#noticeQuorum();
    this.#runDeadlines();
    if (this.#context.now >= this.#orphans.nextAt) this.#scan();
    this.#decideDirty();
    this.#runDrain();
    this.#runRebalance();
    this.#contests.run((address) => this.owner(address));
    this.#decideDirty();
    this.#orphans.sendQueries();
    this.#act();
    return this.#next();
  }

  #next(): number {
    const next = Math.min(
      this.#orphans.nextAt,
      this.#firm.next(),
      this.#until.next(),
      this.#retries.next(),
      this.#unanswered.nextAt,
      this.#idleUntil.next(),
      this.#probes.nextAt,
      this.#drainAt,
      this.#rebalanceAt,
      this.#contests.nextAt,
    );
    const leave = this.#leaving
      ? Math.min(this.#drainDeadline, this.#emptySince + LINGER_MS)
      : Infinity;
    return Math.min(next, leave);
  }

  /** Has these decided on before the step ends. */
  #touch(addresses: Iterable<Address>): void {
    for (const address of addresses) this.#dirty.add(address);
  }

  #decideDirty(): void {
    while (this.#dirty.size > 0) {
      const addresses = [...this.#dirty];
      this.#dirty.clear();
      for (const address of addresses) this.#decide(address);
    }
  }

  /** Emits what the step changed: stop first, then answer, then tell the LAN; claims go last. */
  #act(): void {
    const unlistened = this.#probes.takeUnlistened();
    if (
      this.#changed.size === 0 &&
      this.#announce.size === 0 &&
      unlistened.length === 0 &&
      this.#withdrawn.size + this.#activated.size === 0
    )
      return;
    const { actions } = this.#context;
    for (const [cause, addresses] of this.#withdrawn) {
      actions.push({ type: "withdraw", addresses, cause });
    }
    for (const [cause, taken] of this.#activated) {
      const addresses = taken.map(({ address }) => address);
      const since = cause === "takeover" ? { since: taken.map((each) => each.since) } : {};
      actions.push({ type: "activate", addresses, cause, ...since });
    }
    this.#withdrawn.clear();
    this.#activated.clear();
    if (unlistened.length > 0) actions.push({ type: "forget", addresses: unlistened });
    if (this.#announce.size > 0 && this.#host.mayAnswer()) {
      actions.push({ type: "announce", addresses: [...this.#announce] });
    }
    this.#announce.clear();
    if (this.#changed.size > 0) actions.push({ type: "owner", addresses: [...this.#changed] });
    this.#changed.clear();
  }

  // --- One address -----------------------------------------------------------------------------

  #decide(address: Address): void {
    const mine = this.#mine(address);
    let best: HeldClaim | undefined;
    let givingTerm = 0;
    let giver: string | undefined;
    for (const claim of this.#context.claims.on(address)) {
      if (claim === mine) continue;
      const held = this.#heldClaim(claim);
      if (held === undefined) continue;
      if (claim.giving) {
        if (claim.term >= givingTerm) [givingTerm, giver] = [claim.term, held.node];
      } else if (best === undefined || compareClaims(held, best, this.#context.rank) < 0) {
        best = held;
      }
    }
    this.#changed.add(address);
    if (mine === undefined) this.#decideOther(address, best, giver);
    else this.#decideMine(mine, best, givingTerm);
    this.#noticeStranger(address, best);
    this.#noticeIdle(address);
  }

  /** Nobody holds it and nobody may: a Service that is gone, for a while or for ever. */
  #noticeIdle(address: Address): void {
    const { now, claims } = this.#context;
    const isKnown = this.#host.candidacies(address) !== undefined;
    if (!isKnown) this.#probes.unlisten(address);
    if (isKnown || claims.on(address).length > 0) {
      this.#idle.delete(address);
    } else if (!this.#idle.has(address)) {
      this.#idle.set(address, now + FORGET_MS);
      this.#idleUntil.set(now + FORGET_MS, address);
    }
  }

  /** Meanwhile anybody may have begun to use it: its next use is a first one. */
  #forget(address: Address): void {
    this.#idle.delete(address);
    this.#context.claims.forget(address);
    this.#probes.forget(address);
    this.#contests.forget(address);
    this.#rivalUntil.delete(address);
  }

  #decideMine(mine: Claim, best: HeldClaim | undefined, givingTerm: number): void {
    const { address } = mine;
    const candidacy = this.#host.candidacies(address);
    this.#orphans.delete(address);
    if (best !== undefined) this.#restless(address);
    if (candidacy !== undefined && !candidacy.usable) {
      this.#stop(mine, "unusable");
    } else if (mine.giving) {
      this.#decideGiving(mine, best, candidacy);
    } else if (best !== undefined && this.#isBetter(best, mine)) {
      this.#stop(mine, "better-claim");
    } else {
      if (givingTerm >= mine.term)
        this.#write(mine, { term: this.#context.claims.term(address) + 1 });
      if (best !== undefined) this.#reannounce(address);
      this.#decideOwning(this.#mine(address) ?? mine, candidacy);
    }
  }

  #decideOwning(mine: Claim, candidacy: Candidacy | undefined): void {
    if (candidacy !== undefined && this.#isCandidate(candidacy)) return;
    const heir = candidacy === undefined ? undefined : this.#firstHeir(candidacy);
    if (heir === undefined) this.#stop(mine, "no-candidate");
    else this.#give(mine, "candidacy", GIVING_MS);
  }

  #decideGiving(mine: Claim, best: HeldClaim | undefined, candidacy: Candidacy | undefined): void {
    const { address } = mine;
    if (best !== undefined && best.claim.term > mine.term) {
      this.#stop(mine, "handover");
      return;
    }
    if (candidacy?.heir(0) === undefined) {
      this.#stop(mine, "no-candidate");
      return;
    }
    const holding = this.#holdings.get(address);
    if (holding === undefined || this.#host.isDraining()) return;
    if (holding.giving === "drain") holding.giving = "candidacy";
    if (!this.#isCandidate(candidacy)) {
      if (holding.givingUntil === Infinity) this.#extend(address, holding, GIVING_MS);
      if (this.#firstHeir(candidacy) === undefined) this.#stop(mine, "no-candidate");
    } else if (holding.giving === "candidacy") {
      this.#keep(mine);
    }
  }

  #decideOther(address: Address, best: HeldClaim | undefined, giver: string | undefined): void {
    const candidacy = this.#host.candidacies(address);
    this.#handovers.delete(address);
    if (best !== undefined) {
      this.#orphans.delete(address);
      this.#hindrances.delete(address);
      this.#probes.unlisten(address);
      this.#considerContest(address, best.node, candidacy);
      return;
    }
    this.#contests.drop(address);
    const isProber = candidacy?.prober === this.#context.self;
    if (!isProber && candidacy?.includes(this.#context.self) !== true)
      this.#probes.unwatch(address);
    this.#considerProbe(address, candidacy);
    if (candidacy === undefined || !this.#isCandidate(candidacy) || !candidacy.usable) {
      this.#orphans.delete(address);
      this.#hindrances.delete(address);
      return;
    }
    const orphan = this.#orphans.take(address);
    this.#considerClaim(address, orphan, candidacy, giver);
  }

  /** Claims an orphan if it is this speaker's turn; else sees when it would be. */
  #considerClaim(address: Address, orphan: Orphan, candidacy: Candidacy, giver?: string): void {
    const { now, self, roster } = this.#context;
    const own = roster.get(self);
    if (own?.status !== "active" || own.deaf) return;
    if (!this.#host.mayAnswer()) {
      this.#hindrances.set(address, "fenced");
      return;
    }
    if (now < this.#claimsFrom) {
      this.#orphans.wake(orphan, this.#claimsFrom);
      return;
    }
    if (this.#contests.isBarred(address)) {
      this.#hindrances.set(address, "outdated");
      return;
    }
    const before = this.#before(candidacy, this.#orphans.reach(orphan) + 1);
    if (before.length > 0 && !this.#orphans.isSteppingUp(address, orphan, before)) return;
    // A giver that is heard needs no proof that it is gone, and would answer the probe.
    if (giver === undefined && !this.#isAllowed(address, orphan)) return;
    const cause = this.#causeOf(address, before, giver);
    this.#claim(address, cause, giver);
  }

  #isCandidate(candidacy: Candidacy): boolean {
    return candidacy.includes(this.#context.self);
  }

  /** Those that would have to claim before this speaker, so many at most. */
  #before(candidacy: Candidacy, most = 1): string[] {
    const before: string[] = [];
    for (let place = 0; before.length < most; place++) {
      const name = candidacy.heir(place);
      if (name === undefined || name === this.#context.self) break;
      if (this.#mayClaim(name)) before.push(name);
    }
    return before;
  }

  #mayClaim(name: string): boolean {
    const record = this.#context.roster.get(name);
    return record !== undefined && isHearing(record) && record.status === "active";
  }

  /** The first that could take an address over, this speaker left out. */
  #firstHeir(candidacy: Candidacy): string | undefined {
    for (let place = 0; ; place++) {
      const name = candidacy.heir(place);
      if (name === undefined) return undefined;
      if (name !== this.#context.self && this.#mayClaim(name)) return name;
    }
  }

  /** First use is probed; a speaker that may be cut off asks the LAN before each claim. */
  #isAllowed(address: Address, orphan: Orphan): boolean {
    if (orphan.proved) return true;
    if (orphan.probing) return false;
    if (this.#probes.isAsked(address)) {
      // Asked for at its assignment, say, before it was wanted: the answer is on its way.
      orphan.probing = true;
      this.#hindrances.set(address, "probing");
      return false;
    }
    if (this.#context.now < orphan.proofAt) {
      this.#orphans.wake(orphan, orphan.proofAt);
      return false;
    }
    const isFirst = this.#probes.isDue(address);
    if (!isFirst && !this.#needsProof(address)) return true;
    orphan.probing = true;
    this.#hindrances.set(address, "probing");
    this.#probes.ask(address, isFirst ? "first-use" : "proof");
    return false;
  }

  #needsProof(address: Address): boolean {
    const { now, roster, claims } = this.#context;
    if ((this.#rivalUntil.get(address) ?? -Infinity) > now) return true;
    if (!this.#host.isLone() && roster.isQuorate(now)) return false;
    for (const claim of claims.on(address)) {
      const name = roster.ofLife(claim.life)?.name;
      if (name !== undefined && (this.#goneUntil.get(name) ?? -Infinity) > now) return false;
    }
    return true;
  }

  #causeOf(address: Address, before: readonly string[], giver: string | undefined): Cause {
    if (giver !== undefined) return "handover";
    if (before.length > 0) return "stepped-up";
    return this.#probes.isFirstUse(address) ? "first-use" : "takeover";
  }

  #claim(address: Address, cause: Cause, giver: string | undefined): void {
    const { now, claims, life } = this.#context;
    this.#orphans.delete(address);
    this.#hindrances.delete(address);
    this.#probes.used(address);
    // one's own never falls, whatever was forgotten
    const before = claims.get(life, address)?.term ?? 0;
    const term = Math.max(claims.term(address), before) + 1;
    const fields = { address, life, term, firm: false, giving: false, released: false };
    this.#publish(makeClaim({ ...fields, version: ++this.#version }));
    this.#holdings.set(address, {
      quietSince: now,
      giving: undefined,
      givingUntil: Infinity,
      announceAt: -Infinity,
    });
    this.#firm.set(now + FIRM_MS, address);
    push(this.#activated, cause, { address, since: this.#lastSignOf(address) });
    count(this.#context, `claims ${cause}`);
    this.#reannounce(address);
    if (giver !== undefined) {
      this.#handovers.set(address, { giver, tries: 0 });
      this.#retries.set(now, address);
    }
  }

  /** The last sign of life of whoever held an address. */
  #lastSignOf(address: Address): number {
    const { claims, roster, life } = this.#context;
    let last = -Infinity;
    for (const claim of claims.on(address)) {
      const name = claim.life === life ? undefined : roster.ofLife(claim.life)?.name;
      if (name !== undefined) last = Math.max(last, this.#host.lastSign(name));
    }
    return last;
  }

  #noteUnanswered(from: string, address: Address): void {
    if (!this.#holdings.has(address)) return;
    if (this.#unanswered.note(from, address, this.#context.now)) this.#changed.add(address);
  }

  #give(mine: Claim, cause: GivingCause, limit: number): void {
    const holding = this.#holdings.get(mine.address);
    if (holding === undefined) return;
    holding.giving = cause;
    this.#givers.add(mine.address);
    this.#extend(mine.address, holding, limit);
    this.#write(mine, { giving: true });
    // As a giver it may have to yield to what it stood above as an owner.
    this.#dirty.add(mine.address);
  }

  #extend(address: Address, holding: Holding, limit: number): void {
    holding.givingUntil = this.#context.now + limit;
    if (limit !== Infinity) this.#until.set(holding.givingUntil, address);
  }

  /** Ceases to look for a successor. */
  #keep(mine: Claim): void {
    const holding = this.#holdings.get(mine.address);
    if (holding !== undefined) {
      holding.giving = undefined;
      holding.givingUntil = Infinity;
    }
    this.#givers.delete(mine.address);
    this.#write(mine, { giving: false });
    this.#dirty.add(mine.address);
  }

  /** Stops answering in this very step, and says so. */
  #stop(mine: Claim, cause: Cause): void {
    const { address } = mine;
    this.#holdings.delete(address);
    this.#givers.delete(address);
    this.#handovers.delete(address);
    this.#announce.delete(address);
    push(this.#withdrawn, cause, address);
    count(this.#context, `stops ${cause}`);
    this.#write(mine, { released: true, giving: false, firm: false });
    this.#dirty.add(address);
  }

  #write(mine: Claim, patch: Partial<Pick<Claim, "term" | "firm" | "giving" | "released">>): void {
    const { address, life, term, firm, giving, released } = mine;
    const fields = { address, life, term, firm, giving, released, ...patch };
    this.#publish(makeClaim({ ...fields, version: ++this.#version }));
  }

  #publish(claim: Claim): void {
    this.#context.claims.merge(claim);
    this.#changed.add(claim.address);
    this.#host.spread(claim);
  }

  #mine(address: Address): Claim | undefined {
    if (!this.#holdings.has(address)) return undefined;
    return this.#context.claims.held(this.#context.life, address);
  }

  /** A claim with its owner's name, if it counts now. */
  #heldClaim(claim: Claim): HeldClaim | undefined {
    const record = this.#context.roster.ofLife(claim.life);
    if (record === undefined || !isHearing(record)) return undefined;
    return { claim: countedClaim(claim, record.humbled), node: record.name };
  }

  #isBetter(other: HeldClaim, mine: Claim): boolean {
    return compareClaims(other, { claim: mine, node: this.#context.self }, this.#context.rank) < 0;
  }

  #reannounce(address: Address): void {
    const { now } = this.#context;
    const holding = this.#holdings.get(address);
    if (holding === undefined || now < holding.announceAt) return;
    holding.announceAt = now + ANNOUNCE_MS;
    this.#announce.add(address);
  }

  // --- Firmness --------------------------------------------------------------------------------

  #noticeQuorum(): void {
    const { now, roster } = this.#context;
    const isQuorate = !this.#host.isLone() && roster.isQuorate(now) && this.#host.mayAnswer();
    if (!isQuorate) this.#quorateSince = Infinity;
    else if (this.#quorateSince === Infinity) {
      this.#quorateSince = now;
      for (const address of this.#holdings.keys()) this.#firm.set(now + FIRM_MS, address);
    }
  }

  /** A rival was seen: being firm has to be earned anew. */
  #restless(address: Address): void {
    const holding = this.#holdings.get(address);
    if (holding === undefined) return;
    holding.quietSince = this.#context.now;
    this.#firm.set(holding.quietSince + FIRM_MS, address);
  }

  #runDeadlines(): void {
    const { now } = this.#context;
    for (let due = this.#firm.pop(now); due !== undefined; due = this.#firm.pop(now)) {
      const mine = this.#mine(due);
      const since = Math.max(this.#holdings.get(due)?.quietSince ?? Infinity, this.#quorateSince);
      if (mine?.firm === false && !mine.giving && now - since >= FIRM_MS) {
        this.#write(mine, { firm: true });
      }
    }
    for (let due = this.#until.pop(now); due !== undefined; due = this.#until.pop(now)) {
      this.#giveUp(due);
    }
    for (let due = this.#retries.pop(now); due !== undefined; due = this.#retries.pop(now)) {
      this.#remind(due);
    }
    for (const address of this.#unanswered.takeDue(now)) this.#changed.add(address);
    for (let due = this.#idleUntil.pop(now); due !== undefined; due = this.#idleUntil.pop(now)) {
      if ((this.#idle.get(due) ?? Infinity) <= now) this.#forget(due);
    }
    const isOrphan = (address: Address): boolean => this.#orphans.has(address);
    this.#touch(this.#probes.takeDue(isOrphan, this.#host.mayAnswer()));
  }

  /** Nobody took over in time. */
  #giveUp(address: Address): void {
    const mine = this.#mine(address);
    const holding = this.#holdings.get(address);
    if (mine === undefined || holding?.giving === undefined) return;
    if (this.#context.now < holding.givingUntil) return;
    if (holding.giving === "candidacy") this.#stop(mine, "no-candidate");
    else if (holding.giving !== "drain") this.#keep(mine);
  }

  /** Sends a claim straight to the giver that waits for it, again and again until it lets go. */
  #remind(address: Address): void {
    const handover = this.#handovers.get(address);
    const mine = this.#mine(address);
    const { now, roster, claims, outbox } = this.#context;
    if (handover === undefined || mine === undefined) return;
    const life = roster.get(handover.giver)?.life;
    const isOver = life === undefined || claims.held(life, address) === undefined;
    const wait = HANDOVER_RETRIES_MS[handover.tries];
    if (isOver || wait === undefined) {
      this.#handovers.delete(address);
      return;
    }
    handover.tries++;
    this.#retries.set(now + wait, address);
    const last = this.#direct.get(handover.giver);
    if (last?.at === now && last.claims.length < CLAIMS_DIRECT) {
      last.claims.push(mine);
      return;
    }
    const direct = { at: now, claims: [mine] };
    this.#direct.set(handover.giver, direct);
    outbox.send(handover.giver, { type: "claims", claims: direct.claims } satisfies Claims);
  }

  // --- Orphans ---------------------------------------------------------------------------------

  #scan(): void {
    if (this.#context.now < this.#claimsFrom) this.#orphans.postpone(this.#claimsFrom);
    else this.#touch(this.#orphans.due((address) => this.#isFirstNow(address)));
  }

  /** Those before may have died since the wait began. */
  #isFirstNow(address: Address): boolean {
    const candidacy = this.#host.candidacies(address);
    return candidacy !== undefined && this.#before(candidacy).length === 0;
  }

  #query(from: string, query: Query): void {
    const { outbox } = this.#context;
    const answers: Answer[] = [];
    const claims: Claim[] = [];
    for (const address of query.addresses) {
      const mine = this.#mine(address);
      if (mine !== undefined && !mine.giving) claims.push(mine);
      answers.push({ address, mine: mine !== undefined ? !mine.giving : this.#intends(address) });
    }
    outbox.send(from, { type: "reply", answers });
    // The asker missed it: without this it would ask again and again.
    if (claims.length > 0)
      outbox.send(from, { type: "claims", claims: claims.slice(0, CLAIMS_DIRECT) });
  }

  /** It is about to claim: first in line and nothing but a probe in the way. */
  #intends(address: Address): boolean {
    const candidacy = this.#host.candidacies(address);
    if (
      candidacy === undefined ||
      !this.#isCandidate(candidacy) ||
      !candidacy.usable ||
      !this.#host.mayAnswer()
    )
      return false;
    if (this.#context.roster.get(this.#context.self)?.status !== "active") return false;
    const hindrance = this.#hindrances.get(address);
    if (hindrance !== undefined && hindrance !== "probing") return false;
    return this.#before(candidacy).length === 0;
  }

  /** The first in rank probes an address when it is assigned, so that readiness finds it probed. */
  #considerProbe(address: Address, candidacy: Candidacy | undefined): void {
    if (candidacy?.prober !== this.#context.self) return;
    if (this.#probes.wasAnswered(address) || this.#probes.isAsked(address)) return;
    if (!this.#probes.isFirstUse(address)) return;
    if (!this.#host.mayAnswer() || this.#isCandidate(candidacy)) return;
    this.#probes.ask(address, "first-use");
  }

  // --- Contests --------------------------------------------------------------------------------

  /** The holder is no candidate in this view, and this speaker would be first. */
  #considerContest(address: Address, holder: string, candidacy: Candidacy | undefined): void {
    const isWrong =
      candidacy !== undefined &&
      this.#isCandidate(candidacy) &&
      !candidacy.includes(holder) &&
      this.#before(candidacy).length === 0;
    this.#contests.note(address, "wrong", isWrong);
  }

  /** Somebody holds an address that the API does not know here. */
  #noticeStranger(address: Address, best: HeldClaim | undefined): void {
    const isStranger =
      best !== undefined &&
      this.#host.candidacies(address) === undefined &&
      this.#host.isNeighbour(best.node);
    this.#contests.note(address, "gone", isStranger);
  }

  /** A newer view says that this speaker should not hold an address. Only the holder decides. */
  #contested(from: string, contest: Contest): void {
    const mine = this.#mine(contest.address);
    const complaint = mine === undefined ? undefined : this.#contests.judge(from, contest);
    if (mine === undefined || complaint === undefined) return;
    if (complaint === "gone") this.#stop(mine, "contested");
    else if (!mine.giving) this.#give(mine, "contest", GIVING_MS);
  }

  // --- Planned moves ---------------------------------------------------------------------------

  #runDrain(): void {
    const { now } = this.#context;
    if (!this.#host.isDraining()) return;
    if (now >= this.#drainAt) {
      for (const address of this.#drainQueue.splice(0, DRAIN_BATCH)) {
        const mine = this.#mine(address);
        if (mine === undefined) continue;
        if (mine.giving) this.#keepAsDrained(address);
        else this.#give(mine, "drain", Infinity);
      }
      this.#drainAt = this.#drainQueue.length > 0 ? now + DRAIN_INTERVAL_MS : Infinity;
    }
    if (!this.#leaving) return;
    if (this.#holdings.size > 0) this.#emptySince = Infinity;
    else if (this.#emptySince === Infinity) this.#emptySince = now;
    const isVain = this.#holdings.size > 0 && !this.#hasSuccessor();
    if (now >= this.#drainDeadline || isVain) this.#leaveNow();
    else if (now - this.#emptySince >= LINGER_MS) this.#leaveNow();
  }

  /**
   * Somebody is there, or about to be, that is not leaving, too. When all leave together, as when the
   * installation is deleted, nobody will ever take over, and waiting helps nobody.
   */
  #hasSuccessor(): boolean {
    const { roster, self } = this.#context;
    for (const { name, dead, status } of roster.records()) {
      if (name !== self && !dead && (status === "active" || status === "joining")) return true;
    }
    return false;
  }

  #keepAsDrained(address: Address): void {
    const holding = this.#holdings.get(address);
    if (holding === undefined) return;
    holding.giving = "drain";
    holding.givingUntil = Infinity;
  }

  #leaveNow(): void {
    const forced = this.#holdings.size;
    this.#leaving = false;
    this.#drainDeadline = Infinity;
    for (const address of [...this.#holdings.keys()]) {
      const mine = this.#mine(address);
      if (mine !== undefined) this.#stop(mine, "forced");
    }
    this.#dirty.clear();
    this.#host.leave(forced);
  }

  /** Of all that rebalance, the lowest name moves one misplaced address at a time. */
  #runRebalance(): void {
    const { now, roster, self } = this.#context;
    if (now < this.#rebalanceAt || !this.#host.isRebalancing()) return;
    this.#rebalanceAt = now + DRAIN_INTERVAL_MS;
    for (const record of roster.records()) {
      if (record.name < self && record.rebalancing && isHearing(record)) return;
    }
    for (const { giving } of this.#holdings.values()) if (giving === "rebalance") return;
    const misplaced = this.#findMisplaced();
    const mine = misplaced === undefined ? undefined : this.#mine(misplaced);
    if (mine === undefined) {
      this.#rebalanceAt = Infinity;
      this.#host.setRebalancing(false);
      return;
    }
    this.#skipped.add(mine.address);
    this.#give(mine, "rebalance", REBALANCE_MS);
  }

  #findMisplaced(): Address | undefined {
    for (const [address, holding] of this.#holdings) {
      if (holding.giving !== undefined || this.#skipped.has(address)) continue;
      const candidacy = this.#host.candidacies(address);
      if (candidacy !== undefined && this.#before(candidacy).length > 0) return address;
    }
    return undefined;
  }
}

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
