import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Worker } from "node:worker_threads";

import { describe, expect, test } from "@jest/globals";

import { explainRaw } from "../../../../packet/link/raw-socket.ts";

const ROOT = join(import.meta.dirname, "../../../..");
const FOLDERS = ["api", "packet", "kubernetes", "operator", "controller", "speaker"];

/** Source files of the product. */
function sources(): string[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => join(ROOT, folder, file)),
  );
}

/** Files that a file imports at run time, directly. */
function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const statements = text.matchAll(/^(?:import|export)\s+(?!type\b)[^;]*?["'](\.[^"']+)["']/gms);
  return [...statements].map((match) => join(dirname(file), match[1] ?? ""));
}

/** A file and all that it imports, directly or not. */
function reach(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const next of imports(file)) reach(next, seen);
  return seen;
}

describe("raw-socket", () => {
  test("is named by one file alone", () => {
    const named = sources().filter((file) => /["']raw-socket["']/.test(readFileSync(file, "utf8")));
    expect(named.map((file) => relative(ROOT, file))).toEqual(["packet/link/raw-socket.ts"]);
  });

  test("is reached by no file that a worker thread runs", () => {
    const workers = sources().filter((file) => /\bparentPort\b/.test(readFileSync(file, "utf8")));
    const reaching = workers.filter((file) =>
      reach(file).has(join(ROOT, "packet/link/raw-socket.ts")),
    );
    expect(reaching.map((file) => relative(ROOT, file))).toEqual([]);
  });

  test("is found by this very search where it is imported", () => {
    const witness = join(ROOT, "packet/link/witness.ts");
    expect(reach(witness).has(join(ROOT, "packet/link/raw-socket.ts"))).toBe(true);
  });

  test("refuses to load in a worker thread", async () => {
    const worker = new Worker(join(import.meta.dirname, "load-witness.ts"));
    const [message] = (await once(worker, "message")) as [string];
    expect(message).toContain("main thread");
    await worker.terminate();
  });

  for (const { sentence, code } of [
    { sentence: "Operation not permitted", code: "PermissionDenied" },
    { sentence: "No such device", code: "NoSuchInterface" },
    { sentence: "Address family not supported by protocol", code: "Failed" },
  ]) {
    test(`"${sentence}" is ${code}, with the cause`, () => {
      const cause = new Error(sentence);
      expect(explainRaw("opening", cause)).toMatchObject({ code, cause });
    });
  }
});
