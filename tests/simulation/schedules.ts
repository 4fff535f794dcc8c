/** The mass of random schedules, in shares that run beside each other. */
import { expect, test } from "@jest/globals";
import { middleSchedule, Schedule, smallSchedule, type Outcome } from "./schedule.ts";
import { forSeeds } from "./seeds.ts";

const SMALL = 950;
const SMALL_BASE = 10_000;
const MIDDLE = 48;
const MIDDLE_BASE = 5_000_000;
const MINUTES = 60_000;

function report(what: string, outcomes: readonly Outcome[]): void {
  const sorted = outcomes.map(({ settledAfter }) => settledAfter).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  const steps = outcomes.reduce((sum, outcome) => sum + outcome.steps, 0);
  process.stdout.write(
    `${what}: ${outcomes.length} schedules, ${steps} events, settled after ` +
      `${at(0.5)} / ${at(0.95)} / ${at(1)} ms (median, 95th percentile, longest)\n`,
  );
}

/** Declares the tests of one share of two; seeds are replayed by `SEED=n`, more run by `SOAK=k`. */
export function declareSchedules(share: 0 | 1): void {
  const small = SMALL_BASE + share * 10_000_000;
  test(
    `random schedules of 1 to 12 nodes hold, from seed ${small} on`,
    () => {
      const outcomes: Outcome[] = [];
      forSeeds(small, SMALL, (seed) => outcomes.push(new Schedule(smallSchedule(seed)).run()));
      report("1 to 12 nodes", outcomes);
      expect(outcomes.length).toBeGreaterThan(0);
    },
    10 * MINUTES * Number(process.env["SOAK"] ?? 1),
  );
  const middle = MIDDLE_BASE + share * 10_000_000;
  test(
    `random schedules of 30 to 100 nodes hold, from seed ${middle} on`,
    () => {
      const outcomes: Outcome[] = [];
      forSeeds(middle, MIDDLE, (seed) => outcomes.push(new Schedule(middleSchedule(seed)).run()));
      report("30 to 100 nodes", outcomes);
      expect(outcomes.length).toBeGreaterThan(0);
    },
    10 * MINUTES * Number(process.env["SOAK"] ?? 1),
  );
}
