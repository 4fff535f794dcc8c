/**
 * Many real protocol machines under one virtual clock, on one virtual LAN. The LAN loses, delays,
 * doubles and reorders packets, is cut one way or in parts; machines lose power, processes crash,
 * freeze and restart with nothing on disk; views of the API differ. All chance comes from one seed.
 */
import { listCandidacy, type Candidacy } from "../../speaker/candidacy.ts";
import { rankOf, type Rank } from "../../speaker/claims.ts";
import type { Action, Send } from "../../speaker/context.ts";
import { decodeMessages, encodeMessages } from "../../speaker/codec.ts";
import { idOfName, type Packet } from "../../speaker/membership.ts";
import { makeKey, Seal, type Key } from "../../speaker/seal.ts";
import { Protocol, type Event } from "../../speaker/protocol.ts";
import { ringPosition, type RingPosition } from "../../speaker/rings.ts";
import type { Endpoint, Link, MemberRecord } from "../../speaker/roster.ts";
import type { MacAddress } from "../../packet/address/mac.ts";
import type { Address } from "../../packet/address/address.ts";
import { Agenda } from "./agenda.ts";
import { between, seeded, type Random } from "./random.ts";

function memo<Args extends unknown[]>(
  make: (...args: Args) => string,
  key: (...args: Args) => string,
): (...args: Args) => string {
  const known = new Map<string, string>();
  return (...args) => {
    const id = key(...args);
    let value = known.get(id);
    if (value === undefined) known.set(id, (value = make(...args)));
    return value;
  };
}

export const rank: Rank = memo(rankOf, (node, address) => `${node}#${address}`);
const places = [0, 1].map((ring) => memo((name: string) => ringPosition(ring, name), String));
const position: RingPosition = (ring, name) => places[ring]?.(name) ?? "";

const idOf = memo(idOfName, (name) => name);

export const PORT = 7946;

function hex(octet: number): string {
  return octet.toString(16).padStart(2, "0");
}

/** The LAN between machines. */
export class Lan {
  loss = 0;
  /** One way delays in milliseconds. */
  delay: readonly [number, number] = [0.2, 1];
  /** Share of packets that are doubled, and that take ten times as long. */
  doubled = 0;
  reordered = 0;
  /** The whole switch is off. */
  dark = false;
  /** Part of the LAN that a machine is in; machines of different parts do not reach each other. */
  readonly part = new Map<SimNode, number>();
  /** Directed pairs over which nothing passes, and over which only our packets do not pass. */
  readonly cut = new Set<string>();
  readonly cutUdp = new Set<string>();
  readonly noEgress = new Set<SimNode>();
  readonly noIngress = new Set<SimNode>();
  /** Machines whose ARP does not pass: the link that their addresses live on is another, and cut. */
  readonly mute = new Set<SimNode>();

  passes(from: SimNode, to: SimNode): boolean {
    return (
      !this.dark &&
      from.hasPower &&
      to.hasPower &&
      from.hasCarrier &&
      to.hasCarrier &&
      (this.part.get(from) ?? 0) === (this.part.get(to) ?? 0) &&
      !this.noEgress.has(from) &&
      !this.noIngress.has(to) &&
      (this.cut.size === 0 || !this.cut.has(`${from.name}>${to.name}`))
    );
  }

  passesUdp(from: SimNode, to: SimNode): boolean {
    return (
      this.passes(from, to) &&
      (this.cutUdp.size === 0 || !this.cutUdp.has(`${from.name}>${to.name}`))
    );
  }

  heal(): void {
    this.dark = false;
    this.part.clear();
    this.cut.clear();
    this.cutUdp.clear();
    this.noEgress.clear();
    this.noIngress.clear();
    this.mute.clear();
  }
}

/** What watches a world: called after each step, and when answering begins or ends. */
export interface Observer {
  stepped?(node: SimNode, event: Event, actions: readonly Action[]): void;
  before?(node: SimNode, event: Event): void;
  answering?(address: Address, node: SimNode, on: boolean): void;
  sent?(node: SimNode, send: Send): void;
  delivered?(node: SimNode, packet: Packet): void;
}

