/**
 * The announcer: one state machine an address. It decides when to probe, to announce, to repeat and
 * to defend; the shell sends the frames (`announcementFrames` of `packet/wire`), keeps the timer and moves the
 * address in the responder's table between `probing` and `announced`.
 *
 * - Nothing is sent for an address before `announce`, but probes.
 * - Two announcements of an address are never closer than the schedule says; a defence is at most
 *   one in {@link DEFEND_INTERVAL_MS}, so that two hosts that both insist do not flood the link
 *   (RFC 5227 §2.4).
 * - Addresses of Services are not given up to a stranger: RFC 5227 §2.4 (c). The conflict is
 *   reported, and reported as over when it has been quiet.
 */
import type { Family } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { Announcement } from "../packet/wire/announcement.ts";
import type { AnnouncedAddress } from "./responder.ts";

/** Longest random wait before the first probe (RFC 5227 §1.1). */
export const PROBE_WAIT_MS = 1000;
/** ARP Probes (RFC 5227 §1.1). */
export const PROBE_NUM = 3;
/** Shortest and longest time between two ARP Probes (RFC 5227 §1.1). */
export const PROBE_MIN_MS = 1000;
/** See {@link PROBE_MIN_MS}. */
export const PROBE_MAX_MS = 2000;
/** From the last ARP Probe to the first use of the address (RFC 5227 §1.1). */
export const ANNOUNCE_WAIT_MS = 2000;
/** At most one defence in this time (RFC 5227 §1.1). */
export const DEFEND_INTERVAL_MS = 10_000;
/** Between two attempts to use an address that others use (RFC 5227 §1.1). */
export const RATE_LIMIT_INTERVAL_MS = 60_000;
/** Longest random wait before duplicate address detection (RFC 4861 §10, RFC 4862 §5.4.2). */
export const MAX_RTR_SOLICITATION_DELAY_MS = 1000;
/** Solicitations of duplicate address detection, DupAddrDetectTransmits (RFC 4862 §5.1). */
export const DUP_ADDR_DETECT_TRANSMITS = 1;
/** RetransTimer: between two solicitations or unsolicited advertisements (RFC 4861 §10). */
export const RETRANS_TIMER_MS = 1000;
/** Unsolicited advertisements in a row (RFC 4861 §10). */
export const MAX_NEIGHBOR_ADVERTISEMENT = 3;

/**
 * Probing for an address that is waited for: three probes, 30 ms apart, and use 40 ms after the
 * last. Shorter than RFC 5227 §2.1.1 and RFC 4862 §5.4 say; the link is listened to all the while
 * and after (§2.4), so that what comes later than that is still seen.
 */
export const FAST_PROBE_INTERVAL_MS = 30;
/** See {@link FAST_PROBE_INTERVAL_MS}. */
export const FAST_ANNOUNCE_WAIT_MS = 40;
const FAST_PROBE_NUM = 3;

/**
 * When a burst announces, from its start. The second one soon, for a lost frame; the others more
 * than Linux's locktime (1 s) after one another, for neighbours that take no second change within
 * it. RFC 5227 §2.3 asks for two, 2 s apart: these are more. RFC 4861 §7.2.6 allows three
 * advertisements, at least RetransTimer apart.
 */
export const BURST_MS: Readonly<Record<Family, readonly number[]>> = {
  ipv4: [0, 200, 1300, 2400, 4400],
  ipv6: [0, 1100, 2200],
};

/**
 * A wake that comes so late comes before the answers that have arrived meanwhile are read: they are
 * waited for, so often at most.
 */
const LATE_MS = 20;
const LATE_WAIT_MS = 10;
const LATE_WAITS = 20;

/** From one refresh to the next, unless told otherwise: below the ageing of switches (300 s). */
export const REFRESH_INTERVAL_MS = 120_000;
/** The part of the refresh interval that is random, so that thousands of them spread out. */
const REFRESH_JITTER = 0.25;
/** After so long without another claim a conflict is over. */
export const CONFLICT_QUIET_MS = 3 * DEFEND_INTERVAL_MS;

/** How carefully an address is probed: to the letter, or for one that is waited for. */
export type Pace = "full" | "fast";

/** An address that nobody wants announced here. */
export interface IdleState {
  readonly phase: "idle";
}

