/**
 * The shell of the speakers' protocol: sockets, keys and the timer around `Protocol`, in the
 * responder thread. What the protocol wants done on the LAN it has done by a {@link Ground}.
 */
import { randomBytes, randomInt } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { familyOf, parseAddress, type Address, type Family } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import { BoundedMap } from "./bounded-map.ts";
import type { Candidacies } from "./candidacy.ts";
import { decodeMessages, encodeMessages } from "./codec.ts";
import type { Action, Cause, Send, WitnessPurpose } from "./context.ts";
import { MEMBER_PORT } from "./messages.ts";
import { Protocol, type Event } from "./protocol.ts";
import type { Endpoint, Link } from "./roster.ts";
import { Seal, type Key, type OpenReason } from "./seal.ts";
import type { ConversationCounts } from "./thread-protocol.ts";

/** What a witness saw on the LAN. */
export interface Testimony {
  /**
   * One of the addresses was answered for by one of the subject's MAC addresses; of oneself: by
   * anybody else's.
   */
  readonly answered: boolean;
  /** Any frame of another host came in. */
  readonly heard: boolean;
  /** Any host answered what was asked. */
  readonly reached: boolean;
}

/** What a probe of an address found. */
export interface ProbeOutcome {
  readonly taken: boolean;
  readonly heard: boolean;
  readonly by?: MacAddress;
}

/** What the protocol has done on the LAN. */
export interface Ground {
  withdraw(addresses: readonly Address[]): void;
  activate(addresses: readonly Address[]): void;
  /** Tells the LAN again that these are here. */
  announce(addresses: readonly Address[]): void;
  /** Answers for nothing (on), or again for all that is active (off). */
  fence(on: boolean): void;
  /**
   * Asks the LAN for addresses.
   * @param macs whose answers count; undefined: anybody's
   */
  witness(
    addresses: readonly Address[],
    macs: ReadonlySet<MacAddress> | undefined,
    purpose: WitnessPurpose,
  ): Promise<Testimony>;
  probe(address: Address): Promise<ProbeOutcome>;
  /** Listens no more for addresses that were probed. */
  forget(addresses: readonly Address[]): void;
}

/** What others want to know of it. */
export interface ConversationReports {
  /** The owners of these addresses may have changed. */
  readonly owners: (addresses: readonly Address[]) => void;
  /** Addresses are answered for from now on, or no longer; `since` as in the action `activate`. */
  readonly moved: (
    addresses: readonly Address[],
    taken: boolean,
    cause: Cause,
    since?: readonly number[],
  ) => void;
  /** Members came, went or changed. */
  readonly members: () => void;
  /** Everything is handed over, or the grace is over. */
  readonly left: (forced: number) => void;
  readonly trouble: (message: string) => void;
}

/** What a conversation is started with. */
export interface ConversationOptions {
  readonly node: string;
  /** Keeps clusters apart that have the same key. */
  readonly cluster: string;
  readonly keys: readonly Key[];
  /** Milliseconds between two heartbeats. */
  readonly interval: number;
  readonly multiplier: number;
  readonly port?: number;
  readonly endpoints: readonly Endpoint[];
  readonly links: readonly Link[];
  readonly candidacies: Candidacies;
  readonly ground: Ground;
  readonly reports: ConversationReports;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

/** Why a datagram was not taken. */
type Refused = OpenReason | "malformed";

/** A port that is taken is asked for again after so long. */
const REOPEN_MS = 1000;
/** Endpoints of senders remembered by the text of their address. */
const SOURCES = 4096;

/** One speaker in conversation with the others. */
export class Conversation {
  readonly #options: ConversationOptions;
  readonly #protocol: Protocol;
  readonly #seal: Seal;
  readonly #sockets = new Map<Family, Socket>();
  /** Families whose port could not be had, and why, as it was told. */
  readonly #troubles = new Map<Family, string>();
  readonly #reopening = new Map<Family, NodeJS.Timeout>();
  readonly #sources = new BoundedMap<string, Endpoint>(SOURCES);
  #refused = new Map<Refused, number>();
  readonly #counted = new Map<string, number>();
  #sent = 0;
  #received = 0;
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Infinity;
  #timerAt = Infinity;
  #closed = false;

