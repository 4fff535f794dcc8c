import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { stringify } from "yaml";
import {
  formatRenderedConfig,
  parseRenderedConfig,
  type PoolConfig,
  type RenderedConfig,
} from "../../../api/rendered-config.ts";
import { poolConfig, renderedConfig } from "../../support/builders.ts";

const pool: PoolConfig = {
  name: "pool",
  protocol: "layer2",
  addresses: ["192.0.2.0/28"],
  "auto-assign": true,
  "avoid-buggy-ips": false,
  priority: 0,
  namespaces: [],
  "namespace-selectors": [],
  "service-selectors": [{ matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] }],
  "cooldown-seconds": 0,
  "node-selectors": [{ matchLabels: { rack: "1" } }],
  interfaces: [],
  "announce-from": "EndpointNodes",
};
const config = renderedConfig([pool], { "excluded-interfaces": ["^docker"] });

test("what is written is read back as it was", () => {
  const text = fc.string();
  const names = fc.record({ name: fc.string({ minLength: 1 }), interfaces: fc.array(text) });
  fc.assert(
    fc.property(fc.array(names), fc.array(text), (pools, patterns) => {
      const value = {
        ...config,
        "address-pools": pools.map((more) => ({ ...pool, ...more })),
        "excluded-interfaces": patterns,
      };
      expect(parseRenderedConfig(formatRenderedConfig(value))).toEqual({ ok: true, value });
    }),
  );
});

test("equal configurations are equal texts, whatever the order of their keys", () => {
  const reversed = Object.fromEntries(Object.entries(config).reverse()) as RenderedConfig;
  expect(formatRenderedConfig(reversed)).toBe(formatRenderedConfig(config));
});

test("a document of an earlier version is read with defaults, one of a later version without its keys", () => {
  const {
    "failure-detection": _detection,
    "announcement-refresh-seconds": _refresh,
    "witness-addresses": _witnesses,
    rebalance: _rebalance,
    ...earlier
  } = config;
  expect(parseRenderedConfig(stringify(earlier))).toEqual({ ok: true, value: config });
  const { "address-pools": pools } = config;
  const later = {
    ...config,
    peers: [],
    "address-pools": pools.map((each) => ({ ...each, as: 1 })),
  };
  expect(parseRenderedConfig(stringify(later))).toMatchObject({ ok: true, value: config });
});

test("a pool of an earlier version is read with defaults", () => {
  const bare = { ...config, "address-pools": [{ name: "a", addresses: ["10.0.0.1"] }] };
  expect(parseRenderedConfig(stringify(bare))).toMatchObject({
    ok: true,
    value: { "address-pools": [poolConfig("a", ["10.0.0.1"])] },
  });
});

describe("a document is refused", () => {
  test.each([
    { name: "that is no YAML", text: "a: [", reason: "malformed", says: "" },
    { name: "that is empty", text: "", reason: "invalid", says: "must be object" },
    {
      name: "with heartbeats that are too close",
      text: formatRenderedConfig(config).replace(
        `"interval-milliseconds": 100`,
        `"interval-milliseconds": 10`,
      ),
      reason: "invalid",
      says: "/failure-detection/interval-milliseconds",
    },
    {
      name: "with a pool of protocol bgp",
      text: formatRenderedConfig(config).replace("layer2", "bgp"),
      reason: "invalid",
      says: "/address-pools/0/protocol",
    },
    {
      name: "with an unknown log level",
      text: formatRenderedConfig(config).replace("info", "trace"),
      reason: "invalid",
      says: "/log-level",
    },
    { name: "without pools", text: "log-level: info\n", reason: "invalid", says: "address-pools" },
  ])("$name", ({ text, reason, says }) => {
    expect(parseRenderedConfig(text)).toEqual({
      ok: false,
      reason,
      message: expect.stringContaining(says),
    });
  });
});
