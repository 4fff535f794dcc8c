/**
 * What the main thread and the responder thread tell each other. All of it is plain data; nothing
 * here is on the path of a packet.
 */
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { BpfProgram } from "../packet/wire/bpf.ts";
import { compileFilter, type FilterBudget } from "../packet/wire/filter.ts";
import type { Pace } from "./announcer.ts";
import type { Cause, FenceReason } from "./context.ts";
import type { Hint } from "./joining.ts";
import type { Versions } from "./messages.ts";
import type { InterfaceReason } from "./no-interface.ts";
import type { Hindrance } from "./ownership.ts";
import type { MemberReason } from "./protocol.ts";
import type { Link, MemberStatus, Plight } from "./roster.ts";
import type { AddressTraffic, FrameTraffic } from "./traffic.ts";

/** One address of the table. */
export interface TableEntry {
  readonly address: Address;
  /** Interfaces that the pool allows, by name; absent: all. */
  readonly interfaces?: readonly string[];
}

/** One interface of the node, and why it is not used, if it is not. */
export interface InterfaceNews {
  readonly name: string;
  /** The kernel's number of it, if it is used. */
  readonly index?: number;
  /** The networks that its addresses are in, if it is used. */
  readonly subnets?: readonly string[];
  /** Why not, in one word; absent: it is used, or the kernel refused to open it. */
  readonly reason?: InterfaceReason;
  /** For people; absent: it is used. */
  readonly why?: string;
}

/** Which filter of which interface is meant. */
export interface FilterOf {
  readonly interfaceName: string;
  readonly etherType: number;
  readonly id: number;
}

/** Who may answer for an address. */
export interface CandidacyEntry extends TableEntry {
  /** Names of nodes, the first by rank first. */
  readonly ranked: readonly string[];
  /** The node that asks the LAN whether the address is free, before its first use. */
  readonly prober?: string;
}

/** Who answers for an address, as this speaker sees it. */
export interface OwnerNews {
  readonly address: Address;
  readonly owner?: string;
  readonly term: number;
  /** Why this speaker, whose turn it is, does not claim it at the moment. */
  readonly hindrance?: Hindrance;
  /** While nobody answers for it: a host that is no speaker and uses it, as a probe found. */
  readonly usedBy?: MacAddress;
  /** The owner looks for a successor, and answers meanwhile. */
  readonly giving?: boolean;
  /** Of an own address: members that asked the LAN for it and heard no answer (NotAnswering). */
  readonly unansweredBy?: readonly string[];
}

/** A member as this speaker sees it; this speaker itself is among them. */
export interface MemberNews {
  readonly name: string;
  /** It counts: neither dead nor joining nor gone. */
  readonly live: boolean;
  readonly status: MemberStatus;
  /** Absent: nothing is the matter, or it is joining. `Isolated`: it says that it hears nobody. */
  readonly reason?: MemberReason;
  /** When that began; milliseconds since 1970. */
  readonly since?: number;
  /** What keeps it from taking addresses, in its own word. */
  readonly plight?: Plight;
  /** With reason `NotAnswering`: the address that was asked for. */
  readonly address?: Address;
  /** Its links that are up and have carrier; see `linkExclusions` in `candidacy.ts`. */
  readonly links: readonly Link[];
  /** Ids of the keys that it accepts, newest last. */
  readonly keyIds: readonly number[];
}

/** How this speaker itself stands. */
export interface SelfNews {
  readonly status: MemberStatus;
  /** Why nothing is answered at the moment. */
  readonly fence?: FenceReason;
  /** It hears nobody, or nobody hears it, or it never met anybody though it should have. */
  readonly isolated: boolean;
  /** More than half of those that were there lately are. */
  readonly quorate: boolean;
}

/** An address that this speaker has begun or ceased to answer for. */
export interface MoveNews {
  readonly address: Address;
  readonly taken: boolean;
  readonly cause: Cause;
  /** Of a takeover: milliseconds since the last sign of life of the member that held it. */
  readonly tookMs?: number;
}

/** What the speakers' conversation counted since the last report. */
export interface ConversationCounts {
  readonly sent: number;
  readonly received: number;
  /** What happened, by name: `suspicions`, `deaths found`, `fence stall`, `dropped replayed`, … */
  readonly events: Readonly<Record<string, number>>;
  /** Datagrams that were not even opened, by reason: see `OpenReason` in `seal.ts`; `malformed`. */
  readonly refused: Readonly<Record<string, number>>;
  /** Milliseconds from a heartbeat to its acknowledgement by the member, where one came. */
  readonly roundTrips: readonly number[];
}

