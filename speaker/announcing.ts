/**
 * The shell of responder and announcer: owns the interfaces and one timer, feeds frames and times to
 * the pure parts, sends what they want sent. It runs in the responder thread; tests run it on memory
 * links under a clock of their own.
 *
 * - Order on taking an address: multicast groups, kernel filter, table entry, announcement. On giving
 *   it up: the table entry first, so that nothing is answered for it from that moment.
 * - It is answered for at once; its announcements wait for their turn when many are due: at most
 *   {@link ANNOUNCE_BATCH} addresses after rest, then {@link ANNOUNCE_RATE} a second. So the first
 *   announcement of the n-th address of a take-over leaves n / 16 ms after it at the latest, and at
 *   once up to the 64th. First ones go before repeated ones. The announcer is stepped when its
 *   frames leave, so that its distances hold.
 */
import { AddressMap } from "../packet/address/address-map.ts";
import { addressToBigInt, familyOf, isIPv6, type Address } from "../packet/address/address.ts";
import type { IPv6Address } from "../packet/address/ipv6.ts";
import { decodeMac, type MacAddress } from "../packet/address/mac.ts";
import { multicastMac, solicitedNodeAddress } from "../packet/address/multicast.ts";
import { maskNumber, type Prefix } from "../packet/address/prefix.ts";
import { LinkError, type OpenLink, type ReceivedFrame } from "../packet/link/link.ts";
import { announcementFrames, type Announcement } from "../packet/wire/announcement.ts";
import type { BpfProgram } from "../packet/wire/bpf.ts";
import { ETHERNET_FIELD } from "../packet/wire/ethernet.ts";
import {
  IDLE,
  REFRESH_INTERVAL_MS,
  stepAnnouncer,
  tableState,
  type AnnouncerAction,
  type AnnouncerEvent,
  type AnnouncerState,
  type Pace as ProbePace,
} from "./announcer.ts";
import { Deadlines } from "./deadlines.ts";
import type { UsableInterface } from "./interfaces.ts";
import { FILTERED_TYPES, OpenInterface } from "./open-interface.ts";
import { Pace } from "./pace.ts";
import { MAX_REPLY_LENGTH, respond, type AnnouncedAddress, type Conflict } from "./responder.ts";
import type { AddressTraffic } from "./traffic.ts";
import type {
  FilterOf,
  InterfaceCounts,
  Report,
  ResponderCounters,
  TableEntry,
} from "./thread-protocol.ts";

/** Addresses whose announcements leave together after rest. */
export const ANNOUNCE_BATCH = 64;
/** Addresses a second after that: 32,000 ARP frames on a link. */
export const ANNOUNCE_RATE = 16_000;
/** How soon the next ones leave when some had to wait. */
const ANNOUNCE_TICK_MS = 2;
/** A conflict that is not defended against is reported again after this long. */
const CONFLICT_AGAIN_MS = 30_000;
/** Addresses of which a report holds counts: the rest goes with the next. */
const ADDRESSES_A_REPORT = 1000;

/** What the shell is given of the world. */
export interface AnnouncingOptions {
  readonly openLink: (interfaceName: string) => OpenLink;
  readonly report: (report: Report) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Calls back once at a time, in place of any earlier wish; `undefined`: never. */
  readonly wakeAt: (time: number | undefined) => void;
  readonly random: () => number;
  /** Asked before a frame is looked at; false: it is dropped. Absent: never. */
  readonly mayAnswer?: (frame: ReceivedFrame) => boolean;
  /** Another speaker was heard to claim an address that we answer for. */
  readonly rival?: (address: Address, mac: MacAddress) => void;
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

interface Held {
  entry: TableEntry;
  /** Whether to answer for it, or only to ask for it. */
  wanted: boolean;
  announcer: AnnouncerState;
  wakeAt: number | undefined;
  /** The earliest of the deadlines set for it: what is popped before that is none any more. */
  deadlineAt: number;
  interfaces: readonly string[];
  /** Where a stranger was last seen with it, and when that was reported. */
  contestedOn: string;
  reportedAt: number;
}

/** Answers and announces on all interfaces. */
export class Announcing {
  readonly #options: AnnouncingOptions;
  readonly #open = new Map<string, OpenInterface>();
  readonly #held = new Map<Address, Held>();
  readonly #table = new AddressMap<AnnouncedAddress>();
  /** Addresses that wait for their turn to be announced; with a pace, to be probed first. */
  readonly #starting = new Map<Address, ProbePace | undefined>();
  readonly #deadlines = new Deadlines<Address>();
  readonly #pace: Pace;
  readonly #reply = new Uint8Array(MAX_REPLY_LENGTH);
  #refreshIntervalMs = REFRESH_INTERVAL_MS;
  /** Other speakers' MAC addresses, once they are known. */
  #members: readonly MacAddress[] | undefined;
  #colleagues: ReadonlySet<MacAddress> = new Set();
  /** Counts of interfaces that were closed. */
  readonly #closed = { interfaces: [] as InterfaceCounts[], addresses: [] as AddressTraffic[] };

