/** What is kept of the objects that the controller watches: only what it reads. */
import type { AddressPool } from "../api/address-pool.ts";
import type { Condition } from "../api/condition.ts";
import type { ServiceL2Status } from "../api/service-l2-status.ts";
import type { KubernetesObject, Namespace, Service } from "../kubernetes/resources.ts";
import { isMarked, OLD_PREFIX, PREFIX, type ServiceObject } from "./service.ts";

/** A Service as the store keeps it. */
export type TrimmedService = ServiceObject & KubernetesObject;
/** An AddressPool without its spec, which only the operator reads. */
export type TrimmedPool = KubernetesObject & Pick<AddressPool, "status">;
/** A ServiceL2Status as the store keeps it. */
export type TrimmedL2Status = KubernetesObject & Pick<ServiceL2Status, "status">;

/** Texts that very many objects have in common, one copy of each. */
const common = new Map<string, string>();
const MAX_COMMON = 4_096;

/** Gives the one copy of a text: parsing makes a new one for every object. */
function shared<T extends string | undefined>(text: T): T {
  if (text === undefined) return text;
  const known = common.get(text);
  if (known !== undefined) return known as T;
  if (common.size >= MAX_COMMON) common.clear();
  common.set(text, text);
  return text;
}

function sharing(conditions: readonly Condition[] | undefined): readonly Condition[] | undefined {
  return conditions?.map((condition) => ({
    ...condition,
    type: shared(condition.type),
    status: shared(condition.status),
    reason: shared(condition.reason),
    lastTransitionTime: shared(condition.lastTransitionTime),
  }));
}

/** Keeps of a Service what decides about its addresses; of one that is none of ours, next to nothing. */
export function trimService(service: Service): TrimmedService {
  const { metadata, spec = {}, status } = service as Service & ServiceObject;
  const { name, namespace, uid, resourceVersion, creationTimestamp, labels, annotations } =
    metadata;
  const identity = {
    name,
    ...defined({
      namespace: shared(namespace),
      uid,
      resourceVersion,
      creationTimestamp: shared(creationTimestamp),
    }),
  };
  const trimmed: TrimmedService = {
    metadata: { ...identity, ...defined({ labels, annotations: ourAnnotations(annotations) }) },
    spec: defined({
      type: shared(spec.type),
      loadBalancerClass: shared(spec.loadBalancerClass),
      loadBalancerIP: spec.loadBalancerIP,
      clusterIP: spec.clusterIP,
      clusterIPs: spec.clusterIPs,
      ipFamilyPolicy: shared(spec.ipFamilyPolicy),
      externalTrafficPolicy: shared(spec.externalTrafficPolicy),
      selector: spec.selector,
      ports: spec.ports?.map(({ port, protocol }) => ({
        port,
        ...defined({ protocol: shared(protocol) }),
      })),
    }),
    ...(status !== undefined && {
      status: { ...status, ...defined({ conditions: sharing(status.conditions) }) },
    }),
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
