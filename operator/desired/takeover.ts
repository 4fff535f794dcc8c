/** One entry of an object's managed fields (meta/v1), as far as it matters here. */
export interface ManagedFields {
  readonly manager?: string;
  readonly operation?: string;
  readonly apiVersion?: string;
  readonly fieldsType?: string;
  readonly fieldsV1?: object;
  readonly subresource?: string;
}

/** A tree of field names; a leaf is an empty one. */
interface FieldTree {
  readonly [field: string]: FieldTree;
}

/**
 * Rewrites the managed fields of an object as if its new manager had applied all of it, status
 * apart. Its next apply then removes what it does not want, which server-side apply never does to
 * fields of others.
 */
export function takeOverFields(
  entries: readonly ManagedFields[],
  manager: string,
  apiVersion: string,
): ManagedFields[] {
  const isTaken = (entry: ManagedFields): boolean =>
    (entry.subresource ?? "") === "" && entry.apiVersion === apiVersion;
  const fieldsV1 = entries
    .filter(isTaken)
    .reduce<FieldTree>((all, entry) => union(all, (entry.fieldsV1 ?? {}) as FieldTree), {});
  const own = { manager, operation: "Apply", apiVersion, fieldsType: "FieldsV1", fieldsV1 };
  return [own, ...entries.filter((entry) => !isTaken(entry))];
}

function union(a: FieldTree, b: FieldTree): FieldTree {
  const shared = Object.entries(b).map(([field, tree]) => [field, union(a[field] ?? {}, tree)]);
  return { ...a, ...(Object.fromEntries(shared) as FieldTree) };
}
