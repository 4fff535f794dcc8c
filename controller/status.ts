/**
 * From a decision to the one write that makes it so: what differs between a Service as it is and as
 * it shall be, and which events tell of the difference. No difference: no write and no event.
 */
import {
  setConditions,
  type Condition,
  type ConditionStatus,
  type ObservedCondition,
} from "../api/condition.ts";
import { ADDRESS_ASSIGNED, ANNOUNCED } from "../api/service-condition.ts";
import type { Announcement } from "./announced.ts";
import {
  deprecatedAnnotations,
  POOL_ANNOTATION,
  PREFIX,
  publishedBy,
  VERDICT_ANNOTATION,
  type Decision,
  type Ingress,
  type ServiceObject,
} from "./service.ts";

/** A merge patch (RFC 7386) for the status subresource; the API server takes the metadata too. */
export interface ServicePatch {
  readonly metadata: {
    /** The write is refused when someone was faster. */
    readonly resourceVersion?: string;
    readonly uid?: string;
    readonly annotations?: Readonly<Record<string, string | null>>;
  };
  readonly status?: {
    readonly loadBalancer?: { readonly ingress: readonly Ingress[] | null };
    readonly conditions?: readonly Condition[] | null;
  };
}

/** What is told about a Service. Reasons are upstream's. */
export interface ServiceEvent {
  readonly type: "Normal" | "Warning";
  readonly reason:
    | "IPAllocated"
    | "ClearAssignment"
    | "AdditionalAssignFailed"
    | "AllocationFailed"
    | "LoadBalancerFailed"
    | "announceFailed"
    | "deprecatedAnnotation";
  readonly message: string;
}

/** A write and what is told when it has been done. */
export interface Change {
  readonly patch: ServicePatch;
  readonly events: readonly ServiceEvent[];
}

/** Gives what has to be written, undefined when the Service is as it shall be. */
export function changeOf(
  service: ServiceObject,
  decision: Decision,
  announcement: Announcement,
  now: Date,
): Change | undefined {
  const annotations = annotationsOf(service, decision, announcement);
  const ingress = ingressOf(service, decision);
  const conditions = conditionsOf(service, decision, announcement, now);
  if (annotations === undefined && ingress === undefined && conditions === undefined) {
    return undefined;
  }
  const { resourceVersion, uid } = service.metadata;
  const status = {
    ...(ingress !== undefined && {
      loadBalancer: { ingress: ingress.length === 0 ? null : ingress },
    }),
    ...(conditions !== undefined && { conditions: conditions.length === 0 ? null : conditions }),
  };
  return {
    patch: {
      metadata: {
        ...(resourceVersion !== undefined && { resourceVersion }),
        ...(uid !== undefined && { uid }),
        ...(annotations !== undefined && { annotations }),
      },
      ...(Object.keys(status).length > 0 && { status }),
    },
    events: [
      ...eventsOf(service, decision),
      ...announcementEvents(service, decision, announcement),
    ],
  };
}

/** Only what differs; null takes an annotation away. */
function annotationsOf(
  service: ServiceObject,
  decision: Decision,
  announcement: Announcement,
): Record<string, string | null> | undefined {
  const desired: Record<string, string | undefined> = {
    [POOL_ANNOTATION]: decision.granted?.pool,
    [VERDICT_ANNOTATION]: decision.ours ? verdictOf(decision, announcement) : undefined,
  };
  const differing = Object.entries(desired)
    .filter(([name, value]) => service.metadata.annotations?.[name] !== value)
    .map(([name, value]) => [name, value ?? null] as const);
  return differing.length === 0 ? undefined : Object.fromEntries(differing);
}

/** Says in a sentence why a Service is, or is not, reachable. */
export function verdictOf(decision: Decision, announcement: Announcement): string {
  if (decision.granted === undefined) return `No address: ${decision.message}`;
  return `${decision.message}; ${announcement.message}`;
}

/**
 * Gives the ingress to write. Only addresses are compared: API servers fill in `ipMode`, and a copy
 * without it would differ for ever. Hostnames are none of ours and go.
 * @returns undefined when it is right
 */
