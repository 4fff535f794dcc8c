/**
 * Writes the files that are made from code; with `--check` it only says which of them differ, and
 * exits 1 if any does.
 *
 * A generator names what it owns, a folder or a file, and gives all that belongs there: a file in
 * an owned folder that it does not give is a leftover and is removed.
 */
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KINDS } from "../api/kinds.ts";
import { apiDocs } from "./api-docs.ts";
import { bundleFiles, catalogFiles } from "./bundle.ts";
import { crdFileName, crdYaml, toYaml } from "./crd.ts";

/** Makes the files below one path. */
interface Generator {
  /** A folder or a file, from the root of the repository. */
  readonly owns: string;
  /** Gives the text of each file by its path. */
  readonly make: () => ReadonlyMap<string, string>;
}

const GENERATORS: readonly Generator[] = [
  { owns: "config/crd", make: makeCrds },
  { owns: "docs/api.md", make: () => new Map([["docs/api.md", apiDocs(KINDS)]]) },
  { owns: "bundle", make: bundleFiles },
  { owns: "catalog", make: catalogFiles },
];

function makeCrds(): Map<string, string> {
  const files = new Map(KINDS.map((kind) => [`config/crd/${crdFileName(kind)}`, crdYaml(kind)]));
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: KINDS.map(crdFileName).sort(),
  };
  return files.set("config/crd/kustomization.yaml", toYaml(kustomization));
}

const root = dirname(import.meta.dirname);

/** Lists the files below a path; a path that is not there has none. */
async function filesBelow(path: string): Promise<string[]> {
  const found = await stat(join(root, path)).catch(() => undefined);
  if (found === undefined) return [];
  if (found.isFile()) return [path];
  const entries = await readdir(join(root, path), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

/** Every file that is not as its generator makes it, with the text wanted; undefined: none. */
async function differences(): Promise<Map<string, string | undefined>> {
  const different = new Map<string, string | undefined>();
  for (const { owns, make } of GENERATORS) {
    const wanted = make();
    for (const path of new Set([...wanted.keys(), ...(await filesBelow(owns))])) {
      const text = await readFile(join(root, path), "utf8").catch(() => undefined);
      if (text !== wanted.get(path)) different.set(path, wanted.get(path));
    }
  }
  return different;
}

async function write(path: string, text: string | undefined): Promise<void> {
  if (text === undefined) {
    await rm(join(root, path));
    return;
  }
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

const options = process.argv.slice(2);
if (options.some((option) => option !== "--check")) {
  console.error("usage: node tools/generate.ts [--check]");
  process.exit(2);
}
const different = await differences();
if (!options.includes("--check")) {
  for (const [path, text] of different) await write(path, text);
} else if (different.size > 0) {
  console.error("generated files differ from their source; run `make manifests`:");
  for (const [path, text] of different) {
    console.error(`  ${path}${text === undefined ? " (nothing makes it any more)" : ""}`);
  }
  process.exitCode = 1;
}