/** An address is asked for on the link before its first use. */
export interface ProbingState {
  readonly phase: "probing";
  readonly pace: Pace;
  readonly sent: number;
  readonly lastSentAt: number | undefined;
  /** When the next probe goes out, or, after the last one, when the address is free. */
  readonly nextAt: number;
  /** Whether to announce as soon as the address is known to be free. */
  readonly wanted: boolean;
  /** How often the end was put off because the wake came late. */
  readonly late?: number;
}

/** Probed, free, and not wanted yet. */
export interface FreeState {
  readonly phase: "free";
}

/** Another host has the address: it is tried again later, if it is wanted. */
export interface TakenState {
  readonly phase: "taken";
  readonly mac: MacAddress;
  readonly retryAt: number;
  readonly wanted: boolean;
}

/** The address is ours. */
export interface AnnouncedState {
  readonly phase: "announced";
  /** Announcements of the burst that went out. */
  readonly sent: number;
  readonly lastSentAt: number;
  readonly nextAt: number;
  readonly conflict?: OngoingConflict;
}

/** Another host claims an address that we announce. */
export interface OngoingConflict {
  readonly mac: MacAddress;
  readonly lastSeenAt: number;
  readonly defendedAt: number;
}

/** What is known about one address. Begin with {@link IDLE}. */
export type AnnouncerState = IdleState | ProbingState | FreeState | TakenState | AnnouncedState;

/** The state of an address that nobody asked for. */
export const IDLE: AnnouncerState = { phase: "idle" };

/** What happens to an address. */
export type AnnouncerEvent =
  /** The cluster is to use the address for the first time: ask whether it is free. */
  | { readonly kind: "probe"; readonly pace: Pace }
  /** The address is ours from now on, or is to be told anew (an interface came up). */
  | { readonly kind: "announce" }
  /** The responder saw another host with the address. */
  | { readonly kind: "conflict"; readonly mac: MacAddress }
  /** The refresh interval has become another. */
  | { readonly kind: "reschedule" }
  /** The address is ours no longer. */
  | { readonly kind: "withdraw" }
  /** The time that `wakeAt` named has come. */
  | { readonly kind: "wake" };

/** What the shell has to do, in this order. */
export type AnnouncerAction =
  | { readonly kind: "send"; readonly what: Announcement }
  /** No other host has the address. */
  | { readonly kind: "free" }
  /** Another host has the address that was probed: it cannot be used. */
  | { readonly kind: "taken"; readonly mac: MacAddress }
  /** Another host claims the address that we announce. */
  | { readonly kind: "conflict"; readonly mac: MacAddress }
  /** It has stopped. */
  | { readonly kind: "conflictOver"; readonly mac: MacAddress };

/** What a step gives. */
export interface AnnouncerStep {
  readonly state: AnnouncerState;
  readonly actions: readonly AnnouncerAction[];
  /** When to come back with `wake`, in the milliseconds of `now`; undefined: not at all. */
  readonly wakeAt: number | undefined;
}

/** What a step depends on beside the event. */
export interface AnnouncerContext {
  readonly family: Family;
  /** A number from 0 up to 1, evenly spread. */
  readonly random: () => number;
  /** Milliseconds from one refresh to the next. */
  readonly refreshIntervalMs?: number;
}

/** A state and what to do on entering it. */
type Change = readonly [AnnouncerState, ...AnnouncerAction[]];

/**
 * Takes an event, at a time, to the next state. Waking early does nothing, waking late loses
 * nothing but time: what was missed is not sent all at once.
 * @param now milliseconds of a clock that never goes back.
 */
export function stepAnnouncer(
  state: AnnouncerState,
  event: AnnouncerEvent,
  now: number,
  context: AnnouncerContext,
): AnnouncerStep {
  const [next, ...actions] = change(state, event, now, context);
  return { state: next, actions, wakeAt: wakeAt(next) };
}

function change(
  state: AnnouncerState,
  event: AnnouncerEvent,
  now: number,
  context: AnnouncerContext,
): Change {
  switch (event.kind) {
    case "probe":
      return probe(state, event.pace, now, context);
    case "announce":
      return announce(state, now, context);
    case "conflict":
      return meetConflict(state, event.mac, now, context);
    case "reschedule":
      return [reschedule(state, now, context)];
    case "withdraw":
      return [IDLE];
    case "wake":
      return wake(state, now, context);
  }
}

function wakeAt(state: AnnouncerState): number | undefined {
  switch (state.phase) {
    case "probing":
      return state.nextAt;
    case "taken":
      return state.retryAt;
    case "announced":
      return Math.min(state.nextAt, conflictEnd(state));
    case "idle":
    case "free":
      return undefined;
  }
}

