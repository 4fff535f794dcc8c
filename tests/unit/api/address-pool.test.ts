import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { validateAddressPool } from "../../../api/address-pool.ts";
import { formatFault, objectReasonOf, type FaultReason } from "../../../api/fault.ts";

const layer2 = (...addresses: unknown[]) => ({ protocol: "layer2", addresses });
const poolWith = (more: object) => ({ ...layer2("192.0.2.1"), ...more });

interface Row {
  readonly name: string;
  readonly spec: unknown;
  readonly field: string;
  readonly value?: unknown;
  readonly reason: FaultReason;
  readonly says: string;
}

const structural: readonly Row[] = [
  { name: "no spec", spec: undefined, field: "spec", reason: "schema", says: "must be object" },
  {
    name: "a spec that is a list",
    spec: [],
    field: "spec",
    value: [],
    reason: "schema",
    says: "must be object",
  },
  {
    name: "no protocol",
    spec: { addresses: ["192.0.2.1"] },
    field: "spec.protocol",
    reason: "required",
    says: "must be given",
  },
  {
    name: "no addresses",
    spec: { protocol: "layer2" },
    field: "spec.addresses",
    reason: "required",
    says: "must be given",
  },
  {
    name: "an empty list",
    spec: layer2(),
    field: "spec.addresses",
    value: [],
    reason: "schema",
    says: "fewer than 1",
  },
  {
    name: "an unknown protocol",
    spec: poolWith({ protocol: "ospf" }),
    field: "spec.protocol",
    value: "ospf",
    reason: "schema",
    says: "one of layer2, bgp",
  },
  {
    name: "a text for a number",
    spec: poolWith({ cooldownSeconds: "3" }),
    field: "spec.cooldownSeconds",
    value: "3",
    reason: "schema",
    says: "must be integer",
  },
  {
    name: "a namespace with capitals",
    spec: poolWith({ serviceAllocation: { namespaces: ["a", "B"] } }),
    field: "spec.serviceAllocation.namespaces[1]",
    value: "B",
    reason: "schema",
    says: "must match",
  },
  {
    name: "an entry twice",
    spec: layer2("192.0.2.1", "192.0.2.1"),
    field: "spec.addresses",
    value: ["192.0.2.1", "192.0.2.1"],
    reason: "schema",
    says: "duplicate",
  },
];

const semantic: readonly Row[] = [
  {
    name: "protocol bgp",
    spec: poolWith({ protocol: "bgp" }),
    field: "spec.protocol",
    value: "bgp",
    reason: "unsupportedProtocol",
    says: "comes with a later version",
  },
  {
    name: "a text that is no address",
    spec: layer2("192.0.2.1", "web"),
    field: "spec.addresses[1]",
    value: "web",
    reason: "malformed",
    says: '"web" is no address',
  },
  {
    name: "a leading zero",
    spec: layer2("192.0.2.01"),
    field: "spec.addresses[0]",
    value: "192.0.2.01",
    reason: "leadingZero",
    says: "192.0.2.01",
  },
  {
    name: "a zone",
    spec: layer2("2001:db8::1%eth0"),
    field: "spec.addresses[0]",
    value: "2001:db8::1%eth0",
    reason: "zone",
    says: "%",
  },
  {
    name: "an IPv4-mapped address",
    spec: layer2("::ffff:192.0.2.1"),
    field: "spec.addresses[0]",
    value: "::ffff:192.0.2.1",
    reason: "ipv4Mapped",
    says: "write 192.0.2.1",
  },
  {
    name: "a space before it",
    spec: layer2(" 192.0.2.1"),
    field: "spec.addresses[0]",
    value: " 192.0.2.1",
    reason: "whitespace",
    says: "white space",
  },
  {
    name: "a prefix length of 33",
    spec: layer2("192.0.2.0/33"),
    field: "spec.addresses[0]",
    value: "192.0.2.0/33",
    reason: "prefixLength",
    says: "0 to 32",
  },
  {
    name: "host bits",
    spec: layer2("192.0.2.5/24"),
    field: "spec.addresses[0]",
    value: "192.0.2.5/24",
    reason: "hostBits",
    says: "write 192.0.2.0/24",
  },
  {
    name: "a range of two families",
    spec: layer2("192.0.2.1-2001:db8::1"),
    field: "spec.addresses[0]",
    value: "192.0.2.1-2001:db8::1",
    reason: "mixedFamilies",
    says: "family",
  },
  {
    name: "an IPv4 range backwards",
    spec: layer2("192.0.2.9-192.0.2.1"),
    field: "spec.addresses[0]",
    value: "192.0.2.9-192.0.2.1",
    reason: "startAfterEnd",
    says: "write 192.0.2.1-192.0.2.9",
  },
  {
    name: "an IPv6 range backwards",
    spec: layer2("2001:db8::a-2001:db8::9"),
    field: "spec.addresses[0]",
    value: "2001:db8::a-2001:db8::9",
    reason: "startAfterEnd",
    says: "write 2001:db8::9-2001:db8::a",
  },
  {
    name: "loopback in the middle of a range",
    spec: layer2("126.0.0.1-128.0.0.1"),
    field: "spec.addresses[0]",
    value: "126.0.0.1-128.0.0.1",
    reason: "specialUse",
    says: "127.0.0.0/8 (loopback)",
  },
  {
    name: "the whole Internet",
    spec: layer2("0.0.0.0/0"),
    field: "spec.addresses[0]",
    value: "0.0.0.0/0",
    reason: "specialUse",
    says: "no Service can have",
  },
  {
    name: "one entry inside another",
    spec: layer2("192.0.2.7", "192.0.2.0/24"),
    field: "spec.addresses[1]",
    value: "192.0.2.0/24",
    reason: "overlapping",
    says: "overlaps spec.addresses[0] (192.0.2.7)",
  },
  {
    name: "one address in two spellings",
    spec: layer2("2001:db8::1", "2001:DB8:0::1"),
    field: "spec.addresses[1]",
    value: "2001:DB8:0::1",
    reason: "overlapping",
    says: "overlaps spec.addresses[0]",
  },
];

