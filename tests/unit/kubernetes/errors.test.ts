import { expect, test } from "@jest/globals";
import {
  ApiError,
  describeError,
  hasCode,
  OperatorError,
  retryability,
  TerminalError,
} from "../../../kubernetes/errors.ts";

const tooLarge = { causes: [{ reason: "ResourceVersionTooLarge" }] };
for (const { name, status, body, code, retry } of [
  {
    name: "a conflict is retried",
    status: 409,
    body: { reason: "Conflict" },
    code: "Conflict",
    retry: "retry",
  },
  {
    name: "an object that exists is no conflict",
    status: 409,
    body: { reason: "AlreadyExists" },
    code: "AlreadyExists",
    retry: "retry",
  },
  {
    name: "an expired version is gone",
    status: 410,
    body: { reason: "Expired" },
    code: "Gone",
    retry: "retry",
  },
  {
    name: "an expired version inside another status is gone",
    status: 500,
    body: { reason: "Expired" },
    code: "Gone",
    retry: "retry",
  },
  {
    name: "a version from the future is known by its cause",
    status: 504,
    body: { reason: "Timeout", details: tooLarge },
    code: "TooLargeResourceVersion",
    retry: "retry",
  },
  {
    name: "a version from the future is known by its message",
    status: 504,
    body: { message: "Too large resource version: 9, current: 1" },
    code: "TooLargeResourceVersion",
    retry: "retry",
  },
  {
    name: "an invalid object is terminal",
    status: 422,
    body: { reason: "Invalid" },
    code: "Invalid",
    retry: "never",
  },
  {
    name: "a missing right is retried slowly",
    status: 403,
    body: { reason: "Forbidden" },
    code: "Forbidden",
    retry: "slowly",
  },
  {
    name: "an overloaded server is retried",
    status: 429,
    body: {},
    code: "TooManyRequests",
    retry: "retry",
  },
  {
    name: "a broken server is retried",
    status: 503,
    body: {},
    code: "ServerError",
    retry: "retry",
  },
  {
    name: "an unknown refusal is retried slowly",
    status: 418,
    body: {},
    code: "BadRequest",
    retry: "slowly",
  },
] as const) {
  test(name, () => {
    const error = new ApiError("applying Service a/b", status, body);
    expect(error).toMatchObject({ code, status });
    expect(retryability(error)).toBe(retry);
    expect(hasCode(error, code)).toBe(true);
  });
}

test("says how long the server asked to wait, from header or body", () => {
  const body = { details: { retryAfterSeconds: 3 } };
  expect(new ApiError("x", 429, body).retryAfterMs).toBe(3_000);
  expect(new ApiError("x", 429, body, 7_000).retryAfterMs).toBe(7_000);
  expect(new ApiError("x", 429, {}).retryAfterMs).toBeUndefined();
});

test("names the refused fields", () => {
  const details = {
    causes: [{ field: "spec.type", reason: "FieldValueInvalid" }, { reason: "Other" }],
  };
  expect(new ApiError("x", 422, { details }).fields).toEqual(["spec.type"]);
});

test("describes what was attempted and every cause in one line", () => {
  const cause = new OperatorError("Unreachable", "connecting", { cause: new Error("refused") });
  const error = new TerminalError("applying Deployment a/b", { cause });
  expect(describeError(error)).toBe("applying Deployment a/b: connecting: refused");
  expect(describeError("text")).toBe("'text'");
  expect(retryability(error)).toBe("never");
});

test("describes a chain of causes that is a circle", () => {
  const error = new Error("round");
  error.cause = error;
  expect(describeError(error)).toMatch(/^round: round/);
});

test("takes an error that it does not know for one that passes", () => {
  expect(retryability(new TypeError("bug"))).toBe("retry");
});
