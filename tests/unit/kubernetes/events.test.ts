import { expect, test } from "@jest/globals";
import { ApiError, OperatorError } from "../../../kubernetes/errors.ts";
import {
  EventRecorder,
  type EventInput,
  type EventRecorderOptions,
} from "../../../kubernetes/events.ts";
import type { Event } from "../../../kubernetes/resources.ts";
import { VirtualClock } from "./virtual-clock.ts";

interface Recording {
  readonly clock: VirtualClock;
  readonly recorder: EventRecorder;
  readonly created: Event[];
  readonly patched: object[];
  /** What the next writes throw, one each. */
  failures: Error[];
}

function record(): Recording {
  const clock = new VirtualClock();
  const created: Event[] = [];
  const patched: object[] = [];
  const client = {
    create: (_of: unknown, event: Event) => {
      const failure = recording.failures.shift();
      if (failure) return Promise.reject(failure);
      created.push(event);
      return Promise.resolve(event);
    },
    patch: (_of: unknown, _name: unknown, patch: object) => {
      const failure = recording.failures.shift();
      if (failure) return Promise.reject(failure);
      patched.push(patch);
      return Promise.resolve(created.at(-1));
    },
  } as unknown as EventRecorderOptions["client"];
  const recorder = new EventRecorder({
    client,
    clock,
    reportingController: "metallb-controller",
    reportingInstance: "controller-1",
  });
  const recording: Recording = { clock, recorder, created, patched, failures: [] };
  return recording;
}

const about: EventInput = {
  regarding: {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop", uid: "u1" },
  },
  type: "Warning",
  reason: "AllocationFailed",
  note: "no address is left in pool main",
};

test("of very many events a few are written at a time, and in the end all", async () => {
  let [active, most, written] = [0, 0, 0];
  const client = {
    create: async (_of: unknown, event: Event) => {
      most = Math.max(most, ++active);
      await new Promise((resolve) => setImmediate(resolve));
      active--;
      written++;
      return event;
    },
  } as unknown as EventRecorderOptions["client"];
  const recorder = new EventRecorder({
    client,
    reportingController: "metallb-controller",
    reportingInstance: "controller-1",
  });
  for (let n = 0; n < 100; n++) {
    const metadata = { ...about.regarding.metadata, name: `web-${n}` };
    recorder.record({ ...about, regarding: { ...about.regarding, metadata } });
  }
  await recorder.close();
  expect(written).toBe(100);
  expect(most).toBe(8);
});

test("the first occurrence is written at once", async () => {
  const { clock, recorder, created } = record();
  recorder.record(about);
  await clock.advance(0);
  expect(created).toHaveLength(1);
  expect(created[0]).toMatchObject({
    metadata: { namespace: "shop", name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) as unknown },
    regarding: { apiVersion: "v1", kind: "Service", name: "web", namespace: "shop", uid: "u1" },
    type: "Warning",
    reason: "AllocationFailed",
    action: "AllocationFailed",
    reportingController: "metallb-controller",
    reportingInstance: "controller-1",
  });
  expect(created[0]?.eventTime).toMatch(/\.\d{6}Z$/);
});

test("what happens within the minute after is one write with the count at its end", async () => {
  const { clock, recorder, created, patched } = record();
  for (let second = 0; second < 50; second++) {
    recorder.record(about);
    await clock.advance(1_000);
  }
  expect([created.length, patched.length]).toEqual([1, 0]);
  await clock.advance(10_000);
  expect(patched).toMatchObject([{ series: { count: 50 } }]);
});

test("never more than one write a minute for the same object and reason, over an hour of noise", async () => {
  const { clock, recorder, created, patched } = record();
  for (let second = 0; second < 3_600; second += 5) {
    recorder.record({ ...about, note: `try ${second % 7}` });
    await clock.advance(5_000);
  }
  expect(created.length + patched.length).toBeLessThanOrEqual(61);
});

