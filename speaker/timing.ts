/** Every duration of the protocol, in milliseconds. All but a few follow from the interval. */
export interface Timing {
  /** Between two beats. */
  readonly interval: number;
  /** Contact lasts so long after any authentic packet, and a step advances time by no more. */
  readonly contact: number;
  /** Silence after which a neighbour is pinged, after which it is suspected. */
  readonly ping: number;
  readonly suspect: number;
  /** Evidence younger than this ends a suspicion. */
  readonly evidence: number;
  /** How long co-watchers may take to answer. */
  readonly vote: number;
  /** No contact for so long: ping strangers. */
  readonly lonely: number;
  /** A lease older than this after a loop gap means that one may have been replaced. */
  readonly lease: number;
  /** Not acknowledged by anybody for so long: nobody hears me. */
  readonly unheard: number;
  /** How long a member that takes me for a neighbour is treated as one. */
  readonly guest: number;
}

/** Shortest and longest interval that may be configured, and the usual one. */
export const INTERVAL_RANGE_MS = { minimum: 50, maximum: 1000, default: 100 } as const;
/** Heartbeats that may be missed: fewest, most, as a rule. */
export const MULTIPLIER_RANGE = { minimum: 3, maximum: 20, default: 4 } as const;

/** A loop that comes so much later than it wanted has stood still. */
export const LOOP_GAP_MS = 60;
/** Pings of a fenced speaker, and how long it waits for the first answer. */
export const FENCE_PING_MS = 15;
/** Nobody answered a fenced speaker for so long: ask the LAN instead. */
export const FENCE_SILENCE_MS = 100;
/** A fenced speaker waits so long for its tables to become equal to its neighbours'. */
export const FENCE_PULL_MS = 200;
/** Suspicion: asks, and the patience of a PingFor and of who carries it out. */
export const ASK_INTERVAL_MS = 10;
export const ASKS = 3;
export const PING_FOR_MS = 50;
export const PING_FOR_PATIENCE_MS = 40;
/** An owner becomes firm after so long without rival and with a quorum. */
export const FIRM_MS = 2000;
/** Each place further down waits so much longer before it steps up. */
export const STEP_UP_MS = 250;
/** Tries of a Query, the first of one alone, and their distance. */
export const QUERY_TRIES = 6;
export const QUERY_INTERVAL_MS = 20;
/** A giver answers so long after it lost its candidacy; a rebalancing one waits so long. */
export const GIVING_MS = 5000;
export const REBALANCE_MS = 2000;
/** Draining: so many addresses each so often; stay so long after the last one went. */
export const DRAIN_BATCH = 200;
export const DRAIN_INTERVAL_MS = 100;
export const LINGER_MS = 1500;
/** Retries of a claim that a giver waits for. */
export const HANDOVER_RETRIES_MS = [20, 50, 100, 200] as const;
/** Claims are collected for so long before they are flooded. */
export const BATCH_MS = 10;
/** Member records are flooded again after this. */
export const MEMBER_REPEAT_MS = 15;
/** Packets of claims and pages a second, and at once. */
export const PACE_PER_SECOND = 320;
export const PACE_BURST = 40;
/** A view that contradicts the holder's waits so long before it contests, or reports a stranger. */
export const CONTEST_MS = 5000;
export const STRANGER_MS = 30_000;
/** Cold start: quiet for so long, at most so long in all. */
export const START_QUIET_MS = 2000;
export const START_CAP_MS = 10_000;
/** After a cold start nobody claims for so long, so that all know all. */
export const START_GRACE_MS = 200;
/** Two announcements of one address are so far apart at least. */
export const ANNOUNCE_MS = 100;

/** The LAN is asked for one address of each neighbour so often, beside everything else. */
export const CHECK_MS = 1000;
/** So many checks in a row without an answer, though frames come in, make a member `NotAnswering`. */
export const CHECKS = 3;
/** What others say of an own address is forgotten after so long. */
export const UNANSWERED_MS = 4000;
/** A member that cannot be reached and answers on the LAN is said to be so for so long. */
export const ANSWERING_MS = 3000;

/**
 * Gives the durations that follow from an interval and from how many beats may be missed. A
 * neighbour is suspected a fifth of an interval after the last of them was due, and pinged for the
 * last one and a half.
 * @throws RangeError outside {@link INTERVAL_RANGE_MS} or {@link MULTIPLIER_RANGE}.
 */
export function timingOf(interval: number, multiplier: number = MULTIPLIER_RANGE.default): Timing {
  within("heartbeat interval in milliseconds", interval, INTERVAL_RANGE_MS);
  within("number of missed heartbeats", multiplier, MULTIPLIER_RANGE);
  return {
    interval,
    contact: 2 * interval,
    ping: (multiplier - 1.5) * interval,
    suspect: (multiplier + 0.2) * interval,
    evidence: multiplier * interval,
    vote: Math.max(45, interval / 2),
    lonely: 1.2 * interval,
    lease: (multiplier - 1) * interval,
    unheard: 2 * multiplier * interval,
    // longer than it takes to suspect it
    guest: Math.max(1000, (multiplier + 2) * interval),
  };
}

function within(what: string, value: number, range: { minimum: number; maximum: number }): void {
  const { minimum, maximum } = range;
  if (value >= minimum && value <= maximum) return;
  throw new RangeError(`the ${what} is ${value}: give ${minimum} to ${maximum}`);
}
