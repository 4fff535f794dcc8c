import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { REPLAY_WINDOW, ReplayWindow, type Freshness } from "../../../speaker/replay.ts";

/** The same by a set of all that was ever seen. */
function naive(counters: readonly number[]): Freshness[] {
  const seen = new Set<number>();
  let highest = -1;
  return counters.map((counter) => {
    if (counter > highest) {
      highest = counter;
      seen.add(counter);
      return "newest";
    }
    if (seen.has(counter) || highest - counter >= REPLAY_WINDOW) return "seen";
    seen.add(counter);
    return "late";
  });
}

test("a window says of each counter what an unbounded memory would", () => {
  const counters = fc.array(fc.oneof(fc.nat(50), fc.nat(1500), fc.nat(5000)), { maxLength: 400 });
  fc.assert(
    fc.property(counters, (list) => {
      const window = new ReplayWindow();
      expect(list.map((counter) => window.note(counter))).toEqual(naive(list));
    }),
  );
});

for (const { name, counters, expected } of [
  { name: "the first counter is the newest, also zero", counters: [0], expected: ["newest"] },
  { name: "the same counter again was seen", counters: [5, 5], expected: ["newest", "seen"] },
  { name: "an older one that is new is late", counters: [5, 3], expected: ["newest", "late"] },
  { name: "the oldest in the window is late", counters: [1023, 0], expected: ["newest", "late"] },
  { name: "one before the window was seen", counters: [1024, 0], expected: ["newest", "seen"] },
  {
    name: "a jump beyond the window forgets what was before",
    counters: [1, 5000, 4999, 4999],
    expected: ["newest", "newest", "late", "seen"],
  },
]) {
  test(name, () => {
    const window = new ReplayWindow();
    expect(counters.map((counter) => window.note(counter))).toEqual(expected);
  });
}