  /** Opens the sockets and begins to join. */
  constructor(options: ConversationOptions) {
    this.#options = options;
    const { node, cluster, keys, interval, multiplier, endpoints, links, candidacies } = options;
    const life = randomBytes(16).toString("hex");
    this.#seal = new Seal(cluster, node, life, keys);
    const keyIds = this.#seal.keyIds;
    // Nonces come from it: it must not be guessed.
    const random = (): number => randomInt(2 ** 47) / 2 ** 47;
    this.#protocol = new Protocol(
      { name: node, life, interval, multiplier, endpoints, links, keyIds, candidacies, random },
      options.now(),
    );
    this.#openFor(endpoints);
    this.step({ type: "tick" });
  }

  /** What the protocol knows. */
  get protocol(): Protocol {
    return this.#protocol;
  }

  /** Gives what happened since the last call. */
  takeCounts(): ConversationCounts {
    const events: Record<string, number> = {};
    for (const [name, count] of this.#protocol.counters) {
      const more = count - (this.#counted.get(name) ?? 0);
      if (more > 0) events[name] = more;
      this.#counted.set(name, count);
    }
    const counts = {
      sent: this.#sent,
      received: this.#received,
      events,
      refused: Object.fromEntries(this.#refused),
      roundTrips: this.#protocol.takeRoundTrips(),
    };
    [this.#sent, this.#received] = [0, 0];
    this.#refused = new Map();
    return counts;
  }

  /** Takes in an event and does what follows from it. */
  step(event: Event): void {
    if (this.#closed) return;
    if (event.type === "moved") this.#openFor(event.endpoints);
    const { actions, wakeAt } = this.#protocol.step(event, this.#options.now());
    this.#wakeAt = wakeAt;
    for (const action of actions) this.#act(action);
    this.#schedule();
  }

  /**
   * To be called before a frame is answered: a loop that stood still past its time is fenced before
   * it speaks.
   */
  catchUp(): void {
    if (this.#options.now() >= this.#wakeAt) this.step({ type: "tick" });
  }

  /** Accepts these keys from now on, oldest first. */
  rekey(keys: readonly Key[]): void {
    this.#seal.rekey(keys);
    this.step({ type: "keys", keyIds: this.#seal.keyIds });
  }

  /** Closes the sockets; says nothing to anybody. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const timer of this.#reopening.values()) clearTimeout(timer);
    for (const socket of this.#sockets.values()) socket.close();
  }

  /** A node may come by an address of the other family at any time. */
  #openFor(endpoints: readonly Endpoint[]): void {
    for (const family of new Set(endpoints.map(({ address }) => familyOf(address))))
      if (!this.#sockets.has(family) && !this.#reopening.has(family)) this.#open(family);
  }

  #open(family: Family): void {
    const port = this.#options.port ?? MEMBER_PORT;
    // Only addresses are sent to: nothing is to be looked up, and nothing waits for a later turn.
    const lookup: SocketOptions["lookup"] = (host, _options, found) =>
      found(null, host, family === "ipv4" ? 4 : 6);
    const socket =
      family === "ipv4"
        ? createSocket({ type: "udp4", lookup })
        : createSocket({ type: "udp6", ipv6Only: true, lookup });
    socket.on("message", (datagram, from) => this.#receive(datagram, from));
    socket.on("error", (error) => {
      const trouble = `UDP port ${port}, ${family}: ${error.message}`;
      if (this.#troubles.get(family) !== trouble) this.#options.reports.trouble(trouble);
      this.#troubles.set(family, trouble);
      this.#reopen(family, socket);
    });
    socket.on("listening", () => this.#troubles.delete(family));
    // Before it is bound: that it cannot be is told at once.
    this.#sockets.set(family, socket);
    socket.bind(port);
  }

  /** Without its port a socket would send from another, and hear nothing: somebody may leave it soon. */
  #reopen(family: Family, socket: Socket): void {
    if (this.#closed || this.#sockets.get(family) !== socket) return;
    this.#sockets.delete(family);
    socket.close();
    const again = (): void => {
      this.#reopening.delete(family);
      this.#open(family);
    };
    this.#reopening.set(family, setTimeout(again, REOPEN_MS));
  }

  #receive(datagram: Uint8Array, from: RemoteInfo): void {
    this.#received++;
    const opened = this.#seal.open(datagram);
    if (!opened.ok) {
      this.#refuse(opened.reason);
      return;
    }
    const decoded = decodeMessages(opened.value.payload);
    const source = this.#sourceOf(from);
    if (!decoded.ok || source === undefined) {
      this.#refuse("malformed");
      return;
    }
    const { sender, counter } = opened.value;
    this.step({ type: "packet", packet: { sender, counter, source, messages: decoded.value } });
  }

  /** Where a datagram came from; always the same few places, and only holders of the key come here. */
  #sourceOf({ address, port }: RemoteInfo): Endpoint | undefined {
    const known = this.#sources.get(address);
    if (known?.port === port) return known;
    const parsed = parseAddress(address);
    if (!parsed.ok) return undefined;
    const source = { address: parsed.value, port };
    this.#sources.set(address, source);
    return source;
  }

  #refuse(reason: Refused): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
  }

  #act(action: Action): void {
    const { ground, reports } = this.#options;
    switch (action.type) {
      case "send":
        this.#send(action);
        break;
      case "withdraw":
        ground.withdraw(action.addresses);
        reports.moved(action.addresses, false, action.cause);
        break;
      case "activate":
        ground.activate(action.addresses);
        reports.moved(action.addresses, true, action.cause, action.since);
        break;
      case "announce":
        ground.announce(action.addresses);
        break;
      case "fence":
        ground.fence(action.on);
        break;
      case "witness":
        void this.#witness(action.subject, action.addresses, action.purpose);
        break;
      case "probe":
        void this.#probe(action.address);
        break;
      case "forget":
        ground.forget(action.addresses);
        break;
      case "member":
        reports.members();
        break;
      case "owner":
        reports.owners(action.addresses);
        break;
      case "left":
        reports.left(action.forced);
        break;
    }
  }

  #send({ to, endpoint, keyIds, messages }: Send): void {
    const socket = this.#sockets.get(familyOf(endpoint.address));
    const sealed = this.#seal.seal(encodeMessages(messages), to, keyIds);
    if (socket === undefined || sealed === undefined) return;
    this.#sent++;
    // Lost datagrams are normal, whatever lost them: the protocol repeats what matters.
    socket.send(sealed, endpoint.port, endpoint.address, () => undefined);
  }

  async #witness(
    subject: string,
    addresses: readonly Address[],
    purpose: WitnessPurpose,
  ): Promise<void> {
    const { roster, own } = this.#protocol;
    const links = subject === own.name ? undefined : (roster.get(subject)?.links ?? []);
    const macs = links && new Set(links.map(({ mac }) => mac));
    const testimony = await this.#options.ground.witness(addresses, macs, purpose);
    this.step({ type: "witness", subject, purpose, ...testimony });
  }

  async #probe(address: Address): Promise<void> {
    const outcome = await this.#options.ground.probe(address);
    this.step({ type: "probed", address, ...outcome });
  }

  /**
   * One timer, left alone while it is early enough: each packet puts some deadline off, and the timer
   * that then fires too early only sets itself anew.
   */
  #schedule(): void {
    if (this.#wakeAt >= this.#timerAt || this.#closed) return;
    clearTimeout(this.#timer);
    this.#timerAt = this.#wakeAt;
    const delay = Math.max(0, this.#wakeAt - this.#options.now());
    this.#timer = setTimeout(() => this.#ring(), delay);
  }

  #ring(): void {
    this.#timerAt = Infinity;
    // Node's timers count in whole milliseconds and may be early by a part of one.
    if (this.#options.now() + 1 >= this.#wakeAt) this.step({ type: "tick" });
    else this.#schedule();
  }
}
