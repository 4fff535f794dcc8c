/** The catalog offers the bundle that lies beside it. */
import { describe, expect, test } from "@jest/globals";
import { parseAllDocuments } from "yaml";
import { catalogFiles } from "../../../tools/bundle.ts";
import { CSV_PATH, document, documents } from "./documents.ts";

interface Blob {
  readonly schema: string;
  readonly name: string;
  readonly package?: string;
  readonly image?: string;
  readonly defaultChannel?: string;
  readonly entries?: readonly object[];
  readonly relatedImages?: readonly { readonly image: string }[];
  readonly properties?: readonly { readonly type: string; readonly value: object }[];
}

interface Csv {
  readonly metadata: { readonly name: string; readonly annotations: object };
  readonly spec: Readonly<Record<string, unknown>> & {
    readonly version: string;
    readonly customresourcedefinitions: { readonly owned: readonly object[] };
    readonly relatedImages: readonly { readonly image: string }[];
  };
}

const PATH = "catalog/metallb-operator/catalog.yaml";
const csv = document(CSV_PATH) as unknown as Csv;

function blobs(all: readonly Blob[]): Record<"package" | "channel" | "bundle", Blob> {
  const find = (schema: string): Blob => {
    const found = all.filter((blob) => blob.schema === schema);
    expect(found).toHaveLength(1);
    return found[0]!;
  };
  return {
    package: find("olm.package"),
    channel: find("olm.channel"),
    bundle: find("olm.bundle"),
  };
}

describe("the catalog", () => {
  const catalog = blobs((documents(PATH)) as unknown as Blob[]);

  test("offers the package in channel stable by default", () => {
    expect(catalog.package.name).toBe("metallb-operator");
    expect(catalog.package.defaultChannel).toBe("stable");
    expect(catalog.channel).toMatchObject({ package: "metallb-operator", name: "stable" });
  });

  test("upgrades every older version to the bundle", () => {
    expect(catalog.channel.entries).toEqual([
      { name: csv.metadata.name, skipRange: `<${csv.spec.version}` },
    ]);
  });

  test("says of the bundle what its ClusterServiceVersion says", () => {
    const properties = new Map(catalog.bundle.properties?.map(({ type, value }) => [type, value]));
    expect(catalog.bundle.name).toBe(csv.metadata.name);
    expect(properties.get("olm.package")).toEqual({
      packageName: "metallb-operator",
      version: csv.spec.version,
    });
    expect(properties.get("olm.csv.metadata")).toMatchObject({
      annotations: csv.metadata.annotations,
      crdDescriptions: { owned: csv.spec.customresourcedefinitions.owned },
      installModes: csv.spec["installModes"],
      displayName: csv.spec["displayName"],
    });
  });

  test("names every image that an installation needs", () => {
    const images = catalog.bundle.relatedImages?.map(({ image }) => image);
    expect(images).toEqual([
      catalog.bundle.image,
      ...csv.spec.relatedImages.map(({ image }) => image),
    ]);
  });

  test("of another release takes the names that it is given", () => {
    const files = catalogFiles({
      version: "9.8.7",
      image: "registry.example/operator:9.8.7",
      bundleImage: "registry.example/bundle@sha256:0123",
      replaces: "9.8.6",
    });
    const other = blobs(
      parseAllDocuments(files.get(PATH) ?? "").map((blob) => blob.toJS() as Blob),
    );
    expect(other.bundle.image).toBe("registry.example/bundle@sha256:0123");
    expect(other.channel.entries).toEqual([
      {
        name: "metallb-operator.v9.8.7",
        replaces: "metallb-operator.v9.8.6",
        skipRange: "<9.8.7",
      },
    ]);
  });
});
