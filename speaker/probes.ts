/**
 * What the LAN said of addresses, and what it is being asked. Of each address that was probed the
 * shell goes on listening until it is told otherwise: a host that takes it later is a conflict, too.
 */
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { Context, ProbePurpose } from "./context.ts";
import { Deadlines } from "./deadlines.ts";

/** An address that a foreign host was seen to use is probed again after so long. */
const CONFLICT_RETRY_MS = 10_000;
/** A claim that the LAN's word forbade is tried again after so long. */
const PROOF_RETRY_MS = 1000;

/** The answer to a probe. */
export interface ProbeResult {
  readonly taken: boolean;
  /** Frames of others come in: silence means something. */
  readonly heard: boolean;
  readonly by?: MacAddress;
}

/** The probes of one speaker. */
export class Probes {
  readonly #context: Context;
  /** Addresses that the LAN is being asked for. */
  readonly #asked = new Set<Address>();
  readonly #answered = new Set<Address>();
  readonly #listening = new Set<Address>();
  #unlistened: Address[] = [];
  readonly #conflicts = new Map<Address, MacAddress | undefined>();
  /** When conflicts are looked at again, if no claim waits for it then. */
  readonly #again = new Deadlines<Address>();

  /** Begins with nothing asked. */
  constructor(context: Context) {
    this.#context = context;
  }

  /** Asks the LAN whether anybody uses an address. */
  ask(address: Address, purpose: ProbePurpose): void {
    this.#asked.add(address);
    this.#listening.add(address);
    this.#context.actions.push({ type: "probe", address, purpose });
  }

  /** Tells whether an answer is on its way. */
  isAsked(address: Address): boolean {
    return this.#asked.has(address);
  }

  /** Takes an answer in, and tells when at the earliest it makes sense to ask again. */
  answered(address: Address, { taken, by }: ProbeResult): number {
    const { now } = this.#context;
    this.#asked.delete(address);
    this.#answered.add(address);
    const isForeign = taken && !this.#isMember(by);
    if (!isForeign) this.#conflicts.delete(address);
    else if (this.isFirstUse(address)) this.#conflicts.set(address, by);
    if (this.isConflict(address)) this.#again.set(now + CONFLICT_RETRY_MS, address);
    return now + (isForeign ? CONFLICT_RETRY_MS : PROOF_RETRY_MS);
  }

  /** Tells whether no speaker ever answered for an address, as far as is remembered. */
  isFirstUse(address: Address): boolean {
    return this.#context.claims.term(address) === 0;
  }

  /** Tells whether an address has to be probed before its first use, and was not. */
  isDue(address: Address): boolean {
    if (!this.isFirstUse(address)) return false;
    return this.isConflict(address) || !this.wasAnswered(address);
  }

  /** Tells whether the LAN was asked for an address, and what it said still counts. */
  wasAnswered(address: Address): boolean {
    return this.#answered.has(address);
  }

  /** Tells whether a foreign host uses an address. */
  isConflict(address: Address): boolean {
    return this.#conflicts.has(address);
  }

  /** Gives the foreign host that uses an address, as far as it is known. */
  usedBy(address: Address): MacAddress | undefined {
    return this.#conflicts.get(address);
  }

  /**
   * These links are a member's: what was taken for a foreign host, since it was not heard, is none.
   * @returns the addresses that are in conflict no more
   */
  absolve(links: readonly { readonly mac: MacAddress }[]): Address[] {
    const absolved: Address[] = [];
    for (const [address, by] of this.#conflicts) {
      if (!links.some(({ mac }) => mac === by)) continue;
      this.#conflicts.delete(address);
      absolved.push(address);
    }
    return absolved;
  }

  /** Looks no more after a conflict: whether it is still so has to be asked before the next use. */
  unwatch(address: Address): void {
    if (this.#conflicts.delete(address)) this.#answered.delete(address);
  }

  /** The address is in use here: the announcer listens from now on. */
  used(address: Address): void {
    this.#listening.delete(address);
  }

  /** Has the shell listen no more, but for an answer that is on its way. */
  unlisten(address: Address): void {
    if (this.isAsked(address) || !this.#listening.delete(address)) return;
    this.#unlistened.push(address);
  }

  /** Meanwhile anybody may have begun to use it. */
  forget(address: Address): void {
    this.#answered.delete(address);
    this.#conflicts.delete(address);
  }

  /** When {@link takeDue} has something to give. */
  get nextAt(): number {
    return this.#again.next();
  }

  /**
   * Gives the conflicts to be probed again.
   * @param isWaitedFor a claim waits for this address, and has it probed in its own time
   * @param mayAsk otherwise they come again later
   */
  takeDue(isWaitedFor: (address: Address) => boolean, mayAsk: boolean): Address[] {
    const { now } = this.#context;
    const taken: Address[] = [];
    for (let due = this.#again.pop(now); due !== undefined; due = this.#again.pop(now)) {
      if (!this.isConflict(due) || isWaitedFor(due)) continue;
      if (!mayAsk) {
        this.#again.set(now + CONFLICT_RETRY_MS, due);
        continue;
      }
      this.#answered.delete(due);
      taken.push(due);
    }
    return taken;
  }

  /** Takes out the addresses that the shell is to listen for no more. */
  takeUnlistened(): Address[] {
    const taken = this.#unlistened;
    if (taken.length > 0) this.#unlistened = [];
    return taken;
  }

  /** A MAC address that a member has; its answers are no conflict. */
  #isMember(mac: MacAddress | undefined): boolean {
    if (mac === undefined) return false;
    for (const { links } of this.#context.roster.records()) {
      if (links.some((link) => link.mac === mac)) return true;
    }
    return false;
  }
}
