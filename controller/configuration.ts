/** The rendered configuration as the controller understands it. */
import { CONFIG_KEY, parseRenderedConfig, type RenderedConfig } from "../api/rendered-config.ts";
import { readPools, type Pool } from "./pool.ts";

/** A configuration that can be used. */
export interface Configuration {
  /** In the order in which they are tried. */
  readonly pools: readonly Pool[];
  readonly loadBalancerClass: string;
  readonly logLevel: RenderedConfig["log-level"];
  /** Some pool looks at labels of namespaces. */
  readonly needsNamespaces: boolean;
}

/** A configuration, or why it is not used. */
export type ReadConfiguration =
  | { readonly ok: true; readonly value: Configuration }
  | { readonly ok: false; readonly message: string };

/**
 * Reads the data of the ConfigMap. A document with any fault is refused as a whole: the operator
 * renders none, and half of one would take addresses away from Services that use the other half.
 */
export function readConfiguration(
  data: Readonly<Record<string, string>> | undefined,
): ReadConfiguration {
  const text = data?.[CONFIG_KEY];
  if (text === undefined) return { ok: false, message: `the ConfigMap has no key ${CONFIG_KEY}` };
  const parsed = parseRenderedConfig(text);
  if (!parsed.ok) return { ok: false, message: parsed.message };
  const { pools, faults } = readPools(parsed.value["address-pools"]);
  if (faults.length > 0) {
    const message = faults.map((fault) => `${fault.field}: ${fault.message}`).join("; ");
    return { ok: false, message };
  }
  return {
    ok: true,
    value: {
      pools,
      loadBalancerClass: parsed.value["load-balancer-class"],
      logLevel: parsed.value["log-level"],
      needsNamespaces: pools.some((pool) => pool.namespaceSelectors.length > 0),
    },
  };
}
