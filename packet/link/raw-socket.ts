/**
 * The npm package `raw-socket`: typed, and only for the main thread. Its addon is not context-aware:
 * loaded by two threads it fails, and closing one of its sockets in a worker ends the process. It
 * runs on the main thread's loop, so nothing urgent depends on it.
 */
import { createRequire } from "node:module";
import { isMainThread } from "node:worker_threads";

import { LinkError } from "./link.ts";

/** Address families, as the package counts them. */
export const RAW_FAMILY = { ipv4: 1, ipv6: 2 } as const;
/** IP protocol numbers. */
export const RAW_PROTOCOL = { icmp: 1, icmpv6: 58 } as const;

/** A raw IP socket of the package. */
export interface RawSocket {
  on(event: "message", listener: (octets: Buffer, source: string) => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  send(
    octets: Buffer,
    offset: number,
    length: number,
    address: string,
    sent: (error: Error | null) => void,
  ): this;
  setOption(level: number, option: number, value: Buffer, length: number): void;
  pauseRecv(): this;
  close(): this;
}

/** What of the package is used. */
export interface RawSocketModule {
  createSocket(options: { readonly protocol: number; readonly addressFamily: number }): RawSocket;
}

/**
 * Loads the package.
 * @throws LinkError `Failed` in a worker thread, `ModuleMissing` when it is not built
 */
export function rawSocketModule(): RawSocketModule {
  if (!isMainThread) {
    throw new LinkError("Failed", "raw-socket is for the main thread only: a worker would crash");
  }
  const require = createRequire(import.meta.url);
  try {
    return require("raw-socket") as RawSocketModule;
  } catch (cause) {
    throw new LinkError("ModuleMissing", "loading raw-socket: build it with `make deps`", {
      cause,
    });
  }
}

/** Says what an error of the package means. It knows the system's sentences only, no codes. */
export function explainRaw(attempt: string, cause: unknown): LinkError {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (/not permitted|permission denied/i.test(message)) {
    const missing = "the process lacks the capability CAP_NET_RAW";
    return new LinkError("PermissionDenied", `${attempt}: permission denied: ${missing}`, {
      cause,
    });
  }
  if (/no such device/i.test(message)) {
    return new LinkError("NoSuchInterface", `${attempt}: there is no such interface`, { cause });
  }
  return new LinkError("Failed", `${attempt}: ${message}`, { cause });
}
