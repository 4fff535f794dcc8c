/**
 * All Services together: who is decided when, and in which order.
 *
 * - Everything observed only marks a Service; {@link Convergence.settle} decides all marked ones at
 *   once: first who is not ours any more lets go, then holders keep what they have, the oldest first,
 *   and only then newcomers, those who lost an address and those who wait are served, the oldest
 *   first. What order events came in makes no difference.
 * - An address is free for others only when its last holder shows it no more: what a Service publishes
 *   is what its object shows plus what a write under way, or of unknown outcome, may make it show.
 *
 * No clock, no API: the shell tells what is observed and written, and asks for decisions.
 */
import type { Address } from "../packet/address/address.ts";
import { Allocator } from "./allocator.ts";
import type { Pool } from "./pool.ts";
import {
  acquire,
  compareServices,
  estrangement,
  isMarked,
  keep,
  keyOf,
  publishedBy,
  readRequest,
  type Decision,
  type ReadRequest,
  type ServiceObject,
} from "./service.ts";

interface Case {
  service: ServiceObject;
  decision: Decision | undefined;
  /** Addresses that a write on top of version `base` may have made, or may still make, visible. */
  writing: readonly Address[];
  base: string | undefined;
}

interface Applicant {
  readonly each: Case;
  readonly read: ReadRequest & { readonly ok: true };
  readonly cleared?: string;
}

const NO_LABELS: Readonly<Record<string, string>> = {};

/** The state of all Services that are, or were, ours. */
export class Convergence {
  /** The book. Read it for counts and holders; only this class changes it. */
  readonly allocator = new Allocator();
  readonly #cases = new Map<string, Case>();
  readonly #marked = new Set<string>();
  readonly #waiting = new Set<string>();
  readonly #labels = new Map<string, Readonly<Record<string, string>>>();
  #class = "";
  /** Some pool looks at labels of namespaces. */
  #needsLabels = false;
  #invalidPools: ReadonlySet<string> = new Set();
  #freed = 0;