/** What the main thread says. */
export type Command =
  | {
      readonly kind: "configure";
      /** Which interfaces are never used: regular expressions of names. */
      readonly excludedInterfaces: readonly string[];
      /** Longest time from one announcement of an address to the next; absent: as it was. */
      readonly refreshIntervalMs?: number;
    }
  /** Changes of the table: addresses to answer for from now on, and no longer. */
  | {
      readonly kind: "table";
      readonly announce: readonly TableEntry[];
      readonly withdraw: readonly Address[];
    }
  /** Addresses to ask the LAN for before their first use; see the reports `probed`. */
  | { readonly kind: "probe"; readonly entries: readonly TableEntry[]; readonly pace: Pace }
  /**
   * MAC addresses of the other speakers: their claims are no conflicts. Until this was said once,
   * conflicts are reported and not defended against.
   */
  | { readonly kind: "colleagues"; readonly macs: readonly MacAddress[] }
  /** Begins to talk to the other speakers; until then addresses come by `table`. */
  | {
      readonly kind: "converse";
      readonly node: string;
      /** Keeps clusters apart that have the same key. */
      readonly cluster: string;
      /** Oldest first. */
      readonly keys: readonly Uint8Array[];
    }
  /** How the conversation goes; a change takes effect at once. Without it: the defaults. */
  | {
      readonly kind: "settings";
      /** Milliseconds between two heartbeats, 50 to 1000. */
      readonly intervalMs: number;
      /** So many missed heartbeats make a member suspect, 3 to 20. */
      readonly multiplier: number;
      /** Hosts of the LAN that show by their answer that we are not cut off, besides the gateways. */
      readonly witnesses: readonly Address[];
      /** Once it has grown, addresses are spread anew; the first one seen tells nothing. */
      readonly rebalance: number;
    }
  /**
   * How new the view of the API is that the candidacies posted so far rest on: resourceVersions of
   * Services, EndpointSlices, Nodes and the configuration, 0n for what was not read yet.
   */
  | { readonly kind: "versions"; readonly versions: Versions }
  /** The host answered an echo request that the report `echo` asked for. */
  | { readonly kind: "echoed"; readonly interfaceName: string; readonly target: Address }
  | { readonly kind: "keys"; readonly keys: readonly Uint8Array[] }
  /** Nodes that should run a speaker, ourselves among them. */
  | { readonly kind: "hints"; readonly hints: readonly Hint[] }
  /** Who may answer for addresses, as the API has it; and addresses that the API knows no longer. */
  | {
      readonly kind: "candidacies";
      readonly set: readonly CandidacyEntry[];
      readonly delete: readonly Address[];
    }
  /** Hand everything over and stay a member (on), or be a candidate as ever (off). */
  | { readonly kind: "drain"; readonly on: boolean }
  /** What keeps this node from taking addresses, for the others' verdicts; absent: nothing. */
  | { readonly kind: "plight"; readonly plight?: Plight }
  /** Hand everything over and leave, within so many milliseconds; see the report `left`. Final. */
  | { readonly kind: "leave"; readonly withinMs: number }
  /** Answers the report `compile`. */
  | ({
      readonly kind: "filter";
      readonly programs: readonly BpfProgram[];
      readonly exact: boolean;
    } & FilterOf)
  /** Asks for the last exchanges as a capture file. */
  | { readonly kind: "exchanges" }
  /** End: answer nothing any more, close everything. */
  | { readonly kind: "stop" };

/** What happened on one interface since the last report. */
export interface InterfaceCounts extends FrameTraffic {
  readonly name: string;
  /** Frames that found no room in a socket's buffer. */
  readonly overruns: number;
  /** Frames to send that the kernel refused. */
  readonly refused: number;
  /** Whether the kernel's filter lets through no more than it must; absent: it was closed. */
  readonly exact?: boolean;
}

/** What happened since the last report; only what did happen is in it. */
export interface ResponderCounters {
  readonly interfaces: readonly InterfaceCounts[];
  readonly addresses: readonly AddressTraffic[];
  readonly conversation?: ConversationCounts;
}

/** What the responder thread says. */
export type Report =
  /** The interfaces are known, and open as far as they can be used. */
  | { readonly kind: "ready" }
  | { readonly kind: "interfaces"; readonly interfaces: readonly InterfaceNews[] }
  /** On which interfaces an address is answered for now; empty: on none, see the interfaces. */
  | {
      readonly kind: "announced";
      readonly address: Address;
      readonly interfaces: readonly string[];
    }
  /** The outcome of a probe: nobody has the address, or `takenBy` has it. */
  | { readonly kind: "probed"; readonly address: Address; readonly takenBy?: MacAddress }
  /** The owners of addresses may have changed. */
  | { readonly kind: "owners"; readonly owners: readonly OwnerNews[] }
  /** Addresses changed hands here, in the order in which they did. */
  | { readonly kind: "moves"; readonly moves: readonly MoveNews[] }
  /** Members came, went or changed; all of them. */
  | { readonly kind: "members"; readonly members: readonly MemberNews[]; readonly self: SelfNews }
  /** To be asked by ICMP whether they hear us; see the command `echoed`. */
  | { readonly kind: "echo"; readonly interfaceName: string; readonly targets: readonly Address[] }
  /** Everything is handed over, but for so many addresses: the grace is over. */
  | { readonly kind: "left"; readonly forced: number }
  /** Another host claims an address that we announce. */
  | {
      readonly kind: "conflict";
      readonly address: Address;
      readonly mac: MacAddress;
      readonly interfaceName: string;
      /** Whether it is defended against. */
      readonly defended: boolean;
    }
  /** It has not for a while. */
  | { readonly kind: "conflictOver"; readonly address: Address; readonly mac: MacAddress }
  /** A filter to compile, which takes the thread too long: see {@link compileFor}. */
  | ({
      readonly kind: "compile";
      readonly addresses: readonly Address[];
      readonly budget: FilterBudget;
    } & FilterOf)
  | { readonly kind: "exchanges"; readonly pcap: Uint8Array }
  | { readonly kind: "trouble"; readonly message: string }
  | { readonly kind: "counters"; readonly counters: ResponderCounters }
  | { readonly kind: "stopped" };

/** Compiles the filter that a report asks for; takes up to a fifth of a second. */
export function compileFor(report: Extract<Report, { kind: "compile" }>): Command {
  const { interfaceName, etherType, id, addresses, budget } = report;
  const { programs, exact } = compileFilter(addresses, budget);
  return { kind: "filter", interfaceName, etherType, id, programs, exact };
}
