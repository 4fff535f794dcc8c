/** Makes `bundle/` and `catalog/`, what OLM installs the operator from, out of `api/` and `config/`. */
import { stringify } from "yaml";
import { KINDS } from "../api/kinds.ts";
import { catalogDocuments, type Channel } from "./bundle-catalog.ts";
import {
  readKustomization,
  readObjects,
  readText,
  readYaml,
  type KubernetesObject,
} from "./bundle-config.ts";
import {
  clusterServiceVersion,
  csvName,
  type Base,
  type CsvSources,
  type Release,
} from "./bundle-csv.ts";
import { namespacedRights } from "./bundle-rights.ts";
import { webhookServices } from "./bundle-webhooks.ts";
import { crdFileName, crdYaml } from "./crd.ts";

/** What differs between bundles; whatever is absent is as in the tree. */
export interface BundleOptions {
  readonly version?: string;
  /** Image of the three programs. */
  readonly image?: string;
  /** Image that the catalog finds the bundle in. */
  readonly bundleImage?: string;
  readonly replaces?: string;
}

/** Kinds that became something else in the ClusterServiceVersion, or in its annotations. */
const ELSEWHERE = new Set([
  "Namespace",
  "CustomResourceDefinition",
  "ServiceAccount",
  "ClusterRole",
  "ClusterRoleBinding",
  "Role",
  "RoleBinding",
  "Deployment",
  "ValidatingWebhookConfiguration",
]);

/** Kinds that OLM installs as they are, with the ClusterServiceVersion as their owner. */
const AS_THEY_ARE = new Set(["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service"]);

const BASE = "config/bundle/base.yaml";
const SCORECARD_IMAGE = "quay.io/operator-framework/scorecard-test:v1.42.0";

function sources(): CsvSources {
  return {
    base: readYaml(BASE) as Base,
    icon: readText("config/bundle/icon.svg"),
    kinds: KINDS,
    objects: readKustomization("config/bundle"),
    examples: [
      ...readKustomization("config/samples").filter(({ kind }) =>
        KINDS.some((known) => known.kind === kind),
      ),
      ...readObjects("config/bundle/servicel2status.yaml"),
      ...readObjects("config/bundle/speakerstatus.yaml"),
    ],
  };
}

function treeVersion(): string {
  return (JSON.parse(readText("package.json")) as { version: string }).version;
}

/** Image of the operator as config/manager has it. */
function defaultImage(objects: readonly KubernetesObject[]): string {
  interface Manager {
    readonly spec: { template: { spec: { containers: readonly { readonly image: string }[] } } };
  }
  const manager = objects.find(({ kind }) => kind === "Deployment") as Manager | undefined;
  const image = manager?.spec.template.spec.containers[0]?.image;
  if (image === undefined) throw new Error("config/manager: no container with an image");
  return image;
}

function complete(
  options: BundleOptions,
  channel: Channel,
  objects: readonly KubernetesObject[],
): Release & { readonly bundleImage: string } {
  const version = options.version ?? treeVersion();
  return {
    version,
    image: options.image ?? defaultImage(objects),
    bundleImage: options.bundleImage ?? `${channel.image}:${version}`,
    replaces: options.replaces ?? channel.replaces,
  };
}

/** Gives the text of every file of `bundle/` by its path. */
export function bundleFiles(options: BundleOptions = {}): Map<string, string> {
  const from = sources();
  const channel = readYaml("config/bundle/channel.yaml") as Channel;
  const release = complete(options, channel, from.objects);
  const csv = clusterServiceVersion(from, release);
  const manifests: [string, string][] = [
    [`${from.base.metadata.name}.clusterserviceversion.yaml`, toYaml(csv)],
    ...from.kinds.map((kind): [string, string] => [crdFileName(kind), crdYaml(kind)]),
    ...besides(from, release.version).map((object): [string, string] => [
      fileName(object),
      toYaml(object),
    ]),
  ];
  return new Map([
    ...manifests.map(([name, text]): [string, string] => [`bundle/manifests/${name}`, text]),
    ["bundle/metadata/annotations.yaml", toYaml({ annotations: bundleLabels(channel) })],
    ["bundle/tests/scorecard/config.yaml", toYaml(scorecard())],
    ["bundle/Containerfile", containerfile(channel)],
  ]);
}

