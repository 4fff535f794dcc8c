/** The link to the kernel: AF_PACKET sockets of one interface for ARP and Neighbor Discovery. */
import { constants } from "node:os";
import { getSystemErrorName } from "node:util";

import { decodeMac, encodeMac, isGroupMac, type MacAddress } from "../address/mac.ts";
import { BPF, BpfAssembler, encodeBpf, type BpfProgram } from "../wire/bpf.ts";
import {
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV6,
  ETHERNET_FIELD,
  ETHERNET_HEADER_LENGTH,
} from "../wire/ethernet.ts";
import { ICMPV6_NEIGHBOR_ADVERTISEMENT, ICMPV6_NEIGHBOR_SOLICITATION } from "../wire/icmpv6.ts";
import { NEXT_HEADER_ICMPV6 } from "../wire/ipv6.ts";
import {
  LinkError,
  NO_STATISTICS,
  type FrameKind,
  type Link,
  type LinkDownReason,
  type LinkHandlers,
  type LinkStatistics,
  type OpenLink,
  type ReceivedFrame,
} from "./link.ts";
import {
  explain,
  nativeModule,
  systemCode,
  type InterfaceState,
  type NativeModule,
  type PacketSocket,
  type SharedMemory,
} from "./native.ts";

const { EBADF, ENODEV } = constants.errno;
const ARPHRD_ETHER = 1;
const IFF_UP = 1;

/** Frames a batch. */
const SLOTS = 64;
/** Octets a frame: all of a link with an MTU of 1,500; no multiple of 4,096, to spread over the cache. */
const SLOT_SIZE = 1664;
/** Asked for; the kernel gives at most net.core.rmem_max. */
const RECEIVE_BUFFER = 4 << 20;
/** How often a link that is down looks whether its interface is back, unless told by refresh(). */
const RETURN_INTERVAL_MS = 250;

/** By the kernel's packet type; 3 is a frame that is not for this interface. */
const FRAME_KINDS: readonly FrameKind[] = ["host", "broadcast", "multicast"];

/** Refuses and accepts a frame: how much of it to keep. */
const [NOTHING, EVERYTHING] = [0, 0x40000];
/** Where the next header of IPv6 and the type of ICMPv6 stand in a frame. */
const [NEXT_HEADER, ICMPV6_TYPE] = [20, 54];

/** The filter a link starts with: every ARP frame, every Neighbor Solicitation and Advertisement. */
export const NEIGHBOR_FILTER: BpfProgram = neighborFilter();

function neighborFilter(): BpfProgram {
  const program = new BpfAssembler();
  const [accept, refuse] = [program.label(), program.label()];
  program.add(BPF.LD_H, ETHERNET_FIELD.etherType);
  program.branch(BPF.JEQ, ETHER_TYPE_ARP, accept);
  program.branch(BPF.JEQ, ETHER_TYPE_IPV6, undefined, refuse);
  program.add(BPF.LD_B, NEXT_HEADER);
  program.branch(BPF.JEQ, NEXT_HEADER_ICMPV6, undefined, refuse);
  program.add(BPF.LD_B, ICMPV6_TYPE);
  program.branch(BPF.JEQ, ICMPV6_NEIGHBOR_SOLICITATION, accept);
  program.branch(BPF.JEQ, ICMPV6_NEIGHBOR_ADVERTISEMENT, accept, refuse);
  program.place(accept);
  program.add(BPF.RET, EVERYTHING);
  program.place(refuse);
  program.add(BPF.RET, NOTHING);
  return program.assemble();
}

/** How an AF_PACKET link is opened. */
export interface AfPacketOptions {
  readonly interfaceName: string;
  /** EtherTypes to receive; ARP and IPv6 unless said otherwise. */
  readonly etherTypes?: readonly number[];
  /** Attached before the first frame can come in; {@link NEIGHBOR_FILTER} unless said otherwise. */
  readonly filter?: BpfProgram;
  /** Octets of receive buffer to ask the kernel for. */
  readonly receiveBuffer?: number;
}

