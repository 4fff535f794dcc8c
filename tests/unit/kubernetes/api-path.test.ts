import { expect, test } from "@jest/globals";
import {
  collectionPath,
  objectPath,
  parseRetryAfter,
  parseStatus,
  withQuery,
} from "../../../kubernetes/api-path.ts";
import { DEPLOYMENTS, NODES, SERVICES } from "../../../kubernetes/resources.ts";

for (const { name, path, expected } of [
  {
    name: "the core group has a root of its own",
    path: collectionPath(SERVICES, "a"),
    expected: "/api/v1/namespaces/a/services",
  },
  {
    name: "other groups are under apis",
    path: objectPath(DEPLOYMENTS, { name: "c", namespace: "a" }),
    expected: "/apis/apps/v1/namespaces/a/deployments/c",
  },
  {
    name: "without a namespace all are meant",
    path: collectionPath(SERVICES),
    expected: "/api/v1/services",
  },
  {
    name: "a cluster-scoped kind has no namespace",
    path: objectPath(NODES, { name: "n", namespace: "a" }),
    expected: "/api/v1/nodes/n",
  },
  {
    name: "a name cannot leave its place",
    path: objectPath(NODES, { name: "../x?y" }),
    expected: "/api/v1/nodes/..%2Fx%3Fy",
  },
]) {
  test(name, () => expect(path).toBe(expected));
}

test("refuses a path without a name, which would be the whole collection", () => {
  expect(() => objectPath(NODES, { name: "" })).toThrow(TypeError);
  expect(() => objectPath(SERVICES, { name: "a" })).toThrow(TypeError);
});

test("leaves empty parameters out and encodes the others", () => {
  expect(withQuery("/p", { a: "", b: "x=y,z" })).toBe("/p?b=x%3Dy%2Cz");
  expect(withQuery("/p", { a: "" })).toBe("/p");
});

const now = Date.UTC(2026, 0, 1);
for (const { name, header, expected } of [
  { name: "reads seconds", header: "12", expected: 12_000 },
  { name: "reads a date", header: "Thu, 01 Jan 2026 00:00:30 GMT", expected: 30_000 },
  {
    name: "takes a date that is past for now",
    header: "Wed, 31 Dec 2025 00:00:00 GMT",
    expected: 0,
  },
  { name: "ignores nonsense", header: "soon", expected: undefined },
  { name: "ignores absence", header: undefined, expected: undefined },
]) {
  test(`Retry-After: ${name}`, () => expect(parseRetryAfter(header, now)).toBe(expected));
}

test("takes plain text for the message of a refusal", () => {
  expect(parseStatus("[+]ping ok\nhealthz check failed\n").message).toContain("healthz");
  expect(parseStatus("")).toEqual({});
  expect(parseStatus("7")).toEqual({ message: "7" });
});