/** Gives the text of every file of `catalog/` by its path. */
export function catalogFiles(options: BundleOptions = {}): Map<string, string> {
  const from = sources();
  const channel = readYaml("config/bundle/channel.yaml") as Channel;
  const release = complete(options, channel, from.objects);
  const csv = clusterServiceVersion(from, release);
  const documents = catalogDocuments(from.base, channel, csv, release);
  const containerfile = [
    `# ${HEADER}`,
    "FROM scratch",
    "LABEL operators.operatorframework.io.index.configs.v1=/configs",
    `COPY ${channel.package} /configs/${channel.package}`,
    "",
  ].join("\n");
  return new Map([
    [`catalog/${channel.package}/catalog.yaml`, documents.map(yamlDocument).join("---\n")],
    ["catalog/Containerfile", containerfile],
    ["catalog/.indexignore", "Containerfile\n"],
  ]);
}

/** The manifests besides the ClusterServiceVersion and the CRDs. */
function besides({ base, objects }: CsvSources, version: string): KubernetesObject[] {
  const webhooks = webhookServices(objects);
  const plain = objects.filter(({ kind, metadata }) => {
    if (ELSEWHERE.has(kind) || (kind === "Service" && webhooks.has(metadata.name))) return false;
    if (AS_THEY_ARE.has(kind)) return true;
    throw new Error(`${kind} ${metadata.name}: teach tools/bundle.ts what OLM is to do with it`);
  });
  const free = plain.map(({ metadata: { namespace: _, ...metadata }, ...rest }) => ({
    ...rest,
    metadata,
  })) as unknown as KubernetesObject[];
  return [...namespacedRights(objects, csvName(base, version)), ...free];
}

/** Names a manifest as operator-sdk does: `speaker_rbac.authorization.k8s.io_v1_role.yaml`. */
function fileName({ apiVersion, kind, metadata }: KubernetesObject): string {
  return `${metadata.name}_${apiVersion.replace("/", "_")}_${kind.toLowerCase()}.yaml`;
}

/** The same facts are annotations in the bundle's metadata and labels of its image. */
function bundleLabels({ package: name, channel }: Channel): Record<string, string> {
  return {
    "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
    "operators.operatorframework.io.bundle.manifests.v1": "manifests/",
    "operators.operatorframework.io.bundle.metadata.v1": "metadata/",
    "operators.operatorframework.io.bundle.package.v1": name,
    "operators.operatorframework.io.bundle.channels.v1": channel,
    "operators.operatorframework.io.bundle.channel.default.v1": channel,
    "operators.operatorframework.io.test.mediatype.v1": "scorecard+v1",
    "operators.operatorframework.io.test.config.v1": "tests/scorecard/",
  };
}

function containerfile(channel: Channel): string {
  return [
    `# ${HEADER}`,
    "FROM scratch",
    ...Object.entries(bundleLabels(channel)).map(([name, value]) => `LABEL ${name}=${value}`),
    "COPY manifests /manifests/",
    "COPY metadata /metadata/",
    "COPY tests/scorecard /tests/scorecard/",
    "",
  ].join("\n");
}

/** The checks that `operator-sdk scorecard` runs on the bundle. */
function scorecard(): object {
  const test = (suite: string, name: string) => ({
    image: SCORECARD_IMAGE,
    entrypoint: ["scorecard-test", name],
    labels: { suite, test: `${name}-test` },
    storage: { spec: { mountPath: {} } },
  });
  return {
    apiVersion: "scorecard.operatorframework.io/v1alpha3",
    kind: "Configuration",
    metadata: { name: "config" },
    stages: [
      {
        parallel: true,
        tests: [
          test("basic", "basic-check-spec"),
          ...[
            "olm-bundle-validation",
            "olm-crds-have-validation",
            "olm-crds-have-resources",
            "olm-spec-descriptors",
            "olm-status-descriptors",
          ].map((name) => test("olm", name)),
        ],
      },
    ],
    storage: { spec: { mountPath: {} } },
  };
}

const HEADER = "Generated by `make bundle` from api/ and config/. Do not edit.";

/** Writes as {@link crdYaml} does: readers of YAML 1.1 and of 1.2 read the same. */
function yamlDocument(document: unknown): string {
  return stringify(document, { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false });
}

function toYaml(document: unknown): string {
  return `# ${HEADER}\n${yamlDocument(document)}`;
}
