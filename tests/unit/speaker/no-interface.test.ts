import { describe, expect, test } from "@jest/globals";
import { noInterface, type ListedInterface } from "../../../speaker/no-interface.ts";

const eth0: ListedInterface = { name: "eth0" };
const noCarrier = { name: "eth1", reason: "NoCarrier", why: "up without carrier" } as const;
const down = { name: "eth2", reason: "Down", why: "set down" } as const;
const lo = { name: "lo", reason: "Excluded", why: "its name matches ^lo$" } as const;

describe("why an address is answered for on no interface", () => {
  for (const { name, interfaces, allowed = [], reason, message } of [
    {
      name: "there is none",
      interfaces: [],
      reason: "NoUsableInterface",
      message: /^the node has no interface$/,
    },
    {
      name: "each is listed, those that matter first",
      interfaces: [lo, down],
      reason: "NoUsableInterface",
      message: /^eth2: set down; lo: its name matches/,
    },
    {
      name: "one that would do has no carrier",
      interfaces: [lo, down, noCarrier],
      reason: "NoCarrier",
      message: /eth2: set down; eth1: up without carrier/,
    },
    {
      name: "the pool's interface is not here",
      interfaces: [eth0, lo],
      allowed: ["eth7"],
      reason: "InterfaceNotSelected",
      message: /^eth7: the pool names it.*; eth0: not among the pool's interfaces \(eth7\)$/,
    },
    {
      name: "the pool's interface is here without carrier",
      interfaces: [eth0, noCarrier],
      allowed: ["eth1"],
      reason: "NoCarrier",
      message: /^eth1: up without carrier; eth0: not among/,
    },
    {
      name: "the pool's interface is here and set down",
      interfaces: [eth0, down],
      allowed: ["eth2"],
      reason: "NoUsableInterface",
      message: /^eth2: set down; eth0: not among/,
    },
    {
      name: "another's carrier does not matter when the pool names interfaces",
      interfaces: [eth0, noCarrier],
      allowed: ["eth7"],
      reason: "InterfaceNotSelected",
      message: /eth7/,
    },
    {
      name: "usable, but others are nearer",
      interfaces: [eth0],
      reason: "NoUsableInterface",
      message: /^eth0: in no network that holds the address/,
    },
  ] as {
    name: string;
    interfaces: ListedInterface[];
    allowed?: string[];
    reason: string;
    message: RegExp;
  }[])
    test(`${name}: ${reason}`, () => {
      const found = noInterface(interfaces, allowed);
      expect(found.reason).toBe(reason);
      expect(found.message).toMatch(message);
    });

  test("a hundred interfaces are cut to what a status can hold", () => {
    const many = Array.from({ length: 100 }, (_, index) => ({
      ...down,
      name: `interface${index}`,
    }));
    expect(noInterface(many).message.length).toBeLessThanOrEqual(1000);
  });
});
