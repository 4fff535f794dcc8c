/** Makes a file-based catalog that offers the operator, as `opm render` would of the bundle's image. */
import { GROUP } from "../api/kind.ts";
import {
  csvName,
  type Base,
  type ClusterServiceVersion,
  type Owned,
  type Release,
} from "./bundle-csv.ts";

/** `config/bundle/channel.yaml`: where a catalog offers the operator. */
export interface Channel {
  readonly package: string;
  readonly channel: string;
  /** Image of the bundle, without a tag. */
  readonly image: string;
  /** The version before this one, where it is not in its skipRange. */
  readonly replaces?: string;
}

/** Fields of a ClusterServiceVersion's spec that a catalog shows before anything is installed. */
const SHOWN = [
  "description",
  "displayName",
  "installModes",
  "keywords",
  "links",
  "maintainers",
  "maturity",
  "minKubeVersion",
  "provider",
] as const;

/** Gives the documents of the catalog: package, channel, and the one bundle in it. */
export function catalogDocuments(
  base: Base,
  { package: name, channel }: Channel,
  csv: ClusterServiceVersion,
  release: Release & { readonly bundleImage: string },
): object[] {
  const { version, replaces, bundleImage } = release;
  const { spec, metadata } = csv;
  const [icon] = spec["icon"] as { base64data: string; mediatype: string }[];
  const entry = {
    name: metadata.name,
    ...(replaces !== undefined && { replaces: csvName(base, replaces) }),
    skipRange: metadata.annotations["olm.skipRange"],
  };
  return [
    {
      schema: "olm.package",
      name,
      defaultChannel: channel,
      description: metadata.annotations["description"],
      icon,
    },
    { schema: "olm.channel", package: name, name: channel, entries: [entry] },
    {
      schema: "olm.bundle",
      name: metadata.name,
      package: name,
      image: bundleImage,
      properties: properties(name, version, csv),
      relatedImages: [
        { name: "", image: bundleImage },
        ...(spec["relatedImages"] as { name: string; image: string }[]),
      ],
    },
  ];
}

function properties(name: string, version: string, { metadata, spec }: ClusterServiceVersion) {
  const { owned } = spec.customresourcedefinitions;
  const inOrder = owned.toSorted((a, b) => order(a).localeCompare(order(b)));
  return [
    ...inOrder.map((crd) => ({
      type: "olm.gvk",
      value: { group: GROUP, kind: crd.kind, version: crd.version },
    })),
    { type: "olm.package", value: { packageName: name, version } },
    {
      type: "olm.csv.metadata",
      value: {
        annotations: metadata.annotations,
        apiServiceDefinitions: {},
        crdDescriptions: { owned },
        labels: metadata.labels,
        ...Object.fromEntries(SHOWN.map((field) => [field, spec[field]])),
      },
    },
  ];
}

/** By kind, then by version, as opm has them. */
function order({ kind, version }: Owned): string {
  return `${kind} ${version}`;
}
