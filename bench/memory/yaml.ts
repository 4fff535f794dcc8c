/** yaml, to be imported on demand. */
import { parse, stringify } from "yaml";

/** Writes and reads a document. */
export function copy(document: unknown): unknown {
  return parse(stringify(document));
}
