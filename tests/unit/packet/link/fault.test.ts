import { describe, expect, test } from "@jest/globals";

import { withFaults, type Faults } from "../../../../packet/link/fault.ts";
import { MemoryLan } from "../../../../packet/link/memory.ts";
import { frameTo, MAC_A, MAC_B, markOf, recorder } from "./frames.ts";

interface Task {
  readonly atMs: number;
  readonly run: () => void;
}

/** Numbers from a seed, the same in every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Sends `count` numbered frames through faults of one direction and gives what arrived. */
function passThrough(direction: "sent" | "received", faults: Faults, count: number): number[] {
  const tasks: Task[] = [];
  let nowMs = 0;
  const lan = new MemoryLan({ schedule: (run) => run() });
  const options = {
    faults: { [direction]: faults },
    random: randomFrom(7),
    schedule: (delayMs: number, run: () => void) => tasks.push({ atMs: nowMs + delayMs, run }),
  };
  const b = recorder();
  const receiving = lan.connect("b", MAC_B).open;
  const sending = lan.connect("a", MAC_A).open;
  (direction === "received" ? withFaults(receiving, options) : receiving)(b);
  const link = (direction === "sent" ? withFaults(sending, options) : sending)(recorder());
  for (let mark = 0; mark < count; mark++) link.send(frameTo(MAC_B, MAC_A, mark));
  for (;;) {
    tasks.sort((one, two) => one.atMs - two.atMs);
    const task = tasks.shift();
    if (task === undefined) break;
    nowMs = task.atMs;
    task.run();
  }
  return b.frames.map(({ octets }) => markOf(octets));
}

const inOrder = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

for (const direction of ["sent", "received"] as const) {
  describe(`faults of ${direction} frames`, () => {
    test("without faults every frame passes in its order", () => {
      expect(passThrough(direction, {}, 100)).toEqual(inOrder(100));
    });
    test("loss 1 lets nothing pass, loss 0.5 about half", () => {
      expect(passThrough(direction, { loss: 1 }, 100)).toEqual([]);
      const some = passThrough(direction, { loss: 0.5 }, 200).length;
      expect(some).toBeGreaterThan(60);
      expect(some).toBeLessThan(140);
    });
    test("duplicate 1 brings each frame twice", () => {
      expect(passThrough(direction, { duplicate: 1 }, 50)).toEqual(
        inOrder(50).flatMap((n) => [n, n]),
      );
    });
    test("a constant delay keeps the order, a wide one does not, neither loses a frame", () => {
      expect(passThrough(direction, { delayMs: [5, 5] }, 100)).toEqual(inOrder(100));
      const jumbled = passThrough(direction, { delayMs: [0, 50] }, 100);
      expect(jumbled).not.toEqual(inOrder(100));
      expect(jumbled.toSorted((a, b) => a - b)).toEqual(inOrder(100));
    });
    test("reorder lets some frames be overtaken and loses none", () => {
      const jumbled = passThrough(direction, { reorder: 0.1, reorderMs: 10 }, 100);
      expect(jumbled).not.toEqual(inOrder(100));
      expect(jumbled.toSorted((a, b) => a - b)).toEqual(inOrder(100));
    });
  });
}

test("a delayed frame does not reach a link that was disposed meanwhile", () => {
  const tasks: (() => void)[] = [];
  const lan = new MemoryLan({ schedule: (run) => run() });
  const b = recorder();
  const open = withFaults(lan.connect("b", MAC_B).open, {
    faults: { received: { delayMs: [5, 5] }, sent: { delayMs: [5, 5] } },
    random: () => 0,
    schedule: (_, task) => tasks.push(task),
  });
  const a = recorder();
  const other = lan.connect("a", MAC_A).open(a);
  const link = open(b);
  other.send(frameTo(MAC_B, MAC_A, 1));
  expect(link.sendBatch([frameTo(MAC_A, MAC_B, 1)])).toBe(1);
  link[Symbol.dispose]();
  for (const task of tasks) task();
  expect(b.frames).toEqual([]);
  expect(a.frames).toEqual([]);
});
