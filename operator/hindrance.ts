/** Finds out which pods do not become ready, and why, in words that help. */
import type { Component } from "./desired/ownership.ts";

/** How long a pod may take to become ready before it counts as one that does not. */
export const PATIENCE_MS = 60_000;

/** Why a container waits that is not going to start by itself. */
const HOPELESS = new Set([
  "ErrImagePull",
  "ImagePullBackOff",
  "InvalidImageName",
  "ErrImageNeverPull",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
  "CrashLoopBackOff",
]);

/** A Pod as far as it matters here. */
export interface ObservedPod {
  readonly metadata: {
    readonly name: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly nodeName?: string } | undefined;
  readonly status?:
    | {
        readonly phase?: string;
        readonly conditions?: readonly {
          readonly type: string;
          readonly status: string;
          readonly lastTransitionTime?: string;
          readonly message?: string;
        }[];
        readonly containerStatuses?: readonly {
          readonly state?: {
            readonly waiting?: { readonly reason?: string; readonly message?: string };
          };
          readonly lastState?: {
            readonly terminated?: { readonly exitCode?: number; readonly message?: string };
          };
        }[];
      }
    | undefined;
}

/** A pod that does not become ready. */
export interface Hindrance {
  readonly pod: string;
  /** Node, or undefined while there is none. */
  readonly node: string | undefined;
  /** Why, as far as Kubernetes tells. */
  readonly why: string;
}

/** What {@link findHindrances} gives. */
export interface Hindrances {
  readonly found: readonly Hindrance[];
  /** When a pod that is still given time has had enough of it. */
  readonly lookAgainMs: number | undefined;
}

/**
 * Finds the pods of a program that do not become ready: those whose container cannot start, and those
 * that have not been ready for {@link PATIENCE_MS}. Pods that are being deleted do not count, nor those
 * that have ended: of an evicted one the remains stay for long after another took its place.
 */
export function findHindrances(
  pods: readonly ObservedPod[],
  component: Component,
  now: Date,
): Hindrances {
  const found: Hindrance[] = [];
  let lookAgainMs: number | undefined;
  for (const pod of pods) {
    const { metadata, spec } = pod;
    if (metadata.labels?.["component"] !== component || isReady(pod)) continue;
    if (metadata.deletionTimestamp !== undefined || hasEnded(pod)) continue;
    const hopeless = whyHopeless(pod);
    const left = PATIENCE_MS - (now.getTime() - notReadySince(pod, now));
    if (hopeless === undefined && left > 0) {
      lookAgainMs = Math.min(lookAgainMs ?? left, left);
      continue;
    }
    const why = hopeless ?? whySlow(pod);
    found.push({ pod: metadata.name, node: spec?.nodeName, why });
  }
  return { found: found.sort((a, b) => (a.pod < b.pod ? -1 : 1)), lookAgainMs };
}

function hasEnded({ status }: ObservedPod): boolean {
  return status?.phase === "Failed" || status?.phase === "Succeeded";
}

function condition(pod: ObservedPod, type: string) {
  return pod.status?.conditions?.find((each) => each.type === type);
}

function isReady(pod: ObservedPod): boolean {
  return condition(pod, "Ready")?.status === "True";
}

/** Without a time of its own a pod is not ready since it was made. */
function notReadySince(pod: ObservedPod, now: Date): number {
  const text = condition(pod, "Ready")?.lastTransitionTime ?? pod.metadata.creationTimestamp;
  return text === undefined ? now.getTime() : Date.parse(text);
}

function whyHopeless({ status }: ObservedPod): string | undefined {
  for (const { state, lastState } of status?.containerStatuses ?? []) {
    const { reason = "", message } = state?.waiting ?? {};
    if (!HOPELESS.has(reason)) continue;
    const last = lastState?.terminated?.message;
    return [reason, firstLine(last ?? message)].filter((part) => part !== "").join(": ");
  }
  return undefined;
}

function whySlow(pod: ObservedPod): string {
  for (const type of ["PodScheduled", "Initialized", "Ready"]) {
    const { status, message = "" } = condition(pod, type) ?? {};
    if (status === "False" && message !== "") return firstLine(message);
  }
  return "not ready for more than a minute";
}

const MAX_REASON = 200;

function firstLine(text = ""): string {
  const line = text.trim().split("\n")[0] ?? "";
  return line.length > MAX_REASON ? `${line.slice(0, MAX_REASON)}…` : line;
}
