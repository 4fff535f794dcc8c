/** The pure part alone: from pools as the API server gives them to the text of the ConfigMap. */
import type { AddressPool } from "../../api/address-pool.ts";
import { formatRenderedConfig } from "../../api/rendered-config.ts";
import { compilePools, desiredConfig, NO_REBALANCE } from "../../operator/config.ts";
import { metallb } from "../../tests/support/builders.ts";

/** Validates and renders all pools; milliseconds, a round each, the first one cold. */
export function compileAndRender(pools: readonly AddressPool[], rounds: number): number[] {
  const { spec } = metallb();
  let before = compilePools([], []).pools;
  return Array.from({ length: rounds }, () => {
    const startedMs = performance.now();
    const { pools: inEffect, verdicts } = compilePools(pools, before);
    const text = formatRenderedConfig(desiredConfig(spec, inEffect, NO_REBALANCE));
    const tookMs = performance.now() - startedMs;
    if (verdicts.some(({ reason }) => reason !== "Valid") || text === "")
      throw new Error("a pool of the benchmark is not valid");
    before = inEffect;
    return tookMs;
  });
}
