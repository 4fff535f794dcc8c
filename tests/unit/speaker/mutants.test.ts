/** The planted bugs run only when asked for: here it shows at once that the sources moved away from them. */
import { expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MUTANTS } from "../../simulation/mutants.ts";

const SPEAKER = join(import.meta.dirname, "../../../speaker");

test.each(MUTANTS)("the sources have once the place to plant: $name", ({ file, find, replace }) => {
  const source = readFileSync(join(SPEAKER, file), "utf8");
  expect(source.split(find)).toHaveLength(2);
  expect(replace).not.toBe(find);
});
