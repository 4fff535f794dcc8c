/** Addresses that a subject announces, and such that it does not, scattered over the same range. */
import type { Protocol } from "./arena.ts";

/** Addresses in a range of their own. */
export interface Addresses {
  readonly range: string;
  readonly announced: readonly string[];
  readonly foreign: readonly string[];
}

const ANNOUNCED = 10_000;
const FOREIGN = 4096;

/** Numbers below 2^32 by chance, the same in every run. */
function* chance(seed: number): Generator<number, never> {
  let state = seed >>> 0;
  for (;;) {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    yield (mixed ^ (mixed >>> 14)) >>> 0;
  }
}

const hex = (number: number): string => number.toString(16);

/** Scatters addresses over a /16 or a /96 of the subject with this number. */
export function scatter(protocol: Protocol, subject: number): Addresses {
  const second = 101 + subject;
  const [range, format] =
    protocol === "ARP"
      ? [`10.${second}.0.0/16`, (n: number) => `10.${second}.${(n >>> 8) & 255}.${n & 255}`]
      : [
          `fd00:${second}::/96`,
          (n: number) => `fd00:${second}::${hex(n >>> 16)}:${hex(n & 65_535)}`,
        ];
  const all = new Set<string>();
  for (const number of chance(second)) {
    all.add(format(number));
    if (all.size === ANNOUNCED + FOREIGN) break;
  }
  const list = [...all];
  return { range, announced: list.slice(0, ANNOUNCED), foreign: list.slice(ANNOUNCED) };
}