function conflictEnd(state: AnnouncedState): number {
  return state.conflict === undefined ? Infinity : state.conflict.lastSeenAt + CONFLICT_QUIET_MS;
}

/** An address in use, or known to be free or taken, is not probed again as a matter of course. */
function probe(state: AnnouncerState, pace: Pace, now: number, context: AnnouncerContext): Change {
  if (state.phase === "probing") return pace === "fast" ? [hurry(state, now, context)] : [state];
  if (state.phase !== "idle") return [state];
  return probeDue(startProbing(pace, now, false, context), now, context);
}

function startProbing(
  pace: Pace,
  now: number,
  wanted: boolean,
  { family, random }: AnnouncerContext,
): ProbingState {
  const longest = family === "ipv4" ? PROBE_WAIT_MS : MAX_RTR_SOLICITATION_DELAY_MS;
  const nextAt = pace === "fast" ? now : now + random() * longest;
  return { phase: "probing", pace, sent: 0, lastSentAt: undefined, nextAt, wanted };
}

/** Goes on at the fast pace, from what was sent already. */
function hurry(state: ProbingState, now: number, { family }: AnnouncerContext): ProbingState {
  const done = state.sent >= probesOf(state.pace, family);
  const after = done ? FAST_ANNOUNCE_WAIT_MS : FAST_PROBE_INTERVAL_MS;
  const soonest = state.lastSentAt === undefined ? now : Math.max(now, state.lastSentAt + after);
  const sent = done ? FAST_PROBE_NUM : state.sent;
  return { ...state, pace: "fast", sent, nextAt: Math.min(state.nextAt, soonest) };
}

function announce(state: AnnouncerState, now: number, context: AnnouncerContext): Change {
  switch (state.phase) {
    case "probing":
      return probeDue({ ...hurry(state, now, context), wanted: true }, now, context);
    case "taken":
      return [{ ...state, wanted: true }];
    case "announced":
      return announceAnew(state, now, context);
    case "idle":
    case "free":
      return startBurst(now, context);
  }
}

function startBurst(now: number, { family }: AnnouncerContext): Change {
  const nextAt = now + (BURST_MS[family][1] ?? 0);
  const state = { phase: "announced", sent: 1, lastSentAt: now, nextAt } as const;
  return [state, { kind: "send", what: "announcement" }];
}

/** A new burst, whose first announcement keeps its distance from the last one sent. */
function announceAnew(state: AnnouncedState, now: number, context: AnnouncerContext): Change {
  const nextAt = Math.max(now, state.lastSentAt + minimumGap(context.family));
  return announcementDue({ ...state, sent: 0, nextAt }, now, context);
}

function minimumGap(family: Family): number {
  return family === "ipv4" ? (BURST_MS.ipv4[1] ?? 0) : RETRANS_TIMER_MS;
}

function wake(state: AnnouncerState, now: number, context: AnnouncerContext): Change {
  switch (state.phase) {
    case "probing":
      return probeDue(state, now, context);
    case "taken":
      if (now < state.retryAt) return [state];
      return probeDue(startProbing("full", now, state.wanted, context), now, context);
    case "announced":
      return announcementDue(state, now, context);
    case "idle":
    case "free":
      return [state];
  }
}

/** Sends the probe that is due, or finds the address free. */
function probeDue(state: ProbingState, now: number, context: AnnouncerContext): Change {
  if (now < state.nextAt) return [state];
  const probes = probesOf(state.pace, context.family);
  if (state.sent >= probes) {
    const late = state.late ?? 0;
    if (now - state.nextAt > LATE_MS && late < LATE_WAITS)
      return [{ ...state, late: late + 1, nextAt: now + LATE_WAIT_MS }];
    if (!state.wanted) return [{ phase: "free" }, { kind: "free" }];
    const [announced, ...actions] = startBurst(now, context);
    return [announced, { kind: "free" }, ...actions];
  }
  const sent = state.sent + 1;
  const wait =
    sent < probes ? betweenProbes(state.pace, context) : afterProbes(state.pace, context);
  const next: ProbingState = { ...state, sent, lastSentAt: now, nextAt: now + wait };
  return [next, { kind: "send", what: "probe" }];
}

function probesOf(pace: Pace, family: Family): number {
  if (pace === "fast") return FAST_PROBE_NUM;
  return family === "ipv4" ? PROBE_NUM : DUP_ADDR_DETECT_TRANSMITS;
}

