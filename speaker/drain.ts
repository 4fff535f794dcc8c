/**
 * Whether a node is to hand its addresses over although its speaker is well: what administrators and
 * controllers say on the Node. Pure.
 *
 * Never on a bare cordon: `unschedulable` keeps new pods away and says nothing of those that are
 * there, and an upgrade cordons many nodes for hours (metallb#2470, taken back by #2715).
 */

/** Label by which a person asks for it; only the value "true" does. */
export const DRAIN_LABEL = "metallb.io/drain";
/** Taint that says that the node is switched off, or is about to be; whatever its effect. */
export const OUT_OF_SERVICE_TAINT = "node.kubernetes.io/out-of-service";

/** A taint as far as it is looked at (core/v1). */
export interface Taint {
  readonly key: string;
  readonly value?: string | undefined;
  readonly effect: string;
}

/** A toleration as far as it is looked at (core/v1). */
export interface Toleration {
  /** Absent or empty: every taint. */
  readonly key?: string | undefined;
  /** Absent: Equal. */
  readonly operator?: string | undefined;
  readonly value?: string | undefined;
  /** Absent or empty: every effect. */
  readonly effect?: string | undefined;
}

/** What is looked at in our own Node. */
export interface DrainFacts {
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
}

/** Whether a toleration covers a taint, as core/v1 has it. */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  const { key = "", operator = "Equal", value = "", effect = "" } = toleration;
  if (effect !== "" && effect !== taint.effect) return false;
  if (key !== "" && key !== taint.key) return false;
  return operator === "Exists" || (key !== "" && value === (taint.value ?? ""));
}

/**
 * What on the node asks for its addresses to be handed over, for people; undefined: nothing.
 * @param requested tolerations that somebody asked for: those that DaemonSets have by themselves (of
 * not-ready and unreachable nodes) keep the speaker running and say nothing of its addresses.
 */
export function drainRequest(
  { labels, taints }: DrainFacts,
  requested: readonly Toleration[],
): string | undefined {
  if (labels[DRAIN_LABEL] === "true") return `label ${DRAIN_LABEL}: "true"`;
  const cause = taints.find(
    (taint) =>
      taint.key === OUT_OF_SERVICE_TAINT ||
      (taint.effect === "NoExecute" && !requested.some((each) => tolerates(each, taint))),
  );
  if (cause === undefined) return undefined;
  const value = cause.value === undefined || cause.value === "" ? "" : `=${cause.value}`;
  return `taint ${cause.key}${value}:${cause.effect}`;
}
