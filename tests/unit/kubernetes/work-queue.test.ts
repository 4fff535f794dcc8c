import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Metrics } from "../../../kubernetes/metrics.ts";
import { WorkQueue } from "../../../kubernetes/work-queue.ts";
import { VirtualClock } from "./virtual-clock.ts";

const KEYS = ["a", "b", "c"] as const;
type Key = (typeof KEYS)[number];

/** What the queue promises, in the simplest form. */
interface Model {
  now: number;
  ready: Key[];
  readonly inFlight: Set<Key>;
  readonly touched: Set<Key>;
  readonly delayed: Map<Key, number>;
  readonly failures: Map<Key, number>;
  waiting: number;
  closed: boolean;
  handedOut: (Key | undefined)[];
}

interface Real {
  readonly clock: VirtualClock;
  readonly queue: WorkQueue;
  readonly handedOut: (string | undefined)[];
}

function add(model: Model, key: Key): void {
  if (model.closed) return;
  model.delayed.delete(key);
  if (model.inFlight.has(key)) model.touched.add(key);
  else if (!model.ready.includes(key)) model.ready.push(key);
  serve(model);
}

function serve(model: Model): void {
  while (model.waiting > 0 && model.ready.length > 0) {
    const key = model.ready.shift()!;
    model.inFlight.add(key);
    model.handedOut.push(key);
    model.waiting--;
  }
  if (model.closed && model.ready.length === 0 && model.touched.size === 0) {
    while (model.waiting > 0) {
      model.handedOut.push(undefined);
      model.waiting--;
    }
  }
}

function delay(model: Model, key: Key, ms: number): void {
  if (model.closed) return;
  const at = model.now + ms;
  const before = model.delayed.get(key);
  if (before !== undefined && before <= at) return;
  // Of two keys that are due at the same time the one that was delayed first comes first.
  model.delayed.delete(key);
  model.delayed.set(key, at);
}

class Step implements fc.AsyncCommand<Model, Real> {
  readonly #name: string;
  readonly #model: (model: Model) => void;
  readonly #real: (real: Real) => void;
  readonly #possible: (model: Model) => boolean;

  constructor(
    name: string,
    model: (model: Model) => void,
    real: (real: Real) => void,
    possible: (model: Model) => boolean = () => true,
  ) {
    this.#name = name;
    this.#model = model;
    this.#real = real;
    this.#possible = possible;
  }

  check(model: Readonly<Model>): boolean {
    return this.#possible(model);
  }

  async run(model: Model, real: Real): Promise<void> {
    this.#model(model);
    this.#real(real);
    // Promises of `next` resolve in microtasks.
    await new Promise((resolve) => setImmediate(resolve));
    expect(real.handedOut).toEqual(model.handedOut);
    expect(real.queue.length).toBe(model.ready.length);
    expect(real.queue.inFlight).toBe(model.inFlight.size);
    for (const key of KEYS) expect(real.queue.failures(key)).toBe(model.failures.get(key) ?? 0);
  }

  toString(): string {
    return this.#name;
  }
}

