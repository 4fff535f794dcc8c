/**
 * Who watches whom: two rings over the members' names, each sorted by a hash of its own. A member's
 * neighbours are the next and the previous live one on each ring, so everybody has about four,
 * however large the cluster, and the union of the rings is a well connected graph for floods.
 */
import { createHash } from "node:crypto";
import { BoundedMap } from "./bounded-map.ts";

/** Number of rings. */
export const RINGS = 2;

/** Gives the place of a name on a ring; any text that sorts evenly. */
export type RingPosition = (ring: number, name: string) => string;

/** The place on a ring that all speakers of a cluster use: sha256(ring index + "/" + name). */
export function ringPosition(ring: number, name: string): string {
  return createHash("sha256").update(`${ring}/${name}`).digest("hex");
}

interface Spot {
  readonly position: string;
  readonly name: string;
}

function isBefore(a: Spot, b: Spot): boolean {
  return a.position !== b.position ? a.position < b.position : a.name < b.name;
}

/** Spots are hashed once and shared: the same names stand on several rings. */
const known = new WeakMap<RingPosition, BoundedMap<string, Spot>>();
const REMEMBERED = 8192;

function spotOf(positionOf: RingPosition, ring: number, name: string): Spot {
  const spots = known.get(positionOf) ?? new BoundedMap<string, Spot>(REMEMBERED);
  known.set(positionOf, spots);
  return spots.of(`${ring}/${name}`, () => ({ position: positionOf(ring, name), name }));
}

/** The rings of a set of names. */
export class Rings {
  readonly #position: RingPosition;
  readonly #rings: Spot[][] = Array.from({ length: RINGS }, () => []);
  readonly #names = new Set<string>();

  /** Empty rings. */
  constructor(position: RingPosition = ringPosition) {
    this.#position = position;
  }

  /** Tells whether the name is on the rings. */
  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Puts a name on the rings. */
  add(name: string): void {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    for (const [ring, spots] of this.#rings.entries()) {
      const spot = spotOf(this.#position, ring, name);
      spots.splice(this.#find(spots, spot), 0, spot);
    }
  }

  /** Takes a name off the rings. */
  remove(name: string): void {
    if (!this.#names.delete(name)) return;
    for (const [ring, spots] of this.#rings.entries()) {
      spots.splice(this.#find(spots, spotOf(this.#position, ring, name)), 1);
    }
  }

  /**
   * Gives the neighbours of a name, which need not be on the rings itself: on each ring the next
   * and the previous name, those chosen already skipped. At most four.
   */
  neighbours(name: string): string[] {
    const chosen: string[] = [];
    for (const [ring, spots] of this.#rings.entries()) {
      const start = this.#find(spots, spotOf(this.#position, ring, name));
      for (const step of [1, -1]) {
        const found = walk(spots, start, step, name, chosen);
        if (found !== undefined) chosen.push(found);
      }
    }
    return chosen;
  }

  /** Compares two names by their place on the first ring. */
  compare(a: string, b: string): number {
    const spot = (name: string) => spotOf(this.#position, 0, name);
    return a === b ? 0 : isBefore(spot(a), spot(b)) ? -1 : 1;
  }

  #find(spots: readonly Spot[], spot: Spot): number {
    let [low, high] = [0, spots.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = spots[middle];
      if (at !== undefined && isBefore(at, spot)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function walk(
  spots: readonly Spot[],
  start: number,
  step: number,
  name: string,
  chosen: readonly string[],
): string | undefined {
  const length = spots.length;
  // Walking backwards starts one before the spot; forwards the spot itself may be the name's own.
  for (let i = 0, at = step > 0 ? start : start - 1; i < length; i++, at += step) {
    const candidate = spots[((at % length) + length) % length]?.name;
    if (candidate !== undefined && candidate !== name && !chosen.includes(candidate)) {
      return candidate;
    }
  }
  return undefined;
}
