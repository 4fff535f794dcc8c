import { Type, type Static } from "@sinclair/typebox";
import {
  compareRanges,
  formatRange,
  parsePoolEntry,
  rangesOverlap,
  specialUse,
  type AddressRange,
} from "../packet/address/range.ts";
import { ENTRY_RULES } from "./address-rules.ts";
import { conditions } from "./condition.ts";
import type { Fault, FaultReason } from "./fault.ts";
import { AGE, storedApiVersion, type Kind } from "./kind.ts";
import { LABEL_NAME, labelSelector } from "./label.ts";
import type { ObjectMeta } from "./object.ts";
import { checker, closed, oneOf, rules, setOf } from "./schema.ts";

/** Two full IPv6 addresses of 39 characters, a dash and two spaces on either side of it. */
const MAX_ENTRY = 83;
const MAX_ENTRIES = 256;
const MAX_SELECTORS = 16;

/** Protocols that a pool may name; see {@link validateAddressPool} for what becomes of them. */
export const PROTOCOLS = ["layer2", "bgp"] as const;
/** From which nodes an address is announced while the traffic policy is Cluster. */
export const ANNOUNCE_FROM = ["EndpointNodes", "AllNodes"] as const;

const entry = Type.String({
  minLength: 1,
  maxLength: MAX_ENTRY,
  "x-kubernetes-validations": ENTRY_RULES,
});

