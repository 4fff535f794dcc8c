import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { decodeMessages, encodeMessages } from "../../../speaker/codec.ts";
import { sizeOf } from "../../../speaker/sizes.ts";
import { message } from "./arbitraries.ts";

const LENGTHS = { numRuns: 500 };

test("what is encoded decodes to the same messages, of every type", () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
      expect(decodeMessages(encodeMessages(messages))).toEqual({ ok: true, value: messages });
    }),
    LENGTHS,
  );
});

test("a message takes as many octets as was said beforehand", () => {
  fc.assert(
    fc.property(message, (one) => {
      expect(encodeMessages([one]).length).toBe(sizeOf(one));
    }),
    LENGTHS,
  );
});

test("octets that lie inside larger ones are read from where they begin", () => {
  fc.assert(
    fc.property(message, (one) => {
      const octets = encodeMessages([one]);
      const larger = new Uint8Array(octets.length + 14).fill(0xa5);
      larger.set(octets, 7);
      const inner = larger.subarray(7, 7 + octets.length);
      expect(decodeMessages(inner)).toEqual({ ok: true, value: [one] });
    }),
    { numRuns: 100 },
  );
});

test("every shorter prefix of a message is refused, and not one is taken for something", () => {
  fc.assert(
    fc.property(message, (one) => {
      const octets = encodeMessages([one]);
      for (let length = 1; length < octets.length; length++) {
        expect(decodeMessages(octets.subarray(0, length)).ok).toBe(false);
      }
    }),
    { numRuns: 60 },
  );
});

test("random octets never throw, nor do messages with octets changed", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      expect(typeof decodeMessages(octets).ok).toBe("boolean");
    }),
    { numRuns: 3000 },
  );
  const changes = fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: 0, max: 255 })), {
    maxLength: 5,
  });
  fc.assert(
    fc.property(message, changes, (one, flips) => {
      const octets = encodeMessages([one]);
      for (const [at, value] of flips) octets[at % octets.length] = value;
      expect(typeof decodeMessages(octets).ok).toBe("boolean");
    }),
    { numRuns: 2000 },
  );
});

const START = 19;

for (const { name, hex, result } of [
  { name: "an empty payload is no message", hex: "", result: { ok: true, value: [] } },
  {
    name: "a type of a later version is skipped",
    hex: "c80002abcd" + "130000",
    result: { ok: true, value: [{ type: "start" }] },
  },
  { name: "a body with octets to spare is malformed", hex: "13000100", result: "malformed" },
  { name: "a length beyond the payload is truncated", hex: "130005", result: "truncated" },
  {
    name: "a list that cannot fit is refused before it is read",
    hex: "0d0002ffff",
    result: "truncated",
  },
  {
    name: "an address of a third family is malformed",
    hex: "0d0007" + "0001" + "0500000000",
    result: "malformed",
  },
  { name: "a flag of two is malformed", hex: "0a0003" + "0161" + "02", result: "malformed" },
  {
    name: "a standing of three is malformed",
    hex: "04004d" + "00".repeat(12) + "03" + "00".repeat(64),
    result: "malformed",
  },
  {
    name: "a nonce beyond what a number holds is malformed",
    hex: "01002f" + "ff".repeat(8) + "00".repeat(39),
    result: "malformed",
  },
  { name: "a name that is no UTF-8 is malformed", hex: "090002" + "01ff", result: "malformed" },
]) {
  test(name, () => {
    const expected = typeof result === "string" ? { ok: false, reason: result } : result;
    expect(decodeMessages(Uint8Array.from(Buffer.from(hex, "hex")))).toEqual(expected);
  });
}

test("the octets of a Start are its type and no body", () => {
  expect([...encodeMessages([{ type: "start" }])]).toEqual([START, 0, 0]);
});
