/**
 * Writes what this speaker has to say of a Service: one ServiceL2Status with a name that follows
 * from node and Service, only ever written by this node, only when it changes.
 */
import type { AddressObservation, ServiceL2StatusStatus } from "../api/service-l2-status.ts";
import { NODE_LABEL, SERVICE_L2_STATUS_API_VERSION } from "../api/service-l2-status.ts";
import type { Client } from "../kubernetes/client.ts";
import { SERVICE_L2_STATUSES } from "../kubernetes/resources.ts";
import { parseKey, type Key } from "../kubernetes/store.ts";
import { observe, spokesman, statusLabels, statusName } from "./observation.ts";
import type { SpeakerView } from "./view.ts";

/** Pod that owns the objects: they go with it. */
export interface OwnerPod {
  readonly name: string;
  readonly uid: string;
}

/** What the writer works with. */
export interface StatusWriterOptions {
  readonly client: Client;
  readonly view: Pick<SpeakerView, "addressesOf" | "observe">;
  readonly node: string;
  /** Our namespace. */
  readonly namespace: string;
  readonly owner: OwnerPod;
  /** Told what this node says of the addresses of a Service that it speaks for. */
  readonly said: (service: Key, observations: readonly AddressObservation[]) => void;
}

/** Keeps our ServiceL2Status objects as they should be. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  /** Text of what was written last, by object name. */
  readonly #written = new Map<string, string>();

  /** Writes nothing before {@link reconcile}. */
  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /**
   * Removes what an earlier speaker on this node has left about Services that are gone, and learns
   * what there is. To be called once, before anything is written.
   */
  async adopt(signal: AbortSignal): Promise<Key[]> {
    const { client, node, namespace } = this.#options;
    const labelSelector = `${NODE_LABEL}=${node}`;
    const { items } = await client.list(SERVICE_L2_STATUSES, { namespace, labelSelector }, signal);
    return items.flatMap(({ metadata, status }) => {
      this.#written.set(metadata.name, "");
      return status === undefined ? [] : [`${status.serviceNamespace}/${status.serviceName}`];
    });
  }

  /** Writes or deletes the object about one Service. */
  async reconcile(key: Key, signal: AbortSignal): Promise<void> {
    const { client, node, namespace, owner } = this.#options;
    const { name: service, namespace: serviceNamespace = "" } = parseKey(key);
    const name = statusName(serviceNamespace, service, node);
    const addresses = this.#observations(key);
    this.#options.said(key, addresses);
    if (addresses.length === 0) {
      if (!this.#written.has(name)) return;
      await client.delete(SERVICE_L2_STATUSES, { name, namespace }, {}, signal);
      this.#written.delete(name);
      return;
    }
    const status: ServiceL2StatusStatus = {
      node,
      serviceName: service,
      serviceNamespace,
      interfaces: interfacesIn(addresses),
      addresses: [...addresses],
    };
    const text = JSON.stringify(status);
    if (this.#written.get(name) === text) return;
    const object = {
      apiVersion: SERVICE_L2_STATUS_API_VERSION,
      kind: "ServiceL2Status" as const,
      metadata: {
        name,
        namespace,
        labels: statusLabels(serviceNamespace, service, node),
        ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: owner.name, uid: owner.uid }],
      },
    };
    if (!this.#written.has(name)) await client.apply(SERVICE_L2_STATUSES, object, {}, signal);
    this.#written.set(name, "");
    await client.applyStatus(SERVICE_L2_STATUSES, { ...object, status }, {}, signal);
    this.#written.set(name, text);
  }

  #observations(key: Key): readonly AddressObservation[] {
    const { view, node } = this.#options;
    return view.addressesOf(key).flatMap((address) => {
      const observed = view.observe(address);
      if (observed?.settled !== true) return [];
      const { election, owner, standing } = observed;
      if (spokesman(address, election, owner, standing) !== node) return [];
      return [observe(observed, node)];
    });
  }
}

function interfacesIn(addresses: readonly AddressObservation[]): { name: string }[] {
  const names = addresses.flatMap(({ interfaces = [] }) => interfaces.map(({ name }) => name));
  return [...new Set(names)].toSorted().map((name) => ({ name }));
}
