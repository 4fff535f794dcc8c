import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Family } from "../../../packet/address/address.ts";
import type { MacAddress } from "../../../packet/address/mac.ts";
import {
  BURST_MS,
  DEFEND_INTERVAL_MS,
  IDLE,
  MAX_NEIGHBOR_ADVERTISEMENT,
  PROBE_MAX_MS,
  PROBE_MIN_MS,
  RATE_LIMIT_INTERVAL_MS,
  REFRESH_INTERVAL_MS,
  RETRANS_TIMER_MS,
  stepAnnouncer,
  tableState,
  type AnnouncerAction,
  type AnnouncerContext,
  type AnnouncerEvent,
  type AnnouncerState,
} from "../../../speaker/announcer.ts";

const intruder = "02:00:00:00:00:66" as MacAddress;
const other = "02:00:00:00:00:67" as MacAddress;
const conflict = { kind: "conflict", mac: intruder } as const;

/** Runs an announcer under a virtual clock: events at their times, `wake` whenever it asks. */
function run(
  family: Family,
  events: readonly (readonly [number, AnnouncerEvent])[],
  until: number,
  random: () => number = () => 0.5,
): { log: [number, string][]; state: AnnouncerState } {
  const context: AnnouncerContext = { family, random };
  const log: [number, string][] = [];
  let state = IDLE;
  let wakeAt: number | undefined;
  const step = (event: AnnouncerEvent, now: number): void => {
    const next = stepAnnouncer(state, event, now, context);
    log.push(...next.actions.map((action): [number, string] => [now, describeAction(action)]));
    ({ state, wakeAt } = next);
  };
  const wakeUntil = (time: number): void => {
    while (wakeAt !== undefined && wakeAt <= time) {
      const before = wakeAt;
      step({ kind: "wake" }, wakeAt);
      expect(wakeAt).not.toBe(before);
    }
  };
  for (const [time, event] of events) {
    wakeUntil(time);
    step(event, time);
  }
  wakeUntil(until);
  return { log, state };
}

function describeAction(action: AnnouncerAction): string {
  return action.kind === "send" ? action.what : action.kind;
}

const sent = (log: readonly [number, string][], what: string): number[] =>
  log.filter(([, action]) => action === what).map(([time]) => time);

describe("at a takeover", () => {
  test("ARP is announced at once, again soon, and then beyond Linux's locktime", () => {
    const { log } = run("ipv4", [[0, { kind: "announce" }]], 10_000);
    expect(log).toEqual([0, 200, 1300, 2400, 4400].map((time) => [time, "announcement"]));
  });

  test("Neighbor Advertisements go out three times, RetransTimer apart (RFC 4861 §7.2.6)", () => {
    const { log } = run("ipv6", [[0, { kind: "announce" }]], 10_000);
    expect(log).toEqual([0, 1100, 2200].map((time) => [time, "announcement"]));
    expect(BURST_MS.ipv6.length).toBeLessThanOrEqual(MAX_NEIGHBOR_ADVERTISEMENT);
  });

  test("the burst holds two announcements at least 2 s apart (RFC 5227 §2.3)", () => {
    expect(Math.max(...BURST_MS.ipv4) - Math.min(...BURST_MS.ipv4)).toBeGreaterThanOrEqual(2000);
  });

  test("a refresh follows for ever, with jitter, more often than switches forget", () => {
    for (const random of [0, 0.5, 0.999]) {
      const { log } = run("ipv4", [[0, { kind: "announce" }]], 1_000_000, () => random);
      const times = sent(log, "refresh");
      expect(times.length).toBeGreaterThanOrEqual(8);
      const gaps = times.map((time, i) => time - (times[i - 1] ?? 4400));
      for (const gap of gaps) {
        expect(gap).toBeCloseTo(REFRESH_INTERVAL_MS * (1 - 0.25 * random), 3);
      }
    }
  });

  test("the refresh interval can be told", () => {
    const context = { family: "ipv4", random: () => 0, refreshIntervalMs: 7000 } as const;
    let step = stepAnnouncer(IDLE, { kind: "announce" }, 0, context);
    for (let i = 0; i < 5; i++) {
      step = stepAnnouncer(step.state, { kind: "wake" }, step.wakeAt ?? 0, context);
    }
    expect(step).toMatchObject({ wakeAt: 4400 + 7000 + 7000 });
  });

  test("a shorter refresh interval counts at once, a longer one from the next announcement on", () => {
    const told = (refreshIntervalMs: number) =>
      ({ family: "ipv4", random: () => 0.5, refreshIntervalMs }) as const;
    let step = stepAnnouncer(IDLE, { kind: "announce" }, 0, told(3_600_000));
    const inBurst = stepAnnouncer(step.state, { kind: "reschedule" }, 100, told(10_000));
    expect(inBurst).toEqual({ state: step.state, actions: [], wakeAt: 200 });
    for (let i = 0; i < 4; i++)
      step = stepAnnouncer(step.state, { kind: "wake" }, step.wakeAt ?? 0, told(3_600_000));
    const { wakeAt = 0 } = step;
    expect(wakeAt).toBeGreaterThan(3_000_000);
    const shorter = stepAnnouncer(step.state, { kind: "reschedule" }, 60_000, told(10_000));
    expect(shorter).toMatchObject({ actions: [], wakeAt: 65_000 });
    const longer = stepAnnouncer(shorter.state, { kind: "reschedule" }, 60_000, told(3_600_000));
    expect(longer.wakeAt).toBe(65_000);
  });

  test("a late wake sends one announcement, not all that were missed", () => {
    const context: AnnouncerContext = { family: "ipv4", random: () => 0.5 };
    const { state } = stepAnnouncer(IDLE, { kind: "announce" }, 0, context);
    const late = stepAnnouncer(state, { kind: "wake" }, 60_000, context);
    expect(late).toMatchObject({
      actions: [{ kind: "send", what: "announcement" }],
      wakeAt: 61_100,
    });
  });

  test("an early wake does nothing", () => {
    const context: AnnouncerContext = { family: "ipv4", random: () => 0.5 };
    const { state } = stepAnnouncer(IDLE, { kind: "announce" }, 0, context);
    const early = stepAnnouncer(state, { kind: "wake" }, 199, context);
    expect(early).toEqual({ state, actions: [], wakeAt: 200 });
  });

  test("announcing again starts a new burst, at a distance from the last announcement", () => {
    const events = [
      [0, { kind: "announce" }],
      [50, { kind: "announce" }],
      [50_000, { kind: "announce" }],
    ] as const;
    expect(sent(run("ipv4", events, 52_500).log, "announcement")).toEqual([
      0, 200, 400, 1500, 2600, 4600, 50_000, 50_200, 51_300, 52_400,
    ]);
    expect(sent(run("ipv6", events, 51_200).log, "announcement")).toEqual([
      0, 1000, 2100, 3200, 50_000, 51_100,
    ]);
  });

  test("nothing is sent once withdrawn", () => {
    const events = [
      [0, { kind: "announce" }],
      [100, { kind: "withdraw" }],
    ] as const;
    expect(run("ipv4", events, 1_000_000).log).toEqual([[0, "announcement"]]);
  });
});

