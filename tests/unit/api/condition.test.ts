import { describe, expect, test } from "@jest/globals";
import {
  formatTime,
  setCondition,
  setConditions,
  type Condition,
  type ObservedCondition,
} from "../../../api/condition.ts";

const EARLIER = "2026-01-02T03:04:05Z";
const NOW = new Date("2026-02-03T04:05:06.789Z");
const NOW_TEXT = "2026-02-03T04:05:06Z";

const available: Condition = {
  type: "Available",
  status: "True",
  reason: "Available",
  message: "all pods are ready",
  observedGeneration: 3,
  lastTransitionTime: EARLIER,
};
const degraded: Condition = { ...available, type: "Degraded", status: "False" };

function observe(change: Partial<ObservedCondition>): ObservedCondition {
  const { lastTransitionTime: _, ...observed } = available;
  return { ...observed, ...change };
}

describe("setCondition", () => {
  test("adds a condition that is not there, with the time of now", () => {
    const after = setCondition([degraded], observe({}), NOW);
    expect(after).toEqual([degraded, { ...available, lastTransitionTime: NOW_TEXT }]);
  });

  test("gives the same list when nothing changed", () => {
    const list = [degraded, available];
    expect(setCondition(list, observe({}), NOW)).toBe(list);
  });

  for (const { name, change } of [
    { name: "reason", change: { reason: "RollingOut" } },
    { name: "message", change: { message: "2 of 3 pods are ready" } },
    { name: "generation", change: { observedGeneration: 4 } },
  ]) {
    test(`a new ${name} does not move the transition time`, () => {
      const after = setCondition([available], observe(change), NOW);
      expect(after).toEqual([{ ...available, ...change }]);
    });
  }

  test("a new status moves the transition time and keeps the place in the list", () => {
    const after = setCondition([available, degraded], observe({ status: "Unknown" }), NOW);
    const changed = { ...available, status: "Unknown", lastTransitionTime: NOW_TEXT };
    expect(after).toEqual([changed, degraded]);
  });

  test("leaves the list it was given alone", () => {
    const list = Object.freeze([Object.freeze({ ...available })]);
    setCondition(list, observe({ status: "False" }), NOW);
    expect(list).toEqual([available]);
  });

  test("drops a generation that is not observed any more", () => {
    const { observedGeneration: _, ...without } = observe({});
    const [after] = setCondition([available], without, NOW);
    expect(after).not.toHaveProperty("observedGeneration");
  });
});

test("a message longer than the API server takes is cut", () => {
  const long = {
    type: "Valid",
    status: "True",
    reason: "Valid",
    message: "x".repeat(40_000),
  } as const;
  const [once] = setCondition([], long, new Date(0));
  expect(once?.message).toHaveLength(32_768);
  expect(once?.message.endsWith("x…")).toBe(true);
  expect(setCondition([once!], long, new Date(1))).toEqual([once]);
});

test("setConditions puts all in, in their order", () => {
  const types = ["Available", "Progressing", "Degraded"];
  const after = setConditions(
    [],
    types.map((type) => observe({ type })),
    NOW,
  );
  expect(after.map(({ type }) => type)).toEqual(types);
});

test("formatTime cuts fractions of a second off", () => {
  expect(formatTime(NOW)).toBe(NOW_TEXT);
});
