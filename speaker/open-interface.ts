/** One interface at work: its link, what the responder has to know of it, its filters, its counts. */
import { isIPv4, type Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import { NEIGHBOR_FILTER } from "../packet/link/af-packet.ts";
import {
  LinkError,
  type Link,
  type LinkStatistics,
  type OpenLink,
  type ReceivedFrame,
} from "../packet/link/link.ts";
import type { BpfProgram } from "../packet/wire/bpf.ts";
import { ETHER_TYPE_ARP, ETHER_TYPE_IPV6 } from "../packet/wire/ethernet.ts";
import type { UsableInterface } from "./interfaces.ts";
import { prepareInterface, type RespondingInterface } from "./responder.ts";
import { SocketFilter, type FilterJob } from "./socket-filter.ts";
import type { InterfaceCounts } from "./thread-protocol.ts";
import { Traffic } from "./traffic.ts";

/** The EtherTypes of a link, each with a socket and a filter of its own. */
export const FILTERED_TYPES = [ETHER_TYPE_ARP, ETHER_TYPE_IPV6] as const;
/** See {@link FILTERED_TYPES}. */
export type FilteredType = (typeof FILTERED_TYPES)[number];

/** What an interface calls. */
export interface OpenInterfaceHandlers {
  frame(frame: ReceivedFrame, on: OpenInterface): void;
  /** It was down: neighbours may have forgotten, or learnt otherwise. */
  cameBack(on: OpenInterface): void;
  compile(on: OpenInterface, etherType: FilteredType, job: FilterJob): void;
  /** A filter is due sooner than it said. */
  due(): void;
  trouble(message: string): void;
  now(): number;
}

/** An interface that answers and announces. */
export class OpenInterface implements Disposable {
  readonly name: string;
  readonly link: Link;
  readonly traffic: Traffic;
  readonly #handlers: OpenInterfaceHandlers;
  readonly #filters: Readonly<Record<FilteredType, SocketFilter>>;
  readonly #outgoing: Uint8Array[] = [];
  #facts: UsableInterface;
  #responding: RespondingInterface;
  #statistics: LinkStatistics;
  #exactTold: boolean | undefined;

  /** Opens the link. @throws LinkError */
  constructor(facts: UsableInterface, open: OpenLink, handlers: OpenInterfaceHandlers) {
    this.name = facts.name;
    this.traffic = new Traffic(facts.name);
    this.#facts = facts;
    this.#responding = prepareInterface(facts);
    this.#handlers = handlers;
    this.link = open({
      frame: (frame) => handlers.frame(frame, this),
      up: () => handlers.cameBack(this),
      down: (_reason, error) => this.#wentDown(error),
    });
    this.#statistics = this.link.statistics();
    this.#filters = {
      [ETHER_TYPE_ARP]: this.#filterOf(ETHER_TYPE_ARP),
      [ETHER_TYPE_IPV6]: this.#filterOf(ETHER_TYPE_IPV6),
    };
    // Nothing is announced yet, so nothing needs to be heard.
    this.cover([], [], FILTERED_TYPES);
  }

  /** What is known of the interface. */
  get facts(): UsableInterface {
    return this.#facts;
  }

  /** The same, made ready for the responder. */
  get responding(): RespondingInterface {
    return this.#responding;
  }

  /** Takes new facts about the same interface. @returns whether its neighbours have to be told anew */
  update(facts: UsableInterface): boolean {
    const before = this.#facts;
    this.#facts = facts;
    this.#responding = prepareInterface(facts);
    const same = facts.index === before.index && facts.mac === before.mac;
    if (!same) this.link.refresh();
    return !same || facts.linkLocal !== before.linkLocal;
  }

  /** Has the interface receive frames to groups. */
  join(groups: readonly MacAddress[]): void {
    for (const group of groups) {
      try {
        this.link.joinGroup(group);
      } catch (error) {
        // Broadcast and unicast are heard all the same, and on most networks every group.
        if (!(error instanceof LinkError)) throw error;
        this.#handlers.trouble(error.message);
      }
    }
  }

  // ---- the kernel's filters

  /** Lets addresses through from now on, and others no longer. */
  cover(
    added: readonly Address[],
    removed: readonly Address[],
    types: readonly FilteredType[] = typesOf([...added, ...removed]),
  ): void {
    const now = this.#handlers.now();
    for (const type of types) {
      const ofType = (address: Address): boolean => typeOf(address) === type;
      this.#filters[type].change(added.filter(ofType), removed.filter(ofType), now);
    }
  }

  /** When to call {@link wakeFilters}; Infinity: not at all. */
  get filtersDueAt(): number {
    return Math.min(...FILTERED_TYPES.map((type) => this.#filters[type].dueAt ?? Infinity));
  }

  /** Compiles the filters that are due. */
  wakeFilters(): void {
    const now = this.#handlers.now();
    for (const type of FILTERED_TYPES) this.#filters[type].wake(now);
  }

  /** Takes a filter that was compiled elsewhere. */
  takeFilter(
    type: FilteredType,
    id: number,
    programs: readonly BpfProgram[],
    exact: boolean,
  ): void {
    this.#filters[type].take(id, programs, exact, this.#handlers.now());
  }

  /** Whether no filter lets through more than it must. */
  get exact(): boolean {
    return FILTERED_TYPES.every((type) => this.#filters[type].precision === "exact");
  }

  #filterOf(type: FilteredType): SocketFilter {
    return new SocketFilter({
      everything: NEIGHBOR_FILTER,
      attach: (programs) => this.#attach(programs, type),
      compileElsewhere: (job) => this.#handlers.compile(this, type, job),
      refused: () =>
        this.#handlers.trouble(
          `interface ${this.name}: the kernel has no room for any filter: raise net.core.optmem_max`,
        ),
    });
  }

  #attach(programs: readonly BpfProgram[], type: FilteredType): boolean {
    try {
      this.link.setFilter(programs, type);
      return true;
    } catch (error) {
      if (error instanceof LinkError && error.code === "FilterTooLarge") return false;
      throw error;
    }
  }

  /** A link whose filter is refused when it is opened anew would stay down for ever. */
  #wentDown(error: LinkError | undefined): void {
    if (error === undefined) return;
    this.#handlers.trouble(error.message);
    if (error.code !== "FilterTooLarge") return;
    this.link.setFilter([NEIGHBOR_FILTER]);
    for (const type of FILTERED_TYPES) this.#filters[type].reset(this.#handlers.now());
    this.#handlers.due();
  }

  // ---- sending

  /** Keeps frames for {@link flush}, and counts them for their address. */
  announce(address: Address, frames: readonly Uint8Array[]): void {
    if (frames.length === 0) return;
    this.#outgoing.push(...frames);
    this.traffic.announced(address, frames.length);
  }

  /** Sends what was kept, as one batch. */
  flush(): void {
    if (this.#outgoing.length > 0) this.link.sendBatch(this.#outgoing.splice(0));
  }

  // ---- counts

  /** Gives what happened since the last time, undefined if nothing did. */
  takeCounts(): InterfaceCounts | undefined {
    const before = this.#statistics;
    const now = this.link.statistics();
    this.#statistics = now;
    this.traffic.lost("vlanTag", now.tagged - before.tagged);
    this.traffic.lost("oversized", now.oversized - before.oversized);
    this.traffic.lost("foreign", now.foreign - before.foreign);
    const frames = this.traffic.takeFrames();
    const overruns = now.dropped - before.dropped;
    const refused = now.refused - before.refused;
    const { exact } = this;
    const quiet =
      frames.received + overruns + refused === 0 && Object.keys(frames.drops).length === 0;
    if (quiet && exact === this.#exactTold) return undefined;
    this.#exactTold = exact;
    return { name: this.name, ...frames, overruns, refused, exact };
  }

  /** Its MAC address, as neighbours see it. */
  get mac(): MacAddress {
    return this.#facts.mac;
  }

  /** Closes the link. */
  [Symbol.dispose](): void {
    this.link[Symbol.dispose]();
  }
}

function typeOf(address: Address): FilteredType {
  return isIPv4(address) ? ETHER_TYPE_ARP : ETHER_TYPE_IPV6;
}

function typesOf(addresses: readonly Address[]): FilteredType[] {
  return FILTERED_TYPES.filter((type) => addresses.some((address) => typeOf(address) === type));
}