/**
 * Opens an interface for ARP and Neighbor Discovery. Needs CAP_NET_RAW.
 * @throws LinkError `PermissionDenied`, `NoSuchInterface`, `NotEthernet`, `FilterTooLarge` or
 * `ModuleMissing`, from the returned function. An interface that exists and is down is no error.
 */
export function afPacketLink(options: AfPacketOptions): OpenLink {
  return (handlers) => new AfPacketLink(options, handlers);
}

/** Octets and fields of the frame being handed over; one object serves all frames. */
class Slot implements ReceivedFrame {
  octets: Uint8Array = new Uint8Array();
  seconds = 0;
  nanoseconds = 0;
  kind: FrameKind = "host";
}

class AfPacketLink implements Link {
  readonly interfaceName: string;
  readonly #native: NativeModule;
  readonly #handlers: LinkHandlers;
  readonly #receiveBuffer: number;
  /** By EtherType, so that a socket opened anew gets them again. */
  readonly #filters = new Map<number, readonly Uint8Array[]>();
  readonly #groups: MacAddress[] = [];
  readonly #slot = new Slot();
  /** The last view of each slot: frames of one kind have one length, so it is nearly always fit. */
  readonly #views: Uint8Array[] = [];
  readonly #counts = { ...NO_STATISTICS };
  #socket: PacketSocket | null = null;
  #memory: SharedMemory | null = null;
  /** Kernel drops of sockets that are closed. */
  #droppedBefore = 0;
  #pending = 0;
  #inBatch = false;
  #index = 0;
  #mac: MacAddress;
  #down: LinkDownReason | null = null;
  #timer: NodeJS.Timeout | undefined;
  #errorNoticed = false;
  #closed = false;

  constructor(options: AfPacketOptions, handlers: LinkHandlers) {
    this.interfaceName = options.interfaceName;
    this.#native = nativeModule();
    this.#handlers = handlers;
    this.#receiveBuffer = options.receiveBuffer ?? RECEIVE_BUFFER;
    for (const type of options.etherTypes ?? [ETHER_TYPE_ARP, ETHER_TYPE_IPV6]) {
      this.#filters.set(type, [encodeFilter(options.filter ?? NEIGHBOR_FILTER)]);
    }
    const state = this.#readState();
    this.#mac = decodeMac(state.hardwareAddress);
    this.#open(state);
    if (isUp(state)) return;
    this.#down = "Down";
    this.#awaitReturn();
  }

  get interfaceIndex(): number {
    return this.#index;
  }

  get macAddress(): MacAddress {
    return this.#mac;
  }

  get up(): boolean {
    return this.#down === null && !this.#closed;
  }

  send(octets: Uint8Array): void {
    this.#put(octets);
    if (!this.#inBatch || this.#pending === SLOTS) this.#flush();
  }

  sendBatch(frames: readonly Uint8Array[]): number {
    // What waits goes first: order is kept, and the count is of these frames alone.
    this.#flush();
    let taken = 0;
    for (const frame of frames) {
      this.#put(frame);
      if (this.#pending === SLOTS) taken += this.#flush();
    }
    return taken + this.#flush();
  }

  setFilter(programs: readonly BpfProgram[], etherType?: number): void {
    const octets = programs.map(encodeFilter);
    if (etherType !== undefined && !this.#filters.has(etherType)) {
      throw new RangeError(`the link does not receive EtherType 0x${etherType.toString(16)}`);
    }
    for (const type of etherType === undefined ? this.#filters.keys() : [etherType]) {
      this.#attempt("attaching a filter", (socket) => {
        socket.setFilters(octets, type);
      });
      this.#filters.set(type, octets);
    }
  }

