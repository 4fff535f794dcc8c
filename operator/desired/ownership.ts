/**
 * Which objects are ours. Names are shared with MetalLB's own, so a name proves nothing: an object
 * is ours when it carries one of the two marks that everything rendered carries, and one that lost
 * a single mark to an edit is still recognised and mended.
 */
import { createHash } from "node:crypto";
import { METALLB, METALLB_API_VERSION, type MetalLB } from "../../api/metallb.ts";
import type { ObservedObject, RenderedMetadata } from "./plain.ts";

/** Name under which the operator applies; the API server tracks its fields by it. */
export const FIELD_MANAGER = "metallb-operator";
/** Label of everything rendered: the first mark. */
export const MANAGED_BY_LABEL = "app.kubernetes.io/managed-by";
/** Annotation of everything rendered, the hash of its content: the second mark. */
export const HASH_ANNOTATION = "metallb.io/content-hash";
/** Annotation by which a user hands a foreign object over to us. */
export const ADOPT_ANNOTATION = "metallb.io/adopt";

const REVISION_ANNOTATION = "deployment.kubernetes.io/revision";

/** The programs that the operator runs. */
export type Component = "controller" | "speaker";

/** Labels that a program's pods carry and are selected by: MetalLB's, which tools rely on. */
export function selectorLabels(component: Component): Record<string, string> {
  return { app: "metallb", component };
}

/**
 * Builds the metadata of a rendered object: name, labels, marks, and the owner reference that lets
 * the garbage collector remove the object with the MetalLB object.
 * @param content what the hash stands for
 * @throws TypeError for an owner without namespace and uid: it was not read from the API server
 */
export function ownedMetadata(
  owner: MetalLB,
  name: string,
  content: unknown,
  labels: Readonly<Record<string, string>> = { app: "metallb" },
): RenderedMetadata {
  const { namespace, uid } = owner.metadata;
  if (namespace === undefined || uid === undefined) {
    throw new TypeError("a MetalLB object without namespace and uid owns nothing");
  }
  const reference = {
    apiVersion: METALLB_API_VERSION,
    kind: METALLB.kind,
    name: owner.metadata.name,
    uid,
    controller: true,
    // No blockOwnerDeletion: it would need the right to update the owner's finalizers.
  };
  return {
    name,
    namespace,
    labels: { ...labels, [MANAGED_BY_LABEL]: FIELD_MANAGER },
    annotations: { [HASH_ANNOTATION]: contentHash(content) },
    ownerReferences: [reference],
  };
}

/** Hashes the content of an object: 16 hexadecimal digits. Equal values give equal hashes. */
export function contentHash(content: unknown): string {
  return createHash("sha256").update(stableText(content)).digest("hex").slice(0, 16);
}

/** Tells whether an object carries one of our marks. */
export function isOurs({ metadata: { labels, annotations } }: ObservedObject): boolean {
  const byLabel = labels?.[MANAGED_BY_LABEL] === FIELD_MANAGER;
  return byLabel || annotations?.[HASH_ANNOTATION] !== undefined;
}

/** Tells whether an object may be changed by us: it is ours, or its user gave it to us. */
export function mayChange(object: ObservedObject): boolean {
  return isOurs(object) || object.metadata.annotations?.[ADOPT_ANNOTATION] === "true";
}

/**
 * Digests what others could have changed in an object: everything but its status and what the API
 * server itself counts. An object whose digest is as after our last apply needs no apply.
 */
export function driftDigest(object: ObservedObject): string {
  const { uid, labels, annotations, ownerReferences } = object.metadata;
  // Kubernetes' own count of rollouts moves with each of ours.
  const { [REVISION_ANNOTATION]: _revision, ...rest } = annotations ?? {};
  const metadata = { uid, labels, annotations: rest, ownerReferences };
  return contentHash({ ...object, metadata, status: undefined });
}

/** JSON with sorted keys and without absent values. */
function stableText(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part !== null && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : part,
  );
}
