/**
 * Frames for fuzzing: built right and then broken a little, so that they reach past the first
 * checks, and now and then octets without any sense. One seed gives one sequence.
 */
import { AddressMap } from "../../packet/address/address-map.ts";
import { address, isIPv6, type Address } from "../../packet/address/address.ts";
import type { IPv4Address } from "../../packet/address/ipv4.ts";
import { ALL_NODES, type IPv6Address } from "../../packet/address/ipv6.ts";
import { BROADCAST_MAC, ZERO_MAC, type MacAddress } from "../../packet/address/mac.ts";
import { solicitedNodeAddress } from "../../packet/address/multicast.ts";
import { icmpv6Checksum } from "../../packet/wire/checksum.ts";
import { encodeArpFrame, encodeNdpFrame } from "../../packet/wire/frame.ts";
import type { NdpOption } from "../../packet/wire/ndp-option.ts";
import type { AnnouncedAddress, AnnouncedTable, InterfaceFacts } from "../../speaker/responder.ts";

/** A source of numbers from 0 up to 2^32, the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** The interface that the frames come in on. */
export const INTERFACE: InterfaceFacts = {
  name: "eth0",
  mac: "02:00:00:00:00:01" as MacAddress,
  linkLocal: "fe80::1" as IPv6Address,
};
/** The other speakers. */
export const COLLEAGUES: ReadonlySet<MacAddress> = new Set(["02:00:00:00:00:0c" as MacAddress]);

const MACS = [
  ...["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:0c", "02:00:00:00:00:66"],
  ...[BROADCAST_MAC, ZERO_MAC, "33:33:00:00:00:01", "33:33:ff:00:01:00", "01:00:5e:00:00:01"],
] as MacAddress[];
const IPV4 = [
  ...["10.9.0.100", "10.9.0.101", "10.9.0.102", "10.9.0.2", "200.0.0.1", "0.0.0.0"],
  ...["255.255.255.255", "224.0.0.1"],
] as IPv4Address[];
const IPV6 = [
  ...["2001:db8::100", "2001:db8::101", "2001:db8::102", "2001:db8::2", "fe80::2", "::", "::1"],
  ...["ff02::1", "ff02::1:ff00:100"],
] as IPv6Address[];

/** The addresses announced or probed, each in another way. */
export function announcedTable(): AnnouncedTable {
  const table: AnnouncedTable = new AddressMap();
  const put = (text: string, more: Partial<AnnouncedAddress> = {}): void => {
    const key: Address = address(text);
    table.set(key, { address: key, state: "announced", ...more });
  };
  for (const text of ["10.9.0.100", "200.0.0.1", "2001:db8::100"]) put(text);
  for (const text of ["10.9.0.101", "2001:db8::101"]) put(text, { state: "probing" });
  const interfaces = new Set(["eth1"]);
  for (const text of ["10.9.0.102", "2001:db8::102"]) put(text, { interfaces });
  return table;
}

/** How many built frames are kept to break further: building one costs more than judging it. */
const KEPT = 1024;

/** Gives a source of frames, the same for the same seed. */
export function fuzzFrames(seed: number): () => Uint8Array {
  const next = randomNumbers(seed);
  const kept: Uint8Array[] = [];
  return () => {
    if (next() % 16 === 0) return noise(next);
    if (kept.length < KEPT || next() % 4 === 0) {
      const built = builtFrame(next);
      kept[next() % KEPT] = built;
      return built;
    }
    const broken = breakFrame(kept[next() % KEPT] ?? noise(next), next);
    // With its checksum mended a broken frame goes further.
    return next() % 2 === 0 ? mendChecksum(broken) : broken;
  };
}

function builtFrame(next: () => number): Uint8Array {
  const kind = next() % 16;
  if (kind === 0) return tag(arpFrame(next), next);
  return kind < 7 ? arpFrame(next) : ndpFrame(next);
}

