/** What the speaker reads out of Kubernetes' objects: pure, so that every corner has a test. */
import type { PoolConfig } from "../api/rendered-config.ts";
import {
  addressToBigInt,
  familyOf,
  parseAddress,
  type Address,
  type Family,
} from "../packet/address/address.ts";
import { parsePoolEntry, type AddressRange } from "../packet/address/range.ts";
import type { DrainFacts, Taint } from "./drain.ts";
import type { Hint } from "./joining.ts";
import { MEMBER_PORT } from "./messages.ts";
import type { EndpointFacts, NodeFacts, ServiceFacts } from "./election.ts";

/** A Service as far as it is looked at. */
export interface ServiceView {
  readonly spec?:
    | {
        readonly type?: string | undefined;
        readonly loadBalancerClass?: string | undefined;
        readonly externalTrafficPolicy?: string | undefined;
      }
    | undefined;
  readonly status?:
    | {
        readonly loadBalancer?:
          | { readonly ingress?: readonly { readonly ip?: string | undefined }[] | undefined }
          | undefined;
        readonly conditions?:
          | readonly {
              readonly type: string;
              readonly reason: string;
              readonly message: string;
            }[]
          | undefined;
      }
    | undefined;
}

/** A Node as far as it is looked at. */
export interface NodeView {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  };
  readonly spec?: { readonly taints?: readonly Taint[] | undefined } | undefined;
  readonly status?:
    | {
        readonly conditions?:
          readonly { readonly type: string; readonly status: string }[] | undefined;
        readonly addresses?:
          readonly { readonly type: string; readonly address: string }[] | undefined;
      }
    | undefined;
}

/** An EndpointSlice as far as it is looked at. */
export interface SliceView {
  readonly addressType: string;
  readonly endpoints?:
    | readonly {
        readonly nodeName?: string | undefined;
        readonly conditions?:
          | {
              readonly ready?: boolean | undefined;
              readonly serving?: boolean | undefined;
              readonly terminating?: boolean | undefined;
            }
          | undefined;
      }[]
    | undefined;
}

/**
 * The addresses that a Service has from a load balancer of this class, in canonical form.
 * @param loadBalancerClass the class that is ours; empty: Services without a class.
 */
export function announceableAddresses(service: ServiceView, loadBalancerClass: string): Address[] {
  if (service.spec?.type !== "LoadBalancer") return [];
  if ((service.spec.loadBalancerClass ?? "") !== loadBalancerClass) return [];
  return (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => {
    const parsed = parseAddress(ip ?? "");
    return parsed.ok ? [parsed.value] : [];
  });
}

function conditionOf(node: NodeView, type: string): string | undefined {
  return node.status?.conditions?.find((condition) => condition.type === type)?.status;
}

/** What the election looks at in a Node. */
export function nodeFacts(node: NodeView): NodeFacts {
  return {
    name: node.metadata.name,
    networkUnavailable: conditionOf(node, "NetworkUnavailable") === "True",
    labels: node.metadata.labels ?? {},
  };
}

/** What asks a node to hand its addresses over. */
export function drainFacts(node: NodeView): DrainFacts {
  return { labels: node.metadata.labels ?? {}, taints: node.spec?.taints ?? [] };
}

/** Where the speaker of a Node is reached: at the node's own addresses, for its network is the node's. */
export function memberHint(node: NodeView): Hint {
  const addresses = (node.status?.addresses ?? []).filter(({ type }) => type === "InternalIP");
  const endpoints = addresses.flatMap(({ address }) => {
    const parsed = parseAddress(address);
    return parsed.ok ? [{ address: parsed.value, port: MEMBER_PORT }] : [];
  });
  return { name: node.metadata.name, endpoints };
}

const ADDRESS_TYPES: Readonly<Record<Family, string>> = { ipv4: "IPv4", ipv6: "IPv6" };

/**
 * What the election looks at in a Service for its addresses of one family: kube-proxy sends IPv6
 * connections to IPv6 endpoints only. Absent conditions have the defaults of discovery.k8s.io/v1:
 * ready and serving are true, terminating is false.
 */
export function serviceFacts(
  service: ServiceView,
  slices: readonly SliceView[],
  family: Family,
): ServiceFacts {
  const endpoints = slices
    .filter((slice) => slice.addressType === ADDRESS_TYPES[family])
    .flatMap((slice) => slice.endpoints ?? [])
    .map(({ nodeName, conditions }): EndpointFacts => {
      const ready = conditions?.ready ?? true;
      return {
        ...(nodeName === undefined ? {} : { node: nodeName }),
        ready,
        serving: conditions?.serving ?? ready,
        terminating: conditions?.terminating ?? false,
      };
    });
  return { local: service.spec?.externalTrafficPolicy === "Local", endpoints };
}

interface PooledRange {
  readonly range: AddressRange;
  readonly pool: PoolConfig;
}

/** Finds the pool that an address is from. The operator sees to it that pools do not overlap. */
export class PoolIndex {
  readonly #ranges: Readonly<Record<Family, PooledRange[]>> = { ipv4: [], ipv6: [] };

  /** Entries that are no addresses are left out: the operator has refused them already. */
  constructor(pools: readonly PoolConfig[]) {
    for (const pool of pools)
      for (const entry of pool.addresses) {
        const parsed = parsePoolEntry(entry);
        if (parsed.ok) this.#ranges[parsed.value.family].push({ range: parsed.value, pool });
      }
    for (const ranges of Object.values(this.#ranges))
      ranges.sort((a, b) => (a.range.first < b.range.first ? -1 : 1));
  }

  /** The pool with that address, or undefined; O(log n) in the number of ranges. */
  find(address: Address): PoolConfig | undefined {
    const number = addressToBigInt(address);
    const ranges = this.#ranges[familyOf(address)];
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const candidate = ranges[middle];
      if (candidate !== undefined && candidate.range.first <= number) low = middle + 1;
      else high = middle;
    }
    const below = ranges[low - 1];
    return below !== undefined && number <= below.range.last ? below.pool : undefined;
  }
}
