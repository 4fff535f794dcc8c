import { isOurs } from "./desired/ownership.ts";
import type { ObservedObject } from "./desired/plain.ts";

/**
 * Finds what was rendered for an owner once and is not desired any more. Only objects with our mark
 * and this owner count: those of a former owner are the garbage collector's.
 * @param desired names of the objects of this kind that are desired
 * @param observed all objects of this kind
 */
export function leftovers<T extends ObservedObject>(
  desired: readonly string[],
  observed: readonly T[],
  ownerUid: string,
): T[] {
  return observed.filter(
    (object) =>
      isOurs(object) && isOwnedBy(object, ownerUid) && !desired.includes(object.metadata.name),
  );
}

function isOwnedBy(object: ObservedObject, uid: string): boolean {
  return object.metadata.ownerReferences?.some((owner) => owner.uid === uid) ?? false;
}
