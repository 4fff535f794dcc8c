import { expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  backoffMs,
  CONNECT_BACKOFF,
  KEY_BACKOFF,
  SERVER_BACKOFF,
} from "../../../kubernetes/backoff.ts";

const plain = { initialMs: 100, maxMs: 30_000, factor: 2, jitter: 0 };

for (const { name, failures, expected } of [
  { name: "the first failure waits the initial delay", failures: 1, expected: 100 },
  { name: "no failure counts as the first", failures: 0, expected: 100 },
  { name: "each further failure doubles", failures: 4, expected: 800 },
  { name: "no delay is longer than the maximum", failures: 10, expected: 30_000 },
  { name: "a very long row stays at the maximum", failures: 100_000, expected: 30_000 },
]) {
  test(name, () => expect(backoffMs(plain, failures, 0.5)).toBe(expected));
}

test("chance decides only the share that the policy gives it", () => {
  const policy = fc.constantFrom(SERVER_BACKOFF, CONNECT_BACKOFF, KEY_BACKOFF);
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(policy, fc.nat(50), random, (given, failures, chance) => {
      const delay = backoffMs(given, failures, chance);
      const whole = backoffMs({ ...given, jitter: 0 }, failures, 0);
      expect(delay).toBeLessThanOrEqual(whole);
      expect(delay).toBeGreaterThanOrEqual(whole * (1 - given.jitter));
    }),
  );
});
