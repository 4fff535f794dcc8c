/**
 * Order-free digests of sets: the sum modulo 2^64 of a strong hash of each element. Adding and
 * removing one element is one addition, so a digest of 10,000 records is kept up and never made
 * anew. The element hash must not be linear: sums of a linear mix cancel out and hide differences.
 */

/** A 64-bit number as two unsigned halves; a BigInt would be slower by an order of magnitude. */
export interface Digest {
  readonly high: number;
  readonly low: number;
}

/** The digest of nothing. */
export const EMPTY_DIGEST: Digest = { high: 0, low: 0 };

/** Tells whether two digests are equal. */
export function sameDigest(a: Digest, b: Digest): boolean {
  return a.low === b.low && a.high === b.high;
}

function avalanche(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Hashes a text to 64 bits: two multiplicative lanes, crossed and avalanched at the end. */
export function digestOf(text: string): Digest {
  let a = 0x9e3779b9 ^ text.length;
  let b = 0x7f4a7c15;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    a ^= a >>> 15;
    b = Math.imul(b + unit, 0x5bd1e995);
    b ^= b >>> 13;
  }
  const low = avalanche(a + Math.imul(b, 0x27d4eb2f));
  return { high: avalanche(b ^ Math.imul(low, 0x165667b1)), low };
}

/** A digest that elements are added to and removed from. */
export class DigestSum {
  high = 0;
  low = 0;

  /** Adds one element, or a whole other sum. */
  add(element: Digest): void {
    const low = this.low + element.low;
    this.low = low >>> 0;
    this.high = (this.high + element.high + (low > 0xffffffff ? 1 : 0)) >>> 0;
  }

  /** Takes away what {@link DigestSum.add} added. */
  remove(element: Digest): void {
    const low = this.low - element.low;
    this.low = low >>> 0;
    this.high = (this.high - element.high - (low < 0 ? 1 : 0)) >>> 0;
  }

  /** Gives the sum as it is now; later changes do not touch what was given. */
  value(): Digest {
    return { high: this.high, low: this.low };
  }
}
