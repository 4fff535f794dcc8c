import { describe, expect, test } from "@jest/globals";

import { address } from "../../../packet/address/address.ts";
import { parseMac } from "../../../packet/address/mac.ts";
import { formatPrefix, parsePrefix } from "../../../packet/address/prefix.ts";
import type { InterfaceAddress, InterfaceFacts } from "../../../packet/link/interface-facts.ts";
import type { MonitorHandlers } from "../../../packet/link/interface-monitor.ts";
import {
  compileExcluded,
  judgeInterfaces,
  watchInterfaces,
  type JudgedInterfaces,
} from "../../../speaker/interfaces.ts";

const mac = parseMac("02:00:00:00:00:01");

/** An address with its network. */
function at(text: string, network: string): InterfaceAddress {
  const subnet = parsePrefix(network);
  if (!subnet.ok) throw new TypeError(subnet.message);
  return { address: address(text), subnet: subnet.value };
}

const LINK_LOCAL = at("fe80::1", "fe80::/64");

/** A healthy interface with some facts changed. */
function facts(change: Partial<InterfaceFacts> = {}): InterfaceFacts {
  return {
    index: 2,
    name: "eth0",
    macAddress: mac.ok ? mac.value : null,
    mtu: 1500,
    up: true,
    carrier: true,
    loopback: false,
    noArp: false,
    ethernet: true,
    master: null,
    addresses: [at("10.0.0.5", "10.0.0.0/24"), LINK_LOCAL, at("fd00::5", "fd00::/64")],
    ...change,
  };
}

const judge = (change: Partial<InterfaceFacts>): JudgedInterfaces =>
  judgeInterfaces([facts(change)], compileExcluded([]).patterns);

describe("a usable interface", () => {
  test("gives name, index, MAC address, link-local address and its networks", () => {
    const { usable, unusable } = judge({});
    expect(unusable).toEqual([]);
    expect(usable).toEqual([
      expect.objectContaining({
        name: "eth0",
        index: 2,
        mac: "02:00:00:00:00:01",
        linkLocal: "fe80::1",
        addresses: ["10.0.0.5", "fe80::1", "fd00::5"],
      }),
    ]);
    expect(usable[0]?.subnets.map(formatPrefix)).toEqual(["10.0.0.0/24", "fd00::/64"]);
  });

  for (const { name, change } of [
    { name: "with IPv4 alone", change: { addresses: [at("10.0.0.5", "10.0.0.0/24")] } },
    { name: "with a link-local address alone", change: { addresses: [LINK_LOCAL] } },
    { name: "that is a bridge", change: { name: "br0" } },
    { name: "whose name only contains an excluded one", change: { name: "mylo" } },
  ]) {
    test(`is one ${name}`, () => {
      expect(judge(change).usable.length).toBe(1);
    });
  }

  test("has no link-local address when there is none", () => {
    const [one] = judge({ addresses: [at("10.0.0.5", "10.0.0.0/24")] }).usable;
    expect(one).not.toHaveProperty("linkLocal");
  });
});

describe("an unusable interface says why", () => {
  for (const { name, change, reason, says } of [
    {
      name: "a name of the default list",
      change: { name: "veth12" },
      reason: "Excluded",
      says: "^veth",
    },
    { name: "a Cilium port", change: { name: "lxc0a1" }, reason: "Excluded", says: "^lxc" },
    {
      name: "loopback by flag",
      change: { name: "lo2", loopback: true },
      reason: "Loopback",
      says: "LAN",
    },
    {
      name: "another kind of link",
      change: { ethernet: false },
      reason: "NotEthernet",
      says: "Ethernet",
    },
    {
      name: "no MAC address",
      change: { macAddress: null },
      reason: "NotEthernet",
      says: "Ethernet",
    },
    { name: "NOARP", change: { noArp: true }, reason: "NoArp", says: "NOARP" },
    {
      name: "a port of a bond",
      change: { master: { name: "bond0", kind: "bond" } },
      reason: "HasMaster",
      says: "bond bond0",
    },
    {
      name: "a port of something unknown",
      change: { master: { name: "#7", kind: "" } },
      reason: "HasMaster",
      says: "interface #7",
    },
    {
      name: "down",
      change: { up: false, carrier: false },
      reason: "Down",
      says: "ip link set eth0 up",
    },
    { name: "no carrier", change: { carrier: false }, reason: "NoCarrier", says: "cable" },
    { name: "no address", change: { addresses: [] }, reason: "NoAddress", says: "no IP address" },
    {
      name: "several at once: the first check decides",
      change: { name: "docker0", up: false, addresses: [] },
      reason: "Excluded",
      says: "docker",
    },
  ] as const) {
    test(name, () => {
      const { usable, unusable } = judge(change);
      expect(usable).toEqual([]);
      expect(unusable).toEqual([
        { name: facts(change).name, reason, message: expect.stringContaining(says) },
      ]);
    });
  }
});

describe("patterns of names", () => {
  test("replace the default and match anywhere unless anchored", () => {
    const { patterns } = compileExcluded(["th1", "^en"]);
    const names = ["eth0", "eth1", "eth10", "eno1", "men0", "lo9", "veth0"];
    const { usable } = judgeInterfaces(
      names.map((name) => facts({ name })),
      patterns,
    );
    expect(usable.map(({ name }) => name)).toEqual(["eth0", "men0", "lo9", "veth0"]);
  });

  test("that are none are refused by name, the others count", () => {
    const { patterns, refused } = compileExcluded(["eth(", "^en"]);
    expect(patterns.map(({ source }) => source)).toEqual(["^en"]);
    expect(refused).toEqual([expect.stringContaining("eth(")]);
  });
});

describe("a watch", () => {
  /** A watch over a monitor that the test drives. */
  function watched(excluded: readonly string[] = []) {
    const seen: JudgedInterfaces[] = [];
    const causes: unknown[] = [];
    const driven: { handlers?: MonitorHandlers; disposed: boolean } = { disposed: false };
    const watch = watchInterfaces({
      excluded,
      changed: (judged) => seen.push(judged),
      polling: (cause) => causes.push(cause),
      monitor: (handlers) => {
        driven.handlers = handlers;
        return { [Symbol.dispose]: () => void (driven.disposed = true) };
      },
    });
    const names = (): string[] | undefined => seen.at(-1)?.usable.map(({ name }) => name);
    return { watch, seen, causes, driven, names };
  }

  test("judges at each change and when other names are excluded", () => {
    const { watch, seen, driven, names } = watched();
    expect(watch.setExcluded([])).toEqual([]);
    expect(seen).toEqual([]);
    driven.handlers?.changed([facts(), facts({ name: "eth1", index: 3 })]);
    expect(names()).toEqual(["eth0", "eth1"]);
    expect(watch.setExcluded(["^eth1$", "("]).length).toBe(1);
    expect(names()).toEqual(["eth0"]);
    driven.handlers?.changed([facts({ carrier: false })]);
    expect(names()).toEqual([]);
    expect(seen.length).toBe(3);
  });

  test("passes on that interfaces are polled, and ends its monitor", () => {
    const { watch, causes, driven } = watched();
    driven.handlers?.polling?.("why");
    expect(causes).toEqual(["why"]);
    watch[Symbol.dispose]();
    expect(driven.disposed).toBe(true);
  });
});
