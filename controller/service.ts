/**
 * One Service: whether it is ours, what it asks for, whether it may keep what it has, and what it
 * gets. Nothing here writes to the API; the decision is data, with a reason for each outcome.
 */
import type { Condition } from "../api/condition.ts";
import type { ObjectMeta } from "../api/object.ts";
import type { AddressReason, ServiceReason } from "../api/reason.ts";
import { ADDRESS_ASSIGNED, ANNOUNCED } from "../api/service-condition.ts";
import { familyOf, parseAddress, type Address, type Family } from "../packet/address/address.ts";
import { quote } from "../packet/address/parsed.ts";
import {
  formatRefusal,
  type AddressRequest,
  type Allocator,
  type Assignment,
  type Granted,
  type Refusal,
} from "./allocator.ts";
import { FAMILY_NAMES } from "./pool.ts";
import type { SharingTerms } from "./sharing.ts";

/** Prefix of our annotations. */
export const PREFIX = "metallb.io";
/** The prefix before MetalLB 0.14.9, still read. */
export const OLD_PREFIX = "metallb.universe.tf";
/** Annotation that the controller writes: the pool of the Service's addresses. */
export const POOL_ANNOTATION = `${PREFIX}/ip-allocated-from-pool`;
/** Annotation that the controller writes: in a sentence, why the Service is or is not reachable. */
export const VERDICT_ANNOTATION = `${PREFIX}/verdict`;
/** Annotation of a user: `Reassign` gives up an automatically chosen address that is in conflict. */
export const ON_CONFLICT_ANNOTATION = `${PREFIX}/on-address-conflict`;

const ASKING = ["address-pool", "loadBalancerIPs", "allow-shared-ip"] as const;
type Asking = (typeof ASKING)[number];

/** An entry of a Service's ingress. */
export interface Ingress {
  readonly ip?: string;
  readonly hostname?: string;
}

/** What the controller reads of a Service. */
export interface ServiceObject {
  readonly metadata: Omit<ObjectMeta, "ownerReferences">;
  readonly spec?: {
    readonly type?: string;
    readonly loadBalancerClass?: string;
    readonly loadBalancerIP?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ipFamilyPolicy?: string;
    readonly externalTrafficPolicy?: string;
    readonly selector?: Readonly<Record<string, string>>;
    readonly ports?: readonly { readonly port: number; readonly protocol?: string }[];
  };
  readonly status?: {
    readonly loadBalancer?: { readonly ingress?: readonly Ingress[] };
    readonly conditions?: readonly Condition[];
  };
}

/** What shall be true of a Service. */
export interface Decision {
  /** False: whatever we wrote on it is taken back. */
  readonly ours: boolean;
  readonly reason: ServiceReason | AddressReason;
  /** For people: what it has or lacks, why, and what to do. */
  readonly message: string;
  readonly granted?: Granted;
  /** It would take more than it has as soon as something becomes free. */
  readonly waiting: boolean;
  /** Why it had to give up what it had, when it had to. */
  readonly cleared?: string;
}

/** The key of a Service, `namespace/name`. */
export function keyOf(service: ServiceObject): string {
  return `${service.metadata.namespace ?? ""}/${service.metadata.name}`;
}

