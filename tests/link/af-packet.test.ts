import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";

import { eventually } from "../support/eventually.ts";
import { createLan, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { Agent, type SeenFrame } from "./agent-client.ts";
import {
  ACCEPT_ALL,
  arpFrames,
  arpRequest,
  arpSeen,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  inVlan,
  REFUSE_ALL,
} from "./frames.ts";

const suite = describeWith("linux", "root", "netns", "native", "ping");

jest.setTimeout(20_000);

suite("an AF_PACKET link", () => {
  let lan: Lan;
  beforeAll(async () => {
    lan = await createLan({ hosts: 2 });
  });
  afterAll(async () => {
    await lan[Symbol.asyncDispose]();
  });

  test("sends frames that another link receives whole, with kind and kernel time stamp", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    const before = Date.now();
    await one.send(arpRequest(77), arpRequest(78));
    const [first, second] = await arpSeen(two, 2);
    expect(new Uint8Array(first!.octets)).toEqual(arpRequest(77));
    expect(new Uint8Array(second!.octets)).toEqual(arpRequest(78));
    expect(first!.kind).toBe("broadcast");
    expect(first!.atMs).toBeGreaterThanOrEqual(before - 1);
    expect(first!.atMs).toBeLessThanOrEqual(first!.nowMs + 1);
    expect(first!.atMs % 1).not.toBe(0);
    expect(await two.statistics()).toMatchObject({ received: 2, dropped: 0, oversized: 0 });
    expect(await one.statistics()).toMatchObject({ sent: 2, refused: 0, lastRefusal: null });
  });

  test("keeps the order of a batch longer than its slots and counts what the kernel took", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    const frames = Array.from({ length: 200 }, (_, i) => arpRequest(i));
    expect(await one.tell("sendBatch", { frames })).toBe(200);
    const seen = await arpSeen(two, 200);
    expect(seen.map(({ octets }) => octets[41])).toEqual(frames.map((frame) => frame[41]));
  });

  test("sends what the handler of a frame sends", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await two.tell("echo", { on: true });
    await one.send(arpRequest(7), arpRequest(8), arpRequest(9));
    const seen = await arpSeen(one, 3);
    expect(seen.map(({ octets }) => octets[41])).toEqual([7, 8, 9]);
  });

  test("is not handed the frames that its own host sends", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await one.send(arpRequest(7));
    await arpSeen(two, 1);
    expect(arpFrames(await one.frames())).toEqual([]);
  });

  test("receives ARP and Neighbor Discovery of the kernel and no other traffic", async () => {
    await using two = await Agent.open(lan.host(2));
    const { ipv4, ipv6 } = lan.host(2);
    await lan.host(1).ip("neigh", "flush", "dev", "eth0");
    await lan.host(1).run("ping", "-c1", "-W1", ipv4);
    await lan.host(1).run("ping", "-6", "-c1", "-W1", ipv6);
    const seen: SeenFrame[] = [];
    await eventually(async () => {
      seen.push(...(await two.frames()));
      const types = new Set(seen.map(({ octets }) => (octets[12]! << 8) | octets[13]!));
      expect([...types].sort()).toEqual([ETHERTYPE_ARP, ETHERTYPE_IPV6]);
    });
    for (const { octets } of seen.filter(({ octets }) => octets[12] === 0x86)) {
      expect([135, 136]).toContain(octets[54]);
    }
  });

  test("replaces its filter for all frames or for one EtherType", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await two.tell("setFilter", { programs: [REFUSE_ALL] });
    await one.send(arpRequest(1));
    await two.tell("setFilter", { programs: [ACCEPT_ALL], etherType: ETHERTYPE_IPV6 });
    await one.send(arpRequest(2));
    await two.tell("setFilter", { programs: [ACCEPT_ALL], etherType: ETHERTYPE_ARP });
    await one.send(arpRequest(3));
    expect((await arpSeen(two, 1)).map(({ octets }) => octets[41])).toEqual([3]);
    await expect(
      two.tell("setFilter", { programs: [ACCEPT_ALL], etherType: 0x0800 }),
    ).rejects.toThrow("0x800");
    await expect(two.tell("setFilter", { programs: [[]] })).rejects.toThrow("filter");
  });

  test("counts frames that found no room while its loop stood still", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2), { interfaceName: "eth0", receiveBuffer: 4096 });
    await two.tell("setFilter", { programs: [REFUSE_ALL], etherType: ETHERTYPE_IPV6 });
    const stalled = two.tell("stall", { ms: 300 });
    const frames = Array.from({ length: 400 }, () => arpRequest(1));
    await one.tell("sendBatch", { frames });
    await stalled;
    await eventually(async () => {
      const { received, dropped } = await two.statistics();
      expect(dropped).toBeGreaterThan(0);
      expect(received + dropped).toBe(400);
    });
  });

  test("counts frames of another VLAN instead of handing them over", async () => {
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await one.send(inVlan(7, arpRequest(1)), inVlan(0, arpRequest(2)), arpRequest(3));
    expect((await arpSeen(two, 2)).map(({ octets }) => octets[41])).toEqual([2, 3]);
    expect(await two.statistics()).toMatchObject({ tagged: 1, received: 2 });
  });

  test("counts frames too long for a slot instead of handing them over", async () => {
    for (const host of lan.hosts) {
      await host.ip("link", "set", "eth0", "mtu", "4000");
      await lan.switch.ip("link", "set", host.port, "mtu", "4000");
    }
    await using one = await Agent.open(lan.host(1));
    await using two = await Agent.open(lan.host(2));
    await one.tell("sendLong", { frame: arpRequest(1, 3000) });
    await one.send(arpRequest(2));
    expect((await arpSeen(two, 1)).map(({ octets }) => octets[41])).toEqual([2]);
    expect(await two.statistics()).toMatchObject({ oversized: 1, received: 1 });
  });

  test("refuses frames that are no frames and goes on", async () => {
    await using one = await Agent.open(lan.host(1));
    await expect(one.send(new Uint8Array(13))).rejects.toThrow("13 octets");
    await expect(one.send(new Uint8Array(1665))).rejects.toThrow("1665 octets");
    await one.send(arpRequest(1));
    expect(await one.statistics()).toMatchObject({ sent: 1 });
  });
});
