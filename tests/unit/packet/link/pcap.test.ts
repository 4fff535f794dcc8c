import { describe, expect, test } from "@jest/globals";

import type { Link } from "../../../../packet/link/link.ts";
import { MemoryLan } from "../../../../packet/link/memory.ts";
import {
  encodePcapHeader,
  encodePcapRecord,
  ExchangeRing,
  RING_CAPACITY,
  SNAP_LENGTH,
  withPcap,
} from "../../../../packet/link/pcap.ts";
import { fromHex } from "../../../support/hex.ts";
import { BROADCAST, frameTo, MAC_A, MAC_B, markOf, recorder } from "./frames.ts";

interface Record {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly lengthOnWire: number;
  readonly octets: Uint8Array;
}

/** Reads a capture file apart. */
function records(file: Uint8Array): Record[] {
  expect(file.slice(0, 24)).toEqual(encodePcapHeader());
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const found: Record[] = [];
  for (let at = 24; at < file.length;) {
    const length = view.getUint32(at + 8, true);
    found.push({
      seconds: view.getUint32(at, true),
      nanoseconds: view.getUint32(at + 4, true),
      lengthOnWire: view.getUint32(at + 12, true),
      octets: file.slice(at + 16, at + 16 + length),
    });
    at += 16 + length;
  }
  return found;
}

const marks = (file: Uint8Array): number[] => records(file).map(({ octets }) => markOf(octets));

describe("capture files", () => {
  test("begin with the magic of nanoseconds, version 2.4 and Ethernet", () => {
    expect(encodePcapHeader()).toEqual(
      fromHex("4d3cb2a1 0200 0400 00000000 00000000 00020000 01000000"),
    );
  });

  test("hold a frame with its time and both its lengths", () => {
    const octets = fromHex("0102030405");
    expect(encodePcapRecord({ octets, seconds: 1_700_000_000, nanoseconds: 999_999_999 })).toEqual(
      fromHex("00f15365 ffc99a3b 05000000 05000000 0102030405"),
    );
  });

  test("cut long frames off and say how long they were", () => {
    const octets = new Uint8Array(SNAP_LENGTH + 100);
    const file = encodePcapRecord({ octets, seconds: 0, nanoseconds: 0 });
    expect(file.length).toBe(16 + SNAP_LENGTH);
    expect(new DataView(file.buffer).getUint32(12, true)).toBe(SNAP_LENGTH + 100);
  });
});

/** Port b with a wrapper around its link, port a beside it; frames arrive at once. */
function pair() {
  const lan = new MemoryLan({ schedule: (task) => task(), nowMs: () => 5000 });
  const a = recorder();
  const portB = lan.connect("b", MAC_B);
  return { a, portB, linkA: lan.connect("a", MAC_A).open(a) };
}

test("a wrapped link writes every frame, received and sent, as it comes", () => {
  const { portB, linkA } = pair();
  const parts: Uint8Array[] = [];
  const link = withPcap(
    portB.open,
    (octets) => parts.push(octets),
    () => 6000.5,
  )(recorder());
  linkA.send(frameTo(BROADCAST, MAC_A, 1));
  link.send(frameTo(MAC_A, MAC_B, 2));
  link.sendBatch([frameTo(MAC_A, MAC_B, 3), frameTo(MAC_A, MAC_B, 4)]);
  const file = Buffer.concat(parts);
  expect(marks(file)).toEqual([1, 2, 3, 4]);
  expect(records(file).map(({ seconds, nanoseconds }) => [seconds, nanoseconds])).toEqual([
    [5, 0],
    [6, 500_000],
    [6, 500_000],
    [6, 500_000],
  ]);
});

describe("the ring of exchanges", () => {
  /** A host that answers even numbers with the next odd one. */
  function answering(ring: ExchangeRing) {
    const { a, portB, linkA } = pair();
    const link: Link = ring.watch(portB.open)({
      frame: ({ octets }) => {
        const mark = markOf(octets);
        if (mark % 2 === 0) link.send(frameTo(MAC_A, MAC_B, mark + 1));
      },
    });
    return { a, link, linkA };
  }

  test("keeps a question and its answer, and nothing of what was not answered", () => {
    const ring = new ExchangeRing(() => 7000);
    const { linkA, a } = answering(ring);
    for (const mark of [1, 2, 3, 4]) linkA.send(frameTo(BROADCAST, MAC_A, mark));
    expect(a.frames.length).toBe(2);
    expect(marks(ring.toPcap())).toEqual([2, 3, 4, 5]);
    expect(ring.size).toBe(2);
  });

  test("keeps frames sent of one's own accord", () => {
    const ring = new ExchangeRing(() => 7000);
    const { link } = answering(ring);
    link.sendBatch([frameTo(BROADCAST, MAC_B, 9), frameTo(BROADCAST, MAC_B, 11)]);
    expect(marks(ring.toPcap())).toEqual([9, 11]);
  });

  test("never lets an answer seem older than its question", () => {
    const ring = new ExchangeRing(() => 4999);
    const { linkA } = answering(ring);
    linkA.send(frameTo(BROADCAST, MAC_A, 2));
    expect(records(ring.toPcap()).map(({ seconds }) => seconds)).toEqual([5, 5]);
  });

  test("keeps the last hundred, oldest first, whatever their length", () => {
    const ring = new ExchangeRing(() => 7000);
    const { link } = answering(ring);
    const count = RING_CAPACITY * 2 + 7;
    for (let i = 0; i < count; i++) {
      const frame = frameTo(BROADCAST, MAC_B, i % 256);
      const longer = new Uint8Array(i % 3 === 0 ? SNAP_LENGTH + 1 : frame.length);
      longer.set(frame);
      link.send(longer);
    }
    const kept = Array.from({ length: RING_CAPACITY }, (_, i) => (count - RING_CAPACITY + i) % 256);
    expect(marks(ring.toPcap())).toEqual(kept);
    expect(ring.size).toBe(RING_CAPACITY);
    const lengths = new Set(records(ring.toPcap()).map(({ lengthOnWire }) => lengthOnWire));
    expect(lengths).toEqual(new Set([60, SNAP_LENGTH + 1]));
  });

  test("is an empty capture file at first", () => {
    expect(new ExchangeRing().toPcap()).toEqual(encodePcapHeader());
  });
});
