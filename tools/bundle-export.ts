/**
 * Writes bundle and catalog with the names of a registry, to build their images from:
 *
 *   node tools/bundle-export.ts FOLDER --image IMAGE --bundle-image IMAGE [--version V] [--replaces V]
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { bundleFiles, catalogFiles } from "./bundle.ts";

const USAGE =
  "usage: node tools/bundle-export.ts FOLDER --image IMAGE --bundle-image IMAGE [--version V] [--replaces V]";
const SEMVER = /^\d+[.]\d+[.]\d+(-[0-9A-Za-z.-]+)?$/;

function fail(message: string): never {
  process.stderr.write(`error: ${message}\n`);
  process.exit(2);
}

function read() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        image: { type: "string" },
        "bundle-image": { type: "string" },
        version: { type: "string" },
        replaces: { type: "string" },
      },
    });
  } catch (error) {
    return fail(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
}

const { positionals, values } = read();
const [folder, ...more] = positionals;
const { image, "bundle-image": bundleImage, version, replaces } = values;
if (folder === undefined || more.length > 0 || image === undefined || bundleImage === undefined)
  fail(USAGE);
for (const [name, value] of Object.entries({ version, replaces }))
  if (value !== undefined && !SEMVER.test(value))
    fail(`--${name} ${value}: use a version such as 1.2.3`);
const options = {
  image,
  bundleImage,
  ...(version !== undefined && { version }),
  ...(replaces !== undefined && { replaces }),
};
for (const name of ["bundle", "catalog"])
  rmSync(join(folder, name), { recursive: true, force: true });
for (const [path, text] of [...bundleFiles(options), ...catalogFiles(options)]) {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}
