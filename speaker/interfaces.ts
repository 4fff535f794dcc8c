/**
 * Which of the node's interfaces can announce addresses, and why the others cannot. The judgement is
 * pure; {@link watchInterfaces} runs it whenever the kernel tells of a change.
 */
import { isIPv6, type Address } from "../packet/address/address.ts";
import { isLinkLocal, type IPv6Address } from "../packet/address/ipv6.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import type { Prefix } from "../packet/address/prefix.ts";
import type { InterfaceFacts } from "../packet/link/interface-facts.ts";
import { InterfaceMonitor, type MonitorHandlers } from "../packet/link/interface-monitor.ts";
import type { InterfaceReason } from "./no-interface.ts";

/** MetalLB's default: interfaces of containers, tunnels and kube-proxy, which lead to no LAN. */
export const DEFAULT_EXCLUDED_INTERFACES: readonly string[] = [
  "^docker.*",
  "^cbr.*",
  "^dummy.*",
  "^virbr.*",
  "^lxcbr.*",
  "^veth.*",
  "^lo$",
  "^cali.*",
  "^tunl.*",
  "^flannel.*",
  "^kube-ipvs.*",
  "^cni.*",
  "^nodelocaldns.*",
  "^lxc.*",
];

/** An interface that addresses can be announced on. */
export interface UsableInterface {
  readonly name: string;
  /** The kernel's number: another one when the interface was made anew. */
  readonly index: number;
  readonly mac: MacAddress;
  /** Its first link-local IPv6 address; without one it sends no Neighbor Discovery. */
  readonly linkLocal?: IPv6Address;
  readonly addresses: readonly Address[];
  /** The networks that those addresses are in, link-local ones left out. */
  readonly subnets: readonly Prefix[];
}

/** An interface that addresses cannot be announced on. */
export interface UnusableInterface {
  readonly name: string;
  readonly reason: InterfaceReason;
  /** For people: the reason with its particulars and, where there is one, the remedy. */
  readonly message: string;
}

/** All interfaces of the node. */
export interface JudgedInterfaces {
  readonly usable: readonly UsableInterface[];
  readonly unusable: readonly UnusableInterface[];
}

/** Gives what speaks against an interface, or null. */
type Check = (facts: InterfaceFacts, excluded: readonly RegExp[]) => string | null;

const when = (violated: boolean, message: string): string | null => (violated ? message : null);

/** The first violated check decides. */
const CHECKS: readonly (readonly [InterfaceReason, Check])[] = [
  ["Excluded", excludedBy],
  ["Loopback", ({ loopback }) => when(loopback, "a loopback interface leads to no LAN")],
  [
    "NotEthernet",
    ({ ethernet, macAddress }) => when(!ethernet || macAddress === null, "not Ethernet"),
  ],
  ["NoArp", ({ noArp }) => when(noArp, "ARP is switched off on it (flag NOARP)")],
  ["HasMaster", portOf],
  ["Down", ({ up, name }) => when(!up, `set down: ip link set ${name} up`)],
  ["NoCarrier", ({ carrier }) => when(!carrier, "up without carrier: look at cable and switch")],
  ["NoAddress", ({ addresses }) => when(addresses.length === 0, "it has no IP address")],
];

function excludedBy({ name }: InterfaceFacts, excluded: readonly RegExp[]): string | null {
  const pattern = excluded.find((each) => each.test(name));
  return pattern === undefined ? null : `its name matches ${pattern.source} of excludedInterfaces`;
}

function portOf({ master }: InterfaceFacts): string | null {
  if (master === null) return null;
  const kind = master.kind === "" ? "interface" : master.kind;
  return `it belongs to ${kind} ${master.name}, which speaks for it`;
}

/** Judges every interface. */
export function judgeInterfaces(
  interfaces: readonly InterfaceFacts[],
  excluded: readonly RegExp[],
): JudgedInterfaces {
  const usable: UsableInterface[] = [];
  const unusable: UnusableInterface[] = [];
  for (const facts of interfaces) {
    const violation = firstViolation(facts, excluded);
    if (violation !== null) unusable.push(violation);
    else if (facts.macAddress !== null) usable.push(usableOf(facts, facts.macAddress));
  }
  return { usable, unusable };
}

function firstViolation(
  facts: InterfaceFacts,
  excluded: readonly RegExp[],
): UnusableInterface | null {
  for (const [reason, check] of CHECKS) {
    const message = check(facts, excluded);
    if (message !== null) return { name: facts.name, reason, message };
  }
  return null;
}

function usableOf({ name, index, addresses }: InterfaceFacts, mac: MacAddress): UsableInterface {
  const own = addresses.map(({ address }) => address).filter(isIPv6);
  // Any address assigned to the interface will do (RFC 4861 §4.4) where somebody wants no link-local one.
  const linkLocal = own.find(isLinkLocalAddress) ?? own[0];
  const global = addresses.filter(({ address }) => !isLinkLocalAddress(address));
  return {
    name,
    index,
    mac,
    ...(linkLocal === undefined ? {} : { linkLocal }),
    addresses: addresses.map(({ address }) => address),
    subnets: global.map(({ subnet }) => subnet),
  };
}

function isLinkLocalAddress(address: Address): address is IPv6Address {
  return isIPv6(address) && isLinkLocal(address);
}

/** Patterns that can be used, and a sentence about each that cannot. */
export interface CompiledPatterns {
  readonly patterns: readonly RegExp[];
  readonly refused: readonly string[];
}

/** Compiles patterns of interface names; of none, {@link DEFAULT_EXCLUDED_INTERFACES}. */
export function compileExcluded(patterns: readonly string[]): CompiledPatterns {
  const compiled: RegExp[] = [];
  const refused: string[] = [];
  for (const pattern of patterns.length === 0 ? DEFAULT_EXCLUDED_INTERFACES : patterns) {
    try {
      compiled.push(new RegExp(pattern));
    } catch (error) {
      refused.push(`excludedInterfaces: ${pattern} is no regular expression: ${String(error)}`);
    }
  }
  return { patterns: compiled, refused };
}

/** What a watch calls. */
export interface InterfaceWatchOptions {
  /** As in {@link compileExcluded}. */
  readonly excluded: readonly string[];
  /** All interfaces, at first and at each change. */
  readonly changed: (judged: JudgedInterfaces) => void;
  /** No netlink socket, with the cause: changes are seen within a second instead of at once. */
  readonly polling?: (cause: unknown) => void;
  /** Starts the monitor; given by tests. */
  readonly monitor?: (handlers: MonitorHandlers) => Disposable;
}

/** A watch over the interfaces; disposing it ends it. */
export interface InterfaceWatch extends Disposable {
  /** Takes other patterns and judges anew. Returns a sentence about each that was refused. */
  setExcluded(patterns: readonly string[]): readonly string[];
}

/** Watches the node's interfaces. `changed` is first called from the event loop, soon. */
export function watchInterfaces(options: InterfaceWatchOptions): InterfaceWatch {
  const start = options.monitor ?? ((handlers) => new InterfaceMonitor(handlers));
  let excluded = compileExcluded(options.excluded);
  let known: readonly InterfaceFacts[] | null = null;
  const judge = (): void => {
    if (known !== null) options.changed(judgeInterfaces(known, excluded.patterns));
  };
  const monitor = start({
    changed: (interfaces) => {
      known = interfaces;
      judge();
    },
    polling: (cause) => options.polling?.(cause),
  });
  return {
    setExcluded: (patterns) => {
      excluded = compileExcluded(patterns);
      judge();
      return excluded.refused;
    },
    [Symbol.dispose]: () => monitor[Symbol.dispose](),
  };
}
