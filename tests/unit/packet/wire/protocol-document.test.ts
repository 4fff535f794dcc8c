import { expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";

const root = new URL("../../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");

const FOLDERS: Readonly<Record<string, string>> = {
  responder: "unit/speaker",
  announcer: "unit/speaker",
  "responder-fuzz": "unit/speaker",
  announcing: "unit/speaker",
  "socket-filter": "unit/speaker",
  kernel: "link",
  thread: "link",
};
const pathOf = (file: string): string =>
  `tests/${FOLDERS[file] ?? "unit/packet/wire"}/${file}.test.ts`;

/** What docs/protocol.md cites: `file`: "row", "row". A citation may run over the end of a line. */
const citations = [
  ...read("docs/protocol.md").matchAll(/`([a-z-]+)`: ("[^"]+"(?:,\s"[^"]+")*)/g),
].flatMap(([, file = "", rows = ""]) =>
  [...rows.matchAll(/"([^"]+)"/g)].map(([, row = ""]) => ({ file, row: row.replace(/\s+/g, " ") })),
);

test("docs/protocol.md cites tests", () => {
  expect(citations.length).toBeGreaterThan(60);
});

test.each(citations)("docs/protocol.md cites a test that exists: $file, $row", ({ file, row }) => {
  expect(read(pathOf(file))).toContain(row);
});
