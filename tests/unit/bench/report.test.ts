import { describe, expect, test } from "@jest/globals";

import { estimate, formatTable, judge, type Figure } from "../../../bench/support/report.ts";

const figure = (changes: Partial<Figure>): Figure => ({
  figure: "replies",
  unit: "1/s",
  ours: [10, 20, 30],
  targets: [],
  ...changes,
});

describe("estimates", () => {
  for (const { name, rounds, median, spread } of [
    { name: "one round is its own median, without spread", rounds: [7], median: 7, spread: 0 },
    { name: "rounds need not be sorted", rounds: [9, 1, 5], median: 5, spread: 2 },
    {
      name: "of an even number the middle two are averaged",
      rounds: [1, 3],
      median: 2,
      spread: 0.5,
    },
    { name: "an outlier moves neither", rounds: [1, 2, 3, 4, 1000], median: 3, spread: 1 },
  ])
    test(name, () => {
      expect(estimate(rounds)).toEqual({ median, spread });
    });
});

describe("targets", () => {
  for (const { name, changes, ok, target } of [
    { name: "none is met by anything", changes: {}, ok: true, target: null },
    {
      name: "a value is met when the median less the spread is",
      changes: { targets: [{ is: "at most", value: 15 }] },
      ok: true,
      target: "≤ 15",
    },
    {
      name: "a least value is missed when only the median reaches it",
      changes: { targets: [{ is: "at least", value: 20 }] },
      ok: false,
      target: "≥ 20",
    },
    {
      name: "ratios are taken round by round",
      changes: { peer: [20, 40, 60], targets: [{ is: "at most", value: 0.5, times: "peer" }] },
      ok: true,
      target: "≤ 0.5 × peer",
    },
    {
      name: "all have to be met",
      changes: {
        peer: [5, 10, 15],
        limit: [40, 80, 120],
        targets: [
          { is: "at least", value: 1.5, times: "peer" },
          { is: "at least", value: 0.85, times: "limit" },
        ],
      },
      ok: false,
      target: "≥ 1.5 × peer and ≥ 0.85 × limit",
    },
    {
      name: "what is negligible meets a ratio to nothing",
      changes: {
        ours: [0.1],
        peer: [0],
        targets: [{ is: "at most", value: 0.1, times: "peer", negligible: 0.2 }],
      },
      ok: true,
      target: "≤ 0.1 × peer or ≤ 0.2",
    },
    {
      name: "a ratio to a side that was not measured is missed",
      changes: { targets: [{ is: "at most", value: 1, times: "peer" }] },
      ok: false,
      target: "≤ 1 × peer",
    },
  ] satisfies { name: string; changes: Partial<Figure>; ok: boolean; target: string | null }[])
    test(name, () => {
      expect(judge(figure(changes))).toMatchObject({ ok, target });
    });
});

test("rounds that do not match stand beside each other without a ratio", () => {
  expect(judge(figure({ peer: [1] }))).toMatchObject({ peer: 1, ratio: { peer: null } });
});

test("a target that compares rounds which do not match is refused", () => {
  const targets = [{ is: "at least", value: 1, times: "peer" }] as const;
  expect(() => judge(figure({ peer: [1], targets }))).toThrow(RangeError);
});

test("a row has the agreed fields", () => {
  expect(judge(figure({ peer: [10, 10, 10] }))).toEqual({
    figure: "replies",
    unit: "1/s",
    ours: 20,
    peer: 10,
    limit: null,
    target: null,
    ok: true,
    rounds: 3,
    spread: { ours: 5, peer: 0, limit: null },
    ratio: { peer: { median: 2, spread: 0.5 }, limit: null },
  });
});

test("the table says for each row what was measured and whether it suffices", () => {
  const rows = [
    judge(figure({ targets: [{ is: "at least", value: 1000 }] })),
    judge(figure({ figure: "memory", unit: "MB", ours: [61.24] })),
    judge(figure({ figure: "against nothing", peer: [0, 0, 0] })),
  ];
  expect(formatTable(rows).split("\n").slice(1, 4)).toEqual([
    expect.stringMatching(/^replies +1\/s +20 ± 5 .* ≥ 1000 +NO$/),
    expect.stringMatching(/^memory +MB +61.2 +\/$/),
    expect.stringMatching(/^against nothing +1\/s +20 ± 5 +0 ± 0 +Infinity \/$/),
  ]);
});
