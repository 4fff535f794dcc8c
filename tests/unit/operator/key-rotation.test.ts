import { describe, expect, test } from "@jest/globals";
import { presentKeys, speakerKey } from "../../../operator/desired/speaker-key.ts";
import {
  laggards,
  nextKeys,
  speakerKeyName,
  type RotationFacts,
  type SpeakerKeys,
} from "../../../operator/key-rotation.ts";
import { makeKey } from "../../../speaker/seal.ts";
import { metallb, withMetadata } from "../../support/builders.ts";

const base64 = (octet: number): string => Buffer.alloc(32, octet).toString("base64");
const [A, B, FRESH] = [base64(1), base64(2), base64(3)];

const holder = (node: string, ...keys: string[]) => ({ node, keys: keys.map(speakerKeyName) });

function facts(more: Partial<RotationFacts> = {}): RotationFacts {
  const speakers = [holder("node-1", A), holder("node-2", A)];
  return { request: "1", speakers, expectedSpeakers: 2, fresh: FRESH, ...more };
}

const AT_REST: SpeakerKeys = { current: A, request: "1" };
const UNDER_WAY: SpeakerKeys = { current: A, next: B, request: "2" };

describe("the keys that follow", () => {
  test.each<{
    name: string;
    present: SpeakerKeys | undefined;
    more?: Partial<RotationFacts>;
    expected: SpeakerKeys;
  }>([
    {
      name: "where there is none yet: one, that answers the request",
      present: undefined,
      expected: { current: FRESH, request: "1" },
    },
    { name: "at rest: the same", present: AT_REST, expected: AT_REST },
    {
      name: "a new request: a next one beside it",
      present: AT_REST,
      more: { request: "2" },
      expected: { current: A, next: FRESH, request: "2" },
    },
    {
      name: "a request that was taken back: the same",
      present: AT_REST,
      more: { request: undefined },
      expected: { current: A, request: "" },
    },
    { name: "while nobody has it: both", present: UNDER_WAY, expected: UNDER_WAY },
    {
      name: "while one has not: both",
      present: UNDER_WAY,
      more: { speakers: [holder("node-1", A, B), holder("node-2", A)] },
      expected: UNDER_WAY,
    },
    {
      name: "while one says nothing: both",
      present: UNDER_WAY,
      more: { speakers: [holder("node-1", A, B)] },
      expected: UNDER_WAY,
    },
    {
      name: "while nobody knows how many there are: both",
      present: UNDER_WAY,
      more: { speakers: [holder("node-1", A, B)], expectedSpeakers: undefined },
      expected: UNDER_WAY,
    },
    {
      name: "another request meanwhile: first the one under way",
      present: UNDER_WAY,
      more: { request: "3" },
      expected: UNDER_WAY,
    },
    {
      name: "when all have it: the new one alone",
      present: UNDER_WAY,
      more: { speakers: [holder("node-1", A, B), holder("node-2", B)] },
      expected: { current: B, request: "2" },
    },
    {
      name: "without a node that runs a speaker: the new one alone",
      present: UNDER_WAY,
      more: { speakers: [], expectedSpeakers: 0 },
      expected: { current: B, request: "2" },
    },
  ])("$name", ({ present, more, expected }) => {
    expect(nextKeys(present, facts(more))).toEqual(expected);
  });
});

test("whoever lags behind is named", () => {
  const speakers = [holder("node-2", A), holder("node-1", A), holder("node-3", A, B)];
  expect(laggards(UNDER_WAY, { speakers, expectedSpeakers: 3 })).toEqual(["node-1", "node-2"]);
  expect(laggards(UNDER_WAY, { speakers, expectedSpeakers: 4 }).at(-1)).toContain("says nothing");
  expect(laggards(AT_REST, { speakers, expectedSpeakers: 3 })).toEqual([]);
});

test("keys have the names that speakers give them", () => {
  const { id } = makeKey(Buffer.from(A, "base64"));
  expect(speakerKeyName(A)).toBe(id.toString(16).padStart(8, "0"));
});

describe("the Secret", () => {
  const owner = metallb(withMetadata({ uid: "uid-1" }));

  test.each([AT_REST, UNDER_WAY])("is read back as it was written: %j", (keys) => {
    expect(presentKeys(speakerKey(owner, keys))).toEqual(keys);
  });

  test("without a usable key has none", () => {
    expect(presentKeys(undefined)).toBeUndefined();
    expect(presentKeys({ data: { secretkey: "c2hvcnQ=" } })).toBeUndefined();
    const short = { data: { secretkey: A, "secretkey-next": "c2hvcnQ=" } };
    expect(presentKeys(short)).toEqual({ current: A, request: "" });
  });
});
