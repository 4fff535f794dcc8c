/**
 * What can be asked for: one descriptor a kind, and the types of the objects.
 *
 * Types are the client's models as they look on the wire: timestamps are strings (the client's own
 * code would turn them into Date), and everything is `readonly` to the bottom, because objects come
 * out of stores that all readers share.
 */
import type { AddressPool } from "../api/address-pool.ts";
import type { MetalLB } from "../api/metallb.ts";
import type { ServiceL2Status } from "../api/service-l2-status.ts";
import type { SpeakerStatus } from "../api/speaker-status.ts";
import type {
  V1ClusterRole,
  V1ClusterRoleBinding,
  V1ConfigMap,
  V1CustomResourceDefinition,
  V1DaemonSet,
  V1Deployment,
  V1EndpointSlice,
  V1Lease,
  V1Namespace,
  V1NetworkPolicy,
  V1Node,
  V1ObjectMeta,
  V1Pod,
  V1Role,
  V1RoleBinding,
  V1Secret,
  V1Service,
  V1ServiceAccount,
  V1ServiceCIDR,
  V1ValidatingWebhookConfiguration,
  EventsV1Event,
} from "@kubernetes/client-node";

type WireName<K> = K extends `_${infer Name}` ? Name : K;

/** A type of the client as it looks on the wire, immutable. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Wire<Item>[]
    : T extends object
      ? { readonly [K in keyof T as WireName<K>]: Wire<T[K]> }
      : T;

/** Metadata of an object that has a name. */
export type ObjectMeta = Omit<Wire<V1ObjectMeta>, "name"> & { readonly name: string };

/** What all objects have. Custom objects that come from the server are only as valid as its CRD makes them. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** One of the client's models as an object that has a name. */
export type Named<T extends { metadata?: unknown }> = Omit<Wire<T>, "metadata"> & KubernetesObject;

/** How a kind is addressed. `T` is the type of its objects. */
export interface Resource<T extends KubernetesObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Carries the type; never set. */
  readonly object?: T;
}

/** Describes a kind. */
export function resource<T extends KubernetesObject>(
  group: string,
  version: string,
  kind: string,
  plural: string,
  scope: "Namespaced" | "Cluster",
): Resource<T> {
  return { group, version, kind, plural, namespaced: scope === "Namespaced" };
}

/** `apiVersion` of a resource's objects: `v1`, `apps/v1`. */
export function apiVersion(of: Resource<KubernetesObject>): string {
  return of.group === "" ? of.version : `${of.group}/${of.version}`;
}

/** A Service. */
export type Service = Named<V1Service>;
/** A Node. */
export type Node = Named<V1Node>;
/** An EndpointSlice. */
export type EndpointSlice = Named<V1EndpointSlice>;
/** A Namespace. */
export type Namespace = Named<V1Namespace>;
/** A ConfigMap. */
export type ConfigMap = Named<V1ConfigMap>;
/** A Secret. */
export type Secret = Named<V1Secret>;
/** A Pod. */
export type Pod = Named<V1Pod>;
/** A Deployment. */
export type Deployment = Named<V1Deployment>;
/** A DaemonSet. */
export type DaemonSet = Named<V1DaemonSet>;
/** A ServiceAccount. */
export type ServiceAccount = Named<V1ServiceAccount>;
/** A Role. */
export type Role = Named<V1Role>;
/** A RoleBinding. */
export type RoleBinding = Named<V1RoleBinding>;
/** A ClusterRole. */
export type ClusterRole = Named<V1ClusterRole>;
/** A ClusterRoleBinding. */
export type ClusterRoleBinding = Named<V1ClusterRoleBinding>;
/** A NetworkPolicy. */
export type NetworkPolicy = Named<V1NetworkPolicy>;
/** A ServiceCIDR. */
export type ServiceCIDR = Named<V1ServiceCIDR>;
/** A Lease. */
export type Lease = Named<V1Lease>;
/** An Event of events.k8s.io. */
export type Event = Named<EventsV1Event>;
/** A CustomResourceDefinition. */
export type CustomResourceDefinition = Named<V1CustomResourceDefinition>;
/** A ValidatingWebhookConfiguration. */
export type ValidatingWebhookConfiguration = Named<V1ValidatingWebhookConfiguration>;

