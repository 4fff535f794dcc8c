/** What the operator says about the objects that people write: pure, from what it observed. */
import type { AddressPoolStatus } from "../api/address-pool.ts";
import { setCondition, type Condition } from "../api/condition.ts";
import type { MetalLBStatus } from "../api/metallb.ts";
import type { ObjectMeta } from "../api/object.ts";
import type { ObjectReason, PreflightReason } from "../api/reason.ts";
import { abridged } from "./config.ts";
import type { Component } from "./desired/ownership.ts";
import type { Hindrance } from "./hindrance.ts";
import type { Finding } from "./preflight.ts";

/** Something that stands in the way; the message names the object and the remedy. */
export interface Trouble {
  readonly reason: ObjectReason;
  readonly message: string;
}

/** How far the pods of a program are. */
export interface Readiness {
  readonly component: Component;
  /** Pods that there should be; undefined while Kubernetes has not counted them. */
  readonly desired: number | undefined;
  /** Pods of the newest revision. */
  readonly updated: number;
  /** Pods that are ready, of whichever revision. */
  readonly ready: number;
  /** All pods are of the newest revision and ready. */
  readonly finished: boolean;
  /** Pods are replaced when somebody deletes them, not by themselves. */
  readonly waits?: boolean;
}

/** A Deployment as far as it matters here. */
export interface ObservedDeployment {
  readonly metadata: { readonly generation?: number };
  readonly spec?: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly readyReplicas?: number;
    readonly updatedReplicas?: number;
  };
}

/** A DaemonSet as far as it matters here. */
export interface ObservedDaemonSet {
  readonly metadata: { readonly generation?: number };
  readonly spec?: { readonly updateStrategy?: { readonly type?: string } };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly desiredNumberScheduled?: number;
    readonly currentNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberReady?: number;
  };
}

/** Reads how far the controller is. */
export function controllerReadiness(deployment: ObservedDeployment | undefined): Readiness {
  const { observedGeneration, replicas = 0, readyReplicas: ready = 0 } = deployment?.status ?? {};
  const updated = deployment?.status?.updatedReplicas ?? 0;
  const wanted = deployment?.spec?.replicas ?? 1;
  const settled = [replicas, updated, ready].every((count) => count === wanted);
  return {
    component: "controller",
    desired: observedGeneration === undefined ? undefined : wanted,
    updated,
    ready,
    finished: settled && isCounted(deployment),
  };
}

/** Reads how far the speakers are. */
export function speakerReadiness(daemonSet: ObservedDaemonSet | undefined): Readiness {
  const { observedGeneration, numberReady: ready = 0 } = daemonSet?.status ?? {};
  const wanted = daemonSet?.status?.desiredNumberScheduled ?? 0;
  const current = daemonSet?.status?.currentNumberScheduled ?? 0;
  const updated = daemonSet?.status?.updatedNumberScheduled ?? 0;
  const settled = [current, updated, ready].every((count) => count === wanted);
  return {
    component: "speaker",
    desired: observedGeneration === undefined ? undefined : wanted,
    updated,
    ready,
    finished: settled && isCounted(daemonSet),
    waits: daemonSet?.spec?.updateStrategy?.type === "OnDelete" && ready === wanted,
  };
}

/** Tells whether the counts in an object's status are about its present spec. */
function isCounted(object: ObservedDeployment | ObservedDaemonSet | undefined): boolean {
  const generation = object?.metadata.generation;
  return generation !== undefined && object?.status?.observedGeneration === generation;
}

/** All that the status of the MetalLB object is made of. */
export interface Observation {
  readonly generation: number | undefined;
  /** Version of the operator. */
  readonly version: string;
  readonly readiness: readonly Readiness[];
  /** Images that are wanted. */
  readonly images: Readonly<Record<Component, string>>;
  readonly troubles: readonly Trouble[];
  /** Pods that do not become ready, by program. */
  readonly hindrances?: Readonly<Partial<Record<Component, readonly Hindrance[]>>>;
  /** What was found in the way; undefined while nobody has looked. */
  readonly findings?: readonly Finding[];
  /** Who has not taken up the speakers' next key, if there is one. */
  readonly keyLaggards?: readonly string[];
  /** Whether the spec asks to leave everything as it is. */
  readonly paused?: boolean;
}

/**
 * Concludes the status of the MetalLB object.
 * @param before its status until now: transition times move only when an answer changes
 */
