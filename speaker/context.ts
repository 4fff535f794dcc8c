/**
 * What the parts of one speaker's protocol share: who it is, what it knows, what it wants to send.
 * No clock, timer, socket or chance in here or in any part: `now` is set by whoever calls the step.
 */
import type { Address } from "../packet/address/address.ts";
import type { ClaimTable, Life, Rank } from "./claims.ts";
import type { Message, Versions } from "./messages.ts";
import { sizeOf } from "./sizes.ts";
import { MAX_PAYLOAD } from "./messages.ts";
import type { Endpoint, Roster } from "./roster.ts";
import type { Timing } from "./timing.ts";

/** Why nothing is answered at the moment. */
export type FenceReason = "stall" | "carrier" | "told-dead" | "unheard" | "deaf" | "superseded";

/** Why an address changed hands, or was not taken; words of metrics and logs. */
export const CAUSES = [
  "first-use",
  "takeover",
  "handover",
  "stepped-up",
  "better-claim",
  "no-candidate",
  "drained",
  "forced",
  "contested",
  "unusable",
  "rival-on-the-wire",
] as const;

/** Why this speaker began or ceased to answer for an address. */
export type Cause = (typeof CAUSES)[number];

/** A datagram that is to be sealed and sent. */
export interface Send {
  readonly type: "send";
  readonly to: string;
  readonly endpoint: Endpoint;
  /** Keys that the receiver said it accepts; empty when it said nothing yet. */
  readonly keyIds: readonly number[];
  readonly messages: readonly Message[];
}

/** What the shell is to do, in this order. */
export type Action =
  | Send
  /** Stop answering for these, before anything else. */
  | { readonly type: "withdraw"; readonly addresses: readonly Address[]; readonly cause: Cause }
  /**
   * Widen the kernel's filter once for all of them, then answer for them. `since`: when the member
   * that held them gave its last sign of life, in the time of the steps; of takeovers.
   */
  | {
      readonly type: "activate";
      readonly addresses: readonly Address[];
      readonly cause: Cause;
      readonly since?: readonly number[];
    }
  /** Tell the LAN that these are here. */
  | { readonly type: "announce"; readonly addresses: readonly Address[] }
  /** Answer for nothing (on), or again for all that is active (off). */
  | { readonly type: "fence"; readonly on: boolean; readonly reason: FenceReason }
  /**
   * Ask the LAN whether the subject's MAC answers for these, and whether any frame comes in. A
   * `check` is of a neighbour that is heard, and is not urgent.
   */
  | {
      readonly type: "witness";
      readonly subject: string;
      readonly addresses: readonly Address[];
      readonly purpose: WitnessPurpose;
    }
  /** Probe an address: before its first use, or as proof that its old owner is gone. */
  | { readonly type: "probe"; readonly address: Address; readonly purpose: ProbePurpose }
  /** Addresses that were probed and are others' affair now: nobody need listen for them here. */
  | { readonly type: "forget"; readonly addresses: readonly Address[] }
  /** Something about a member changed: election and verdict may want to know. */
  | { readonly type: "member"; readonly name: string }
  /** The owner of an address, as seen here, may have changed. */
  | { readonly type: "owner"; readonly addresses: readonly Address[] }
  /** Everything is handed over, or the grace is over: the process may end. */
  | { readonly type: "left"; readonly forced: number };

/** Why the LAN is asked. */
export type WitnessPurpose = "suspicion" | "fence" | "check";

/** Why an address is probed. */
export type ProbePurpose = "first-use" | "proof";

/** Collects what one step wants to send, a datagram a receiver as far as it fits. */
export class Outbox {
  readonly #waiting = new Map<string, Message[]>();
  readonly #direct: { to: string; endpoint: Endpoint; messages: readonly Message[] }[] = [];

  /** Has a message sent to a member. */
  send(to: string, message: Message): void {
    const messages = this.#waiting.get(to);
    if (messages === undefined) this.#waiting.set(to, [message]);
    else messages.push(message);
  }

  /** Has a message sent to an endpoint that is not known to be `to`'s, or not yet. */
  sendTo(to: string, endpoint: Endpoint, message: Message): void {
    this.#direct.push({ to, endpoint, messages: [message] });
  }

  /** Nothing is to be sent, as after most steps. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#direct.length === 0;
  }

  /** Takes out everything, grouped into datagrams; without endpoint: wherever the member is. */
  *take(): Generator<{ to: string; endpoint?: Endpoint; messages: readonly Message[] }> {
    yield* this.#direct.splice(0);
    for (const [to, messages] of this.#waiting) {
      if (messages.length === 1) yield { to, messages };
      else for (const group of pack(messages)) yield { to, messages: group };
    }
    this.#waiting.clear();
  }
}

function pack(messages: readonly Message[]): Message[][] {
  const groups: Message[][] = [];
  let group: Message[] = [];
  let room = 0;
  for (const message of messages) {
    const size = sizeOf(message);
    if (size > room || group.length === 0) {
      group = [];
      groups.push(group);
      room = MAX_PAYLOAD;
    }
    group.push(message);
    room -= size;
  }
  return groups;
}

/** What all parts share. */
export interface Context {
  readonly self: string;
  readonly life: Life;
  timing: Timing;
  readonly roster: Roster;
  readonly claims: ClaimTable;
  readonly rank: Rank;
  readonly outbox: Outbox;
  /** A number from 0 up to and not including 1. */
  readonly random: () => number;
  readonly actions: Action[];
  /** Counts of what happened, by name. */
  readonly counters: Map<string, number>;
  now: number;
  versions: Versions;
}

/** Counts one more of something. */
export function count(context: Context, name: string, by = 1): void {
  context.counters.set(name, (context.counters.get(name) ?? 0) + by);
}

/** Picks up to `wanted` different elements by chance. */
export function sample<T>(from: readonly T[], wanted: number, random: () => number): T[] {
  const count = Math.min(wanted, from.length);
  const places: number[] = [];
  const picked: T[] = [];
  // Few of many are wanted as a rule: drawing again what was drawn costs less than a copy.
  while (places.length < count) {
    const place = Math.floor(random() * from.length);
    if (places.includes(place)) continue;
    places.push(place);
    const element = from[place];
    if (element !== undefined) picked.push(element);
  }
  return picked;
}
