/**
 * Time as silence is measured in. It runs only while somebody was heard lately, and by a bounded
 * amount a step however long the own loop stood still: so a speaker that is cut off, or that was
 * frozen with packets queued, accuses nobody.
 */
export class Contact {
  /** Time in which silence of one neighbour means something. */
  time = 0;
  /** Own running time: bounded a step, but going on when nobody is heard. */
  running = 0;
  /** When any authentic packet was last heard. */
  heardAt = -Infinity;
  /** When one of a member that counts was, on the clock and in running time. */
  companyAt = -Infinity;
  companyRunning = -Infinity;
  /** Running time when the LAN was last found silent: while nothing comes in, silence says nothing. */
  deafRunning = -Infinity;
  #limit: number;
  #at: number;

  /** A step advances time by `limit` at most, and contact lasts as long. */
  constructor(limit: number, now: number) {
    this.#limit = limit;
    this.#at = now;
  }

  /** Takes another limit. */
  setLimit(limit: number): void {
    this.#limit = limit;
  }

  /** Lets time go on until `now`. */
  advance(now: number): void {
    const passed = Math.min(now - this.#at, this.#limit);
    if (passed <= 0) return;
    this.running += passed;
    const inContact = this.heardAt + this.#limit - this.#at;
    if (inContact > 0) this.time += Math.min(passed, inContact);
    this.#at = now;
  }

  /** Notes that an authentic packet was heard, of a member that counts or of one that is joining. */
  heard(now: number, counts: boolean): void {
    this.heardAt = now;
    if (!counts) return;
    this.companyAt = now;
    this.companyRunning = this.running;
  }

  /** Notes that the LAN was asked and that no frame came in. */
  heardNothing(): void {
    this.deafRunning = this.running;
  }

  /** Gives for how long no member was heard although frames came in, in running time. */
  loneliness(): number {
    return this.running - Math.max(this.companyRunning, this.deafRunning);
  }

  /** Tells whether silence counts at the moment. */
  lasts(now: number): boolean {
    return now < this.heardAt + this.#limit;
  }
}
