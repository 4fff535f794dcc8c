/** Makes the ClusterServiceVersion: all that OLM and a catalog's page know of one version. */
import { GROUP, type Kind } from "../api/kind.ts";
import type { KubernetesObject } from "./bundle-config.ts";
import { specDescriptors, statusDescriptors, type Descriptor } from "./bundle-descriptors.ts";
import { clusterPermissions } from "./bundle-rights.ts";
import { webhookDefinitions } from "./bundle-webhooks.ts";
import type { Schema } from "./crd.ts";

/** What `config/bundle/base.yaml` says of a kind. */
interface OwnedBase {
  readonly kind: string;
  readonly displayName: string;
  readonly resources: readonly {
    readonly kind: string;
    readonly name: string;
    readonly version: string;
  }[];
}

/** A kind as the ClusterServiceVersion has it, once a version. */
export interface Owned {
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly displayName: string;
  readonly description: string;
  readonly resources: OwnedBase["resources"];
  readonly specDescriptors?: readonly Descriptor[];
  readonly statusDescriptors?: readonly Descriptor[];
}

interface BaseSpec {
  readonly minKubeVersion: string;
  readonly customresourcedefinitions: { readonly owned: readonly OwnedBase[] };
  readonly [field: string]: unknown;
}

/** `config/bundle/base.yaml`: a ClusterServiceVersion without all that can be generated. */
export interface Base extends KubernetesObject {
  readonly spec: BaseSpec;
}

/** A release: what differs between two bundles of one tree. */
export interface Release {
  /** Version of the operator: semver without `v`. */
  readonly version: string;
  /** Image of the three programs. */
  readonly image: string;
  /** The version that this one replaces, if older ones are not all in reach of its skipRange. */
  readonly replaces?: string | undefined;
}

/** What a ClusterServiceVersion is made from. */
export interface CsvSources {
  readonly base: Base;
  readonly icon: string;
  readonly kinds: readonly Kind[];
  /** The objects of `config/bundle`. */
  readonly objects: readonly KubernetesObject[];
  /** One object of each kind at least, as examples. */
  readonly examples: readonly KubernetesObject[];
}

interface Deployment extends KubernetesObject {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly Readonly<Record<string, unknown>>[] };
    };
  };
}

/** A ClusterServiceVersion, as far as its makers look into it. */
export interface ClusterServiceVersion extends KubernetesObject {
  readonly metadata: KubernetesObject["metadata"] & {
    readonly annotations: Readonly<Record<string, string>>;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>> & {
    readonly customresourcedefinitions: { readonly owned: readonly Owned[] };
  };
}

/** Kinds that only programs write: consoles do not offer to make one. */
const INTERNAL = ["ServiceL2Status", "SpeakerStatus"];

/** Names the ClusterServiceVersion of a version. */
export function csvName(base: Base, version: string): string {
  return `${base.metadata.name}.v${version}`;
}

/** Makes the ClusterServiceVersion of a release. */
export function clusterServiceVersion(
  sources: CsvSources,
  release: Release,
): ClusterServiceVersion {
  const { base, icon, kinds, objects } = sources;
  const { version, image, replaces } = release;
  const { customresourcedefinitions, ...spec } = base.spec;
  const deployments = objects.filter(({ kind }) => kind === "Deployment") as Deployment[];
  const webhooks = webhookDefinitions(objects);
  return {
    apiVersion: base.apiVersion,
    kind: base.kind,
    metadata: {
      name: csvName(base, version),
      annotations: { ...base.metadata.annotations, ...annotations(sources, release) },
      labels: base.metadata.labels ?? {},
    },
    spec: {
      ...spec,
      icon: [{ base64data: Buffer.from(icon).toString("base64"), mediatype: "image/svg+xml" }],
      version,
      ...(replaces !== undefined && { replaces: csvName(base, replaces) }),
      customresourcedefinitions: { owned: owned(kinds, customresourcedefinitions.owned) },
      install: {
        strategy: "deployment",
        spec: {
          clusterPermissions: clusterPermissions(objects),
          deployments: deployments.map((deployment) => deploymentSpec(deployment, image)),
        },
      },
      relatedImages: [{ name: "operator", image }],
      ...(webhooks.length > 0 && { webhookdefinitions: webhooks }),
    },
  };
}

function annotations(
  { kinds, objects, examples }: CsvSources,
  { version, image }: Release,
): Record<string, string> {
  const internal = kinds
    .filter(({ kind }) => INTERNAL.includes(kind))
    .map(({ plural }) => `${plural}.${GROUP}`);
  const namespace = objects.find(({ kind }) => kind === "Namespace");
  const first = examples.find(({ kind }) => kind === "MetalLB");
  return {
    "alm-examples": json(kinds.flatMap((kind) => examplesOf(kind, examples))),
    containerImage: image,
    "olm.skipRange": `<${version}`,
    "operatorframework.io/initialization-resource": json(
      first === undefined ? {} : portable(first),
    ),
    ...(namespace !== undefined && {
      "operatorframework.io/suggested-namespace": namespace.metadata.name,
      "operatorframework.io/suggested-namespace-template": json(namespace),
    }),
    "operators.operatorframework.io/internal-objects": JSON.stringify(internal),
  };
}

/** Gives the examples of a kind in each of its versions. */
function examplesOf(kind: Kind, examples: readonly KubernetesObject[]): object[] {
  const found = examples.filter((example) => example.kind === kind.kind);
  if (found.length === 0) {
    throw new Error(`${kind.kind}: no example in config/samples or config/bundle`);
  }
  return kind.versions.flatMap(({ name }) =>
    found.map((example) => ({ ...portable(example), apiVersion: `${GROUP}/${name}` })),
  );
}

/** An example without a namespace: whoever tries it chooses one. */
function portable({ metadata, ...rest }: KubernetesObject): object {
  const { namespace: _, ...kept } = metadata;
  const { apiVersion, kind, ...more } = rest;
  return { apiVersion, kind, metadata: kept, ...more };
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

function owned(kinds: readonly Kind[], bases: readonly OwnedBase[]): Owned[] {
  return kinds.flatMap((kind) => {
    const base = bases.find((candidate) => candidate.kind === kind.kind);
    if (base === undefined)
      throw new Error(`config/bundle/base.yaml: kind ${kind.kind} is missing`);
    return kind.versions.map(({ name: version, deprecationWarning }) => ({
      name: `${kind.plural}.${GROUP}`,
      version,
      kind: kind.kind,
      displayName: base.displayName,
      description: [kind.description, deprecationWarning].filter(Boolean).join(" "),
      resources: base.resources,
      ...listed("specDescriptors", specDescriptors(kind.spec as unknown as Schema)),
      ...listed("statusDescriptors", statusDescriptors(kind.status as unknown as Schema)),
    }));
  });
}

/** An empty list is left out, as opm does. */
function listed(name: string, list: readonly Descriptor[]): Record<string, readonly Descriptor[]> {
  return list.length === 0 ? {} : { [name]: list };
}

/** A Deployment as OLM wants it, with the release's image. */
function deploymentSpec({ metadata, spec }: Deployment, image: string): object {
  const { template } = spec;
  const containers = template.spec.containers.map((container) => ({ ...container, image }));
  return {
    name: metadata.name,
    label: metadata.labels ?? {},
    spec: { ...spec, template: { ...template, spec: { ...template.spec, containers } } },
  };
}
