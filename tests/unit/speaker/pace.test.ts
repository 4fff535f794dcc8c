import { expect, test } from "@jest/globals";
import { Pace } from "../../../speaker/pace.ts";

test("no second sees more packets than the rate and one burst", () => {
  const pace = new Pace(400, 40, 0);
  let sent = 0;
  for (let now = 0; now < 1000; now++) while (pace.take(4, now)) sent += 4;
  expect(sent).toBeLessThanOrEqual(440);
  expect(sent).toBeGreaterThanOrEqual(430);
});

test("a group larger than the burst goes when the bucket is full, on credit", () => {
  const pace = new Pace(100, 10, 0);
  expect(pace.take(50, 0)).toBe(true);
  expect(pace.take(1, 100)).toBe(false);
  expect(pace.take(1, 450)).toBe(true);
});

test("what cannot wait goes at once, and what can makes up for a burst of it", () => {
  const pace = new Pace(100, 10, 0);
  pace.spend(15, 0);
  expect(pace.take(1, 50)).toBe(false);
  expect(pace.take(1, 60)).toBe(true);
  pace.spend(1000, 60);
  expect(pace.take(1, 160)).toBe(false);
  expect(pace.take(1, 170)).toBe(true);
});

test("what is kept for others is left to them", () => {
  const pace = new Pace(100, 10, 0);
  let sent = 0;
  while (pace.take(1, 0, 4)) sent++;
  expect(sent).toBe(6);
  expect(pace.take(4, 0)).toBe(true);
});
