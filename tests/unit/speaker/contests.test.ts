import { expect, test } from "@jest/globals";
import type { Address } from "../../../packet/address/address.ts";
import { makeClaim, type HeldClaim } from "../../../speaker/claims.ts";
import { Contests } from "../../../speaker/contests.ts";
import { Outbox, type Context } from "../../../speaker/context.ts";
import type { Contest, Versions } from "../../../speaker/messages.ts";

const A = "192.0.2.1" as Address;
const OLD: Versions = [1n, 1n, 1n, 1n];
const NEW: Versions = [2n, 1n, 1n, 1n];

function setUp(liveCount = 4) {
  const shared = { now: 0, outbox: new Outbox(), versions: OLD, roster: { liveCount } };
  const context = shared as unknown as Context;
  return { context, contests: new Contests(context) };
}

const holder = (address: Address): HeldClaim => {
  const fields = { address, life: "f".repeat(32), version: 1, term: 1 };
  const claim = makeClaim({ ...fields, firm: true, giving: false, released: false });
  return { claim, node: "b" };
};
const gone = (versions: Versions): Contest => ({
  type: "contest",
  address: A,
  absent: true,
  versions,
});

/** Runs for so long and gives when contests were sent. */
function sentIn(duration: number, contests: Contests, context: Context): number[] {
  const times: number[] = [];
  for (const end = context.now + duration; context.now < end; context.now += 100) {
    contests.run(holder);
    for (const { messages } of context.outbox.take())
      for (const _message of messages) times.push(context.now);
  }
  return times;
}

test.each([
  ["wrong", 5_000],
  ["gone", 30_000],
] as const)(
  "a complaint that the holder is %s waits, and comes ever more seldom",
  (complaint, wait) => {
    const { contests, context } = setUp();
    contests.note(A, complaint, true);
    const times = sentIn(400_000, contests, context);
    expect(times[0]).toBe(wait);
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    expect(gaps.slice(0, 6)).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000]);
    expect(Math.max(...gaps)).toBe(60_000);
  },
);

test("what is not so any more is not complained of", () => {
  const { contests, context } = setUp();
  contests.note(A, "wrong", true);
  contests.note(A, "gone", false);
  expect(sentIn(6_000, contests, context)).toEqual([5_000]);
  contests.note(A, "wrong", false);
  expect(sentIn(100_000, contests, context)).toEqual([]);
  expect(contests.nextAt).toBe(Infinity);
});

test("a newer view, or another holder, is worth another try at once", () => {
  const { contests, context } = setUp();
  contests.note(A, "wrong", true);
  sentIn(100_000, contests, context);
  context.versions = NEW;
  expect(sentIn(4_000, contests, context)).toEqual([100_000, 101_000, 103_000]);
  sentIn(100_000, contests, context);
  contests.run((address) => ({ ...holder(address), node: "c" }));
  expect([...context.outbox.take()].map(({ to }) => to)).toEqual(["c"]);
});

test("a complaint that turns into another begins anew", () => {
  const { contests, context } = setUp();
  contests.note(A, "gone", true);
  contests.note(A, "wrong", true);
  contests.note(A, "gone", false);
  expect(sentIn(6_000, contests, context)).toEqual([5_000]);
});

test("thousands of complaints leave in portions, and each does", () => {
  const { contests, context } = setUp();
  for (let i = 0; i < 1000; i++)
    contests.note(`10.0.${i >> 8}.${i & 255}` as Address, "wrong", true);
  const times = sentIn(20_000, contests, context);
  expect(times.filter((time) => time < 6_000)).toHaveLength(200);
  expect(times.length).toBeGreaterThanOrEqual(1000);
});

test("an older or equal view contests nothing", () => {
  const { contests, context } = setUp();
  expect(contests.judge("b", { ...gone(OLD), absent: false })).toBeUndefined();
  expect(contests.judge("b", { ...gone(NEW), absent: false })).toBe("wrong");
  context.versions = [3n, 0n, 1n, 1n];
  expect(contests.judge("b", { ...gone(NEW), absent: false })).toBeUndefined();
});

test("an address is gone on the word of two, both of them late enough", () => {
  const { contests, context } = setUp();
  expect(contests.judge("b", gone(NEW))).toBeUndefined();
  expect(contests.judge("b", gone(NEW))).toBeUndefined();
  context.now = 3_600_000;
  expect(contests.judge("c", gone(NEW))).toBeUndefined();
  context.now += 60_000;
  expect(contests.isBarred(A)).toBe(false);
  expect(contests.judge("b", gone(NEW))).toBe("gone");
  expect(contests.isBarred(A)).toBe(true);
  expect([...contests.barred()]).toEqual([A]);
  context.versions = NEW;
  expect(contests.isBarred(A)).toBe(false);
});

test("of two speakers one is enough", () => {
  const { contests } = setUp(2);
  expect(contests.judge("b", gone(NEW))).toBe("gone");
  contests.forget(A);
  expect(contests.isBarred(A)).toBe(false);
});
