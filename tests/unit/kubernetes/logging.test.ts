import { expect, test } from "@jest/globals";
import { PassThrough } from "node:stream";
import { createLogger, redact, type RootLogger } from "../../../kubernetes/logging.ts";
import { OperatorError } from "../../../kubernetes/errors.ts";

function logger(): { readonly log: RootLogger; readonly lines: () => Record<string, unknown>[] } {
  const out = new PassThrough();
  return {
    log: createLogger("test", "info", out),
    lines: () =>
      ((out.read() as Buffer | null)?.toString() ?? "")
        .split("\n")
        .filter((each) => each !== "")
        .map((each) => JSON.parse(each) as Record<string, unknown>),
  };
}

test("writes one JSON object a line, with time, level, message and fields", () => {
  const { log, lines } = logger();
  log.child({ controller: "c" }).info("assigned", { object: "a/b", address: "192.0.2.1" });
  const [line] = lines();
  expect(line).toMatchObject({
    level: "info",
    msg: "assigned",
    program: "test",
    controller: "c",
    object: "a/b",
    address: "192.0.2.1",
  });
  expect(new Date(String(line?.["ts"])).getTime()).not.toBeNaN();
});

test("a field cannot take the place of another line", () => {
  const { log, lines } = logger();
  log.info("one\n{}", { note: "two\nthree" });
  expect(lines()).toMatchObject([{ msg: "one\n{}", note: "two\nthree" }]);
});

for (const { level, written } of [
  { level: "all", written: ["debug", "info", "warn", "error"] },
  { level: "debug", written: ["debug", "info", "warn", "error"] },
  { level: "info", written: ["info", "warn", "error"] },
  { level: "warn", written: ["warn", "error"] },
  { level: "error", written: ["error"] },
  { level: "none", written: [] },
] as const) {
  test(`level ${level} writes ${written.join(", ") || "nothing"}, children too, from the moment it is set`, () => {
    const { log, lines } = logger();
    const child = log.child({});
    log.setLevel(level);
    for (const each of ["debug", "info", "warn", "error"] as const) {
      child[each](each);
      expect(child.enabled(each)).toBe((written as readonly string[]).includes(each));
    }
    expect(lines().map((line) => line["level"])).toEqual(written);
  });
}

test("toggling goes to debug and back to what was set", () => {
  const { log } = logger();
  log.setLevel("error");
  log.toggleDebug();
  expect(log.level).toBe("debug");
  log.toggleDebug();
  expect(log.level).toBe("error");
});

test("a level that is set while debug is toggled on is what toggling goes back to", () => {
  const { log } = logger();
  log.toggleDebug();
  log.setLevel("warn");
  expect(log.level).toBe("debug");
  log.toggleDebug();
  expect(log.level).toBe("warn");
});

test("an error is written with code and causes, and with its stack at level error only", () => {
  const { log, lines } = logger();
  const error = new OperatorError("Unreachable", "listing Node", { cause: new Error("refused") });
  log.error("failed", { error });
  log.info("failed", { error });
  const [first, second] = lines() as { error: Record<string, unknown> }[];
  expect(first?.error).toMatchObject({
    code: "Unreachable",
    message: "listing Node",
    cause: { message: "refused" },
  });
  expect(first?.error["stack"]).toContain("OperatorError");
  expect(second?.error["stack"]).toBeUndefined();
});

const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl";
const pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----";
for (const { name, value, secret } of [
  { name: "a field that is called token", value: { token: "s3cret" }, secret: "s3cret" },
  { name: "a field that ends in Token", value: { bearerToken: "s3cret" }, secret: "s3cret" },
  {
    name: "a password, deep inside",
    value: { a: [{ b: { password: "s3cret" } }] },
    secret: "s3cret",
  },
  {
    name: "the data of a Secret",
    value: { kind: "Secret", metadata: {}, data: { x: "s3cret" }, stringData: { y: "s3cret" } },
    secret: "s3cret",
  },
  {
    name: "an Authorization header",
    value: { headers: { Authorization: "s3cret" } },
    secret: "s3cret",
  },
  { name: "the memberlist key", value: { secretkey: "s3cret" }, secret: "s3cret" },
  { name: "a bearer token in text", value: `header was Bearer ${jwt}`, secret: jwt },
  { name: "a JSON web token in text", value: `token ${jwt} refused`, secret: jwt },
  { name: "a private key in text", value: `read ${pem}`, secret: "MHcCAQEE" },
  { name: "a token in an error's message", value: new Error(`bad ${jwt}`), secret: jwt },
  { name: "a token in a cause", value: new Error("x", { cause: new Error(jwt) }), secret: jwt },
  { name: "octets", value: { data: Buffer.from("s3cret") }, secret: "s3cret" },
  { name: "a value of a map", value: new Map([["password", "s3cret"]]), secret: "s3cret" },
]) {
  test(`never writes ${name}`, () => {
    const { log, lines } = logger();
    log.error("message", { value });
    expect(JSON.stringify(lines())).not.toContain(secret);
  });
}

test("keeps what only looks like a secret", () => {
  const harmless = {
    tokens: 3,
    secretName: "memberlist",
    kind: "ConfigMap",
    data: { config: "x" },
    key: "a/b",
  };
  expect(redact(harmless)).toEqual(harmless);
});

test("writes circles, big numbers and invalid dates without failing", () => {
  const { log, lines } = logger();
  const circle: Record<string, unknown> = {
    big: 2n ** 70n,
    when: new Date(Number.NaN),
    none: undefined,
  };
  circle["self"] = circle;
  log.info("odd", { circle });
  expect(lines()).toMatchObject([{ circle: { big: String(2n ** 70n), when: "invalid date" } }]);
});
