/**
 * Reads the body of a watch: JSON objects, one a line. Octets are collected until a line is whole, so
 * a character split over two chunks is whole too. Work is done in slices: after {@link SLICE_MS} the
 * stream pauses for one turn of the event loop, so that a long initial list blocks nobody.
 */
import { performance } from "node:perf_hooks";
import type { Readable } from "node:stream";
import { abortReason } from "./clock.ts";
import { ApiError, OperatorError, type Status } from "./errors.ts";
import type { KubernetesObject } from "./resources.ts";

/** One event of a watch. A BOOKMARK's object has only kind and `metadata.resourceVersion`. */
export interface WatchEvent<T extends KubernetesObject> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
}

/** Annotation of the bookmark that ends the initial events of a streaming list. */
export const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

/** Longest stretch of work before other tasks of the event loop get their turn. */
const SLICE_MS = 5;
/** Nothing that etcd can hold is near this; a server that sends more is broken or no API server. */
const MAX_LINE_OCTETS = 64 * 1024 * 1024;
const LINE_FEED = 0x0a;

/** Cuts octets into lines. */
export class LineSplitter {
  #parts: Buffer[] = [];
  #length = 0;

  /** Octets of the unfinished line. */
  get pending(): number {
    return this.#length;
  }

  /** Lines that the chunk completes, without their line feeds; blank lines are left out. */
  *push(chunk: Buffer): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      const last = chunk.subarray(start, end);
      const line = this.#length === 0 ? last : Buffer.concat([...this.#parts, last]);
      this.#parts = [];
      this.#length = 0;
      start = end + 1;
      if (line.length > 0) yield line.toString("utf8");
    }
    if (start < chunk.length) {
      this.#parts.push(chunk.subarray(start));
      this.#length += chunk.length - start;
    }
  }
}

/**
 * Reads events until the server ends the stream.
 * @throws ApiError for an ERROR event; OperatorError `Silent` after `silenceMs` without an octet,
 * `Malformed` for a line that is no event, `ConnectionLost` when the connection breaks or ends inside
 * a line; what `onEvent` throws; the signal's reason.
 */
export function readWatch<T extends KubernetesObject>(
  body: Readable,
  options: { readonly attempted: string; readonly silenceMs: number },
  onEvent: (event: WatchEvent<T>) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { attempted, silenceMs } = options;
  return new Promise((resolve, reject) => {
    const lines = new LineSplitter();
    let queue: Iterator<string> | undefined;
    let atEnd: (() => void) | undefined;
    let finished = false;
    const finish = (error?: Error): void => {
      finished = true;
      clearTimeout(watchdog);
      signal?.removeEventListener("abort", onAbort);
      body.removeAllListeners();
      // A late error of the destroyed stream has nobody left to tell.
      body.on("error", () => undefined);
      if (error !== undefined) {
        body.destroy();
        reject(error);
      } else resolve();
    };
    const onAbort = (): void => finish(abortReason(signal));
    const watchdog = setTimeout(() => {
      const cause = new Error(`no octet for ${silenceMs} ms`);
      finish(new OperatorError("Silent", attempted, { cause }));
    }, silenceMs);
    const work = (): void => {
      if (!queue || finished) return;
      const deadline = performance.now() + SLICE_MS;
      try {
        for (let next = queue.next(); !next.done; next = queue.next()) {
          onEvent(parseEvent<T>(next.value, attempted));
          if (performance.now() > deadline) {
            body.pause();
            setImmediate(work);
            return;
          }
        }
      } catch (error) {
        finish(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      queue = undefined;
      if (atEnd) atEnd();
      else body.resume();
    };
    // A stream tells its end even while it is paused: what has been read comes first.
    const endWith = (conclude: () => void): void => {
      atEnd = conclude;
      if (!queue) conclude();
    };
    if (signal?.aborted) {
      onAbort();
      return;
    }
    signal?.addEventListener("abort", onAbort, { once: true });
    body.on("data", (chunk: Buffer) => {
      watchdog.refresh();
      if (lines.pending + chunk.length > MAX_LINE_OCTETS) {
        finish(new OperatorError("Malformed", attempted, { cause: new Error("line without end") }));
        return;
      }
      queue = lines.push(chunk);
      work();
    });
    body.once("error", (cause) => {
      endWith(() => finish(new OperatorError("ConnectionLost", attempted, { cause })));
    });
    body.once("end", () => {
      endWith(() => {
        const cause = new Error(`stream ended ${lines.pending} octets into a line`);
        const cut = new OperatorError("ConnectionLost", attempted, { cause });
        finish(lines.pending > 0 ? cut : undefined);
      });
    });
  });
}

function parseEvent<T extends KubernetesObject>(line: string, attempted: string): WatchEvent<T> {
  let event: { type?: string; object?: unknown };
  try {
    event = JSON.parse(line) as { type?: string; object?: unknown };
  } catch (cause) {
    throw new OperatorError("Malformed", attempted, { cause });
  }
  const type = event.type ?? "";
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
    case "BOOKMARK":
      return event as WatchEvent<T>;
    case "ERROR": {
      const status = (event.object ?? {}) as Status;
      throw new ApiError(attempted, status.code ?? 500, status);
    }
    default:
      throw new OperatorError("Malformed", attempted, {
        cause: new Error(`unknown event type ${JSON.stringify(type)}`),
      });
  }
}
