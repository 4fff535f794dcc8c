/**
 * What became of frames, by interface and by address. Counts are those since the last report, so that
 * a report holds what happened and nothing else, however many addresses there are.
 */
import type { Address } from "../packet/address/address.ts";
import { DROP_REASONS } from "./responder.ts";

/** Why a frame is not answered, with what never comes to the responder. */
export const FRAME_DROP_REASONS = [
  ...DROP_REASONS,
  /** Longer than any frame that concerns us. */
  "oversized",
  /** To the MAC address of another host, on a promiscuous interface. */
  "foreign",
  /** Nothing may be answered at the moment, or the frame has waited too long. */
  "fenced",
] as const;

/** See {@link FRAME_DROP_REASONS}. */
export type FrameDropReason = (typeof FRAME_DROP_REASONS)[number];

/** Counts by reason; a reason that did not occur is absent. */
export type DropCounts = Partial<Record<FrameDropReason, number>>;

/** What happened about one address on one interface since the last report. */
export interface AddressTraffic {
  readonly address: Address;
  readonly interfaceName: string;
  /** ARP and Neighbor Discovery about it. */
  readonly received: number;
  readonly answered: number;
  /** Frames sent unasked. */
  readonly announced: number;
  readonly conflicts: number;
  readonly drops: DropCounts;
}

/** What happened on one interface since the last report. */
export interface FrameTraffic {
  readonly received: number;
  readonly answered: number;
  readonly drops: DropCounts;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Counts the frames of one interface. */
export class Traffic {
  readonly #interfaceName: string;
  readonly #addresses = new Map<Address, Writable<AddressTraffic>>();
  #frames: Writable<FrameTraffic> = { received: 0, answered: 0, drops: {} };

  /** Starts with nothing. */
  constructor(interfaceName: string) {
    this.#interfaceName = interfaceName;
  }

  /** An address was asked for, and the answer is on its way. */
  answered(address: Address): void {
    this.#frames.received++;
    this.#frames.answered++;
    const counts = this.#of(address);
    counts.received++;
    counts.answered++;
  }

  /** A frame, about an address of ours or not, was not answered. */
  dropped(reason: FrameDropReason, address?: Address): void {
    this.#frames.received++;
    increase(this.#frames.drops, reason);
    if (address === undefined) return;
    const counts = this.#of(address);
    counts.received++;
    increase(counts.drops, reason);
  }

  /** A frame of a stranger claimed an address. */
  conflicted(address: Address): void {
    this.#frames.received++;
    const counts = this.#of(address);
    counts.received++;
    counts.conflicts++;
  }

  /** Frames went out for an address, unasked. */
  announced(address: Address, frames: number): void {
    this.#of(address).announced += frames;
  }

  /** Frames that the link dropped. */
  lost(reason: FrameDropReason, frames: number): void {
    if (frames > 0) increase(this.#frames.drops, reason, frames);
  }

  /** Addresses with counts that wait to be taken. */
  get waiting(): number {
    return this.#addresses.size;
  }

  /** Gives the counts of at most so many addresses, and forgets them. */
  takeAddresses(most: number): AddressTraffic[] {
    const taken: AddressTraffic[] = [];
    for (const counts of this.#addresses.values()) {
      if (taken.length >= most) break;
      this.#addresses.delete(counts.address);
      taken.push(counts);
    }
    return taken;
  }

  /** Gives the counts of the interface, and begins anew. */
  takeFrames(): FrameTraffic {
    const taken = this.#frames;
    this.#frames = { received: 0, answered: 0, drops: {} };
    return taken;
  }

  #of(address: Address): Writable<AddressTraffic> {
    let counts = this.#addresses.get(address);
    if (counts === undefined) {
      const interfaceName = this.#interfaceName;
      const none = { received: 0, answered: 0, announced: 0, conflicts: 0 };
      counts = { address, interfaceName, ...none, drops: {} };
      this.#addresses.set(address, counts);
    }
    return counts;
  }
}

function increase(drops: DropCounts, reason: FrameDropReason, by = 1): void {
  drops[reason] = (drops[reason] ?? 0) + by;
}
