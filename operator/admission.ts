/**
 * What the validating webhook answers: what a condition would say a moment later, said at once. Nothing
 * depends on it: an object that got past it is judged by {@link compilePools} all the same.
 *
 * - An object is refused only for what is wrong with it and its owner can change: never while it is being
 *   deleted, never for an update that leaves its spec alone.
 * - A pool is judged among all others with the forms that are in effect. It comes last: what was there
 *   before keeps its addresses.
 * - An object in the wrong namespace is let through with a warning: its condition says the same.
 */
import type { AddressPool } from "../api/address-pool.ts";
import { formatFault } from "../api/fault.ts";
import { METALLB_NAME, validateMetalLB, type MetalLB } from "../api/metallb.ts";
import type { PoolConfig } from "../api/rendered-config.ts";
import { compilePools } from "./config.ts";
import { contentHash } from "./desired/ownership.ts";
import { misplaced } from "./status.ts";

/** A question about an object that is created or updated. */
export interface Question<T> {
  readonly object: T;
  /** The object as it is; undefined when it is being created. */
  readonly before: T | undefined;
}

/** What the operator knows when it is asked. */
export interface Known {
  /** The operator's. */
  readonly namespace: string;
  /** All pools of that namespace. */
  readonly pools: readonly AddressPool[];
  /** The pools in effect. */
  readonly inEffect: readonly PoolConfig[];
}

/** The answer; a refusal's message names field, value and remedy. */
export type Admission =
  | { readonly allowed: true; readonly warnings: readonly string[] }
  | { readonly allowed: false; readonly message: string };

const ALLOWED: Admission = { allowed: true, warnings: [] };

/** Later than every time that the API server gives. */
const LAST = "9999-12-31T23:59:59Z";

/** Judges a pool that is created or updated. */
export function admitPool(question: Question<AddressPool>, known: Known): Admission {
  const { object } = question;
  if (isIndifferent(question)) return ALLOWED;
  const stray = misplaced(object, known.namespace);
  if (stray !== undefined) return { allowed: true, warnings: [stray.message] };
  const { name } = object.metadata;
  const last = { ...object, metadata: { ...object.metadata, creationTimestamp: LAST } };
  const others = known.pools.filter(
    ({ metadata }) => metadata.name !== name && metadata.deletionTimestamp === undefined,
  );
  // A pool that takes the name of one that is gone has no earlier form to fall back on.
  const inEffect =
    question.before === undefined
      ? known.inEffect.filter((pool) => pool.name !== name)
      : known.inEffect;
  const { verdicts } = compilePools([...others, last], inEffect);
  const fault = verdicts.find((verdict) => verdict.name === name)?.fault;
  return fault === undefined ? ALLOWED : { allowed: false, message: fault.message };
}

/** Judges a MetalLB object that is created or updated. */
export function admitMetalLB(
  question: Question<MetalLB>,
  { namespace }: Pick<Known, "namespace">,
): Admission {
  if (isIndifferent(question)) return ALLOWED;
  const stray = misplaced(question.object, namespace, METALLB_NAME);
  if (stray !== undefined) return { allowed: true, warnings: [stray.message] };
  const faults = validateMetalLB(question.object.spec);
  if (faults.length === 0) return ALLOWED;
  return { allowed: false, message: faults.map(formatFault).join("; ") };
}

/** Tells whether nothing is asked that could be refused: it goes, or its spec stays. */
function isIndifferent({ object, before }: Question<AddressPool | MetalLB>): boolean {
  if (object.metadata.deletionTimestamp !== undefined) return true;
  return before !== undefined && contentHash(object.spec) === contentHash(before.spec);
}