const serviceAllocation = Type.Object(
  {
    priority: Type.Optional(
      Type.Integer({
        description: "Pools with a lower number are used first; 0 or unset comes last.",
        minimum: 0,
        maximum: 2147483647,
      }),
    ),
    namespaces: Type.Optional(
      setOf(Type.String(LABEL_NAME), {
        description: "Namespaces whose Services may use the pool.",
        maxItems: 256,
      }),
    ),
    namespaceSelectors: Type.Optional(
      Type.Array(labelSelector("Labels of a namespace."), {
        description: "Labels of more namespaces; one selector must match.",
        maxItems: MAX_SELECTORS,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    serviceSelectors: Type.Optional(
      Type.Array(labelSelector("Labels of a Service."), {
        description: "Labels of the Services that may use the pool; one selector must match.",
        maxItems: MAX_SELECTORS,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  { ...closed, description: "Which Services may use the pool, and which pool comes first." },
);

const spec = Type.Object(
  {
    protocol: oneOf(PROTOCOLS, {
      description: "How the addresses are announced: layer2 (ARP and NDP).",
      ...rules([
        "self != 'bgp'",
        "bgp is not supported yet and comes with a later version: use layer2",
      ]),
    }),
    addresses: setOf(entry, {
      description:
        "Addresses of the pool: each entry one address, a CIDR, or a range of two addresses joined by a dash; IPv4 and IPv6 may be mixed.",
      minItems: 1,
      maxItems: MAX_ENTRIES,
    }),
    autoAssign: Type.Boolean({
      description: "Whether Services get an address from the pool without asking for the pool.",
      default: true,
    }),
    avoidBuggyIPs: Type.Boolean({
      description: "Whether IPv4 addresses that end in .0 or .255 are left out.",
      default: false,
    }),
    serviceAllocation: Type.Optional(serviceAllocation),
    cooldownSeconds: Type.Integer({
      description: "How long a released address rests before another Service gets it.",
      minimum: 0,
      maximum: 604800,
      default: 0,
    }),
    nodeSelectors: Type.Optional(
      Type.Array(labelSelector("Labels of a node."), {
        description: "Nodes that may announce; one selector must match. Unset: all.",
        maxItems: MAX_SELECTORS,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    interfaces: Type.Optional(
      setOf(Type.String({ pattern: "^[^\\s/:]+$", minLength: 1, maxLength: 15 }), {
        description: "Interfaces to announce on, by exact name. Unset: all.",
        maxItems: 32,
      }),
    ),
    announceFrom: oneOf(ANNOUNCE_FROM, {
      description:
        "With externalTrafficPolicy Cluster: announce from nodes that have a Ready endpoint, or from any node.",
      default: "EndpointNodes",
    }),
  },
  { ...closed, description: "What is wanted." },
);

const count = (description: string) =>
  Type.Optional(
    Type.Integer({ description: `${description} Stops at 9007199254740991.`, minimum: 0 }),
  );

const holder = Type.Object(
  {
    address: Type.String({ description: "The address." }),
    namespace: Type.String({ description: "Namespace of the Service." }),
    name: Type.String({ description: "Name of the Service." }),
  },
  closed,
);

const quarantined = Type.Object(
  {
    address: Type.String({ description: "The address." }),
    hardwareAddress: Type.Optional(
      Type.String({ description: "Who else has it: a MAC address on the LAN." }),
    ),
    since: Type.String({ description: "When it was reported.", format: "date-time" }),
  },
  closed,
);

const status = Type.Object(
  {
    observedGeneration: Type.Optional(
      Type.Integer({ description: "Generation of the spec that was looked at.", minimum: 0 }),
    ),
    conditions: Type.Optional(conditions),
    assignedIPv4: count("IPv4 addresses that Services have."),
    assignedIPv6: count("IPv6 addresses that Services have."),
    availableIPv4: count("IPv4 addresses that are free."),
    availableIPv6: count("IPv6 addresses that are free."),
    holders: Type.Optional(
      Type.Array(holder, {
        description: "Services that have an address of the pool, the first 100.",
        "x-kubernetes-list-type": "atomic",
        maxItems: 100,
      }),
    ),
    moreHolders: count("How many holders are not listed."),
    quarantined: Type.Optional(
      Type.Array(quarantined, {
        description: "Addresses that another host uses; they are not given out.",
        "x-kubernetes-list-type": "atomic",
        maxItems: 1024,
      }),
    ),
  },
  {
    ...closed,
    description: "What is observed; conditions by the operator, the rest by the controller.",
  },
);

/** What is wanted of a pool, defaults filled in. */
export type AddressPoolSpec = Static<typeof spec>;
/** What is observed of a pool. */
export type AddressPoolStatus = Static<typeof status>;

/** A pool of addresses, as the API server gives it. */
export interface AddressPool {
  readonly apiVersion: string;
  readonly kind: "AddressPool";
  readonly metadata: ObjectMeta;
  readonly spec: AddressPoolSpec;
  readonly status?: AddressPoolStatus;
}

/** The kind AddressPool. */
export const ADDRESS_POOL: Kind = {
  kind: "AddressPool",
  singular: "addresspool",
  plural: "addresspools",
  description: "A pool of addresses for Services of type LoadBalancer.",
  versions: [
    { name: "v1beta1", storage: true },
    {
      name: "v1alpha1",
      storage: false,
      deprecationWarning: "metallb.io/v1alpha1 AddressPool is deprecated: use metallb.io/v1beta1",
    },
  ],
  spec,
  status,
  rules: [],
  columns: [
    {
      name: "Auto Assign",
      type: "boolean",
      jsonPath: ".spec.autoAssign",
      description: "Whether Services get an address without asking for the pool.",
    },
    {
      name: "Avoid Buggy IPs",
      type: "boolean",
      jsonPath: ".spec.avoidBuggyIPs",
      description: "Whether addresses that end in .0 or .255 are left out.",
    },
    {
      name: "Addresses",
      type: "string",
      jsonPath: ".spec.addresses",
      description: "Addresses of the pool.",
    },
    {
      name: "Valid",
      type: "string",
      jsonPath: '.status.conditions[?(@.type=="Valid")].status',
      description: "Whether the pool is used as written.",
    },
    AGE,
  ],
};

/** `apiVersion` of the AddressPool objects that we read and write. */
export const ADDRESS_POOL_API_VERSION = storedApiVersion(ADDRESS_POOL);

const checkSpec = checker(spec, "spec");

/**
 * Finds everything that is wrong with the spec of one pool by itself: what the CRD refuses, and what
 * CEL cannot see (special addresses inside a range, entries that overlap).
 * Overlap between pools is not looked at.
 * @returns empty when the pool can be used
 */
export function validateAddressPool(value: unknown): readonly Fault[] {
  const checked = checkSpec(value);
  if (!checked.ok) return checked.faults;
  const { protocol, addresses } = checked.value;
  return [...protocolFaults(protocol), ...addressFaults(addresses)];
}

function protocolFaults(protocol: AddressPoolSpec["protocol"]): Fault[] {
  if (protocol === "layer2") return [];
  const message = "bgp is not supported yet and comes with a later version: use layer2";
  return [{ field: "spec.protocol", value: protocol, reason: "unsupportedProtocol", message }];
}

interface Entry {
  readonly index: number;
  readonly text: string;
  readonly range: AddressRange;
}

function addressFaults(addresses: readonly string[]): Fault[] {
  const faults: Fault[] = [];
  const entries: Entry[] = [];
  for (const [index, text] of addresses.entries()) {
    const parsed = parsePoolEntry(text);
    if (!parsed.ok) {
      faults.push(faultAt(index, text, parsed.reason, parsed.message));
      continue;
    }
    entries.push({ index, text, range: parsed.value });
    const special = specialUse(parsed.value);
    if (special === undefined) continue;
    const message = `holds addresses of ${special.prefix} (${special.use}), which no Service can have`;
    faults.push(faultAt(index, text, "specialUse", message));
  }
  return [...faults, ...overlapFaults(entries)];
}

/** Walks the ranges in order; one that starts before the farthest end so far overlaps its holder. */
function overlapFaults(entries: readonly Entry[]): Fault[] {
  const faults: Fault[] = [];
  let farthest: Entry | undefined;
  for (const entry of [...entries].sort((a, b) => compareRanges(a.range, b.range))) {
    if (farthest !== undefined && rangesOverlap(farthest.range, entry.range)) {
      faults.push(overlapFault(farthest, entry));
      if (entry.range.last <= farthest.range.last) continue;
    }
    farthest = entry;
  }
  return faults;
}

function overlapFault(a: Entry, b: Entry): Fault {
  const [earlier, later] = a.index < b.index ? [a, b] : [b, a];
  const message = `overlaps ${fieldOf(earlier.index)} (${formatRange(earlier.range)}): list each address once`;
  return faultAt(later.index, later.text, "overlapping", message);
}

function faultAt(index: number, value: string, reason: FaultReason, message: string): Fault {
  return { field: fieldOf(index), value, reason, message };
}

function fieldOf(index: number): string {
  return `spec.addresses[${index}]`;
}
