/**
 * The shell of responder and announcer: owns the links and one timer, feeds frames and times to the
 * pure parts, sends what they want sent. It runs in the responder thread; tests run it on memory
 * links under a clock of their own.
 *
 * Order on taking an address: multicast groups, table entry, announcement. On giving it up: the
 * table entry first, so that nothing is answered for it from that moment.
 */
import { AddressMap } from "../packet/address/address-map.ts";
import { addressToBigInt, familyOf, isIPv6, type Address } from "../packet/address/address.ts";
import type { IPv6Address } from "../packet/address/ipv6.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import { multicastMac, solicitedNodeAddress } from "../packet/address/multicast.ts";
import { maskNumber, type Prefix } from "../packet/address/prefix.ts";
import type { Link, OpenLink, ReceivedFrame } from "../packet/link/link.ts";
import { announcementFrames } from "../packet/wire/announcement.ts";
import {
  IDLE,
  stepAnnouncer,
  type AnnouncerAction,
  type AnnouncerEvent,
  type AnnouncerState,
} from "./announcer.ts";
import { Deadlines } from "./deadlines.ts";
import type { UsableInterface } from "./interfaces.ts";
import {
  MAX_REPLY_LENGTH,
  prepareInterface,
  respond,
  type AnnouncedAddress,
  type DropReason,
  type RespondingInterface,
} from "./responder.ts";
import type { Report, ResponderCounters, TableEntry } from "./thread-protocol.ts";

/** What the shell is given of the world. */
export interface AnnouncingOptions {
  readonly openLink: (interfaceName: string) => OpenLink;
  readonly report: (report: Report) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Calls back once at a time, in place of any earlier wish; `undefined`: never. */
  readonly wakeAt: (time: number | undefined) => void;
  readonly random: () => number;
}

/**
 * The interfaces on which to answer for an address: those that are allowed and have an address in a
 * network that holds it; if there are none such, all that are allowed (a router may send it here).
 */
export function interfacesFor(
  address: Address,
  allowed: readonly string[] | undefined,
  usable: readonly Pick<UsableInterface, "name" | "subnets">[],
): string[] {
  const candidates = usable.filter(({ name }) => allowed?.includes(name) ?? true);
  const near = candidates.filter(({ subnets }) => subnets.some((prefix) => holds(prefix, address)));
  return (near.length > 0 ? near : candidates).map(({ name }) => name);
}

function holds({ family, network, length }: Prefix, address: Address): boolean {
  return (
    familyOf(address) === family && maskNumber(addressToBigInt(address), length, family) === network
  );
}

interface OpenInterface {
  readonly facts: UsableInterface;
  readonly link: Link;
  readonly responding: RespondingInterface;
}

interface Held {
  readonly entry: TableEntry;
  announcer: AnnouncerState;
  wakeAt: number | undefined;
  interfaces: readonly string[];
}

/** Other speakers' MAC addresses are known once speakers talk to each other; until then, none. */
const NO_COLLEAGUES: ReadonlySet<MacAddress> = new Set();
/** A conflict is reported again after this long. */
const CONFLICT_AGAIN_MS = 30_000;

class Counter {
  readonly #counts = new Map<string, number>();