  /**
   * Changes pools, given in the order in which they are tried, and class. Everything known is decided
   * again; with another class, observe all Services again, for the strangers are not remembered.
   */
  configure(pools: readonly Pool[], loadBalancerClass: string): void {
    this.#class = loadBalancerClass;
    this.#needsLabels = pools.some(({ namespaceSelectors }) => namespaceSelectors.length > 0);
    this.allocator.setPools(pools);
    for (const key of this.#cases.keys()) this.#marked.add(key);
  }

  /** Names the pools that exist as objects but are not in effect. */
  setInvalidPools(names: ReadonlySet<string>): void {
    this.#invalidPools = names;
    for (const [key, { decision }] of this.#cases) {
      if (decision?.reason === "NoPool" || decision?.reason === "PoolInvalid")
        this.#marked.add(key);
    }
  }

  /** Takes the labels of a namespace, which selectors of pools look at; undefined when it is gone. */
  setNamespaceLabels(
    namespace: string,
    labels: Readonly<Record<string, string>> | undefined,
  ): void {
    if (labels === undefined) this.#labels.delete(namespace);
    else this.#labels.set(namespace, labels);
    for (const [key, { service }] of this.#cases) {
      if (service.metadata.namespace === namespace) this.#marked.add(key);
    }
  }

  /** Sets which addresses other hosts on the LAN use; who holds one is decided again. */
  setQuarantined(addresses: ReadonlySet<Address>): void {
    this.allocator.setQuarantined(addresses);
    for (const [key, { decision }] of this.#cases) {
      const held = decision?.granted?.addresses ?? [];
      if (held.some((address) => addresses.has(address))) this.#marked.add(key);
    }
  }

  /** Takes the first, or a new, version of a Service. Never an older one than was written. */
  observe(service: ServiceObject, now: number): void {
    const key = keyOf(service);
    const known = this.#cases.get(key);
    const stranger = estrangement(service, this.#class) !== undefined && !isMarked(service);
    // The same name with another uid is another Service: the old one is gone with all it had.
    if (stranger || known?.service.metadata.uid !== service.metadata.uid) this.forget(key, now);
    if (stranger) return;
    const each = this.#cases.get(key) ?? {
      service,
      decision: undefined,
      writing: [],
      base: undefined,
    };
    // A write on top of another version is either in this one or will be refused.
    if (service.metadata.resourceVersion !== each.base) each.writing = [];
    each.service = service;
    this.#cases.set(key, each);
    this.#publish(key, each, now);
    this.#marked.add(key);
  }

  /**
   * Takes what a write on top of version `base` answered. If something else has been observed since,
   * that is this version, or a newer one, or the end of the Service: the answer came late.
   * @returns whether it was taken
   */
  observeWritten(service: ServiceObject, base: string | undefined, now: number): boolean {
    const known = this.#cases.get(keyOf(service))?.service.metadata;
    if (known === undefined || known.resourceVersion !== base) return false;
    this.observe(service, now);
    return true;
  }

  /** Lets a Service that is gone go, with everything it had. */
  forget(key: string, now: number): void {
    this.#cases.delete(key);
    this.#marked.delete(key);
    this.#waiting.delete(key);
    this.allocator.release(key, now);
    this.allocator.publish(key, [], now);
  }

  /** Notes that what was decided for a Service is about to be written. */
  beginWrite(key: string, now: number): void {
    const each = this.#cases.get(key);
    if (each === undefined) return;
    const { resourceVersion } = each.service.metadata;
    const before = each.base === resourceVersion ? each.writing : [];
    each.base = resourceVersion;
    each.writing = [...new Set([...before, ...(each.decision?.granted?.addresses ?? [])])];
    this.#publish(key, each, now);
  }

  /**
   * Tells whether an address is kept from others for nothing but a write whose answer never came,
   * and which no later write will follow: find out, then call {@link Convergence.endWrite}.
   */
  isUncertain(key: string): boolean {
    const each = this.#cases.get(key);
    if (each === undefined) return false;
    const certain = [...publishedBy(each.service), ...(each.decision?.granted?.addresses ?? [])];
    return each.writing.some((address) => !certain.includes(address));
  }

  /** Notes that no write on top of the present version is under way, or can still arrive. */
  endWrite(key: string, now: number): void {
    const each = this.#cases.get(key);
    if (each === undefined) return;
    each.writing = [];
    this.#publish(key, each, now);
  }

  /** Tells whether something about a Service changed since it was decided: settle before it is written. */
  isDue(key: string): boolean {
    return this.#marked.has(key);
  }

  /** Gives the last decision about a Service, undefined while there is none. */
  decision(key: string): Decision | undefined {
    return this.#cases.get(key)?.decision;
  }

  /** Gives the last version of a Service that is, or was, ours. */
  service(key: string): ServiceObject | undefined {
    return this.#cases.get(key)?.service;
  }

  /** Names all Services that are, or were, ours. */
  keys(): Iterable<string> {
    return this.#cases.keys();
  }

  /** How many of our Services have no address at all. */
  get unserved(): number {
    let unserved = 0;
    for (const { decision } of this.#cases.values())
      if (decision?.ours === true && decision.granted === undefined) unserved++;
    return unserved;
  }

  /** Gives when an address that rests becomes free by itself; settle again then. */
  wakeAt(now: number): number | undefined {
    return this.allocator.expire(now);
  }

  /**
   * Decides all Services about which something changed, and those that wait if something became free.
   * @returns the keys of those that were decided anew
   */
  settle(now: number): string[] {
    this.allocator.expire(now);
    const decided = new Set(this.#marked);
    const applicants = this.#keepAll(now);
    // Whoever was passed over before may be served now that holders let go.
    if (this.allocator.freed !== this.#freed) applicants.push(...this.#waiters(decided));
    applicants.sort((a, b) => compareServices(a.each.service, b.each.service));
    for (const { each, read, cleared } of applicants) {
      const circumstances = { now, invalidPools: this.#invalidPools };
      const decision = acquire(each.service, read, this.allocator, circumstances);
      const key = keyOf(each.service);
      const after = cleared === undefined ? decision : { ...decision, cleared };
      if (!decided.has(key) && !sameDecision(each.decision, after)) decided.add(key);
      this.#decide(key, each, after);
    }
    this.#freed = this.allocator.freed;
    return [...decided];
  }

  /** First half: strangers let go, holders keep; the others apply. */
  #keepAll(now: number): Applicant[] {
    const cases = [...this.#marked].flatMap((key) => this.#cases.get(key) ?? []);
    this.#marked.clear();
    cases.sort((a, b) => compareServices(a.service, b.service));
    const ours: Case[] = [];
    for (const each of cases) {
      const reason = estrangement(each.service, this.#class);
      if (reason !== undefined) this.#estrange(each, reason, now);
      // Its turn comes with the labels: there is no Service without a namespace.
      else if (this.#isNamespaceKnown(each.service)) ours.push(each);
    }
    const applicants: Applicant[] = [];
    for (const each of ours) {
      const read = this.#read(each.service);
      const kept = keep(each.service, read, this.allocator, now);
      if (kept.kept) this.#decide(keyOf(each.service), each, kept.decision);
      else if (read.ok) {
        applicants.push({
          each,
          read,
          ...(kept.cleared !== undefined && { cleared: kept.cleared }),
        });
      }
    }
    return applicants;
  }

  #isNamespaceKnown({ metadata }: ServiceObject): boolean {
    return !this.#needsLabels || this.#labels.has(metadata.namespace ?? "");
  }

  #waiters(except: ReadonlySet<string>): Applicant[] {
    return [...this.#waiting].flatMap((key): Applicant[] => {
      const each = except.has(key) ? undefined : this.#cases.get(key);
      if (each !== undefined && !this.#isNamespaceKnown(each.service)) return [];
      const read = each && this.#read(each.service);
      return each !== undefined && read?.ok === true ? [{ each, read }] : [];
    });
  }

  #estrange(each: Case, reason: "NotLoadBalancer" | "ClassMismatch", now: number): void {
    const key = keyOf(each.service);
    this.allocator.release(key, now);
    const message =
      reason === "NotLoadBalancer"
        ? "the Service is not of type LoadBalancer"
        : "the Service is of another load balancer class";
    this.#decide(key, each, { ours: false, reason, message, waiting: false, cleared: message });
  }

  #decide(key: string, each: Case, decision: Decision): void {
    each.decision = decision;
    if (decision.waiting) this.#waiting.add(key);
    else this.#waiting.delete(key);
  }

  #read(service: ServiceObject): ReadRequest {
    const labels = this.#labels.get(service.metadata.namespace ?? "") ?? NO_LABELS;
    return readRequest(service, labels);
  }

  /** What others put into the status of a Service that never was ours is none of our business. */
  #publish(key: string, each: Case, now: number): void {
    this.allocator.publish(key, [...publishedBy(each.service), ...each.writing], now);
  }
}

function sameDecision(a: Decision | undefined, b: Decision): boolean {
  return (
    a?.reason === b.reason &&
    a.message === b.message &&
    a.granted?.addresses.join() === b.granted?.addresses.join()
  );
}