export function metallbStatus(
  observation: Observation,
  before: MetalLBStatus | undefined,
  now: Date,
): MetalLBStatus {
  const { generation, version, readiness, images } = observation;
  const counts = readiness.map(({ component, desired = 0, updated, ready }) => {
    return [component, { desired, updated, ready, image: images[component] }] as const;
  });
  return {
    ...withGeneration(generation),
    version,
    conditions: metallbConditions(observation, before?.conditions ?? [], now),
    ...Object.fromEntries(counts),
  };
}

const PAUSED: Trouble = {
  reason: "Paused",
  message: "spec.paused is true: nothing is rolled out or repaired until it is false",
};

function metallbConditions(
  observation: Observation,
  before: readonly Condition[],
  now: Date,
): Condition[] {
  const { generation, readiness, troubles: faults } = observation;
  const { hindrances = {}, findings, keyLaggards = [], paused = false } = observation;
  const wasAvailable = before.some(({ type, status }) => type === "Available" && status === "True");
  const available = readiness.every((one) => isAvailable(one, wasAvailable));
  const finished = readiness.every((one) => one.finished);
  const counts = readiness.map(formatReadiness).join(", ");
  const stuck = readiness.flatMap((one) => stall(one, hindrances[one.component] ?? []));
  const troubles = [...faults, ...stuck];
  const trouble = troubles.map(({ message }) => message).join("; ");
  const why = troubles[0]?.reason ?? (finished ? "Available" : "RollingOut");
  const healthy = available && finished && troubles.length === 0;
  const upgradeable: Conclusion = healthy
    ? ["Upgradeable", true, why, ""]
    : ["Upgradeable", false, why, trouble || `waiting for the rollout: ${counts}`];
  return concluded(before, now, generation, [
    ["Available", available, available ? "Available" : why, counts],
    paused ? ["Upgradeable", false, PAUSED.reason, PAUSED.message] : upgradeable,
    paused
      ? ["Progressing", false, PAUSED.reason, PAUSED.message]
      : progress(finished, stuck, counts, keyLaggards),
    ["Degraded", troubles.length > 0, why, trouble],
    ...(findings === undefined ? [] : [preflightConclusion(findings)]),
  ]);
}

/** Each finding with its own reason; the condition's is that of the gravest. */
function preflightConclusion(findings: readonly Finding[]): Conclusion {
  const [gravest] = findings;
  if (gravest === undefined) return ["PreflightPassed", true, "NothingFound", ""];
  const texts = findings.map(({ reason, message }) => `${reason}: ${message}`);
  return ["PreflightPassed", false, gravest.reason, texts.join("; ")];
}

/** By Kubernetes' conventions a rollout that is stuck makes no progress. */
function progress(
  finished: boolean,
  stuck: readonly Trouble[],
  counts: string,
  keyLaggards: readonly string[],
): Conclusion {
  if (finished && keyLaggards.length > 0) {
    const message = `the speakers' key is being changed; not taken up yet by ${abridged(keyLaggards)}`;
    return ["Progressing", true, "RotatingKey", message];
  }
  if (finished) return ["Progressing", false, "Available", ""];
  const stalled = stuck.find(({ reason }) => reason === "RolloutStalled");
  if (stalled !== undefined) return ["Progressing", false, stalled.reason, stalled.message];
  return ["Progressing", true, "RollingOut", counts];
}

/** What pods that do not become ready mean for their program: those of a new version stop its rollout. */
function stall(readiness: Readiness, hindrances: readonly Hindrance[]): Trouble[] {
  const [first] = hindrances;
  if (first === undefined) return [];
  const { component, desired = 0, updated } = readiness;
  const where =
    first.node === undefined ? `pod ${first.pod}` : `on node ${first.node} (pod ${first.pod})`;
  const more = hindrances.length > 1 ? ` and ${hindrances.length - 1} more` : "";
  const what = `${component} ${where}${more} does not become ready: ${first.why}`;
  if (updated >= desired) {
    return [{ reason: "PodsNotReady", message: `${what}: look at its log, and at its node` }];
  }
  const message = `${what}: the rollout stops at ${updated} of ${desired} until this is mended`;
  return [{ reason: "RolloutStalled", message }];
}

/**
 * A planned update takes the speakers one by one, and a node may be down: an installation that was
 * available stays so with one speaker short, as long as there is another. Where no node is selected
 * nothing is missing, as MetalLB's operator has it; the message says so.
 */
function isAvailable({ component, desired, ready }: Readiness, wasAvailable: boolean): boolean {
  if (desired === undefined) return false;
  if (ready >= desired) return true;
  return component === "speaker" && wasAvailable && ready >= 1 && ready >= desired - 1;
}

