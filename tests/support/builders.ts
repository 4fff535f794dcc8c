/**
 * Objects of our kinds for tests. A builder gives a plain good object; modifiers change what the
 * test is about, so that a test shows only what matters.
 */
import {
  ADDRESS_POOL_API_VERSION,
  type AddressPool,
  type AddressPoolSpec,
} from "../../api/address-pool.ts";
import {
  METALLB_API_VERSION,
  METALLB_NAME,
  type MetalLB,
  type MetalLBSpec,
} from "../../api/metallb.ts";
import type { ObjectMeta } from "../../api/object.ts";
import type { PoolConfig, RenderedConfig } from "../../api/rendered-config.ts";
import { desiredConfig, NO_REBALANCE } from "../../operator/config.ts";

/** The namespace that MetalLB runs in. */
export const NAMESPACE = "metallb-system";

/** Gives a changed copy of an object. */
export type Modifier<T> = (object: T) => T;

function build<T>(object: T, modifiers: readonly Modifier<T>[]): T {
  return modifiers.reduce((changed, modify) => modify(changed), object);
}

/** A MetalLB object with nothing but defaults. */
export function metallb(...modifiers: readonly Modifier<MetalLB>[]): MetalLB {
  const object: MetalLB = {
    apiVersion: METALLB_API_VERSION,
    kind: "MetalLB",
    metadata: { name: METALLB_NAME, namespace: NAMESPACE },
    spec: {
      logLevel: "info",
      ignoreExcludeLoadBalancers: false,
      announcementRefreshSeconds: 120,
      rebalance: "Automatic",
      paused: false,
    },
  };
  return build(object, modifiers);
}

/** A layer 2 pool of the given addresses with nothing else but defaults. */
export function addressPool(
  name: string,
  addresses: readonly string[],
  ...modifiers: readonly Modifier<AddressPool>[]
): AddressPool {
  const object: AddressPool = {
    apiVersion: ADDRESS_POOL_API_VERSION,
    kind: "AddressPool",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      protocol: "layer2",
      addresses: [...addresses],
      autoAssign: true,
      avoidBuggyIPs: false,
      cooldownSeconds: 0,
      announceFrom: "EndpointNodes",
    },
  };
  return build(object, modifiers);
}

/** A pool of the rendered configuration with nothing but defaults. */
export function poolConfig(
  name: string,
  addresses: readonly string[],
  more: Partial<PoolConfig> = {},
): PoolConfig {
  return {
    name,
    protocol: "layer2",
    addresses: [...addresses],
    "auto-assign": true,
    "avoid-buggy-ips": false,
    priority: 0,
    namespaces: [],
    "namespace-selectors": [],
    "service-selectors": [],
    "cooldown-seconds": 0,
    "node-selectors": [],
    interfaces: [],
    "announce-from": "EndpointNodes",
    ...more,
  };
}

/** A rendered configuration with these pools and nothing else but defaults. */
export function renderedConfig(
  pools: readonly PoolConfig[],
  more: Partial<RenderedConfig> = {},
): RenderedConfig {
  return { ...desiredConfig(metallb().spec, pools, NO_REBALANCE), ...more };
}

/** Sets fields of the metadata. */
export function withMetadata<T extends { readonly metadata: ObjectMeta }>(
  metadata: Partial<ObjectMeta>,
): Modifier<T> {
  return (object) => ({ ...object, metadata: { ...object.metadata, ...metadata } });
}

/** Sets fields of the spec of a MetalLB object. */
export function withMetalLBSpec(spec: Partial<MetalLBSpec>): Modifier<MetalLB> {
  return (object) => ({ ...object, spec: { ...object.spec, ...spec } });
}

/** Sets fields of the spec of a pool. */
export function withPoolSpec(spec: Partial<AddressPoolSpec>): Modifier<AddressPool> {
  return (object) => ({ ...object, spec: { ...object.spec, ...spec } });
}
