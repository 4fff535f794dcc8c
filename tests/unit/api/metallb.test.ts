import { describe, expect, test } from "@jest/globals";
import { validateMetalLB } from "../../../api/metallb.ts";

describe("validateMetalLB finds", () => {
  test.each([
    { name: "a spec that is no object", spec: null, field: "spec", says: "must be object" },
    {
      name: "an unknown log level",
      spec: { logLevel: "trace" },
      field: "spec.logLevel",
      says: "one of all, debug, info",
    },
    {
      name: "a class with a space",
      spec: { loadBalancerClass: "a b" },
      field: "spec.loadBalancerClass",
      says: "must match",
    },
    {
      name: "a negative quantity",
      spec: { speakerConfig: { resources: { limits: { cpu: -1 } } } },
      field: "spec.speakerConfig.resources.limits.cpu",
      says: ">= 0",
    },
    {
      name: "a weight of 0",
      spec: {
        speakerConfig: {
          affinity: {
            podAffinity: {
              preferredDuringSchedulingIgnoredDuringExecution: [
                { weight: 0, podAffinityTerm: { topologyKey: "a" } },
              ],
            },
          },
        },
      },
      field:
        "spec.speakerConfig.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
      says: ">= 1",
    },
    {
      name: "an annotation key with a slash in its path",
      spec: { speakerConfig: { annotations: { "a/b": 1 } } },
      field: "spec.speakerConfig.annotations.a/b",
      says: "must be string",
    },
    {
      name: "an image with a space",
      spec: { images: { speaker: "a b" } },
      field: "spec.images.speaker",
      says: "must match",
    },
    {
      name: "an unknown update strategy",
      spec: { updateStrategy: { type: "Recreate" } },
      field: "spec.updateStrategy.type",
      says: "one of RollingUpdate, OnDelete",
    },
    {
      name: "heartbeats that are too close",
      spec: { failureDetection: { intervalMilliseconds: 49 } },
      field: "spec.failureDetection.intervalMilliseconds",
      says: ">= 50",
    },
    {
      name: "too few missed heartbeats",
      spec: { failureDetection: { multiplier: 2 } },
      field: "spec.failureDetection.multiplier",
      says: ">= 3",
    },
    {
      name: "announcements that are too rare",
      spec: { announcementRefreshSeconds: 3601 },
      field: "spec.announcementRefreshSeconds",
      says: "<= 3600",
    },
    {
      name: "an unknown way to rebalance",
      spec: { rebalance: "Never" },
      field: "spec.rebalance",
      says: "one of Automatic, Manual",
    },
    {
      name: "a pause that is a text",
      spec: { paused: "yes" },
      field: "spec.paused",
      says: "must be boolean",
    },
    {
      name: "a key of a label that is none",
      spec: { nodeSelector: { a: "b c" } },
      field: "spec.nodeSelector.a",
      says: "must match",
    },
  ])("$name", ({ spec, field, says }) => {
    expect(validateMetalLB(spec)).toEqual([
      expect.objectContaining({ field, reason: "schema", message: expect.stringContaining(says) }),
    ]);
  });

  test("an expression that does not compile, by its place", () => {
    expect(validateMetalLB({ excludedInterfaces: ["^docker", "("] })).toEqual([
      {
        field: "spec.excludedInterfaces[1]",
        value: "(",
        reason: "regularExpression",
        message: expect.stringContaining("must be a regular expression"),
      },
    ]);
  });
});

test.each([
  { name: "no address", witness: "gateway", says: "is no address" },
  { name: "an address with a zone", witness: "fe80::1%eth0", says: "zone" },
  { name: "a loopback address", witness: "127.0.0.1", says: "host of the LAN" },
  { name: "a link-local address", witness: "fe80::1", says: "host of the LAN" },
  { name: "a multicast address", witness: "ff02::1", says: "host of the LAN" },
])("validateMetalLB finds a witness that is $name", ({ witness, says }) => {
  expect(validateMetalLB({ witnessAddresses: ["192.0.2.1", witness] })).toMatchObject([
    {
      field: "spec.witnessAddresses[1]",
      value: witness,
      message: expect.stringContaining(says),
    },
  ]);
});

test.each([
  { name: "nothing", spec: {} },
  {
    name: "quantities as number and text",
    spec: { controllerConfig: { resources: { limits: { cpu: 1, memory: "64Mi" } } } },
  },
  {
    name: "an image by digest at a port",
    spec: { images: { speaker: `r.example:5000/a/b@sha256:${"0".repeat(64)}` } },
  },
  {
    name: "an image of a registry at an IPv6 address",
    spec: { images: { controller: "[2001:db8::1]:5000/metallb:v1" } },
  },
  { name: "witnesses of both families", spec: { witnessAddresses: ["192.0.2.1", "2001:DB8::1"] } },
  { name: "expressions", spec: { excludedInterfaces: ["^(?:docker|cni)\\d+$", ".*"] } },
])("validateMetalLB accepts $name", ({ spec }) => {
  expect(validateMetalLB(spec)).toEqual([]);
});
