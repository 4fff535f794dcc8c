import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { join } from "node:path";
import { validateAddressPool } from "../../api/address-pool.ts";
import type { Answer, Call } from "../support/api-call.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { describeWith } from "../support/requirements.ts";

const CRDS = join(import.meta.dirname, "../../config/crd");
const NAMESPACE = "metallb-system";
const NUM_RUNS = 300;

let plane: ControlPlane;

type Json = Readonly<Record<string, unknown>>;

function path(plural: string, version = "v1beta1", rest = ""): string {
  return `/apis/metallb.io/${version}/namespaces/${NAMESPACE}/${plural}${rest}`;
}

/** Sends an object as kubectl does: unknown fields are errors. By default nothing is stored. */
async function send(call: Call, more = "&dryRun=All"): Promise<Answer> {
  return plane.call({ ...call, path: `${call.path}?fieldValidation=Strict${more}` });
}

async function create(
  kind: string,
  plural: string,
  object: Json,
  version = "v1beta1",
  more?: string,
) {
  const body = { apiVersion: `metallb.io/${version}`, kind, ...object };
  return send({ method: "POST", path: path(plural, version), body }, more);
}

async function createMetalLB(spec: unknown, name = "metallb"): Promise<Answer> {
  return create("MetalLB", "metallbs", { metadata: { name }, ...(spec !== undefined && { spec }) });
}

async function createPool(spec: unknown, version = "v1beta1"): Promise<Answer> {
  const object = { metadata: { name: "pool" }, ...(spec !== undefined && { spec }) };
  return create("AddressPool", "addresspools", object, version);
}

const layer2 = (...addresses: unknown[]): Json => ({ protocol: "layer2", addresses });
const poolWith = (more: Json): Json => ({ ...layer2("192.0.2.1"), ...more });

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function specOf(answer: Answer): unknown {
  expect(answer).toMatchObject({ status: 201 });
  return (answer.body as { spec: unknown }).spec;
}

/** Expects a refusal whose message names the field and says why. */
function expectRefusal({ status, body }: Answer, field: string, why: RegExp): void {
  const message = (body as { message?: string }).message ?? JSON.stringify(body);
  expect([400, 422]).toContain(status);
  expect(message).toContain(field);
  expect(message).toMatch(why);
}

const poolDefaults = {
  autoAssign: true,
  avoidBuggyIPs: false,
  cooldownSeconds: 0,
  announceFrom: "EndpointNodes",
};
const metallbDefaults = {
  logLevel: "info",
  ignoreExcludeLoadBalancers: false,
  announcementRefreshSeconds: 120,
  rebalance: "Automatic",
  paused: false,
};

const term = { weight: 1, podAffinityTerm: { topologyKey: "kubernetes.io/hostname" } };
const fullPodConfig = {
  priorityClassName: "system-node-critical",
  runtimeClassName: "kata.example",
  annotations: { "example.com/Owner": "network team", plain: "" },
  resources: { requests: { cpu: "50m", memory: 1048576 }, limits: { cpu: 1, memory: "64Mi" } },
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          {
            matchExpressions: [
              { key: "rack", operator: "In", values: ["a", "b"] },
              { key: "example.com/generation", operator: "Gt", values: ["3"] },
              { key: "gpu", operator: "DoesNotExist" },
            ],
            matchFields: [{ key: "metadata.name", operator: "NotIn", values: ["node-1"] }],
          },
        ],
      },
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 100, preference: { matchExpressions: [{ key: "edge", operator: "Exists" }] } },
      ],
    },
    podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [term] },
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        {
          topologyKey: "kubernetes.io/hostname",
          labelSelector: { matchLabels: { app: "metallb" } },
          namespaces: ["metallb-system"],
          namespaceSelector: {},
          matchLabelKeys: ["pod-template-hash"],
        },
      ],
    },
  },
};
const fullMetalLB = {
  nodeSelector: { "node-role.kubernetes.io/edge": "", rack: "a" },
  speakerTolerations: [
    { operator: "Exists" },
    { key: "edge", value: "yes", effect: "NoSchedule" },
    { key: "slow", operator: "Equal", value: "", effect: "NoExecute", tolerationSeconds: 30 },
  ],
  controllerNodeSelector: { "kubernetes.io/arch": "arm64" },
  controllerTolerations: [{ key: "infra", operator: "Exists" }],
  logLevel: "debug",
  loadBalancerClass: "metallb.io/metallb",
  controllerConfig: fullPodConfig,
  speakerConfig: fullPodConfig,
  images: {
    controller: "registry.example:5000/net/metallb:1.2.3-rc.1",
    speaker: `metallb@sha256:${"0123456789abcdef".repeat(4)}`,
  },
  ignoreExcludeLoadBalancers: true,
  excludedInterfaces: ["^docker", "^veth[0-9a-f]+$", "^(?:cali|cni)\\d*", "^br-.*"],
  updateStrategy: { type: "OnDelete" },
  failureDetection: { intervalMilliseconds: 50, multiplier: 3 },
  announcementRefreshSeconds: 3600,
  witnessAddresses: ["192.0.2.1", "2001:DB8::1", "2001:db8::a"],
  rebalance: "Manual",
  paused: true,
};
const fullPool = {
  protocol: "layer2",
  addresses: ["192.0.2.0/28", "198.51.100.7", "203.0.113.1 - 203.0.113.9", "2001:db8::/112"],
  autoAssign: false,
  avoidBuggyIPs: true,
  serviceAllocation: {
    priority: 50,
    namespaces: ["web", "mail"],
    namespaceSelectors: [{ matchLabels: { tier: "front" } }],
    serviceSelectors: [{ matchExpressions: [{ key: "public", operator: "Exists" }] }],
  },
  cooldownSeconds: 60,
  nodeSelectors: [{ matchLabels: { rack: "a" } }],
  interfaces: ["eth0", "bond0.12"],
  announceFrom: "AllNodes",
};

