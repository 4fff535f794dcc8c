import { expect, test } from "@jest/globals";
import { judgeAnswers, type Answer } from "../../cluster/answers.ts";

/** Answers every ten milliseconds from one moment to another. */
const answering = (hardwareAddress: string, fromMs: number, toMs: number): Answer[] =>
  Array.from({ length: (toMs - fromMs) / 10 + 1 }, (_none, i) => {
    return { address: "192.0.2.1", hardwareAddress, atMs: fromMs + 10 * i };
  });

const inOrder = (...answers: Answer[][]): Answer[] =>
  answers.flat().toSorted((a, b) => a.atMs - b.atMs);

for (const { name, answers, expected } of [
  {
    name: "of nobody come to nothing",
    answers: [],
    expected: { order: [], answerers: 0, overlapMs: 0, silenceMs: 0 },
  },
  {
    name: "of one after the other show the silence between them",
    answers: inOrder(answering("a", 0, 1000), answering("b", 1400, 3000)),
    expected: { order: ["a", "b"], answerers: 1, overlapMs: 0, silenceMs: 400 },
  },
  {
    name: "of two at once show for how long",
    answers: inOrder(answering("a", 0, 1000), answering("b", 970, 3000)),
    expected: { order: ["a", "b"], answerers: 2, overlapMs: 30, silenceMs: 10 },
  },
  {
    name: "of three at once are three",
    answers: inOrder(answering("a", 0, 1000), answering("b", 970, 3000), answering("c", 980, 990)),
    expected: { order: ["a", "b", "c"], answerers: 3, overlapMs: 30, silenceMs: 10 },
  },
  {
    name: "show a single one of another, which is no time at all",
    answers: inOrder(answering("a", 0, 3000), answering("b", 1005, 1005)),
    expected: { order: ["a", "b"], answerers: 2, overlapMs: 0, silenceMs: 10 },
  },
  {
    name: "of one that was silent for a while are still of one",
    answers: inOrder(answering("a", 0, 1000), answering("a", 3000, 4000)),
    expected: { order: ["a"], answerers: 1, overlapMs: 0, silenceMs: 2000 },
  },
  {
    name: "show who comes back",
    answers: inOrder(answering("a", 0, 100), answering("b", 500, 1000), answering("a", 1010, 2000)),
    expected: { order: ["a", "b", "a"], answerers: 1, overlapMs: 0, silenceMs: 400 },
  },
])
  test(`answers ${name}`, () => {
    expect(judgeAnswers(answers)).toEqual(expected);
  });