  count(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  values(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}

/** Answers and announces on all interfaces. */
export class Announcing {
  readonly #options: AnnouncingOptions;
  readonly #open = new Map<string, OpenInterface>();
  readonly #held = new Map<Address, Held>();
  readonly #table = new AddressMap<AnnouncedAddress>();
  readonly #deadlines = new Deadlines<Address>();
  readonly #reply = new Uint8Array(MAX_REPLY_LENGTH);
  readonly #requests = new Counter();
  readonly #replies = new Counter();
  readonly #announcements = new Counter();
  readonly #drops = new Counter();
  readonly #conflicts = new Map<Address, number>();
  #overrunsOfClosed = 0;

  /** Does nothing before it is told of interfaces and addresses. */
  constructor(options: AnnouncingOptions) {
    this.#options = options;
  }

  /** Takes the interfaces that can be used now; links to the others are closed. */
  setInterfaces(usable: readonly UsableInterface[]): void {
    const fresh = new Set<string>();
    for (const [name, { facts }] of [...this.#open]) {
      const now = usable.find((each) => each.name === name);
      if (now === undefined) this.#close(name);
      else if (plain(now) !== plain(facts)) {
        this.#close(name);
        fresh.add(name);
      }
    }
    for (const facts of usable) {
      if (this.#open.has(facts.name)) continue;
      fresh.add(facts.name);
      this.#openInterface(facts);
    }
    for (const held of this.#held.values()) this.#place(held, fresh);
    this.#schedule();
  }

  /** Takes changes of the table. An address that is announced already is only placed anew. */
  change(announce: readonly TableEntry[], withdraw: readonly Address[]): void {
    for (const address of withdraw) this.#withdraw(address);
    for (const entry of announce) this.#announce(entry);
    this.#schedule();
  }

  /** Does what is due. */
  wake(): void {
    const now = this.#options.now();
    for (;;) {
      const address = this.#deadlines.pop(now);
      if (address === undefined) break;
      const held = this.#held.get(address);
      if (held?.wakeAt !== undefined && held.wakeAt <= now) this.#step(held, { kind: "wake" });
    }
    this.#schedule();
  }

  /** Counters since the start. */
  counters(): ResponderCounters {
    const drops = this.#drops.values() as Partial<Record<DropReason, number>>;
    const open = [...this.#open.values()];
    return {
      requests: this.#requests.values(),
      replies: this.#replies.values(),
      announcements: this.#announcements.values(),
      drops,
      overruns:
        this.#overrunsOfClosed + open.reduce((sum, { link }) => sum + link.statistics().dropped, 0),
    };
  }

  /** Stops answering at once and closes every link. */
  close(): void {
    this.#table.clear();
    this.#held.clear();
    for (const name of [...this.#open.keys()]) this.#close(name);
    this.#options.wakeAt(undefined);
  }

  #openInterface(facts: UsableInterface): void {
    const responding = prepareInterface(facts);
    try {
      const link = this.#options.openLink(facts.name)({
        frame: (frame) => this.#receive(frame, responding, link),
        up: () => this.#comeBack(facts.name),
      });
      this.#open.set(facts.name, { facts, link, responding });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#options.report({ kind: "trouble", message });
    }
  }

  #close(name: string): void {
    const open = this.#open.get(name);
    if (open === undefined) return;
    this.#overrunsOfClosed += open.link.statistics().dropped;
    this.#open.delete(name);
    open.link[Symbol.dispose]();
  }

  /** After its link was down the neighbours may have forgotten, or learnt otherwise. */
  #comeBack(name: string): void {
    for (const held of this.#held.values())
      if (held.interfaces.includes(name)) this.#step(held, { kind: "announce" });
    this.#schedule();
  }

  #receive(frame: ReceivedFrame, on: RespondingInterface, link: Link): void {
    const verdict = respond(frame.octets, on, this.#table, NO_COLLEAGUES, this.#reply);
    switch (verdict.outcome) {
      case "reply":
        link.send(this.#reply.subarray(0, verdict.length));
        this.#requests.count(verdict.announced.address);
        this.#replies.count(verdict.announced.address);
        break;
      case "drop":
        this.#drops.count(verdict.reason);
        break;
      case "conflict":
        this.#conflict(verdict.announced.address, verdict.mac, on.name);
        break;
    }
  }

  /**
   * Reported, not defended: at a hand-over the claim is the next owner's, and it cannot be told from
   * a stranger's before speakers know each other's MAC addresses.
   */
  #conflict(address: Address, mac: MacAddress, interfaceName: string): void {
    const now = this.#options.now();
    if (now - (this.#conflicts.get(address) ?? -Infinity) < CONFLICT_AGAIN_MS) return;
    this.#conflicts.set(address, now);
    this.#options.report({ kind: "conflict", address, mac, interfaceName });
  }

  #announce(entry: TableEntry): void {
    const before = this.#held.get(entry.address);
    const held: Held = before
      ? { ...before, entry }
      : { entry, announcer: IDLE, wakeAt: undefined, interfaces: [] };
    this.#held.set(entry.address, held);
    this.#place(held, before === undefined ? undefined : new Set());
  }

  #withdraw(address: Address): void {
    this.#table.delete(address);
    const held = this.#held.get(address);
    if (held === undefined) return;
    this.#held.delete(address);
    this.#conflicts.delete(address);
    this.#leaveGroups(address, held.interfaces);
    this.#options.report({ kind: "announced", address, interfaces: [] });
  }

  /**
   * Puts an address on the interfaces that fit now.
   * @param fresh interfaces whose neighbours know nothing yet; undefined: all of them.
   */
  #place(held: Held, fresh: ReadonlySet<string> | undefined): void {
    const { address, interfaces: allowed } = held.entry;
    const usable = [...this.#open.values()].map(({ facts }) => facts);
    const interfaces = interfacesFor(address, allowed, usable);
    const added = interfaces.filter((name) => !held.interfaces.includes(name) || fresh?.has(name));
    this.#leaveGroups(
      address,
      held.interfaces.filter((name) => !interfaces.includes(name)),
    );
    this.#joinGroups(address, added);
    const changed = interfaces.join() !== held.interfaces.join();
    held.interfaces = interfaces;
    this.#table.set(address, { address, state: "announced", interfaces: new Set(interfaces) });
    if (fresh === undefined || changed)
      this.#options.report({ kind: "announced", address, interfaces });
    if (interfaces.length > 0 && (fresh === undefined || added.length > 0))
      this.#step(held, { kind: "announce" });
  }

  #joinGroups(address: Address, names: readonly string[]): void {
    if (!isIPv6(address)) return;
    for (const name of names) this.#open.get(name)?.link.joinGroup(groupOf(address));
  }

  #leaveGroups(address: Address, names: readonly string[]): void {
    if (!isIPv6(address)) return;
    for (const name of names) this.#open.get(name)?.link.leaveGroup(groupOf(address));
  }

  #step(held: Held, event: AnnouncerEvent): void {
    const { address } = held.entry;
    const context = { family: familyOf(address), random: this.#options.random };
    const step = stepAnnouncer(held.announcer, event, this.#options.now(), context);
    held.announcer = step.state;
    held.wakeAt = step.wakeAt;
    if (step.wakeAt !== undefined) this.#deadlines.set(step.wakeAt, address);
    for (const action of step.actions) this.#act(held, action);
  }

  #act(held: Held, action: AnnouncerAction): void {
    if (action.kind !== "send") return;
    const { address } = held.entry;
    for (const name of held.interfaces) {
      const open = this.#open.get(name);
      if (open === undefined) continue;
      const frames = announcementFrames(action.what, address, open.facts);
      open.link.sendBatch(frames);
      for (const _frame of frames) this.#announcements.count(address);
    }
  }

  #schedule(): void {
    const next = this.#deadlines.next();
    this.#options.wakeAt(next === Infinity ? undefined : next);
  }
}

function groupOf(address: IPv6Address): MacAddress {
  return multicastMac(solicitedNodeAddress(address));
}

/** The facts that a link and its announcements depend on, as text that can be compared. */
function plain({ index, mac, linkLocal, subnets }: UsableInterface): string {
  const networks = subnets.map((prefix) => `${prefix.network}/${prefix.length}`);
  return [index, mac, linkLocal ?? "", ...networks].join(" ");
}
