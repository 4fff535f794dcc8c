import { expect, test } from "@jest/globals";
import { Freshness } from "../../../speaker/freshness.ts";

const HOUR_MS = 3_600_000;

function setUp() {
  const clock = { wall: 1_800_000_000_000, monotonic: 5000 };
  const clocks = { wallMs: () => clock.wall, monotonicMs: () => clock.monotonic };
  const freshness = new Freshness(clocks);
  const pass = (ms: number) => {
    clock.wall += ms;
    clock.monotonic += ms;
  };
  /** Stamped so long ago. */
  const frame = (ageMs: number) => clock.wall - ageMs;
  return { clock, pass, frame, freshness };
}

test.each([
  [0, true],
  [99, true],
  [100, false],
  [60_000, false],
])("a frame that waited %d ms is fresh: %s", (age, fresh) => {
  const { freshness, frame } = setUp();
  expect(freshness.isFresh(frame(age))).toBe(fresh);
});

test("what came in before the beginning is not fresh, what came in since is", () => {
  const { freshness, frame, pass } = setUp();
  freshness.begin();
  expect(freshness.isFresh(frame(1))).toBe(false);
  pass(50);
  expect(freshness.isFresh(frame(51))).toBe(false);
  expect(freshness.isFresh(frame(50))).toBe(true);
});

test.each([-HOUR_MS, HOUR_MS])("a clock that is set by %d ms hides no later frame", (by) => {
  const { freshness, frame, clock, pass } = setUp();
  freshness.begin();
  clock.wall += by;
  pass(10);
  expect(freshness.isFresh(frame(0))).toBe(true);
  expect(freshness.isFresh(frame(11))).toBe(false);
});
