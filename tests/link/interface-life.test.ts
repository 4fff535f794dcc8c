import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";

import { eventually } from "../support/eventually.ts";
import { connectHost, createLan, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { Agent } from "./agent-client.ts";
import {
  ACCEPT_ALL,
  arpFrames,
  arpRequest,
  arpSeen,
  ETHERTYPE_ARP,
  longFilter,
  REFUSE_ALL,
} from "./frames.ts";

jest.setTimeout(30_000);

const suite = describeWith("linux", "root", "netns", "native");

async function eventsAre(agent: Agent, expected: readonly string[]): Promise<void> {
  await eventually(async () => {
    expect(await agent.events()).toEqual(expected);
  });
}

/** Sends from one agent until the other has seen a frame: the bridge may still be learning its port. */
async function getsThrough(from: Agent, to: Agent): Promise<void> {
  await to.frames();
  await eventually(async () => {
    await from.send(arpRequest(200));
    const last = arpFrames(await to.frames()).map(({ octets }) => octets[41]);
    expect(last).toContain(200);
  });
}

suite("the interface of an AF_PACKET link", () => {
  let lan: Lan;
  let one: Agent;
  beforeAll(async () => {
    lan = await createLan({ hosts: 2 });
    one = await Agent.open(lan.host(1));
  });
  afterAll(async () => {
    await one[Symbol.asyncDispose]();
    await lan[Symbol.asyncDispose]();
  });

  test("goes down and comes up: told once each, sends meanwhile refused and counted", async () => {
    await using two = await Agent.open(lan.host(2));
    await lan.host(2).ip("link", "set", "eth0", "down");
    await eventsAre(two, ["down Down"]);
    await two.send(arpRequest(1));
    expect(await two.describe()).toMatchObject({ up: false });
    expect(await two.statistics()).toMatchObject({ refused: 1, lastRefusal: "ENETDOWN" });
    await lan.host(2).ip("link", "set", "eth0", "up");
    await eventsAre(two, ["down Down", "up"]);
    await getsThrough(one, two);
    await getsThrough(two, one);
  });

  test("is opened while down and comes up later", async () => {
    await lan.host(2).ip("link", "set", "eth0", "down");
    await using two = await Agent.open(lan.host(2));
    expect(await two.describe()).toMatchObject({ up: false });
    await lan.host(2).ip("link", "set", "eth0", "up");
    await eventsAre(two, ["up"]);
    await getsThrough(one, two);
  });

  test("flaps faster than anyone looks: told as down and up", async () => {
    await using two = await Agent.open(lan.host(2));
    const stalled = two.tell("stall", { ms: 400 });
    await lan.host(2).run("sh", "-c", "ip link set eth0 down; ip link set eth0 up");
    await stalled;
    await eventsAre(two, ["down Down", "up"]);
  });

  test("vanishes and returns with another index and MAC: filter and group stand, frames flow", async () => {
    const host = lan.host(2);
    await using two = await Agent.open(host);
    const before = await two.describe();
    await two.tell("joinGroup", { group: "33:33:ff:00:00:99" });
    const programs = [REFUSE_ALL, REFUSE_ALL];
    await two.tell("setFilter", { programs, etherType: ETHERTYPE_ARP });
    await host.ip("link", "del", "eth0");
    await eventsAre(two, ["down Vanished"]);
    await two.send(arpRequest(1));
    expect(await two.statistics()).toMatchObject({ refused: 1, lastRefusal: "ENODEV" });
    await connectHost(lan.switch, { ...host, mac: "02:00:00:00:99:02" });
    await eventually(async () => expect(await two.describe()).toMatchObject({ up: true }));
    const after = await two.describe();
    expect(after.macAddress).toBe("02:00:00:00:99:02");
    expect(after.interfaceIndex).not.toBe(before.interfaceIndex);
    expect((await host.ip("maddr", "show", "dev", "eth0")).stdout).toContain("33:33:ff:00:00:99");
    await getsThrough(two, one);
    await one.send(arpRequest(3));
    await two.tell("setFilter", { programs: [ACCEPT_ALL], etherType: ETHERTYPE_ARP });
    await one.send(arpRequest(4));
    expect((await arpSeen(two, 1)).map(({ octets }) => octets[41])).toEqual([4]);
  });

  test("takes a frame once by several programs, and changes them without losing one", async () => {
    await using two = await Agent.open(lan.host(2));
    const etherType = ETHERTYPE_ARP;
    const filters = [
      [REFUSE_ALL, ACCEPT_ALL, REFUSE_ALL],
      [longFilter(2000), REFUSE_ALL],
      [ACCEPT_ALL],
    ];
    for (let mark = 1; mark <= 30; mark++) {
      await two.tell("setFilter", { programs: filters[mark % 3]!, etherType });
      await one.send(arpRequest(mark));
    }
    const seen = await arpSeen(two, 30);
    expect(seen.map(({ octets }) => octets[41]).sort((a, b) => a! - b!)).toEqual(
      Array.from({ length: 30 }, (_, i) => i + 1),
    );
    await two.tell("setFilter", { programs: [REFUSE_ALL, REFUSE_ALL], etherType });
    await one.send(arpRequest(31));
    await two.tell("setFilter", { programs: [REFUSE_ALL, ACCEPT_ALL], etherType });
    await one.send(arpRequest(32));
    expect((await arpSeen(two, 1)).map(({ octets }) => octets[41])).toEqual([32]);
    expect((await two.statistics()).dropped).toBe(0);
  });

  test("changes its MAC address while up: told when asked to look", async () => {
    const host = lan.host(2);
    await using two = await Agent.open(host);
    await host.ip("link", "set", "eth0", "address", "02:00:00:00:77:02");
    await two.tell("refresh", {});
    expect(await two.events()).toEqual(["mac 02:00:00:00:77:02"]);
    expect(await two.describe()).toMatchObject({ macAddress: "02:00:00:00:77:02" });
  });

  test("joins and leaves multicast groups", async () => {
    const host = lan.host(2);
    const shown = async (): Promise<string> => (await host.ip("maddr", "show", "eth0")).stdout;
    await using two = await Agent.open(host);
    await two.tell("joinGroup", { group: "33:33:ff:12:34:56" });
    expect(await shown()).toContain("33:33:ff:12:34:56");
    await two.tell("leaveGroup", { group: "33:33:ff:12:34:56" });
    expect(await shown()).not.toContain("33:33:ff:12:34:56");
    await two.tell("leaveGroup", { group: "33:33:ff:12:34:56" });
  });
});

suite("refusals of an AF_PACKET link", () => {
  let lan: Lan;
  beforeAll(async () => {
    lan = await createLan({ hosts: 2 });
  });
  afterAll(async () => {
    await lan[Symbol.asyncDispose]();
  });

  for (const { name, interfaceName, code, message } of [
    {
      name: "an interface that does not exist",
      interfaceName: "eth7",
      code: "NoSuchInterface",
      message: "eth7",
    },
    {
      name: "a name too long for one",
      interfaceName: "a".repeat(16),
      code: "NoSuchInterface",
      message: "aaa",
    },
    { name: "an empty name", interfaceName: "", code: "NoSuchInterface", message: "no such" },
    { name: "the loopback interface", interfaceName: "lo", code: "NotEthernet", message: "772" },
  ]) {
    test(`refuses ${name}`, async () => {
      await using agent = await Agent.start(lan.host(1));
      const opening = agent.tell("open", { options: { interfaceName } });
      await expect(opening).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message),
      });
    });
  }

  test("says which capability is missing", async () => {
    const wrapper = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    await using agent = await Agent.start(lan.host(1), wrapper);
    const opening = agent.tell("open", { options: { interfaceName: "eth0" } });
    await expect(opening).rejects.toMatchObject({
      code: "PermissionDenied",
      message: expect.stringContaining("CAP_NET_RAW"),
    });
  });

  test("needs no other capability than CAP_NET_RAW", async () => {
    const wrapper = ["setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all"];
    await using one = await Agent.start(lan.host(1), wrapper);
    await using two = await Agent.open(lan.host(2));
    await one.tell("open", { options: { interfaceName: "eth0" } });
    await one.tell("joinGroup", { group: "33:33:ff:12:34:56" });
    await one.tell("setFilter", { programs: [ACCEPT_ALL] });
    await one.send(arpRequest(5));
    await arpSeen(two, 1);
  });

  test("replaces a filter that fits optmem_max only alone, without losing a frame", async () => {
    await using one = await Agent.open(lan.host(1));
    await lan.host(2).run("sysctl", "-qw", "net.core.optmem_max=20480");
    await using two = await Agent.open(lan.host(2));
    await two.tell("setFilter", { programs: [longFilter(2000)] });
    await one.send(arpRequest(1));
    await two.tell("setFilter", { programs: [longFilter(2001)] });
    await one.send(arpRequest(2));
    await two.tell("setFilter", { programs: [longFilter(2002)] });
    await one.send(arpRequest(3));
    const seen = await arpSeen(two, 3);
    expect(new Set(seen.map(({ octets }) => octets[41]))).toEqual(new Set([1, 2, 3]));
    expect((await two.statistics()).dropped).toBe(0);
  });

  test("refuses a filter that does not fit at all and keeps the old one", async () => {
    await using one = await Agent.open(lan.host(1));
    await lan.host(2).run("sysctl", "-qw", "net.core.optmem_max=20480");
    await using two = await Agent.open(lan.host(2));
    await two.tell("setFilter", { programs: [REFUSE_ALL] });
    await expect(two.tell("setFilter", { programs: [longFilter(4000)] })).rejects.toMatchObject({
      code: "FilterTooLarge",
      message: expect.stringContaining("optmem_max"),
    });
    await one.send(arpRequest(1));
    await two.tell("setFilter", { programs: [ACCEPT_ALL] });
    await one.send(arpRequest(2));
    expect((await arpSeen(two, 1)).map(({ octets }) => octets[41])).toEqual([2]);
  });

  test("ends its process in order after being closed, and again closed is closed", async () => {
    await using agent = await Agent.open(lan.host(1));
    await agent.tell("close", {});
    await expect(agent.tell("setFilter", { programs: [ACCEPT_ALL] })).rejects.toMatchObject({
      code: "Closed",
    });
    await agent.send(arpRequest(1));
    expect(await agent.statistics()).toMatchObject({ refused: 1, lastRefusal: "EBADF" });
    expect(await agent.end()).toBe("");
  });
});