/** Services. */
export const SERVICES = resource<Service>("", "v1", "Service", "services", "Namespaced");
/** Nodes. */
export const NODES = resource<Node>("", "v1", "Node", "nodes", "Cluster");
/** Namespaces. */
export const NAMESPACES = resource<Namespace>("", "v1", "Namespace", "namespaces", "Cluster");
/** ConfigMaps. */
export const CONFIG_MAPS = resource<ConfigMap>("", "v1", "ConfigMap", "configmaps", "Namespaced");
/** Secrets. */
export const SECRETS = resource<Secret>("", "v1", "Secret", "secrets", "Namespaced");
/** Pods. */
export const PODS = resource<Pod>("", "v1", "Pod", "pods", "Namespaced");
/** ServiceAccounts. */
export const SERVICE_ACCOUNTS = resource<ServiceAccount>(
  "",
  "v1",
  "ServiceAccount",
  "serviceaccounts",
  "Namespaced",
);
/** EndpointSlices. */
export const ENDPOINT_SLICES = resource<EndpointSlice>(
  "discovery.k8s.io",
  "v1",
  "EndpointSlice",
  "endpointslices",
  "Namespaced",
);
/** Deployments. */
export const DEPLOYMENTS = resource<Deployment>(
  "apps",
  "v1",
  "Deployment",
  "deployments",
  "Namespaced",
);
/** DaemonSets. */
export const DAEMON_SETS = resource<DaemonSet>(
  "apps",
  "v1",
  "DaemonSet",
  "daemonsets",
  "Namespaced",
);
const RBAC = "rbac.authorization.k8s.io";
/** Roles. */
export const ROLES = resource<Role>(RBAC, "v1", "Role", "roles", "Namespaced");
/** RoleBindings. */
export const ROLE_BINDINGS = resource<RoleBinding>(
  RBAC,
  "v1",
  "RoleBinding",
  "rolebindings",
  "Namespaced",
);
/** ClusterRoles. */
export const CLUSTER_ROLES = resource<ClusterRole>(
  RBAC,
  "v1",
  "ClusterRole",
  "clusterroles",
  "Cluster",
);
/** ClusterRoleBindings. */
export const CLUSTER_ROLE_BINDINGS = resource<ClusterRoleBinding>(
  RBAC,
  "v1",
  "ClusterRoleBinding",
  "clusterrolebindings",
  "Cluster",
);
/** NetworkPolicies. */
export const NETWORK_POLICIES = resource<NetworkPolicy>(
  "networking.k8s.io",
  "v1",
  "NetworkPolicy",
  "networkpolicies",
  "Namespaced",
);
/** ServiceCIDRs: stable since Kubernetes 1.33. */
export const SERVICE_CIDRS = resource<ServiceCIDR>(
  "networking.k8s.io",
  "v1",
  "ServiceCIDR",
  "servicecidrs",
  "Cluster",
);
/** Leases. */
export const LEASES = resource<Lease>("coordination.k8s.io", "v1", "Lease", "leases", "Namespaced");
/** Events. */
export const EVENTS = resource<Event>("events.k8s.io", "v1", "Event", "events", "Namespaced");
/** CustomResourceDefinitions. */
export const CUSTOM_RESOURCE_DEFINITIONS = resource<CustomResourceDefinition>(
  "apiextensions.k8s.io",
  "v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  "Cluster",
);
/** ValidatingWebhookConfigurations. */
export const VALIDATING_WEBHOOK_CONFIGURATIONS = resource<ValidatingWebhookConfiguration>(
  "admissionregistration.k8s.io",
  "v1",
  "ValidatingWebhookConfiguration",
  "validatingwebhookconfigurations",
  "Cluster",
);

/** MetalLB objects. */
export const METALLBS = resource<MetalLB>(
  "metallb.io",
  "v1beta1",
  "MetalLB",
  "metallbs",
  "Namespaced",
);
/** AddressPool objects. */
export const ADDRESS_POOLS = resource<AddressPool>(
  "metallb.io",
  "v1beta1",
  "AddressPool",
  "addresspools",
  "Namespaced",
);
/** ServiceL2Status objects. */
export const SERVICE_L2_STATUSES = resource<ServiceL2Status>(
  "metallb.io",
  "v1beta1",
  "ServiceL2Status",
  "servicel2statuses",
  "Namespaced",
);
/** SpeakerStatus objects. */
export const SPEAKER_STATUSES = resource<SpeakerStatus>(
  "metallb.io",
  "v1beta1",
  "SpeakerStatus",
  "speakerstatuses",
  "Namespaced",
);
