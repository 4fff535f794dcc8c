/** The bundle and the catalog in the eyes of the tools that catalogs are made with. */
import { beforeAll, describe, expect, test } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { readKustomization, type KubernetesObject } from "../../tools/bundle-config.ts";
import { controlPlaneBinary } from "./binary.ts";
import { attempt, run } from "./command.ts";
import { olmPrograms } from "./olm-programs.ts";

const TREE = join(import.meta.dirname, "../..");
const MINUTE = 60_000;

interface Blob {
  readonly schema: string;
  readonly relatedImages?: readonly { readonly name: string; readonly image: string }[];
  readonly [field: string]: unknown;
}

function bundleOf(text: string): Blob | undefined {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Blob)
    .find(({ schema }) => schema === "olm.bundle");
}

describe("bundle/ and catalog/", () => {
  let programs: string;

  beforeAll(async () => {
    programs = await olmPrograms();
  }, 30 * MINUTE);

  // It ends with status 0 whatever it finds, and says it on stderr.
  test("operator-verify finds neither error nor warning in the bundle", async () => {
    const options = ["--operatorhub_validate", "--object_validate"];
    const verify = [join(programs, "operator-verify"), "manifests", ...options, "bundle"];
    const { status, stderr, stdout } = await attempt(verify, { cwd: TREE });
    const findings = `${stderr}${stdout}`
      .split("\n")
      .filter((line) => line !== "" && !line.includes("validator is deprecated"));
    expect({ status, findings }).toEqual({ status: 0, findings: [] });
  });

  test("operator-verify does find what is wrong", async () => {
    const verify = [join(programs, "operator-verify"), "manifests", "config/bundle"];
    const { stderr } = await attempt(verify, { cwd: TREE });
    expect(stderr).toMatch(/level=error|level=fatal/);
  });

  test("opm accepts the catalog", async () => {
    const { status, stderr } = await attempt([join(programs, "opm"), "validate", "catalog"], {
      cwd: TREE,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  test("the catalog says of the bundle what opm makes of it", async () => {
    const opm = async (...args: string[]): Promise<Blob> => {
      const blob = bundleOf(await run([join(programs, "opm"), "render", ...args], { cwd: TREE }));
      if (blob === undefined) throw new Error(`opm render ${args.join(" ")}: no bundle`);
      return blob;
    };
    const ours = await opm("catalog", "--output=yaml");
    const made = await opm("bundle", "--output=yaml");
    // of a folder it does not know in which image it will be, and without one it migrates nothing
    const image = ours["image"] as string;
    const relatedImages = [{ name: "", image }, ...(made.relatedImages ?? [])];
    const folder = mkdtempSync(join(tmpdir(), "catalog-"));
    try {
      const named = { ...made, image, relatedImages };
      writeFileSync(join(folder, "catalog.json"), JSON.stringify(named));
      const migrate = "--migrate-level=bundle-object-to-csv-metadata";
      expect(ours).toEqual(await opm(folder, migrate, "--output=yaml"));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("config/", () => {
  let kubectl: string[];

  beforeAll(async () => {
    kubectl = [await controlPlaneBinary(), "kubectl"];
  }, 30 * MINUTE);

  // The generator reads config/ by itself; this holds it against kustomize.
  for (const variant of ["default", "bundle", "prometheus", "openshift"])
    test(`${variant} has for kustomize the objects that the bundle's generator reads`, async () => {
      const text = await run([...kubectl, "kustomize", `config/${variant}`], { cwd: TREE });
      const name = ({ kind, metadata }: KubernetesObject): string => `${kind}/${metadata.name}`;
      const built = parseAllDocuments(text).map((one) => one.toJS() as KubernetesObject);
      const read = readKustomization(`config/${variant}`);
      expect(built.map(name).toSorted()).toEqual(read.map(name).toSorted());
    });
});
