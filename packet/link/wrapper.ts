import type { MacAddress } from "../address/mac.ts";
import type { BpfProgram } from "../wire/bpf.ts";
import type { Link, LinkHandlers, LinkStatistics, ReceivedFrame } from "./link.ts";

/** Gives the same handlers with another one for frames. */
export function handlersWith(
  handlers: LinkHandlers,
  frame: (frame: ReceivedFrame) => void,
): LinkHandlers {
  return {
    frame,
    down: (reason, error) => handlers.down?.(reason, error),
    up: () => handlers.up?.(),
    macChanged: (mac) => handlers.macChanged?.(mac),
  };
}

/** A link around another that changes nothing: the base of those that do. */
export class LinkWrapper implements Link {
  protected readonly inner: Link;

  /** Takes over `inner`: disposing the wrapper disposes it. */
  constructor(inner: Link) {
    this.inner = inner;
  }

  /** See {@link Link.interfaceName}. */
  get interfaceName(): string {
    return this.inner.interfaceName;
  }

  /** See {@link Link.interfaceIndex}. */
  get interfaceIndex(): number {
    return this.inner.interfaceIndex;
  }

  /** See {@link Link.macAddress}. */
  get macAddress(): MacAddress {
    return this.inner.macAddress;
  }

  /** See {@link Link.up}. */
  get up(): boolean {
    return this.inner.up;
  }

  /** See {@link Link.send}. */
  send(octets: Uint8Array): void {
    this.inner.send(octets);
  }

  /** See {@link Link.sendBatch}. */
  sendBatch(frames: readonly Uint8Array[]): number {
    return this.inner.sendBatch(frames);
  }

  /** See {@link Link.setFilter}. */
  setFilter(programs: readonly BpfProgram[], etherType?: number): void {
    this.inner.setFilter(programs, etherType);
  }

  /** See {@link Link.joinGroup}. */
  joinGroup(group: MacAddress): void {
    this.inner.joinGroup(group);
  }

  /** See {@link Link.leaveGroup}. */
  leaveGroup(group: MacAddress): void {
    this.inner.leaveGroup(group);
  }

  /** See {@link Link.statistics}. */
  statistics(): LinkStatistics {
    return this.inner.statistics();
  }

  /** See {@link Link.refresh}. */
  refresh(): void {
    this.inner.refresh();
  }

  /** Closes the wrapped link. */
  [Symbol.dispose](): void {
    this.inner[Symbol.dispose]();
  }
}
