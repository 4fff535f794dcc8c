import { expect, test } from "@jest/globals";
import { OperatorError, TerminalError, type ErrorCode } from "../../../kubernetes/errors.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import { runReconciler, type Reconcile } from "../../../kubernetes/reconciler.ts";
import { WorkQueue } from "../../../kubernetes/work-queue.ts";
import { eventually } from "../../support/eventually.ts";
import { VirtualClock } from "./virtual-clock.ts";

interface Running extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly queue: WorkQueue;
  readonly metrics: Metrics;
  readonly controller: AbortController;
  result(name: string): Promise<number>;
}

function start(reconcile: Reconcile, workers = 1): Running {
  const clock = new VirtualClock();
  const metrics = new Metrics();
  const queue = new WorkQueue({ name: "q", clock });
  const controller = new AbortController();
  const options = { name: "c", queue, reconcile, workers, timeoutMs: 1_000, clock, metrics };
  const done = runReconciler(options, controller.signal);
  return {
    clock,
    queue,
    metrics,
    controller,
    result: async (result) => {
      const found = await metrics.registry
        .getSingleMetric("controller_runtime_reconcile_total")
        ?.get();
      return found?.values.find(({ labels }) => labels["result"] === result)?.value ?? -1;
    },
    [Symbol.asyncDispose]: async () => {
      queue.close();
      controller.abort();
      await done;
    },
  };
}

const network = (code: ErrorCode): Error => new OperatorError(code, "applying Service a/b");

for (const { name, failure, result, againAfterMs } of [
  {
    name: "an unknown exception is retried with back-off",
    failure: new TypeError("bug"),
    result: "error",
    againAfterMs: 5,
  },
  {
    name: "a conflict is retried with back-off",
    failure: network("Conflict"),
    result: "error",
    againAfterMs: 5,
  },
  {
    name: "a missing right is retried slowly",
    failure: network("Forbidden"),
    result: "error",
    againAfterMs: 30_000,
  },
  {
    name: "a terminal error is not retried",
    failure: new TerminalError("reading"),
    result: "terminal_error",
    againAfterMs: undefined,
  },
  {
    name: "an invalid object is not retried",
    failure: network("Invalid"),
    result: "terminal_error",
    againAfterMs: undefined,
  },
]) {
  test(name, async () => {
    let runs = 0;
    await using running = start(() => {
      runs++;
      throw failure;
    });
    running.queue.add("a/b");
    await eventually(() => runs === 1);
    expect(await running.result(result)).toBe(1);
    await running.clock.advance((againAfterMs ?? 3_600_000) - 1);
    expect(runs).toBe(1);
    await running.clock.advance(1);
    expect(runs).toBe(againAfterMs === undefined ? 1 : 2);
  });
}

test("success ends the row of failures", async () => {
  let runs = 0;
  await using running = start(() => {
    if (++runs <= 3) throw new Error("not yet");
    return Promise.resolve();
  });
  running.queue.add("a");
  await eventually(() => runs === 1);
  await running.clock.advance(5 + 10 + 20);
  expect(runs).toBe(4);
  expect(running.queue.failures("a")).toBe(0);
  expect(await running.result("success")).toBe(1);
});

test("a wish to come again is kept and is no failure", async () => {
  let runs = 0;
  await using running = start(() => Promise.resolve({ requeueAfterMs: 100 * ++runs }));
  running.queue.add("a");
  await running.clock.advance(0);
  await running.clock.advance(99);
  expect(runs).toBe(1);
  await running.clock.advance(1);
  expect(runs).toBe(2);
  expect(await running.result("requeue_after")).toBe(2);
});

test("a reconciliation that takes too long is aborted and retried", async () => {
  let runs = 0;
  await using running = start(async (_key, _context, signal) => {
    if (++runs > 1) return;
    await new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
    });
  });
  running.queue.add("a");
  await running.clock.advance(1_000);
  expect(await running.result("timeout")).toBe(1);
  await running.clock.advance(5);
  expect(runs).toBe(2);
});

test("a key is never worked on twice at a time, and a touched one comes again", async () => {
  let active = 0;
  let most = 0;
  let runs = 0;
  const gates: (() => void)[] = [];
  await using running = start(async () => {
    runs++;
    most = Math.max(most, ++active);
    await new Promise<void>((resolve) => gates.push(resolve));
    active--;
  }, 4);
  running.queue.add("a");
  await eventually(() => gates.length === 1);
  for (let turn = 0; turn < 5; turn++) running.queue.add("a");
  gates.shift()?.();
  await eventually(() => gates.length === 1);
  gates.shift()?.();
  await eventually(() => active === 0);
  expect({ runs, most }).toEqual({ runs: 2, most: 1 });
});

test("different keys are worked on together up to the number of workers", async () => {
  let active = 0;
  let most = 0;
  const gate = Promise.withResolvers<undefined>();
  await using running = start(async () => {
    most = Math.max(most, ++active);
    await gate.promise;
    active--;
  }, 3);
  for (const key of ["a", "b", "c", "d", "e"]) running.queue.add(key);
  await eventually(() => active === 3);
  gate.resolve(undefined);
  await eventually(() => active === 0 && running.queue.length === 0);
  expect(most).toBe(3);
});

test("the abort reaches the reconciliation in flight, and the end waits for it", async () => {
  let ended = false;
  const running = start(async (_key, _context, signal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    ended = true;
  });
  running.queue.add("a");
  await eventually(() => running.queue.inFlight === 1);
  await running[Symbol.asyncDispose]();
  expect(ended).toBe(true);
});

test("every result is there at zero before the first reconciliation", async () => {
  await using running = start(() => Promise.resolve());
  for (const result of ["success", "requeue_after", "error", "terminal_error", "timeout"]) {
    expect(await running.result(result)).toBe(0);
  }
});
