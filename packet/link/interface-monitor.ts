/**
 * Watches the host's interfaces: the kernel's notifications (netlink) say *that* something changed,
 * a fresh dump says what is. Notifications may be lost or come in bursts; a dump is always whole.
 * While somebody adds addresses without pause (kube-proxy in IPVS mode has thousands) none of addresses
 * is: then links are told with the addresses that were known last, until there is one.
 * Where there is no netlink socket to be had, the kernel's files are read every second.
 */
import { isDeepStrictEqual } from "node:util";

import { collectInterfaces, type InterfaceFacts } from "./interface-facts.ts";
import { readInterfaces } from "./interface-files.ts";
import { nativeModule, type NativeModule, type NetlinkSocket } from "./native.ts";
import {
  decodeMessages,
  encodeAddressDump,
  encodeLinkDump,
  NETLINK_GROUPS,
  NETLINK_TYPE,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  type NetlinkMessage,
} from "./netlink.ts";

/** Least time between the starts of two dumps: the first change is seen at once, a burst in steps. */
const DUMP_INTERVAL_MS = 50;
/** Between dumps that the kernel could not finish in one go: each may take tens of milliseconds. */
const CHURN_INTERVAL_MS = 500;
/** How often a dump of addresses is asked for anew before links are told without it. */
const ADDRESS_TRIES = 2;
/** A dump that is not answered by then is asked for again. */
const DUMP_TIMEOUT_MS = 1000;
const POLL_INTERVAL_MS = 1000;
/** The kernel fills at most 32 KiB a datagram. */
const BUFFER_SIZE = 65_536;

/** What a monitor calls. */
export interface MonitorHandlers {
  /** All interfaces, at first and whenever something about them changed. */
  changed(interfaces: readonly InterfaceFacts[]): void;
  /** No netlink socket: interfaces are polled. Told once, with the cause. */
  polling?(cause: unknown): void;
}

interface Dump {
  stage: "links" | "addresses";
  readonly links: NetlinkMessage[];
  addresses: NetlinkMessage[];
  /** The addresses changed while they were dumped: some may be missing. */
  interrupted: boolean;
  tries: number;
}

/** Watches the interfaces until it is disposed. */
export class InterfaceMonitor implements Disposable {
  readonly #handlers: MonitorHandlers;
  readonly #pollIntervalMs: number;
  #socket: NetlinkSocket | null = null;
  #last: readonly InterfaceFacts[] | null = null;
  #sequence = 0;
  /** The dump under way. */
  #dump: Dump | null = null;
  #wanted = false;
  /** Of the last whole dump of addresses. */
  #addresses: readonly NetlinkMessage[] | undefined;
  #intervalMs = DUMP_INTERVAL_MS;
  #lastStart = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * Starts watching. The first call of `changed` comes from the event loop, soon.
   * @param native opens the netlink socket; given by tests to refuse it
   */
  constructor(
    handlers: MonitorHandlers,
    native: () => NativeModule = nativeModule,
    pollIntervalMs = POLL_INTERVAL_MS,
  ) {
    this.#handlers = handlers;
    this.#pollIntervalMs = pollIntervalMs;
    try {
      this.#socket = new (native().NetlinkSocket)({
        groups: NETLINK_GROUPS,
        size: BUFFER_SIZE,
        onMessages: (length) => this.#receive(length),
        // Notifications or a part of the dump were lost.
        onError: () => this.#startOver(),
      });
    } catch (cause) {
      this.#poll(cause);
      return;
    }
    this.#request();
  }

  /** Ends the watch. */
  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
  }

  // ---- netlink

  /** Has a dump begin, now or as soon as the last one is old enough. */
  #request(): void {
    this.#wanted = true;
    if (this.#dump !== null || this.#closed) return;
    const waitMs = this.#lastStart + this.#intervalMs - performance.now();
    this.#at(Math.max(0, waitMs), () => this.#begin());
  }

  /** One timer serves: a dump waits for its start, or, begun, for its end. */
  #at(delayMs: number, task: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(task, delayMs);
  }

  #begin(): void {
    this.#wanted = false;
    this.#lastStart = performance.now();
    this.#at(DUMP_TIMEOUT_MS, () => this.#startOver());
    this.#dump = { stage: "links", links: [], addresses: [], interrupted: false, tries: 1 };
    this.#ask(encodeLinkDump);
  }

  /** Each request has its own number: what still comes of an older one is told apart. */
  #ask(encode: (sequence: number) => Uint8Array): void {
    this.#sequence++;
    try {
      this.#socket?.send(encode(this.#sequence));
    } catch {
      // No buffer at the moment (ENOBUFS): the timeout asks again.
    }
  }

  #startOver(): void {
    this.#dump = null;
    this.#request();
  }

  #receive(length: number): void {
    const octets = this.#socket?.octets.subarray(0, length);
    if (octets === undefined) return;
    for (const message of decodeMessages(octets)) this.#take(message);
  }

  #take(message: NetlinkMessage): void {
    const dump = this.#dump;
    const isPart = (message.flags & NLM_F_MULTI) !== 0 && message.sequence === this.#sequence;
    if (message.type === NETLINK_TYPE.error) this.#startOver();
    else if (!isPart || dump === null) this.#request();
    else if ((message.flags & NLM_F_DUMP_INTR) !== 0 && dump.stage === "links") this.#startOver();
    else {
      if ((message.flags & NLM_F_DUMP_INTR) !== 0) dump.interrupted = true;
      if (message.type === NETLINK_TYPE.done) this.#partDone(dump);
      else dump[dump.stage].push({ ...message, payload: message.payload.slice() });
    }
  }

  /** The links are followed by the addresses, the addresses by the end. */
  #partDone(dump: Dump): void {
    if (dump.stage === "links" || (dump.interrupted && dump.tries < ADDRESS_TRIES)) {
      if (dump.stage === "addresses") dump.tries++;
      dump.stage = "addresses";
      dump.addresses = [];
      dump.interrupted = false;
      this.#ask(encodeAddressDump);
      return;
    }
    this.#dump = null;
    clearTimeout(this.#timer);
    this.#intervalMs = dump.interrupted ? CHURN_INTERVAL_MS : DUMP_INTERVAL_MS;
    if (dump.interrupted) this.#wanted = true;
    else this.#addresses = dump.addresses;
    if (this.#wanted) this.#request();
    this.#tell(collectInterfaces([...dump.links, ...(this.#addresses ?? dump.addresses)]));
  }

  // ---- files

  #poll(cause: unknown): void {
    this.#handlers.polling?.(cause);
    const look = (): void => {
      this.#at(this.#pollIntervalMs, look);
      this.#tell(readInterfaces());
    };
    this.#at(0, look);
  }

  #tell(interfaces: readonly InterfaceFacts[]): void {
    if (this.#closed || isDeepStrictEqual(interfaces, this.#last)) return;
    this.#last = interfaces;
    this.#handlers.changed(interfaces);
  }
}
