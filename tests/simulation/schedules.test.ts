/**
 * The mass of random schedules. `SEED=n` replays one, `SOAK=k` runs k times as many and the large
 * cases at their full size.
 */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { Farm, type Job, type Result } from "./farm.ts";
import { seedsFrom } from "./seeds.ts";

const SMALL = 1900;
const MIDDLE = 96;
const HOUR = 3_600_000;
const PATIENCE_MS = HOUR * Number(process.env["SOAK"] ?? 1);

let farm: Farm;
let found: Record<Job["type"], Promise<Result>[]>;

/** All go to the farm at once, the longest first: no core is idle at the end. */
beforeAll(() => {
  farm = new Farm();
  const run = (job: Job) => {
    const result = farm.run(job);
    // Whoever waits for it gets the failure; until then it is nobody's.
    result.catch(() => undefined);
    return result;
  };
  found = {
    large: (["thousand", "heir"] as const).map((each) => run({ type: "large", case: each })),
    middle: seedsFrom(5_000_000, MIDDLE).map((seed) => run({ type: "middle", seed })),
    small: seedsFrom(10_000, SMALL).map((seed) => run({ type: "small", seed })),
  };
});

afterAll(() => farm[Symbol.dispose]());

/** Waits for all; each failure carries the seed that replays it. */
async function expectHeld(what: string, results: readonly Promise<Result>[]): Promise<void> {
  const settled = await Promise.allSettled(results);
  const failures = settled.flatMap((each) =>
    each.status === "rejected" ? [String(each.reason)] : [],
  );
  const outcomes = settled.flatMap((each) =>
    each.status === "fulfilled" && each.value !== undefined ? [each.value] : [],
  );
  const sorted = outcomes.map(({ settledAfter }) => settledAfter).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  const steps = outcomes.reduce((sum, outcome) => sum + outcome.steps, 0);
  process.stdout.write(
    `${what}: ${outcomes.length} schedules, ${steps} events, settled after ` +
      `${at(0.5)} / ${at(0.95)} / ${at(1)} ms (median, 95th percentile, longest)\n`,
  );
  expect(failures.slice(0, 5)).toEqual([]);
  expect(outcomes.length).toBe(results.length);
}

test(
  "random schedules of 1 to 12 nodes hold",
  () => expectHeld("1 to 12 nodes", found.small),
  PATIENCE_MS,
);

test(
  "random schedules of 30 to 100 nodes hold",
  () => expectHeld("30 to 100 nodes", found.middle),
  PATIENCE_MS,
);

test(
  "five schedules of 1,000 nodes hold",
  async () => expect(await found.large[0]).toBeUndefined(),
  PATIENCE_MS,
);

test(
  "15: one owner of 2,000 addresses (SOAK: 10,000) dies, members come, go and move",
  async () => expect(await found.large[1]).toBeUndefined(),
  PATIENCE_MS,
);
