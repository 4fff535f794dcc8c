import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { address, type Address } from "../../../packet/address/address.ts";
import type { IPv4Address } from "../../../packet/address/ipv4.ts";
import type { IPv6Address } from "../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../packet/address/mac.ts";
import { parsePrefix } from "../../../packet/address/prefix.ts";
import { LinkError, type Link } from "../../../packet/link/link.ts";
import { MemoryLan, type MemoryPort } from "../../../packet/link/memory.ts";
import { ARP_REPLY } from "../../../packet/wire/arp.ts";
import type { BpfProgram } from "../../../packet/wire/bpf.ts";
import { announcementFrames } from "../../../packet/wire/announcement.ts";
import { decodeFrame, encodeArpFrame, encodeNdpFrame } from "../../../packet/wire/frame.ts";
import { Ear } from "../../../speaker/ear.ts";
import type { UsableInterface } from "../../../speaker/interfaces.ts";
import { runBpf } from "../../support/bpf.ts";

const OWN = "02:00:00:00:00:01" as MacAddress;
const OWN_SECOND = "02:00:00:00:00:02" as MacAddress;
const PEER = "02:00:00:00:00:0a" as MacAddress;
const OTHER = "02:00:00:00:00:0b" as MacAddress;
const LINK_LOCAL = "fe80::1" as IPv6Address;
const PEER_LOCAL = "fe80::a" as IPv6Address;
const VIP = address("192.0.2.80");
const VIP_6 = address("2001:db8::80");
const FAR = address("198.51.100.80");
const GATEWAY = address("192.0.2.1");

