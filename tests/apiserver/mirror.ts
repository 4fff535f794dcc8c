import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../kubernetes/client.ts";
import {
  Reflector,
  trimMetadata,
  type Change,
  type ReflectorOptions,
} from "../../kubernetes/reflector.ts";
import {
  SERVICES,
  type KubernetesObject,
  type Resource,
  type Service,
} from "../../kubernetes/resources.ts";
import { objectKey } from "../../kubernetes/store.ts";
import { eventually } from "../support/eventually.ts";

/** Builds the state anew from what handlers are told, and notes every contradiction. */
export class Mirror<T extends KubernetesObject> {
  readonly objects = new Map<string, T>();
  /** Changes that cannot follow from those before: told twice, or something between was lost. */
  readonly contradictions: string[] = [];
  changes = 0;

  /** A handler for a reflector. */
  readonly handler = (change: Change<T>): void => {
    this.changes++;
    const before = this.objects.get(change.key);
    if (before !== change.previous) {
      this.contradictions.push(`${change.type} ${change.key}: not told what was before`);
    }
    if (
      before !== undefined &&
      change.type === "updated" &&
      isDeepStrictEqual(before, change.object)
    ) {
      this.contradictions.push(`${change.type} ${change.key}: told twice`);
    }
    if (change.type === "deleted") this.objects.delete(change.key);
    else this.objects.set(change.key, change.object);
  };
}

/** A reflector that runs, with its mirror. */
export interface Mirrored<T extends KubernetesObject> extends AsyncDisposable {
  readonly reflector: Reflector<T>;
  readonly mirror: Mirror<T>;
}

/** Starts a reflector of a kind. */
export function mirror<T extends KubernetesObject>(
  client: Client,
  resource: Resource<T>,
  options: Partial<ReflectorOptions<T, T, never>> = {},
): Mirrored<T> {
  const controller = new AbortController();
  const reflector = new Reflector<T>({ client, resource, ...options });
  const state = new Mirror<T>();
  reflector.onChange(state.handler);
  const running = reflector.run(controller.signal);
  return {
    reflector,
    mirror: state,
    [Symbol.asyncDispose]: async () => {
      controller.abort();
      await running;
    },
  };
}

/** Starts a reflector of Services. */
export function mirrorServices(
  client: Client,
  options: Partial<ReflectorOptions<Service, Service, never>> = {},
): Mirrored<Service> {
  return mirror(client, SERVICES, options);
}

/**
 * Waits until store and mirror equal a fresh list.
 * @throws with the difference when the deadline passes
 */
export async function expectEqualToFreshList<T extends KubernetesObject>(
  mirrored: Mirrored<T>,
  direct: Client,
  resource: Resource<T>,
  deadlineMs = 60_000,
): Promise<void> {
  await eventually(
    async () => {
      const { items } = await direct.list(resource);
      const fresh = new Map(items.map((item) => [objectKey(item), trimMetadata(item)]));
      const { store } = mirrored.reflector;
      for (const [key, object] of fresh) {
        if (!isDeepStrictEqual(store.get(key), object)) throw new Error(`${key} differs`);
      }
      const excess = [...store.keys()].filter((key) => !fresh.has(key));
      if (excess.length > 0) throw new Error(`the store still has ${excess.join(", ")}`);
    },
    { deadlineMs },
  );
  const told = mirrored.mirror.objects;
  const stored = new Map(
    [...mirrored.reflector.store.values()].map((object) => [objectKey(object), object]),
  );
  if (!isDeepStrictEqual(told, stored))
    throw new Error("handlers were told another state than the store's");
  const { contradictions } = mirrored.mirror;
  if (contradictions.length > 0) throw new Error(contradictions.join("; "));
}
