/** Writes status, and only when it says something new. */
import type { Client } from "../kubernetes/client.ts";
import type { KubernetesObject, Resource } from "../kubernetes/resources.ts";
import { contentHash } from "./desired/ownership.ts";

/** An object of ours with its status. */
type Reported<S> = KubernetesObject & { readonly status?: S };

/** Writes the status of the objects that people write. */
export class StatusWriter {
  readonly #client: Client;
  /** What was written in view of an object that the watch has not replaced yet. */
  readonly #written = new WeakMap<object, unknown>();

  /** Knows nothing of what others wrote: statuses that were read tell. */
  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * Writes the fields that `conclude` gives; others of the status belong to other writers.
   * @param conclude gives the status that follows on the one before
   */
  async write<S extends object>(
    resource: Resource<KubernetesObject>,
    object: Reported<S>,
    conclude: (before: S | undefined) => S,
    signal: AbortSignal,
  ): Promise<void> {
    const before = (this.#written.get(object) as S | undefined) ?? object.status;
    const status = conclude(before);
    if (contentHash(onlyFieldsOf(status, before ?? {})) === contentHash(status)) return;
    const { name, namespace, uid } = object.metadata;
    // With its uid, so that a status is never written on an object that took the name.
    const metadata = {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
    };
    await this.#client.applyStatus(resource, { metadata, status }, {}, signal);
    this.#written.set(object, status);
  }
}

function onlyFieldsOf<S extends object>(fields: S, status: S): Partial<S> {
  return Object.fromEntries(
    Object.entries(status).filter(([name]) => name in fields),
  ) as Partial<S>;
}