  /** Does nothing before it is told of interfaces and addresses. */
  constructor(options: AnnouncingOptions) {
    this.#options = options;
    this.#pace = new Pace(ANNOUNCE_RATE, ANNOUNCE_BATCH, options.now());
  }

  /**
   * Takes the interfaces that can be used now; links to the others are closed.
   * @returns why those that could not be opened were not; they are tried again by the next call.
   */
  setInterfaces(usable: readonly UsableInterface[]): ReadonlyMap<string, Error> {
    const fresh = new Set<string>();
    const refused = new Map<string, Error>();
    for (const name of [...this.#open.keys()])
      if (!usable.some((each) => each.name === name)) this.#close(name);
    for (const facts of usable) {
      const open = this.#open.get(facts.name);
      const error = open === undefined ? this.#openInterface(facts) : undefined;
      if (error !== undefined) refused.set(facts.name, error);
      else if (open?.update(facts) ?? true) fresh.add(facts.name);
    }
    this.#meetColleagues();
    this.#place([...this.#held.values()], fresh);
    this.#run();
    return refused;
  }

  /** Takes changes of the table. An address that is announced already is only placed anew. */
  change(announce: readonly TableEntry[], withdraw: readonly Address[]): void {
    this.#withdraw(withdraw);
    this.#place(announce.map((entry) => this.#hold(entry, true)));
    this.#run();
  }

  /** Tells the LAN again of addresses that are announced. */
  announceAgain(addresses: readonly Address[]): void {
    for (const address of addresses)
      if (this.#held.get(address)?.wanted === true) this.#awaitTurn(address);
    this.#run();
  }

  /** Asks the LAN for addresses that are to be used for the first time; asked again, asks anew. */
  probe(entries: readonly TableEntry[], pace: ProbePace): void {
    const asked = entries.map((entry) => this.#hold(entry, false));
    this.#place(asked);
    for (const held of asked) if (!held.wanted) this.#starting.set(held.entry.address, pace);
    this.#run();
  }

  /** Listens no more for addresses that were asked for and are not wanted. */
  forget(addresses: readonly Address[]): void {
    this.#withdraw(addresses.filter((address) => this.#held.get(address)?.wanted === false));
    this.#run();
  }

  /** Takes the MAC addresses of the other speakers. From now on conflicts are defended against. */
  setColleagues(macs: readonly MacAddress[]): void {
    this.#members = macs;
    this.#meetColleagues();
  }

  /** Takes the longest time from one announcement of an address to the next. */
  setRefreshInterval(refreshIntervalMs: number): void {
    if (refreshIntervalMs === this.#refreshIntervalMs) return;
    this.#refreshIntervalMs = refreshIntervalMs;
    for (const held of this.#held.values()) this.#step(held, { kind: "reschedule" });
    this.#run();
  }

  /** Takes a filter that was compiled elsewhere. */
  takeFilter(of: FilterOf, programs: readonly BpfProgram[], exact: boolean): void {
    const type = FILTERED_TYPES.find((each) => each === of.etherType);
    if (type !== undefined)
      this.#open.get(of.interfaceName)?.takeFilter(type, of.id, programs, exact);
    this.#run();
  }

  /** Does what is due. */
  wake(): void {
    for (const open of this.#open.values()) open.wakeFilters();
    this.#run();
  }

  /** What happened since the last call; `more` if there was too much for one report. */
  takeCounters(): { readonly counters: ResponderCounters; readonly more: boolean } {
    const open = [...this.#open.values()];
    const last = this.#closed;
    const interfaces = [
      ...last.interfaces.splice(0),
      ...open.flatMap((each) => each.takeCounts() ?? []),
    ];
    const addresses = [
      ...last.addresses.splice(0),
      ...open.flatMap((each) => each.traffic.takeAddresses(ADDRESSES_A_REPORT)),
    ];
    const more = open.some(({ traffic }) => traffic.waiting > 0);
    return { counters: { interfaces, addresses }, more };
  }

  /** Stops answering at once and closes every link. */
  close(): void {
    this.#table.clear();
    this.#held.clear();
    this.#starting.clear();
    for (const name of [...this.#open.keys()]) this.#close(name);
    this.#options.wakeAt(undefined);
  }

  // ---- interfaces

  #openInterface(facts: UsableInterface): Error | undefined {
    const { report, now } = this.#options;
    try {
      const open = new OpenInterface(facts, this.#options.openLink(facts.name), {
        frame: (frame, on) => this.#receive(frame, on),
        cameBack: (on) => this.#comeBack(on.name),
        compile: (on, etherType, job) =>
          report({ kind: "compile", interfaceName: on.name, etherType, ...job }),
        due: () => this.#run(),
        trouble: (message) => report({ kind: "trouble", message }),
        now,
      });
      this.#open.set(facts.name, open);
      return undefined;
    } catch (error) {
      if (error instanceof LinkError) return error;
      throw error;
    }
  }

  #close(name: string): void {
    const open = this.#open.get(name);
    if (open === undefined) return;
    const { exact: _gone, ...last } = open.takeCounts() ?? nothingCounted(name);
    this.#closed.interfaces.push(last);
    this.#closed.addresses.push(...open.traffic.takeAddresses(Infinity));
    this.#open.delete(name);
    open[Symbol.dispose]();
  }

  /** After its link was down the neighbours may have forgotten, or learnt otherwise. */
  #comeBack(name: string): void {
    for (const [address, held] of this.#held)
      if (held.wanted && held.interfaces.includes(name)) this.#awaitTurn(address);
    this.#run();
  }

  /** Our own other interfaces on the same link are no strangers either. */
  #meetColleagues(): void {
    const own = [...this.#open.values()].map(({ mac }) => mac);
    this.#colleagues = new Set([...own, ...(this.#members ?? [])]);
  }

  // ---- frames

  #receive(frame: ReceivedFrame, on: OpenInterface): void {
    const mayAnswer = this.#options.mayAnswer?.(frame) !== false;
    const verdict = respond(
      frame.octets,
      on.responding,
      this.#table,
      this.#colleagues,
      this.#reply,
    );
    // What may not be answered any more still tells of another host.
    if (!mayAnswer && verdict.outcome !== "conflict") {
      on.traffic.dropped("fenced");
      return;
    }
    switch (verdict.outcome) {
      case "reply":
        on.link.send(this.#reply.subarray(0, verdict.length));
        on.traffic.answered(verdict.announced.address);
        break;
      case "drop":
        on.traffic.dropped(verdict.reason, verdict.announced?.address);
        if (verdict.reason === "colleagueClaim" && verdict.announced !== undefined)
          this.#options.rival?.(
            verdict.announced.address,
            decodeMac(frame.octets, ETHERNET_FIELD.source),
          );
        break;
      case "conflict":
        on.traffic.conflicted(verdict.announced.address);
        this.#meetConflict(verdict, on);
        break;
    }
  }

  #meetConflict({ announced: { address }, mac }: Conflict, { name }: OpenInterface): void {
    const held = this.#held.get(address);
    if (held === undefined) return;
    held.contestedOn = name;
    if (held.announcer.phase === "announced" && this.#members === undefined) {
      this.#reportConflict(held, mac);
      return;
    }
    this.#step(held, { kind: "conflict", mac });
    this.#run();
  }

  /**
   * While the other speakers are unknown: reported, not defended. At a hand-over the claim is the
   * next owner's, and it cannot be told from a stranger's.
   */
  #reportConflict(held: Held, mac: MacAddress): void {
    const now = this.#options.now();
    if (now - held.reportedAt < CONFLICT_AGAIN_MS) return;
    held.reportedAt = now;
    const { address } = held.entry;
    const interfaceName = held.contestedOn;
    this.#options.report({ kind: "conflict", address, mac, interfaceName, defended: false });
  }

  // ---- addresses

  #hold(entry: TableEntry, wanted: boolean): Held {
    const before = this.#held.get(entry.address);
    if (before !== undefined) {
      before.entry = entry;
      if (wanted && !before.wanted) this.#becomeWanted(before);
      return before;
    }
    const held: Held = {
      entry,
      wanted,
      announcer: IDLE,
      wakeAt: undefined,
      deadlineAt: Infinity,
      interfaces: [],
      contestedOn: "",
      reportedAt: -Infinity,
    };
    this.#held.set(entry.address, held);
    if (wanted) this.#awaitTurn(entry.address);
    return held;
  }

  /** What was found out before does not count any more: whoever wants it now knows better. */
  #becomeWanted(held: Held): void {
    held.wanted = true;
    this.#awaitTurn(held.entry.address);
    if (held.announcer.phase === "probing") return;
    held.announcer = IDLE;
    this.#enter(held);
  }

  #withdraw(addresses: readonly Address[]): void {
    for (const address of addresses) this.#table.delete(address);
    const given = new Map<string, Address[]>();
    for (const address of addresses) {
      const held = this.#held.get(address);
      if (held === undefined) continue;
      this.#held.delete(address);
      this.#starting.delete(address);
      for (const name of held.interfaces) pushTo(given, name, address);
      if (held.wanted) this.#options.report({ kind: "announced", address, interfaces: [] });
    }
    for (const [name, removed] of given) this.#release(name, removed);
  }

  /**
   * Puts addresses on the interfaces that fit now: all filters first, then the table.
   * @param fresh interfaces whose neighbours know nothing of them yet, whatever was announced.
   */
  #place(moved: readonly Held[], fresh: ReadonlySet<string> = new Set()): void {
    const usable = [...this.#open.values()].map(({ facts }) => facts);
    const added = new Map<string, Address[]>();
    const removed = new Map<string, Address[]>();
    const changed = moved.filter((held) => {
      const { address, interfaces: allowed } = held.entry;
      const before = held.interfaces;
      const interfaces = interfacesFor(address, allowed, usable);
      held.interfaces = interfaces;
      for (const name of interfaces) if (!before.includes(name)) pushTo(added, name, address);
      for (const name of before) if (!interfaces.includes(name)) pushTo(removed, name, address);
      const news = interfaces.some((name) => fresh.has(name) || !before.includes(name));
      if (held.wanted && news) this.#awaitTurn(address);
      return interfaces.join() !== before.join() || !this.#table.has(address);
    });
    for (const [name, addresses] of added) this.#engage(name, addresses);
    for (const held of changed) this.#enter(held);
    for (const [name, addresses] of removed) this.#release(name, addresses);
  }

  /** Has an interface hear what is about addresses. */
  #engage(name: string, addresses: readonly Address[]): void {
    const open = this.#open.get(name);
    open?.join(addresses.filter(isIPv6).map(groupOf));
    open?.cover(addresses, []);
  }