const GOOD_ENTRIES = [
  "192.0.2.1",
  "192.0.2.1/32",
  "192.0.2.0/24",
  "192.0.2.1-192.0.2.1",
  "192.0.2.255-192.0.3.0",
  "9.255.255.255-10.0.0.0",
  "192.0.2.1 - 192.0.2.9",
  "2001:db8::1",
  "2001:DB8::1",
  "2001:db8::/64",
  "2001:db8::1-2001:db8::1",
  "2001:db8::9-2001:db8::a",
  "2001:db8::ffff-2001:db8::1:0",
  "2001:db8:0:ffff:ffff:ffff:ffff:ffff - 2001:db8:1::",
  "2001:db8::1-2001:db8:0:0:0:0:0:2",
  "2001:0db8:0000:0000:0000:0000:0000:0001  -  2001:0db8:0000:0000:0000:0000:0000:0002",
];

const badEntries: readonly { entry: string; why: RegExp }[] = [
  { entry: "", why: /at least 1 chars long/ },
  { entry: "a".repeat(84), why: /more than 83/ },
  { entry: "web", why: /must be an address/ },
  { entry: " 192.0.2.1", why: /spaces at the ends/ },
  { entry: "192.0.2.1-192.0.2.9 ", why: /spaces at the ends/ },
  { entry: "192.0.2", why: /must be an address/ },
  { entry: "192.0.2.256", why: /must be an address/ },
  { entry: "192.0.2.01", why: /leading zeros/ },
  { entry: "192.0.2.1%eth0", why: /zones/ },
  { entry: "fe80::1%eth0", why: /zones/ },
  { entry: "::ffff:192.0.2.1", why: /IPv4-mapped/ },
  { entry: "::ffff:192.0.2.0/120", why: /IPv4-mapped/ },
  { entry: "192.0.2.0/33", why: /must be an address/ },
  { entry: "2001:db8::/129", why: /must be an address/ },
  { entry: "192.0.2.0/", why: /must be an address/ },
  { entry: "192.0.2.5/24", why: /bits set after its prefix length/ },
  { entry: "2001:db8::5/64", why: /bits set after its prefix length/ },
  { entry: "192.0.2.1-5", why: /must be an address/ },
  { entry: "192.0.2.1-", why: /must be an address/ },
  { entry: "192.0.2.1-192.0.2.5-192.0.2.9", why: /must be an address/ },
  { entry: "192.0.2.0/24-192.0.3.0/24", why: /must be an address/ },
  { entry: "192.0.2.1-2001:db8::1", why: /one family .* the other/ },
  { entry: "2001:db8::1-192.0.2.1", why: /one family .* the other/ },
  { entry: "192.0.2.9-192.0.2.1", why: /starts after its end/ },
  { entry: "10.0.0.0-9.255.255.255", why: /starts after its end/ },
  { entry: "2001:db8::a-2001:db8::9", why: /starts after its end/ },
  { entry: "2001:db8::1:0-2001:db8::ffff", why: /starts after its end/ },
  { entry: "8000::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", why: /starts after its end/ },
  { entry: "127.0.0.1", why: /loopback/ },
  { entry: "0.0.0.0/0", why: /unspecified/ },
  { entry: "169.254.0.0/16", why: /link-local/ },
  { entry: "239.0.0.1-239.0.0.9", why: /multicast/ },
  { entry: "fe80::1", why: /link-local/ },
  { entry: "ff02::1", why: /multicast/ },
];

