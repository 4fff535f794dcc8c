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

test("what cannot wait goes at once, and what can makes up for it", () => {
  const pace = new Pace(100, 10, 0);
  pace.spend(30, 0);
  expect(pace.take(1, 200)).toBe(false);
  expect(pace.take(1, 220)).toBe(true);
});
