/** Allows so many packets a second, and a burst after rest. */
export class Pace {
  readonly #perMillisecond: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** Starts with a full burst. */
  constructor(perSecond: number, burst: number, now: number) {
    this.#perMillisecond = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Tells whether so many packets may go now, `kept` ones left for others, and counts them if so. */
  take(packets: number, now: number, kept = 0): boolean {
    this.#fill(now);
    // More than the burst could never go: such a group goes when the bucket is full, on credit.
    if (this.#tokens < Math.min(packets + kept, this.#burst)) return false;
    this.#tokens -= packets;
    return true;
  }

  /**
   * Counts packets that cannot wait: what can waits until they are made up for, a burst of them at
   * most, so that it goes on in any case.
   */
  spend(packets: number, now: number): void {
    this.#fill(now);
    this.#tokens = Math.max(this.#tokens - packets, -this.#burst);
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMillisecond);
    this.#at = now;
  }
}