/** One machine, and the speaker process on it. */
export class SimNode {
  readonly name: string;
  readonly world: World;
  readonly index: number;
  protocol: Protocol | undefined;
  hasPower = true;
  hasCarrier = true;
  hasApi = true;
  frozen = false;
  /** The process's clock: how much faster, and how much it missed in pauses that it cannot see. */
  rate = 1;
  missed = 0;
  readonly active = new Set<Address>();
  fenced = false;
  endpoint: Endpoint;
  readonly links: readonly Link[];
  life = "";
  seal: Seal | undefined;
  keys: readonly Key[];
  counter = 0;
  starts = 0;
  interval = 0;
  view = new Map<Address, Candidacy>();
  version = 1;
  learnsAt = 0;
  packetsSent = 0;
  packetsReceived = 0;
  hasLeft = false;
  wakeAt = Infinity;
  #timerAt = Infinity;
  #queue: Event[] = [];
  #frozenAt = 0;
  #wasAnswering = false;

  constructor(world: World, name: string, index: number) {
    this.world = world;
    this.name = name;
    this.index = index;
    this.keys = world.keys;
    const octets = `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${(index & 255) + 1}`;
    this.endpoint = { address: octets as Address, port: PORT };
    const mac = `02:00:00:00:${hex((index >> 8) & 255)}:${hex(index & 255)}` as MacAddress;
    this.links = [{ name: "eth0", mac, prefixes: [] }];
  }

  get isRunning(): boolean {
    return this.protocol !== undefined && this.hasPower;
  }

  /** Frames for active addresses are answered now. */
  get isAnswering(): boolean {
    return this.isRunning && !this.frozen && !this.fenced && this.hasCarrier;
  }

  answers(address: Address): boolean {
    return this.isAnswering && this.active.has(address);
  }

  local(): number {
    return (this.world.now - this.missed) * this.rate;
  }

  start(): void {
    const { world } = this;
    this.hasPower = true;
    this.starts++;
    this.life = (this.index * 65_536 + this.starts).toString(16).padStart(32, "0");
    this.counter = 0;
    this.active.clear();
    this.fenced = false;
    this.frozen = false;
    this.hasLeft = false;
    this.#queue = [];
    this.#timerAt = Infinity;
    this.interval = world.interval;
    this.view = new Map(this.hasApi ? world.truth : []);
    this.version = this.hasApi ? world.version : 0;
    this.protocol = new Protocol(
      {
        name: this.name,
        life: this.life,
        interval: world.interval,
        endpoints: [this.endpoint],
        links: this.links,
        keyIds: this.keys.map(({ id }) => id),
        candidacies: (address) => this.view.get(address),
        random: world.random,
        rank,
        position,
        idOf,
      },
      this.local(),
    );
    world.byEndpoint.set(this.endpoint.address, this);
    const isSealed = world.wire !== undefined;
    this.seal = isSealed ? new Seal(world.cluster, this.name, this.life, this.keys) : undefined;
    if (this.hasApi) {
      this.take({ type: "hints", hints: world.hints() });
      this.tellVersion();
      this.take({ type: "candidacies", addresses: [...this.view.keys()] });
    } else {
      this.take({ type: "tick" });
    }
  }

  /** The process is killed; the machine goes on. */
  crash(): void {
    this.protocol = undefined;
    this.#queue = [];
    this.frozen = false;
    this.wakeAt = Infinity;
    this.noteAnswering();
    this.active.clear();
    this.fenced = false;
  }

  /** The machine loses power. */
  powerOff(): void {
    this.crash();
    this.hasPower = false;
  }

  /** The process stands still; packets queue up in the kernel. */
  freeze(duration: number, isVisible = true): void {
    if (!this.isRunning || this.frozen) return;
    this.frozen = true;
    this.#frozenAt = this.world.now;
    this.noteAnswering();
    const { life } = this;
    this.world.at(this.world.now + duration, () => {
      if (this.life === life && this.frozen) this.thaw(isVisible);
    });
  }

  thaw(isVisible = true): void {
    this.frozen = false;
    const { now } = this.world;
    if (!isVisible) this.missed += now - this.#frozenAt;
    // Timers fire before the queue is read, as in Node.
    this.take({ type: "tick" });
    const queue = this.#queue;
    this.#queue = [];
    for (const event of queue) if (this.isRunning) this.take(event);
    this.noteAnswering();
  }

