/**
 * Addresses that nobody answers for, or whose owner looks for a successor, as those see them that
 * could claim them: whoever is not first waits for those before it, then asks them, and steps up when
 * none of them will answer.
 */
import type { Address } from "../packet/address/address.ts";
import type { Context } from "./context.ts";
import type { Reply } from "./messages.ts";
import { QUERY_INTERVAL_MS, QUERY_TRIES, STEP_UP_MS } from "./timing.ts";

/** So many of those before a speaker are asked; and counted at first: see {@link Orphans.reach}. */
const PLACES = 8;
/** In one packet. */
const QUERY_ADDRESSES = 60;

/** An address to be claimed. */
export interface Orphan {
  /** Since when those before could have claimed it. */
  since: number;
  /** Those before this speaker that will not claim it. */
  readonly refusals: Set<string>;
  tries: number;
  nextAt: number;
  /** The LAN is being asked, or was and forbade it until `proofAt`. */
  probing: boolean;
  proofAt: number;
  proved: boolean;
}

/** The orphans that one speaker could claim. */
export class Orphans {
  readonly #context: Context;
  readonly #all = new Map<Address, Orphan>();
  /** Whom to ask for which. */
  readonly #toAsk = new Map<Address, readonly string[]>();
  #nextAt = Infinity;

  /** Begins with none. */
  constructor(context: Context) {
    this.#context = context;
  }

  /** Gives an orphan; undefined: it is none. */
  get(address: Address): Orphan | undefined {
    return this.#all.get(address);
  }

  /** Tells whether an address is one. */
  has(address: Address): boolean {
    return this.#all.has(address);
  }

  /** Gives an orphan, new if it was none. */
  take(address: Address): Orphan {
    const known = this.#all.get(address);
    if (known !== undefined) return known;
    const { now } = this.#context;
    const times = { since: now, nextAt: now, proofAt: now };
    const refusals = new Set<string>();
    const orphan = { ...times, refusals, tries: 0, probing: false, proved: false };
    this.#all.set(address, orphan);
    return orphan;
  }

  /** It is none any more. */
  delete(address: Address): void {
    this.#all.delete(address);
  }

  /** When {@link due} has something to give. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** Has all of them looked at, at the latest then. */
  lookAt(at: number): void {
    if (this.#all.size > 0) this.#nextAt = Math.min(this.#nextAt, at);
  }

  /** Nothing may be claimed before then. */
  postpone(until: number): void {
    this.#nextAt = until;
  }

  /** Waits begin anew: before `since` nobody could have claimed any. */
  restart(since: number): void {
    for (const orphan of this.#all.values()) orphan.since = since;
  }

  /** What held claims back holds no more: all are looked at now, and waits begin anew. */
  release(since: number): void {
    const { now } = this.#context;
    this.restart(since);
    for (const orphan of this.#all.values()) orphan.nextAt = now;
    this.lookAt(now);
  }

  /** Comes back to an orphan. */
  wake(orphan: Orphan, at: number): void {
    orphan.nextAt = at;
    this.#nextAt = Math.min(this.#nextAt, at);
  }

  /**
   * Gives those to be decided on now.
   * @param isFirst those before may have died since the wait began
   */
  due(isFirst: (address: Address) => boolean): Address[] {
    const { now } = this.#context;
    const due: Address[] = [];
    this.#nextAt = Infinity;
    for (const [address, orphan] of this.#all) {
      if (orphan.probing) continue;
      if (now >= orphan.nextAt || isFirst(address)) due.push(address);
      else this.#nextAt = Math.min(this.#nextAt, orphan.nextAt);
    }
    return due;
  }

  /**
   * Gives how many before this speaker matter now: whoever has more before it has to wait in any case,
   * and counts them again then. In a big cluster nearly all have.
   */
  reach({ since }: Orphan): number {
    const waited = Math.floor((this.#context.now - since) / STEP_UP_MS);
    let reach = PLACES;
    while (reach <= waited) reach *= 2;
    return reach;
  }

  /**
   * Waits, then asks those before; true when none of them will answer for the address. The first alone
   * is asked first: where claims are many and late on their way, it has one as a rule.
   * @param before names, the first in rank first, up to one more than {@link reach}
   */
  isSteppingUp(address: Address, orphan: Orphan, before: readonly string[]): boolean {
    const { now } = this.#context;
    const turn = orphan.since + Math.min(before.length, this.reach(orphan)) * STEP_UP_MS;
    if (now < turn) {
      this.wake(orphan, turn);
      return false;
    }
    const { refusals } = orphan;
    const silent = before.slice(0, PLACES).filter((name) => !refusals.has(name));
    if (silent.length === 0) return true;
    if (now < orphan.nextAt) return false;
    if (orphan.tries >= QUERY_TRIES) return true;
    this.#toAsk.set(address, orphan.tries === 0 ? silent.slice(0, 1) : silent);
    this.wake(orphan, now + QUERY_INTERVAL_MS);
    orphan.tries++;
    return false;
  }

  /** Sends what {@link isSteppingUp} wants asked, together. */
  sendQueries(): void {
    if (this.#toAsk.size === 0) return;
    const questions = new Map<string, Address[]>();
    for (const [address, names] of this.#toAsk) {
      if (!this.has(address)) continue;
      for (const name of names) {
        const addresses = questions.get(name);
        if (addresses === undefined) questions.set(name, [address]);
        else addresses.push(address);
      }
    }
    this.#toAsk.clear();
    for (const [name, addresses] of questions) {
      for (let i = 0; i < addresses.length; i += QUERY_ADDRESSES) {
        const part = addresses.slice(i, i + QUERY_ADDRESSES);
        this.#context.outbox.send(name, { type: "query", addresses: part });
      }
    }
  }

  /** Takes an answer in, and gives the addresses that it is about. */
  reply(from: string, { answers }: Reply): Address[] {
    const { now } = this.#context;
    const told: Address[] = [];
    for (const { address, mine } of answers) {
      const orphan = this.get(address);
      if (orphan === undefined || orphan.tries === 0) continue;
      if (mine) {
        orphan.since = now;
        orphan.refusals.clear();
        orphan.tries = 0;
      } else {
        orphan.refusals.add(from);
      }
      orphan.nextAt = now;
      told.push(address);
    }
    return told;
  }
}
