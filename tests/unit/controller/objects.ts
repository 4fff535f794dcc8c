/** Services and pools for the controller's tests: a plain good one, changed where the test says so. */
import type { PoolConfig } from "../../../api/rendered-config.ts";
import type { AddressRequest } from "../../../controller/allocator.ts";
import { readPools, type Pool } from "../../../controller/pool.ts";
import { PREFIX, type ServiceObject } from "../../../controller/service.ts";
import type { SharingTerms } from "../../../controller/sharing.ts";
import type { Family } from "../../../packet/address/address.ts";
import { poolConfig } from "../../support/builders.ts";

/** Reads pools that must be good. */
export function pools(...configs: readonly PoolConfig[]): readonly Pool[] {
  const read = readPools(configs);
  if (read.faults.length > 0) throw new TypeError(JSON.stringify(read.faults));
  return read.pools;
}

/** A pool with nothing but defaults. */
export function pool(
  name: string,
  addresses: readonly string[],
  more: Partial<PoolConfig> = {},
): Pool {
  return pools(poolConfig(name, addresses, more))[0]!;
}

/** What a Service asks for: one IPv4 address in namespace `default`, nothing shared. */
export function request(
  name: string,
  more: Partial<Omit<AddressRequest, "terms">> & { readonly terms?: Partial<SharingTerms> } = {},
): AddressRequest {
  const { terms, ...rest } = more;
  return {
    service: `default/${name}`,
    namespace: "default",
    namespaceLabels: {},
    labels: {},
    families: ["ipv4"],
    oneWillDo: false,
    ...rest,
    terms: { key: "", backend: "", ports: ["TCP/80"], ...terms },
  };
}

const CLUSTER_IPS = { ipv4: "10.96.0.1", ipv6: "fd00:96::1" } as const;

/** What makes up a Service of a test. */
export interface ServiceOptions {
  readonly namespace?: string;
  readonly uid?: string;
  /** Seconds after midnight. */
  readonly created?: number;
  readonly resourceVersion?: string;
  readonly families?: readonly Family[];
  readonly spec?: NonNullable<ServiceObject["spec"]>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Names without a prefix get ours. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ingress?: readonly string[];
  readonly status?: NonNullable<ServiceObject["status"]>;
}

/** A Service of type LoadBalancer with one IPv4 cluster address and port 80. */
export function service(name: string, options: ServiceOptions = {}): ServiceObject {
  const { namespace = "default", created = 0, families = ["ipv4"] } = options;
  const annotations = Object.entries(options.annotations ?? {}).map(([key, value]) => [
    key.includes("/") ? key : `${PREFIX}/${key}`,
    value,
  ]);
  const clusterIPs = families.map((family) => CLUSTER_IPS[family]);
  const ingress = (options.ingress ?? []).map((ip) => ({ ip, ipMode: "VIP" }));
  return {
    metadata: {
      name,
      namespace,
      uid: options.uid ?? `uid-${namespace}-${name}`,
      resourceVersion: options.resourceVersion ?? "1",
      creationTimestamp: new Date(Date.UTC(2026, 0, 1) + created * 1000)
        .toISOString()
        .replace(".000", ""),
      labels: options.labels ?? {},
      annotations: Object.fromEntries(annotations) as Record<string, string>,
    },
    spec: {
      type: "LoadBalancer",
      clusterIPs,
      clusterIP: clusterIPs[0] ?? "",
      ports: [{ port: 80, protocol: "TCP" }],
      ...options.spec,
    },
    status: options.status ?? { loadBalancer: ingress.length > 0 ? { ingress } : {} },
  };
}
