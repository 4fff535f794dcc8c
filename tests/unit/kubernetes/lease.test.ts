import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { OwnerReference } from "../../../api/object.ts";
import { sleep, type Clock, type Timer } from "../../../kubernetes/clock.ts";
import { ApiError, OperatorError } from "../../../kubernetes/errors.ts";
import { LeaderElector, microTime, type LeaderElectorOptions } from "../../../kubernetes/lease.ts";
import type { Lease } from "../../../kubernetes/resources.ts";
import { VirtualClock } from "./virtual-clock.ts";

type LeaseClient = LeaderElectorOptions["client"];

/** One Lease with optimistic locking, as the API server keeps it. */
class LeaseServer {
  lease: Lease | undefined;
  #version = 0;

  read(): Lease | undefined {
    return this.lease;
  }

  write(lease: Lease, create: boolean): Lease {
    const now = this.lease?.metadata.resourceVersion;
    if (create && this.lease)
      throw new ApiError("creating Lease", 409, { reason: "AlreadyExists" });
    if (!create && lease.metadata.resourceVersion !== now) {
      throw new ApiError("replacing Lease", 409, { reason: "Conflict" });
    }
    const resourceVersion = String(++this.#version);
    this.lease = { ...lease, metadata: { ...lease.metadata, resourceVersion } };
    return this.lease;
  }

  /** A client with a path to the server that may be slow or broken, both ways. */
  client(path: () => Promise<void>): LeaseClient {
    const through = async <T>(effect: () => T): Promise<T> => {
      await path();
      const result = effect();
      await path();
      return result;
    };
    return {
      get: () => through(() => this.read()),
      replace: (_of: unknown, lease: Lease) => through(() => this.write(lease, false)),
      create: (_of: unknown, lease: Lease) => through(() => this.write(lease, true)),
    } as unknown as LeaseClient;
  }
}

const direct = (): Promise<void> => Promise.resolve();
const common = { name: "operator", namespace: "metallb-system" };

/** Leads until the signal aborts. */
const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

test("the first one leads, the second waits and takes over at once when the first ends properly", async () => {
  const clock = new VirtualClock();
  const server = new LeaseServer();
  const [a, b] = ["a", "b"].map(
    (identity) => new LeaderElector({ ...common, identity, clock, client: server.client(direct) }),
  );
  const [stopA, stopB] = [new AbortController(), new AbortController()];
  const runA = a!.run(untilAborted, stopA.signal);
  await clock.advance(100);
  const runB = b!.run(untilAborted, stopB.signal);
  await clock.advance(60_000);
  expect([a!.isLeading, b!.isLeading]).toEqual([true, false]);
  expect(b!.holder).toBe("a");
  stopA.abort();
  await runA;
  expect(server.lease?.spec).toMatchObject({ holderIdentity: "", leaseDurationSeconds: 1 });
  await clock.advance(3_000);
  expect([a!.isLeading, b!.isLeading]).toEqual([false, true]);
  expect(server.lease?.spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1 });
  stopB.abort();
  await runB;
});

test("the lease goes with its owner, also when it was there before it", async () => {
  const clock = new VirtualClock();
  const server = new LeaseServer();
  let owner: OwnerReference | undefined;
  const elector = new LeaderElector({
    ...common,
    owner: () => owner,
    clock,
    client: server.client(direct),
  });
  const stop = new AbortController();
  const run = elector.run(untilAborted, stop.signal);
  await clock.advance(100);
  expect(server.lease?.metadata).not.toHaveProperty("ownerReferences");
  for (const uid of ["1", "2"]) {
    owner = { apiVersion: "metallb.io/v1beta1", kind: "MetalLB", name: "metallb", uid };
    await clock.advance(5_000);
    expect(server.lease?.metadata.ownerReferences).toEqual([owner]);
  }
  stop.abort();
  await run;
  expect(server.lease).toMatchObject({
    metadata: { ownerReferences: [owner] },
    spec: { holderIdentity: "" },
  });
});

