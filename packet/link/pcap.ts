/**
 * Capture files in the classic pcap form with nanoseconds, as Wireshark, tshark and tcpdump read
 * them, and wrappers of a link that record: every frame, or the last exchanges.
 * @see https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/
 */
import type { Link, OpenLink, ReceivedFrame } from "./link.ts";
import { handlersWith, LinkWrapper } from "./wrapper.ts";

/** Says that time stamps are in nanoseconds; its order of octets is that of the whole file. */
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER_LENGTH = 24;
const RECORD_HEADER_LENGTH = 16;

/** Octets kept of a frame. No ARP or Neighbor Discovery frame that we answer is longer. */
export const SNAP_LENGTH = 512;

/** A frame at a time. */
export interface TimedFrame {
  readonly octets: Uint8Array;
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Encodes the header that a capture file begins with. */
export function encodePcapHeader(): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(FILE_HEADER_LENGTH);
  const view = new DataView(octets.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, VERSION_MAJOR, true);
  view.setUint16(6, VERSION_MINOR, true);
  // Octets 8 to 15 are reserved.
  view.setUint32(16, SNAP_LENGTH, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return octets;
}

/**
 * Encodes a frame as a record of a capture file, cut off at {@link SNAP_LENGTH}.
 * @param lengthOnWire when `octets` are cut off already
 */
export function encodePcapRecord(
  { octets, seconds, nanoseconds }: TimedFrame,
  lengthOnWire = octets.length,
): Uint8Array<ArrayBuffer> {
  const kept = octets.subarray(0, SNAP_LENGTH);
  const record = new Uint8Array(RECORD_HEADER_LENGTH + kept.length);
  const view = new DataView(record.buffer);
  view.setUint32(0, seconds, true);
  view.setUint32(4, nanoseconds, true);
  view.setUint32(8, kept.length, true);
  view.setUint32(12, lengthOnWire, true);
  record.set(kept, RECORD_HEADER_LENGTH);
  return record;
}

/** Wall clock in milliseconds since 1970, with fractions. */
export type WallClock = () => number;

const wallClock: WallClock = () => performance.timeOrigin + performance.now();

/**
 * Wraps a link so that every frame, received or sent, is written as pcap.
 * @param write takes the file header at once, then one record a call
 */
export function withPcap(
  open: OpenLink,
  write: (octets: Uint8Array) => void,
  now: WallClock = wallClock,
): OpenLink {
  write(encodePcapHeader());
  return withTap(open, {
    received: (frame) => write(encodePcapRecord(frame)),
    handled: () => undefined,
    sent: (octets) => write(encodePcapRecord({ octets, ...timeOf(now()) })),
  });
}

/** What a tap on a link is told. */
interface Tap {
  received(frame: ReceivedFrame): void;
  /** The handler has returned from the frame received last. */
  handled(): void;
  sent(octets: Uint8Array): void;
}

function withTap(open: OpenLink, tap: Tap): OpenLink {
  return (handlers) => {
    const frame = (received: ReceivedFrame): void => {
      tap.received(received);
      handlers.frame(received);
      tap.handled();
    };
    return new TappedLink(open(handlersWith(handlers, frame)), tap);
  };
}

class TappedLink extends LinkWrapper {
  readonly #tap: Tap;

  constructor(inner: Link, tap: Tap) {
    super(inner);
    this.#tap = tap;
  }

  override send(octets: Uint8Array): void {
    super.send(octets);
    this.#tap.sent(octets);
  }

  override sendBatch(frames: readonly Uint8Array[]): number {
    const taken = super.sendBatch(frames);
    for (const frame of frames) this.#tap.sent(frame);
    return taken;
  }
}

function timeOf(ms: number): { seconds: number; nanoseconds: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanoseconds: Math.floor((ms - seconds * 1000) * 1e6) };
}

/** Room for one frame, used again and again. */
class Snapshot implements TimedFrame {
  readonly #room = new Uint8Array(SNAP_LENGTH);
  octets = this.#room.subarray(0, 0);
  lengthOnWire = 0;
  seconds = 0;
  nanoseconds = 0;

  store(octets: Uint8Array, seconds: number, nanoseconds: number): void {
    const length = Math.min(octets.length, SNAP_LENGTH);
    if (this.octets.length !== length) this.octets = this.#room.subarray(0, length);
    this.octets.set(length === octets.length ? octets : octets.subarray(0, length));
    this.lengthOnWire = octets.length;
    this.seconds = seconds;
    this.nanoseconds = nanoseconds;
  }
}

/** A frame sent, and the one that it answers, if any. */
class Exchange {
  readonly request = new Snapshot();
  readonly reply = new Snapshot();
  answered = false;
}

/** Exchanges that a ring holds. */
export const RING_CAPACITY = 100;

/**
 * The last exchanges of a link: frames that were sent while a frame was handled, with that frame,
 * and frames sent of one's own accord. Frames that nobody answered leave no trace, so noise does not
 * wash the evidence away. All room is taken at the start: recording costs two copies.
 */
export class ExchangeRing {
  readonly #exchanges = Array.from({ length: RING_CAPACITY }, () => new Exchange());
  readonly #now: WallClock;
  #next = 0;
  #count = 0;
  #request: ReceivedFrame | null = null;

  /** Makes an empty ring. */
  constructor(now: WallClock = wallClock) {
    this.#now = now;
  }

  /** Exchanges in the ring. */
  get size(): number {
    return this.#count;
  }

  /** Wraps a link so that the ring sees its exchanges. */
  watch(open: OpenLink): OpenLink {
    return withTap(open, {
      received: (frame) => {
        this.#request = frame;
      },
      handled: () => {
        this.#request = null;
      },
      sent: (octets) => this.#record(octets),
    });
  }

  /** Gives the exchanges as a capture file, oldest first. */
  toPcap(): Uint8Array<ArrayBuffer> {
    const parts = [encodePcapHeader()];
    const first = this.#next - this.#count + RING_CAPACITY;
    for (let i = 0; i < this.#count; i++) {
      const exchange = this.#exchanges[(first + i) % RING_CAPACITY];
      if (exchange === undefined) continue;
      const { request, reply, answered } = exchange;
      if (answered) parts.push(encodePcapRecord(request, request.lengthOnWire));
      parts.push(encodePcapRecord(reply, reply.lengthOnWire));
    }
    return concatenate(parts);
  }

  #record(octets: Uint8Array): void {
    const exchange = this.#exchanges[this.#next];
    if (exchange === undefined) return;
    this.#next = (this.#next + 1) % RING_CAPACITY;
    this.#count = Math.min(this.#count + 1, RING_CAPACITY);
    const request = this.#request;
    const { seconds, nanoseconds } = timeOf(this.#now());
    exchange.answered = request !== null;
    if (request !== null) {
      exchange.request.store(request.octets, request.seconds, request.nanoseconds);
    }
    // The kernel's clock and ours are read apart: an answer shall not seem older than its question.
    const early =
      request !== null &&
      (seconds < request.seconds ||
        (seconds === request.seconds && nanoseconds < request.nanoseconds));
    if (early) exchange.reply.store(octets, request.seconds, request.nanoseconds);
    else exchange.reply.store(octets, seconds, nanoseconds);
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