const badPools: readonly { name: string; spec: unknown; field: string; why: RegExp }[] = [
  { name: "no spec", spec: undefined, field: "spec", why: /Required value/ },
  {
    name: "no protocol",
    spec: { addresses: ["192.0.2.1"] },
    field: "spec.protocol",
    why: /Required/,
  },
  {
    name: "protocol bgp",
    spec: poolWith({ protocol: "bgp" }),
    field: "spec.protocol",
    why: /comes with a later version: use layer2/,
  },
  {
    name: "an unknown protocol",
    spec: poolWith({ protocol: "ospf" }),
    field: "spec.protocol",
    why: /supported values: "layer2"/,
  },
  { name: "no addresses", spec: { protocol: "layer2" }, field: "spec.addresses", why: /Required/ },
  {
    name: "an empty list of addresses",
    spec: layer2(),
    field: "spec.addresses",
    why: /at least 1 items/,
  },
  {
    name: "addresses that are no list",
    spec: poolWith({ addresses: "192.0.2.1" }),
    field: "spec.addresses",
    why: /must be of type array/,
  },
  {
    name: "an address that is a number",
    spec: layer2(1),
    field: "spec.addresses[0]",
    why: /must be of type string/,
  },
  {
    name: "the same entry twice",
    spec: layer2("192.0.2.1", "192.0.2.1"),
    field: "spec.addresses[1]",
    why: /Duplicate value/,
  },
  {
    name: "more than 256 entries",
    spec: layer2(...times(257, (i) => `10.0.${i}.1`)),
    field: "spec.addresses",
    why: /at most 256 items/,
  },
  {
    name: "a bad entry behind a good one",
    spec: layer2("192.0.2.1", "x"),
    field: "spec.addresses[1]",
    why: /must be an address/,
  },
  {
    name: "an unknown field",
    spec: poolWith({ autoassign: true }),
    field: "spec.autoassign",
    why: /unknown field/,
  },
  {
    name: "bgpAdvertisements",
    spec: poolWith({ bgpAdvertisements: [] }),
    field: "spec.bgpAdvertisements",
    why: /unknown field/,
  },
  {
    name: "autoAssign as text",
    spec: poolWith({ autoAssign: "yes" }),
    field: "spec.autoAssign",
    why: /must be of type boolean/,
  },
  {
    name: "avoidBuggyIPs as text",
    spec: poolWith({ avoidBuggyIPs: "yes" }),
    field: "spec.avoidBuggyIPs",
    why: /must be of type boolean/,
  },
  {
    name: "a negative cooldown",
    spec: poolWith({ cooldownSeconds: -1 }),
    field: "spec.cooldownSeconds",
    why: /greater than or equal to 0/,
  },
  {
    name: "a cooldown of more than a week",
    spec: poolWith({ cooldownSeconds: 604801 }),
    field: "spec.cooldownSeconds",
    why: /less than or equal to 604800/,
  },
  {
    name: "a cooldown of half a second",
    spec: poolWith({ cooldownSeconds: 0.5 }),
    field: "spec.cooldownSeconds",
    why: /must be of type integer/,
  },
  {
    name: "an unknown announceFrom",
    spec: poolWith({ announceFrom: "allNodes" }),
    field: "spec.announceFrom",
    why: /supported values: "EndpointNodes", "AllNodes"/,
  },
  {
    name: "an empty interface name",
    spec: poolWith({ interfaces: [""] }),
    field: "spec.interfaces[0]",
    why: /at least 1 chars/,
  },
  {
    name: "an interface name of 16 letters",
    spec: poolWith({ interfaces: ["abcdefghijklmnop"] }),
    field: "spec.interfaces[0]",
    why: /more than 15/,
  },
  {
    name: "an interface name with a slash",
    spec: poolWith({ interfaces: ["eth/0"] }),
    field: "spec.interfaces[0]",
    why: /should match/,
  },
  {
    name: "the same interface twice",
    spec: poolWith({ interfaces: ["eth0", "eth0"] }),
    field: "spec.interfaces[1]",
    why: /Duplicate value/,
  },
  {
    name: "a negative priority",
    spec: poolWith({ serviceAllocation: { priority: -1 } }),
    field: "spec.serviceAllocation.priority",
    why: /greater than or equal to 0/,
  },
  {
    name: "a namespace that can have no such name",
    spec: poolWith({ serviceAllocation: { namespaces: ["Web"] } }),
    field: "spec.serviceAllocation.namespaces[0]",
    why: /should match/,
  },
  {
    name: "the same namespace twice",
    spec: poolWith({ serviceAllocation: { namespaces: ["web", "web"] } }),
    field: "spec.serviceAllocation.namespaces[1]",
    why: /Duplicate value/,
  },
  {
    name: "a namespace selector without values",
    spec: poolWith({
      serviceAllocation: {
        namespaceSelectors: [{ matchExpressions: [{ key: "a", operator: "In" }] }],
      },
    }),
    field: "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0]",
    why: /In and NotIn need values/,
  },
  {
    name: "a service selector with a bad label value",
    spec: poolWith({
      serviceAllocation: { serviceSelectors: [{ matchLabels: { a: "no spaces" } }] },
    }),
    field: "spec.serviceAllocation.serviceSelectors[0].matchLabels.a",
    why: /should match/,
  },
  {
    name: "an unknown field of serviceAllocation",
    spec: poolWith({ serviceAllocation: { namespace: "web" } }),
    field: "spec.serviceAllocation.namespace",
    why: /unknown field/,
  },
  {
    name: "a node selector with values for Exists",
    spec: poolWith({
      nodeSelectors: [{ matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] }],
    }),
    field: "spec.nodeSelectors[0].matchExpressions[0]",
    why: /take no values/,
  },
  {
    name: "a node selector with a bad key",
    spec: poolWith({ nodeSelectors: [{ matchLabels: { "a b": "c" } }] }),
    field: "spec.nodeSelectors[0].matchLabels",
    why: /must be a label key/,
  },
  {
    name: "a node selector with an unknown operator",
    spec: poolWith({
      nodeSelectors: [{ matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] }],
    }),
    field: "spec.nodeSelectors[0].matchExpressions[0].operator",
    why: /supported values: "In"/,
  },
];

