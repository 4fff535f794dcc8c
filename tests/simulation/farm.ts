/**
 * Runs schedules on every core, in threads outside Jest: its sandbox makes them half as slow again,
 * and they do nothing but compute.
 */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { LargeCase } from "./large.ts";
import type { Outcome } from "./schedule.ts";

/** What a thread is given to do. */
export type Job =
  | { readonly type: "small" | "middle"; readonly seed: number }
  | { readonly type: "large"; readonly case: LargeCase };

/** What a schedule told of itself; nothing of a large case, which throws or does not. */
export type Result = Omit<Outcome, "trail"> | undefined;

/** What a thread answers. */
export type Answer = { readonly result: Result } | { readonly error: string };

/** Threads, as many as there are cores, and the jobs that wait for one; first come, first served. */
export class Farm implements Disposable {
  readonly #idle: Worker[];
  readonly #all: readonly Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(threads = availableParallelism()) {
    const file = join(import.meta.dirname, "farm-thread.ts");
    this.#all = Array.from({ length: threads }, () => {
      // Most of what a schedule makes dies young: a larger nursery is swept less often.
      return new Worker(file, { resourceLimits: { maxYoungGenerationSizeMb: 64 } });
    });
    this.#idle = [...this.#all];
  }

  /** Does a job as soon as a thread is free; rejects with what went wrong in it. */
  async run(job: Job): Promise<Result> {
    const worker =
      this.#idle.pop() ?? (await new Promise<Worker>((use) => this.#waiting.push(use)));
    try {
      const answer = await ask(worker, job);
      if ("error" in answer) throw new Error(answer.error);
      return answer.result;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(worker);
      else next(worker);
    }
  }

  [Symbol.dispose](): void {
    for (const worker of this.#all) void worker.terminate();
  }
}

async function ask(worker: Worker, job: Job): Promise<Answer> {
  worker.postMessage(job);
  // rejects when the thread ends of an error
  const [answer] = (await once(worker, "message")) as [Answer];
  return answer;
}
