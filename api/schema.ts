/**
 * Building blocks of the schemas. One TypeBox schema is the source of three things: the TypeScript
 * type, the validation by ajv, and the structural schema of the CRD. Hence they keep to what all
 * three understand: no unions of objects, enumerations as `enum`, maps as `additionalProperties`,
 * and rules in CEL under `x-kubernetes-validations`, which ajv does not see.
 *
 * A `title` names a type of Kubernetes: the reference then names it too instead of listing its fields.
 *
 * A property with a `default` is always there once the API server, or {@link check}, has seen the
 * object: its type is not optional, and the CRD does not require it.
 */
import { Type, type Static, type TSchema, type TUnsafe } from "@sinclair/typebox";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { Fault } from "./fault.ts";

/** Refuses properties that are not named. */
export const closed = { additionalProperties: false } as const;

/** A rule that the API server checks by itself. `self` is the value it stands at. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

/** Options of a schema that carry rules. */
export interface Rules {
  readonly "x-kubernetes-validations": readonly CelRule[];
}

/** Gives the options that put rules (expression, message) on a schema. */
export function rules(...pairs: readonly (readonly [rule: string, message: string])[]): Rules {
  return { "x-kubernetes-validations": pairs.map(([rule, message]) => ({ rule, message })) };
}

/** Describes a text that is one of a few words. */
export function oneOf<const T extends string>(
  values: readonly T[],
  options: Readonly<Record<string, unknown>>,
): TUnsafe<T> {
  return Type.Unsafe<T>({ type: "string", enum: values, ...options });
}

/** Describes a map from text to values of one kind. */
export function mapOf<T extends TSchema>(
  value: T,
  options: Readonly<Record<string, unknown>>,
): TUnsafe<Record<string, Static<T>>> {
  return Type.Unsafe<Record<string, Static<T>>>({
    type: "object",
    additionalProperties: value,
    ...options,
  });
}

/** Describes a list of texts in which each may stand once. */
export function setOf<T extends TSchema>(
  item: T,
  options: Readonly<Record<string, unknown>>,
): TUnsafe<Static<T>[]> {
  return Type.Unsafe<Static<T>[]>({
    type: "array",
    items: item,
    uniqueItems: true,
    "x-kubernetes-list-type": "set",
    ...options,
  });
}

/** A value that fits its schema, defaults filled in, or every way in which it does not. */
export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/**
 * Options of every ajv here. Our schemas are checked against the meta-schema by a test: to compile that
 * one at each start would cost every program 9 MB.
 */
export const AJV_OPTIONS = { allErrors: true, strict: false, meta: false, validateSchema: false };

const AJV = new Ajv({
  ...AJV_OPTIONS,
  validateFormats: false,
  useDefaults: true,
  // As the API server prunes them: fields of a later version's CRD are nothing to an earlier program.
  removeAdditional: true,
  verbose: true,
});

/**
 * Makes the checker of a schema. It leaves its argument alone and gives a copy with defaults, without
 * fields that are not known.
 * @param at field path of the value, such as `spec`: faults name their field from there
 */
export function checker<T extends TSchema>(
  schema: T,
  at: string,
): (value: unknown) => Checked<Static<T>> {
  let validate: ValidateFunction<Static<T>> | undefined;
  return (value) => {
    // Compiled when it is first asked: most programs never check most kinds.
    validate ??= AJV.compile<Static<T>>(schema);
    const copy: unknown = structuredClone(value);
    if (validate(copy)) return { ok: true, value: copy };
    return { ok: false, faults: (validate.errors ?? []).map((error) => faultOf(error, at)) };
  };
}

function faultOf(error: ErrorObject, at: string): Fault {
  const path = at + fieldPath(error.instancePath);
  const message = sentence(error);
  const params = error.params as Readonly<Record<string, unknown>>;
  if (error.keyword === "required") {
    const field = `${path}.${params["missingProperty"] as string}`;
    return { field, value: undefined, reason: "required", message };
  }
  return { field: path, value: error.data, reason: "schema", message };
}

/** Turns a JSON pointer into a field path: `/addresses/0` → `.addresses[0]`. */
function fieldPath(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("");
}

function sentence(error: ErrorObject): string {
  if (error.keyword === "required") return "must be given";
  const allowed = (error.params as Readonly<Record<string, unknown>>)["allowedValues"];
  if (Array.isArray(allowed)) return `must be one of ${allowed.join(", ")}`;
  return error.message ?? `breaks ${error.keyword}`;
}
