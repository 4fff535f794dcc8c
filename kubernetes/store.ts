/**
 * What a reflector knows, by key and by index. Objects are never modified by anyone: a reader gets
 * the object itself, typed `readonly` to the bottom (see `resources.ts`).
 */
import type { EndpointSlice, KubernetesObject } from "./resources.ts";

/** `namespace/name`, or only `name` for a cluster-scoped object. */
export type Key = string;

/** The key of an object. */
export function objectKey(object: KubernetesObject): Key {
  return formatKey(object.metadata.name, object.metadata.namespace);
}

/** The key of a name in a namespace. Inverse of {@link parseKey}. */
export function formatKey(name: string, namespace?: string): Key {
  return namespace ? `${namespace}/${name}` : name;
}

/** Splits a key; `namespace` is absent for cluster-scoped objects. Inverse of {@link formatKey}. */
export function parseKey(key: Key): { readonly name: string; readonly namespace?: string } {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The values under which an object is found in an index; none: it is not in that index. */
export type IndexFunction<T> = (object: T) => readonly string[];

/** Reading side of a store. */
export interface Store<T extends KubernetesObject, I extends string = never> {
  readonly size: number;
  get(key: Key): T | undefined;
  has(key: Key): boolean;
  keys(): IterableIterator<Key>;
  values(): IterableIterator<T>;
  /** Objects which the index function gave this value for, in no particular order. */
  byIndex(index: I, value: string): readonly T[];
  /** Values that at least one object has in the index. */
  indexValues(index: I): readonly string[];
}

/** A store that can be written; only its reflector (or a test) does. */
export class IndexedStore<T extends KubernetesObject, I extends string = never> implements Store<
  T,
  I
> {
  readonly #objects = new Map<Key, T>();
  readonly #functions: Readonly<Record<I, IndexFunction<T>>>;
  readonly #indexes = new Map<I, Map<string, Set<Key>>>();

  /** @param functions an index function by index name. */
  constructor(
    functions: Readonly<Record<I, IndexFunction<T>>> = {} as Record<I, IndexFunction<T>>,
  ) {
    this.#functions = functions;
    for (const index of Object.keys(functions) as I[]) this.#indexes.set(index, new Map());
  }

  /** Number of objects. */
  get size(): number {
    return this.#objects.size;
  }

  /** The object of a key. */
  get(key: Key): T | undefined {
    return this.#objects.get(key);
  }

  /** True when the key is known. */
  has(key: Key): boolean {
    return this.#objects.has(key);
  }

  /** All keys. */
  keys(): IterableIterator<Key> {
    return this.#objects.keys();
  }

  /** All objects. */
  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  /** Objects which the index function gave this value for. */
  byIndex(index: I, value: string): readonly T[] {
    const keys = this.#indexes.get(index)?.get(value);
    if (!keys) return [];
    const objects: T[] = [];
    for (const key of keys) {
      const object = this.#objects.get(key);
      if (object) objects.push(object);
    }
    return objects;
  }

  /** Values that at least one object has in the index. */
  indexValues(index: I): readonly string[] {
    return Array.from(this.#indexes.get(index)?.keys() ?? []);
  }

  /** Adds or replaces; returns what was there before. */
  set(object: T): T | undefined {
    const key = objectKey(object);
    const previous = this.#objects.get(key);
    this.#objects.set(key, object);
    for (const [index, entries] of this.#indexes) {
      const values = this.#functions[index](object);
      if (previous) this.#unindex(entries, key, this.#functions[index](previous), values);
      for (const value of values) {
        const keys = entries.get(value);
        if (keys) keys.add(key);
        else entries.set(value, new Set([key]));
      }
    }
    return previous;
  }

  /** Removes; returns what was there. */
  delete(key: Key): T | undefined {
    const previous = this.#objects.get(key);
    if (!previous) return undefined;
    this.#objects.delete(key);
    for (const [index, entries] of this.#indexes) {
      this.#unindex(entries, key, this.#functions[index](previous), []);
    }
    return previous;
  }

  #unindex(
    entries: Map<string, Set<Key>>,
    key: Key,
    values: readonly string[],
    kept: readonly string[],
  ): void {
    for (const value of values) {
      if (kept.includes(value)) continue;
      const keys = entries.get(value);
      keys?.delete(key);
      if (keys?.size === 0) entries.delete(value);
    }
  }
}

/** Index function: uids of the owners. */
export function byOwner(object: KubernetesObject): readonly string[] {
  return (object.metadata.ownerReferences ?? []).map((owner) => owner.uid);
}

/** Index function for EndpointSlices: key of the Service that the slice belongs to. */
export function byServiceName(slice: KubernetesObject): readonly Key[] {
  const name = slice.metadata.labels?.["kubernetes.io/service-name"];
  return name ? [formatKey(name, slice.metadata.namespace)] : [];
}

/** Index function for EndpointSlices: names of the nodes that the endpoints are on, each once. */
export function byNode(slice: Pick<EndpointSlice, "endpoints">): readonly string[] {
  const names = (slice.endpoints ?? []).flatMap(({ nodeName }) => nodeName ?? []);
  return [...new Set(names)];
}