const speaker = (speakerConfig: Json): Json => ({ speakerConfig });
const tolerate = (...speakerTolerations: Json[]): Json => ({ speakerTolerations });
const affine = (affinity: Json): Json => speaker({ affinity });
const nodeTerms = (...terms: Json[]): Json =>
  affine({
    nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } },
  });
const TERMS =
  "spec.speakerConfig.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

const badMetalLBs: readonly { name: string; spec: unknown; field: string; why: RegExp }[] = [
  {
    name: "an unknown field",
    spec: { bgpBackend: "frr" },
    field: "spec.bgpBackend",
    why: /unknown field/,
  },
  {
    name: "an unknown log level",
    spec: { logLevel: "trace" },
    field: "spec.logLevel",
    why: /supported values: "all", "debug"/,
  },
  {
    name: "a log level that is a number",
    spec: { logLevel: 3 },
    field: "spec.logLevel",
    why: /must be of type string/,
  },
  {
    name: "a class with a space",
    spec: { loadBalancerClass: "my class" },
    field: "spec.loadBalancerClass",
    why: /should match/,
  },
  {
    name: "an empty class",
    spec: { loadBalancerClass: "" },
    field: "spec.loadBalancerClass",
    why: /should match/,
  },
  {
    name: "a class of more than 63 letters",
    spec: { loadBalancerClass: "a".repeat(64) },
    field: "spec.loadBalancerClass",
    why: /should match/,
  },
  {
    name: "a node selector with a bad key",
    spec: { nodeSelector: { "-": "a" } },
    field: "spec.nodeSelector",
    why: /must be a label key/,
  },
  {
    name: "a node selector with a bad value",
    spec: { nodeSelector: { rack: "a/b" } },
    field: "spec.nodeSelector.rack",
    why: /should match/,
  },
  {
    name: "a node selector that is a list",
    spec: { nodeSelector: ["a"] },
    field: "spec.nodeSelector",
    why: /must be of type object/,
  },
  {
    name: "a controller node selector with a bad key",
    spec: { controllerNodeSelector: { "a//b": "" } },
    field: "spec.controllerNodeSelector",
    why: /must be a label key/,
  },
  {
    name: "a toleration without key and operator",
    spec: tolerate({}),
    field: "spec.speakerTolerations[0]",
    why: /operator must be Exists/,
  },
  {
    name: "a toleration with a value for Exists",
    spec: tolerate({ key: "a", operator: "Exists", value: "b" }),
    field: "spec.speakerTolerations[0]",
    why: /takes no value/,
  },
  {
    name: "tolerationSeconds without NoExecute",
    spec: tolerate({ key: "a", tolerationSeconds: 3 }),
    field: "spec.speakerTolerations[0]",
    why: /needs effect NoExecute/,
  },
  {
    name: "a toleration of an unknown effect",
    spec: tolerate({ key: "a", effect: "NoRun" }),
    field: "spec.speakerTolerations[0].effect",
    why: /supported values: "NoSchedule"/,
  },
  {
    name: "a toleration with an unknown operator",
    spec: tolerate({ key: "a", operator: "Gt" }),
    field: "spec.speakerTolerations[0].operator",
    why: /supported values: "Exists", "Equal"/,
  },
  {
    name: "a toleration with a bad key",
    spec: tolerate({ key: "a b", operator: "Exists" }),
    field: "spec.speakerTolerations[0].key",
    why: /should match/,
  },
  {
    name: "a controller toleration without key and operator",
    spec: { controllerTolerations: [{ effect: "NoSchedule" }] },
    field: "spec.controllerTolerations[0]",
    why: /operator must be Exists/,
  },
  {
    name: "more than 32 tolerations",
    spec: tolerate(...times(33, (i) => ({ key: `a${i}` }))),
    field: "spec.speakerTolerations",
    why: /at most 32 items/,
  },
  {
    name: "a bad priority class",
    spec: speaker({ priorityClassName: "High" }),
    field: "spec.speakerConfig.priorityClassName",
    why: /should match/,
  },
  {
    name: "a bad runtime class",
    spec: { controllerConfig: { runtimeClassName: "a_b" } },
    field: "spec.controllerConfig.runtimeClassName",
    why: /should match/,
  },
  {
    name: "a bad annotation key",
    spec: speaker({ annotations: { "a b": "c" } }),
    field: "spec.speakerConfig.annotations",
    why: /must be an annotation key/,
  },
  {
    name: "an annotation that is a number",
    spec: speaker({ annotations: { a: 1 } }),
    field: "spec.speakerConfig.annotations.a",
    why: /must be of type string/,
  },
  {
    name: "a quantity that is none",
    spec: speaker({ resources: { limits: { cpu: "much" } } }),
    field: "spec.speakerConfig.resources.limits.cpu",
    why: /should match/,
  },
  {
    name: "a negative quantity",
    spec: speaker({ resources: { limits: { cpu: -1 } } }),
    field: "spec.speakerConfig.resources.limits.cpu",
    why: /greater than or equal to 0/,
  },
  {
    name: "a request above its limit",
    spec: speaker({ resources: { requests: { memory: "2Gi" }, limits: { memory: "1024Mi" } } }),
    field: "spec.speakerConfig.resources",
    why: /no request may exceed the limit/,
  },
  {
    name: "resource claims",
    spec: { controllerConfig: { resources: { claims: [] } } },
    field: "spec.controllerConfig.resources.claims",
    why: /unknown field/,
  },
  {
    name: "a node affinity without terms",
    spec: nodeTerms(),
    field: TERMS,
    why: /at least 1 items/,
  },
  {
    name: "a node affinity with In and no values",
    spec: nodeTerms({ matchExpressions: [{ key: "a", operator: "In", values: [] }] }),
    field: `${TERMS}[0].matchExpressions[0]`,
    why: /In and NotIn need values/,
  },
  {
    name: "a node affinity with Gt and a word",
    spec: nodeTerms({ matchExpressions: [{ key: "a", operator: "Gt", values: ["b"] }] }),
    field: `${TERMS}[0].matchExpressions[0]`,
    why: /one value, an integer/,
  },
  {
    name: "a node affinity on a bad field key",
    spec: nodeTerms({ matchFields: [{ key: "", operator: "Exists" }] }),
    field: `${TERMS}[0].matchFields[0].key`,
    why: /should match/,
  },
  {
    name: "a preferred pod affinity of weight 0",
    spec: affine({
      podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ ...term, weight: 0 }] },
    }),
    field:
      "spec.speakerConfig.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
    why: /greater than or equal to 1/,
  },
  {
    name: "a preferred pod anti-affinity of weight 101",
    spec: affine({
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [{ ...term, weight: 101 }],
      },
    }),
    field:
      "spec.speakerConfig.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
    why: /less than or equal to 100/,
  },
  {
    name: "a pod affinity without topology key",
    spec: affine({ podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{}] } }),
    field:
      "spec.speakerConfig.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
    why: /Required/,
  },
  {
    name: "an image with a space",
    spec: { images: { speaker: "metallb :1" } },
    field: "spec.images.speaker",
    why: /should match/,
  },
  {
    name: "an image with capitals in its name",
    spec: { images: { controller: "registry.example/MetalLB" } },
    field: "spec.images.controller",
    why: /should match/,
  },
  {
    name: "an image of an unknown program",
    spec: { images: { frr: "frr:1" } },
    field: "spec.images.frr",
    why: /unknown field/,
  },
  {
    name: "ignoreExcludeLoadBalancers as text",
    spec: { ignoreExcludeLoadBalancers: "true" },
    field: "spec.ignoreExcludeLoadBalancers",
    why: /must be of type boolean/,
  },
  {
    name: "an expression that is none",
    spec: { excludedInterfaces: ["^eth", "["] },
    field: "spec.excludedInterfaces[1]",
    why: /missing closing \]/,
  },
  {
    name: "an expression with a look-ahead",
    spec: { excludedInterfaces: ["(?=a)"] },
    field: "spec.excludedInterfaces[0]",
    why: /group without capture|invalid or unsupported/,
  },
  {
    name: "an expression with flags",
    spec: { excludedInterfaces: ["(?i)eth"] },
    field: "spec.excludedInterfaces[0]",
    why: /group without capture/,
  },
  {
    name: "an expression with a class of Unicode",
    spec: { excludedInterfaces: ["\\pL+"] },
    field: "spec.excludedInterfaces[0]",
    why: /backslash may only/,
  },
  {
    name: "an expression with a named class",
    spec: { excludedInterfaces: ["[[:alpha:]]"] },
    field: "spec.excludedInterfaces[0]",
    why: /\[:alpha:\]/,
  },
  {
    name: "the same expression twice",
    spec: { excludedInterfaces: ["a", "a"] },
    field: "spec.excludedInterfaces[1]",
    why: /Duplicate value/,
  },
  {
    name: "an unknown update strategy",
    spec: { updateStrategy: { type: "Recreate" } },
    field: "spec.updateStrategy.type",
    why: /RollingUpdate/,
  },
  {
    name: "two updates at a time",
    spec: { updateStrategy: { maxUnavailable: 2 } },
    field: "spec.updateStrategy.maxUnavailable",
    why: /unknown field/,
  },
  {
    name: "heartbeats that are too close",
    spec: { failureDetection: { intervalMilliseconds: 49 } },
    field: "spec.failureDetection.intervalMilliseconds",
    why: /greater than or equal to 50/,
  },
  {
    name: "heartbeats that are too rare",
    spec: { failureDetection: { intervalMilliseconds: 1001 } },
    field: "spec.failureDetection.intervalMilliseconds",
    why: /less than or equal to 1000/,
  },
  {
    name: "two missed heartbeats",
    spec: { failureDetection: { multiplier: 2 } },
    field: "spec.failureDetection.multiplier",
    why: /greater than or equal to 3/,
  },
  {
    name: "21 missed heartbeats",
    spec: { failureDetection: { multiplier: 21 } },
    field: "spec.failureDetection.multiplier",
    why: /less than or equal to 20/,
  },
  {
    name: "half a missed heartbeat",
    spec: { failureDetection: { multiplier: 4.5 } },
    field: "spec.failureDetection.multiplier",
    why: /must be of type integer/,
  },
  {
    name: "announcements that are too frequent",
    spec: { announcementRefreshSeconds: 9 },
    field: "spec.announcementRefreshSeconds",
    why: /greater than or equal to 10/,
  },
  {
    name: "announcements that are too rare",
    spec: { announcementRefreshSeconds: 3601 },
    field: "spec.announcementRefreshSeconds",
    why: /less than or equal to 3600/,
  },
  ...[
    { witness: "gateway", why: /must be an address/ },
    { witness: "192.0.2.1/32", why: /must be an address/ },
    { witness: "fe80::1%eth0", why: /must be an address/ },
    { witness: "127.0.0.1", why: /ordinary address of a host/ },
    { witness: "fe80::1", why: /ordinary address of a host/ },
    { witness: "224.0.0.18", why: /ordinary address of a host/ },
  ].map(({ witness, why }) => ({
    name: `witness ${witness}`,
    spec: { witnessAddresses: [witness] },
    field: "spec.witnessAddresses[0]",
    why,
  })),
  {
    name: "the same witness twice",
    spec: { witnessAddresses: ["192.0.2.1", "192.0.2.1"] },
    field: "spec.witnessAddresses[1]",
    why: /Duplicate value/,
  },
  {
    name: "nine witnesses",
    spec: { witnessAddresses: Array.from({ length: 9 }, (_, i) => `192.0.2.${i + 1}`) },
    field: "spec.witnessAddresses",
    why: /at most 8 items/,
  },
  {
    name: "an unknown way to rebalance",
    spec: { rebalance: "Never" },
    field: "spec.rebalance",
    why: /Automatic/,
  },
  {
    name: "a pause that is a text",
    spec: { paused: "true" },
    field: "spec.paused",
    why: /must be of type boolean/,
  },
];