test("a lease that somebody deletes is still its holder's, who makes it anew", async () => {
  const clock = new VirtualClock();
  const server = new LeaseServer();
  const [a, b] = ["a", "b"].map(
    (identity) => new LeaderElector({ ...common, identity, clock, client: server.client(direct) }),
  );
  const stop = new AbortController();
  const runs = [a!.run(untilAborted, stop.signal)];
  await clock.advance(100);
  runs.push(b!.run(untilAborted, stop.signal));
  await clock.advance(10_000);
  for (let time = 0; time < 20; time++) {
    server.lease = undefined;
    for (let step = 0; step < 40; step++) {
      await clock.advance(100);
      expect([a!.isLeading, b!.isLeading]).toEqual([true, false]);
    }
    expect(server.lease).toMatchObject({ spec: { holderIdentity: "a" } });
  }
  stop.abort();
  await Promise.all(runs);
});

test("the second takes over after the lease's duration when the first vanishes", async () => {
  const clock = new VirtualClock();
  const server = new LeaseServer();
  let broken = false;
  const path = (): Promise<void> => (broken ? Promise.reject(new Error("cut")) : Promise.resolve());
  const a = new LeaderElector({ ...common, identity: "a", clock, client: server.client(path) });
  const b = new LeaderElector({ ...common, identity: "b", clock, client: server.client(direct) });
  const stop = new AbortController();
  const runA = a.run(untilAborted, stop.signal);
  await clock.advance(100);
  const runB = b.run(untilAborted, stop.signal);
  await clock.advance(10_000);
  broken = true;
  const lost = expect(runA).rejects.toMatchObject({ code: "NotLeading" });
  await clock.advance(10_001);
  expect([a.isLeading, b.isLeading]).toEqual([false, false]);
  expect(() => a.assertLeading()).toThrow(OperatorError);
  await lost;
  await clock.advance(10_000);
  expect(b.isLeading).toBe(true);
  stop.abort();
  await runB;
});

test("one who looks often takes over within half a second of the lease's duration, whenever the first vanishes", async () => {
  const times = { leaseDurationMs: 4_000, renewDeadlineMs: 3_000, retryPeriodMs: 2_000 };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 10_000, max: 14_000 }), async (vanishesAfterMs) => {
      const clock = new VirtualClock();
      const server = new LeaseServer();
      let broken = false;
      const path = (): Promise<void> => (broken ? Promise.reject(new Error("cut")) : direct());
      const a = new LeaderElector({
        ...common,
        ...times,
        identity: "a",
        clock,
        client: server.client(path),
      });
      const b = new LeaderElector({
        ...common,
        ...times,
        identity: "b",
        clock,
        client: server.client(direct),
        standbyPeriodMs: 200,
      });
      const stop = new AbortController();
      const runA = a.run(untilAborted, stop.signal).catch(() => undefined);
      await clock.advance(100);
      const runB = b.run(untilAborted, stop.signal);
      await clock.advance(vanishesAfterMs);
      broken = true;
      expect([a.isLeading, b.isLeading]).toEqual([true, false]);
      await clock.advance(4_500);
      expect([a.isLeading, b.isLeading]).toEqual([false, true]);
      stop.abort();
      await Promise.all([runA, runB]);
    }),
    { numRuns: 20 },
  );
});

test("somebody else's clock means nothing: a renewal from the past or the future is a sign of life", async () => {
  const clock = new VirtualClock();
  const server = new LeaseServer();
  const a = new LeaderElector({ ...common, identity: "a", clock, client: server.client(direct) });
  const renewTime = microTime(Date.UTC(1999, 0, 1));
  const stop = new AbortController();
  const run = a.run(untilAborted, stop.signal);
  server.lease = undefined;
  for (let second = 0; second < 60; second += 5) {
    const before = server.lease as Lease | undefined;
    const spec = { holderIdentity: "b", leaseDurationSeconds: 15, renewTime };
    server.write({ metadata: { ...common, ...before?.metadata }, spec }, before === undefined);
    await clock.advance(5_000);
  }
  expect(a.isLeading).toBe(false);
  await clock.advance(18_000);
  expect(a.isLeading).toBe(true);
  stop.abort();
  await run;
});