  take(event: Event): void {
    const { protocol, world } = this;
    if (protocol === undefined || !this.hasPower) return;
    if (this.frozen) {
      if (this.#queue.length < 2000) this.#queue.push(event);
      return;
    }
    for (const observer of world.observers) observer.before?.(this, event);
    if (event.type === "timing") this.interval = event.interval;
    const { actions, wakeAt } = protocol.step(event, this.local());
    this.wakeAt = wakeAt / this.rate + this.missed;
    this.#schedule();
    for (const action of actions) this.#act(action);
    for (const observer of world.observers) observer.stepped?.(this, event, actions);
  }

  /** Node-wide answering began or ended: carrier, fence, crash. */
  noteAnswering(): void {
    const is = this.isAnswering;
    if (is === this.#wasAnswering) return;
    this.#wasAnswering = is;
    for (const address of this.active) this.world.noteAnswer(address, this, is);
  }

  setCarrier(on: boolean): void {
    if (this.hasCarrier === on) return;
    this.hasCarrier = on;
    this.noteAnswering();
    if (on) this.take({ type: "carrier" });
  }

  setApi(on: boolean): void {
    this.hasApi = on;
    if (on) this.readApi();
  }

  /** Reads the whole state of the API, as after a relist. */
  readApi(): void {
    if (!this.isRunning) return;
    const addresses = new Set([...this.view.keys(), ...this.world.truth.keys()]);
    this.view = new Map(this.world.truth);
    this.version = this.world.version;
    this.take({ type: "hints", hints: this.world.hints() });
    this.tellVersion();
    this.take({ type: "candidacies", addresses: [...addresses] });
  }

  learn(address: Address, candidacy: Candidacy | undefined, version: number): void {
    if (!this.hasApi || !this.isRunning || version <= this.version) return;
    if (candidacy === undefined) this.view.delete(address);
    else this.view.set(address, candidacy);
    this.version = version;
    this.tellVersion();
    this.take({ type: "candidacies", addresses: [address] });
  }

  tellVersion(): void {
    const version = BigInt(this.version);
    this.take({ type: "versions", versions: [version, version, version, version] });
  }

  /** The mounted Secret changed. */
  rekey(keys: readonly Key[]): void {
    this.keys = keys;
    this.seal?.rekey(keys);
    this.take({ type: "keys", keyIds: keys.map(({ id }) => id) });
  }

  /** Moves the machine to another address. */
  renumber(address: Address): void {
    const { world } = this;
    if (world.byEndpoint.get(this.endpoint.address) === this) {
      world.byEndpoint.delete(this.endpoint.address);
    }
    this.endpoint = { address, port: PORT };
    world.byEndpoint.set(address, this);
    this.take({ type: "moved", endpoints: [this.endpoint], links: this.links });
  }

  #schedule(): void {
    if (this.wakeAt >= this.#timerAt) return;
    const at = Math.max(this.wakeAt, this.world.now);
    this.#timerAt = at;
    const { life } = this;
    // A loop is never exactly on time.
    this.world.at(at + this.world.random() * this.world.lag, () => {
      if (this.life !== life || this.#timerAt !== at) return;
      this.#timerAt = Infinity;
      if (this.protocol === undefined || this.frozen) return;
      if (this.world.now < this.wakeAt) this.#schedule();
      else this.take({ type: "tick" });
    });
  }

  #act(action: Action): void {
    const { world } = this;
    switch (action.type) {
      case "send":
        world.transmit(this, action);
        return;
      case "activate":
        for (const address of action.addresses) this.#answer(address, true);
        return;
      case "withdraw":
        for (const address of action.addresses) this.#answer(address, false);
        return;
      case "fence":
        this.fenced = action.on;
        this.noteAnswering();
        return;
      case "announce":
        for (const address of action.addresses) world.announce(address, this);
        return;
      case "witness":
        world.witness(this, action);
        return;
      case "probe":
        world.probe(this, action.address);
        return;
      case "left":
        this.hasLeft = true;
        world.at(world.now + 1, () => {
          if (this.hasLeft) this.crash();
        });
        return;
      default:
        return;
    }
  }

  #answer(address: Address, on: boolean): void {
    if (on === this.active.has(address)) return;
    this.noteAnswering();
    if (on) this.active.add(address);
    else this.active.delete(address);
    if (this.isAnswering) this.world.noteAnswer(address, this, on);
  }
}

/** A record as its member had it before it became active. */
function joinerOf(record: MemberRecord): MemberRecord {
  return record.status === "joining" ? record : { ...record, status: "joining", revision: 0 };
}

/** A datagram on the wire. */
export interface Captured {
  readonly at: number;
  readonly from: SimNode;
  readonly to: SimNode | undefined;
  readonly octets: Uint8Array;
}

/** The host that uses {@link World.foreign}. */
export const FOREIGN_MAC = "02:00:00:99:00:01" as MacAddress;

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly interval?: number;
  readonly names?: readonly string[];
}

