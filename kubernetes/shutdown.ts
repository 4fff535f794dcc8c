/**
 * The end of a program: on SIGTERM or SIGINT steps run one after the other, in the order in which they
 * were added, until all are done or the time is over. A second signal ends the process at once.
 */
import { systemClock, type Clock } from "./clock.ts";
import { silentLogger, type Logger } from "./logging.ts";

/** How to end. */
export interface ShutdownOptions {
  /** Time for all steps together; 25 s, below Kubernetes' 30. */
  readonly deadlineMs?: number;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

const DEADLINE_MS = 25_000;

interface Step {
  readonly name: string;
  readonly run: (signal: AbortSignal) => Promise<void> | void;
}

/** Collects what is to be ended, and ends it. */
export class Shutdown {
  readonly #steps: Step[] = [];
  readonly #lastSteps: Step[] = [];
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  readonly #begun = new AbortController();
  #ended: Promise<boolean> | undefined;

  /** Steps are added by {@link add}. */
  constructor(options: ShutdownOptions = {}) {
    this.#logger = options.logger ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  /** Aborts when the shutdown begins. */
  get signal(): AbortSignal {
    return this.#begun.signal;
  }

  /** Adds a step behind those that are there. Its signal aborts when the time is over. */
  add(name: string, run: Step["run"]): void {
    this.#steps.push({ name, run });
  }

  /** Adds a step behind all that {@link add} adds, now or later: what the other steps still need. */
  addLast(name: string, run: Step["run"]): void {
    this.#lastSteps.push({ name, run });
  }

  /** Begins (once) and waits for the end. @returns false when a step threw or the time was over. */
  begin(why: string): Promise<boolean> {
    this.#ended ??= this.#run(why);
    return this.#ended;
  }

  async #run(why: string): Promise<boolean> {
    this.#logger.info("shutting down", { why, deadlineMs: this.#deadlineMs });
    this.#begun.abort(new DOMException(`shutting down: ${why}`, "AbortError"));
    const deadline = new AbortController();
    const over = Promise.withResolvers<"over">();
    const timer = this.#clock.setTimer(this.#deadlineMs, () => {
      deadline.abort(new DOMException("shutdown deadline", "TimeoutError"));
      over.resolve("over");
    });
    let ok = true;
    for (const step of [...this.#steps, ...this.#lastSteps]) {
      const result = await Promise.race([this.#step(step, deadline.signal), over.promise]);
      if (result !== "done") ok = false;
      if (result === "over") {
        this.#logger.error("shutdown deadline passed", { step: step.name });
        break;
      }
    }
    timer.cancel();
    this.#logger.info("shut down", { ok });
    return ok;
  }

  async #step(step: Step, signal: AbortSignal): Promise<"done" | "failed"> {
    try {
      await step.run(signal);
      return "done";
    } catch (error) {
      this.#logger.error("shutdown step failed", { step: step.name, error });
      return "failed";
    }
  }
}
