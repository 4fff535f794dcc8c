/**
 * Keeps the kernel's filter of one packet socket in step with the addresses that are answered for.
 *
 * - It is never blind: what is added is let through when {@link SocketFilter.change} returns, before
 *   the table answers for it. When there is no time to compile, by letting everything through for
 *   the moment.
 * - A change after a quiet time is compiled at once, changes in a row when they are over. Large sets
 *   are compiled elsewhere: that takes up to a tenth of a second, which no reply has to wait for.
 * - A set too large for one program is spread over several, so that the filter stays exact.
 * - What the kernel has no room for is compiled into smaller programs until it has, in the end coarser
 *   ones; at the very end everything is let through, never nothing.
 */
import type { Address } from "../packet/address/address.ts";
import { BPF_MAX_INSTRUCTIONS, type BpfProgram } from "../packet/wire/bpf.ts";
import {
  compileFilter,
  MIN_FILTER_INSTRUCTIONS,
  type FilterBudget,
} from "../packet/wire/filter.ts";

/** Addresses up to which a filter is compiled on the spot: less than a millisecond. */
export const COMPILE_HERE = 64;
/** Changes closer than this are changes in a row. */
export const SETTLE_MS = 5;
/** As {@link SETTLE_MS}, for sets that are compiled elsewhere. */
export const SETTLE_ELSEWHERE_MS = 50;
/**
 * Programs, and so sockets, of a filter at most: enough for 16,000 addresses without neighbours under
 * the optmem_max of most kernels, 20,480. Each costs a frame about a tenth of a microsecond.
 */
export const MAX_FILTER_PROGRAMS = 16;
/** When even letting everything through was refused, it is tried again after this. */
const RETRY_MS = 1000;

/** A filter to be compiled elsewhere. */
export interface FilterJob {
  /** Names the job among those of this socket. */
  readonly id: number;
  readonly addresses: readonly Address[];
  readonly budget: FilterBudget;
}

/** What a filter needs of its socket. */
export interface FilterSocket {
  /** Lets every frame through that could ever concern us. */
  readonly everything: BpfProgram;
  /** Attaches programs at once. @returns false when the kernel has no room: the old ones stand */
  attach(programs: readonly BpfProgram[]): boolean;
  /** Has a filter compiled; it comes back by {@link SocketFilter.take}. */
  compileElsewhere(job: FilterJob): void;
  /** The kernel refused even to let everything through: added addresses may not be heard. */
  refused(): void;
}

/** How much a filter lets through: no more than it must, somewhat more, or everything. */
export type FilterPrecision = "exact" | "covering" | "open";

/** The filter of one socket. */
export class SocketFilter {
  readonly #socket: FilterSocket;
  readonly #wanted = new Set<Address>();
  /** What the attached filter lets through at least. A link starts out letting everything through. */
  #covered: ReadonlySet<Address> | "everything" = "everything";
  #precision: FilterPrecision = "open";
  #instructions = BPF_MAX_INSTRUCTIONS;
  #changedAt = -Infinity;
  #dueAt: number | undefined;
  #job: { readonly id: number; readonly addresses: ReadonlySet<Address> } | undefined;
  #jobs = 0;

  /** Takes over the filter of a socket that lets everything through. */
  constructor(socket: FilterSocket) {
    this.#socket = socket;
  }

  /** How much the attached filter lets through. */
  get precision(): FilterPrecision {
    return this.#precision;
  }

  /** When to call {@link wake}; undefined: not at all. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** Takes addresses in and out. When it returns, all that are in are let through. */
  change(added: readonly Address[], removed: readonly Address[], now: number): void {
    for (const address of removed) this.#wanted.delete(address);
    for (const address of added) this.#wanted.add(address);
    const quiet = now - this.#changedAt >= SETTLE_MS && this.#dueAt === undefined;
    if (added.length + removed.length > 0) this.#changedAt = now;
    if (quiet && this.#isSmall() && this.#compileHere()) return;
    if (!added.every((address) => this.#covers(address))) this.#openUp();
    this.#plan(now);
  }

  /** Compiles what is due. */
  wake(now: number): void {
    if (this.#dueAt === undefined || now < this.#dueAt) return;
    // A job under way comes first: its answer says whether another one is needed.
    if (this.#job !== undefined && !this.#isSmall()) {
      this.#dueAt = now + SETTLE_ELSEWHERE_MS;
      return;
    }
    this.#dueAt = undefined;
    if (!this.#isSmall()) this.#compileElsewhere();
    else if (!this.#compileHere()) this.#giveUp(now);
  }

  /** Takes a filter that was compiled elsewhere. */
  take(id: number, programs: readonly BpfProgram[], exact: boolean, now: number): void {
    const job = this.#job;
    if (job?.id !== id) return;
    this.#job = undefined;
    // An address came in meanwhile that it does not know: too late.
    if ([...this.#wanted].some((address) => !job.addresses.has(address))) {
      if (this.#dueAt === undefined) this.#plan(now);
    } else if (!this.#attach(programs, exact, job.addresses)) {
      if (this.#lower(programs)) this.#compileElsewhere();
      else this.#giveUp(now);
    }
  }

  /** The kernel's room may have changed, and the filter with it: starts over. */
  reset(now: number): void {
    this.#covered = "everything";
    this.#precision = "open";
    this.#plan(now);
  }

  #isSmall(): boolean {
    return this.#wanted.size <= COMPILE_HERE;
  }

  #covers(address: Address): boolean {
    return this.#covered === "everything" || this.#covered.has(address);
  }

  #plan(now: number): void {
    this.#dueAt = now + (this.#isSmall() ? SETTLE_MS : SETTLE_ELSEWHERE_MS);
  }

  #openUp(): void {
    if (this.#covered === "everything") return;
    if (!this.#socket.attach([this.#socket.everything])) {
      this.#socket.refused();
      return;
    }
    this.#covered = "everything";
    this.#precision = "open";
  }

  #giveUp(now: number): void {
    this.#openUp();
    if (this.#covered !== "everything") this.#dueAt = now + RETRY_MS;
  }

  get #budget(): FilterBudget {
    return { instructions: this.#instructions, programs: MAX_FILTER_PROGRAMS };
  }

  #attach(programs: readonly BpfProgram[], exact: boolean, covered: ReadonlySet<Address>): boolean {
    if (!this.#socket.attach(programs)) return false;
    this.#covered = covered;
    this.#precision = exact ? "exact" : "covering";
    return true;
  }

  /** @returns false when the kernel has no room for any filter. */
  #compileHere(): boolean {
    this.#job = undefined;
    for (;;) {
      const { programs, exact } = compileFilter(this.#wanted, this.#budget);
      if (this.#attach(programs, exact, new Set(this.#wanted))) return true;
      if (!this.#lower(programs)) return false;
    }
  }

  #compileElsewhere(): void {
    const id = ++this.#jobs;
    const addresses = new Set(this.#wanted);
    this.#job = { id, addresses };
    this.#socket.compileElsewhere({ id, addresses: [...addresses], budget: this.#budget });
  }

  /** After a refusal: three quarters of what was refused. @returns false when it gets no smaller */
  #lower(refused: readonly BpfProgram[]): boolean {
    const longest = Math.max(...refused.map(({ length }) => length));
    if (longest <= MIN_FILTER_INSTRUCTIONS) return false;
    this.#instructions = Math.max(MIN_FILTER_INSTRUCTIONS, Math.floor((longest * 3) / 4));
    return true;
  }
}
