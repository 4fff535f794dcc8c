/** What is kept of the objects that the operator watches but does not write: on large clusters they are many. */
import { trimMetadata } from "../kubernetes/reflector.ts";
import type { DaemonSet, KubernetesObject, Node, Pod } from "../kubernetes/resources.ts";

type Metadata = KubernetesObject["metadata"];

/** What identifies an object and its version, and its labels. */
function identity({ name, namespace, uid, resourceVersion, labels }: Metadata): Metadata {
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
    ...(labels !== undefined && { labels }),
  };
}

/** Keeps labels, the pods' networks and addresses. */
export function trimNode({ metadata, spec, status }: Node): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: identity(metadata),
    ...(spec?.podCIDRs !== undefined && { spec: { podCIDRs: spec.podCIDRs } }),
    ...(status?.addresses !== undefined && { status: { addresses: status.addresses } }),
  };
}

/** Keeps where a pod runs and why it is not ready. */
export function trimPod({ metadata, spec, status }: Pod): Pod {
  const { creationTimestamp, deletionTimestamp } = metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...identity(metadata),
      ...(creationTimestamp !== undefined && { creationTimestamp }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    },
    spec: { containers: [], ...(spec?.nodeName !== undefined && { nodeName: spec.nodeName }) },
    status: {
      ...(status?.phase !== undefined && { phase: status.phase }),
      ...(status?.conditions && { conditions: status.conditions }),
      ...(status?.containerStatuses && { containerStatuses: status.containerStatuses }),
    },
  };
}

/** Keeps all of those in the operator's namespace; of others, whose images they run. */
export function trimDaemonSet(namespace: string): (daemonSet: DaemonSet) => DaemonSet {
  return (daemonSet) => {
    if (daemonSet.metadata.namespace === namespace) return trimMetadata(daemonSet);
    const containers = daemonSet.spec?.template.spec?.containers ?? [];
    const images = containers.map(({ name, image }) => ({
      name,
      ...(image !== undefined && { image }),
    }));
    return {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: identity(daemonSet.metadata),
      spec: { selector: {}, template: { spec: { containers: images } } },
    };
  };
}
