/** What others say of this speaker's addresses that they get no answer for, while it counts. */
import type { Address } from "../packet/address/address.ts";
import { Deadlines } from "./deadlines.ts";
import { UNANSWERED_MS } from "./timing.ts";

/** Complaints of neighbours, by address. */
export class Unanswered {
  /** Until when each complaint counts. */
  readonly #said = new Map<Address, Map<string, number>>();
  readonly #until = new Deadlines<Address>();

  /** Takes a complaint in, and tells whether it is news. */
  note(from: string, address: Address, now: number): boolean {
    const said = this.#said.get(address) ?? new Map<string, number>();
    const isNews = !said.has(from);
    const until = now + UNANSWERED_MS;
    this.#said.set(address, said.set(from, until));
    this.#until.set(until, address);
    return isNews;
  }

  /** Tells which members get no answer for an address. */
  by(address: Address, now: number): string[] {
    const said = this.#said.get(address) ?? [];
    return [...said].flatMap(([name, until]) => (now < until ? [name] : []));
  }

  /** When {@link takeDue} has something to do. */
  get nextAt(): number {
    return this.#until.next();
  }

  /** Forgets what counts no more, and gives the addresses that it was said of. */
  takeDue(now: number): Set<Address> {
    const changed = new Set<Address>();
    for (let due = this.#until.pop(now); due !== undefined; due = this.#until.pop(now)) {
      const said = this.#said.get(due);
      if (said === undefined) continue;
      for (const [name, until] of said) if (now >= until) said.delete(name);
      if (said.size === 0) this.#said.delete(due);
      changed.add(due);
    }
    return changed;
  }
}
