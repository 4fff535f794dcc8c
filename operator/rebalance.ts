/** Decides when the speakers are asked to spread the addresses over the nodes again. */
import type { MetalLBSpec } from "../api/metallb.ts";
import type { RebalanceRecord } from "./config.ts";

/** Annotation of the MetalLB object: each new value asks for one rebalance, whatever the spec says. */
export const REBALANCE_ANNOTATION = "metallb.io/rebalance";

/** What bears on a rebalance. */
export interface RebalanceFacts {
  readonly mode: MetalLBSpec["rebalance"];
  /** What the speakers run, once all of them run it and are ready; undefined before that. */
  readonly finishedRollout: string | undefined;
  /** Value of the annotation; undefined: there is none. */
  readonly request: string | undefined;
}

/**
 * Gives the record that follows. Its generation grows by one for a rollout that has finished, unless
 * that is left to people, and for a request that is new. A node that comes back is no rollout. While
 * the rebalance is left to people rollouts are noted all the same, so that none is made up for later.
 * @returns the same record when nothing is asked for
 */
export function nextRebalance(
  record: RebalanceRecord,
  { mode, finishedRollout, request = "" }: RebalanceFacts,
): RebalanceRecord {
  const rollout = finishedRollout ?? record.rollout;
  const isRolledOut = rollout !== record.rollout;
  const isRequested = request !== record.request;
  if (!isRolledOut && !isRequested) return record;
  const isWanted = (isRolledOut && mode === "Automatic") || (isRequested && request !== "");
  return { generation: record.generation + (isWanted ? 1 : 0), rollout, request };
}