  joinGroup(group: MacAddress): void {
    this.#attempt("joining a multicast group", (socket) => {
      socket.setMembership(encodeMac(group), true);
    });
    this.#groups.push(group);
  }

  leaveGroup(group: MacAddress): void {
    const at = this.#groups.indexOf(group);
    if (at < 0) return;
    this.#groups.splice(at, 1);
    this.#attempt("leaving a multicast group", (socket) => {
      socket.setMembership(encodeMac(group), false);
    });
  }

  statistics(): LinkStatistics {
    return { ...this.#counts, dropped: this.#droppedBefore + (this.#socket?.statistics()[1] ?? 0) };
  }

  refresh(): void {
    if (this.#closed) return;
    const state = this.#observe();
    if (state === null) this.#goDown("Vanished");
    else if ((this.#isSame(state) && this.#socket !== null) || this.#reopen(state)) {
      if (isUp(state)) this.#comeUp(state);
      else this.#goDown("Down");
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#closeSocket();
  }

  // ---- sending

  #put(octets: Uint8Array): void {
    if (octets.length < ETHERNET_HEADER_LENGTH || octets.length > SLOT_SIZE) {
      throw new RangeError(
        `a frame of ${octets.length} octets: expected ${ETHERNET_HEADER_LENGTH} to ${SLOT_SIZE}`,
      );
    }
    if (this.#memory === null) {
      this.#refuse(1, this.#closed ? -EBADF : -ENODEV);
      return;
    }
    this.#memory.sendOctets.set(octets, this.#pending * SLOT_SIZE);
    this.#memory.sendLengths[this.#pending] = octets.length;
    this.#pending++;
  }

  #flush(): number {
    const count = this.#pending;
    if (count === 0 || this.#socket === null) return 0;
    this.#pending = 0;
    const taken = this.#socket.flush(count);
    this.#counts.sent += taken;
    if (taken < count) this.#refuse(count - taken, this.#memory?.status[0] ?? 0);
    return taken;
  }

  #refuse(count: number, errorNumber: number): void {
    this.#counts.refused += count;
    if (errorNumber < 0) this.#counts.lastRefusal = getSystemErrorName(errorNumber);
  }

  // ---- receiving

  #receive(count: number): void {
    this.#inBatch = true;
    try {
      // The handler may close the link at any frame.
      for (let i = 0; i < count && this.#memory !== null; i++) this.#handOver(this.#memory, i);
    } finally {
      this.#inBatch = false;
      this.#flush();
    }
  }

  #handOver(memory: SharedMemory, i: number): void {
    const length = memory.lengths[i] ?? 0;
    const kind = FRAME_KINDS[memory.types[i] ?? 0];
    if (kind === undefined) {
      this.#countForeign(memory, i);
      return;
    }
    if (length > SLOT_SIZE) {
      this.#counts.oversized++;
      return;
    }
    this.#counts.received++;
    const slot = this.#slot;
    slot.octets = this.#view(memory, i, length);
    slot.seconds = memory.seconds[i] ?? 0;
    slot.nanoseconds = memory.nanoseconds[i] ?? 0;
    slot.kind = kind;
    this.#handlers.frame(slot);
  }

  /** A frame to a group, or to us, that is not for this interface bore the tag of another VLAN. */
  #countForeign(memory: SharedMemory, i: number): void {
    const destination = decodeMac(memory.octets, i * SLOT_SIZE);
    if (isGroupMac(destination) || destination === this.#mac) this.#counts.tagged++;
    else this.#counts.foreign++;
  }

  #view(memory: SharedMemory, i: number, length: number): Uint8Array {
    const last = this.#views[i];
    if (last?.length === length) return last;
    const view = memory.octets.subarray(i * SLOT_SIZE, i * SLOT_SIZE + length);
    this.#views[i] = view;
    return view;
  }

  // ---- the life of the interface

  #readState(): InterfaceState {
    let state;
    try {
      state = this.#native.interfaceState(this.interfaceName);
    } catch (error) {
      throw explain("opening a packet socket", this.interfaceName, error);
    }
    if (state.hardwareType === ARPHRD_ETHER) return state;
    throw new LinkError(
      "NotEthernet",
      `opening a packet socket on interface ${this.interfaceName}: its hardware type is ${state.hardwareType}, expected ${ARPHRD_ETHER} (Ethernet)`,
    );
  }

  /** As {@link #readState}, null when there is no usable interface of that name. */
  #observe(): InterfaceState | null {
    try {
      return this.#readState();
    } catch (error) {
      if (error instanceof LinkError && error.code !== "Failed") return null;
      throw error;
    }
  }

  #open(state: InterfaceState): void {
    try {
      this.#socket = this.#openSocket(state.index);
      for (const group of this.#groups) this.#socket.setMembership(encodeMac(group), true);
    } catch (error) {
      this.#closeSocket();
      throw explain("opening a packet socket", this.interfaceName, error);
    }
    this.#memory = this.#socket.memory;
    this.#index = state.index;
  }

  #openSocket(interfaceIndex: number): PacketSocket {
    return new this.#native.PacketSocket({
      interfaceIndex,
      protocols: [...this.#filters].flatMap(([type, programs]) => programs.map(() => type)),
      filters: [...this.#filters.values()].flat(),
      slots: SLOTS,
      slotSize: SLOT_SIZE,
      receiveBuffer: this.#receiveBuffer,
      onBatch: (count) => this.#receive(count),
      onError: () => this.#noticeError(),
    });
  }

  #closeSocket(): void {
    if (this.#socket === null) return;
    this.#droppedBefore += this.#socket.statistics()[1];
    this.#socket.close();
    this.#socket = null;
    this.#memory = null;
    this.#views.length = 0;
    this.#refuse(this.#pending, -ENODEV);
    this.#pending = 0;
  }

  /** Does something with the socket. While the interface is gone there is none: #open makes up for it. */
  #attempt(attempt: string, action: (socket: PacketSocket) => void): void {
    if (this.#closed) throw explain(attempt, this.interfaceName, { code: "EBADF" });
    if (this.#socket === null) return;
    try {
      action(this.#socket);
    } catch (error) {
      // Vanished this instant; the event that says so is under way.
      if (!["ENODEV", "ENXIO"].includes(systemCode(error))) {
        throw explain(attempt, this.interfaceName, error);
      }
    }
  }

  /** Each socket of the interface tells its error: look once, when all have. */
  #noticeError(): void {
    if (this.#errorNoticed) return;
    this.#errorNoticed = true;
    setImmediate(() => {
      this.#errorNoticed = false;
      if (this.#closed) return;
      const state = this.#observe();
      // Down and already up again: frames were missed and neighbours may have forgotten us.
      if (this.#isSame(state) && isUp(state)) this.#goDown("Down");
      this.refresh();
    });
  }

  #isSame(state: InterfaceState | null): state is InterfaceState {
    return state?.index === this.#index;
  }

  #goDown(reason: LinkDownReason, error?: LinkError): void {
    if (this.#down === reason) return;
    this.#down = reason;
    if (reason !== "Down") this.#closeSocket();
    this.#awaitReturn();
    this.#handlers.down?.(reason, error);
  }

  #comeUp(state: InterfaceState): void {
    const mac = decodeMac(state.hardwareAddress);
    const changed = mac !== this.#mac;
    this.#mac = mac;
    if (this.#down !== null) {
      this.#down = null;
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#handlers.up?.();
    } else if (changed) this.#handlers.macChanged?.(mac);
  }

  #reopen(state: InterfaceState): boolean {
    this.#goDown("Vanished");
    this.#closeSocket();
    try {
      this.#open(state);
      return true;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      // It may have vanished again between the look and the opening.
      if (error.code !== "NoSuchInterface") this.#goDown("Failed", error);
      return false;
    }
  }

  #awaitReturn(): void {
    this.#timer ??= setInterval(() => this.refresh(), RETURN_INTERVAL_MS);
  }
}

/** The native socket takes the fields in little-endian order, whatever the machine's. */
function encodeFilter(program: BpfProgram): Uint8Array {
  return encodeBpf(program, true);
}

function isUp(state: InterfaceState): boolean {
  return (state.flags & IFF_UP) !== 0;
}
