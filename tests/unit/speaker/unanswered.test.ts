import { expect, test } from "@jest/globals";
import type { Address } from "../../../packet/address/address.ts";
import { Unanswered } from "../../../speaker/unanswered.ts";

const A = "192.0.2.1" as Address;
const B = "192.0.2.2" as Address;

test("a complaint counts for four seconds, and its repetition as long again", () => {
  const unanswered = new Unanswered();
  expect(unanswered.note("b", A, 0)).toBe(true);
  expect(unanswered.note("b", A, 3000)).toBe(false);
  expect(unanswered.by(A, 6999)).toEqual(["b"]);
  expect(unanswered.by(A, 7000)).toEqual([]);
  expect(unanswered.by(B, 3000)).toEqual([]);
});

test("what counts no more is forgotten when it is due, and what still counts is not", () => {
  const unanswered = new Unanswered();
  unanswered.note("b", A, 0);
  unanswered.note("c", A, 1000);
  unanswered.note("b", B, 1000);
  expect(unanswered.nextAt).toBe(4000);
  expect([...unanswered.takeDue(4000)]).toEqual([A]);
  expect(unanswered.by(A, 4000)).toEqual(["c"]);
  expect([...unanswered.takeDue(5000)].sort()).toEqual([A, B]);
  expect(unanswered.nextAt).toBe(Infinity);
  expect(unanswered.note("b", A, 5000)).toBe(true);
});