function prefix(text: string) {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

const interfaces: readonly UsableInterface[] = [
  {
    name: "eth0",
    index: 1,
    mac: OWN,
    linkLocal: LINK_LOCAL,
    addresses: [address("192.0.2.9")],
    subnets: [prefix("192.0.2.0/24"), prefix("2001:db8::/64")],
  },
  {
    name: "eth1",
    index: 2,
    mac: OWN_SECOND,
    addresses: [address("198.51.100.9")],
    subnets: [prefix("198.51.100.0/24")],
  },
];

/** A host that answers for addresses, and counts what it was asked. */
function host(port: MemoryPort, mac: MacAddress, addresses: readonly Address[]) {
  const asked = { broadcast: 0, unicast: 0 };
  const link: Link = port.open({
    frame: ({ octets }) => {
      const frame = decodeFrame(octets);
      if (!frame.ok) return;
      const { value } = frame;
      if (value.destination === mac) asked.unicast++;
      else asked.broadcast++;
      if (value.kind === "arp") {
        const { targetProtocolAddress, senderHardwareAddress } = value.packet;
        if (!addresses.includes(targetProtocolAddress)) return;
        const packet = {
          operation: ARP_REPLY,
          senderHardwareAddress: mac,
          senderProtocolAddress: targetProtocolAddress,
          targetHardwareAddress: senderHardwareAddress,
          targetProtocolAddress: "0.0.0.0" as IPv4Address,
        };
        link.send(encodeArpFrame({ source: mac, destination: value.source, packet }));
      } else if (value.message.kind === "neighborSolicitation") {
        const { targetAddress } = value.message;
        if (!addresses.includes(targetAddress)) return;
        link.send(
          encodeNdpFrame({
            source: mac,
            destination: value.source,
            sourceAddress: PEER_LOCAL,
            destinationAddress: LINK_LOCAL,
            message: {
              kind: "neighborAdvertisement",
              router: false,
              solicited: true,
              override: true,
              targetAddress,
              options: [{ kind: "targetLinkLayerAddress", address: mac }],
            },
          }),
        );
      }
    },
  });
  return asked;
}

function lan(answering: Partial<Record<"peer" | "other", readonly Address[]>>) {
  const accepts = (program: BpfProgram, octets: Uint8Array) => runBpf(program, octets).keep > 0;
  const [near, far] = [new MemoryLan({ accepts }), new MemoryLan({ accepts })];
  const ports: Record<string, MemoryPort> = {
    eth0: near.connect("eth0", OWN),
    eth1: far.connect("eth1", OWN_SECOND),
  };
  const peer = host(near.connect("peer", PEER), PEER, answering.peer ?? []);
  const other = host(near.connect("other", OTHER), OTHER, answering.other ?? []);
  const noise = near.connect("noise", OTHER).open({ frame: () => undefined });
  let now = 0;
  let usable = interfaces;
  const opened: Link[] = [];
  const ear = new Ear({
    openLink: (name) => (handlers) => {
      const port = ports[name];
      if (port === undefined) throw new Error(name);
      const link = port.open(handlers);
      opened.push(link);
      return link;
    },
    usable: () => usable,
    now: () => now,
  });
  const wait = (ms: number) => (now += ms);
  const setUsable = (names: readonly string[]) => {
    usable = interfaces.filter(({ name }) => names.includes(name));
    ear.interfacesChanged();
  };
  const isHearing = async (link: Link | undefined) => {
    const before = link?.statistics().received ?? 0;
    for (const frame of announcementFrames("probe", GATEWAY, { ...interfaces[0]!, mac: OTHER }))
      noise.send(frame);
    await setImmediate();
    return (link?.statistics().received ?? 0) > before;
  };
  return { ear, peer, other, wait, opened, setUsable, isHearing };
}

const allowed = () => undefined;
const macs = new Set([PEER]);
const hosts = [{ address: GATEWAY, interfaceName: "eth0" }];

describe("what the LAN says", () => {
  for (const { name, answering, addresses, anybody = false, found } of [
    {
      name: "the member's own MAC address answers",
      answering: { peer: [VIP] },
      addresses: [VIP],
      found: { answered: true, heard: true, reached: true },
    },
    {
      name: "it answers for an IPv6 address",
      answering: { peer: [VIP_6] },
      addresses: [VIP_6],
      found: { answered: true, heard: true, reached: true },
    },
    {
      name: "another host answers for its address, once it is asked: the member has not answered",
      answering: { other: [VIP] },
      addresses: [VIP],
      found: { answered: false, heard: true, reached: true },
    },
    {
      name: "of oneself anybody's answer counts",
      answering: { other: [VIP] },
      addresses: [VIP],
      anybody: true,
      found: { answered: true, heard: true, reached: true },
    },
    {
      name: "only the gateway answers: frames come in",
      answering: { other: [GATEWAY] },
      addresses: [VIP],
      found: { answered: false, heard: true, reached: true },
    },
    {
      name: "nobody answers at all",
      answering: {},
      addresses: [VIP],
      found: { answered: false, heard: false, reached: false },
    },
    {
      name: "what is heard on one link says nothing of an address on another",
      answering: { other: [GATEWAY] },
      addresses: [FAR],
      found: { answered: false, heard: false, reached: false },
    },
  ])
    test(name, async () => {
      const { ear } = lan(answering);
      expect(
        await ear.ask({ addresses, allowed, macs: anybody ? undefined : macs, hosts }),
      ).toEqual(found);
    });

  test("an echo that was answered lately is proof of hearing, on its interface only", async () => {
    const { ear, wait } = lan({});
    ear.echoed("eth0");
    const question = { allowed, macs, hosts: [] };
    expect(await ear.ask({ ...question, addresses: [VIP] })).toMatchObject({ heard: true });
    expect(await ear.ask({ ...question, addresses: [FAR] })).toMatchObject({ heard: false });
    wait(1000);
    expect(await ear.ask({ ...question, addresses: [VIP] })).toMatchObject({ heard: false });
  });

  test("links stay open from one question to the next, and hear nothing in between", async () => {
    const { ear, opened, isHearing } = lan({ peer: [VIP, VIP_6] });
    const question = { allowed, macs, hosts };
    for (const each of [VIP, VIP_6, VIP]) {
      const asked = ear.ask({ ...question, addresses: [each] });
      expect(await isHearing(opened[0])).toBe(true);
      expect(await asked).toMatchObject({ answered: true });
      expect(await isHearing(opened[0])).toBe(false);
    }
    expect(opened.map(({ interfaceName }) => interfaceName)).toEqual(["eth0"]);
  });

  test("of two questions at once the one that ends first does not deafen the other", async () => {
    const { ear, opened, isHearing } = lan({ peer: [VIP] });
    const question = { allowed, macs, hosts };
    const late = ear.ask({ ...question, addresses: [VIP_6] });
    expect(await ear.ask({ ...question, addresses: [VIP] })).toMatchObject({ answered: true });
    expect(await isHearing(opened[0])).toBe(true);
    expect(await late).toMatchObject({ answered: false, heard: true });
    expect(await isHearing(opened[0])).toBe(false);
  });

  test("a link whose filter the kernel refuses is given up, and opened anew for the next question", async () => {
    const { ear, opened } = lan({ peer: [VIP] });
    const question = { addresses: [VIP], allowed, macs, hosts };
    const asked = ear.ask(question);
    const [link] = opened;
    link!.setFilter = () => {
      throw new LinkError("FilterTooLarge", "no room");
    };
    expect(await asked).toMatchObject({ answered: true });
    expect(link!.up).toBe(false);
    expect(await ear.ask(question)).toMatchObject({ answered: true });
    expect(opened).toHaveLength(2);
  });

  test("a link is closed when its interface cannot be used any more, and opened again after", async () => {
    const { ear, opened, setUsable } = lan({ peer: [VIP] });
    const question = { addresses: [VIP], allowed, macs, hosts };
    expect(await ear.ask(question)).toMatchObject({ answered: true });
    // one goes away in the middle of a question
    const asked = ear.ask(question);
    setUsable(["eth1"]);
    await asked;
    expect(opened.map(({ up }) => up)).toEqual([false]);
    expect(await ear.ask(question)).toMatchObject({ heard: false });
    setUsable(["eth0", "eth1"]);
    expect(await ear.ask(question)).toMatchObject({ answered: true });
    ear[Symbol.dispose]();
    expect(opened.map(({ up }) => up)).toEqual([false, false, false]);
  });

  test("a member is asked by unicast and at last by broadcast, hosts by broadcast until one answers", async () => {
    const { ear, peer, other } = lan({ other: [GATEWAY] });
    const found = await ear.ask({ addresses: [VIP, VIP_6], allowed, macs, hosts });
    expect(found).toEqual({ answered: false, heard: true, reached: true });
    expect(peer).toEqual({ broadcast: 3, unicast: 6 });
    expect(other).toEqual({ broadcast: 3, unicast: 0 });
    const answers = lan({ peer: [VIP] });
    await answers.ear.ask({ addresses: [VIP], allowed, macs, hosts });
    expect(answers.other).toEqual({ broadcast: 1, unicast: 0 });
    const silent = lan({});
    await silent.ear.ask({ addresses: [VIP], allowed, macs, hosts });
    expect(silent.other).toEqual({ broadcast: 4, unicast: 0 });
  });

  test("quietly: one frame to the one host as long as it answers, all are asked when it does not", async () => {
    for (const vip of [VIP, VIP_6]) {
      const answers = lan({ peer: [vip], other: [GATEWAY] });
      const question = { addresses: [vip], allowed, macs, hosts, quietly: true };
      expect(await answers.ear.ask(question)).toMatchObject({ answered: true });
      expect(answers.peer).toEqual({ broadcast: 0, unicast: 1 });
      expect(answers.other).toEqual({ broadcast: 0, unicast: 0 });
    }
    const silent = lan({ other: [GATEWAY] });
    const found = await silent.ear.ask({ addresses: [VIP], allowed, macs, hosts, quietly: true });
    expect(found).toEqual({ answered: false, heard: true, reached: true });
    expect(silent.peer.unicast).toBe(3);
  });
});
