/**
 * How this speaker sees the addresses of Services: what was decided from the API's objects, what the
 * speakers have settled and what the LAN says, put together for the status objects and for whoever
 * asks. It only reads.
 */
import type { NodeReason } from "../api/reason.ts";
import type { RenderedConfig } from "../api/rendered-config.ts";
import { ADDRESS_ASSIGNED } from "../api/service-condition.ts";
import type { Address } from "../packet/address/address.ts";
import { linkExclusions } from "./candidacy.ts";
import { announceableAddresses, type ServiceView } from "./facts.ts";
import { noInterface, type ListedInterface } from "./no-interface.ts";
import { type ForeignHost, type ObservedAddress, type Standing } from "./observation.ts";
import type { AddressDecision, Ownership } from "./reconcile.ts";
import type { MemberNews } from "./thread-protocol.ts";
import {
  addressVerdict,
  verdictOf,
  type AddressVerdict,
  type Verdict,
  type VerdictReason,
} from "./verdict.ts";

/** Where the view is read from. */
export interface ViewOptions {
  /** This node. */
  readonly node: string;
  readonly services: { get(key: string): ServiceView | undefined };
  readonly decisions: {
    readonly config: RenderedConfig | undefined;
    decision(address: Address): AddressDecision | undefined;
    ownership(address: Address): Ownership | undefined;
    foreign(address: Address): ForeignHost | undefined;
  };
  /** What is known of a node's speaker; undefined: it was never heard. */
  readonly member: (node: string) => MemberNews | undefined;
  /** This node hears nobody, or nobody hears it. */
  readonly isolated: () => boolean;
  /** All interfaces of this node. */
  readonly interfaces: () => readonly ListedInterface[];
  /** Those that an address is answered for on. */
  readonly interfacesOf: (address: Address) => readonly string[];
  readonly now: () => Date;
}

/** How this speaker sees addresses. */
export class SpeakerView {
  readonly #options: ViewOptions;

  /** Reads when it is asked. */
  constructor(options: ViewOptions) {
    this.#options = options;
  }

  /** The addresses of a Service that are ours to announce. */
  addressesOf(key: string): readonly Address[] {
    const { services, decisions } = this.#options;
    const service = services.get(key);
    const { config } = decisions;
    if (service === undefined || config === undefined) return [];
    return announceableAddresses(service, config["load-balancer-class"]);
  }

  /** The facts about one address; undefined before it was decided, or when no pool has it. */
  observe(address: Address): ObservedAddress | undefined {
    const { decisions, interfaces, interfacesOf, now } = this.#options;
    const decision = decisions.decision(address);
    if (decision === undefined) return undefined;
    const settled = decisions.ownership(address);
    // Most addresses have an owner elsewhere, of which nothing more is asked.
    const standing = lazily(() => this.#standingFor(decision));
    const noneOf = lazily(() => noInterface(interfaces(), decision.interfaces));
    return {
      address,
      election: decision.election,
      settled: settled !== undefined,
      owner: settled?.owner,
      term: settled?.term ?? 0,
      hindrance: settled?.hindrance,
      since: settled?.since ?? now(),
      standing: (node) => standing()(node),
      foreign: decisions.foreign(address),
      unansweredBy: settled?.unansweredBy ?? [],
      interfaces: interfacesOf(address),
      get noInterface() {
        return noneOf();
      },
    };
  }

  /** The verdict on a Service; undefined when it is unknown here. */
  verdict(key: string): Verdict | undefined {
    const { services, decisions, node } = this.#options;
    const service = services.get(key);
    if (service === undefined) return undefined;
    const verdicts = this.addressesOf(key).map((address) => this.#verdictOn(address));
    return verdictOf(key, node, verdicts, withoutAddress(service, decisions.config));
  }

  #verdictOn(address: Address): AddressVerdict {
    const { node, now } = this.#options;
    const observed = this.observe(address);
    if (observed !== undefined) return addressVerdict(observed, node);
    const reason = "AddressNotInPool" as const;
    const message = "no pool has the address, and nobody announces it: look at the AddressPools";
    const since = now().toISOString();
    const here = { reason, message };
    return { address, reason, message, term: 0, since, interfaces: [], here, nodes: [] };
  }

  #standingFor({ address, election, interfaces }: AddressDecision): (node: string) => Standing {
    const { member, node, isolated } = this.#options;
    const allowance = {
      address,
      ranked: election.candidates,
      ...(interfaces.length > 0 && { interfaces }),
    };
    const excluded = linkExclusions(allowance, (name) => member(name)?.links);
    const own = this.#ownLinks(interfaces);
    return (name) => {
      const links = excluded.get(name);
      const standing = standingOf(member(name));
      if (standing.reason !== undefined) return standing;
      if (links !== undefined) return { ...standing, reason: name === node ? own(links) : links };
      return name === node && isolated() ? { ...standing, reason: "Isolated" } : standing;
    };
  }

  /** Of its own links a node knows better why they do not reach an address. */
  #ownLinks(allowed: readonly string[]): (links: NodeReason) => NodeReason {
    return (links) => {
      const { reason } = noInterface(this.#options.interfaces(), allowed);
      return reason === "NoCarrier" ? reason : links;
    };
  }
}

/** Works a value out when it is first asked for. */
function lazily<T>(work: () => T): () => T {
  let done: { readonly value: T } | undefined;
  return () => (done ??= { value: work() }).value;
}

/** What is known of a node's speaker, as far as it bears on every address alike. */
export function standingOf(member: MemberNews | undefined): Standing {
  if (member === undefined) return { live: false, reason: "SpeakerMissing" };
  const { live, reason, plight, since } = member;
  const from = since === undefined ? {} : { since: new Date(since) };
  // Its own word says more than what others see of it.
  if (live) return { live, reason: plight ?? reason, ...from };
  return { live, reason: reason ?? "SpeakerMissing", ...from };
}

/** Why a Service has no address that could be announced. */
function withoutAddress(
  service: ServiceView,
  config: RenderedConfig | undefined,
): { readonly reason: VerdictReason; readonly message: string } {
  if (config === undefined)
    return {
      reason: "ConfigurationNotRead",
      message: "this speaker has not read its configuration yet: look at its log",
    };
  const ours = config["load-balancer-class"];
  const theirs = service.spec?.loadBalancerClass ?? "";
  if (theirs !== ours)
    return {
      reason: "ClassMismatch",
      message: `the Service's loadBalancerClass is ${JSON.stringify(theirs)} and ours ${JSON.stringify(ours)}`,
    };
  const assigned = service.status?.conditions?.find(({ type }) => type === ADDRESS_ASSIGNED);
  return {
    reason: (assigned?.reason ?? "NoPool") as VerdictReason,
    message: assigned?.message ?? "the controller has given it no address yet: look at its log",
  };
}
