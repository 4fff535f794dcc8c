/** URLs of the Kubernetes API and what its answers say beside the object; pure. */
import type { Status } from "./errors.ts";
import type { KubernetesObject, Resource } from "./resources.ts";

/** Which object. */
export interface ObjectName {
  readonly name: string;
  /** Required for namespaced kinds. */
  readonly namespace?: string | undefined;
}

/** Which objects. */
export interface Selection {
  /** All namespaces without it. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** Path of all objects of a kind, in one namespace or in all. */
export function collectionPath(of: Resource<KubernetesObject>, namespace?: string): string {
  const root = of.group === "" ? `/api/${of.version}` : `/apis/${of.group}/${of.version}`;
  const scope = of.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${of.plural}`;
}

/**
 * Path of one object.
 * @throws TypeError when the name, or the namespace of a namespaced kind, is missing: with an empty
 * name the path would be the collection's, and a delete would take all.
 */
export function objectPath(of: Resource<KubernetesObject>, name: ObjectName): string {
  if (of.namespaced && !name.namespace) {
    throw new TypeError(`${of.kind} ${JSON.stringify(name.name)} needs a namespace`);
  }
  if (name.name === "") throw new TypeError(`${of.kind} needs a name`);
  return `${collectionPath(of, name.namespace)}/${encodeURIComponent(name.name)}`;
}

/** Selectors as query parameters; the namespace is part of the path. */
export function selectionQuery(selection: Selection): Record<string, string> {
  return {
    labelSelector: selection.labelSelector ?? "",
    fieldSelector: selection.fieldSelector ?? "",
  };
}

/** Adds the parameters that are not empty. */
export function withQuery(path: string, query: Readonly<Record<string, string>>): string {
  const present = Object.entries(query).filter(([, value]) => value !== "");
  return present.length === 0 ? path : `${path}?${new URLSearchParams(present).toString()}`;
}

/** Reads the body of a refusal. A proxy, or a server that is starting, answers in plain text. */
export function parseStatus(text: string): Status {
  try {
    const parsed = JSON.parse(text) as unknown;
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // Not JSON: the text itself is the message.
  }
  const message = text.trim().slice(0, 500);
  return message === "" ? {} : { message };
}

/**
 * Reads a `Retry-After` header: seconds, or a date.
 * @returns milliseconds from now; undefined when there is none that can be read.
 * @see RFC 9110 §10.2.3
 */
export function parseRetryAfter(header: string | undefined, wallMs: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - wallMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
