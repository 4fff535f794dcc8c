import { expect, test } from "@jest/globals";
import type { MacAddress } from "../../../../packet/address/mac.ts";
import {
  decodeEthernet,
  encodeEthernet,
  formatEthernet,
  sameMac,
  type EthernetFrame,
} from "../../../../packet/wire/ethernet.ts";
import { embed } from "../../../support/codec.ts";
import { fromHex, golden } from "../../../support/hex.ts";

const header = "ffffffffffff020000000a010806";

test("decodes the header of a captured frame, also inside larger octets", () => {
  const octets = golden("arp-request-arping");
  const value = {
    destination: "ff:ff:ff:ff:ff:ff",
    source: "02:00:00:00:0a:01",
    etherType: 0x0806,
    payload: octets.subarray(14),
  };
  expect(decodeEthernet(octets)).toEqual({ ok: true, value });
  expect(decodeEthernet(embed(octets))).toEqual({ ok: true, value });
});

test("the payload aliases the frame", () => {
  const octets = golden("arp-request-arping");
  const decoded = decodeEthernet(octets);
  octets[14] = 0x77;
  expect(decoded.ok && decoded.value.payload[0]).toBe(0x77);
});

test.each([
  ["no octets", "", "truncated"],
  ["thirteen octets", header.slice(0, 26), "truncated"],
  ["an IEEE 802.1Q tag", header.replace(/0806$/, "8100") + "00640806", "vlanTag"],
  ["an IEEE 802.1Q tag cut short", header.replace(/0806$/, "8100"), "vlanTag"],
  ["an IEEE 802.1ad service tag", header.replace(/0806$/, "88a8") + "00640806", "vlanTag"],
  ["an IEEE 802.3 length", header.replace(/0806$/, "0026"), "unsupported"],
])("refuses %s", (_, hex, reason) => {
  expect(decodeEthernet(fromHex(hex))).toEqual({ ok: false, reason });
});

test.each([
  [0, 60],
  [28, 60],
  [46, 60],
  [47, 61],
  [72, 86],
])("a payload of %i octets makes a frame of %i", (payload, frame) => {
  const value = decodeEthernet(golden("arp-request-arping"));
  if (!value.ok) throw new TypeError(value.reason);
  const octets = encodeEthernet({ ...value.value, payload: new Uint8Array(payload).fill(1) });
  expect(octets).toHaveLength(frame);
  expect([...octets.subarray(14 + payload)].every((octet) => octet === 0)).toBe(true);
});

test("encoding is the inverse of decoding", () => {
  const octets = golden("na-solicited-kernel");
  const decoded = decodeEthernet(octets);
  expect(decoded.ok && encodeEthernet(decoded.value)).toEqual(octets);
});

test("formats the header", () => {
  const frame: EthernetFrame = {
    destination: "ff:ff:ff:ff:ff:ff" as MacAddress,
    source: "02:00:00:00:0a:01" as MacAddress,
    etherType: 0x806,
    payload: new Uint8Array(46),
  };
  expect(formatEthernet(frame)).toBe(
    "02:00:00:00:0a:01 > ff:ff:ff:ff:ff:ff type 0x0806, 46 octets",
  );
});

test("sameMac compares six octets at an offset", () => {
  const octets = fromHex(header);
  expect(sameMac(octets, 6, fromHex("020000000a01"))).toBe(true);
  expect(sameMac(octets, 0, fromHex("020000000a01"))).toBe(false);
  expect(sameMac(octets, 6, fromHex("020000000a02"))).toBe(false);
});
