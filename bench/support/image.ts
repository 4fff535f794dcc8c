/** What the image does with a program, for benchmarks that run one without it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const CONTAINERFILE = join(import.meta.dirname, "../../Containerfile");

/** Flags that the image gives Node. */
export function nodeFlags(): string[] {
  const text = readFileSync(CONTAINERFILE, "utf8");
  const entrypoint = /^ENTRYPOINT (\[.*\])$/m.exec(text)?.[1] ?? "[]";
  return (JSON.parse(entrypoint) as string[]).slice(1, -1);
}

/** Variables that the image sets, those apart that name files in it. */
export function nodeEnvironment(): Record<string, string> {
  const [, block = ""] = /^ENV ((?:.*\\\n)*.*)$/m.exec(readFileSync(CONTAINERFILE, "utf8")) ?? [];
  const pairs = block.split(/\s*\\\n\s*|\s+/).map((pair) => pair.split("=", 2));
  return Object.fromEntries(
    pairs.filter(([, value]) => value?.startsWith("/") === false),
  ) as Record<string, string>;
}
