import { expect, test } from "@jest/globals";
import { nextRebalance } from "../../../operator/rebalance.ts";

const record = { generation: 3, rollout: "v1", request: "" };
const rest = { mode: "Automatic", finishedRollout: "v1", request: undefined } as const;

test.each([
  { name: "nothing new", facts: {}, expected: record },
  { name: "a rollout under way", facts: { finishedRollout: undefined }, expected: record },
  {
    name: "a rollout that has finished",
    facts: { finishedRollout: "v2" },
    expected: { generation: 4, rollout: "v2", request: "" },
  },
  {
    name: "a rollout that has finished, with rebalancing left to people",
    facts: { finishedRollout: "v2", mode: "Manual" },
    expected: { generation: 3, rollout: "v2", request: "" },
  },
  {
    name: "a request, with rebalancing left to people",
    facts: { request: "now", mode: "Manual" },
    expected: { generation: 4, rollout: "v1", request: "now" },
  },
  {
    name: "a request during a rollout",
    facts: { request: "now", finishedRollout: undefined },
    expected: { generation: 4, rollout: "v1", request: "now" },
  },
  {
    name: "both at once: one rebalance",
    facts: { request: "now", finishedRollout: "v2" },
    expected: { generation: 4, rollout: "v2", request: "now" },
  },
] as const)("rebalance after $name", ({ facts, expected }) => {
  const next = nextRebalance(record, { ...rest, ...facts });
  expect(next).toEqual(expected);
  expect(nextRebalance(next, { ...rest, ...facts })).toBe(next);
});

test("taking the request back asks for nothing, and it can be made again", () => {
  const asked = nextRebalance(record, { ...rest, request: "now" });
  const back = nextRebalance(asked, rest);
  expect(back).toEqual({ ...asked, request: "" });
  expect(nextRebalance(back, { ...rest, request: "now" }).generation).toBe(5);
});
