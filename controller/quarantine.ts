/**
 * Addresses that other hosts on the LAN use. A mark is made when a speaker reports a conflict, and is
 * kept in the status of the address's pool, so that it outlives the Service and this process. It goes
 * when a speaker announces the address unopposed, or when somebody takes it out of that status.
 */
import type { AddressPoolStatus } from "../api/address-pool.ts";
import { parseAddress, type Address } from "../packet/address/address.ts";
import type { ReportedConflict } from "./announced.ts";

/** An entry of `status.quarantined`. */
export type QuarantineEntry = NonNullable<AddressPoolStatus["quarantined"]>[number];

interface Mark {
  readonly entry: QuarantineEntry;
  /** Pool whose status has been seen to list it. */
  listedBy: string | undefined;
}

/** The marks. */
export class Quarantine {
  readonly #marks = new Map<Address, Mark>();
  #reported: ReadonlySet<Address> = new Set();

  /** All marked addresses. */
  get addresses(): ReadonlySet<Address> {
    return new Set(this.#marks.keys());
  }

  /** Gives the entry of an address, undefined when it is not marked. */
  entry(address: Address): QuarantineEntry | undefined {
    return this.#marks.get(address)?.entry;
  }

  /** Takes what speakers report now: conflicts, and addresses that are announced without one. */
  report(conflicts: readonly ReportedConflict[], unopposed: Iterable<Address>, now: string): void {
    this.#reported = new Set(conflicts.map(({ address }) => address));
    for (const { address, hardwareAddress, since } of conflicts) {
      if (this.#marks.has(address)) continue;
      const who = hardwareAddress === "" ? {} : { hardwareAddress };
      const entry = { address, ...who, since: since === "" ? now : since };
      this.#marks.set(address, { entry, listedBy: undefined });
    }
    for (const address of unopposed) {
      if (!this.#reported.has(address)) this.#marks.delete(address);
    }
  }

  /** Takes what the status of a pool lists; a mark that was listed and is no more has been lifted. */
  list(pool: string, entries: readonly QuarantineEntry[]): void {
    const listed = new Set<Address>();
    for (const entry of entries) {
      const parsed = parseAddress(entry.address);
      if (!parsed.ok) continue;
      listed.add(parsed.value);
      const mark = this.#marks.get(parsed.value);
      if (mark === undefined) this.#marks.set(parsed.value, { entry, listedBy: pool });
      else mark.listedBy = pool;
    }
    for (const [address, mark] of this.#marks) {
      if (mark.listedBy !== pool || listed.has(address)) continue;
      if (!this.#reported.has(address)) this.#marks.delete(address);
      else mark.listedBy = undefined;
    }
  }
}