  #release(name: string, addresses: readonly Address[]): void {
    const open = this.#open.get(name);
    for (const address of addresses) if (isIPv6(address)) open?.link.leaveGroup(groupOf(address));
    open?.cover([], addresses);
  }

  /** Enters an address into the table, as it stands, and reports where it is answered for. */
  #enter(held: Held): void {
    const { address } = held.entry;
    const { interfaces } = held;
    this.#table.set(address, { address, state: stateOf(held), interfaces: new Set(interfaces) });
    if (held.wanted) this.#options.report({ kind: "announced", address, interfaces });
  }

  // ---- announcing

  /** A probe that waits too goes first. */
  #awaitTurn(address: Address): void {
    if (!this.#starting.has(address)) this.#starting.set(address, undefined);
  }

  /** Takes the steps whose turn it is, sends what they want sent, and asks to be woken. */
  #run(): void {
    const now = this.#options.now();
    const waiting = !this.#start(now) || !this.#wakeAnnouncers(now);
    for (const open of this.#open.values()) open.flush();
    const filters = Math.min(...[...this.#open.values()].map((open) => open.filtersDueAt));
    const steps = waiting ? now + ANNOUNCE_TICK_MS : this.#deadlines.next();
    const next = Math.min(filters, steps);
    this.#options.wakeAt(next === Infinity ? undefined : next);
  }

  /** @returns whether all addresses that waited had their turn */
  #start(now: number): boolean {
    for (const [address, pace] of this.#starting) {
      const held = this.#held.get(address);
      // Without an interface nobody would hear it; with one it comes here again.
      const heard = held !== undefined && held.interfaces.length > 0;
      if (heard && !this.#pace.take(1, now)) return false;
      this.#starting.delete(address);
      if (!heard) continue;
      if (pace !== undefined) this.#ask(held, pace);
      if (held.wanted) this.#step(held, { kind: "announce" });
    }
    return true;
  }

  /** @returns whether all announcers that are due were woken */
  #wakeAnnouncers(now: number): boolean {
    for (;;) {
      const address = this.#deadlines.pop(now);
      if (address === undefined) return true;
      const held = this.#held.get(address);
      if (held === undefined || held.deadlineAt > now) continue;
      const due = held.wakeAt !== undefined && held.wakeAt <= now;
      const turn = !due || this.#pace.take(1, now);
      held.deadlineAt = Infinity;
      if (due && turn) this.#step(held, { kind: "wake" });
      else this.#setDeadline(held);
      if (!turn) return false;
    }
  }

  /** At most one deadline waits for an address, beside those that have become void. */
  #setDeadline(held: Held): void {
    // Nobody waits for an address that is taken and not wanted: whoever asked may ask again.
    if (held.announcer.phase === "taken" && !held.wanted) return;
    if (held.wakeAt === undefined || held.wakeAt >= held.deadlineAt) return;
    held.deadlineAt = held.wakeAt;
    this.#deadlines.set(held.wakeAt, held.entry.address);
  }

  #ask(held: Held, pace: ProbePace): void {
    // What was found out before is no answer to a new question.
    if (!held.wanted && held.announcer.phase !== "probing") held.announcer = IDLE;
    this.#step(held, { kind: "probe", pace });
  }

  #step(held: Held, event: AnnouncerEvent): void {
    const { address } = held.entry;
    const context = {
      family: familyOf(address),
      random: this.#options.random,
      refreshIntervalMs: this.#refreshIntervalMs,
    };
    const before = stateOf(held);
    const step = stepAnnouncer(held.announcer, event, this.#options.now(), context);
    held.announcer = step.state;
    held.wakeAt = step.wakeAt;
    this.#setDeadline(held);
    // In the table before it is announced: whoever hears it may ask at once.
    if (stateOf(held) !== before) this.#enter(held);
    for (const action of step.actions) this.#act(held, action);
  }

  #act(held: Held, action: AnnouncerAction): void {
    const { address } = held.entry;
    const { report } = this.#options;
    switch (action.kind) {
      case "send":
        this.#send(held, action.what);
        break;
      case "free":
        report({ kind: "probed", address });
        break;
      case "taken":
        report({ kind: "probed", address, takenBy: action.mac });
        break;
      case "conflict": {
        const interfaceName = held.contestedOn;
        report({ kind: "conflict", address, mac: action.mac, interfaceName, defended: true });
        break;
      }
      case "conflictOver":
        report({ kind: "conflictOver", address, mac: action.mac });
        break;
    }
  }

  #send({ entry: { address }, interfaces }: Held, what: Announcement): void {
    for (const name of interfaces) {
      const open = this.#open.get(name);
      open?.announce(address, announcementFrames(what, address, open.facts));
    }
  }
}

/** An address whose announcement waits for its turn is answered for already. */
function stateOf({ wanted, announcer }: Held): AnnouncedAddress["state"] {
  const state = tableState(announcer);
  return state ?? (wanted ? "announced" : "probing");
}

function nothingCounted(name: string): InterfaceCounts {
  return { name, received: 0, answered: 0, drops: {}, overruns: 0, refused: 0 };
}

function pushTo(lists: Map<string, Address[]>, name: string, address: Address): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [address]);
  else list.push(address);
}

function groupOf(address: IPv6Address): MacAddress {
  return multicastMac(solicitedNodeAddress(address));
}
