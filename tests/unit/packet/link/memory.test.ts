import { describe, expect, test } from "@jest/globals";

import { MemoryLan, type MemoryPort } from "../../../../packet/link/memory.ts";
import { BPF, type BpfInstruction } from "../../../../packet/wire/bpf.ts";
import { BROADCAST, frameTo, MAC_A, MAC_B, MAC_C, mac, markOf, recorder } from "./frames.ts";

/** A switch with three ports whose frames arrive when told to. */
function lanOfThree(accepts?: (program: readonly BpfInstruction[], octets: Uint8Array) => boolean) {
  const tasks: (() => void)[] = [];
  const lan = new MemoryLan({
    schedule: (task) => tasks.push(task),
    nowMs: () => 1_700_000_000_123.25,
    ...(accepts === undefined ? {} : { accepts }),
  });
  const ports = [MAC_A, MAC_B, MAC_C].map((address, i) => lan.connect(`eth${i}`, address));
  const settle = (): void => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task();
  };
  return { ports: ports as [MemoryPort, MemoryPort, MemoryPort], settle };
}

/** A filter that means one number to the interpreter of these tests. */
const filterFor = (k: number): BpfInstruction[] => [{ code: BPF.RET, jt: 0, jf: 0, k }];

describe("a LAN in memory", () => {
  for (const { name, destination, kinds } of [
    {
      name: "broadcast reaches all others",
      destination: BROADCAST,
      kinds: ["broadcast", "broadcast"],
    },
    {
      name: "multicast reaches all others",
      destination: mac("33:33:ff:00:00:01"),
      kinds: ["multicast", "multicast"],
    },
    { name: "unicast reaches its host alone", destination: MAC_B, kinds: ["host", undefined] },
    { name: "unicast to nobody is lost", destination: mac("02:00:00:00:00:99"), kinds: [] },
  ]) {
    test(name, () => {
      const { ports, settle } = lanOfThree();
      const [a, b, c] = [recorder(), recorder(), recorder()];
      const link = ports[0].open(a);
      ports[1].open(b);
      ports[2].open(c);
      link.send(frameTo(destination, MAC_A, 7));
      expect(b.frames).toEqual([]);
      settle();
      expect([b.frames[0]?.kind, c.frames[0]?.kind]).toEqual([kinds[0], kinds[1]]);
      expect(a.frames).toEqual([]);
    });
  }

  test("stamps frames with its clock and keeps their order", () => {
    const { ports, settle } = lanOfThree();
    const b = recorder();
    ports[1].open(b);
    const link = ports[0].open(recorder());
    expect(link.sendBatch([1, 2, 3].map((mark) => frameTo(MAC_B, MAC_A, mark)))).toBe(3);
    settle();
    expect(b.frames.map(({ octets }) => markOf(octets))).toEqual([1, 2, 3]);
    expect(b.frames[0]).toMatchObject({ seconds: 1_700_000_000, nanoseconds: 123_250_000 });
    expect(link.statistics()).toMatchObject({ sent: 3, refused: 0 });
  });

  test("tells of down, up and a changed MAC address; frames meanwhile are refused", () => {
    const { ports, settle } = lanOfThree();
    const a = recorder();
    const link = ports[0].open(a);
    ports[0].setDown();
    ports[0].setDown();
    expect(link.up).toBe(false);
    expect(link.sendBatch([frameTo(MAC_B, MAC_A, 1)])).toBe(0);
    expect(link.statistics()).toMatchObject({ refused: 1, lastRefusal: "ENETDOWN" });
    ports[0].setUp({ interfaceIndex: 9 });
    ports[0].setUp({ macAddress: MAC_C });
    expect(a.said).toEqual(["down Down", "up", `mac ${MAC_C}`]);
    expect(link.interfaceIndex).toBe(9);
    settle();
  });

  test("refuses to open an interface that has vanished", () => {
    const { ports } = lanOfThree();
    ports[0].setDown("Vanished");
    expect(() => ports[0].open(recorder())).toThrow(
      expect.objectContaining({ code: "NoSuchInterface" }),
    );
  });

  test("runs the filter of the frame's EtherType, else the one for all", () => {
    const { ports, settle } = lanOfThree((program, octets) => program[0]?.k === markOf(octets));
    const b = recorder();
    const link = ports[1].open(b);
    const other = ports[0].open(recorder());
    const sendAll = (): void => {
      other.sendBatch([1, 2].map((mark) => frameTo(MAC_B, MAC_A, mark)));
      settle();
    };
    link.setFilter([filterFor(1)]);
    sendAll();
    link.setFilter([filterFor(2)], 0x0806);
    sendAll();
    link.setFilter([filterFor(1)], 0x86dd);
    sendAll();
    expect(b.frames.map(({ octets }) => markOf(octets))).toEqual([1, 2, 2]);
  });

  test("hands nothing to a disposed link", () => {
    const { ports, settle } = lanOfThree();
    const b = recorder();
    const link = ports[1].open(b);
    const other = ports[0].open(recorder());
    other.send(frameTo(MAC_B, MAC_A, 1));
    link[Symbol.dispose]();
    settle();
    expect(b.frames).toEqual([]);
    expect(link.up).toBe(false);
    link.send(frameTo(MAC_A, MAC_B, 1));
    expect(link.statistics()).toMatchObject({ refused: 1, lastRefusal: "EBADF" });
  });

  test("refuses a frame without a whole header", () => {
    const { ports } = lanOfThree();
    expect(() => ports[0].open(recorder()).send(new Uint8Array(13))).toThrow(RangeError);
  });
});