describe("before first use", () => {
  const full = { kind: "probe", pace: "full" } as const;

  test("ARP is probed three times, 1 to 2 s apart, and 2 s of silence mean free (RFC 5227 §2.1.1)", () => {
    const { log, state } = run("ipv4", [[0, full]], 1_000_000);
    expect(log).toEqual([
      [500, "probe"],
      [2000, "probe"],
      [3500, "probe"],
      [5500, "free"],
    ]);
    expect(state).toEqual({ phase: "free" });
  });

  test.each([
    [0, [0, PROBE_MIN_MS, 2 * PROBE_MIN_MS]],
    [0.999_999, [1000, 1000 + PROBE_MAX_MS, 1000 + 2 * PROBE_MAX_MS]],
  ])("the waits are random within their bounds (%d)", (random, times) => {
    const { log } = run("ipv4", [[0, full]], 1_000_000, () => random);
    for (const [i, time] of sent(log, "probe").entries())
      expect(time).toBeCloseTo(times[i] ?? NaN, 0);
  });

  test("IPv6 is probed once after a random wait, and RetransTimer of silence means free (RFC 4862 §5.4)", () => {
    expect(run("ipv6", [[0, full]], 1_000_000).log).toEqual([
      [500, "probe"],
      [500 + RETRANS_TIMER_MS, "free"],
    ]);
  });

  test.each(["ipv4", "ipv6"] as const)("%s in a hurry is in use after 100 ms", (family) => {
    const events = [
      [0, { kind: "probe", pace: "fast" }],
      [10, { kind: "announce" }],
    ] as const;
    expect(run(family, events, 150).log).toEqual([
      [0, "probe"],
      [30, "probe"],
      [60, "probe"],
      [100, "free"],
      [100, "announcement"],
    ]);
  });

  test("an address that becomes wanted while it is probed is probed faster from there", () => {
    const events = [
      [0, full],
      [600, { kind: "announce" }],
    ] as const;
    expect(run("ipv4", events, 700).log).toEqual([
      [500, "probe"],
      [600, "probe"],
      [630, "probe"],
      [670, "free"],
      [670, "announcement"],
    ]);
  });

  test.each([
    ["ipv4", 3600, 3600],
    ["ipv6", 520, 540],
  ] as const)("%s whose probes are all out waits 40 ms for answers at most", (family, at, use) => {
    const events = [
      [0, full],
      [at, { kind: "announce" }],
    ] as const;
    const { log } = run(family, events, use);
    expect(log.slice(-2)).toEqual([
      [use, "free"],
      [use, "announcement"],
    ]);
  });

  test("asking for speed alone hurries too", () => {
    const events = [
      [0, full],
      [0, { kind: "probe", pace: "fast" }],
    ] as const;
    expect(run("ipv4", events, 1000).log).toEqual([
      [0, "probe"],
      [30, "probe"],
      [60, "probe"],
      [100, "free"],
    ]);
  });

  test.each(["free", "announced"])("an address that is %s is not probed again (§2.1)", (phase) => {
    const first = phase === "free" ? full : ({ kind: "announce" } as const);
    const { log, state } = run(
      "ipv4",
      [
        [0, first],
        [20_000, full],
      ],
      100_000,
    );
    expect(state.phase).toBe(phase);
    expect(sent(log, "probe").filter((time) => time >= 20_000)).toEqual([]);
  });

  test("a free address is announced at once when it is wanted", () => {
    const events = [
      [0, full],
      [60_000, { kind: "announce" }],
    ] as const;
    expect(run("ipv4", events, 60_000).log.at(-1)).toEqual([60_000, "announcement"]);
  });

  test("a conflict ends it, and it is tried again after RATE_LIMIT_INTERVAL (§2.1.1)", () => {
    const events = [
      [0, full],
      [600, conflict],
      [700, { kind: "announce" }],
      [800, { kind: "conflict", mac: other }],
    ] as const;
    const { log, state } = run("ipv4", events, 600 + RATE_LIMIT_INTERVAL_MS + 5600);
    expect(log.slice(0, 3)).toEqual([
      [500, "probe"],
      [600, "taken"],
      [600 + RATE_LIMIT_INTERVAL_MS + 500, "probe"],
    ]);
    expect(log.slice(-2).map(([, what]) => what)).toEqual(["free", "announcement"]);
    expect(state.phase).toBe("announced");
  });

  test("a wake that comes late waits for the answers that are to be read first, not without end", () => {
    const context: AnnouncerContext = { family: "ipv4", random: () => 0.5 };
    const after = (lateness: number): string[] => {
      let step = stepAnnouncer(IDLE, { kind: "probe", pace: "fast" }, 0, context);
      const seen: string[] = [];
      for (let i = 0; i < 30 && step.wakeAt !== undefined; i++) {
        step = stepAnnouncer(step.state, { kind: "wake" }, step.wakeAt + lateness, context);
        seen.push(...step.actions.map(describeAction), "wake");
      }
      return seen;
    };
    const wakes = (seen: readonly string[]): number =>
      seen.filter((each) => each === "wake").length;
    expect(wakes(after(0))).toBe(3);
    expect(wakes(after(20))).toBe(3);
    expect(wakes(after(21))).toBe(23);
    expect(after(21).slice(-2)).toEqual(["free", "wake"]);
    // An answer that is read meanwhile counts.
    const probed = stepAnnouncer(IDLE, { kind: "probe", pace: "fast" }, 0, context);
    let { state } = probed;
    for (const now of [30, 60, 500])
      ({ state } = stepAnnouncer(state, { kind: "wake" }, now, context));
    expect(stepAnnouncer(state, conflict, 505, context).actions).toEqual([
      { kind: "taken", mac: intruder },
    ]);
  });

  test("a conflict about a free address makes it taken", () => {
    const { state, log } = run(
      "ipv6",
      [
        [0, full],
        [10_000, conflict],
      ],
      10_000,
    );
    expect(state).toMatchObject({ phase: "taken", mac: intruder, wanted: false });
    expect(log.at(-1)).toEqual([10_000, "taken"]);
  });

  test("a conflict about an address that nobody wants is nothing", () => {
    expect(run("ipv4", [[0, conflict]], 1000)).toEqual({ log: [], state: IDLE });
  });
});

