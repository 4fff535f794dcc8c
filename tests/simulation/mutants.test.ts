/** A simulation that finds nothing may be blind: here it has to find bugs that were planted. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MUTANTS } from "./mutants.ts";

const ROOT = join(import.meta.dirname, "../..");
const SCHEDULES = "60";
const MINUTES = 60_000;

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(ROOT, "build/mutants-"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Lays a copy of the sources with one place changed. */
function plant(place: string, file: string, find: string, replace: string): string {
  const target = join(folder, place);
  cpSync(join(ROOT, "speaker"), join(target, "speaker"), { recursive: true });
  cpSync(join(ROOT, "tests/simulation"), join(target, "tests/simulation"), { recursive: true });
  for (const name of ["packet", "api", "package.json"]) {
    symlinkSync(join(ROOT, name), join(target, name));
  }
  const path = join(target, "speaker", file);
  const source = readFileSync(path, "utf8");
  if (source.split(find).length !== 2) throw new Error(`${file} does not have once: ${find}`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
  return target;
}

function hunt(target: string): Promise<{ found: boolean; output: string }> {
  const script = join(target, "tests/simulation/hunt.ts");
  return new Promise((resolve) => {
    execFile(process.execPath, [script, "1", SCHEDULES], (error, output, errors) =>
      resolve({ found: error !== null, output: output + errors }),
    );
  });
}

for (const [i, { name, file, find, replace }] of MUTANTS.entries()) {
  test(
    `finds the planted bug: ${name}`,
    async () => {
      const target = plant(String(i), file, find, replace);
      const { found, output } = await hunt(target);
      expect(output).toMatch(/\(seed|SEED=/);
      expect(found).toBe(true);
    },
    5 * MINUTES,
  );
}
