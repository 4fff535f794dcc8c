import { describe, expect, test } from "@jest/globals";

import { parseIPv4Routes, parseIPv6Routes } from "../../../../packet/link/gateways.ts";

const IPV4_HEADER =
  "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const ZERO = "0".repeat(32);

describe("IPv4 routes (Linux 6.18, little-endian)", () => {
  for (const { name, rows, found } of [
    { name: "none", rows: "", found: [] },
    {
      name: "a default route",
      rows: "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
      found: [{ interfaceName: "eth0", address: "10.0.0.1" }],
    },
    {
      name: "two, the one with the lower metric first",
      rows:
        "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
        "eth1\t00000000\t02A8A8C0\t0003\t0\t0\t20\t00000000\t0\t0\t0\n",
      found: [
        { interfaceName: "eth1", address: "192.168.168.2" },
        { interfaceName: "eth0", address: "10.0.0.1" },
      ],
    },
    {
      name: "no network route, no half of the world, none without gateway, none that is not up",
      rows:
        "eth0\t0000000A\t0100000A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n" +
        "eth0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n" +
        "eth0\t00000000\t0100000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n",
      found: [],
    },
    { name: "nothing in other text", rows: "a\nb c\n\t\t\n", found: [] },
  ]) {
    test(name, () => {
      expect(parseIPv4Routes(IPV4_HEADER + rows)).toEqual(found);
    });
  }
});

describe("IPv6 routes", () => {
  const row = (gateway: string, metric: string, flags: string, to = ZERO, length = "00"): string =>
    `${to} ${length} ${ZERO} 00 ${gateway} ${metric} 00000001 00000000 ${flags}     eth0\n`;
  const ROUTER = "fe800000000000000000000000000009";
  for (const { name, text, found } of [
    { name: "none", text: "", found: [] },
    {
      name: "default routes, the one with the lower metric first",
      text:
        row("fd000099000000000000000000000001", "00000400", "00000003") +
        row(ROUTER, "00000064", "00450003"),
      found: [
        { interfaceName: "eth0", address: "fe80::9" },
        { interfaceName: "eth0", address: "fd00:99::1" },
      ],
    },
    {
      name: "not the kernel's own rejection of everything, nor a route without gateway",
      text: row(ZERO, "ffffffff", "00200200") + row(ZERO, "00000064", "00000001"),
      found: [],
    },
    {
      name: "not a network route",
      text: row(ROUTER, "00000064", "00000003", "fd000099000000000000000000000000", "40"),
      found: [],
    },
    { name: "nothing in other text", text: "a b c\n", found: [] },
  ]) {
    test(name, () => {
      expect(parseIPv6Routes(text)).toEqual(found);
    });
  }
});