function formatReadiness(readiness: Readiness): string {
  const { component, desired, updated, ready, waits = false } = readiness;
  if (desired === undefined) return `${component}: not started yet`;
  if (component === "speaker" && desired === 0)
    return "speaker: to run on no node: look at spec.nodeSelector and spec.speakerTolerations";
  const counts = `${component}: ${ready} of ${desired} ready`;
  if (updated >= desired) return counts;
  const remedy = waits ? ": delete the pods of the others to replace them" : "";
  return `${counts}, ${updated} up to date${remedy}`;
}

/**
 * Finds out why an object has no effect, because of where or what it is.
 * @param namespace the operator's
 * @param name the one name that counts; absent: any does
 */
export function misplaced(
  { kind, metadata }: { readonly kind: string; readonly metadata: ObjectMeta },
  namespace: string,
  name?: string,
): Trouble | undefined {
  if (metadata.namespace !== namespace) {
    const message = `${kind} objects count in namespace ${namespace} only: make it there, and delete this one`;
    return { reason: "WrongNamespace", message };
  }
  if (name === undefined || metadata.name === name) return undefined;
  const message = `the one ${kind} object is named ${name}: rename this one, or delete it`;
  return { reason: "WrongName", message };
}

/** Concludes the status of a MetalLB object that has no effect, because of where or what it is. */
export function ineffectiveStatus(
  { reason, message }: Trouble,
  generation: number | undefined,
  before: MetalLBStatus | undefined,
  now: Date,
): MetalLBStatus {
  const conditions = concluded(before?.conditions ?? [], now, generation, [
    ["Available", false, reason, message],
    ["Upgradeable", false, reason, message],
    ["Progressing", false, reason, message],
    ["Degraded", true, reason, message],
  ]);
  return { ...withGeneration(generation), conditions };
}

/** What keeps a pool from being used although nothing is wrong with it. */
export type Suspension = "uninstalled" | "paused";

const SUSPENSIONS: Readonly<Record<Suspension, string>> = {
  uninstalled: "without a MetalLB object nothing uses it yet",
  paused: "changes take effect when spec.paused of the MetalLB object is false",
};

/** What the operator found out about one pool. */
export interface PoolObservation extends Trouble {
  /** Addresses of the form in effect; undefined: none is. */
  readonly inEffect: readonly string[] | undefined;
  /** Whether that form is the one that is written. */
  readonly asWritten: boolean;
}

/**
 * Concludes the part of an AddressPool's status that is the operator's: `Valid`, and `InEffect`, which
 * is true when the pool is in effect as it is written.
 * @param suspension why nothing takes effect, if so
 */
export function poolStatus(
  observation: PoolObservation,
  suspension: Suspension | undefined,
  generation: number | undefined,
  before: AddressPoolStatus | undefined,
  now: Date,
): AddressPoolStatus {
  const { reason, message } = observation;
  const isValid = reason === "Valid";
  const effect = suspension === undefined ? "" : `; ${SUSPENSIONS[suspension]}`;
  const text = isValid ? `${message}${effect}` : message;
  const conditions = concluded(before?.conditions ?? [], now, generation, [
    ["Valid", isValid, reason, text],
    inEffectConclusion(observation, suspension),
  ]);
  return { ...withGeneration(generation), conditions };
}

function inEffectConclusion(
  { inEffect, asWritten }: PoolObservation,
  suspension: Suspension | undefined,
): Conclusion {
  if (suspension === "uninstalled") return ["InEffect", false, "NoEffect", SUSPENSIONS.uninstalled];
  if (inEffect === undefined) {
    const message =
      suspension === undefined ? "no form of the pool is in effect" : SUSPENSIONS[suspension];
    return ["InEffect", false, "NoEffect", message];
  }
  if (asWritten) return ["InEffect", true, "AsWritten", ""];
  return ["InEffect", false, "FormerForm", `in effect are ${abridged(inEffect)}`];
}

type Conclusion = readonly [
  type: string,
  answer: boolean,
  reason: ObjectReason | PreflightReason,
  message: string,
];

/** Keeps the order of the conclusions, and no condition that is not among them. */
function concluded(
  before: readonly Condition[],
  now: Date,
  generation: number | undefined,
  conclusions: readonly Conclusion[],
): Condition[] {
  return conclusions.flatMap(([type, answer, reason, message]) => {
    const same = before.filter((condition) => condition.type === type);
    const status = answer ? ("True" as const) : ("False" as const);
    const observed = { type, status, reason, message, ...withGeneration(generation) };
    return setCondition(same, observed, now);
  });
}

function withGeneration(generation: number | undefined): { observedGeneration?: number } {
  return generation === undefined ? {} : { observedGeneration: generation };
}
