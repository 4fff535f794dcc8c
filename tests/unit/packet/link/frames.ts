/** Frames and recording handlers for the tests of links. */
import { parseMac, type MacAddress } from "../../../../packet/address/mac.ts";
import type { LinkHandlers, ReceivedFrame } from "../../../../packet/link/link.ts";
import { encodeEthernet } from "../../../../packet/wire/ethernet.ts";

/** A MAC address known to be one. */
export function mac(text: string): MacAddress {
  const parsed = parseMac(text);
  if (!parsed.ok) throw new TypeError(parsed.message);
  return parsed.value;
}

export const MAC_A = mac("02:00:00:00:00:0a");
export const MAC_B = mac("02:00:00:00:00:0b");
export const MAC_C = mac("02:00:00:00:00:0c");
export const BROADCAST = mac("ff:ff:ff:ff:ff:ff");

/** A frame that carries one number. */
export function frameTo(destination: MacAddress, source: MacAddress, mark: number): Uint8Array {
  return encodeEthernet({ destination, source, etherType: 0x0806, payload: Uint8Array.of(mark) });
}

/** The number that a frame carries. */
export function markOf(octets: Uint8Array): number {
  return octets[14] ?? -1;
}

/** Handlers that note what they are told. */
export function recorder(): LinkHandlers & {
  readonly frames: ReceivedFrame[];
  readonly said: string[];
} {
  const frames: ReceivedFrame[] = [];
  const said: string[] = [];
  return {
    frames,
    said,
    frame: (frame) => frames.push({ ...frame, octets: frame.octets.slice() }),
    down: (reason) => said.push(`down ${reason}`),
    up: () => said.push("up"),
    macChanged: (address) => said.push(`mac ${address}`),
  };
}
