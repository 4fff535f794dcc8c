/**
 * Contests: views of the API differ for a while, and the holder of an address may be none in a newer
 * one. Whoever sees that says so to the holder, which alone decides: it hands over to a candidate, or
 * stops when two say that the address is gone. A view that is not newer than the holder's contests
 * nothing, so two views cannot chase an address to and fro.
 */
import type { Address } from "../packet/address/address.ts";
import type { HeldClaim } from "./claims.ts";
import type { Context } from "./context.ts";
import type { Contest, Versions } from "./messages.ts";
import { CONTEST_MS, STRANGER_MS } from "./timing.ts";

/** A contest is repeated after this, each time after twice as long, up to the other. */
const INTERVAL_MS = 1000;
const SLOWEST_MS = 60_000;
/** So many in one interval: a view that is old in everything contests everything. */
const AT_ONCE = 200;
/** Of two that say that an address is gone each has to have said so within this. */
const GONE_MS = 2.5 * SLOWEST_MS;

/** Why a holder is contested: it is `wrong` for the address, or the address is `gone`. */
export type Complaint = "wrong" | "gone";

interface Contesting {
  readonly complaint: Complaint;
  /** Who was told last, and in which view. */
  holder: string | undefined;
  versions: Versions;
  wait: number;
  nextAt: number;
}

/** The contests of one speaker, and those against it. */
export class Contests {
  readonly #context: Context;
  readonly #begun = new Map<Address, Contesting>();
  /** Who says that own addresses are gone, and when it last did. */
  readonly #askers = new Map<Address, Map<string, number>>();
  /** Addresses that a newer view does not know: not claimed again before this view is as new. */
  readonly #barred = new Map<Address, Versions>();
  #nextAt = Infinity;

  /** Begins with none. */
  constructor(context: Context) {
    this.#context = context;
  }

  /** When there is something to do. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** Takes note whether there is something to complain of; it has to be so for a while. */
  note(address: Address, complaint: Complaint, isSo: boolean): void {
    const begun = this.#begun.get(address);
    if (!isSo) {
      if (begun?.complaint === complaint) this.#begun.delete(address);
      return;
    }
    if (begun?.complaint === complaint) return;
    const { versions } = this.#context;
    const nextAt = this.#context.now + (complaint === "gone" ? STRANGER_MS : CONTEST_MS);
    const contest = { complaint, holder: undefined, versions, wait: INTERVAL_MS, nextAt };
    this.#begun.set(address, contest);
    this.#nextAt = Math.min(this.#nextAt, nextAt);
  }

  /** Nobody holds an address any more. */
  drop(address: Address): void {
    this.#begun.delete(address);
  }

  /** Tells the holders what is due. */
  run(holderOf: (address: Address) => HeldClaim | undefined): void {
    const { now, outbox, versions } = this.#context;
    if (now < this.#nextAt) return;
    this.#nextAt = this.#begun.size > 0 ? now + INTERVAL_MS : Infinity;
    let left = AT_ONCE;
    for (const [address, contest] of this.#begun) {
      const isTold = contest.holder !== undefined;
      if (now < contest.nextAt && !isTold) continue;
      const holder = holderOf(address);
      if (holder === undefined) continue;
      // Another holder, or another view to show, is worth another try at once.
      const isNews = contest.holder !== holder.node || contest.versions !== versions;
      if (isTold && isNews) contest.wait = INTERVAL_MS;
      else if (now < contest.nextAt) continue;
      if (left-- === 0) break;
      contest.holder = holder.node;
      contest.versions = versions;
      contest.nextAt = now + contest.wait;
      contest.wait = Math.min(2 * contest.wait, SLOWEST_MS);
      const absent = contest.complaint === "gone";
      outbox.send(holder.node, { type: "contest", address, absent, versions });
    }
  }

  /** Tells what a contest against an own claim comes to; undefined: nothing, or nothing yet. */
  judge(from: string, { address, absent, versions }: Contest): Complaint | undefined {
    const { now, roster } = this.#context;
    if (!isNewer(versions, this.#context.versions)) return undefined;
    if (!absent) return "wrong";
    const askers = this.#askers.get(address) ?? new Map<string, number>();
    for (const [name, at] of askers) if (now - at > GONE_MS) askers.delete(name);
    this.#askers.set(address, askers.set(from, now));
    const others = Math.max(1, roster.liveCount - 1);
    if (askers.size < Math.min(2, others)) return undefined;
    this.#askers.delete(address);
    this.#barred.set(address, versions);
    return "gone";
  }

  /** Tells whether a newer view said that an address is gone. */
  isBarred(address: Address): boolean {
    const versions = this.#barred.get(address);
    if (versions === undefined) return false;
    if (isNewer(versions, this.#context.versions)) return true;
    this.#barred.delete(address);
    return false;
  }

  /** The addresses that are barred: a newer view may allow them. */
  barred(): Iterable<Address> {
    return this.#barred.keys();
  }

  /** Forgets what others said of an address. */
  forget(address: Address): void {
    this.#askers.delete(address);
    this.#barred.delete(address);
  }
}

/** Tells whether versions are at least the others in all, and above them in one. */
function isNewer(versions: Versions, others: Versions): boolean {
  let above = false;
  for (const [i, version] of versions.entries()) {
    const other = others[i] ?? 0n;
    if (version < other) return false;
    if (version > other) above = true;
  }
  return above;
}
