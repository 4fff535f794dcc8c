/** The real Operator Lifecycle Manager, compiled from Go modules as the cluster itself is. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compiled } from "./binary.ts";
import { run } from "./command.ts";

const SOURCE = join(import.meta.dirname, "olm");

/** Without C libraries: gpgme, sqlite, the drivers of two file systems. */
const TAGS =
  "containers_image_openpgp json1 exclude_graphdriver_btrfs exclude_graphdriver_devicemapper";

/** Folder with `olm`, `catalog`, `package-server`, `opm`, `operator-verify` and their helpers. */
export async function olmPrograms(): Promise<string> {
  const tools = readFileSync(join(SOURCE, "tools.go"), "utf8");
  return await compiled({
    source: SOURCE,
    name: "olm",
    what: "the Operator Lifecycle Manager",
    duration: "four minutes",
    linkerFlags: "-s -w",
    tags: TAGS,
    packages: [...tools.matchAll(/_ "([^"]+)"/g)].map(([, name = ""]) => name),
  });
}

/** Folder of a module that OLM is compiled from, with the manifests that it carries. */
export async function moduleFolder(module: string): Promise<string> {
  const download = ["go", "mod", "download", "-json", module];
  const said = await run(download, { cwd: SOURCE, env: { GOTOOLCHAIN: "auto" } });
  return (JSON.parse(said) as { Dir: string }).Dir;
}