function pick<T>(values: readonly T[], next: () => number): T {
  return values[next() % values.length]!;
}

function noise(next: () => number): Uint8Array {
  const octets = new Uint8Array(next() % 200);
  for (let i = 0; i < octets.length; i++) octets[i] = next();
  return octets;
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const octets = new Uint8Array(a.length + b.length);
  octets.set(a);
  octets.set(b, a.length);
  return octets;
}

/** Puts a frame in an IEEE 802.1Q or 802.1ad tag. */
function tag(frame: Uint8Array, next: () => number): Uint8Array {
  const type = pick([0x81, 0x88], next);
  const tagged = [type, type === 0x81 ? 0 : 0xa8, next() & 15, next() & 255];
  return Uint8Array.of(...frame.subarray(0, 12), ...tagged, ...frame.subarray(12));
}

function arpFrame(next: () => number): Uint8Array {
  return encodeArpFrame({
    destination: next() % 2 === 0 ? BROADCAST_MAC : pick(MACS, next),
    source: pick(MACS, next),
    packet: {
      operation: pick([1, 1, 1, 2, 3, 0xffff], next),
      senderHardwareAddress: pick(MACS, next),
      senderProtocolAddress: pick(IPV4, next),
      targetHardwareAddress: pick(MACS, next),
      targetProtocolAddress: pick(IPV4, next),
    },
  });
}

function ndpFrame(next: () => number): Uint8Array {
  const targetAddress = pick(IPV6, next);
  const options = Array.from({ length: next() % 3 }, () => anyOption(next));
  const solicitation = next() % 3 !== 0;
  const flags = next();
  return encodeNdpFrame({
    source: pick(MACS, next),
    destination: next() % 2 === 0 ? pick(MACS, next) : ("33:33:ff:00:01:00" as MacAddress),
    sourceAddress: pick(IPV6, next),
    destinationAddress: pick(
      [solicitedNodeAddress(targetAddress), ALL_NODES, pick(IPV6, next)],
      next,
    ),
    message: solicitation
      ? { kind: "neighborSolicitation", targetAddress, options }
      : {
          kind: "neighborAdvertisement",
          router: (flags & 1) !== 0,
          solicited: (flags & 2) !== 0,
          override: (flags & 4) !== 0,
          targetAddress,
          options,
        },
  });
}

function anyOption(next: () => number): NdpOption {
  const kind = pick(
    ["sourceLinkLayerAddress", "targetLinkLayerAddress", "nonce", "other"] as const,
    next,
  );
  if (kind === "nonce") return { kind, nonce: new Uint8Array(6) };
  if (kind !== "other") return { kind, address: pick(MACS, next) };
  return { kind, type: next() & 255, value: new Uint8Array(6 + 8 * (next() % 4)) };
}

/** Flips, cuts, or lengthens. */
function breakFrame(frame: Uint8Array, next: () => number): Uint8Array {
  const octets = frame.slice();
  for (let flips = next() % 4; flips > 0; flips--) octets[next() % octets.length] = next() & 255;
  const end = next() % 4;
  if (end === 0) return octets.subarray(0, next() % (octets.length + 1));
  if (end === 1) return concatenate(octets, noise(next));
  return octets;
}

/** Puts the right ICMPv6 checksum where it stands, if the frame reaches so far. */
export function mendChecksum(frame: Uint8Array): Uint8Array {
  const end = 54 + (frame[18] ?? 0) * 256 + (frame[19] ?? 0);
  if (frame[12] !== 0x86 || frame.length < end || end < 58) return frame;
  const octets = frame.slice();
  octets.set([0, 0], 56);
  const sum = icmpv6Checksum(octets, 22, 54, end);
  octets.set([sum >> 8, sum & 255], 56);
  return octets;
}

/** Every address that the frames are about. */
export const FUZZ_ADDRESSES: readonly Address[] = [...IPV4, ...IPV6].filter(
  (each) => !isIPv6(each) || each !== "::",
);
