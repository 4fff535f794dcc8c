/** Width of the window: a packet that is so much older than the newest one is refused unseen. */
export const REPLAY_WINDOW = 1024;

/** What a window says of a counter. */
export type Freshness = "newest" | "late" | "seen";

/**
 * Remembers which counters of one sender's life were seen: the highest and the 1,023 below it.
 * "newest" is the only sign of life: a packet that an attacker held back says nothing about now.
 */
export class ReplayWindow {
  #highest = -1;
  readonly #seen = new Uint32Array(REPLAY_WINDOW / 32);

  /** Notes a counter, a whole number below 2^53, and tells whether it is the newest, late but new, or seen. */
  note(counter: number): Freshness {
    if (counter > this.#highest) {
      this.#forget(this.#highest + 1, Math.min(counter - this.#highest, REPLAY_WINDOW));
      this.#highest = counter;
      this.#mark(counter);
      return "newest";
    }
    if (this.#highest - counter >= REPLAY_WINDOW || this.#isMarked(counter)) return "seen";
    this.#mark(counter);
    return "late";
  }

  #forget(from: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const bit = (from + i) % REPLAY_WINDOW;
      this.#seen[bit >>> 5] = (this.#seen[bit >>> 5] ?? 0) & ~(1 << (bit & 31));
    }
  }

  #mark(counter: number): void {
    const bit = counter % REPLAY_WINDOW;
    this.#seen[bit >>> 5] = (this.#seen[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  #isMarked(counter: number): boolean {
    const bit = counter % REPLAY_WINDOW;
    return ((this.#seen[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0;
  }
}
