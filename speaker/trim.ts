/** What is kept of the objects that the speaker watches: on large clusters they are many. */
import { ADDRESS_ASSIGNED } from "../api/service-condition.ts";
import type { EndpointSlice, Node, Service } from "../kubernetes/resources.ts";
import { BoundedMap } from "./bounded-map.ts";

type Metadata = Service["metadata"];

/** Label of an EndpointSlice: the Service that it is of. */
const SERVICE_NAME = "kubernetes.io/service-name";

/** What identifies an object and its version. */
function identity({ name, namespace, uid, resourceVersion }: Metadata): Metadata {
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
  };
}

/** Keeps type, class, policy and addresses; of one that has none, why. */
export function trimService(service: Service): Service {
  const { type, loadBalancerClass, externalTrafficPolicy } = service.spec ?? {};
  const { loadBalancer, conditions } = service.status ?? {};
  const hasAddress = (loadBalancer?.ingress ?? []).length > 0;
  const why = hasAddress ? [] : (conditions ?? []).filter(({ type }) => type === ADDRESS_ASSIGNED);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: identity(service.metadata),
    spec: {
      ...(type !== undefined && { type }),
      ...(loadBalancerClass !== undefined && { loadBalancerClass }),
      ...(externalTrafficPolicy !== undefined && { externalTrafficPolicy }),
    },
    status: {
      ...(loadBalancer !== undefined && { loadBalancer }),
      ...(why.length > 0 && { conditions: why }),
    },
  };
}

type Endpoint = NonNullable<EndpointSlice["endpoints"]>[number];

/** As trimmed, endpoints on one node in one condition are all alike: they are one object. */
const endpointsSeen = new BoundedMap<string, Endpoint>(8192);

function trimEndpoint({ nodeName, conditions }: Endpoint): Endpoint {
  const { ready, serving, terminating } = conditions ?? {};
  const key = `${ready} ${serving} ${terminating} ${nodeName ?? ""}`;
  return endpointsSeen.of(key, () => ({
    addresses: [],
    ...(nodeName !== undefined && { nodeName }),
    ...(conditions !== undefined && { conditions }),
  }));
}

/** Keeps whose it is, where each endpoint is, and whether it is ready. */
export function trimSlice(slice: EndpointSlice): EndpointSlice {
  const { metadata, addressType, endpoints } = slice;
  const service = metadata.labels?.[SERVICE_NAME];
  return {
    metadata: {
      ...identity(metadata),
      ...(service !== undefined && { labels: { [SERVICE_NAME]: service } }),
    },
    addressType,
    endpoints: (endpoints ?? []).map(trimEndpoint),
  };
}

/** Conditions that anybody reads. */
const CONDITIONS: readonly string[] = ["NetworkUnavailable"];

/** Keeps the labels, the taints, the addresses and one condition, without its heartbeats. */
export function trimNode(node: Node): Node {
  const { labels } = node.metadata;
  const { addresses } = node.status ?? {};
  const taints = node.spec?.taints?.map(({ key, value, effect }) => {
    return { key, effect, ...(value !== undefined && { value }) };
  });
  const conditions = (node.status?.conditions ?? [])
    .filter(({ type }) => CONDITIONS.includes(type))
    .map(({ type, status }) => ({ type, status }));
  return {
    metadata: { ...identity(node.metadata), ...(labels !== undefined && { labels }) },
    ...(taints !== undefined && { spec: { taints } }),
    status: { conditions, ...(addresses !== undefined && { addresses }) },
  };
}
