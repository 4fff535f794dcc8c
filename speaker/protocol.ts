/**
 * The protocol of one speaker, whole: `step(event, now)` takes in what happened and gives what to do
 * and when to come back. Pure: time and chance are told to it, packets come decoded and go undecoded,
 * so that a thousand of them run in one process under a virtual clock.
 *
 * The shell's duties:
 * - Call a step (a `tick` will do) when the time it was told has come, and always before a frame is
 *   answered once that time has passed: that is how a loop that stood still is fenced before it speaks.
 * - Do the actions in their order. Answer a frame only for what was activated, while no fence is up,
 *   and never one that the kernel stamped before the last fence ended or more than 100 ms ago.
 */
import type { NodeReason } from "../api/reason.ts";
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { Candidacies } from "./candidacy.ts";
import { ClaimTable, rankOf, type Claim, type Life, type Rank } from "./claims.ts";
import {
  Outbox,
  type Action,
  type Context,
  type FenceReason,
  type WitnessPurpose,
} from "./context.ts";
import type { Hint } from "./joining.ts";
import { idOfName, Membership, type Packet } from "./membership.ts";
import type { Message, Versions } from "./messages.ts";
import { Ownership, type Hindrance } from "./ownership.ts";
import type { RingPosition } from "./rings.ts";
import { Roster, type Endpoint, type Link, type MemberRecord, type Plight } from "./roster.ts";
import { timingOf } from "./timing.ts";

/** What a speaker is born with. */
export interface ProtocolOptions {
  readonly name: string;
  /** Fresh and random: 32 hexadecimal digits. */
  readonly life: Life;
  /** Milliseconds between two beats, 50 to 1000. */
  readonly interval: number;
  /** Beats that may be missed, 3 to 20; as a rule 4. */
  readonly multiplier?: number;
  readonly endpoints: readonly Endpoint[];
  readonly links: readonly Link[];
  readonly keyIds: readonly number[];
  readonly candidacies: Candidacies;
  /** A number from 0 up to and not including 1, not to be guessed by others: nonces come from it. */
  readonly random: () => number;
  /** Replaced in simulations by functions that remember. */
  readonly rank?: Rank;
  readonly position?: RingPosition;
  readonly idOf?: (name: string) => string;
}

/** What can happen to a speaker. */
export type Event =
  | { readonly type: "tick" }
  | { readonly type: "packet"; readonly packet: Packet }
  /** The nodes that should run a speaker, as the API has them; until the first, nobody is greeted. */
  | { readonly type: "hints"; readonly hints: readonly Hint[] }
  | { readonly type: "candidacies"; readonly addresses: readonly Address[] }
  | { readonly type: "versions"; readonly versions: Versions }
  /** Answers the action of the same name; `subject` may be this speaker itself. */
  | {
      readonly type: "witness";
      readonly subject: string;
      readonly purpose: WitnessPurpose;
      /** The subject's MAC answered for one of the addresses; of one's own: anybody else's did. */
      readonly answered: boolean;
      /** Any frame of another host came in within the last two intervals. */
      readonly heard: boolean;
      /** Any host answered a request of this speaker. */
      readonly reached: boolean;
    }
  /** Answers a probe. */
  | {
      readonly type: "probed";
      readonly address: Address;
      readonly taken: boolean;
      readonly heard: boolean;
      readonly by?: MacAddress;
    }
  /** A member's MAC announced one of this speaker's addresses. */
  | { readonly type: "rival"; readonly address: Address; readonly node: string }
  /** A frame of another host came in; wanted while this speaker is deaf. */
  | { readonly type: "frame" }
  | { readonly type: "carrier" }
  | {
      readonly type: "moved";
      readonly endpoints: readonly Endpoint[];
      readonly links: readonly Link[];
    }
  | { readonly type: "keys"; readonly keyIds: readonly number[] }
  /** Hand everything over; with a deadline, leave then at the latest. */
  | { readonly type: "drain"; readonly on: boolean; readonly deadline?: number }
  /** What keeps this speaker from taking addresses, for the others' verdicts. */
  | { readonly type: "plight"; readonly plight: Plight | undefined }
  | { readonly type: "rebalance" }
  /** Another rhythm, as of {@link timingOf}. */
  | { readonly type: "timing"; readonly interval: number; readonly multiplier: number };

/** What a step gives. */
export interface Step {
  readonly actions: readonly Action[];
  /** When to call the next step at the latest. */
  readonly wakeAt: number;
}

/** How an address stands, as this speaker sees it. */
export interface AddressView {
  readonly owner: string | undefined;
  readonly claim: Claim | undefined;
  /** Why this speaker does not claim it although it is its turn. */
  readonly hindrance: Hindrance | undefined;
  /** The host that uses it, as far as is known: with hindrance `conflict`. */
  readonly usedBy: MacAddress | undefined;
  /** Members that asked the LAN for this address of mine and heard no answer. */
  readonly unansweredBy: readonly string[];
}

