/**
 * What one speaker says of its node: facts that no object of Kubernetes has. Each speaker writes one
 * object, named after its pod and owned by it, so that it goes with the pod.
 */
import { Type, type Static } from "@sinclair/typebox";
import { AGE, storedApiVersion, type Kind } from "./kind.ts";
import type { ObjectMeta } from "./object.ts";
import { closed, oneOf, rules } from "./schema.ts";

/** What kube-proxy answers when asked whether it is healthy. */
export const KUBE_PROXY_ANSWERS = ["Healthy", "Unhealthy", "NoAnswer"] as const;

/** Most virtual routers and interfaces that a speaker reports. */
export const MAX_REPORTED = 64;

const interfaceName = (description: string) =>
  Type.String({ description, minLength: 1, maxLength: 15 });

const listOf = <T extends Parameters<typeof Type.Array>[0]>(item: T, description: string) =>
  Type.Array(item, { description, maxItems: MAX_REPORTED, "x-kubernetes-list-type": "atomic" });

const networkInterface = Type.Object(
  {
    name: interfaceName("Name of the interface."),
    subnets: listOf(Type.String({ maxLength: 43 }), "Networks that its addresses are in."),
    reversePathFilter: Type.Integer({
      description: "The kernel's rp_filter for it: 0 none, 1 strict, 2 loose.",
      minimum: 0,
      maximum: 2,
    }),
  },
  closed,
);

const virtualRouter = Type.Object(
  {
    interface: interfaceName("Interface on which it was heard."),
    address: Type.String({ description: "Address that it sends from.", maxLength: 39 }),
    id: Type.Integer({ description: "Its virtual router id.", minimum: 0, maximum: 255 }),
  },
  closed,
);

const status = Type.Object(
  {
    node: Type.String({
      description: "Node that the speaker runs on.",
      ...rules(["self == oldSelf", "is immutable"]),
    }),
    interfaces: listOf(networkInterface, "Interfaces that addresses can be announced on."),
    arpIgnore: Type.Integer({
      description: "The kernel's net.ipv4.conf.all.arp_ignore.",
      minimum: 0,
      maximum: 8,
    }),
    hasIPVSInterface: Type.Boolean({
      description: "Whether there is an interface kube-ipvs0, which holds every Service's address.",
    }),
    kubeProxy: oneOf(KUBE_PROXY_ANSWERS, {
      description: "What kube-proxy of the node answers when asked whether it is healthy.",
    }),
    virtualRouters: listOf(virtualRouter, "Virtual routers (VRRP) that were heard of late."),
    keys: listOf(
      Type.String({ maxLength: 8, pattern: "^[0-9a-f]{8}$" }),
      "Names of the keys under which the speaker reads what others say, the oldest first.",
    ),
  },
  { ...closed, description: "What is observed; written by one speaker." },
);

/** What a speaker observes of its node. */
export type SpeakerStatusStatus = Static<typeof status>;
/** A virtual router of another host. */
export type VirtualRouter = Readonly<Static<typeof virtualRouter>>;

/** What one speaker says of its node, as the API server gives it. */
export interface SpeakerStatus {
  readonly apiVersion: string;
  readonly kind: "SpeakerStatus";
  readonly metadata: ObjectMeta;
  readonly status?: SpeakerStatusStatus;
}

/** The kind SpeakerStatus. */
export const SPEAKER_STATUS: Kind = {
  kind: "SpeakerStatus",
  singular: "speakerstatus",
  plural: "speakerstatuses",
  description: "What a speaker observes of the node that it runs on.",
  versions: [{ name: "v1beta1", storage: true }],
  spec: Type.Object({}, { ...closed, description: "Empty: there is nothing to want." }),
  status,
  rules: [],
  columns: [
    {
      name: "Node",
      type: "string",
      jsonPath: ".status.node",
      description: "Node that the speaker runs on.",
    },
    {
      name: "kube-proxy",
      type: "string",
      jsonPath: ".status.kubeProxy",
      description: "What kube-proxy of the node answers.",
    },
    AGE,
  ],
};

/** `apiVersion` of the SpeakerStatus objects that we read and write. */
export const SPEAKER_STATUS_API_VERSION = storedApiVersion(SPEAKER_STATUS);
