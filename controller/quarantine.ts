/**
 * Addresses that other hosts on the LAN use. A mark is made when a speaker reports a conflict, and is
 * kept in the status of the address's pool, so that it outlives the Service and this process. It goes
 * when a speaker begins to announce the address unopposed, or when somebody takes it out of that status.
 * What a node that is dead now said before the conflict stands there on, and lifts no mark.
 */
import type { AddressPoolStatus } from "../api/address-pool.ts";
import { parseAddress, type Address } from "../packet/address/address.ts";
import type { Report, ReportedAnnouncement, ReportedConflict } from "./announced.ts";

/** An entry of `status.quarantined`. */
export type QuarantineEntry = NonNullable<AddressPoolStatus["quarantined"]>[number];

interface Mark {
  readonly entry: QuarantineEntry;
  /** Pool whose status has been seen to list it. */
  listedBy: string | undefined;
}

/** Who speaks of an address at present. */
interface Mentions {
  announced: number;
  /** How many report a conflict, and the first one's word of it. */
  conflicts: number;
  conflict: ReportedConflict | undefined;
  /** In the order of what was reported: the last announcement and the last conflict that were new. */
  announcedAt: number;
  conflictAt: number;
}

/** The marks. What is reported is counted as it changes: there may be ten thousand reports. */
export class Quarantine {
  readonly #marks = new Map<Address, Mark>();
  readonly #mentions = new Map<Address, Mentions>();
  /** Addresses whose mark has to be thought over. */
  readonly #open = new Set<Address>();
  #changed = false;
  /** Counts what was reported. */
  #reports = 0;

  /** All marked addresses. */
  get addresses(): ReadonlySet<Address> {
    return new Set(this.#marks.keys());
  }

  /** Gives the entry of an address, undefined when it is not marked. */
  entry(address: Address): QuarantineEntry | undefined {
    return this.#marks.get(address)?.entry;
  }

  /**
   * Takes what a speaker says now in place of what it said before.
   * @param isNews false: it was said at some time before this process looked
   */
  report(before: Report, after: Report, isNews = true): void {
    const at = ++this.#reports;
    for (const conflict of after.conflicts) {
      const mentions = this.#mentionsOf(conflict.address);
      mentions.conflicts += 1;
      mentions.conflict ??= conflict;
      if (!before.conflicts.some(({ address }) => address === conflict.address))
        mentions.conflictAt = at;
    }
    for (const each of after.announced) {
      const mentions = this.#mentionsOf(each.address);
      mentions.announced += 1;
      const isKnown = before.announced.some(
        ({ address, term }) => address === each.address && term === each.term,
      );
      if (!isKnown && (isNews || this.#isAfterMark(each))) mentions.announcedAt = at;
    }
    for (const { address } of before.conflicts) this.#mentionsOf(address).conflicts -= 1;
    for (const { address } of before.announced) this.#mentionsOf(address).announced -= 1;
  }

  /** Takes what the status of a pool lists; a mark that was listed and is no more has been lifted. */
  list(pool: string, entries: readonly QuarantineEntry[]): void {
    const listed = new Set<Address>();
    for (const entry of entries) {
      const parsed = parseAddress(entry.address);
      if (!parsed.ok) continue;
      listed.add(parsed.value);
      this.#open.add(parsed.value);
      const mark = this.#marks.get(parsed.value);
      if (mark === undefined) this.#mark(parsed.value, { entry, listedBy: pool });
      else mark.listedBy = pool;
    }
    for (const [address, mark] of this.#marks) {
      if (mark.listedBy !== pool || listed.has(address)) continue;
      if (this.#isReported(address)) mark.listedBy = undefined;
      else this.#lift(address);
    }
  }

  /** Makes and lifts marks after what was reported. @returns whether any mark came or went since */
  settle(now: string): boolean {
    for (const address of this.#open) {
      const mentions = this.#mentions.get(address);
      if (mentions === undefined) continue;
      if (mentions.conflicts === 0) mentions.conflict = undefined;
      const { conflict, announced, announcedAt, conflictAt } = mentions;
      if (conflict === undefined) {
        if (announced === 0) this.#mentions.delete(address);
        else if (announcedAt > conflictAt) this.#lift(address);
      } else if (!this.#marks.has(address)) {
        this.#mark(address, { entry: entryOf(conflict, now), listedBy: undefined });
      }
    }
    this.#open.clear();
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  /** Whether an owner is so since after the conflict that a mark tells of. */
  #isAfterMark({ address, since }: ReportedAnnouncement): boolean {
    const mark = this.#marks.get(address)?.entry.since ?? "";
    return Date.parse(since) > Date.parse(mark);
  }

  #isReported(address: Address): boolean {
    return (this.#mentions.get(address)?.conflicts ?? 0) > 0;
  }

  #mentionsOf(address: Address): Mentions {
    this.#open.add(address);
    let mentions = this.#mentions.get(address);
    if (mentions === undefined) {
      const never = { announcedAt: 0, conflictAt: 0 };
      mentions = { announced: 0, conflicts: 0, conflict: undefined, ...never };
      this.#mentions.set(address, mentions);
    }
    return mentions;
  }

  #mark(address: Address, mark: Mark): void {
    this.#marks.set(address, mark);
    this.#changed = true;
  }

  #lift(address: Address): void {
    if (this.#marks.delete(address)) this.#changed = true;
  }
}

function entryOf(conflict: ReportedConflict, now: string): QuarantineEntry {
  const { address, hardwareAddress, since } = conflict;
  const who = hardwareAddress === "" ? {} : { hardwareAddress };
  return { address, ...who, since: since === "" ? now : since };
}
