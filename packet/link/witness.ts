/**
 * The LAN witness of one interface: does the gateway, or another host, answer? It tells "I am cut
 * off" from "they are gone". And membership of solicited-node groups, so that switches that snoop
 * MLD send us Neighbor Solicitations. For the main thread only (see `raw-socket.ts`).
 */
import { randomBytes } from "node:crypto";

import { familyOf, isIPv6, parseAddress, type Address, type Family } from "../address/address.ts";
import { encodeIPv6, isLinkLocal, type IPv6Address } from "../address/ipv6.ts";
import { solicitedNodeAddress } from "../address/multicast.ts";
import { decodeEchoReply, ECHO_NONCE_LENGTH, encodeEchoRequest, type Echo } from "./echo.ts";
import {
  explainRaw,
  RAW_FAMILY,
  RAW_PROTOCOL,
  rawSocketModule,
  type RawSocket,
  type RawSocketModule,
} from "./raw-socket.ts";

const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const ICMPV6_FILTER = 1;
const IPV6_JOIN_GROUP = 20;
const IPV6_LEAVE_GROUP = 21;
const ICMP_ECHO_REPLY = 0;
const ICMPV6_ECHO_REPLY = 129;

/** What became of an echo request. */
export type EchoResult =
  | { readonly ok: true; readonly roundTripMs: number }
  | { readonly ok: false; readonly reason: "NoAnswer" | "Refused"; readonly message: string };

interface Waiting {
  readonly target: Address;
  readonly nonce: Uint8Array;
  readonly settle: (result: EchoResult) => void;
}

/** Sends echo requests out of one interface. */
export class LanWitness implements Disposable {
  readonly #interfaceName: string;
  readonly #raw: RawSocketModule;
  readonly #sockets = new Map<Family, RawSocket>();
  readonly #waiting = new Map<number, Waiting>();
  /** Tells our replies from those of other programs of the host. */
  readonly #identifier = randomBytes(2).readUInt16BE();
  #sequence = 0;

  /** Opens nothing yet. @throws LinkError of {@link rawSocketModule} */
  constructor(interfaceName: string, raw: RawSocketModule = rawSocketModule()) {
    this.#interfaceName = interfaceName;
    this.#raw = raw;
  }

  /**
   * Sends one echo request and waits for its reply, or for the time to pass.
   * @returns reason `NoAnswer` when none came in time or the witness was disposed, `Refused` when the
   * system did not send it (no route, interface down)
   * @throws LinkError `PermissionDenied` or `NoSuchInterface` when no socket can be opened
   */
  async echo(target: Address, timeoutMs: number): Promise<EchoResult> {
    const socket = this.#socketFor(familyOf(target));
    const sequence = (this.#sequence = (this.#sequence + 1) & 0xffff);
    const echo = { identifier: this.#identifier, sequence, nonce: randomBytes(ECHO_NONCE_LENGTH) };
    const answer = Promise.withResolvers<EchoResult>();
    const settle = answer.resolve;
    this.#waiting.set(sequence, { target, nonce: echo.nonce, settle });
    const timer = setTimeout(() => settle(noAnswer(target, `in ${timeoutMs} ms`)), timeoutMs);
    try {
      const sentAt = performance.now();
      const octets = Buffer.from(encodeEchoRequest(target, echo));
      socket.send(octets, 0, octets.length, this.#scoped(target), (error) => {
        if (error !== null) settle({ ok: false, reason: "Refused", message: error.message });
      });
      const result = await answer.promise;
      return result.ok ? { ok: true, roundTripMs: performance.now() - sentAt } : result;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(sequence);
    }
  }

  /** Closes the sockets; requests under way end without an answer. */
  [Symbol.dispose](): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
    for (const { target, settle } of this.#waiting.values())
      settle(noAnswer(target, "until closed"));
  }

  /** A link-local address means something only with its interface. */
  #scoped(target: Address): string {
    return isIPv6(target) && isLinkLocal(target) ? `${target}%${this.#interfaceName}` : target;
  }

  #socketFor(family: Family): RawSocket {
    const open = this.#sockets.get(family);
    if (open !== undefined) return open;
    const socket = this.#open(family);
    socket.on("message", (octets, source) => this.#receive(family, octets, source));
    // The package closes a socket that failed: the next request opens another.
    socket.on("error", () => this.#sockets.delete(family));
    this.#sockets.set(family, socket);
    return socket;
  }

  #open(family: Family): RawSocket {
    const protocol = family === "ipv6" ? RAW_PROTOCOL.icmpv6 : RAW_PROTOCOL.icmp;
    const attempt = `opening a raw socket on interface ${this.#interfaceName}`;
    let socket;
    try {
      socket = this.#raw.createSocket({ protocol, addressFamily: RAW_FAMILY[family] });
      const filter = family === "ipv6" ? passIcmpv6(ICMPV6_ECHO_REPLY) : passIcmp(ICMP_ECHO_REPLY);
      const [level, option] =
        family === "ipv6" ? [IPPROTO_ICMPV6, ICMPV6_FILTER] : [SOL_RAW, ICMP_FILTER];
      socket.setOption(level, option, filter, filter.length);
      const device = Buffer.from(`${this.#interfaceName}\0`);
      socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
      return socket;
    } catch (cause) {
      socket?.close();
      throw explainRaw(attempt, cause);
    }
  }