test("the signal of the leader aborts when the lease is lost", async () => {
  const clock = new VirtualClock();
  const server = new LeaseServer();
  const a = new LeaderElector({ ...common, identity: "a", clock, client: server.client(direct) });
  let told: unknown;
  const run = a.run(async (signal) => {
    await untilAborted(signal);
    told = signal.reason;
  }, new AbortController().signal);
  const lost = expect(run).rejects.toMatchObject({ code: "NotLeading" });
  await clock.advance(100);
  server.write(
    { ...server.lease!, spec: { holderIdentity: "thief", leaseDurationSeconds: 15 } },
    false,
  );
  await clock.advance(3_000);
  await lost;
  expect(told).toMatchObject({ code: "NotLeading" });
});

test("refuses times that do not fit each other", () => {
  const client = new LeaseServer().client(direct);
  expect(() => new LeaderElector({ ...common, client, leaseDurationMs: 5_000 })).toThrow(TypeError);
  expect(() => new LeaderElector({ ...common, client, retryPeriodMs: 9_000 })).toThrow(TypeError);
});

/** The clock of one process, which can be stopped: its timers then fire when it goes on. */
class ProcessClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #late: (() => void)[] = [];
  frozen = false;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    let cancelled = false;
    const fire = (): void => {
      if (!cancelled) callback();
    };
    const timer = this.#clock.setTimer(delayMs, () =>
      this.frozen ? this.#late.push(fire) : fire(),
    );
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  thaw(): void {
    this.frozen = false;
    for (const fire of this.#late.splice(0)) fire();
  }
}

test("never two lead at a time, whoever is frozen, slow or cut off", async () => {
  const step = fc.record({
    who: fc.integer({ min: 0, max: 2 }),
    what: fc.constantFrom("freeze", "thaw", "cut", "mend", "slow", "fast"),
    thenWaitMs: fc.integer({ min: 10, max: 20_000 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const clock = new VirtualClock();
      const server = new LeaseServer();
      const stop = new AbortController();
      const contenders = Array.from({ length: 3 }, (_, index) => {
        const own = new ProcessClock(clock);
        const path = { cut: false, delayMs: 5 };
        const client = server.client(async () => {
          await sleep(own, path.delayMs);
          if (path.cut) throw new Error("cut");
        });
        const elector = new LeaderElector({ ...common, identity: `c${index}`, clock: own, client });
        const again = async (): Promise<void> => {
          while (!stop.signal.aborted)
            await elector.run(untilAborted, stop.signal).catch(() => undefined);
        };
        return { own, path, elector, running: again() };
      });
      const leaders = (): string[] =>
        contenders
          .filter(({ elector }) => elector.isLeading)
          .map(({ elector }) => elector.identity);
      for (const { who, what, thenWaitMs } of steps) {
        const { own, path } = contenders[who]!;
        if (what === "freeze") own.frozen = true;
        else if (what === "thaw") own.thaw();
        else if (what === "cut" || what === "mend") path.cut = what === "cut";
        else path.delayMs = what === "slow" ? 2_500 : 5;
        for (let waited = 0; waited < thenWaitMs; waited += 500) {
          await clock.advance(Math.min(500, thenWaitMs - waited));
          expect(leaders().length).toBeLessThanOrEqual(1);
        }
      }
      for (const { own, path } of contenders) {
        own.thaw();
        Object.assign(path, { cut: false, delayMs: 5 });
      }
      await clock.advance(40_000);
      expect(leaders()).toHaveLength(1);
      stop.abort();
      await clock.advance(10_000);
      await Promise.all(contenders.map(({ running }) => running));
    }),
    { numRuns: 25 },
  );
}, 60_000);
