/**
 * What a link is: Ethernet frames in and out of one interface. Implementations: `af-packet.ts` (the
 * kernel), `memory.ts` (tests); wrappers: `pcap.ts`, `fault.ts`. Nothing else knows which it got.
 *
 * The contract of every link:
 * - Handlers are called from the event loop; of the methods only refresh() may call them.
 * - A received frame is valid until the handler returns: its octets lie in a buffer that is used again.
 * - Frames sent while frames are handed over leave together after the last of them, in their order.
 * - A link that goes down or vanishes stays usable: what is sent meanwhile is counted as refused;
 *   filter and groups are kept and stand again when it comes back.
 */
import type { MacAddress } from "../address/mac.ts";
import type { BpfProgram } from "../wire/bpf.ts";

/** To whom a received frame was addressed: this host alone, all, or a group. */
export type FrameKind = "host" | "broadcast" | "multicast";

/** A frame that came in. Octets and fields are valid until the handler returns: copy what must last. */
export interface ReceivedFrame {
  /** The whole frame from the Ethernet header on, without check sequence. */
  readonly octets: Uint8Array;
  /** When the kernel took it, wall clock: seconds since 1970, and nanoseconds. */
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly kind: FrameKind;
}

/** Gives the kernel's time stamp of a frame in milliseconds since 1970, to compare with Date.now(). */
export function receivedAtMs(frame: ReceivedFrame): number {
  return frame.seconds * 1000 + frame.nanoseconds / 1e6;
}

/** Why a link is down: set down, no such interface any more, or reopening was refused. */
export type LinkDownReason = "Down" | "Vanished" | "Failed";

/** What a link calls. */
export interface LinkHandlers {
  /** A frame that passed the filter came in. */
  frame(frame: ReceivedFrame): void;
  /** The link went down; `error` says more when it failed. */
  down?(reason: LinkDownReason, error?: LinkError): void;
  /** It came back, maybe with another index or MAC address: neighbours have to be told again. */
  up?(): void;
  /** The MAC address changed while it was up. */
  macChanged?(macAddress: MacAddress): void;
}

/** Counters of a link since it was opened; they never fall. */
export interface LinkStatistics {
  /** Frames handed to the handler. */
  readonly received: number;
  /** Frames that passed the kernel's filter and found no room in the receive buffer. */
  readonly dropped: number;
  /** Frames longer than a slot of the receive buffer, not handed over. */
  readonly oversized: number;
  /** Frames of another VLAN (the kernel takes the 802.1Q tag out), not handed over. */
  readonly tagged: number;
  /** Frames to the address of another host (promiscuous interface), not handed over. */
  readonly foreign: number;
  /** Frames that the kernel took. */
  readonly sent: number;
  /** Frames that it refused. */
  readonly refused: number;
  /** The system's word for the last refusal (`ENETDOWN` …), or null. */
  readonly lastRefusal: string | null;
}

/** Statistics of a link at which nothing has happened. */
export const NO_STATISTICS: LinkStatistics = {
  received: 0,
  dropped: 0,
  oversized: 0,
  tagged: 0,
  foreign: 0,
  sent: 0,
  refused: 0,
  lastRefusal: null,
};

/** One interface, open for Ethernet frames. */
export interface Link extends Disposable {
  readonly interfaceName: string;
  /** The kernel's number of the interface: another one after it vanished and came back. */
  readonly interfaceIndex: number;
  readonly macAddress: MacAddress;
  /** Whether the interface is set up; to be read after opening, from then on the handlers tell. */
  readonly up: boolean;
  /**
   * Sends a frame; the octets are copied. Whether the kernel took it shows in the statistics.
   * @throws RangeError when it is shorter than an Ethernet header or longer than a slot.
   */
  send(octets: Uint8Array): void;
  /** Sends frames at once and returns how many the kernel took. @throws as {@link Link.send} */
  sendBatch(frames: readonly Uint8Array[]): number;
  /**
   * Replaces the receive filter, at once and for frames from then on. What the old and the new one
   * both let through may come twice in that instant; nothing is lost.
   * @param programs at least one: a frame passes for each that accepts it
   * @param etherType only for frames of this type; absent: for all that the link receives
   * @throws LinkError `FilterTooLarge` when the kernel has no room for it: the old one stands
   */
  setFilter(programs: readonly BpfProgram[], etherType?: number): void;
  /** Has the interface receive frames to a multicast MAC address; each join needs its own leave. */
  joinGroup(group: MacAddress): void;
  /** Inverse of {@link Link.joinGroup}. */
  leaveGroup(group: MacAddress): void;
  statistics(): LinkStatistics;
  /** Looks at the interface anew; to be called when something about interfaces changed. */
  refresh(): void;
}

/** Opens a link. Wrappers take one and give one. */
export type OpenLink = (handlers: LinkHandlers) => Link;

/** Why a link cannot be opened or changed. */
export type LinkErrorCode =
  | "PermissionDenied"
  | "NoSuchInterface"
  | "NotEthernet"
  | "FilterTooLarge"
  | "ModuleMissing"
  | "Closed"
  | "Failed";

/** A failed effect on a link: what was attempted on what, what is missing, and the cause. */
export class LinkError extends Error {
  readonly code: LinkErrorCode;

  /** Builds an error; `options.cause` is the one of the system. */
  constructor(code: LinkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "LinkError";
    this.code = code;
  }
}