function betweenProbes(pace: Pace, { family, random }: AnnouncerContext): number {
  if (pace === "fast") return FAST_PROBE_INTERVAL_MS;
  if (family === "ipv6") return RETRANS_TIMER_MS;
  return PROBE_MIN_MS + random() * (PROBE_MAX_MS - PROBE_MIN_MS);
}

function afterProbes(pace: Pace, { family }: AnnouncerContext): number {
  if (pace === "fast") return FAST_ANNOUNCE_WAIT_MS;
  return family === "ipv4" ? ANNOUNCE_WAIT_MS : RETRANS_TIMER_MS;
}

/** Ends a conflict that has been quiet, and sends the announcement that is due. */
function announcementDue(state: AnnouncedState, now: number, context: AnnouncerContext): Change {
  if (state.conflict !== undefined && now >= conflictEnd(state)) {
    const { conflict, ...calm } = state;
    const [next, ...actions] = announcementDue(calm, now, context);
    return [next, { kind: "conflictOver", mac: conflict.mac }, ...actions];
  }
  if (now < state.nextAt) return [state];
  const burst = BURST_MS[context.family];
  const what = state.sent < burst.length ? "announcement" : "refresh";
  const sent = Math.min(state.sent + 1, burst.length);
  const next = { ...state, sent, lastSentAt: now };
  return [
    { ...next, nextAt: afterAnnouncement(next, now, context) },
    { kind: "send", what },
  ];
}

/** A late announcement puts off those after it: they keep the distance of the schedule. */
function afterAnnouncement(
  { sent }: AnnouncedState,
  now: number,
  { family, random, refreshIntervalMs = REFRESH_INTERVAL_MS }: AnnouncerContext,
): number {
  const burst = BURST_MS[family];
  const [before, after] = [burst[sent - 1], burst[sent]];
  if (before !== undefined && after !== undefined) return now + after - before;
  return now + refreshIntervalMs * (1 - REFRESH_JITTER * random());
}

/** Spread over the new interval, since many addresses change theirs at once. A burst goes on. */
function reschedule(
  state: AnnouncerState,
  now: number,
  { family, random, refreshIntervalMs = REFRESH_INTERVAL_MS }: AnnouncerContext,
): AnnouncerState {
  if (state.phase !== "announced" || state.sent < BURST_MS[family].length) return state;
  const nextAt = Math.min(state.nextAt, now + refreshIntervalMs * random());
  return { ...state, nextAt: Math.max(nextAt, state.lastSentAt + minimumGap(family)) };
}

function meetConflict(
  state: AnnouncerState,
  mac: MacAddress,
  now: number,
  { family }: AnnouncerContext,
): Change {
  switch (state.phase) {
    case "announced":
      return defend(state, mac, now, family);
    case "probing":
    case "free": {
      const wanted = state.phase === "probing" && state.wanted;
      const retryAt = now + RATE_LIMIT_INTERVAL_MS;
      return [
        { phase: "taken", mac, retryAt, wanted },
        { kind: "taken", mac },
      ];
    }
    case "taken":
      return [{ ...state, mac }];
    case "idle":
      return [state];
  }
}

/**
 * RFC 5227 §2.4 (c): one announcement, and no second one within DEFEND_INTERVAL. Advertisements
 * keep their distance from the last one besides (RFC 4861 §7.2.6).
 */
function defend(state: AnnouncedState, mac: MacAddress, now: number, family: Family): Change {
  const { conflict } = state;
  if (conflict !== undefined && now < conflict.defendedAt + DEFEND_INTERVAL_MS) {
    return [{ ...state, conflict: { ...conflict, lastSeenAt: now } }];
  }
  const report: AnnouncerAction[] = conflict?.mac === mac ? [] : [{ kind: "conflict", mac }];
  const soonest = family === "ipv4" ? now : state.lastSentAt + RETRANS_TIMER_MS;
  const defendedAt = Math.max(now, soonest);
  const contested = { ...state, conflict: { mac, lastSeenAt: now, defendedAt } };
  if (defendedAt > now) {
    return [{ ...contested, nextAt: Math.min(state.nextAt, defendedAt) }, ...report];
  }
  const nextAt = Math.max(state.nextAt, now + minimumGap(family));
  return [{ ...contested, lastSentAt: now, nextAt }, ...report, { kind: "send", what: "defence" }];
}

/** How the responder's table is to hold an address in this state; undefined: not at all. */
export function tableState(state: AnnouncerState): AnnouncedAddress["state"] | undefined {
  if (state.phase === "idle") return undefined;
  return state.phase === "announced" ? "announced" : "probing";
}
