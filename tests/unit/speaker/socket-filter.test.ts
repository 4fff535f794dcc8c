import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { address, type Address } from "../../../packet/address/address.ts";
import { ipv4FromNumber } from "../../../packet/address/ipv4.ts";
import { BPF, type BpfProgram } from "../../../packet/wire/bpf.ts";
import { compileFilter, MIN_FILTER_INSTRUCTIONS } from "../../../packet/wire/filter.ts";
import {
  COMPILE_HERE,
  MAX_FILTER_PROGRAMS,
  SETTLE_ELSEWHERE_MS,
  SETTLE_MS,
  SocketFilter,
  type FilterJob,
} from "../../../speaker/socket-filter.ts";
import { runBpf } from "../../support/bpf.ts";
import { arpRequestFor } from "./frames.ts";

const EVERYTHING: BpfProgram = [{ code: BPF.RET, jt: 0, jf: 0, k: 0x40000 }];
const REFUSE_ALL: BpfProgram = [{ code: BPF.RET, jt: 0, jf: 0, k: 0 }];

/** A socket whose kernel has room for so many instructions. */
class Socket {
  readonly everything = EVERYTHING;
  readonly jobs: FilterJob[] = [];
  attached: readonly BpfProgram[] = [EVERYTHING];
  /** The longest program of each attempt. */
  attempts: number[] = [];
  refusals = 0;
  room: number;

  constructor(room = 4096) {
    this.room = room;
  }

  attach(programs: readonly BpfProgram[]): boolean {
    const longest = Math.max(...programs.map(({ length }) => length));
    this.attempts.push(longest);
    if (longest > this.room) return false;
    this.attached = programs;
    return true;
  }

  compileElsewhere(job: FilterJob): void {
    this.jobs.push(job);
  }

  refused(): void {
    this.refusals++;
  }

  passes(target: Address): boolean {
    return this.attached.some((program) => runBpf(program, arpRequestFor(target)).keep > 0);
  }
}

/** Answers the last job. */
function answer(filter: SocketFilter, socket: Socket, now: number): void {
  const job = socket.jobs.at(-1)!;
  const { programs, exact } = compileFilter(job.addresses, job.budget);
  filter.take(job.id, programs, exact, now);
}

const one = address("192.0.2.1");
const two = address("192.0.2.2");
const other = address("192.0.2.99");
/** Addresses far apart: no two in one range. */
const scattered = (count: number): Address[] =>
  Array.from({ length: count }, (_, i) => ipv4FromNumber(0x0a000000 + 37 * i));
const many = scattered(COMPILE_HERE + 1);