/** The virtual world. */
export class World {
  /** Addresses that a host uses which is no member. */
  readonly foreign = new Set<Address>();
  readonly seed: number;
  readonly random: Random;
  readonly interval: number;
  readonly nodes: SimNode[];
  readonly lan = new Lan();
  readonly agenda = new Agenda();
  readonly observers: Observer[] = [];
  readonly byEndpoint = new Map<string, SimNode>();
  readonly truth = new Map<Address, Candidacy>();
  readonly ready = new Map<Address, readonly string[]>();
  readonly answerers = new Map<Address, Set<SimNode>>();
  version = 1;
  now = 0;
  steps = 0;
  /** How late a loop may be, and how long the API takes to tell a node. */
  lag = 0.5;
  apiLag: readonly [number, number] = [5, 50];
  /** Set to have all packets written and sealed; is given each of them. */
  wire: ((captured: Captured) => void) | undefined;
  keys: readonly Key[] = [makeKey(new Uint8Array(32).fill(1))];
  cluster = "cluster";
  readonly #byName = new Map<string, SimNode>();
  #hintList: { name: string; endpoints: Endpoint[] }[] | undefined;

  constructor(options: WorldOptions) {
    this.seed = options.seed;
    this.random = seeded(options.seed);
    this.interval = options.interval ?? 100;
    this.nodes = Array.from({ length: options.nodes }, (_, i) => {
      const name = options.names?.[i] ?? `node-${i}`;
      return new SimNode(this, name, i);
    });
    for (const node of this.nodes) this.#byName.set(node.name, node);
  }

  /**
   * Starts all nodes as if they had met and waited for each other, and had told each other that they
   * are active now: what a cold start of a thousand does in ten virtual seconds and a real minute. They
   * become active by the same Start as ever.
   */
  startTogether(): void {
    for (const node of this.nodes) node.start();
    const [first] = this.nodes;
    if (first === undefined) return;
    this.after(1, () => {
      for (const node of this.nodes) {
        const { name, life, endpoint } = node === first ? (this.nodes[1] ?? first) : first;
        const packet = { sender: { id: idOf(name), life }, counter: 0, source: endpoint };
        const from = this.node(name).protocol;
        if (from !== undefined) node.protocol?.roster.apply(joinerOf(from.own), node.local());
        node.take({ type: "packet", packet: { ...packet, messages: [{ type: "start" }] } });
      }
      for (const node of this.nodes) this.#meet(node);
    });
  }

