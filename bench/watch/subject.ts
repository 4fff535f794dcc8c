/**
 * What a subject of the benchmark is told and what it says, one JSON object a line on standard output.
 * Both subjects are bundled as the image's programs are.
 */
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { createInterface } from "node:readline";

/** Where the API server is, as in a pod. */
export interface Place {
  /** Folder with `token` and `ca.crt`. */
  readonly directory: string;
  readonly host: string;
  readonly port: string;
}

/** Reads the command line: mode, folder, host, port, label selector or URL. */
export function told(): {
  readonly mode: string;
  readonly place: Place;
  readonly selector: string;
} {
  const [mode = "", directory = "", host = "", port = "", selector = ""] = process.argv.slice(2);
  return { mode, place: { directory, host, port }, selector };
}

/** Says something to the benchmark. */
export function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Watches the event loop until the answer is asked for: milliseconds of its longest pause. */
export function watchLoop(): () => number {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  return () => {
    histogram.disable();
    return histogram.max / 1e6;
  };
}

/** Milliseconds since the process was started, its loading included. */
export function sinceStart(): number {
  return performance.now();
}

/** Answers `memory` lines of standard input with the resident memory; ends with the input. */
export async function answerMemory(): Promise<never> {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== "memory") continue;
    const status = readFileSync("/proc/self/status", "utf8");
    const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN);
    say({ residentMb: kilobytes / 1024 });
  }
  process.exit(0);
}

/** Collects delays of events; says the percentiles when it has enough. */
export class Delays {
  readonly #wanted: number;
  readonly #values: number[] = [];

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  /** Takes the moment an event was sent, by the clock that all processes share. */
  add(sentNs: string): void {
    this.#values.push(Number(process.hrtime.bigint() - BigInt(sentNs)) / 1e6);
    if (this.#values.length !== this.#wanted) return;
    const sorted = this.#values.toSorted((a, b) => a - b);
    const at = (share: number): number | undefined => sorted[Math.floor(sorted.length * share)];
    say({ p50: at(0.5), p99: at(0.99) });
  }
}

/** Runs a job for each number below `count`, 32 at a time; gives jobs per second. */
export async function rate(
  count: number,
  job: (index: number) => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await job(index);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return (count * 1000) / (performance.now() - startedAt);
}

/** Events that one measurement of delays takes, after those that warm up. */
export const EVENTS = 2_500;
/** Annotation that carries when an event was sent. */
export const SENT = "bench/sent";
/** Name of the Service that is marked to see when a watch sees again. */
export const MARKED = "marked";
/** Namespace of all objects. */
export const NAMESPACE = "bench";
/** Status writes in one measurement. */
export const WRITES = 1_000;
