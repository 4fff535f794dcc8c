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
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(threads = availableParallelism()) {
    for (let i = 0; i < threads; i++) this.#idle.push(this.#start());
  }

  /** Does a job as soon as a thread is free; rejects with what went wrong in it. */
  async run(job: Job): Promise<Result> {
    let worker = this.#idle.pop() ?? (await new Promise<Worker>((use) => this.#waiting.push(use)));
    try {
      const answer = await ask(worker, job);
      if ("error" in answer) throw new Error(answer.error);
      return answer.result;
    } catch (error) {
      // A thread that ended, for want of memory say, would answer nobody any more.
      this.#all.delete(worker);
      void worker.terminate();
      worker = this.#start();
      throw error;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(worker);
      else next(worker);
    }
  }

  #start(): Worker {
    const file = join(import.meta.dirname, "farm-thread.ts");
    // Most of what a schedule makes dies young: a larger nursery is swept less often. The largest
    // case of all holds a thousand tables of 10,000 addresses.
    const resourceLimits = { maxYoungGenerationSizeMb: 64, maxOldGenerationSizeMb: 12_288 };
    const worker = new Worker(file, { resourceLimits });
    this.#all.add(worker);
    return worker;
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
