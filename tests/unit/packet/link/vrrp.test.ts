import { describe, expect, test } from "@jest/globals";
import { decodeVrrp } from "../../../../packet/link/vrrp.ts";
import { embed } from "../../../support/codec.ts";
import { fromHex } from "../../../support/hex.ts";

// RFC 5798 §5: IPv4 header (TTL 255, protocol 112), version and type, id 51, priority 100, one address.
const HEADER = "45c0 0020 0001 0000 ff70 0000 c000 0207 e000 0012";
const V3 = `${HEADER} 3133 6401 0064 0000 c000 0263`;
const V2 = `${HEADER} 2133 6401 0001 0000 c000 0263`;
const change = (hex: string, index: number, octet: number): Uint8Array =>
  fromHex(hex).with(index, octet);

describe("decodeVrrp", () => {
  test.each([
    { name: "version 3", octets: fromHex(V3) },
    { name: "version 2", octets: fromHex(V2) },
    { name: "inside larger, dirty octets", octets: embed(fromHex(V3)) },
  ])("reads an advertisement of $name", ({ octets }) => {
    expect(decodeVrrp(octets)).toEqual({ source: "192.0.2.7", id: 51 });
  });

  test.each([
    { name: "that was routed", octets: change(V3, 8, 254) },
    { name: "of another protocol", octets: change(V3, 9, 1) },
    { name: "of version 4", octets: change(V3, 20, 0x41) },
    { name: "of another type", octets: change(V3, 20, 0x32) },
    { name: "whose header is too short", octets: change(V3, 0, 0x44) },
    { name: "whose header is longer than all of it", octets: change(V3, 0, 0x4f) },
  ])("refuses one $name", ({ octets }) => {
    expect(decodeVrrp(octets)).toBeNull();
  });

  test("refuses every prefix without the fields of both versions", () => {
    const octets = fromHex(V3);
    for (let length = 0; length < 28; length++)
      expect(decodeVrrp(octets.subarray(0, length))).toBeNull();
  });
});