describe("validateAddressPool finds", () => {
  test.each([...structural, ...semantic])("$name", ({ spec, field, value, reason, says }) => {
    const faults = validateAddressPool(spec);
    expect(faults).toEqual([{ field, value, reason, message: expect.stringContaining(says) }]);
  });

  test("every bad entry, not the first alone", () => {
    const faults = validateAddressPool(layer2("web", "192.0.2.1", "192.0.2.0/33", "127.0.0.1"));
    expect(faults.map(({ field }) => field)).toEqual([0, 2, 3].map((i) => `spec.addresses[${i}]`));
  });

  test("overlap with an entry that reaches past the ones between", () => {
    const faults = validateAddressPool(layer2("192.0.2.0/24", "192.0.2.1", "192.0.2.200"));
    expect(faults.map(({ field, reason }) => [field, reason])).toEqual([
      ["spec.addresses[1]", "overlapping"],
      ["spec.addresses[2]", "overlapping"],
    ]);
  });
});

describe("validateAddressPool accepts", () => {
  test.each([
    { name: "one address", spec: layer2("192.0.2.1") },
    { name: "neighbours that do not touch", spec: layer2("192.0.2.0/25", "192.0.2.128/25") },
    { name: "both families", spec: layer2("192.0.2.1", "2001:db8::/64") },
    { name: "a range with spaces round its dash", spec: layer2("192.0.2.1 - 192.0.2.9") },
  ])("$name", ({ spec }) => {
    expect(validateAddressPool(spec)).toEqual([]);
  });

  test("an object without changing it", () => {
    const spec = Object.freeze(layer2("192.0.2.1"));
    validateAddressPool(spec);
    expect(spec).toEqual({ protocol: "layer2", addresses: ["192.0.2.1"] });
  });
});

test("fields of a later version are passed over, as the API server prunes them", () => {
  const later = { ...poolWith({ serviceAllocation: { priority: 1, weight: 2 } }), ttl: 3 };
  expect(validateAddressPool(later)).toEqual([]);
});

test("validateAddressPool never throws, whatever it is given", () => {
  fc.assert(
    fc.property(fc.anything(), (spec) => {
      expect(Array.isArray(validateAddressPool(spec))).toBe(true);
    }),
  );
});

test("two entries overlap exactly if they share an address", () => {
  const entry = fc
    .tuple(fc.nat(40), fc.nat(9))
    .map(([first, more]) => [first, first + more] as const);
  const text = ([first, last]: readonly [number, number]) => `192.0.2.${first}-192.0.2.${last}`;
  fc.assert(
    fc.property(
      fc.uniqueArray(entry, { maxLength: 6, minLength: 1, selector: text }),
      (entries) => {
        const taken = entries.flatMap(([first, last]) =>
          Array.from({ length: last - first + 1 }, (_, i) => first + i),
        );
        const faults = validateAddressPool(layer2(...entries.map(text)));
        expect(faults.length > 0).toBe(new Set(taken).size < taken.length);
      },
    ),
  );
});

describe("objectReasonOf", () => {
  test.each([
    { spec: poolWith({ protocol: "bgp" }), reason: "UnsupportedProtocol" },
    { spec: layer2("192.0.2.1", "192.0.2.1/32"), reason: "Overlapping" },
    { spec: layer2("192.0.2.1", "192.0.2.1/32", "web"), reason: "Invalid" },
    { spec: {}, reason: "Invalid" },
  ])("gives $reason", ({ spec, reason }) => {
    expect(objectReasonOf(validateAddressPool(spec))).toBe(reason);
  });
});

describe("formatFault", () => {
  test.each([
    {
      name: "names field, value and remedy",
      spec: poolWith({ announceFrom: "x" }),
      line: 'spec.announceFrom "x": must be one of EndpointNodes, AllNodes',
    },
    {
      name: "says a value once",
      spec: layer2("web"),
      line: 'spec.addresses[0]: "web" is no address such as 192.0.2.1 or 2001:db8::1',
    },
    {
      name: "names a field that is missing",
      spec: { protocol: "layer2" },
      line: "spec.addresses: must be given",
    },
    {
      name: "cuts a long value",
      spec: poolWith({ interfaces: "x".repeat(200) }),
      line: `spec.interfaces "${"x".repeat(89)}…: must be array`,
    },
  ])("$name", ({ spec, line }) => {
    expect(validateAddressPool(spec).map(formatFault)).toEqual([line]);
  });
});