describe("in a conflict", () => {
  test("the address is defended at once, by one announcement (RFC 5227 §2.4)", () => {
    const events = [
      [0, { kind: "announce" }],
      [30_000, conflict],
    ] as const;
    expect(run("ipv4", events, 31_000).log.slice(-2)).toEqual([
      [30_000, "conflict"],
      [30_000, "defence"],
    ]);
  });

  test("but not twice within DEFEND_INTERVAL, however often it is claimed (§2.4 (c))", () => {
    const claims = Array.from({ length: 300 }, (_, i) => [30_000 + i * 100, conflict] as const);
    const { log } = run("ipv4", [[0, { kind: "announce" }], ...claims], 60_000);
    expect(sent(log, "defence")).toEqual([30_000, 40_000, 50_000]);
    expect(sent(log, "conflict")).toEqual([30_000]);
  });

  test("it is over after 30 s of quiet, and a later one is reported again", () => {
    const events = [
      [0, { kind: "announce" }],
      [30_000, conflict],
      [35_000, conflict],
      [90_000, conflict],
    ] as const;
    const { log } = run("ipv4", events, 91_000);
    expect(log.filter(([, what]) => what.startsWith("conflict"))).toEqual([
      [30_000, "conflict"],
      [65_000, "conflictOver"],
      [90_000, "conflict"],
    ]);
  });

  test("a second claimant is reported with the next defence, not frame by frame", () => {
    const claims = Array.from(
      { length: 30 },
      (_, i) =>
        [30_000 + i * 500, { kind: "conflict", mac: i % 2 === 0 ? intruder : other }] as const,
    );
    const { log } = run("ipv4", [[0, { kind: "announce" }], ...claims], 50_000);
    expect(sent(log, "conflict").length).toBeLessThanOrEqual(2);
  });

  test("IPv6 defends no sooner than RetransTimer after its last advertisement", () => {
    const events = [
      [0, { kind: "announce" }],
      [100, conflict],
    ] as const;
    expect(run("ipv6", events, 3000).log).toEqual([
      [0, "announcement"],
      [100, "conflict"],
      [1000, "announcement"],
      [2100, "announcement"],
    ]);
    const later = run(
      "ipv6",
      [
        [0, { kind: "announce" }],
        [9000, conflict],
      ],
      9000,
    );
    expect(later.log.slice(-1)).toEqual([[9000, "defence"]]);
  });
});