/** Orders Services as they are served: the older first, then by namespace and name. */
export function compareServices(a: ServiceObject, b: ServiceObject): number {
  const rank = (service: ServiceObject): string =>
    `${service.metadata.creationTimestamp ?? ""} ${keyOf(service)}`;
  const [x, y] = [rank(a), rank(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Tells why a Service is none of ours, undefined when it is ours. */
export function estrangement(
  service: ServiceObject,
  loadBalancerClass: string,
): "NotLoadBalancer" | "ClassMismatch" | undefined {
  if (service.spec?.type !== "LoadBalancer") return "NotLoadBalancer";
  return (service.spec.loadBalancerClass ?? "") === loadBalancerClass ? undefined : "ClassMismatch";
}

/**
 * Tells whether something on a Service was written by us. The annotation with the pool is no sign of
 * that: a MetalLB that serves another class writes the same one.
 */
export function isMarked(service: ServiceObject): boolean {
  const { annotations = {} } = service.metadata;
  return (
    VERDICT_ANNOTATION in annotations ||
    (service.status?.conditions ?? []).some(
      ({ type }) => type === ADDRESS_ASSIGNED || type === ANNOUNCED,
    )
  );
}

/** Reads the addresses that a Service shows in the API. */
export function publishedBy(service: ServiceObject): Address[] {
  return (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => {
    const parsed = parseAddress(ip ?? "");
    return parsed.ok ? [parsed.value] : [];
  });
}

/** Names the deprecated annotations that a Service asks with. */
export function deprecatedAnnotations(service: ServiceObject): string[] {
  const { annotations = {} } = service.metadata;
  return ASKING.map((name) => `${OLD_PREFIX}/${name}`).filter((name) => name in annotations);
}

/** What a Service asks for, or why that cannot be made out. */
export type ReadRequest =
  | {
      readonly ok: true;
      readonly request: AddressRequest;
      /** What is wrong with the addresses asked for; the Service keeps what it has. */
      readonly problem?: string;
    }
  | Refusal;

/** Reads what a Service asks for out of its spec and annotations. */
export function readRequest(
  service: ServiceObject,
  namespaceLabels: Readonly<Record<string, string>>,
): ReadRequest {
  const { spec = {}, metadata } = service;
  const families = readFamilies(service);
  if (!Array.isArray(families)) return families;
  const pool = asked(service, "address-pool") ?? "";
  const addresses = readAddresses(service);
  const request: AddressRequest = {
    service: keyOf(service),
    namespace: metadata.namespace ?? "",
    namespaceLabels,
    labels: metadata.labels ?? {},
    families,
    oneWillDo: spec.ipFamilyPolicy === "PreferDualStack",
    terms: readTerms(service),
    ...(pool !== "" && { pool }),
  };
  if (typeof addresses === "string") return { ok: true, request, problem: addresses };
  return {
    ok: true,
    request: { ...request, ...(addresses.length > 0 && { addresses }) },
  };
}

/** Gives the value of an annotation that asks for something; the new prefix wins, even if empty. */
function asked(service: ServiceObject, name: Asking): string | undefined {
  const { annotations = {} } = service.metadata;
  return annotations[`${PREFIX}/${name}`] ?? annotations[`${OLD_PREFIX}/${name}`];
}

function readFamilies(service: ServiceObject): Family[] | Refusal {
  const { clusterIPs, clusterIP = "", ipFamilyPolicy } = service.spec ?? {};
  const texts = clusterIPs !== undefined && clusterIPs.length > 0 ? clusterIPs : [clusterIP];
  const families: Family[] = [];
  for (const text of texts) {
    const parsed = parseAddress(text);
    if (!parsed.ok) {
      const message = `the Service has no cluster address to take the family from (${quote(text)})`;
      return { ok: false, reason: "FamilyMismatch", message };
    }
    families.push(familyOf(parsed.value));
  }
  if (ipFamilyPolicy === "RequireDualStack" && families.length < 2) {
    const message =
      "ipFamilyPolicy is RequireDualStack, but the Service has cluster addresses of one family only";
    return { ok: false, reason: "FamilyMismatch", message };
  }
  return families;
}

function readTerms(service: ServiceObject): SharingTerms {
  const { externalTrafficPolicy, selector = {}, ports = [] } = service.spec ?? {};
  const pairs = Object.entries(selector).map(([key, value]) => `${key}=${value}`);
  return {
    key: asked(service, "allow-shared-ip") ?? "",
    backend: externalTrafficPolicy === "Local" ? pairs.sort().join(",") : "",
    ports: ports.map(({ port, protocol = "TCP" }) => `${protocol}/${port}`),
  };
}

/** Reads the addresses asked for. @returns a text: what is wrong with them */
function readAddresses(service: ServiceObject): Address[] | string {
  const field = service.spec?.loadBalancerIP ?? "";
  const annotation = asked(service, "loadBalancerIPs") ?? "";
  if (field !== "" && annotation !== "") {
    return "both spec.loadBalancerIP and annotation metallb.io/loadBalancerIPs are set: remove one of them";
  }
  const source = field === "" ? "annotation metallb.io/loadBalancerIPs" : "spec.loadBalancerIP";
  const texts = (field === "" ? annotation.split(",") : [field]).map((text) => text.trim());
  if (texts.length === 1 && texts[0] === "") return [];
  if (texts.length > 2)
    return `${source} names ${texts.length} addresses: name at most one a family`;
  const addresses: Address[] = [];
  for (const text of texts) {
    const parsed = parseAddress(text);
    if (!parsed.ok) return `${source}: ${parsed.message}`;
    addresses.push(parsed.value);
  }
  const [first, second] = addresses.map(familyOf);
  if (first !== second || second === undefined) return addresses;
  return `${source} names two ${FAMILY_NAMES[second]} addresses (${addresses.join(", ")}): name at most one a family`;
}

/** What became of a Service's claim to what it had. */
export type Kept =
  | { readonly kept: true; readonly decision: Decision }
  /** It has less than it wants, or nothing: {@link acquire} decides. */
  | { readonly kept: false; readonly cleared?: string };

/**
 * Lets a Service keep what it holds or, when the book does not know it yet, what it publishes: first
 * half of a decision, taken for all holders before {@link acquire} gives anything to anyone.
 */
export function keep(
  service: ServiceObject,
  read: ReadRequest,
  allocator: Allocator,
  now: number,
): Kept {
  const key = keyOf(service);
  const current = allocator.holding(key)?.addresses ?? publishedBy(service);
  if (!read.ok) {
    allocator.release(key, now);
    const decision = { ours: true, reason: read.reason, message: read.message, waiting: false };
    const cleared = current.length > 0 && { cleared: read.message };
    return { kept: true, decision: { ...decision, ...cleared } };
  }
  if (current.length === 0) return { kept: false };
  const { request, problem } = read;
  const fitting = fit(request, current);
  const claimed = claim(request, fitting, allocator, now);
  const why = claimed.ok ? mismatch(request, claimed) : formatRefusal(claimed);
  if (!claimed.ok || why !== undefined) {
    allocator.release(key, now);
    return { kept: false, cleared: why ?? "" };
  }
  if (problem !== undefined) {
    const message = `${problem}; it keeps ${claimed.addresses.join(" and ")}`;
    const decision = { ours: true, reason: "InvalidRequest", message, granted: claimed } as const;
    return { kept: true, decision: { ...decision, waiting: false } };
  }
  if (fitting.length < request.families.length) return { kept: false };
  if (wantsAnother(service, request, claimed, allocator)) return { kept: false };
  return { kept: true, decision: assigned(claimed) };
}

/** Keeps one address a family, of the families that the Service has now, in their order. */
function fit(request: AddressRequest, current: readonly Address[]): Address[] {
  const families = new Set(request.families);
  return current.filter((address) => families.delete(familyOf(address)));
}

function claim(
  request: AddressRequest,
  addresses: readonly Address[],
  allocator: Allocator,
  now: number,
): Assignment {
  if (addresses.length > 0) return allocator.claim(request, addresses, now);
  const wanted = request.families.map((family) => FAMILY_NAMES[family]).join(" and ");
  const message = `the Service now needs ${wanted} addresses`;
  return { ok: false, reason: "FamilyMismatch", message };
}

/** Tells why a Service does not want what it holds any more. */
function mismatch(request: AddressRequest, granted: Granted): string | undefined {
  if (request.pool !== undefined && request.pool !== granted.pool) {
    return `annotation metallb.io/address-pool now asks for pool ${quote(request.pool)}`;
  }
  const { addresses } = request;
  if (addresses === undefined) return undefined;
  const same =
    addresses.length === granted.addresses.length &&
    addresses.every((address) => granted.addresses.includes(address));
  return same ? undefined : `the Service now asks for ${addresses.join(" and ")}`;
}

function wantsAnother(
  service: ServiceObject,
  request: AddressRequest,
  granted: Granted,
  allocator: Allocator,
): boolean {
  const asks = service.metadata.annotations?.[ON_CONFLICT_ANNOTATION] === "Reassign";
  if (!asks || request.addresses !== undefined) return false;
  return granted.addresses.some((address) => allocator.isQuarantined(address));
}

/** What a decision depends on beside the Service and the book. */
export interface Circumstances {
  readonly now: number;
  /** Pools that exist as objects but are not in effect. */
  readonly invalidPools: ReadonlySet<string>;
}

/** Gives a Service what it lacks, or says why not: second half of a decision. */
export function acquire(
  service: ServiceObject,
  read: ReadRequest & { readonly ok: true },
  allocator: Allocator,
  circumstances: Circumstances,
): Decision {
  const { request, problem } = read;
  const { now, invalidPools } = circumstances;
  const held = allocator.holding(request.service);
  if (held !== undefined) return improve(service, request, held, allocator, now);
  if (problem !== undefined)
    return refused({ ok: false, reason: "InvalidRequest", message: problem });
  if (request.pool !== undefined && invalidPools.has(request.pool)) {
    const message = `pool ${request.pool} is not in effect: its condition Valid says why`;
    return refused({ ok: false, reason: "PoolInvalid", message });
  }
  return granted(request, allocator.allocate(request, now), allocator, now);
}

/** For a holder that lacks a family, or whose address is in conflict. */
function improve(
  service: ServiceObject,
  request: AddressRequest,
  held: Granted,
  allocator: Allocator,
  now: number,
): Decision {
  if (wantsAnother(service, request, held, allocator)) {
    const other = replaceConflicting(request, held, allocator, now);
    if (other.ok) return { ...assigned(other), cleared: "another host on the LAN uses it" };
    return { ...assigned(held, formatRefusal(other)), waiting: true };
  }
  if (held.addresses.length >= request.families.length) return assigned(held);
  return complete(request, held, allocator, now);
}

/** Only what is in conflict, if its pool has another; else all of it, of another pool. */
function replaceConflicting(
  request: AddressRequest,
  held: Granted,
  allocator: Allocator,
  now: number,
): Assignment {
  const unwanted = held.addresses.filter((address) => allocator.isQuarantined(address));
  const other = allocator.exchange(request, unwanted, now);
  if (other.ok) return other;
  const oneWillDo = request.oneWillDo && held.addresses.length < request.families.length;
  return allocator.allocate({ ...request, oneWillDo }, now);
}

/** Adds the missing family from the same pool; where both are required, else from another pool. */
function complete(
  request: AddressRequest,
  held: Granted,
  allocator: Allocator,
  now: number,
): Decision {
  const extended = allocator.extend(request, now);
  if (extended.ok) return assigned(extended);
  const why = formatRefusal(extended);
  if (request.oneWillDo) return { ...assigned(held, why), waiting: true };
  allocator.release(request.service, now);
  return { ...granted(request, allocator.allocate(request, now), allocator, now), cleared: why };
}

function granted(
  request: AddressRequest,
  assignment: Assignment,
  allocator: Allocator,
  now: number,
): Decision {
  if (!assignment.ok) return refused(assignment);
  if (assignment.addresses.length >= request.families.length) return assigned(assignment);
  return complete(request, assignment, allocator, now);
}

function assigned(held: Granted, lacking?: string): Decision {
  const what = `${held.addresses.join(" and ")} assigned from pool ${held.pool}`;
  return {
    ours: true,
    reason: "Assigned",
    message: lacking === undefined ? what : `${what}, and no more than that: ${lacking}`,
    granted: held,
    waiting: false,
  };
}

/** Reasons that somebody else's release can take away. */
const PASSING: ReadonlySet<Decision["reason"]> = new Set([
  "PoolExhausted",
  "AddressInUse",
  "SharingRefused",
  "AddressConflict",
] as const);

function refused(refusal: Refusal): Decision {
  const { reason } = refusal;
  return { ours: true, reason, message: formatRefusal(refusal), waiting: PASSING.has(reason) };
}
