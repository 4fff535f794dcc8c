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

  /** Tells whether so many packets may go now, and counts them if so. */
  take(packets: number, now: number): boolean {
    this.#fill(now);
    // More than the burst could never go: such a group goes when the bucket is full, on credit.
    if (this.#tokens < Math.min(packets, this.#burst)) return false;
    this.#tokens -= packets;
    return true;
  }

  /** Counts packets that cannot wait: what can waits until they are made up for. */
  spend(packets: number, now: number): void {
    this.#fill(now);
    this.#tokens -= packets;
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMillisecond);
    this.#at = now;
  }
}
