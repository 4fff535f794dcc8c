/**
 * The part of an API server that the controller writes to, with a controller's memory beside it:
 * versions, preconditions, merge patches, answers that get lost, and a controller that dies.
 */
import type { PoolConfig } from "../../../api/rendered-config.ts";
import { announcementOf } from "../../../controller/announced.ts";
import { Convergence } from "../../../controller/convergence.ts";
import { keyOf, publishedBy, type ServiceObject } from "../../../controller/service.ts";
import { changeOf, type ServiceEvent, type ServicePatch } from "../../../controller/status.ts";
import { pools } from "./objects.ts";

const NOW = new Date(Date.UTC(2026, 0, 2));

/** See the head of the file. */
export class World {
  readonly services = new Map<string, ServiceObject>();
  readonly events: (ServiceEvent & { readonly service: string })[] = [];
  /** Keys that the controller wants written. */
  readonly queue = new Set<string>();
  controller = new Convergence();
  now = 0;
  writes = 0;
  #version = 100;
  #pools: readonly PoolConfig[] = [];
  #class = "";

  /** Gives the controller another configuration. */
  configure(configs: readonly PoolConfig[], loadBalancerClass = this.#class): void {
    const isOther = this.#class !== loadBalancerClass;
    this.#pools = configs;
    this.#class = loadBalancerClass;
    this.controller.configure(pools(...configs), loadBalancerClass);
    if (isOther)
      for (const service of this.services.values()) this.controller.observe(service, this.now);
  }

  /** Stores a version of a Service, made by a user. */
  put(service: ServiceObject): void {
    const stored = this.#store(service);
    this.controller.observe(stored, this.now);
  }

  /** Changes a Service as a user does; the status stays, as the API server has it. */
  edit(key: string, change: (service: ServiceObject) => ServiceObject): void {
    const service = this.services.get(key);
    if (service !== undefined) this.put(change(service));
  }

  /** Deletes a Service. */
  remove(key: string): void {
    this.services.delete(key);
    this.queue.delete(key);
    this.controller.forget(key, this.now);
  }

  /** Kills the controller and starts another, which sees the Services in the order given. */
  restart(order: (keys: string[]) => string[] = (keys) => keys): void {
    this.controller = new Convergence();
    this.queue.clear();
    this.controller.configure(pools(...this.#pools), this.#class);
    for (const key of order([...this.services.keys()])) {
      this.controller.observe(this.services.get(key)!, this.now);
    }
  }

  /** Decides. */
  settle(): void {
    for (const key of this.controller.settle(this.now)) this.queue.add(key);
  }

  /**
   * Writes one Service that is due. `fate`: the answer arrives, gets lost on its way back, or the
   * request never arrives.
   */
  write(key: string, fate: "answered" | "answerLost" | "requestLost" = "answered"): void {
    this.queue.delete(key);
    if (this.controller.isDue(key)) this.settle();
    const service = this.controller.service(key);
    const decision = this.controller.decision(key);
    if (service === undefined || decision === undefined) return;
    const announcement = announcementOf(decision.granted?.addresses ?? [], []);
    const change = changeOf(service, decision, announcement, NOW);
    if (change === undefined) {
      // Long after: what was lost will not arrive any more.
      const isNewest = service === this.services.get(key);
      if (isNewest && this.controller.isUncertain(key)) this.controller.endWrite(key, this.now);
      return;
    }
    this.controller.beginWrite(key, this.now);
    if (fate !== "requestLost") this.#patch(key, change.patch);
    if (fate !== "answered") {
      this.queue.add(key);
      return;
    }
    this.writes += 1;
    this.events.push(...change.events.map((event) => ({ ...event, service: key })));
    this.controller.observe(this.services.get(key)!, this.now);
  }

  /** Brings the newest version of a Service to the controller, when it does not know it. */
  watch(key: string): void {
    const service = this.services.get(key);
    if (service === undefined || service === this.controller.service(key)) return;
    this.controller.observe(service, this.now);
  }

  /** Goes on until there is nothing left to do. */
  rest(): void {
    for (let round = 0; round < 100; round++) {
      for (const key of this.services.keys()) this.watch(key);
      this.settle();
      const uncertain = [...this.services.keys()].filter((key) => this.controller.isUncertain(key));
      const due = new Set([...this.queue, ...uncertain]);
      const before = this.writes;
      for (const key of due) this.write(key);
      this.settle();
      if (this.writes === before && this.controller.settle(this.now).length === 0) return;
    }
    throw new Error("it never comes to rest");
  }

  /** Gives what a Service shows. */
  shown(key: string): string[] {
    return publishedBy(this.services.get(key)!);
  }

  #store(service: ServiceObject): ServiceObject {
    this.#version += 1;
    const stored = {
      ...service,
      metadata: { ...service.metadata, resourceVersion: String(this.#version) },
    };
    this.services.set(keyOf(service), stored);
    return stored;
  }

  /** A patch on another version, or another object, than the stored one is refused. */
  #patch(key: string, patch: ServicePatch): void {
    const service = this.services.get(key);
    const { resourceVersion, uid, annotations = {} } = patch.metadata;
    if (service?.metadata.resourceVersion !== resourceVersion) return;
    if (service?.metadata.uid !== uid || service === undefined) return;
    const merged = Object.entries({ ...service.metadata.annotations, ...annotations });
    const kept = merged.filter((each): each is [string, string] => each[1] !== null);
    const { loadBalancer, conditions } = patch.status ?? {};
    const ingress = loadBalancer?.ingress;
    this.#store({
      ...service,
      metadata: { ...service.metadata, annotations: Object.fromEntries(kept) },
      status: {
        ...service.status,
        ...(loadBalancer && {
          loadBalancer: ingress
            ? { ingress: ingress.map((each) => ({ ...each, ipMode: "VIP" })) }
            : {},
        }),
        ...(conditions !== undefined && { conditions: conditions ?? [] }),
      },
    });
  }
}
