/**
 * `node tests/fuzz/frames.ts [--frames N] [--seed S]`: throws frames at codecs and responder until
 * N are done, ten million by default, from the kept seeds and then from new ones. A fault ends it
 * with the seed, the frame and exit code 1.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { fuzzResponder, type Tally } from "./invariants.ts";
import { SEEDS } from "./seeds.ts";

const FRAMES = 10_000_000;
const FRAMES_PER_SEED = 250_000;
/** What the heap may have grown by, after a collection: noise of the engine, no leak. */
const MAX_GROWTH = 4 * 1024 * 1024;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

function numberOf(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new TypeError(`--${name} ${text}: expected a whole number, 0 or more`);
}

function main(): number {
  const { values } = parseArgs({
    options: { frames: { type: "string" }, seed: { type: "string" } },
  });
  const frames = numberOf(values.frames, "frames") ?? FRAMES;
  const onlySeed = numberOf(values.seed, "seed");
  const total: Tally = {};
  let before: number | undefined;
  for (let done = 0, round = 0; done < frames; done += FRAMES_PER_SEED, round++) {
    const seed = onlySeed ?? SEEDS[round] ?? randomInt(2 ** 32);
    const count = onlySeed === undefined ? Math.min(FRAMES_PER_SEED, frames - done) : frames;
    const { fault, tally } = fuzzResponder(seed, count);
    if (fault !== undefined) {
      console.error(
        `broken: ${fault.rule}\nseed ${fault.seed}, frame ${fault.index}: ${fault.hex}`,
      );
      return 1;
    }
    for (const [outcome, times] of Object.entries(tally))
      total[outcome] = (total[outcome] ?? 0) + times;
    // The first rounds warm the engine up.
    if (round === 1) before = heapUsed();
    if (onlySeed !== undefined) break;
  }
  const growth = before === undefined ? 0 : heapUsed() - before;
  console.log(`${frames} frames, heap grown by ${growth} octets`, total);
  if (growth <= MAX_GROWTH) return 0;
  console.error(`the heap grew by ${growth} octets, more than ${MAX_GROWTH}`);
  return 1;
}

process.exitCode = main();
