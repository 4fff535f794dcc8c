import { describe, expect, test } from "@jest/globals";
import { address } from "../../../../packet/address/address.ts";
import type { IPv6Address } from "../../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../../packet/address/mac.ts";
import { announcementFrames } from "../../../../packet/wire/announcement.ts";
import { decodeFrame } from "../../../../packet/wire/frame.ts";
import { golden, toHex } from "../../../support/hex.ts";

describe("the frames", () => {
  const on = {
    mac: "02:00:00:00:00:01" as MacAddress,
    linkLocal: "fe80::ff:fe00:1" as IPv6Address,
  };
  const virtual = address("10.9.0.100");
  const virtual6 = address("2001:db8::1:2");
  const own = "020000000001";
  const arp = (operation: string, sender: string, targetMac: string): string =>
    `ffffffffffff${own}0806000108000604${operation}${own}${sender}${targetMac}0a090064${"00".repeat(18)}`;
  const request = arp("0001", "0a090064", "000000000000");

  test.each([
    ["probe", [arp("0001", "00000000", "000000000000")]],
    ["announcement", [request, arp("0002", "0a090064", own)]],
    ["refresh", [request]],
    ["defence", [request]],
  ] as const)("of an ARP %s", (what, expected) => {
    expect(announcementFrames(what, virtual, on).map(toHex)).toEqual(expected);
  });

  test("arping's announcements are ours, but for the target hardware address of the request", () => {
    const arpings = { ...on, mac: "02:00:00:00:0a:01" as MacAddress };
    const [asRequest, asReply] = announcementFrames("announcement", address("192.0.2.1"), arpings);
    const unset = golden("arp-announcement-request-arping");
    unset.fill(0, 32, 38);
    expect(toHex(asRequest!.subarray(0, 42))).toBe(toHex(unset));
    expect(toHex(asReply!.subarray(0, 42))).toBe(toHex(golden("arp-announcement-reply-arping")));
  });

  test("of a probe for duplicates", () => {
    const frames = announcementFrames("probe", virtual6, on).map(decodeFrame);
    expect(frames).toEqual([
      {
        ok: true,
        value: {
          kind: "ndp",
          source: on.mac,
          destination: "33:33:ff:01:00:02",
          hopLimit: 255,
          code: 0,
          sourceAddress: "::",
          destinationAddress: "ff02::1:ff01:2",
          message: { kind: "neighborSolicitation", targetAddress: virtual6, options: [] },
        },
      },
    ]);
  });

  test("the kernel's unsolicited advertisement is ours, but for the address it comes from", () => {
    const notifying = {
      ...on,
      mac: "02:00:00:00:0a:01" as MacAddress,
      linkLocal: "2001:db8::1" as IPv6Address,
    };
    const expected = [toHex(golden("na-notify-kernel"))];
    for (const what of ["announcement", "refresh", "defence"] as const) {
      expect(announcementFrames(what, address("2001:db8::1"), notifying).map(toHex)).toEqual(
        expected,
      );
    }
  });

  test("of IPv6 on an interface without link-local address: none", () => {
    const without = { mac: on.mac };
    expect(announcementFrames("announcement", virtual6, without)).toEqual([]);
    expect(announcementFrames("announcement", virtual, without)).toHaveLength(2);
  });
});