function ingressOf(service: ServiceObject, decision: Decision): readonly Ingress[] | undefined {
  const observed = service.status?.loadBalancer?.ingress ?? [];
  const addresses = decision.granted?.addresses ?? [];
  const same =
    observed.length === addresses.length &&
    addresses.every((address, index) => observed[index]?.ip === address);
  return same ? undefined : addresses.map((ip) => ({ ip }));
}

function conditionsOf(
  service: ServiceObject,
  decision: Decision,
  announcement: Announcement,
  now: Date,
): readonly Condition[] | undefined {
  const observed = service.status?.conditions ?? [];
  if (!decision.ours) {
    const others = observed.filter(({ type }) => type !== ADDRESS_ASSIGNED && type !== ANNOUNCED);
    return others.length === observed.length ? undefined : others;
  }
  const { granted, reason, message } = decision;
  const assigned = condition(ADDRESS_ASSIGNED, granted ? "True" : "False", reason, message);
  const announced = granted
    ? condition(ANNOUNCED, announcement.status, announcement.reason, announcement.message)
    : condition(ANNOUNCED, "False", reason, "the Service has no address");
  const desired = setConditions(observed, [assigned, announced], now);
  return desired === observed ? undefined : desired;
}

function condition(
  type: string,
  status: ConditionStatus,
  reason: string,
  message: string,
): ObservedCondition {
  return { type, status, reason, message };
}

/** Tells what becomes different, never what stays as it is. */
function eventsOf(service: ServiceObject, decision: Decision): ServiceEvent[] {
  const before = publishedBy(service);
  const after = decision.granted?.addresses ?? [];
  const lost = before.filter((address) => !after.includes(address));
  const won = after.filter((address) => !before.includes(address));
  const events: ServiceEvent[] = [];
  // The API server itself takes the addresses of a Service that changes its type.
  if (lost.length > 0 || !decision.ours) {
    const why = decision.cleared ?? decision.message;
    const what = lost.length > 0 ? lost.join(" and ") : "its address";
    const message = `Took back ${what}: ${why}`;
    events.push({ type: "Normal", reason: "ClearAssignment", message });
  }
  if (won.length > 0) {
    const message = `Assigned ${won.join(" and ")} from pool ${decision.granted?.pool ?? ""}`;
    events.push({ type: "Normal", reason: "IPAllocated", message });
  }
  if (decision.ours && saysOtherThan(service, decision)) events.push(...complaintsOf(decision));
  if (won.length > 0 || lost.length > 0) events.push(...deprecations(service));
  return events;
}

/** A Service that nobody announces, or nobody any more, or for another reason than before. */
function announcementEvents(
  service: ServiceObject,
  { granted }: Decision,
  { status, reason, message }: Announcement,
): ServiceEvent[] {
  const before = service.status?.conditions?.find(({ type }) => type === ANNOUNCED);
  if (granted === undefined || status !== "False") return [];
  if (before?.status === status && before.reason === reason) return [];
  return [{ type: "Warning", reason: "announceFailed", message }];
}

function saysOtherThan(service: ServiceObject, { reason, message }: Decision): boolean {
  const condition = service.status?.conditions?.find(({ type }) => type === ADDRESS_ASSIGNED);
  return condition?.reason !== reason || condition.message !== message;
}

function complaintsOf({ granted, reason, waiting, message }: Decision): ServiceEvent[] {
  if (reason === "InvalidRequest")
    return [{ type: "Warning", reason: "LoadBalancerFailed", message }];
  if (granted === undefined) return [{ type: "Warning", reason: "AllocationFailed", message }];
  return waiting ? [{ type: "Normal", reason: "AdditionalAssignFailed", message }] : [];
}

function deprecations(service: ServiceObject): ServiceEvent[] {
  return deprecatedAnnotations(service).map((name) => ({
    type: "Warning",
    reason: "deprecatedAnnotation",
    message: `Annotation ${name} is deprecated: use ${PREFIX}/${name.slice(name.indexOf("/") + 1)}`,
  }));
}
