/**
 * The fence: while it is up, a speaker answers for nothing, because it may have been replaced
 * without knowing. It goes up after a stall, when carrier returns, when one is told to be dead, when
 * nobody acknowledges, when nothing is heard. It goes down when a neighbour says "alive" and the
 * tables are equal, or the difference was pulled; or when nobody answers at all and the LAN says that
 * nobody else serves what is mine.
 */
import { count, type Context, type FenceReason } from "./context.ts";
import type { Beat } from "./messages.ts";
import type { Witness } from "./peer.ts";
import { FENCE_PING_MS, FENCE_PULL_MS, FENCE_SILENCE_MS } from "./timing.ts";

const WITNESS_ADDRESSES = 8;
/** A fence that stands for so long pings no oftener than beats go. */
const FENCE_LONG_MS = 1000;

/** What the fence needs of the speaker. */
export interface FenceHost {
  readonly context: Context;
  /** Names of those to ask. */
  judges(): readonly string[];
  ping(name: string): void;
  nextSequence(): number;
  /** When any authentic packet was last heard. */
  heardAt(): number;
  /** Starts a comparison of everything with a member. */
  compare(name: string): void;
  /** The digests of a beat equal my own. */
  agrees(beat: Beat): boolean;
  /** Owner's claims cease to be firm. */
  demote(): void;
}

/** Whether one speaker may answer at the moment. */
export class Fence {
  /** Why it is up; undefined while it is down. */
  reason: FenceReason | undefined;
  readonly #host: FenceHost;
  readonly #context: Context;
  #since = 0;
  #pingAt = Infinity;
  /** Only answers to pings from this sequence on count. */
  #sequence = 0;
  #answeredAt = -Infinity;
  #demoted = false;
  #comparedAt = -Infinity;
  #aliveSince = Infinity;
  #witnessAt = -Infinity;
  #askedAt = -Infinity;

  /** Begins with nothing known but what the host says. */
  constructor(host: FenceHost) {
    this.#host = host;
    this.#context = host.context;
  }

  /** Raises the fence, or renews it for a weightier reason. */
  raise(reason: FenceReason): void {
    // A second pause makes all void that was found out after the first; a second notice does not.
    const isNews = reason === "stall" || reason === "carrier" || reason !== this.reason;
    if (this.reason === "superseded" || !isNews) return;
    const { now, actions } = this.#context;
    if (this.reason === undefined) {
      actions.push({ type: "fence", on: true, reason });
      count(this.#context, `fence ${reason}`);
    }
    this.reason = reason;
    this.#since = now;
    this.#pingAt = now;
    this.#sequence = this.#host.nextSequence();
    this.#answeredAt = -Infinity;
    this.#demoted = false;
    this.#comparedAt = -Infinity;
    this.#aliveSince = Infinity;
    this.#witnessAt = now + FENCE_SILENCE_MS;
    this.#askedAt = -Infinity;
  }

  /** Lets it down. */
  lower(): void {
    if (this.reason === undefined) return;
    this.#context.actions.push({ type: "fence", on: false, reason: this.reason });
    this.reason = undefined;
    this.#pingAt = Infinity;
  }

  /** Takes an answer to one of its pings. */
  pong(from: string, pong: Beat): void {
    if (this.reason === undefined || this.reason === "superseded") return;
    if (pong.ack < this.#sequence) return;
    const { now } = this.#context;
    this.#answeredAt = now;
    if (pong.standing !== "alive") {
      if (!this.#demoted) this.#host.demote();
      this.#demoted = true;
      this.#aliveSince = Infinity;
      return;
    }
    if (this.#aliveSince === Infinity) this.#aliveSince = now;
    if (this.#host.agrees(pong) || now - this.#aliveSince >= FENCE_PULL_MS) this.lower();
    else if (now - this.#comparedAt >= FENCE_PULL_MS / 2) {
      this.#comparedAt = now;
      this.#host.compare(from);
    }
  }

  /** Takes the LAN's word on my own addresses. */
  witness(witness: Witness): void {
    if (this.reason === undefined || this.reason === "superseded") return;
    // A word that was asked for before the fence went up, or before a pause, says nothing of now.
    const isAsked = this.#askedAt >= this.#since && witness.at > this.#askedAt;
    if (this.#hasCompany() || !isAsked) return;
    if (witness.reached && !witness.answered) this.lower();
  }

  /** Does what is due, and gives when to come back. */
  tick(): number {
    if (this.reason === undefined || this.reason === "superseded") return Infinity;
    const { now, actions, self, claims, life, timing } = this.#context;
    if (now >= this.#pingAt) {
      const isLong = now - this.#since > FENCE_LONG_MS;
      this.#pingAt = now + (isLong ? timing.interval : FENCE_PING_MS);
      for (const name of this.#host.judges()) this.#host.ping(name);
    }
    if (now >= this.#witnessAt) {
      this.#witnessAt = now + timing.interval;
      if (!this.#hasCompany()) {
        const addresses = [];
        for (const claim of claims.records(life)) {
          if (!claim.released && addresses.push(claim.address) >= WITNESS_ADDRESSES) break;
        }
        this.#askedAt = now;
        actions.push({ type: "witness", subject: self, addresses, purpose: "fence" });
      }
    }
    return Math.min(this.#pingAt, this.#witnessAt);
  }

  /** Somebody is there to judge: then the LAN's word is not enough. */
  #hasCompany(): boolean {
    const { now, timing } = this.#context;
    return Math.max(this.#answeredAt, this.#host.heardAt()) > now - timing.contact;
  }
}
