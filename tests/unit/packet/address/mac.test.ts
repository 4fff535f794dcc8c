import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  decodeMac,
  encodeMac,
  isGroupMac,
  parseMac,
  type MacAddress,
} from "../../../../packet/address/mac.ts";

describe("parseMac", () => {
  test.each([
    ["lower case with colons", "02:00:5e:10:00:01"],
    ["upper case", "02:00:5E:10:00:01"],
    ["dashes", "02-00-5e-10-00-01"],
  ])("reads %s", (_, text) => {
    expect(parseMac(text)).toEqual({ ok: true, value: "02:00:5e:10:00:01" });
  });

  test.each([
    ["nothing", ""],
    ["five pairs", "02:00:5e:10:00"],
    ["seven pairs", "02:00:5e:10:00:01:02"],
    ["mixed separators", "02:00-5e:10:00:01"],
    ["single digits", "2:0:5e:10:0:1"],
    ["white space", " 02:00:5e:10:00:01"],
    ["letters beyond f", "02:00:5g:10:00:01"],
  ])("refuses %s", (_, text) => {
    expect(parseMac(text)).toMatchObject({ ok: false, reason: "malformed" });
  });
});

test("octets and text are inverse, also inside larger octets", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), fc.nat(9), (octets, offset) => {
      const larger = new Uint8Array(20).fill(0xa5);
      larger.set(octets, offset);
      const mac = decodeMac(larger, offset);
      expect(encodeMac(mac)).toEqual(octets);
      expect(parseMac(mac)).toEqual({ ok: true, value: mac });
    }),
  );
});

test("too few octets are the caller's mistake", () => {
  expect(() => decodeMac(new Uint8Array(8), 3)).toThrow(RangeError);
});

test.each([
  ["ff:ff:ff:ff:ff:ff", true],
  ["33:33:ff:00:00:01", true],
  ["01:00:5e:00:00:01", true],
  ["02:00:5e:10:00:01", false],
])("group bit of %s is %s", (mac, group) => {
  expect(isGroupMac(mac as MacAddress)).toBe(group);
});
