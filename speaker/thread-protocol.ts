/**
 * What the main thread and the responder thread tell each other. All of it is plain data; nothing
 * here is on the path of a packet.
 */
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { DropReason } from "./responder.ts";

/** One address of the table. */
export interface TableEntry {
  readonly address: Address;
  /** Interfaces that the pool allows, by name; absent: all. */
  readonly interfaces?: readonly string[];
}

/** One interface of the node, and why it is not used, if it is not. */
export interface InterfaceNews {
  readonly name: string;
  /** For people; absent: it is used. */
  readonly why?: string;
}

/** What the main thread says. */
export type Command =
  /** Which interfaces are never used (regular expressions of names). */
  | { readonly kind: "configure"; readonly excludedInterfaces: readonly string[] }
  /** Changes of the table: addresses to answer for from now on, and no longer. */
  | {
      readonly kind: "table";
      readonly announce: readonly TableEntry[];
      readonly withdraw: readonly Address[];
    }
  /** End: answer nothing any more, close everything. */
  | { readonly kind: "stop" };

/** Counters since the start, by name; drops by reason. */
export interface ResponderCounters {
  readonly requests: Readonly<Record<string, number>>;
  readonly replies: Readonly<Record<string, number>>;
  readonly announcements: Readonly<Record<string, number>>;
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
  /** Frames that found no room in a socket's buffer. */
  readonly overruns: number;
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
  | {
      readonly kind: "conflict";
      readonly address: Address;
      readonly mac: MacAddress;
      readonly interfaceName: string;
    }
  | { readonly kind: "trouble"; readonly message: string }
  | { readonly kind: "counters"; readonly counters: ResponderCounters }
  | { readonly kind: "stopped" };
