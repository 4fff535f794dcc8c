/** What is kept of the objects that the controller watches: only what it reads. */
import type { AddressPool } from "../api/address-pool.ts";
import type { ServiceL2Status } from "../api/service-l2-status.ts";
import type { KubernetesObject, Namespace, Service } from "../kubernetes/resources.ts";
import { isMarked, OLD_PREFIX, PREFIX, type ServiceObject } from "./service.ts";

/** A Service as the store keeps it. */
export type TrimmedService = ServiceObject & KubernetesObject;
/** An AddressPool without its spec, which only the operator reads. */
export type TrimmedPool = KubernetesObject & Pick<AddressPool, "status">;
/** A ServiceL2Status as the store keeps it. */
export type TrimmedL2Status = KubernetesObject & Pick<ServiceL2Status, "status">;

/** Keeps of a Service what decides about its addresses; of one that is none of ours, next to nothing. */
export function trimService(service: Service): TrimmedService {
  const { metadata, spec = {}, status } = service as Service & ServiceObject;
  const { name, namespace, uid, resourceVersion, creationTimestamp, labels, annotations } =
    metadata;
  const identity = {
    name,
    ...defined({ namespace, uid, resourceVersion, creationTimestamp: creationTimestamp }),
  };
  const trimmed: TrimmedService = {
    metadata: { ...identity, ...defined({ labels, annotations: ourAnnotations(annotations) }) },
    spec: defined({
      type: spec.type,
      loadBalancerClass: spec.loadBalancerClass,
      loadBalancerIP: spec.loadBalancerIP,
      clusterIP: spec.clusterIP,
      clusterIPs: spec.clusterIPs,
      ipFamilyPolicy: spec.ipFamilyPolicy,
      externalTrafficPolicy: spec.externalTrafficPolicy,
      selector: spec.selector,
      ports: spec.ports?.map(({ port, protocol }) => ({ port, ...defined({ protocol }) })),
    }),
    ...(status !== undefined && { status }),
  };
  if (spec.type === "LoadBalancer" || isMarked(trimmed)) return trimmed;
  return { metadata: identity, spec: defined({ type: spec.type }) };
}

function ourAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> | undefined {
  const ours = Object.entries(annotations ?? {}).filter(
    ([name]) => name.startsWith(`${PREFIX}/`) || name.startsWith(`${OLD_PREFIX}/`),
  );
  return ours.length === 0 ? undefined : Object.fromEntries(ours);
}

/** Keeps of an AddressPool its name and status. */
export function trimPool(pool: AddressPool): TrimmedPool {
  return { metadata: identityOf(pool), ...defined({ status: pool.status }) };
}

/** Keeps of a ServiceL2Status its name and status. */
export function trimL2Status(status: ServiceL2Status): TrimmedL2Status {
  return { metadata: identityOf(status), ...defined({ status: status.status }) };
}

/** Keeps of a Namespace its labels. */
export function trimNamespace(namespace: Namespace): KubernetesObject {
  const { labels } = namespace.metadata;
  return { metadata: { ...identityOf(namespace), ...defined({ labels }) } };
}

function identityOf({ metadata }: KubernetesObject): KubernetesObject["metadata"] {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { name, ...defined({ namespace, uid, resourceVersion }) };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Leaves out what is undefined: in an API object absent and undefined are not the same. */
function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Defined<T>;
}
