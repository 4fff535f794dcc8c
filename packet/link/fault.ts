/** A wrapper that mistreats frames as a bad LAN does; chance and time come from outside. */
import type { Link, OpenLink, ReceivedFrame } from "./link.ts";
import { handlersWith, LinkWrapper } from "./wrapper.ts";

/** What happens to the frames of one direction. Shares are from 0 to 1. */
export interface Faults {
  /** Share of frames that are lost. */
  readonly loss?: number;
  /** Share of frames that come twice. */
  readonly duplicate?: number;
  /** Every frame takes a time between these two, in milliseconds. */
  readonly delayMs?: readonly [least: number, most: number];
  /** Share of frames that come `reorderMs` later, so that others overtake them. */
  readonly reorder?: number;
  readonly reorderMs?: number;
}

/** What the fault injector takes from outside. */
export interface FaultOptions {
  /** Faults of each direction, read anew for every frame: they may change meanwhile. */
  readonly faults: { readonly received?: Faults; readonly sent?: Faults };
  /** A number from 0 to below 1, as Math.random gives. */
  readonly random: () => number;
  /** Runs a task after a time. */
  readonly schedule: (delayMs: number, task: () => void) => void;
}

/** Wraps a link so that its frames meet with faults. Lost frames count as sent, as on a wire. */
export function withFaults(open: OpenLink, options: FaultOptions): OpenLink {
  return (handlers) => {
    let closed = false;
    const frame = (received: ReceivedFrame): void => {
      // A delayed frame outlives the buffer that it came in.
      const kept = { ...fieldsOf(received), octets: received.octets.slice() };
      mistreat(options, options.faults.received, () => {
        if (!closed) handlers.frame(kept);
      });
    };
    const inner = open(handlersWith(handlers, frame));
    return new FaultyLink(inner, options, () => {
      closed = true;
    });
  };
}

function fieldsOf({ seconds, nanoseconds, kind }: ReceivedFrame): Omit<ReceivedFrame, "octets"> {
  return { seconds, nanoseconds, kind };
}

class FaultyLink extends LinkWrapper {
  readonly #options: FaultOptions;
  readonly #onClose: () => void;
  #closed = false;

  constructor(inner: Link, options: FaultOptions, onClose: () => void) {
    super(inner);
    this.#options = options;
    this.#onClose = onClose;
  }

  override send(octets: Uint8Array): void {
    const kept = octets.slice();
    mistreat(this.#options, this.#options.faults.sent, () => {
      if (!this.#closed) this.inner.send(kept);
    });
  }

  override sendBatch(frames: readonly Uint8Array[]): number {
    for (const frame of frames) this.send(frame);
    return frames.length;
  }

  override [Symbol.dispose](): void {
    this.#closed = true;
    this.#onClose();
    super[Symbol.dispose]();
  }
}

/** Decides the fate of one frame and brings it about. */
function mistreat(options: FaultOptions, faults: Faults = {}, pass: () => void): void {
  const { random, schedule } = options;
  const happens = (share = 0): boolean => share > 0 && random() < share;
  if (happens(faults.loss)) return;
  const [least, most] = faults.delayMs ?? [0, 0];
  for (let copies = happens(faults.duplicate) ? 2 : 1; copies > 0; copies--) {
    const late = happens(faults.reorder) ? (faults.reorderMs ?? 0) : 0;
    const delayMs = least + (most > least ? random() * (most - least) : 0) + late;
    if (delayMs === 0) pass();
    else schedule(delayMs, pass);
  }
}
