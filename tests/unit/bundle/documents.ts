/** The bundle and config as they lie in the tree, read without any of the code that made them. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

const TREE = join(import.meta.dirname, "../../..");

/** A document of whatever shape. */
export type Document = Readonly<Record<string, unknown>> & {
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string };
};

/** Every document of the files that match a pattern. */
export function documents(pattern: string): Document[] {
  return globSync(pattern, { cwd: TREE })
    .toSorted()
    .flatMap((path) => parseAllDocuments(readFileSync(join(TREE, path), "utf8")))
    .map((document) => document.toJS() as Document);
}

/** The one document of a file. */
export function document(path: string): Document {
  const [first, ...more] = documents(path);
  if (first === undefined || more.length > 0) throw new Error(`${path}: not one document`);
  return first;
}

/** Path of the ClusterServiceVersion. */
export const CSV_PATH = "bundle/manifests/metallb-operator.clusterserviceversion.yaml";

/** Version of the tree. */
export const TREE_VERSION = (
  JSON.parse(readFileSync(join(TREE, "package.json"), "utf8")) as { version: string }
).version;
