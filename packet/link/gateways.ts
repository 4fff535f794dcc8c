/** The default gateways of the host, from the kernel's routing tables as text. */
import { readFileSync } from "node:fs";

import { addressFromBigInt, type Address } from "../address/address.ts";
import { ipv4FromNumber } from "../address/ipv4.ts";

const RTF_UP = 0x1;
const RTF_GATEWAY = 0x2;

/** A gateway for everything that no other route is for, and where it is reached. */
export interface Gateway {
  readonly interfaceName: string;
  readonly address: Address;
}

/** Reads the gateways of default routes, best first, of both families. Gives none when there are none. */
export function defaultGateways(folder = "/proc/net"): Gateway[] {
  return [
    ...parseIPv4Routes(readTable(`${folder}/route`)),
    ...parseIPv6Routes(readTable(`${folder}/ipv6_route`)),
  ];
}

function readTable(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // ENOENT: the kernel does not speak that family.
    return "";
  }
}

interface Route extends Gateway {
  readonly metric: number;
}

const best = (routes: readonly Route[]): Gateway[] =>
  routes
    .toSorted((a, b) => a.metric - b.metric)
    .map(({ interfaceName, address }) => ({ interfaceName, address }));

const rows = (text: string): string[][] => text.split("\n").map((line) => line.trim().split(/\s+/));

const isGateway = (flags: number): boolean =>
  (flags & (RTF_UP | RTF_GATEWAY)) === (RTF_UP | RTF_GATEWAY);

/**
 * Reads default gateways from the text of /proc/net/route: interface, destination, gateway, flags,
 * reference count, use, metric, mask …; addresses in hexadecimal, in the order of the processor.
 */
export function parseIPv4Routes(text: string): Gateway[] {
  const routes = rows(text).flatMap(([interfaceName, to, gateway, flags, , , metric, mask]) => {
    const isDefault = Number.parseInt(`${to}`, 16) === 0 && Number.parseInt(`${mask}`, 16) === 0;
    if (interfaceName === undefined || gateway === undefined || !isDefault) return [];
    if (!/^[0-9A-F]{8}$/i.test(gateway) || !isGateway(Number.parseInt(`${flags}`, 16))) return [];
    const word = Uint32Array.of(Number.parseInt(gateway, 16));
    const number = new DataView(word.buffer).getUint32(0);
    return [{ interfaceName, address: ipv4FromNumber(number), metric: Number(metric) }];
  });
  return best(routes);
}

/**
 * Reads default gateways from the text of /proc/net/ipv6_route: destination and its length, source
 * and its length, gateway, metric, two counters, flags, interface; all in hexadecimal.
 */
export function parseIPv6Routes(text: string): Gateway[] {
  const routes = rows(text).flatMap((row) => {
    const [to, length, , , gateway, metric, , , flags, interfaceName] = row;
    const isDefault = /^0+$/.test(`${to}`) && Number.parseInt(`${length}`, 16) === 0;
    if (interfaceName === undefined || gateway === undefined || !isDefault) return [];
    if (!/^[0-9a-f]{32}$/i.test(gateway) || !isGateway(Number.parseInt(`${flags}`, 16))) return [];
    const address = addressFromBigInt(BigInt(`0x${gateway}`), "ipv6");
    return [{ interfaceName, address, metric: Number.parseInt(`${metric}`, 16) }];
  });
  return best(routes);
}
