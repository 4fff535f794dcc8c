import { describe, expect, test } from "@jest/globals";
import { ADDRESS_POOL_API_VERSION } from "../../../api/address-pool.ts";
import { storedApiVersion } from "../../../api/kind.ts";
import { KINDS } from "../../../api/kinds.ts";
import { METALLB, METALLB_API_VERSION } from "../../../api/metallb.ts";
import {
  ADDRESS_REASONS,
  NODE_REASONS,
  OBJECT_REASONS,
  SERVICE_REASONS,
} from "../../../api/reason.ts";
import { SERVICE_L2_STATUS_API_VERSION } from "../../../api/service-l2-status.ts";
import { structuralSchema, type Schema } from "../../../tools/crd.ts";

const asSchema = (schema: unknown): Schema => schema as Schema;

/** Every schema below one, with its path; the schemas of list entries are not described. */
function fieldsOf(path: string, schema: Schema): [string, Schema][] {
  const children = Object.entries(schema.properties ?? {}).map(
    ([name, child]) => [`${path}.${name}`, child] as const,
  );
  const inner = [schema.items, schema.additionalProperties].filter(
    (child): child is Schema => typeof child === "object",
  );
  return [
    ...children.flatMap(([name, child]): [string, Schema][] => [
      [name, child],
      ...fieldsOf(name, child),
    ]),
    ...inner.flatMap((child) => fieldsOf(`${path}[]`, child)),
  ];
}

const everyField = KINDS.flatMap((kind) => [
  ...fieldsOf(`${kind.kind}.spec`, asSchema(kind.spec)),
  ...fieldsOf(`${kind.kind}.status`, asSchema(kind.status)),
]);

describe("every field of every kind", () => {
  test("has a short description that is a sentence", () => {
    const bad = everyField.filter(
      ([, { description = "" }]) => !/^[A-Z].{3,139}[.]$/.test(description),
    );
    expect(bad.map(([path]) => path)).toEqual([]);
  });

  test("is an object only if it refuses unknown fields", () => {
    const open = everyField.filter(
      ([, schema]) => schema.type === "object" && schema.additionalProperties === undefined,
    );
    expect(open.map(([path]) => path)).toEqual([]);
  });

  test("has a default that its own schema allows", () => {
    const bad = everyField.filter(
      ([, { default: value, enum: words }]) =>
        value !== undefined && words !== undefined && !words.includes(value as string),
    );
    expect(bad.map(([path]) => path)).toEqual([]);
  });
});

test("reasons are words that a condition may have, each once in its list", () => {
  for (const list of [NODE_REASONS, ADDRESS_REASONS, SERVICE_REASONS, OBJECT_REASONS]) {
    expect(new Set(list).size).toBe(list.length);
    for (const reason of list) expect(reason).toMatch(/^[A-Z][A-Za-z0-9]*$/);
  }
});

test("one version of each kind is stored", () => {
  expect([METALLB_API_VERSION, ADDRESS_POOL_API_VERSION, SERVICE_L2_STATUS_API_VERSION]).toEqual(
    Array(3).fill("metallb.io/v1beta1"),
  );
  expect(() => storedApiVersion({ ...METALLB, versions: [] })).toThrow(TypeError);
});

describe("the structural schema", () => {
  const schema: Schema = {
    type: "object",
    title: "T",
    additionalProperties: false,
    required: ["a", "b"],
    properties: {
      a: { type: "string" },
      b: { type: "boolean", default: false },
      c: {
        type: "array",
        uniqueItems: true,
        items: { type: "object", additionalProperties: false },
      },
      d: { type: "object", additionalProperties: { type: "string" } },
    },
  };

  test("does not require what has a default, and leaves out what Kubernetes does not know", () => {
    expect(structuralSchema(schema)).toEqual({
      type: "object",
      required: ["a"],
      properties: {
        a: { type: "string" },
        b: { type: "boolean", default: false },
        c: { type: "array", items: { type: "object" } },
        d: { type: "object", additionalProperties: { type: "string" } },
      },
    });
  });
});
