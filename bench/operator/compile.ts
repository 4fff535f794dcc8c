/** The pure part alone: from pools as the API server gives them to the text of the ConfigMap. */
import type { AddressPool } from "../../api/address-pool.ts";
import { formatRenderedConfig } from "../../api/rendered-config.ts";
import { compilePools, desiredConfig, NO_REBALANCE } from "../../operator/config.ts";
import { metallb } from "../../tests/support/builders.ts";

/**
 * Validates and renders all pools; milliseconds, a round each, the first one cold. Each round has objects
 * of its own, so that nothing is known from the round before.
 */
export function compileAndRender(pools: readonly AddressPool[], rounds: number): number[] {
  const { spec } = metallb();
  return Array.from({ length: rounds }, () => {
    const fresh = structuredClone(pools);
    const startedMs = performance.now();
    const { pools: inEffect, verdicts } = compilePools(fresh, []);
    const text = formatRenderedConfig(desiredConfig(spec, inEffect, NO_REBALANCE));
    const tookMs = performance.now() - startedMs;
    if (verdicts.some(({ reason }) => reason !== "Valid") || text === "")
      throw new Error("a pool of the benchmark is not valid");
    return tookMs;
  });
}