test("another note is another event, which carries the count", async () => {
  const { clock, recorder, created } = record();
  recorder.record(about);
  recorder.record({ ...about, note: "no pool serves namespace shop" });
  await clock.advance(60_000);
  expect(created.map(({ note }) => note)).toEqual([about.note, "no pool serves namespace shop"]);
  expect(created[1]).toMatchObject({ series: { count: 2 } });
  expect(created[1]?.metadata.name).not.toBe(created[0]?.metadata.name);
});

for (const { name, other } of [
  { name: "another reason", other: { ...about, reason: "Other" } },
  { name: "another type", other: { ...about, type: "Normal" as const } },
  {
    name: "another object",
    other: {
      ...about,
      regarding: { ...about.regarding, metadata: { ...about.regarding.metadata, name: "other" } },
    },
  },
  {
    name: "a new object of the same name",
    other: {
      ...about,
      regarding: { ...about.regarding, metadata: { ...about.regarding.metadata, uid: "u2" } },
    },
  },
]) {
  test(`${name} is written on its own`, async () => {
    const { clock, recorder, created } = record();
    recorder.record(about);
    recorder.record(other);
    await clock.advance(0);
    expect(created).toHaveLength(2);
  });
}

test("after a quiet minute the next occurrence is written at once", async () => {
  const { clock, recorder, created } = record();
  recorder.record(about);
  await clock.advance(60_000);
  recorder.record(about);
  await clock.advance(0);
  expect(created).toHaveLength(2);
});

test("an event that expired is written anew", async () => {
  const recording = record();
  const { clock, recorder, created, patched } = recording;
  recorder.record(about);
  await clock.advance(30_000);
  recorder.record(about);
  recording.failures = [new ApiError("patching Event", 404, { reason: "NotFound" })];
  await clock.advance(30_000);
  expect([created.length, patched.length]).toEqual([2, 0]);
  expect(created[1]).toMatchObject({ note: about.note, series: { count: 2 } });
});

test("an event that a server which is away could not take is written at the end of the minute", async () => {
  const recording = record();
  recording.failures = [new OperatorError("Unreachable", "creating Event")];
  recording.recorder.record(about);
  await recording.clock.advance(59_000);
  expect(recording.created).toEqual([]);
  await recording.clock.advance(1_000);
  expect(recording.created).toHaveLength(1);
});

test("an event that is refused is dropped, and nobody is told by exception", async () => {
  const recording = record();
  recording.failures = [new ApiError("creating Event", 403, { reason: "Forbidden" })];
  recording.recorder.record(about);
  await recording.clock.advance(600_000);
  await recording.recorder.close();
  expect(recording.created).toEqual([]);
});

test("the end writes what is counted and not written", async () => {
  const { recorder, created, patched, clock } = record();
  recorder.record(about);
  recorder.record(about);
  await recorder.close();
  expect([created.length, patched.length]).toEqual([1, 1]);
  recorder.record(about);
  expect(clock.pending).toBe(0);
});

test("a note is cut at 1,024 octets, between two characters", async () => {
  const { clock, recorder, created } = record();
  recorder.record({ ...about, note: "日".repeat(1_000) });
  await clock.advance(0);
  const note = created[0]?.note ?? "";
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1_024);
  expect(note).toMatch(/^日+…$/);
});

test("a cluster-scoped object has its events in namespace default", async () => {
  const { clock, recorder, created } = record();
  recorder.record({
    ...about,
    regarding: { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } },
  });
  await clock.advance(0);
  expect(created[0]).toMatchObject({
    metadata: { namespace: "default" },
    regarding: { kind: "Node", name: "n1" },
  });
});

test("memory is bounded: of many objects the quietest is forgotten", async () => {
  const { clock, recorder, created } = record();
  const input = (index: number): EventInput => ({
    ...about,
    regarding: {
      ...about.regarding,
      metadata: { name: `s${index}`, namespace: "shop", uid: `u${index}` },
    },
  });
  for (let index = 0; index < 5_000; index++) recorder.record(input(index));
  await clock.advance(0);
  expect(created).toHaveLength(5_000);
  expect(clock.pending).toBeLessThanOrEqual(4_096);
});