describe("the filter of a socket", () => {
  test("of no addresses lets nothing through", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    expect(filter.precision).toBe("open");
    filter.change([], [], 0);
    expect([filter.precision, filter.dueAt]).toEqual(["exact", undefined]);
    expect(socket.passes(one)).toBe(false);
  });

  test("is compiled at once for the first address, and lets only that through", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([one], [], 0);
    expect([filter.precision, filter.dueAt, socket.attempts.length]).toEqual([
      "exact",
      undefined,
      1,
    ]);
    expect([socket.passes(one), socket.passes(two)]).toEqual([true, false]);
  });

  test("is opened for changes in a row and compiled once when they are over", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([one], [], 0);
    filter.change([two], [], 1);
    expect([filter.precision, filter.dueAt]).toEqual(["open", 1 + SETTLE_MS]);
    expect([socket.passes(one), socket.passes(two)]).toEqual([true, true]);
    filter.change([other], [], 3);
    filter.wake(1 + SETTLE_MS);
    expect(filter.precision).toBe("open");
    filter.wake(3 + SETTLE_MS);
    expect([filter.precision, filter.dueAt]).toEqual(["exact", undefined]);
    expect(socket.attempts.length).toBe(3);
  });

  test("is narrowed when an address is taken out", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([one, two], [], 0);
    filter.change([], [two], 100);
    expect([filter.precision, socket.passes(one), socket.passes(two)]).toEqual([
      "exact",
      true,
      false,
    ]);
  });

  test("is not opened for an address that it lets through still", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([one, two], [], 0);
    filter.change([], [two], 1);
    filter.change([two], [], 2);
    expect([filter.precision, socket.passes(two)]).toEqual(["exact", true]);
    filter.wake(2 + SETTLE_MS);
    expect([filter.precision, socket.passes(two)]).toEqual(["exact", true]);
  });

  test("of a large set is opened, compiled elsewhere, and attached when it comes back", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([], [], 0);
    filter.change(many, [], 100);
    expect([filter.precision, socket.jobs.length]).toEqual(["open", 0]);
    filter.wake(100 + SETTLE_ELSEWHERE_MS);
    expect([filter.precision, socket.jobs.length]).toEqual(["open", 1]);
    answer(filter, socket, 300);
    expect([filter.precision, filter.dueAt]).toEqual(["exact", undefined]);
    expect([socket.passes(many[7]!), socket.passes(other)]).toEqual([true, false]);
  });

  test("that comes back too late for an address is compiled once more", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change(many, [], 100);
    filter.wake(100 + SETTLE_ELSEWHERE_MS);
    filter.change([other], [], 200);
    answer(filter, socket, 210);
    expect([filter.precision, socket.passes(other)]).toEqual(["open", true]);
    filter.wake(200 + SETTLE_ELSEWHERE_MS);
    expect(socket.jobs.length).toBe(2);
    answer(filter, socket, 300);
    expect([filter.precision, socket.passes(other)]).toEqual(["exact", true]);
  });

  test("asks for one compilation at a time", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change(many, [], 100);
    filter.wake(100 + SETTLE_ELSEWHERE_MS);
    filter.change([other], [], 200);
    filter.wake(200 + SETTLE_ELSEWHERE_MS);
    expect([socket.jobs.length, filter.dueAt]).toEqual([1, 200 + 2 * SETTLE_ELSEWHERE_MS]);
  });

  test("ignores an answer that it waits for no longer", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change(many, [], 100);
    filter.wake(100 + SETTLE_ELSEWHERE_MS);
    filter.change([], many.slice(1), 500);
    filter.wake(500 + SETTLE_MS);
    expect(filter.precision).toBe("exact");
    filter.take(1, [REFUSE_ALL], true, 600);
    expect(socket.passes(many[0]!)).toBe(true);
  });

  test("for which one program has no room is spread over several, and stays exact", () => {
    const socket = new Socket(1000);
    const filter = new SocketFilter(socket);
    const addresses = scattered(5000);
    filter.change(addresses, [], 100);
    filter.wake(100 + SETTLE_ELSEWHERE_MS);
    while (filter.precision === "open") answer(filter, socket, 200);
    expect(filter.precision).toBe("exact");
    expect(socket.attached.length).toBeGreaterThan(5);
    expect(addresses.every((each) => socket.passes(each))).toBe(true);
    expect(socket.passes(ipv4FromNumber(0x0a000001))).toBe(false);
  });

  test("for which the kernel has no room is compiled coarser until it has", () => {
    const socket = new Socket(MIN_FILTER_INSTRUCTIONS + 100);
    const filter = new SocketFilter(socket);
    const addresses = scattered(400 * MAX_FILTER_PROGRAMS);
    filter.change(addresses, [], 100);
    filter.wake(100 + SETTLE_ELSEWHERE_MS);
    while (filter.precision === "open") answer(filter, socket, 200);
    expect(filter.precision).toBe("covering");
    expect(socket.attached.map(({ length }) => length <= socket.room)).toEqual([true]);
    expect(addresses.every((each) => socket.passes(each))).toBe(true);
    // What was learnt is kept.
    const jobs = socket.jobs.length;
    filter.change([other], [], 1000);
    filter.wake(1000 + SETTLE_ELSEWHERE_MS);
    answer(filter, socket, 1200);
    expect([filter.precision, socket.jobs.length]).toEqual(["covering", jobs + 1]);
  });

  test("stays open when the kernel has no room for any", () => {
    const socket = new Socket(10);
    const filter = new SocketFilter(socket);
    filter.change([one], [], 0);
    filter.wake(SETTLE_MS);
    expect([filter.precision, socket.passes(one), socket.refusals]).toEqual(["open", true, 0]);
  });

  test("tells when not even everything can be let through, and tries again", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([one], [], 0);
    socket.room = 0;
    filter.change([two], [], 100);
    filter.wake(filter.dueAt!);
    expect(socket.refusals).toBeGreaterThan(0);
    socket.room = 4096;
    filter.wake(filter.dueAt!);
    expect([filter.precision, socket.passes(two)]).toEqual(["exact", true]);
  });

  test("is made anew after a reset", () => {
    const socket = new Socket();
    const filter = new SocketFilter(socket);
    filter.change([one], [], 0);
    socket.attached = [EVERYTHING];
    filter.reset(100);
    filter.wake(100 + SETTLE_MS);
    expect([filter.precision, socket.passes(two)]).toEqual(["exact", false]);
  });
});

type Op =
  | { readonly kind: "change"; readonly add: readonly number[]; readonly remove: readonly number[] }
  | { readonly kind: "time"; readonly ms: number }
  | { readonly kind: "answer" };

const index = fc.nat(3 * COMPILE_HERE);
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    kind: fc.constant("change" as const),
    add: fc.oneof(fc.array(index, { maxLength: 3 }), fc.uniqueArray(index, { minLength: 60 })),
    remove: fc.oneof(fc.array(index, { maxLength: 3 }), fc.uniqueArray(index, { minLength: 60 })),
  }),
  fc.record({ kind: fc.constant("time" as const), ms: fc.nat(80) }),
  fc.record({ kind: fc.constant("answer" as const) }),
);

test("whatever comes in which order, no address that is in is ever shut out, and in the end no other is let in", () => {
  const addresses = scattered(3 * COMPILE_HERE + 1);
  fc.assert(
    fc.property(fc.array(op, { maxLength: 40 }), fc.constantFrom(4096, 400, 8), (ops, room) => {
      const socket = new Socket(room);
      const filter = new SocketFilter(socket);
      filter.change([], [], 0);
      const wanted = new Set<Address>();
      let now = 0;
      const run = (each: Op): void => {
        if (each.kind === "answer" && socket.jobs.length > 0) answer(filter, socket, now);
        if (each.kind === "time") {
          now += each.ms;
          filter.wake(now);
        }
        if (each.kind !== "change") return;
        const removed = each.remove.map((i) => addresses[i]!);
        const added = each.add.map((i) => addresses[i]!);
        for (const gone of removed) wanted.delete(gone);
        for (const came of added) wanted.add(came);
        filter.change(added, removed, now);
      };
      for (const each of ops) {
        run(each);
        for (const held of wanted) expect(socket.passes(held)).toBe(true);
      }
      for (let i = 0; i < 20; i++) {
        run({ kind: "time", ms: 200 });
        run({ kind: "answer" });
      }
      expect(filter.dueAt).toBeUndefined();
      const passing = addresses.filter((each) => socket.passes(each));
      if (filter.precision === "exact") expect(new Set(passing)).toEqual(wanted);
      else expect(room).toBeLessThan(4096);
    }),
    { numRuns: 60 },
  );
});