  #meet(node: SimNode): void {
    const { name, protocol } = node;
    if (protocol === undefined) return;
    for (const other of this.nodes) {
      const own = other.name === name ? undefined : other.protocol?.own;
      if (own?.status !== "active") continue;
      protocol.roster.apply(own, node.local());
      protocol.claims.setCounted(own.life, true);
    }
  }

  node(name: string): SimNode {
    const node = this.#byName.get(name);
    if (node === undefined) throw new RangeError(`no node ${name}`);
    return node;
  }

  at(when: number, act: () => void): void {
    this.agenda.set(Math.max(when, this.now), act);
  }

  after(delay: number, act: () => void): void {
    this.at(this.now + delay, act);
  }

  /** Lets the world go on until an instant. */
  run(until: number): void {
    while (this.agenda.next() <= until) {
      this.now = this.agenda.next();
      this.steps++;
      this.agenda.take()();
    }
    this.now = until;
  }

  /** Lets the world go on until something is so, or the patience is over; tells which. */
  runUntil(isSo: () => boolean, patience: number, every = 1): boolean {
    const until = this.now + patience;
    while (!isSo()) {
      if (this.now >= until) return false;
      this.run(Math.min(until, this.now + every));
    }
    return true;
  }

  hints() {
    this.#hintList ??= this.nodes.map(({ name, endpoint }) => ({ name, endpoints: [endpoint] }));
    return this.#hintList;
  }

  forgetHints(): void {
    this.#hintList = undefined;
  }

  /** Says which nodes may answer for an address; `undefined`: the address is gone. */
  setCandidates(
    address: Address,
    names: readonly string[] | undefined,
    lags?: (node: SimNode) => number,
  ) {
    const version = ++this.version;
    let candidacy: Candidacy | undefined;
    if (names === undefined) {
      this.truth.delete(address);
      this.ready.delete(address);
    } else {
      const ranked = [...names].sort((a, b) => (rank(a, address) < rank(b, address) ? -1 : 1));
      candidacy = listCandidacy(ranked);
      this.truth.set(address, candidacy);
      this.ready.set(address, names);
    }
    for (const node of this.nodes) {
      const lag = lags?.(node) ?? between(this.random, ...this.apiLag);
      // A watch gives changes in their order, however late.
      node.learnsAt = Math.max(node.learnsAt, this.now + lag);
      this.at(node.learnsAt, () => node.learn(address, candidacy, version));
    }
  }

  /** Sets an address up before the nodes start. */
  assign(address: Address, names: readonly string[]): void {
    const ranked = [...names].sort((a, b) => (rank(a, address) < rank(b, address) ? -1 : 1));
    this.truth.set(address, listCandidacy(ranked));
    this.ready.set(address, names);
  }

  transmit(from: SimNode, send: Send): void {
    for (const observer of this.observers) observer.sent?.(from, send);
    from.packetsSent++;
    const to = this.byEndpoint.get(send.endpoint.address);
    if (this.wire !== undefined) {
      this.#transmitSealed(from, send, to);
      return;
    }
    const { life } = from;
    const counter = from.counter++;
    if (to === undefined || !this.lan.passesUdp(from, to)) return;
    if (this.lan.loss > 0 && this.random() < this.lan.loss) return;
    const packet: Packet = {
      sender: { id: idOf(from.name), life },
      counter,
      source: from.endpoint,
      messages: send.messages,
    };
    this.#deliver(to, send.to, packet);
    if (this.lan.doubled > 0 && this.random() < this.lan.doubled)
      this.#deliver(to, send.to, packet);
  }

  #deliver(to: SimNode, name: string, packet: Packet): void {
    this.at(this.now + this.#delay(), () => this.receive(to, name, packet));
  }

  #delay(): number {
    const delay = between(this.random, ...this.lan.delay);
    const isLate = this.lan.reordered > 0 && this.random() < this.lan.reordered;
    return isLate ? delay * 10 : delay;
  }

  /** As octets: written, sealed, and within what one datagram may have. */
  #transmitSealed(from: SimNode, send: Send, to: SimNode | undefined): void {
    const payload = encodeMessages(send.messages);
    const octets = from.seal?.seal(payload, send.to, send.keyIds);
    if (octets === undefined) return;
    if (octets.length > 1200) throw new Error(`a datagram of ${octets.length} octets`);
    const captured = { at: this.now, from, to, octets };
    this.wire?.(captured);
    if (to === undefined || !this.lan.passesUdp(from, to)) return;
    for (let copies = this.random() < this.lan.doubled ? 2 : 1; copies > 0; copies--) {
      if (this.random() < this.lan.loss) continue;
      this.after(this.#delay(), () => this.receiveSealed(to, from.endpoint, octets));
    }
  }

  /** Octets reach a machine; tells what became of them. */
  receiveSealed(to: SimNode, source: Endpoint, octets: Uint8Array): string {
    if (!to.isRunning || to.seal === undefined) return "down";
    to.packetsReceived++;
    const opened = to.seal.open(octets);
    if (!opened.ok) return opened.reason;
    const { sender, counter, payload } = opened.value;
    const messages = decodeMessages(payload);
    if (!messages.ok) return messages.reason;
    const packet = { sender, counter, source, messages: messages.value };
    for (const observer of this.observers) observer.delivered?.(to, packet);
    to.take({ type: "packet", packet });
    return "taken";
  }

  /** A datagram reaches a machine; what was sealed for another name does not open there. */
  receive(to: SimNode, name: string, packet: Packet): void {
    if (to.name !== name || !to.isRunning) return;
    to.packetsReceived++;
    for (const observer of this.observers) observer.delivered?.(to, packet);
    to.take({ type: "packet", packet });
  }

  /** An ARP announcement: others that answer for the address notice it. */
  announce(address: Address, from: SimNode): void {
    for (const other of this.answerers.get(address) ?? []) {
      if (other === from || !this.lan.passes(from, other)) continue;
      this.after(between(this.random, ...this.lan.delay), () => {
        if (other.active.has(address)) {
          other.take({ type: "rival", address, node: from.name });
        }
      });
    }
  }

  /** Frames of others come in at a machine; it asked for some. */
  hears(node: SimNode): boolean {
    return (
      this.#lanHost(node) ||
      this.nodes.some((o) => o !== node && o.hasPower && this.lan.passes(o, node))
    );
  }

  /** Somebody answers a machine's requests. */
  reaches(node: SimNode): boolean {
    const answers = (other: SimNode) =>
      other !== node && this.lan.passes(node, other) && this.lan.passes(other, node);
    return this.#lanHost(node) || this.nodes.some(answers);
  }

  /** A gateway answers on the first part of the LAN. */
  #lanHost(node: SimNode): boolean {
    const { lan } = this;
    const isThere =
      !lan.dark && node.hasPower && node.hasCarrier && (lan.part.get(node) ?? 0) === 0;
    return isThere && !lan.noEgress.has(node) && !lan.noIngress.has(node);
  }

  witness(node: SimNode, question: Extract<Action, { type: "witness" }>): void {
    const { subject, addresses, purpose } = question;
    const { life } = node;
    this.after(between(this.random, 30, 60), () => {
      if (node.life !== life) return;
      const isSelf = subject === node.name;
      const by = isSelf ? undefined : subject;
      const answered = addresses.some(
        (each) => this.whoAnswers(node, each, by) !== undefined && !this.#loses(),
      );
      node.take({
        type: "witness",
        subject,
        purpose,
        answered,
        heard: this.hears(node),
        reached: this.reaches(node),
      });
    });
  }

  /** Three requests or their answers are lost. */
  #loses(): boolean {
    const { loss } = this.lan;
    if (loss === 0) return false;
    return this.random() < (1 - (1 - loss) ** 2) ** 3;
  }

  probe(node: SimNode, address: Address): void {
    const { life } = node;
    this.after(100, () => {
      if (node.life !== life) return;
      const other = this.whoAnswers(node, address);
      const heard = this.hears(node);
      if (this.foreign.has(address)) {
        node.take({ type: "probed", address, taken: true, heard, by: FOREIGN_MAC });
      } else if (other === undefined) node.take({ type: "probed", address, taken: false, heard });
      else {
        const by = other.links[0]?.mac;
        const known = by === undefined ? {} : { by };
        node.take({ type: "probed", address, taken: true, heard, ...known });
      }
    });
  }

  /** An ARP request of a machine would be answered by another, or by a certain one. */
  whoAnswers(node: SimNode, address: Address, by?: string): SimNode | undefined {
    for (const other of this.answerers.get(address) ?? []) {
      if (other === node || (by !== undefined && other.name !== by)) continue;
      if (this.lan.mute.has(other)) continue;
      if (this.lan.passes(node, other) && this.lan.passes(other, node)) return other;
    }
    return undefined;
  }

  noteAnswer(address: Address, node: SimNode, on: boolean): void {
    let set = this.answerers.get(address);
    if (set === undefined) this.answerers.set(address, (set = new Set()));
    if (on) set.add(node);
    else set.delete(node);
    for (const observer of this.observers) observer.answering?.(address, node, on);
  }

  /** Those that answer for an address now. */
  answering(address: Address): SimNode[] {
    return [...(this.answerers.get(address) ?? [])].filter((node) => node.answers(address));
  }
}