test("the responder's table answers only for what is announced", () => {
  const states = [
    run("ipv4", [], 0).state,
    run("ipv4", [[0, { kind: "probe", pace: "full" }]], 0).state,
    run("ipv4", [[0, { kind: "probe", pace: "full" }]], 60_000).state,
    run(
      "ipv4",
      [
        [0, { kind: "probe", pace: "full" }],
        [1, conflict],
      ],
      1,
    ).state,
    run("ipv4", [[0, { kind: "announce" }]], 0).state,
  ];
  expect(states.map(tableState)).toEqual([undefined, "probing", "probing", "probing", "announced"]);
});

describe("whatever happens", () => {
  const event = fc.oneof(
    fc.constant<AnnouncerEvent>({ kind: "announce" }),
    fc.constant<AnnouncerEvent>({ kind: "withdraw" }),
    fc.constant<AnnouncerEvent>({ kind: "wake" }),
    fc.constantFrom<AnnouncerEvent>(conflict, { kind: "conflict", mac: other }),
    fc.constantFrom<AnnouncerEvent>(
      { kind: "probe", pace: "full" },
      { kind: "probe", pace: "fast" },
    ),
  );
  const history = fc.array(fc.tuple(fc.oneof(fc.nat(50), fc.nat(5000), fc.nat(90_000)), event), {
    maxLength: 40,
  });
  const parameters = fc.tuple(
    fc.constantFrom<Family>("ipv4", "ipv6"),
    history,
    fc.double({ min: 0, max: 0.999_999, noNaN: true }),
  );
  /** Histories with the times added up; a withdrawal begins anew, so it is left out here. */
  const played = (
    [family, steps, random]: [Family, [number, AnnouncerEvent][], number],
    withdrawals: boolean,
  ): { family: Family; log: [number, string][] } => {
    let now = 0;
    const events = steps
      .filter(([, { kind }]) => withdrawals || kind !== "withdraw")
      .map(([wait, each]) => [(now += wait), each] as const);
    return { family, log: run(family, events, now + 300_000, () => random).log };
  };
  const announcing = ["announcement", "refresh", "defence"];

  test("two announcements are never closer than the interval, and what is announced is not probed", () => {
    fc.assert(
      fc.property(parameters, (all) => {
        const { family, log } = played(all, false);
        const times = log.filter(([, what]) => announcing.includes(what));
        const least = family === "ipv4" ? 200 : RETRANS_TIMER_MS;
        for (const [i, [time, what]] of times.entries()) {
          const before = times[i - 1];
          // The one exception: RFC 5227 §2.4 wants ARP defended without delay.
          if (before !== undefined && !(family === "ipv4" && what === "defence")) {
            expect(time - before[0]).toBeGreaterThanOrEqual(least);
          }
        }
        const first = log.findIndex(([, what]) => what === "announcement");
        if (first >= 0) expect(sent(log.slice(first), "probe")).toEqual([]);
        const defences = sent(log, "defence");
        for (const [i, time] of defences.entries()) {
          if (i > 0)
            expect(time - (defences[i - 1] ?? 0)).toBeGreaterThanOrEqual(DEFEND_INTERVAL_MS);
        }
      }),
    );
  });

  test("it never wakes without end", () => {
    fc.assert(
      fc.property(parameters, (all) => {
        const { log } = played(all, true);
        expect(log.length).toBeLessThan(1000);
      }),
    );
  });
});
