import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Deadlines } from "../../../speaker/deadlines.ts";

test("keys come out in the order of their deadlines and never early", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000)), fc.nat(1000), (times, now) => {
      const deadlines = new Deadlines<number>();
      for (const at of times) deadlines.set(at, at);
      const out: number[] = [];
      for (let key = deadlines.pop(now); key !== undefined; key = deadlines.pop(now)) out.push(key);
      const due = times.filter((at) => at <= now).sort((a, b) => a - b);
      const left = times.filter((at) => at > now);
      expect(out).toEqual(due);
      expect(deadlines.next()).toBe(Math.min(Infinity, ...left));
    }),
  );
});

test("a key may have several deadlines", () => {
  const deadlines = new Deadlines<string>();
  deadlines.set(20, "a");
  deadlines.set(10, "a");
  expect([deadlines.pop(30), deadlines.pop(30), deadlines.pop(30)]).toEqual(["a", "a", undefined]);
});
