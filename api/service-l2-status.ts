import { Type, type Static } from "@sinclair/typebox";
import { AGE, storedApiVersion, type Kind } from "./kind.ts";
import type { ObjectMeta } from "./object.ts";
import { ADDRESS_REASONS, NODE_REASONS } from "./reason.ts";
import { closed, oneOf, rules } from "./schema.ts";

/** How many other nodes an address lists by name; beyond them there are counts alone. */
export const MAX_OTHER_NODES = 20;

/** Label of a ServiceL2Status: the node whose speaker wrote it. */
export const NODE_LABEL = "metallb.io/node";
/** Label of a ServiceL2Status: the name of its Service. */
export const SERVICE_NAME_LABEL = "metallb.io/service-name";
/** Label of a ServiceL2Status: the namespace of its Service. */
export const SERVICE_NAMESPACE_LABEL = "metallb.io/service-namespace";

const immutable = rules(["self == oldSelf", "is immutable"]);

const networkInterface = Type.Object(
  { name: Type.String({ description: "Name of the interface.", minLength: 1, maxLength: 15 }) },
  closed,
);

const interfaces = (description: string) =>
  Type.Array(networkInterface, {
    description,
    maxItems: 64,
    "x-kubernetes-list-type": "atomic",
  });

const nodeReason = oneOf(NODE_REASONS, { description: "Why, in one word." });

const otherNode = Type.Object(
  {
    node: Type.String({ description: "Name of the node." }),
    reason: nodeReason,
    since: Type.Optional(
      Type.String({ description: "Since when, if that is known.", format: "date-time" }),
    ),
  },
  closed,
);

const reasonCount = Type.Object(
  { reason: nodeReason, count: Type.Integer({ description: "How many nodes.", minimum: 1 }) },
  closed,
);

const conflict = Type.Object(
  {
    hardwareAddress: Type.String({ description: "MAC address of the other host." }),
    since: Type.String({ description: "When it was first seen.", format: "date-time" }),
  },
  { ...closed, description: "Another host that uses the address." },
);

const address = Type.Object(
  {
    address: Type.String({ description: "The address.", maxLength: 39 }),
    reason: oneOf([...NODE_REASONS, ...ADDRESS_REASONS, "NoReadyEndpoint"], {
      description: "Why this node announces the address, or does not.",
    }),
    message: Type.Optional(
      Type.String({ description: "The same for people, with what to do.", maxLength: 1024 }),
    ),
    term: Type.Integer({
      description: "Term of the claim; of two owners that with the higher term is right.",
      minimum: 0,
    }),
    since: Type.Optional(Type.String({ description: "Since when.", format: "date-time" })),
    interfaces: Type.Optional(interfaces("Interfaces that the address is announced on.")),
    otherNodes: Type.Optional(
      Type.Array(otherNode, {
        description: "Why other nodes do not announce it, the first by rank.",
        maxItems: MAX_OTHER_NODES,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    otherNodeCounts: Type.Optional(
      Type.Array(reasonCount, {
        description: "How many other nodes do not announce it, by reason.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["reason"],
      }),
    ),
    conflict: Type.Optional(conflict),
  },
  closed,
);

const status = Type.Object(
  {
    node: Type.String({ description: "Node whose speaker wrote this.", ...immutable }),
    serviceName: Type.String({ description: "Name of the Service.", ...immutable }),
    serviceNamespace: Type.String({ description: "Namespace of the Service.", ...immutable }),
    interfaces: Type.Optional(
      interfaces("Interfaces that the Service is announced on; empty: all of the node."),
    ),
    addresses: Type.Optional(
      Type.Array(address, {
        description: "What the node says of each address of the Service.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["address"],
        maxItems: 16,
      }),
    ),
  },
  { ...closed, description: "What is observed; written by one speaker." },
);

/** What a speaker observes of one Service. */
export type ServiceL2StatusStatus = Static<typeof status>;
/** What a speaker observes of one address of a Service. */
export type AddressObservation = Static<typeof address>;

/** What one speaker says of one Service, as the API server gives it. */
export interface ServiceL2Status {
  readonly apiVersion: string;
  readonly kind: "ServiceL2Status";
  readonly metadata: ObjectMeta;
  readonly status?: ServiceL2StatusStatus;
}

const column = (name: string, field: string, description: string) =>
  ({ name, type: "string", jsonPath: `.status.${field}`, description }) as const;

/** The kind ServiceL2Status. */
export const SERVICE_L2_STATUS: Kind = {
  kind: "ServiceL2Status",
  singular: "servicel2status",
  plural: "servicel2statuses",
  description: "Which node announces the addresses of a Service, and why not others.",
  versions: [{ name: "v1beta1", storage: true }],
  spec: Type.Object({}, { ...closed, description: "Empty: there is nothing to want." }),
  status,
  rules: [],
  columns: [
    column("Allocated Node", "node", "Node that announces."),
    column("Service Name", "serviceName", "Name of the Service."),
    column("Service Namespace", "serviceNamespace", "Namespace of the Service."),
    AGE,
  ],
};

/** `apiVersion` of the ServiceL2Status objects that we read and write. */
export const SERVICE_L2_STATUS_API_VERSION = storedApiVersion(SERVICE_L2_STATUS);
