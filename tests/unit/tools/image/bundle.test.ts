import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Metafile } from "esbuild";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { bundle } from "../../../../tools/image/bundle.ts";

const PROGRAMS = ["operator", "controller", "speaker"] as const;

/** Files of the bundle that are read when one is started; what is imported on demand is not among them. */
function readAtStart(metafile: Metafile, name: string): string[] {
  const start = Object.keys(metafile.outputs).filter((path) => basename(path) === `${name}.mjs`);
  const found = new Set<string>();
  for (let path = start.pop(); path !== undefined; path = start.pop()) {
    found.add(path);
    const { imports } = metafile.outputs[path]!;
    start.push(
      ...imports
        .filter(({ kind, external }) => kind === "import-statement" && external !== true)
        .map((each) => each.path)
        .filter((each) => !found.has(each)),
    );
  }
  return [...found];
}

describe("a program of the image", () => {
  let folder: string;
  let metafile: Metafile;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bundle-"));
    metafile = await bundle(
      PROGRAMS.map((name) => ({ in: `${name}/main.ts`, out: name })),
      folder,
    );
  }, 120_000);

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const inputs = (name: string): string[] =>
    readAtStart(metafile, name).flatMap((path) => Object.keys(metafile.outputs[path]!.inputs));

  // Each of these would cost megabytes on every node: docs/memory.md.
  describe.each(PROGRAMS)("%s", (name) => {
    test.each(["@kubernetes/client-node", "undici", "gaxios"])(
      "reads nothing of %s",
      (unwanted) => {
        expect(inputs(name).filter((path) => path.includes(`node_modules/${unwanted}/`))).toEqual(
          [],
        );
      },
    );

    test("takes no module of Node by import, which would read all its exports", async () => {
      const texts = await Promise.all(
        readAtStart(metafile, name).map((path) => readFile(join(folder, basename(path)), "utf8")),
      );
      const imported = texts.flatMap((text) =>
        [...text.matchAll(/\bfrom\s*"(node:[^"]+)"/g)].map(([, module]) => module),
      );
      // The banner's createRequire is what all others come by.
      expect(new Set(imported)).toEqual(new Set(["node:module"]));
    });

    test("has what the user asked for", () => {
      for (const wanted of ["winston", "ajv"])
        expect(inputs(name).some((path) => path.includes(`node_modules/${wanted}/`))).toBe(true);
    });
  });

  test("finds the client when there is a kubeconfig", () => {
    const all = Object.values(metafile.outputs).flatMap((output) => Object.keys(output.inputs));
    expect(all.some((path) => path.includes("node_modules/@kubernetes/client-node/"))).toBe(true);
  });
});
