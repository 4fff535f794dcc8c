/**
 * Addresses that nobody answers for, or whose owner looks for a successor, as those see them that
 * could claim them: whoever is not first waits for those before it, then asks them, and steps up when
 * none of them will answer.
 */
import type { Address } from "../packet/address/address.ts";
import type { Context } from "./context.ts";
import type { Reply } from "./messages.ts";
import { QUERY_INTERVAL_MS, QUERY_TRIES, STEP_UP_MS } from "./timing.ts";

/** In one packet. */
const QUERY_ADDRESSES = 60;

/** An address to be claimed. */
export interface Orphan {
  /** Since when those before could have claimed it. */
  since: number;
  /** Places asked whether they will answer. */
  asked: Map<string, "silent" | "no"> | undefined;
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
  readonly #toQuery = new Set<Address>();
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
    const orphan = { ...times, asked: undefined, tries: 0, probing: false, proved: false };
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

  /** Waits, then asks those before; true when none of them will answer for the address. */
  isSteppingUp(address: Address, orphan: Orphan, before: readonly string[]): boolean {
    const { now } = this.#context;
    const turn = orphan.since + before.length * STEP_UP_MS;
    if (now < turn) {
      this.wake(orphan, turn);
      return false;
    }
    orphan.asked ??= new Map(before.map((name) => [name, "silent"]));
    const { asked } = orphan;
    for (const name of before) if (!asked.has(name)) asked.set(name, "silent");
    const silent = before.filter((name) => asked.get(name) === "silent");
    if (silent.length === 0) return true;
    if (now < orphan.nextAt) return false;
    if (orphan.tries >= QUERY_TRIES) return true;
    this.wake(orphan, now + QUERY_INTERVAL_MS);
    orphan.tries++;
    this.#toQuery.add(address);
    return false;
  }

  /** Sends what {@link isSteppingUp} wants asked, together. */
  sendQueries(mayClaim: (name: string) => boolean): void {
    if (this.#toQuery.size === 0) return;
    const questions = new Map<string, Address[]>();
    for (const address of this.#toQuery) {
      for (const [name, answer] of this.get(address)?.asked ?? []) {
        if (answer !== "silent" || !mayClaim(name)) continue;
        const addresses = questions.get(name);
        if (addresses === undefined) questions.set(name, [address]);
        else addresses.push(address);
      }
    }
    this.#toQuery.clear();
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
      if (orphan?.asked?.has(from) !== true) continue;
      if (mine) {
        orphan.since = now;
        orphan.asked = undefined;
        orphan.tries = 0;
      } else {
        orphan.asked.set(from, "no");
      }
      orphan.nextAt = now;
      told.push(address);
    }
    return told;
  }
}
