import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyFile } from "../../../speaker/key-file.ts";

const LOOK_MS = 10_000;

let folder: string;
beforeEach(() => {
  jest.useFakeTimers();
  folder = mkdtempSync(join(tmpdir(), "key-file-"));
});
afterEach(() => {
  jest.useRealTimers();
  rmSync(folder, { recursive: true });
});

const path = (): string => join(folder, "secretkey");
const texts = (keys: readonly Uint8Array[]): string =>
  keys.map((key) => Buffer.from(key).toString().trimEnd()).join(" ");
/** A key is no shorter than 16 octets. */
const long = (key: string): string => key.padEnd(16);

/** Puts keys into the files and lets the time of a look pass. @returns what was told, and is accepted */
function look(file: KeyFile, told: string[], key: string, next?: string): [string[], string] {
  writeFileSync(path(), long(key));
  rmSync(`${path()}-next`, { force: true });
  if (next !== undefined) writeFileSync(`${path()}-next`, long(next));
  jest.advanceTimersByTime(LOOK_MS);
  return [told.splice(0), texts(file.keys)];
}

function open(): { file: KeyFile; told: string[] } {
  const told: string[] = [];
  writeFileSync(path(), long("a"));
  return { file: new KeyFile(path(), (keys) => told.push(texts(keys))), told };
}

test("a rotation is followed: the key, both, the next one alone", () => {
  const { file, told } = open();
  using _file = file;
  expect(look(file, told, "a")).toEqual([[], "a"]);
  expect(look(file, told, "a", "b")).toEqual([["a b"], "a b"]);
  expect(look(file, told, "a", "b")).toEqual([[], "a b"]);
  expect(look(file, told, "b")).toEqual([["b"], "b"]);
});

test("a key that somebody replaced outright is accepted until the next change", () => {
  const { file, told } = open();
  using _file = file;
  expect(look(file, told, "c")).toEqual([["a c"], "a c"]);
  expect(look(file, told, "c")).toEqual([[], "a c"]);
});

test("a speaker that starts in the middle of a rotation accepts both", () => {
  writeFileSync(path(), long("a"));
  writeFileSync(`${path()}-next`, long("b"));
  using file = new KeyFile(path(), () => undefined);
  expect(texts(file.keys)).toBe("a b");
});

test("the last keys stay while there is no file", () => {
  const { file, told } = open();
  using _file = file;
  rmSync(path());
  jest.advanceTimersByTime(LOOK_MS);
  expect([told, texts(file.keys)]).toEqual([[], "a"]);
});

test("without a key there is no start", () => {
  expect(() => new KeyFile(path(), () => undefined)).toThrow(path());
});

test("a key that was cut short is not taken, and told once", () => {
  const told: string[] = [];
  const problems: string[] = [];
  writeFileSync(path(), long("a"));
  using file = new KeyFile(
    path(),
    (keys) => told.push(texts(keys)),
    (problem) => problems.push(problem),
  );
  for (const text of ["", "short", "short"]) {
    writeFileSync(path(), text);
    jest.advanceTimersByTime(LOOK_MS);
  }
  expect([told, texts(file.keys)]).toEqual([[], "a"]);
  expect(problems.map((problem) => /has \d+ octets/.exec(problem)?.[0])).toEqual([
    "has 0 octets",
    "has 5 octets",
  ]);
  writeFileSync(`${path()}-next`, "short");
  expect(look(file, told, "b")).toEqual([["a b"], "a b"]);
  writeFileSync(path(), "short");
  expect(() => new KeyFile(path(), () => undefined)).toThrow("has 5 octets: give it at least 16");
});
