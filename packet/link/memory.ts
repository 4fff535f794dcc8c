/** Links without a kernel: ports of a switch in memory, for tests and for the simulation. */
import { decodeMac, isGroupMac, BROADCAST_MAC, type MacAddress } from "../address/mac.ts";
import type { BpfProgram } from "../wire/bpf.ts";
import { ETHERNET_FIELD, ETHERNET_HEADER_LENGTH } from "../wire/ethernet.ts";
import { viewOf } from "../wire/decode.ts";
import {
  LinkError,
  NO_STATISTICS,
  type FrameKind,
  type Link,
  type LinkDownReason,
  type LinkHandlers,
  type LinkStatistics,
  type OpenLink,
} from "./link.ts";

/** What a switch in memory takes from outside. */
export interface MemoryLanOptions {
  /** Runs the delivery of a frame later; a microtask unless said otherwise. */
  readonly schedule?: (task: () => void) => void;
  /** Wall clock in milliseconds, for time stamps. */
  readonly nowMs?: () => number;
  /** Runs a filter on a frame, as the kernel would; without it filters are kept and accept all. */
  readonly accepts?: (program: BpfProgram, octets: Uint8Array) => boolean;
}

/** A port of a switch in memory, and what happens to its cable. */
export interface MemoryPort {
  /** Opens the port; it can be opened again after the link was disposed. */
  readonly open: OpenLink;
  /** Takes the interface down; opened links are told. */
  setDown(reason?: LinkDownReason): void;
  /** Brings it up again, maybe as another interface: with another index or MAC address. */
  setUp(change?: { readonly macAddress?: MacAddress; readonly interfaceIndex?: number }): void;
}

/** A switch: what one port sends, every other port that it concerns receives. */
export class MemoryLan {
  readonly #ports: Port[] = [];
  readonly #options: Required<MemoryLanOptions>;

  /** Makes a switch without ports. */
  constructor(options: MemoryLanOptions = {}) {
    this.#options = {
      schedule: queueMicrotask,
      nowMs: () => performance.timeOrigin + performance.now(),
      accepts: () => true,
      ...options,
    };
  }

  /** Adds a port, up and not yet open. */
  connect(interfaceName: string, macAddress: MacAddress): MemoryPort {
    const deliver = (from: Port, octets: Uint8Array): void => {
      for (const port of this.#ports) if (port !== from) port.deliver(octets);
    };
    const port = new Port(
      interfaceName,
      macAddress,
      this.#ports.length + 1,
      deliver,
      this.#options,
    );
    this.#ports.push(port);
    return port;
  }
}

type Deliver = (from: Port, octets: Uint8Array) => void;

class Port implements MemoryPort {
  readonly interfaceName: string;
  readonly deliverToOthers: Deliver;
  readonly options: Required<MemoryLanOptions>;
  readonly #links = new Set<MemoryLink>();
  macAddress: MacAddress;
  interfaceIndex: number;
  down: LinkDownReason | null = null;

  constructor(
    interfaceName: string,
    macAddress: MacAddress,
    interfaceIndex: number,
    deliverToOthers: Deliver,
    options: Required<MemoryLanOptions>,
  ) {
    this.interfaceName = interfaceName;
    this.macAddress = macAddress;
    this.interfaceIndex = interfaceIndex;
    this.deliverToOthers = deliverToOthers;
    this.options = options;
  }

