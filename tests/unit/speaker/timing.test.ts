import { expect, test } from "@jest/globals";
import { timingOf } from "../../../speaker/timing.ts";

test("a neighbour is suspected when four beats are missed, a fifth of an interval later", () => {
  expect(timingOf(100)).toMatchObject({ ping: 250, suspect: 420, evidence: 400, lease: 300 });
  expect(timingOf(50, 3)).toMatchObject({ ping: 75, suspect: 160, evidence: 150, lease: 100 });
  expect(timingOf(1000, 20)).toMatchObject({ ping: 18_500, suspect: 20_200, unheard: 40_000 });
});

for (const [interval, multiplier, what] of [
  [49, 4, "interval"],
  [1001, 4, "interval"],
  [NaN, 4, "interval"],
  [100, 2, "missed"],
  [100, 21, "missed"],
] as const)
  test(`refuses ${interval} ms and ${multiplier} missed beats`, () => {
    expect(() => timingOf(interval, multiplier)).toThrow(what);
    expect(() => timingOf(interval, multiplier)).toThrow(RangeError);
  });
