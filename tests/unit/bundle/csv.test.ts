/** What a catalog and a console learn from the ClusterServiceVersion is whole and true. */
import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { validateAddressPool } from "../../../api/address-pool.ts";
import { validateMetalLB } from "../../../api/metallb.ts";
import { bundleFiles } from "../../../tools/bundle.ts";
import { CSV_PATH, document, documents, TREE_VERSION } from "./documents.ts";

interface Descriptor {
  readonly path: string;
  readonly displayName: string;
  readonly description?: string;
}

interface Owned {
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly displayName: string;
  readonly description: string;
  readonly resources: readonly unknown[];
  readonly specDescriptors?: readonly Descriptor[];
  readonly statusDescriptors?: readonly Descriptor[];
}

interface PodSpec {
  readonly containers: readonly { readonly image: string; readonly name: string }[];
}

interface Csv {
  readonly metadata: {
    readonly name: string;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly version: string;
    readonly replaces?: string;
    readonly minKubeVersion: string;
    readonly icon: readonly { readonly base64data: string; readonly mediatype: string }[];
    readonly installModes: readonly { readonly type: string; readonly supported: boolean }[];
    readonly relatedImages: readonly { readonly image: string }[];
    readonly customresourcedefinitions: { readonly owned: readonly Owned[] };
    readonly install: {
      readonly spec: {
        readonly deployments: readonly {
          readonly name: string;
          readonly label: object;
          readonly spec: { readonly template: { readonly spec: PodSpec } };
        }[];
      };
    };
  };
}

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface Crd {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly names: { readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly schema: { readonly openAPIV3Schema: Schema };
    }[];
  };
}

interface Example {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly namespace?: string };
  readonly spec: unknown;
}

const csv = document(CSV_PATH) as unknown as Csv;
const crds = (documents("config/crd/metallb.io_*.yaml") as unknown as Crd[]);
const { owned } = csv.spec.customresourcedefinitions;
const examples = JSON.parse(csv.metadata.annotations["alm-examples"] ?? "") as Example[];

/** Types of Kubernetes' own, which are described as a whole. */
const WHOLE = /(affinity|[sS]electors?|Tolerations|labelSelector)$/;

/** Paths of all fields of a schema; those in list entries only if wanted. */
function paths(schema: Schema | undefined, prefix: string, intoLists: boolean): string[] {
  return Object.entries(schema?.properties ?? {}).flatMap(([name, child]) => {
    const here = `${prefix}${name}`;
    if (WHOLE.test(name)) return [here];
    const entries = intoLists ? paths(child.items, `${here}[0].`, true) : [];
    return [here, ...paths(child, `${here}.`, intoLists), ...entries];
  });
}

describe("each kind in the ClusterServiceVersion", () => {
  const versions = crds.flatMap(({ metadata, spec }) =>
    spec.versions.map((version) => ({ name: metadata.name, kind: spec.names.kind, version })),
  );

  test("is there in each version, and no other", () => {
    const key = ({ name, kind }: { name: string; kind: string }, version: string) =>
      `${kind} ${name} ${version}`;
    expect(owned.map((crd) => key(crd, crd.version)).toSorted()).toEqual(
      versions.map((crd) => key(crd, crd.version.name)).toSorted(),
    );
  });

  for (const { kind, version } of versions) {
    const found = owned.find((crd) => crd.kind === kind && crd.version === version.name);
    const { properties } = version.schema.openAPIV3Schema;

    describe(`${kind} ${version.name}`, () => {
      test("has a name, a description and the objects that it leads to", () => {
        expect(found?.displayName).toMatch(/^[A-Z]/);
        expect(found?.description).toMatch(/[.]$|use metallb/);
        expect(found?.resources).not.toEqual([]);
      });

      test("has a descriptor of every spec field", () => {
        const described = found?.specDescriptors?.map(({ path }) => path) ?? [];
        expect(described).toEqual(paths(properties?.["spec"], "", true));
      });

      test("has a descriptor of every status field", () => {
        const described = found?.statusDescriptors?.map(({ path }) => path) ?? [];
        expect(described).toEqual(paths(properties?.["status"], "", false));
      });

      test("says of each field what it is", () => {
        const fields = [...(found?.specDescriptors ?? []), ...(found?.statusDescriptors ?? [])];
        for (const { displayName, description } of fields) {
          expect(displayName).toMatch(/^[A-Z][A-Za-z0-9 ]*$/);
          expect(description).toMatch(/[.]$/);
        }
      });

      test("has an example without a namespace", () => {
        const own = examples.filter(
          (example) =>
            example.kind === kind && example.apiVersion === `metallb.io/${version.name}`,
        );
        expect(own.length).toBeGreaterThan(0);
        for (const { metadata } of own) expect(metadata.namespace).toBeUndefined();
      });
    });
  }

  test("has examples that are valid", () => {
    for (const { kind, spec } of examples) {
      if (kind === "AddressPool") expect(validateAddressPool(spec)).toEqual([]);
      if (kind === "MetalLB") expect(validateMetalLB(spec)).toEqual([]);
    }
  });
});

