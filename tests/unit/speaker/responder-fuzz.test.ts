import { expect, test } from "@jest/globals";
import { randomInt } from "node:crypto";
import { DROP_REASONS } from "../../../speaker/responder.ts";
import { fuzzResponder } from "../../fuzz/invariants.ts";
import { SEEDS } from "../../fuzz/seeds.ts";

const FRAMES = 200_000;
const seeds = [...SEEDS, randomInt(2 ** 32)];

test(`nothing throws, grows, amplifies or answers a group in ${FRAMES} frames of seeds ${seeds.join()}`, () => {
  const met = new Set<string>();
  for (const seed of seeds) {
    const { fault, tally } = fuzzResponder(seed, Math.ceil(FRAMES / seeds.length));
    expect(fault).toBeUndefined();
    for (const outcome of Object.keys(tally)) met.add(outcome);
  }
  // The frames reach every rule: fuzzing that is refused at the door proves nothing. Only what the
  // interface lacks cannot be brought about by a frame.
  const outcomes = [
    "reply",
    "conflict",
    ...DROP_REASONS.filter((reason) => reason !== "noLinkLocal"),
  ];
  expect(outcomes.filter((outcome) => !met.has(outcome))).toEqual([]);
});
