/**
 * Membership of the solicited-node groups of announced IPv6 addresses, reported by the kernel over
 * MLD: a switch that watches MLD forwards solicitations only to those that did (RFC 4861 §7.2.1
 * wants it of any address). The responder's own membership opens the interface and is reported to
 * nobody. It runs on the main thread, for its sockets come from `raw-socket`, and nothing urgent
 * waits for it: most switches forward these groups to everybody.
 */
import type { Logger } from "../kubernetes/logging.ts";
import { isIPv6, type Address } from "../packet/address/address.ts";
import type { IPv6Address } from "../packet/address/ipv6.ts";
import { LinkError } from "../packet/link/link.ts";
import { SolicitedNodeGroups } from "../packet/link/witness.ts";
import type { InterfaceNews } from "./thread-protocol.ts";

/** What the membership is given. */
export interface GroupMembershipOptions {
  readonly logger: Logger;
  /** Opens the groups of an interface by its number; given by tests. */
  readonly open?: (interfaceIndex: number) => Groups;
}

/** What is needed of {@link SolicitedNodeGroups}. */
export type Groups = Pick<SolicitedNodeGroups, "join" | "leave"> & Disposable;

interface Member {
  readonly index: number;
  readonly groups: Groups;
  /** Those whose group was joined: addresses may share one, and each leaves it once. */
  readonly joined: Set<IPv6Address>;
}

/** Keeps the memberships in step with where addresses are announced. */
export class GroupMembership implements Disposable {
  readonly #logger: Logger;
  readonly #openGroups: (interfaceIndex: number) => Groups;
  readonly #members = new Map<string, Member>();
  readonly #placed = new Map<IPv6Address, readonly string[]>();
  readonly #complained = new Set<string>();

  /** Is a member of nothing yet. */
  constructor({
    logger,
    open = (index) => new SolicitedNodeGroups(index),
  }: GroupMembershipOptions) {
    this.#logger = logger;
    this.#openGroups = open;
  }

  /** Takes the interfaces as they are now: one that was made anew has lost its memberships. */
  setInterfaces(interfaces: readonly InterfaceNews[]): void {
    const indexes = new Map(interfaces.map(({ name, index }) => [name, index]));
    for (const [name, { index, groups }] of this.#members) {
      if (indexes.get(name) === index) continue;
      this.#members.delete(name);
      groups[Symbol.dispose]();
    }
    for (const [name, index] of indexes) {
      if (index === undefined) continue;
      if (!this.#members.has(name))
        this.#attempt(name, () => {
          this.#members.set(name, { index, groups: this.#openGroups(index), joined: new Set() });
        });
      // Also what could not be joined before.
      for (const [address, names] of this.#placed)
        if (names.includes(name)) this.#join(name, address);
    }
  }

  /** Takes where an address is announced now. */
  place(address: Address, names: readonly string[]): void {
    if (!isIPv6(address)) return;
    const before = this.#placed.get(address) ?? [];
    if (names.length > 0) this.#placed.set(address, names);
    else this.#placed.delete(address);
    for (const name of names) if (!before.includes(name)) this.#join(name, address);
    for (const name of before) if (!names.includes(name)) this.#leave(name, address);
  }

  /** Leaves everything. */
  [Symbol.dispose](): void {
    for (const { groups } of this.#members.values()) groups[Symbol.dispose]();
    this.#members.clear();
    this.#placed.clear();
  }

  #join(name: string, address: IPv6Address): void {
    const member = this.#members.get(name);
    if (member === undefined || member.joined.has(address)) return;
    this.#attempt(name, () => {
      member.groups.join(address);
      member.joined.add(address);
    });
  }

  #leave(name: string, address: IPv6Address): void {
    const member = this.#members.get(name);
    if (member?.joined.delete(address) === true) member.groups.leave(address);
  }

  /** Without membership most networks work: complained of once an interface, not more. */
  #attempt(name: string, action: () => void): void {
    try {
      action();
      this.#complained.delete(name);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      if (this.#complained.has(name)) return;
      this.#complained.add(name);
      const effect = "switches that snoop MLD may not forward Neighbor Solicitations";
      this.#logger.warn("multicast groups not joined", { interface: name, effect, error });
    }
  }
}
