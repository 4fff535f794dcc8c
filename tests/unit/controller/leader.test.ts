import { expect, test } from "@jest/globals";
import type { Configuration } from "../../../controller/configuration.ts";
import { ControllerMetrics } from "../../../controller/metrics.ts";
import { readPools } from "../../../controller/pool.ts";
import { BY_SERVICE, Leader, type Reflectors } from "../../../controller/reconcile.ts";
import { publishedBy, type ServiceObject } from "../../../controller/service.ts";
import type { Client } from "../../../kubernetes/client.ts";
import { ApiError } from "../../../kubernetes/errors.ts";
import type { EventRecorder } from "../../../kubernetes/events.ts";
import { silentLogger } from "../../../kubernetes/logging.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import { runReconciler } from "../../../kubernetes/reconciler.ts";
import type { Change } from "../../../kubernetes/reflector.ts";
import type { KubernetesObject } from "../../../kubernetes/resources.ts";
import { formatKey, IndexedStore, objectKey } from "../../../kubernetes/store.ts";
import { WorkQueue } from "../../../kubernetes/work-queue.ts";
import { poolConfig } from "../../support/builders.ts";
import { VirtualClock } from "../kubernetes/virtual-clock.ts";
import { service } from "./objects.ts";

/** A watch that brings what it is given, and nothing of what the API server has otherwise. */
class Watched<T extends KubernetesObject> {
  readonly store = new IndexedStore<T, string>({
    [BY_SERVICE]: (object) => {
      const { status } = object as { status?: { serviceName: string; serviceNamespace: string } };
      return status === undefined ? [] : [formatKey(status.serviceName, status.serviceNamespace)];
    },
  });
  readonly #handlers = new Set<(change: Change<T>) => void>();

  onChange(handler: (change: Change<T>) => void): () => void {
    this.#handlers.add(handler);
    for (const object of this.store.values())
      handler({ type: "added", key: objectKey(object), object });
    return () => this.#handlers.delete(handler);
  }

  bring(object: T): void {
    const key = objectKey(object);
    const previous = this.store.set(object);
    const change = previous ? { type: "updated" as const, previous } : { type: "added" as const };
    for (const handler of this.#handlers) handler({ ...change, key, object });
  }
}

interface Written {
  readonly metadata: {
    readonly resourceVersion?: string;
    readonly annotations?: Record<string, string | null>;
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { ip: string }[] } };
}

/** What users make, and what is written, by versions. */
class Server {
  readonly objects = new Map<string, ServiceObject>();
  #version = 100;

  put(object: ServiceObject): ServiceObject & KubernetesObject {
    const resourceVersion = String(++this.#version);
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion } };
    this.objects.set(objectKey(stored), stored);
    return stored;
  }

  patch = (_of: unknown, name: { name: string; namespace?: string }, patch: object) => {
    const before = this.objects.get(formatKey(name.name, name.namespace))!;
    const { metadata, status = {} } = patch as Written;
    if (metadata.resourceVersion !== before.metadata.resourceVersion)
      return Promise.reject(new ApiError("patching", 409, {}));
    const merged = { ...before.metadata.annotations, ...metadata.annotations };
    const kept = Object.entries(merged).flatMap(([key, value]) =>
      value === null ? [] : [[key, value] as const],
    );
    const { loadBalancer, ...conditions } = status;
    return Promise.resolve(
      this.put({
        ...before,
        metadata: { ...before.metadata, annotations: Object.fromEntries(kept) },
        status: {
          ...before.status,
          ...conditions,
          ...(loadBalancer && { loadBalancer: { ingress: loadBalancer.ingress ?? [] } }),
        },
      }),
    );
  };

  shown(key: string): string[] {
    return publishedBy(this.objects.get(key)!);
  }
}

function lead() {
  const services = new Watched<ServiceObject & KubernetesObject>();
  const l2Statuses = new Watched<KubernetesObject>();
  const reflectors = { services, l2Statuses, pools: new Watched(), namespaces: new Watched() };
  const server = new Server();
  const clock = new VirtualClock();
  const queue = new WorkQueue({ name: "services", clock });
  const leader = new Leader({
    reflectors: reflectors as unknown as Reflectors,
    client: { patch: server.patch } as unknown as Client,
    clock,
    logger: silentLogger,
    events: { record: () => undefined } as unknown as EventRecorder,
    metrics: new ControllerMetrics(new Metrics()),
    services: queue,
    pools: new WorkQueue({ name: "pools", clock }),
    namespace: "metallb-system",
  });
  const stop = new AbortController();
  const done = runReconciler(
    {
      name: "services",
      queue,
      workers: 4,
      reconcile: (...args) => leader.reconcileService(...args),
    },
    stop.signal,
  );
  return {
    services,
    l2Statuses,
    server,
    clock,
    leader,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      leader.close();
      await done;
    },
  };
}

const configuration = (more: Parameters<typeof poolConfig>[2]): Configuration => ({
  pools: readPools([poolConfig("a", ["10.0.0.1"], more)]).pools,
  loadBalancerClass: "",
  logLevel: "info",
  needsNamespaces: false,
});

test("what the watch shows late is older than all that was written on top of it since", async () => {
  await using it = lead();
  const { services, l2Statuses, server, clock, leader } = it;
  leader.configure(configuration({}));
  services.bring(server.put(service("s")));
  await clock.advance(10);
  expect(server.shown("default/s")).toEqual(["10.0.0.1"]);
  // The watch of Services stands still from here on; a second write follows the first.
  const versionOf = (key: string) => server.objects.get(key)?.metadata.resourceVersion;
  const first = versionOf("default/s");
  l2Statuses.bring({
    metadata: { name: "l", namespace: "metallb-system" },
    status: {
      node: "n1",
      serviceName: "s",
      serviceNamespace: "default",
      addresses: [{ address: "10.0.0.1", reason: "Announced", term: 1 }],
    },
  } as KubernetesObject);
  await clock.advance(10);
  expect(versionOf("default/s")).not.toBe(first);
  services.bring(server.put(service("t", { namespace: "other" })));
  await clock.advance(10);
  // Everything is observed anew by this, the stale version of the first one too.
  leader.configure(configuration({ namespaces: ["other"] }));
  for (let n = 0; n < 5; n++) {
    await clock.advance(1);
    const both = [server.shown("default/s"), server.shown("other/t")].flat();
    expect(both.length).toBeLessThanOrEqual(1);
  }
  await clock.advance(2_000);
  expect([server.shown("default/s"), server.shown("other/t")]).toEqual([[], ["10.0.0.1"]]);
});
