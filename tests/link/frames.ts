/** Frames and filters that the link tests send and set, and waiting for them. */
import { expect } from "@jest/globals";

import { BPF, type BpfInstruction } from "../../packet/wire/bpf.ts";
import { eventually } from "../support/eventually.ts";
import { fromHex } from "../support/hex.ts";
import type { Agent, SeenFrame } from "./agent-client.ts";

export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ACCEPT_ALL: readonly BpfInstruction[] = [{ code: BPF.RET, jt: 0, jf: 0, k: 0x40000 }];
export const REFUSE_ALL: readonly BpfInstruction[] = [{ code: BPF.RET, jt: 0, jf: 0, k: 0 }];

/** A broadcast ARP request from host 1 (10.99.0.1) for 10.99.0.`last`, padded as on a real wire. */
export function arpRequest(last: number, paddedTo = 60): Uint8Array {
  const octets = new Uint8Array(paddedTo);
  octets.set(
    fromHex(
      `ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a630001 000000000000 0a6300${last
        .toString(16)
        .padStart(2, "0")}`,
    ),
  );
  return octets;
}

/** The same frame with an 802.1Q tag. */
export function inVlan(id: number, frame: Uint8Array): Uint8Array {
  return Uint8Array.of(
    ...frame.subarray(0, 12),
    0x81,
    0,
    id >> 8,
    id & 0xff,
    ...frame.subarray(12),
  );
}

export function arpFrames(frames: readonly SeenFrame[]): SeenFrame[] {
  return frames.filter(({ octets }) => octets[12] === 0x08 && octets[13] === 0x06);
}

/** Waits for `count` ARP frames. */
export async function arpSeen(agent: Agent, count: number): Promise<SeenFrame[]> {
  const seen: SeenFrame[] = [];
  return eventually(async () => {
    seen.push(...arpFrames(await agent.frames()));
    expect(seen.length).toBeGreaterThanOrEqual(count);
    return seen;
  });
}

/** A program of `count` instructions that accepts: the kernel charges the socket for each. */
export function longFilter(count: number): BpfInstruction[] {
  const and = { code: BPF.AND, jt: 0, jf: 0, k: 1 };
  return [...Array<BpfInstruction>(count - 1).fill(and), ...ACCEPT_ALL];
}
