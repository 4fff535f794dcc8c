import { expect, test } from "@jest/globals";
import { ApiError, OperatorError } from "../../../kubernetes/errors.ts";
import {
  afterWatch,
  HistoryChanged,
  isOlder,
  NO_FAILURES,
} from "../../../kubernetes/reflector-policy.ts";

const failed = (
  code: "Unreachable" | "Silent" | "ConnectionLost" | "Malformed" | "Timeout",
): Error => new OperatorError(code, "watching Service");
const refused = (status: number, reason: string, retryAfterMs?: number): Error =>
  new ApiError("watching Service", status, { reason }, retryAfterMs);

for (const { name, failure, expected } of [
  {
    name: "410 lists again",
    failure: refused(410, "Expired"),
    expected: { end: "Refused", relist: "Gone" },
  },
  {
    name: "a version from the future lists again",
    failure: new ApiError("x", 504, { message: "Too large resource version" }),
    expected: { relist: "HistoryChanged" },
  },
  {
    name: "a version that went back lists again",
    failure: new HistoryChanged(),
    expected: { end: "HistoryChanged", relist: "HistoryChanged" },
  },
  {
    name: "a server that was away lists again",
    failure: failed("Unreachable"),
    expected: { end: "Unreachable", relist: "ServerWasAway" },
  },
  {
    name: "a cut connection resumes",
    failure: failed("ConnectionLost"),
    expected: { end: "ConnectionLost", relist: undefined },
  },
  {
    name: "a silent connection resumes",
    failure: failed("Silent"),
    expected: { end: "Silent", relist: undefined },
  },
  {
    name: "an overloaded server resumes",
    failure: refused(429, "TooManyRequests"),
    expected: { end: "Refused", relist: undefined },
  },
  {
    name: "a refused token resumes",
    failure: refused(401, "Unauthorized"),
    expected: { end: "Refused", relist: undefined },
  },
  {
    name: "an exception of ours resumes",
    failure: new TypeError("bug"),
    expected: { end: "Refused", relist: undefined },
  },
]) {
  test(name, () => {
    const next = afterWatch(failure, false, NO_FAILURES, 0.5);
    expect({ relist: undefined, ...next }).toMatchObject(expected);
    expect(next.delayMs).toBeGreaterThan(0);
  });
}

test("a proper end after success reopens at once", () => {
  expect(afterWatch(undefined, true, { server: 5, connect: 0, malformed: 0 }, 0.9)).toEqual({
    end: "Closed",
    failures: NO_FAILURES,
    delayMs: 0,
  });
});

test("a server that closes at once, again and again, is asked more and more rarely", () => {
  let failures = NO_FAILURES;
  const delays = Array.from({ length: 12 }, () => {
    const next = afterWatch(undefined, false, failures, 0.999);
    failures = next.failures;
    return next.delayMs;
  });
  expect(delays[0]).toBeLessThanOrEqual(100);
  expect(delays.at(-1)).toBeGreaterThan(29_000);
});

test("no wait is longer than 30 s, or 2 s while nobody answers", () => {
  const longest = (failure: Error): number => {
    let next = afterWatch(failure, false, NO_FAILURES, 0.999);
    for (let turn = 0; turn < 50; turn++) next = afterWatch(failure, false, next.failures, 0.999);
    return next.delayMs;
  };
  expect(longest(failed("ConnectionLost"))).toBeLessThanOrEqual(30_000);
  expect(longest(failed("Unreachable"))).toBeLessThanOrEqual(2_000);
});

test("a server that answers again starts with a short wait, whatever was before", () => {
  const before = { server: 0, connect: 40, malformed: 0 };
  expect(afterWatch(refused(403, "Forbidden"), false, before, 0.999).delayMs).toBeLessThanOrEqual(
    100,
  );
});

test("success ends the row of failures", () => {
  const before = { server: 20, connect: 0, malformed: 0 };
  expect(afterWatch(failed("ConnectionLost"), true, before, 0.999).delayMs).toBeLessThanOrEqual(
    100,
  );
});

test("waits at least as long as the server asked, spread by a quarter", () => {
  const failure = refused(429, "TooManyRequests", 4_000);
  expect(afterWatch(failure, false, NO_FAILURES, 0).delayMs).toBe(4_000);
  expect(afterWatch(failure, false, NO_FAILURES, 0.999).delayMs).toBeLessThanOrEqual(5_000);
});

test("a day in Retry-After is no more than half a minute", () => {
  const failure = refused(503, "ServiceUnavailable", 86_400_000);
  expect(afterWatch(failure, false, NO_FAILURES, 0).delayMs).toBe(30_000);
});

test("a server that refuses and asks for no pause is asked more and more rarely", () => {
  const failure = refused(429, "TooManyRequests", 0);
  let next = afterWatch(failure, false, NO_FAILURES, 0.5);
  const delays = Array.from({ length: 12 }, () => {
    next = afterWatch(failure, false, next.failures, 0.5);
    return next.delayMs;
  });
  expect(delays[0]).toBeGreaterThanOrEqual(100);
  expect(delays.at(-1)).toBeGreaterThan(15_000);
});

test("a line that cannot be read twice is passed by listing again", () => {
  const first = afterWatch(failed("Malformed"), false, NO_FAILURES, 0.5);
  expect(first.relist).toBeUndefined();
  expect(afterWatch(failed("Malformed"), false, first.failures, 0.5).relist).toBe("Malformed");
});

for (const { version, than, older } of [
  { version: "9", than: "10", older: true },
  { version: "10", than: "9", older: false },
  { version: "10", than: "10", older: false },
  { version: "99999999999999999998", than: "99999999999999999999", older: true },
  { version: "", than: "10", older: false },
  { version: "abc", than: "10", older: false },
]) {
  test(`version ${JSON.stringify(version)} is ${older ? "" : "not "}older than ${than}`, () => {
    expect(isOlder(version, than)).toBe(older);
  });
}
