import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { formatPrefix } from "../../../../packet/address/prefix.ts";
import { collectInterfaces } from "../../../../packet/link/interface-facts.ts";
import {
  decodeAddressMessage,
  decodeLink,
  decodeMessages,
  encodeAddressDump,
  encodeLinkDump,
  NETLINK_TYPE,
  NLM_F_MULTI,
  type NetlinkMessage,
} from "../../../../packet/link/netlink.ts";
import { fromHex, golden } from "../../../support/hex.ts";

const LINKS = golden("netlink/links");
const ADDRESSES = golden("netlink/addresses");
const messages = (): NetlinkMessage[] => [...decodeMessages(LINKS), ...decodeMessages(ADDRESSES)];

describe("netlink requests", () => {
  test("ask for all links without their statistics", () => {
    expect(encodeLinkDump(7)).toEqual(
      fromHex(
        "28000000 1200 0103 07000000 00000000  00000000 00000000 00000000 00000000  0800 1d00 08000000",
      ),
    );
  });
  test("ask for all addresses", () => {
    expect(encodeAddressDump(8)).toEqual(
      fromHex("18000000 1600 0103 08000000 00000000  0000000000000000"),
    );
  });
});

describe("messages of the kernel", () => {
  test("are links and a done, each part of a dump", () => {
    const decoded = decodeMessages(LINKS);
    const { newLink, done } = NETLINK_TYPE;
    expect(decoded.map(({ type }) => type)).toEqual([newLink, newLink, newLink, newLink, done]);
    expect(decoded.every(({ flags }) => (flags & NLM_F_MULTI) !== 0)).toBe(true);
    expect(new Set(decoded.map(({ sequence }) => sequence))).toEqual(new Set([1]));
  });

  test("tell of a port of a bridge", () => {
    const links = decodeMessages(LINKS).flatMap((message) => decodeLink(message) ?? []);
    const bridge = links.find(({ name }) => name === "br0");
    expect(links.find(({ name }) => name === "v1")).toMatchObject({
      hardwareType: 1,
      mtu: 1500,
      macAddress: "02:00:00:00:00:01",
      master: bridge?.index,
      carrier: true,
      kind: "veth",
    });
    expect(bridge).toMatchObject({ kind: "bridge", master: 0 });
  });

  test("are put together into interfaces", () => {
    const interfaces = collectInterfaces(messages());
    const shown = interfaces.map((one) => ({
      ...one,
      addresses: one.addresses.map(({ address, subnet }) => `${address} ${formatPrefix(subnet)}`),
    }));
    const ethernet = { mtu: 1500, loopback: false, noArp: false, ethernet: true, master: null };
    expect(shown).toEqual([
      expect.objectContaining({
        name: "lo",
        loopback: true,
        ethernet: false,
        addresses: ["127.0.0.1 127.0.0.0/8", "::1 ::1/128"],
      }),
      expect.objectContaining({ ...ethernet, name: "br0", up: false, carrier: false }),
      expect.objectContaining({
        ...ethernet,
        name: "eth0",
        macAddress: "02:00:00:00:00:02",
        up: true,
        carrier: true,
        // The link-local one was still in duplicate address detection.
        addresses: ["10.1.2.3 10.1.0.0/20", "192.0.2.1 192.0.2.9/32", "fd00:99::1 fd00:99::/64"],
      }),
      expect.objectContaining({
        ...ethernet,
        name: "v1",
        up: true,
        master: { name: "br0", kind: "bridge" },
      }),
    ]);
  });

  test("with a master out of sight name it by its index", () => {
    const withoutBridge = messages().filter((message) => decodeLink(message)?.name !== "br0");
    const port = collectInterfaces(withoutBridge).find(({ name }) => name === "v1");
    expect(port?.master).toMatchObject({ name: expect.stringMatching(/^#\d+$/), kind: "" });
  });
});

describe("octets of anyone", () => {
  const decodeAll = (octets: Uint8Array): void => {
    for (const message of decodeMessages(octets)) {
      decodeLink(message);
      decodeAddressMessage(message);
    }
    collectInterfaces(decodeMessages(octets));
  };

  test("never throw, however they are cut off", () => {
    for (const whole of [LINKS, ADDRESSES]) {
      for (let length = 0; length < whole.length; length++) decodeAll(whole.subarray(0, length));
    }
  });

  test("never throw, whatever is changed in them", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(LINKS, ADDRESSES),
        fc.array(fc.tuple(fc.nat(10_000), fc.nat(255)), { maxLength: 20 }),
        (whole, changes) => {
          const octets = whole.slice();
          for (const [at, value] of changes) octets[at % octets.length] = value;
          decodeAll(octets);
        },
      ),
    );
  });

  for (const { name, hex } of [
    { name: "a message of length zero", hex: "00000000 1000 0000 00000000 00000000" },
    { name: "a message longer than the datagram", hex: "40000000 1000 0000 00000000 00000000" },
  ]) {
    test(`end at ${name}`, () => {
      expect(decodeMessages(fromHex(hex))).toEqual([]);
    });
  }

  test("give no link without a name and no address of another family", () => {
    const bare = decodeMessages(
      fromHex("20000000 1000 0000 00000000 00000000" + "00".repeat(16)),
    )[0];
    expect(decodeLink(bare!)).toBeNull();
    const alien = decodeMessages(
      fromHex("18000000 1400 0000 00000000 00000000" + "11".repeat(8)),
    )[0];
    expect(decodeAddressMessage(alien!)).toBeNull();
  });
});
