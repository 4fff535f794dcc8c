import type { TObject } from "@sinclair/typebox";
import type { CelRule } from "./schema.ts";

/** Group of all our kinds. */
export const GROUP = "metallb.io";

/** A column of `kubectl get`. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "boolean" | "integer" | "date";
  readonly jsonPath: string;
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority?: 1;
}

/** A version of a kind. All versions share one schema, so that nothing is lost between them. */
export interface Version {
  readonly name: string;
  readonly storage: boolean;
  /** Why not to use it any more; the API server says so on each use. */
  readonly deprecationWarning?: string;
}

/** All that a CustomResourceDefinition says of a kind. Every kind is namespaced and has a status. */
export interface Kind {
  readonly kind: string;
  readonly singular: string;
  readonly plural: string;
  readonly description: string;
  readonly versions: readonly Version[];
  readonly spec: TObject;
  readonly status: TObject;
  /** Rules on the whole object; of metadata only the name is in reach. */
  readonly rules: readonly CelRule[];
  readonly columns: readonly Column[];
}

/** Names the stored version of a kind, with its group: the `apiVersion` that we read and write. */
export function storedApiVersion(kind: Kind): string {
  const stored = kind.versions.find(({ storage }) => storage);
  if (stored === undefined) throw new TypeError(`kind ${kind.kind} has no stored version`);
  return `${GROUP}/${stored.name}`;
}

/** The column that shows the age of an object. */
export const AGE: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "Time since the object was made.",
};