const key = fc.constantFrom(...KEYS);
const steps = [
  key.map(
    (k) =>
      new Step(
        `add ${k}`,
        (model) => add(model, k),
        ({ queue }) => queue.add(k),
      ),
  ),
  fc.tuple(key, fc.integer({ min: 1, max: 20 })).map(
    ([k, ms]) =>
      new Step(
        `addAfter ${k} ${ms}`,
        (model) => delay(model, k, ms),
        ({ queue }) => queue.addAfter(k, ms),
      ),
  ),
  key.map(
    (k) =>
      new Step(
        `retry ${k}`,
        (model) => {
          const failures = (model.failures.get(k) ?? 0) + 1;
          model.failures.set(k, failures);
          delay(model, k, Math.min(1_000_000, 5 * 2 ** (failures - 1)));
        },
        ({ queue }) => queue.retry(k),
      ),
  ),
  key.map(
    (k) =>
      new Step(
        `forget ${k}`,
        (model) => void model.failures.delete(k),
        ({ queue }) => queue.forget(k),
      ),
  ),
  fc.constant(
    new Step(
      "next",
      (model) => {
        model.waiting++;
        serve(model);
      },
      ({ queue, handedOut }) => void queue.next().then((each) => handedOut.push(each)),
    ),
  ),
  key.map(
    (k) =>
      new Step(
        `done ${k}`,
        (model) => {
          model.inFlight.delete(k);
          if (model.touched.delete(k)) model.ready.push(k);
          serve(model);
        },
        ({ queue }) => queue.done(k),
        (model) => model.inFlight.has(k),
      ),
  ),
  fc.integer({ min: 1, max: 30 }).map(
    (ms) =>
      new Step(
        `wait ${ms}`,
        (model) => {
          const end = model.now + ms;
          const due = [...model.delayed]
            .filter(([, at]) => at <= end)
            .sort(([, a], [, b]) => a - b);
          for (const [k, at] of due) {
            model.now = at;
            add(model, k);
          }
          model.now = end;
        },
        ({ clock }) => clock.advanceSync(ms),
      ),
  ),
  fc.constant(
    new Step(
      "close",
      (model) => {
        model.closed = true;
        model.delayed.clear();
        serve(model);
      },
      ({ queue }) => queue.close(),
    ),
  ),
];

test("keeps its invariants whatever is done in whatever order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(steps, { size: "medium", maxCommands: 60 }), async (commands) => {
      const clock = new VirtualClock();
      const setup = (): { model: Model; real: Real } => ({
        model: {
          now: clock.monotonicMs(),
          ready: [],
          inFlight: new Set(),
          touched: new Set(),
          delayed: new Map(),
          failures: new Map(),
          waiting: 0,
          closed: false,
          handedOut: [],
        },
        real: { clock, queue: new WorkQueue({ name: "test", clock }), handedOut: [] },
      });
      await fc.asyncModelRun(setup, commands);
    }),
    { numRuns: 200 },
  );
});

test("retries of many keys together are bounded to the overall rate", () => {
  const clock = new VirtualClock();
  const queue = new WorkQueue({ name: "test", clock, retriesPerSecond: 10, retryBurst: 5 });
  const delays = Array.from({ length: 8 }, (_, index) => queue.retry(`key-${index}`));
  expect(delays.slice(0, 5)).toEqual([5, 5, 5, 5, 5]);
  expect(delays.slice(5)).toEqual([100, 200, 300]);
  clock.freeze(10_000);
  expect(queue.retry("later")).toBe(5);
});

test("an abort ends the wait for a key, and the key is there for the next", async () => {
  const queue = new WorkQueue({ name: "test" });
  const controller = new AbortController();
  const aborted = queue.next(controller.signal);
  const waiting = queue.next();
  controller.abort();
  expect(await aborted).toBeUndefined();
  queue.add("a");
  expect(await waiting).toBe("a");
  expect(await queue.next(controller.signal)).toBeUndefined();
});

test("drain drops what waits and waits for what is in flight", async () => {
  const queue = new WorkQueue({ name: "test" });
  for (const each of ["a", "b"]) queue.add(each);
  expect(await queue.next()).toBe("a");
  queue.add("a");
  let drained = false;
  const draining = queue.drain().then(() => (drained = true));
  expect(await queue.next()).toBeUndefined();
  expect(drained).toBe(false);
  queue.done("a");
  await draining;
  expect(await queue.next()).toBeUndefined();
});

test("refuses done for a key that nobody has", () => {
  expect(() => new WorkQueue({ name: "test" }).done("a")).toThrow(TypeError);
});

test("says how deep it is and how old its work", async () => {
  const clock = new VirtualClock();
  const metrics = new Metrics();
  const queue = new WorkQueue({ name: "q", clock, metrics });
  for (const each of ["a", "b", "c"]) queue.add(each);
  await queue.next();
  clock.freeze(2_000);
  const text = await metrics.registry.metrics();
  expect(text).toContain('workqueue_depth{name="q"} 2');
  expect(text).toContain('workqueue_adds_total{name="q"} 3');
  expect(text).toContain('workqueue_longest_running_processor_seconds{name="q"} 2');
  expect(text).toContain('workqueue_retries_total{name="q"} 0');
});
