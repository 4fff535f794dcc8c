/** A thread of the farm: takes a job, does it, says what came of it. */
import { parentPort } from "node:worker_threads";
import type { Answer, Job, Result } from "./farm.ts";
import { LARGE_CASES } from "./large.ts";
import { middleSchedule, Schedule, smallSchedule } from "./schedule.ts";

function run(job: Job): Result {
  if (job.type === "large") {
    LARGE_CASES[job.case]();
    return undefined;
  }
  const options = job.type === "small" ? smallSchedule(job.seed) : middleSchedule(job.seed);
  const { trail: _trail, ...result } = new Schedule(options).run();
  return result;
}

function answer(job: Job): Answer {
  try {
    return { result: run(job) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

const port = parentPort;
if (port === null) throw new Error("only as a thread of farm.ts");
port.on("message", (job: Job) => port.postMessage(answer(job)));
