/** Why a node can answer for an address on none of its interfaces, for people and in one word: pure. */
import type { NoInterface } from "./observation.ts";

/** Why an interface cannot announce, in the order in which it is asked. */
export type InterfaceReason =
  | "Excluded"
  | "Loopback"
  | "NotEthernet"
  | "NoArp"
  | "HasMaster"
  | "Down"
  | "NoCarrier"
  | "NoAddress";

/** An interface of the node as far as it matters here. */
export interface ListedInterface {
  readonly name: string;
  /** Why it cannot be used, in one word; absent: it can, or the kernel refused to open it. */
  readonly reason?: InterfaceReason | undefined;
  /** The same for people; absent: it can. */
  readonly why?: string | undefined;
}

const MAX_LENGTH = 1000;

/** Interfaces that nobody would expect an address on: those that containers and loopback bring. */
const BESIDE_THE_POINT: readonly InterfaceReason[] = ["Excluded", "Loopback"];

/**
 * Gives the reason: `InterfaceNotSelected` when the pool names interfaces and the node has none of
 * them, though it has others; `NoCarrier` when one that would do has no carrier; else
 * `NoUsableInterface`. The message lists each interface and why not.
 * @param allowed names that the pool's `interfaces` lists; empty or undefined: all
 */
export function noInterface(
  interfaces: readonly ListedInterface[],
  allowed: readonly string[] = [],
): NoInterface {
  const isAllowed = (name: string): boolean => allowed.length === 0 || allowed.includes(name);
  const considered = interfaces.filter(({ name }) => isAllowed(name));
  const absent = allowed.filter((name) => !interfaces.some((each) => each.name === name));
  const lines = [
    ...considered.filter(isOrdinary).map(lineOf),
    ...absent.map((name) => `${name}: the pool names it, and the node has no such interface`),
    ...interfaces
      .filter((each) => !isAllowed(each.name) && isOrdinary(each))
      .map(({ name }) => `${name}: not among the pool's interfaces (${allowed.join(", ")})`),
    ...considered.filter((each) => !isOrdinary(each)).map(lineOf),
  ];
  const text = lines.length === 0 ? "the node has no interface" : lines.join("; ");
  const message = text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 1)}…`;
  if (considered.some(({ reason }) => reason === "NoCarrier"))
    return { reason: "NoCarrier", message };
  const isLeftOut = allowed.length > 0 && considered.length === 0 && interfaces.some(isOrdinary);
  return { reason: isLeftOut ? "InterfaceNotSelected" : "NoUsableInterface", message };
}

function isOrdinary({ reason }: ListedInterface): boolean {
  return reason === undefined || !BESIDE_THE_POINT.includes(reason);
}

function lineOf({ name, why }: ListedInterface): string {
  return `${name}: ${why ?? "in no network that holds the address, and other nodes have one that is"}`;
}
