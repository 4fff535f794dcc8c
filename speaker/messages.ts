/**
 * What speakers tell each other. A datagram carries one or more messages; how they are written in
 * octets is in `codec.ts`, how a datagram is sealed in `seal.ts`.
 */
import type { Address } from "../packet/address/address.ts";
import type { Claim, Life } from "./claims.ts";
import type { Digest } from "./digest.ts";
import type { MemberRecord } from "./roster.ts";

/** UDP port of the speakers' protocol: the one that firewalls let pass for MetalLB. */
export const MEMBER_PORT = 7946;

/** How one speaker sees another. */
export type Standing = "unknown" | "alive" | "dead";

/** "Who are you, is anybody active?" Sent to a life that is not yet accepted. */
export interface Hello {
  readonly type: "hello";
  /** Fresh, to be echoed. */
  readonly nonce: number;
  readonly welcome: Welcome;
}

/** Answers a Hello, or anything from a life that is not accepted; itself asks for an echo. */
export interface Challenge {
  readonly type: "challenge";
  /** The nonce of the Hello, 0 if it answers something else. */
  readonly echo: number;
  readonly nonce: number;
  readonly welcome: Welcome;
}

/** Echoes the nonce of a Challenge: proof that this life is running now. */
export interface Response {
  readonly type: "response";
  readonly echo: number;
  readonly welcome: Welcome;
}

/** What a speaker tells of itself and of the cluster before it is a member. */
export interface Welcome {
  readonly self: MemberRecord;
  /** Highest epoch known for the receiver's name, 0 if none is. */
  readonly epochForYou: number;
  /** An active member, if one is known. */
  readonly active: MemberRecord | undefined;
  /** Some who are joining like oneself: an epidemic spreads who is there at a cold start. */
  readonly joiners: readonly MemberRecord[];
}

/** Beat, Ping and Pong say the same. A Beat goes to all neighbours each interval. */
export interface Beat {
  readonly type: "beat" | "ping" | "pong";
  readonly epoch: number;
  readonly refutation: number;
  readonly sequence: number;
  /** I hear neighbours and none acknowledges me. */
  readonly unheard: boolean;
  readonly joining: boolean;
  /** Of a Beat: my rings do not make you a neighbour, I only answer yours. */
  readonly guest: boolean;
  /** Your newest sequence that I have. In a Pong: the sequence of the Ping it answers. */
  readonly ack: number;
  /** Milliseconds since it came, up to 6,553.5 in steps of a tenth; of 0 if none came. */
  readonly ackAgeMs: number;
  /** What you are in my view, and under which refutation. */
  readonly standing: Standing;
  readonly standingRefutation: number;
  /** My own claims; the claims of all live members; the live members. */
  readonly own: Digest;
  readonly table: Digest;
  readonly members: Digest;
  readonly versions: Versions;
}

/** resourceVersions of Services, EndpointSlices, Nodes and the configuration, as far as read. */
export type Versions = readonly [bigint, bigint, bigint, bigint];

/** Asks a co-watcher what it knows of a suspect. */
export interface Ask {
  readonly type: "ask";
  readonly subject: string;
  readonly epoch: number;
  readonly refutation: number;
}

/** Answers an Ask. */
export interface Evidence {
  readonly type: "evidence";
  readonly subject: string;
  readonly epoch: number;
  readonly refutation: number;
  /** "answering": not heard, but its MAC answers for its addresses on the LAN. */
  readonly finding: "heard" | "dead" | "unknown" | "answering";
  /** Milliseconds since the subject was last heard. */
  readonly ageMs: number;
}

/** Asks somebody who is no co-watcher to ping a suspect. */
export interface PingFor {
  readonly type: "ping-for";
  readonly subject: string;
}

/** Answers a PingFor. */
export interface PingResult {
  readonly type: "ping-result";
  readonly subject: string;
  readonly heard: boolean;
  /** If it was heard: milliseconds since then, 0 if it answered the ping. */
  readonly ageMs: number;
}

/** News of members, flooded. */
export interface Members {
  readonly type: "members";
  readonly records: readonly MemberRecord[];
}

/** News of claims, flooded. */
export interface Claims {
  readonly type: "claims";
  readonly claims: readonly Claim[];
}

/** "Are you going to answer for these?", asked before stepping up. */
export interface Query {
  readonly type: "query";
  readonly addresses: readonly Address[];
}

/** Answers a Query. */
export interface Reply {
  readonly type: "reply";
  readonly answers: readonly Answer[];
}

/** One address of a Reply. */
export interface Answer {
  readonly address: Address;
  /** It is mine or about to be; false: I am no candidate. */
  readonly mine: boolean;
}

/** Digests of the live members whose ids lie between two bounds; starts a comparison. */
export interface Summary {
  readonly type: "summary";
  /** This part speaks for the ids above `from`, up to and including `to`; 16 hexadecimal digits each. */
  readonly from: string;
  readonly to: string;
  readonly entries: readonly SummaryEntry[];
  /** Wants the receiver's own Summary in return if they differ: the sender may be behind, too. */
  readonly answer: boolean;
}

/** One member of a Summary: of its record and its claims together. */
export interface SummaryEntry {
  readonly id: string;
  readonly digest: Digest;
}

/** Asks for what differs of one member. */
export interface Pull {
  readonly type: "pull";
  readonly id: string;
  /** Digests of the 64 buckets; empty asks for all. */
  readonly buckets: readonly Digest[];
}

/** What is known of a member; unlike {@link Members} it is no news and its deaths are verified first. */
export interface Page {
  readonly type: "page";
  readonly record: MemberRecord;
  readonly claims: readonly Claim[];
}

/** "You hold an address for which you are no candidate, and I know a newer state of the cluster." */
export interface Contest {
  readonly type: "contest";
  readonly address: Address;
  /** The address is not in my view of the cluster at all. */
  readonly absent: boolean;
  readonly versions: Versions;
}

/** "I hear you, but nobody answers for an address of yours where I ask for it." */
export interface Unanswered {
  readonly type: "unanswered";
  readonly address: Address;
}

/** Ends a cold start: all who wait become active. */
export interface Start {
  readonly type: "start";
}

/** Anything that speakers tell each other. */
export type Message =
  | Hello
  | Challenge
  | Response
  | Beat
  | Ask
  | Evidence
  | PingFor
  | PingResult
  | Members
  | Claims
  | Query
  | Reply
  | Summary
  | Pull
  | Page
  | Contest
  | Start
  | Unanswered;

/** Octets of messages that fit one datagram: 1,200 less header, tag and the shortest room to spare. */
export const MAX_PAYLOAD = 1_144;

/** A life that a datagram came from, as its clear header says it and its tag proves it. */
export interface Sender {
  /** First octets of sha256(name), 16 hexadecimal digits. */
  readonly id: string;
  readonly life: Life;
}