describeWith("setpriv")("CRDs on a real API server", () => {
  beforeAll(async () => {
    plane = await ControlPlane.up();
    await plane.kubectl("create", "namespace", NAMESPACE);
    await plane.kubectl("apply", "--server-side", "-k", CRDS);
    await plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all");
  }, UP_TIMEOUT_MS);

  afterAll(async () => plane[Symbol.asyncDispose]());

  describe("good objects", () => {
    for (const { name, spec, stored } of [
      { name: "no spec at all", spec: undefined, stored: metallbDefaults },
      { name: "an empty spec", spec: {}, stored: metallbDefaults },
      { name: "every field", spec: fullMetalLB, stored: fullMetalLB },
    ]) {
      test(`a MetalLB object with ${name} is taken, with defaults`, async () => {
        expect(specOf(await createMetalLB(spec))).toEqual(stored);
      });
    }

    for (const version of ["v1beta1", "v1alpha1"]) {
      test(`a ${version} pool of one address is taken, with defaults`, async () => {
        const stored = { ...layer2("192.0.2.1"), ...poolDefaults };
        expect(specOf(await createPool(layer2("192.0.2.1"), version))).toEqual(stored);
      });

      test(`a ${version} pool with every field is taken as it is`, async () => {
        expect(specOf(await createPool(fullPool, version))).toEqual(fullPool);
      });
    }

    test.each(GOOD_ENTRIES)("entry %j is taken", async (entry) => {
      specOf(await createPool(layer2(entry)));
      expect(validateAddressPool(layer2(entry))).toEqual([]);
    });

    test("256 of the longest ranges are within the API server's budget", async () => {
      const hex = (i: number): string => i.toString(16).padStart(4, "0");
      const ends = (i: number): string[] =>
        ["0000", "ffff"].map((last) => `2001:0db8:${hex(i)}:0000:0000:0000:0000:${last}`);
      specOf(await createPool(layer2(...times(256, (i) => ends(i).join("  -  ")))));
    });

    test("the old version warns that it is old, the new one does not", async () => {
      const old = await createPool(layer2("192.0.2.1"), "v1alpha1");
      expect(old.warnings.join()).toContain("use metallb.io/v1beta1");
      expect((await createPool(layer2("192.0.2.1"))).warnings).toEqual([]);
    });
  });

  describe("bad entries of a pool", () => {
    test.each(badEntries)("entry $entry is refused: $why", async ({ entry, why }) => {
      expectRefusal(await createPool(layer2("192.0.2.200", entry)), "spec.addresses[1]", why);
      expect(validateAddressPool(layer2(entry))).toEqual([
        expect.objectContaining({ field: "spec.addresses[0]", value: entry }),
      ]);
    });

    test("the API server and the operator agree on random entries", async () => {
      const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
      const agree = async (entry: string): Promise<void> => {
        const { status } = await createPool(layer2(entry));
        const faults = validateAddressPool(layer2(entry));
        // Inside a range the API server does not look for special addresses.
        if (faults.some(({ reason }) => reason === "specialUse")) return;
        expect({ entry, taken: status === 201 }).toEqual({ entry, taken: faults.length === 0 });
      };
      await fc.assert(fc.asyncProperty(poolEntry, agree), { seed, numRuns: NUM_RUNS });
    }, 60_000);
  });

  describe("bad pools", () => {
    test.each(badPools)("a pool with $name is refused", async ({ spec, field, why }) => {
      expectRefusal(await createPool(spec), field, why);
      expectRefusal(await createPool(spec, "v1alpha1"), field, why);
    });
  });

  describe("bad MetalLB objects", () => {
    test.each(badMetalLBs)(
      "a MetalLB object with $name is refused",
      async ({ spec, field, why }) => {
        expectRefusal(await createMetalLB(spec), field, why);
      },
    );

    test("a MetalLB object of another name is refused", async () => {
      expectRefusal(await createMetalLB({}, "other"), "metadata.name", /must be metallb/);
    });
  });

  describe("stored objects", () => {
    const read = async (plural: string, name: string, version?: string): Promise<Json> => {
      const { body } = await plane.call({ method: "GET", path: path(plural, version, `/${name}`) });
      return body as Json;
    };
    const writeStatus = async (plural: string, object: Json): Promise<Answer> => {
      const { name } = object["metadata"] as { name: string };
      return send(
        { method: "PUT", path: path(plural, "v1beta1", `/${name}/status`), body: object },
        "",
      );
    };

    test("a pool made in the old version is read in the new one with every field", async () => {
      const object = { metadata: { name: "both" }, spec: fullPool };
      await create("AddressPool", "addresspools", object, "v1alpha1", "");
      expect(await read("addresspools", "both")).toMatchObject({
        apiVersion: "metallb.io/v1beta1",
        spec: fullPool,
      });
    });

    test("kubectl get shows the columns of MetalLB", async () => {
      await create(
        "AddressPool",
        "addresspools",
        { metadata: { name: "columns" }, spec: layer2("192.0.2.1") },
        "v1beta1",
        "",
      );
      const table = await plane.kubectl("get", "addresspools", "columns", "-n", NAMESPACE);
      expect(table).toMatch(/NAME +AUTO ASSIGN +AVOID BUGGY IPS +ADDRESSES +VALID +AGE/);
      expect(table).toMatch(/columns +true +false +\["192.0.2.1"\]/);
    });

    test("the status is written apart from the spec, and its conditions are checked", async () => {
      await create("MetalLB", "metallbs", { metadata: { name: "metallb" } }, "v1beta1", "");
      const object = await read("metallbs", "metallb");
      const condition = {
        type: "Available",
        status: "True",
        reason: "Available",
        message: "",
        lastTransitionTime: "2026-01-02T03:04:05Z",
      };
      const spec = { logLevel: "none" };
      const good = await writeStatus("metallbs", {
        ...object,
        spec,
        status: { conditions: [condition] },
      });
      expect(good).toMatchObject({ status: 200, body: { spec: metallbDefaults } });
      const status = { conditions: [{ ...condition, reason: "internal error" }] };
      const bad = await writeStatus("metallbs", {
        ...object,
        metadata: (good.body as Json)["metadata"],
        status,
      });
      expectRefusal(bad, "status.conditions[0].reason", /should match/);
    });

    test("a ServiceL2Status keeps its node and its Service", async () => {
      const metadata = { name: "l2-a" };
      const made = await create(
        "ServiceL2Status",
        "servicel2statuses",
        { metadata },
        "v1beta1",
        "",
      );
      const status = { node: "node-1", serviceName: "web", serviceNamespace: "default" };
      const first = await writeStatus("servicel2statuses", { ...(made.body as Json), status });
      expect(first).toMatchObject({ status: 200, body: { status } });
      for (const field of ["node", "serviceName", "serviceNamespace"]) {
        const changed = { ...(first.body as Json), status: { ...status, [field]: "other" } };
        expectRefusal(
          await writeStatus("servicel2statuses", changed),
          `status.${field}`,
          /is immutable/,
        );
      }
    });
  });
});

const ipv4 = fc.ipV4();
const ipv6 = fc.ipV6();
const address = fc.oneof(ipv4, ipv6);
const near = fc.integer({ min: 0, max: 0xffff }).map((low) => `2001:db8::${low.toString(16)}`);
const dash = fc.constantFrom("-", " - ", " -", "- ", "--", "\t-");
const range = (end: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(end, dash, end).map((parts) => parts.join(""));
const prefix = (text: fc.Arbitrary<string>, bits: number): fc.Arbitrary<string> =>
  fc.tuple(text, fc.integer({ min: 0, max: bits + 1 })).map((parts) => parts.join("/"));

/** Texts that are entries of a pool, or nearly. */
const poolEntry = fc.oneof(
  address,
  range(address),
  range(ipv4),
  range(ipv6),
  range(near),
  prefix(ipv4, 32),
  prefix(ipv6, 128),
  prefix(fc.constantFrom("10.0.0.0", "192.0.2.128", "2001:db8::", "64:ff9b::"), 64),
  fc.string({ minLength: 1, maxLength: 40 }),
);
