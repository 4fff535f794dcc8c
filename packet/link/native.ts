/** The native module: where it lies, what it offers, and its errors in words. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";

import { LinkError } from "./link.ts";

/** Arrays that the native socket shares with us. Slot i of octets starts at i × slotSize. */
export interface SharedMemory {
  readonly octets: Uint8Array;
  readonly lengths: Uint32Array;
  readonly types: Uint8Array;
  readonly seconds: Float64Array;
  readonly nanoseconds: Uint32Array;
  readonly sendOctets: Uint8Array;
  readonly sendLengths: Uint32Array;
  readonly status: Int32Array;
}

/** Options of the native packet socket. */
export interface PacketSocketOptions {
  readonly interfaceIndex: number;
  /** EtherTypes; one with several programs is named as often. */
  readonly protocols: readonly number[];
  /** The program for each of them. */
  readonly filters: readonly Uint8Array[];
  readonly slots: number;
  readonly slotSize: number;
  readonly receiveBuffer: number;
  onBatch(count: number): void;
  onError(code: string): void;
}

/** The native packet socket, see `packet/native/packet_socket.c`. */
export interface PacketSocket {
  readonly memory: SharedMemory;
  flush(count: number): number;
  setFilters(programs: readonly Uint8Array[], etherType: number): void;
  setMembership(address: Uint8Array, joined: boolean): void;
  statistics(): [received: number, dropped: number];
  close(): void;
}

/** Options of the native netlink socket; `groups` is a bit mask. */
export interface NetlinkSocketOptions {
  readonly groups: number;
  readonly size: number;
  onMessages(length: number): void;
  onError(code: string): void;
}

/** The native routing netlink socket, see `packet/native/netlink_socket.c`. */
export interface NetlinkSocket {
  readonly octets: Uint8Array;
  send(octets: Uint8Array): void;
  close(): void;
}

/** One interface as the kernel has it now. */
export interface InterfaceState {
  readonly index: number;
  /** IFF_… flags, low 16 bits. */
  readonly flags: number;
  /** ARPHRD_…, 1 for Ethernet. */
  readonly hardwareType: number;
  readonly mtu: number;
  readonly hardwareAddress: Uint8Array;
}

/** What the native module exports. */
export interface NativeModule {
  readonly PacketSocket: new (options: PacketSocketOptions) => PacketSocket;
  readonly NetlinkSocket: new (options: NetlinkSocketOptions) => NetlinkSocket;
  interfaceState(name: string): InterfaceState;
}

const FILE_NAME = "packet_socket.node";

/**
 * Lists where the module may lie, best first: where PACKET_SOCKET says and nowhere else; beside the
 * running script (the image); in `build/` (the source tree).
 */
export function modulePaths(
  environment: Readonly<Record<string, string | undefined>>,
  here: string,
  script: string | undefined,
): string[] {
  const named = environment["PACKET_SOCKET"];
  if (named !== undefined && named !== "") return [resolve(named)];
  const beside = script === undefined ? [] : [join(dirname(resolve(script)), FILE_NAME)];
  return [join(here, FILE_NAME), ...beside, join(here, "../../build", FILE_NAME)];
}

let loaded: NativeModule | undefined;

/**
 * Loads the native module, once a thread.
 * @throws LinkError `ModuleMissing` that names the places looked at.
 */
export function nativeModule(): NativeModule {
  loaded ??= loadModule(modulePaths(process.env, import.meta.dirname, process.argv[1]));
  return loaded;
}

/** Loads the first module there is. @throws LinkError `ModuleMissing` */
export function loadModule(paths: readonly string[]): NativeModule {
  const path = paths.find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new LinkError(
      "ModuleMissing",
      `the native module is at none of ${paths.join(", ")}: build it with \`make build/${FILE_NAME}\` or set PACKET_SOCKET to its path`,
    );
  }
  try {
    return createRequire(import.meta.url)(path) as NativeModule;
  } catch (cause) {
    throw new LinkError("ModuleMissing", `loading the native module ${path}`, { cause });
  }
}

/** Gives the system's word for an error of the native module (`ENODEV` …), or "" for any other. */
export function systemCode(error: unknown): string {
  if (!(error instanceof Object && "code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

/** Says what an error of the native module means for whoever attempted something on an interface. */
export function explain(attempt: string, interfaceName: string, cause: unknown): LinkError {
  const what = `${attempt} on interface ${interfaceName}`;
  switch (systemCode(cause)) {
    case "EPERM":
    case "EACCES":
      return new LinkError(
        "PermissionDenied",
        `${what}: permission denied: the process lacks the capability CAP_NET_RAW (as user 0, with securityContext.capabilities.add: [NET_RAW])`,
        { cause },
      );
    case "ENODEV":
    case "ENXIO":
      return new LinkError("NoSuchInterface", `${what}: there is no such interface`, { cause });
    case "ENOMEM":
      return new LinkError(
        "FilterTooLarge",
        `${what}: the filter needs more memory than net.core.optmem_max allows a socket`,
        { cause },
      );
    case "EBADF":
      return new LinkError("Closed", `${what}: the link is closed`, { cause });
    default:
      return new LinkError("Failed", what, { cause });
  }
}
