/**
 * What the API server checks by itself of an entry of a pool, in CEL: the same as
 * `parsePoolEntry` in `packet/address`, but special addresses in the middle of a range.
 *
 * Estimated costs are bounded (10 million a rule, for 256 entries of 83 characters), and a call is
 * charged for the longest text possible: hence `substring` rather than `split`, which would count
 * as 83 parts, and lists bound to a name by a comprehension of one round (`[x].all(name, …)`).
 */
import { ADDRESS_BITS, type Family } from "../packet/address/address.ts";
import type { CelRule } from "./schema.ts";

const start = "self.substring(0, self.indexOf('-')).trim()";
const end = "self.substring(self.indexOf('-') + 1).trim()";
const isRange = `(self.contains('-') && isIP(${start}) && isIP(${end}))`;

const FAMILY_NUMBER: Readonly<Record<Family, number>> = { ipv4: 4, ipv6: 6 };

const sequence = (length: number): readonly number[] => Array.from({ length }, (_, i) => i);

/**
 * Whether a range of one family starts before its end. Addresses have no `<` in CEL. But `start` is
 * after `end` exactly if, at the first bit in which they differ, that of `start` is set. So go through
 * the networks of `start` by length, m[0], m[1] …: where m[i] still holds `end` and m[i + 1] does not,
 * bit i is that bit, and it is clear if both networks begin with the same address.
 */
function isInOrder(family: Family): string {
  const bits = ADDRESS_BITS[family];
  const lengths = sequence(bits + 1).map((length) => `'/${length}'`);
  const networks = `[${lengths.join(",")}].map(length, cidr(a + length).masked())`;
  const clear = "!m[i].containsIP(b) || m[i + 1].containsIP(b) || m[i + 1].ip() == m[i].ip()";
  const all = `[${networks}].all(m, [${sequence(bits).join(",")}].all(i, ${clear}))`;
  const isOfFamily = [start, end].map((e) => `ip(${e}).family() == ${FAMILY_NUMBER[family]}`);
  const applies = `${isRange} && ${isOfFamily.join(" && ")}`;
  return `!(${applies}) || [${start}].all(a, [ip(${end})].all(b, ${all}))`;
}

const order = "starts after its end: exchange the two addresses";

/** Rules on one entry of a pool. */
export const ENTRY_RULES: readonly CelRule[] = [
  {
    rule: `self == self.trim() && (isIP(self) || isCIDR(self) || ${isRange})`,
    message:
      "must be an address (192.0.2.1), a CIDR (192.0.2.0/24) or a range (192.0.2.1-192.0.2.9); IPv4-mapped addresses, zones, leading zeros and spaces at the ends are not allowed",
  },
  {
    rule: "!isCIDR(self) || cidr(self) == cidr(self).masked()",
    message:
      "has bits set after its prefix length: write the network (192.0.2.0/24), or the one address without a prefix length",
  },
  {
    rule: `!${isRange} || ip(${start}).family() == ip(${end}).family()`,
    message:
      "begins with an address of one family and ends with one of the other: give each family an entry of its own",
  },
  { rule: isInOrder("ipv4"), message: order },
  { rule: isInOrder("ipv6"), message: order },
  {
    rule: [
      "(!isIP(self) || ip(self).isGlobalUnicast())",
      "(!isCIDR(self) || cidr(self).ip().isGlobalUnicast())",
      `(!${isRange} || ip(${start}).isGlobalUnicast() && ip(${end}).isGlobalUnicast())`,
    ].join(" && "),
    message:
      "must be ordinary addresses: no Service can have a loopback, link-local, multicast, broadcast or unspecified one",
  },
];