describe("the ClusterServiceVersion", () => {
  const [deployment] = csv.spec.install.spec.deployments;

  test("runs the Deployment of config/manager as it is", () => {
    const manager = document("config/manager/manager.yaml");
    expect(deployment).toEqual({
      name: manager.metadata.name,
      label: manager.metadata["labels"],
      spec: manager["spec"],
    });
  });

  test("lists every image that it runs as related", () => {
    const images = deployment?.spec.template.spec.containers.map(({ image }) => image);
    expect(csv.spec.relatedImages.map(({ image }) => image)).toEqual(images);
    expect(csv.metadata.annotations["containerImage"]).toBe(images?.[0]);
  });

  test("has the version of the tree, and upgrades from every older one", () => {
    expect(csv.spec.version).toBe(TREE_VERSION);
    expect(csv.metadata.name).toBe(`metallb-operator.v${TREE_VERSION}`);
    expect(csv.metadata.annotations["olm.skipRange"]).toBe(`<${TREE_VERSION}`);
    expect(csv.spec.replaces).toBeUndefined();
  });

  test("installs for its own namespace, a single one, or all", () => {
    const supported = csv.spec.installModes.filter((mode) => mode.supported);
    expect(supported.map(({ type }) => type)).toEqual([
      "OwnNamespace",
      "SingleNamespace",
      "AllNamespaces",
    ]);
    expect(csv.spec.installModes).toHaveLength(4);
  });

  test("needs the oldest Kubernetes that we support", () => {
    // rules of the CRDs use CEL's format library: a server of 1.31 compiles them as 1.30, which lacks it
    expect(csv.spec.minKubeVersion).toBe("1.32.0");
  });

  test("shows an icon that is an image", () => {
    const [icon] = csv.spec.icon;
    expect(icon?.mediatype).toBe("image/svg+xml");
    expect(Buffer.from(icon?.base64data ?? "", "base64").toString()).toMatch(/^<svg [^]*<\/svg>\n$/);
  });

  test("suggests a namespace in which speakers may run", () => {
    const template = csv.metadata.annotations["operatorframework.io/suggested-namespace-template"];
    expect(JSON.parse(template ?? "")).toEqual(document("config/namespace/namespace.yaml"));
  });

  test("hides the kind that only speakers write", () => {
    const internal = csv.metadata.annotations["operators.operatorframework.io/internal-objects"];
    expect(JSON.parse(internal ?? "")).toEqual([
      "servicel2statuses.metallb.io",
      "speakerstatuses.metallb.io",
    ]);
  });
});

describe("the bundle of another release", () => {
  const files = bundleFiles({
    version: "9.8.7",
    image: "registry.example/operator@sha256:0123",
    replaces: "9.8.6",
  });
  const other = parse(files.get(CSV_PATH) ?? "") as Csv;

  test("has its version everywhere", () => {
    expect(other.metadata.name).toBe("metallb-operator.v9.8.7");
    expect(other.spec.version).toBe("9.8.7");
    expect(other.metadata.annotations["olm.skipRange"]).toBe("<9.8.7");
    for (const [path, text] of files) {
      if (!path.includes("_rbac.")) continue;
      expect(text).toContain("name: metallb-operator.v9.8.7");
    }
  });

  test("replaces the one before", () => {
    expect(other.spec.replaces).toBe("metallb-operator.v9.8.6");
  });

  test("runs its image, and no other", () => {
    const texts = [...files.values()].join("\n");
    expect(texts).toContain("image: registry.example/operator@sha256:0123");
    expect(texts).not.toMatch(/metallb-operator:\d/);
  });
});
