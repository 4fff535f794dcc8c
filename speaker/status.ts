/**
 * Writes what this speaker has to say of a Service: one ServiceL2Status with a name that follows
 * from node and Service, only ever written by this node, only when it changes.
 */
import type { AddressObservation, ServiceL2StatusStatus } from "../api/service-l2-status.ts";
import { NODE_LABEL, SERVICE_L2_STATUS_API_VERSION } from "../api/service-l2-status.ts";
import type { Client } from "../kubernetes/client.ts";
import { hasCode } from "../kubernetes/errors.ts";
import { SERVICE_L2_STATUSES } from "../kubernetes/resources.ts";
import { formatKey, parseKey, type Key } from "../kubernetes/store.ts";
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

/** What was written last of a Service; without a text the object is there, and what it says unknown. */
interface Written {
  readonly service: Key;
  readonly text: string | undefined;
}

/** Keeps our ServiceL2Status objects as they should be. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  /** By object name. */
  readonly #written = new Map<string, Written>();
  /** Objects of an earlier speaker's pod, which they go with unless we take them over. */
  readonly #inherited = new Set<string>();

  /** Writes nothing before {@link reconcile}. */
  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /**
   * Learns what there is of this node.
   * @returns the Services that are to be reconciled: what an earlier speaker has left is about them, or
   * what was written about them is gone
   */
  async survey(signal: AbortSignal): Promise<Key[]> {
    const { client, node, namespace, owner } = this.#options;
    const labelSelector = `${NODE_LABEL}=${node}`;
    const { items } = await client.list(SERVICE_L2_STATUSES, { namespace, labelSelector }, signal);
    const services = new Set<Key>();
    const found = new Set<string>();
    this.#inherited.clear();
    for (const { metadata, status } of items) {
      found.add(metadata.name);
      const isOurs = metadata.ownerReferences?.some(({ uid }) => uid === owner.uid) === true;
      if (isOurs && this.#written.has(metadata.name)) continue;
      this.#inherited.add(metadata.name);
      this.#written.delete(metadata.name);
      if (status) services.add(formatKey(status.serviceName, status.serviceNamespace));
    }
    for (const [name, { service }] of this.#written) {
      if (found.has(name)) continue;
      this.#written.delete(name);
      services.add(service);
    }
    return [...services];
  }

  /** Writes or deletes the object about one Service. */
  async reconcile(key: Key, signal: AbortSignal): Promise<void> {
    const { client, node, namespace, owner } = this.#options;
    const { name: service, namespace: serviceNamespace = "" } = parseKey(key);
    const name = statusName(serviceNamespace, service, node);
    const addresses = this.#observations(key);
    this.#options.said(key, addresses);
    const written = this.#written.get(name);
    if (addresses.length === 0) {
      if (written === undefined && !this.#inherited.has(name)) return;
      await client.delete(SERVICE_L2_STATUSES, { name, namespace }, {}, signal);
      this.#written.delete(name);
      this.#inherited.delete(name);
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
    if (written?.text === text) return;
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
    if (written === undefined) await client.apply(SERVICE_L2_STATUSES, object, {}, signal);
    this.#inherited.delete(name);
    this.#written.set(name, { service: key, text: undefined });
    try {
      await client.applyStatus(SERVICE_L2_STATUSES, { ...object, status }, {}, signal);
    } catch (error) {
      // somebody has deleted it: the next try makes it anew
      if (hasCode(error, "NotFound")) this.#written.delete(name);
      throw error;
    }
    this.#written.set(name, { service: key, text });
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
