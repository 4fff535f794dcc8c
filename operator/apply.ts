/**
 * Applies what is desired, without needless writes: an object that is as the API server answered to
 * our last apply, and whose desired form is the same, is left alone.
 */
import type { Client } from "../kubernetes/client.ts";
import { apiVersion, type KubernetesObject, type Resource } from "../kubernetes/resources.ts";
import { formatKey, type Store } from "../kubernetes/store.ts";
import { contentHash, driftDigest, FIELD_MANAGER, isOurs, mayChange } from "./desired/ownership.ts";
import type { ObservedObject, RenderedMetadata } from "./desired/plain.ts";
import { takeOverFields, type ManagedFields } from "./desired/takeover.ts";

/** One object of what the operator renders. */
export interface Child {
  readonly resource: Resource<KubernetesObject>;
  readonly desired: KubernetesObject & { readonly metadata: RenderedMetadata };
  /** All objects of the kind in the namespace, as the watch knows them. */
  readonly store: Store<ObservedChild>;
}

/** The object under the child's name, as the watch knows it. */
export function observedChild({ desired, store }: Child): ObservedChild | undefined {
  return store.get(formatKey(desired.metadata.name, desired.metadata.namespace));
}

type ObservedChild = KubernetesObject & ObservedObject;

/** What became of an apply: `foreign` objects are not ours and were not touched. */
export type Applied = "applied" | "unchanged" | "foreign";

interface Memory {
  readonly desired: string;
  /** Version that the apply was decided upon. */
  readonly decidedOn: string | undefined;
  /** Digest of the answer. */
  readonly digest: string;
}

/** Applies children; remembers what it did, so one lives as long as the process leads. */
export class ChildApplier {
  readonly #client: Client;
  readonly #memory = new Map<string, Memory>();

  /** Remembers nothing yet: the first apply of each child is made. */
  constructor(client: Client) {
    this.#client = client;
  }

  /** @throws OperatorError when the API server refuses or does not answer. */
  async apply(child: Child, signal: AbortSignal): Promise<Applied> {
    const { resource, desired } = child;
    const observed = observedChild(child);
    const key = `${resource.kind} ${desired.metadata.name}`;
    const hash = contentHash(desired);
    if (observed !== undefined && !mayChange(observed)) return "foreign";
    if (observed !== undefined && this.#isSettled(key, hash, observed)) return "unchanged";
    if (observed === undefined && (await this.#isForeign(child, signal))) return "foreign";
    if (observed !== undefined && !isOurs(observed)) await this.#takeOver(child, signal);
    const answer = await this.#client.apply(resource, desired, {}, signal);
    const decidedOn = observed?.metadata.resourceVersion;
    this.#memory.set(key, { desired: hash, decidedOn, digest: driftDigest(answer) });
    return "applied";
  }

  /**
   * The watch may still show the version that we decided upon last time: then its successor is on
   * its way and wakes us again.
   */
  #isSettled(key: string, hash: string, observed: ObservedChild): boolean {
    const memory = this.#memory.get(key);
    if (memory?.desired !== hash) return false;
    return (
      memory.decidedOn === observed.metadata.resourceVersion ||
      memory.digest === driftDigest(observed)
    );
  }

  /** An object that its user gave to us becomes ours with all its fields. */
  async #takeOver({ resource, desired }: Child, signal: AbortSignal): Promise<void> {
    const { metadata } = desired;
    const found = await this.#client.get(resource, metadata, signal);
    if (found === undefined) return;
    const entries = (found.metadata.managedFields ?? []) as readonly ManagedFields[];
    const patch = [
      { op: "test", path: "/metadata/resourceVersion", value: found.metadata.resourceVersion },
      {
        op: "add",
        path: "/metadata/managedFields",
        value: takeOverFields(entries, FIELD_MANAGER, apiVersion(resource)),
      },
    ];
    await this.#client.patch(resource, metadata, patch, { type: "json" }, signal);
  }

  /**
   * Server-side apply cannot be told to create only, and the watch may be behind: ask before an
   * object is made, so that one which somebody else made just now is not taken over.
   */
  async #isForeign({ resource, desired }: Child, signal: AbortSignal): Promise<boolean> {
    const found = await this.#client.get(resource, desired.metadata, signal);
    return found !== undefined && !mayChange(found);
  }
}
