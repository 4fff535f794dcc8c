import { Type, type Static } from "@sinclair/typebox";
import { closed, oneOf } from "./schema.ts";

/** The three answers of a condition. */
export const CONDITION_STATUSES = ["True", "False", "Unknown"] as const;

/** What the API server takes; a longer one is cut rather than the whole status refused. */
const MAX_MESSAGE = 32_768;

const condition = Type.Object(
  {
    type: Type.String({
      description: "What the condition is about.",
      pattern:
        "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
      maxLength: 316,
    }),
    status: oneOf(CONDITION_STATUSES, { description: "Whether it is so." }),
    reason: Type.String({
      description: "Why, in one word for programs.",
      pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
      minLength: 1,
      maxLength: 1024,
    }),
    message: Type.String({
      description: "Why, and what to do, for people.",
      maxLength: MAX_MESSAGE,
    }),
    lastTransitionTime: Type.String({
      description: "When the status last changed.",
      format: "date-time",
    }),
    observedGeneration: Type.Optional(
      Type.Integer({ description: "Generation of the object that was looked at.", minimum: 0 }),
    ),
  },
  closed,
);

/** The list of conditions in a status: each type once. */
export const conditions = Type.Array(condition, {
  description: "What is the matter, by Kubernetes conventions.",
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["type"],
});

/** A condition as Kubernetes has it (meta/v1). */
export type Condition = Readonly<Static<typeof condition>>;
/** An answer of a condition. */
export type ConditionStatus = (typeof CONDITION_STATUSES)[number];
/** What is observed now; {@link setCondition} adds the time. */
export type ObservedCondition = Omit<Condition, "lastTransitionTime">;

/**
 * Puts an observation into a list of conditions, replacing that of its type. The transition time
 * moves only when the status does, so that equal observations give equal lists and no write.
 * @returns the same list when nothing changed
 */
export function setCondition(
  list: readonly Condition[],
  observed: ObservedCondition,
  now: Date,
): readonly Condition[] {
  const before = list.find(({ type }) => type === observed.type);
  const lastTransitionTime =
    before?.status === observed.status ? before.lastTransitionTime : formatTime(now);
  const after = { ...observed, message: cut(observed.message), lastTransitionTime };
  if (before === undefined) return [...list, after];
  if (isSame(before, after)) return list;
  return list.map((each) => (each === before ? after : each));
}

/** Puts several observations into a list of conditions, one after the other. */
export function setConditions(
  list: readonly Condition[],
  observed: readonly ObservedCondition[],
  now: Date,
): readonly Condition[] {
  return observed.reduce((conditions, each) => setCondition(conditions, each, now), list);
}

function cut(message: string): string {
  return message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 1)}…` : message;
}

function isSame(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  );
}

/** Writes a time as Kubernetes does: RFC 3339, UTC, whole seconds. */
export function formatTime(time: Date): string {
  return time.toISOString().replace(/[.]\d{3}Z$/, "Z");
}