  readonly open: OpenLink = (handlers) => {
    if (this.down === "Vanished") {
      throw new LinkError("NoSuchInterface", `there is no interface ${this.interfaceName}`);
    }
    const link = new MemoryLink(this, handlers, () => this.#links.delete(link));
    this.#links.add(link);
    return link;
  };

  setDown(reason: LinkDownReason = "Down"): void {
    if (this.down === reason) return;
    this.down = reason;
    for (const link of [...this.#links]) link.handlers.down?.(reason);
  }

  setUp(change: { macAddress?: MacAddress; interfaceIndex?: number } = {}): void {
    const wasDown = this.down !== null;
    const macChanged = change.macAddress !== undefined && change.macAddress !== this.macAddress;
    this.down = null;
    this.macAddress = change.macAddress ?? this.macAddress;
    this.interfaceIndex = change.interfaceIndex ?? this.interfaceIndex;
    for (const link of [...this.#links]) {
      if (wasDown) link.handlers.up?.();
      else if (macChanged) link.handlers.macChanged?.(this.macAddress);
    }
  }

  deliver(octets: Uint8Array): void {
    if (this.down !== null) return;
    for (const link of [...this.#links]) link.take(octets);
  }
}

class MemoryLink implements Link {
  readonly handlers: LinkHandlers;
  readonly #port: Port;
  readonly #closed: () => void;
  readonly #counts = { ...NO_STATISTICS };
  readonly #filters = new Map<number, readonly BpfProgram[]>();
  #filter: readonly BpfProgram[] | null = null;
  #open = true;

  constructor(port: Port, handlers: LinkHandlers, closed: () => void) {
    this.#port = port;
    this.handlers = handlers;
    this.#closed = closed;
  }

  get interfaceName(): string {
    return this.#port.interfaceName;
  }

  get interfaceIndex(): number {
    return this.#port.interfaceIndex;
  }

  get macAddress(): MacAddress {
    return this.#port.macAddress;
  }

  get up(): boolean {
    return this.#open && this.#port.down === null;
  }

  send(octets: Uint8Array): void {
    this.sendBatch([octets]);
  }

  sendBatch(frames: readonly Uint8Array[]): number {
    const short = frames.find((frame) => frame.length < ETHERNET_HEADER_LENGTH);
    if (short !== undefined) throw new RangeError(`a frame of ${short.length} octets is no frame`);
    if (!this.up) {
      this.#counts.refused += frames.length;
      this.#counts.lastRefusal = this.#open ? "ENETDOWN" : "EBADF";
      return 0;
    }
    this.#counts.sent += frames.length;
    for (const frame of frames) {
      const octets = frame.slice();
      this.#port.options.schedule(() => this.#port.deliverToOthers(this.#port, octets));
    }
    return frames.length;
  }

  setFilter(programs: readonly BpfProgram[], etherType?: number): void {
    if (etherType !== undefined) this.#filters.set(etherType, programs);
    else {
      this.#filters.clear();
      this.#filter = programs;
    }
  }

  joinGroup(): void {
    // The switch floods every group to every port.
  }

  leaveGroup(): void {
    // As joinGroup.
  }

  statistics(): LinkStatistics {
    return { ...this.#counts };
  }

  refresh(): void {
    // The port tells its changes itself.
  }

  [Symbol.dispose](): void {
    this.#open = false;
    this.#closed();
  }

  /** Takes a frame from the switch as an interface would. */
  take(octets: Uint8Array): void {
    const kind = this.#kindOf(decodeMac(octets, ETHERNET_FIELD.destination));
    if (kind === null) return;
    for (let times = this.#passes(octets); times > 0; times--) this.#handOver(octets, kind);
  }

  #handOver(octets: Uint8Array, kind: FrameKind): void {
    this.#counts.received++;
    const nowMs = this.#port.options.nowMs();
    const seconds = Math.floor(nowMs / 1000);
    const nanoseconds = Math.floor((nowMs - seconds * 1000) * 1e6);
    // Each receiver has its own octets, as after a real wire.
    this.handlers.frame({ octets: octets.slice(), seconds, nanoseconds, kind });
  }

  #kindOf(destination: MacAddress): FrameKind | null {
    if (destination === BROADCAST_MAC) return "broadcast";
    if (isGroupMac(destination)) return "multicast";
    return destination === this.macAddress ? "host" : null;
  }

  /** By how many programs of the filter it passes. */
  #passes(octets: Uint8Array): number {
    const type = viewOf(octets).getUint16(ETHERNET_FIELD.etherType);
    const programs = this.#filters.get(type) ?? this.#filter;
    if (programs === null) return 1;
    return programs.filter((program) => this.#port.options.accepts(program, octets)).length;
  }
}