  #receive(family: Family, octets: Uint8Array, source: string): void {
    const echo = decodeEchoReply(family, octets);
    if (echo?.identifier !== this.#identifier) return;
    const waiting = this.#waiting.get(echo.sequence);
    if (waiting !== undefined && answers(echo, source, waiting)) {
      waiting.settle({ ok: true, roundTripMs: 0 });
    }
  }
}

function noAnswer(target: Address, within: string): EchoResult {
  return { ok: false, reason: "NoAnswer", message: `${target} did not answer ${within}` };
}

function answers({ nonce }: Echo, source: string, waiting: Waiting): boolean {
  const from = parseAddress(source);
  return from.ok && from.value === waiting.target && Buffer.compare(nonce, waiting.nonce) === 0;
}

/** A filter of the kernel that lets one type of ICMP message pass: a bit set refuses a type. */
function passIcmp(type: number): Buffer {
  return hostWords([~(1 << type) >>> 0]);
}

/** The same for ICMPv6, which has 256 bits. */
function passIcmpv6(type: number | null): Buffer {
  const words = Array<number>(8).fill(0xffffffff);
  if (type !== null) words[type >> 5] = ~(1 << (type & 31)) >>> 0;
  return hostWords(words);
}

/** Words in the order of the processor. */
function hostWords(words: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(words).buffer);
}

/**
 * Membership of the solicited-node groups of addresses on one interface. The kernel reports it by
 * MLD. A socket holds only so many groups (net.core.optmem_max): more are opened as needed.
 */
export class SolicitedNodeGroups implements Disposable {
  readonly #interfaceIndex: number;
  readonly #raw: RawSocketModule;
  readonly #sockets: RawSocket[] = [];
  /** Addresses share groups: members by group, and the socket that holds it. */
  readonly #groups = new Map<IPv6Address, { readonly socket: RawSocket; members: number }>();

  /** Joins nothing yet. @throws LinkError of {@link rawSocketModule} */
  constructor(interfaceIndex: number, raw: RawSocketModule = rawSocketModule()) {
    this.#interfaceIndex = interfaceIndex;
    this.#raw = raw;
  }

  /** Groups joined. */
  get size(): number {
    return this.#groups.size;
  }

  /** Joins the group of an address; each join needs its own leave. @throws LinkError */
  join(target: IPv6Address): void {
    const group = solicitedNodeAddress(target);
    const held = this.#groups.get(group);
    if (held !== undefined) held.members++;
    else this.#groups.set(group, { socket: this.#joinOnSome(group), members: 1 });
  }

  /** Inverse of {@link join}. */
  leave(target: IPv6Address): void {
    const group = solicitedNodeAddress(target);
    const held = this.#groups.get(group);
    if (held === undefined) return;
    held.members--;
    if (held.members > 0) return;
    this.#groups.delete(group);
    try {
      this.#set(held.socket, IPV6_LEAVE_GROUP, group);
    } catch {
      // The interface vanished, and the membership with it.
    }
  }

  /** Leaves all groups. */
  [Symbol.dispose](): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
    this.#groups.clear();
  }

  /** The newest socket has room, or a fresh one has. */
  #joinOnSome(group: IPv6Address): RawSocket {
    const newest = this.#sockets.at(-1);
    if (newest !== undefined) {
      try {
        this.#set(newest, IPV6_JOIN_GROUP, group);
        return newest;
      } catch {
        // Full, most likely; if it is something else the fresh socket meets with it too.
      }
    }
    const attempt = `joining group ${group} on interface ${this.#interfaceIndex}`;
    let socket;
    try {
      socket = this.#openDeaf();
      this.#set(socket, IPV6_JOIN_GROUP, group);
    } catch (cause) {
      socket?.close();
      throw explainRaw(attempt, cause);
    }
    this.#sockets.push(socket);
    return socket;
  }

  /** A socket that receives nothing: it is there for its memberships. */
  #openDeaf(): RawSocket {
    const socket = this.#raw.createSocket({
      protocol: RAW_PROTOCOL.icmpv6,
      addressFamily: RAW_FAMILY.ipv6,
    });
    const filter = passIcmpv6(null);
    socket.setOption(IPPROTO_ICMPV6, ICMPV6_FILTER, filter, filter.length);
    return socket.pauseRecv();
  }

  #set(socket: RawSocket, option: number, group: IPv6Address): void {
    const request = Buffer.concat([encodeIPv6(group), hostWords([this.#interfaceIndex])]);
    socket.setOption(IPPROTO_IPV6, option, request, request.length);
  }
}
