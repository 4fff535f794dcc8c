/** Which frames are new enough to be answered: what waited is, or was asked when others answered. */

/** A frame that waited longer than this is answered by nobody: its answer may be out of date. */
const STALE_MS = 100;

/** Milliseconds of two clocks. */
export interface Clocks {
  /** Since 1970: what frames are stamped by. It may be set at any time. */
  readonly wallMs: () => number;
  /** Since whenever: it never goes back. */
  readonly monotonicMs: () => number;
}

/** Judges frames by their age alone: a wall clock that is set back makes no later frame look old. */
export class Freshness {
  readonly #clocks: Clocks;
  #from = -Infinity;

  /** Takes all that is not stale. */
  constructor(clocks: Clocks) {
    this.#clocks = clocks;
  }

  /** What came in before now is not to be answered. */
  begin(): void {
    this.#from = this.#clocks.monotonicMs();
  }

  /** Tells whether a frame with this stamp, by the wall clock, is neither stale nor from before the beginning. */
  isFresh(receivedAtMs: number): boolean {
    const ageMs = this.#clocks.wallMs() - receivedAtMs;
    return ageMs < STALE_MS && ageMs <= this.#clocks.monotonicMs() - this.#from;
  }
}