/** What keeps a member from owning addresses, or what is odd about it. */
export type MemberReason = Extract<
  NodeReason,
  "SpeakerDead" | "Draining" | "Isolated" | "PeerUnreachableButAnswering" | "NotAnswering"
>;

/** What is the matter with a member. */
export interface MemberView {
  readonly reason: MemberReason;
  /** In the time of the steps. */
  readonly since: number;
  readonly address?: Address;
}

/** One speaker's protocol. */
export class Protocol {
  readonly #context: Context;
  readonly #membership: Membership;
  readonly #ownership: Ownership;
  readonly #idOf: (name: string) => string;
  #couldAnswer = false;
  #lone = false;

  /** A speaker that is joining; it does nothing before its first step. */
  constructor(options: ProtocolOptions, now: number) {
    const { name, life, endpoints, links, keyIds } = options;
    this.#idOf = options.idOf ?? idOfName;
    this.#context = {
      self: name,
      life,
      timing: timingOf(options.interval, options.multiplier),
      roster: new Roster(name, options.position),
      claims: new ClaimTable(),
      rank: options.rank ?? rankOf,
      outbox: new Outbox(),
      random: options.random,
      actions: [],
      counters: new Map(),
      now,
      versions: [0n, 0n, 0n, 0n],
    };
    const own: MemberRecord = {
      name,
      epoch: 1,
      life,
      refutation: 0,
      dead: false,
      revision: 0,
      status: "joining",
      deaf: false,
      rebalancing: false,
      endpoints,
      links,
      keyIds,
    };
    this.#ownership = new Ownership(this.#ownershipHost(options.candidacies));
    this.#membership = new Membership(this.#membershipHost(options.position), own);
  }

  /** Takes in what happened, and gives what to do now and when to come back. */
  step(event: Event, now: number): Step {
    const context = this.#context;
    // A clock that stands still for a while is nothing new; one that runs backwards is told so.
    context.now = Math.max(now, context.now);
    this.#membership.begin();
    this.#take(event);
    let wakeAt = this.#membership.tick();
    this.#noticeFence();
    wakeAt = Math.min(wakeAt, this.#ownership.settle());
    // What ownership decided is to be spread within the same step.
    wakeAt = Math.min(wakeAt, this.#membership.gossip.tick());
    wakeAt = Math.max(wakeAt, context.now + 0.5);
    this.#membership.expect(wakeAt);
    this.#send();
    const actions = context.actions.splice(0);
    return { actions, wakeAt };
  }

  /** Tells whether frames for an address are answered now. */
  answers(address: Address): boolean {
    return this.#ownership.answers(address);
  }

  /** Gives the addresses that this speaker holds. */
  held(): Iterable<Address> {
    return this.#ownership.held();
  }

  /** Tells how an address stands. */
  view(address: Address): AddressView {
    const held = this.#ownership.owner(address);
    return {
      owner: held?.node,
      claim: held?.claim,
      hindrance: this.#ownership.hindrance(address),
      usedBy: this.#ownership.usedBy(address),
      unansweredBy: this.#ownership.unansweredBy(address),
    };
  }

  /** Tells what is the matter with a member, this speaker included. */
  memberView(name: string): MemberView | undefined {
    const { roster } = this.#context;
    const record = roster.get(name);
    if (record === undefined || record.status === "joining" || record.status === "left") {
      return undefined;
    }
    const since = roster.changedAt(name);
    if (record.dead) return { reason: "SpeakerDead", since: roster.diedAt(name) };
    if (record.deaf) return { reason: "Isolated", since };
    const oddity = this.#membership.watch.oddity(name);
    if (oddity !== undefined) return oddity;
    return record.status === "draining" ? { reason: "Draining", since } : undefined;
  }

  /** This speaker hears nobody, is heard by nobody, or never met anybody though it should have. */
  get isIsolated(): boolean {
    const { fence } = this.#membership;
    return this.own.deaf || fence.reason === "unheard" || fence.reason === "deaf" || this.#lone;
  }

  /** More than half of those that were there lately are. */
  get isQuorate(): boolean {
    return this.#context.roster.isQuorate(this.#context.now);
  }

  /** Takes out the round trips measured since the last call, in milliseconds. */
  takeRoundTrips(): number[] {
    return this.#membership.watch.takeRoundTrips();
  }

  /** Gives the members as this speaker sees them. */
  get roster(): Roster {
    return this.#context.roster;
  }

  /** Gives all claims as this speaker sees them. */
  get claims(): ClaimTable {
    return this.#context.claims;
  }

  /** Gives what this speaker says of itself. */
  get own(): MemberRecord {
    return this.#membership.own;
  }

  /** Gives why nothing is answered at the moment. */
  get fence(): FenceReason | undefined {
    return this.#membership.fence.reason;
  }

  /** Tells whether this speaker may answer: a member, and not fenced. */
  get mayAnswer(): boolean {
    return this.#membership.mayAnswer;
  }

  /** Gives counts of what happened, by name. */
  get counters(): ReadonlyMap<string, number> {
    return this.#context.counters;
  }

  #take(event: Event): void {
    const { now } = this.#context;
    switch (event.type) {
      case "tick":
        return;
      case "packet":
        this.#membership.packet(event.packet);
        return;
      case "hints":
        this.#membership.hint(event.hints);
        return;
      case "candidacies":
        this.#ownership.candidaciesChanged(event.addresses);
        return;
      case "versions":
        this.#context.versions = event.versions;
        this.#ownership.versionsChanged();
        return;
      case "witness":
        this.#membership.witness(event.subject, { at: now, ...event }, event.purpose);
        return;
      case "probed":
        this.#ownership.probed(event.address, event);
        return;
      case "rival":
        this.#ownership.rivalSeen(event.address, event.node);
        return;
      case "frame":
        this.#membership.frameHeard();
        return;
      case "carrier":
        this.#membership.carrierReturned();
        return;
      case "moved":
        this.#membership.moved(event.endpoints, event.links);
        return;
      case "keys":
        this.#membership.rekeyed(event.keyIds);
        return;
      case "drain":
        this.#drain(event.on, event.deadline);
        return;
      case "plight":
        this.#membership.setPlight(event.plight);
        return;
      case "rebalance":
        this.#ownership.rebalance();
        return;
      case "timing":
        this.#membership.retimed(timingOf(event.interval, event.multiplier));
        return;
    }
  }

  #drain(on: boolean, deadline: number | undefined): void {
    const { status } = this.#membership.own;
    if (status === "left") return;
    if (status !== "joining") this.#membership.amend({ status: on ? "draining" : "active" });
    else if (deadline !== undefined) {
      // It owns nothing and nobody counts on it.
      this.#leave(0);
      return;
    }
    this.#ownership.drain(on, deadline);
  }

  #leave(forced: number): void {
    this.#membership.amend({ status: "left" });
    this.#context.actions.push({ type: "left", forced });
  }

  #noticeFence(): void {
    const mayAnswer = this.#membership.mayAnswer;
    if (mayAnswer && !this.#couldAnswer) this.#ownership.unfenced();
    this.#couldAnswer = mayAnswer;
  }

  #send(): void {
    const { outbox, actions, roster } = this.#context;
    if (outbox.isEmpty) return;
    for (const { to, messages, endpoint = this.#membership.endpointOf(to) } of outbox.take()) {
      if (endpoint === undefined) continue;
      const keyIds = roster.get(to)?.keyIds ?? [];
      actions.push({ type: "send", to, endpoint, keyIds, messages });
    }
  }

  #membershipHost(position: RingPosition | undefined) {
    const ownership = this.#ownership;
    return {
      context: this.#context,
      position,
      idOf: (name: string) => this.#idOf(name),
      memberChanged: (name: string) => {
        ownership.memberChanged(name);
        if (this.#lone && this.#context.roster.liveCount > 1) this.#lone = false;
        this.#context.actions.push({ type: "member", name });
      },
      lifeEnded: (life: Life) => ownership.lifeEnded(life),
      forgotten: (name: string) => {
        ownership.forgotten(name);
        this.#context.actions.push({ type: "member", name });
      },
      claimed: (claim: Claim) => ownership.claimed(claim),
      provedGone: (name: string) => ownership.provedGone(name),
      activated: (how: "joined" | "cold" | "alone", isOnly: boolean) => {
        // Even after a cold start: those that were waiting, too, may have gone meanwhile.
        this.#lone = how !== "joined" && !isOnly;
        ownership.activated(how);
      },
      demote: () => ownership.demote(),
      lastVersion: () => ownership.lastVersion,
      handle: (from: string, message: Message) => ownership.handle(from, message),
    };
  }

  #ownershipHost(candidacies: Candidacies) {
    return {
      context: this.#context,
      candidacies,
      mayAnswer: () => this.#membership.mayAnswer,
      isLone: () => this.#lone,
      isDraining: () => this.#membership.own.status === "draining",
      isRebalancing: () => this.#membership.own.rebalancing,
      isNeighbour: (name: string) => this.#membership.watch.watched.has(name),
      setRebalancing: (on: boolean) => this.#membership.amend({ rebalancing: on }),
      leave: (forced: number) => this.#leave(forced),
      lastSign: (name: string) => this.#membership.lastSign(name),
      spread: (claim: Claim) => {
        this.#membership.gossip.spreadClaim(claim);
      },
    };
  }
}
