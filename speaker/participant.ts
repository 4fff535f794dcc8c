/**
 * The speaker as a member, in the responder thread: what the protocol decides becomes addresses that
 * are answered for, and what the LAN and the main thread say becomes events of the protocol.
 */
import type { Address } from "../packet/address/address.ts";
import type { MacAddress } from "../packet/address/mac.ts";
import { formatPrefix } from "../packet/address/prefix.ts";
import { defaultGateways } from "../packet/link/gateways.ts";
import { receivedAtMs, type OpenLink, type ReceivedFrame } from "../packet/link/link.ts";
import { interfacesFor, type Announcing } from "./announcing.ts";
import { LinkedCandidacies } from "./candidacy.ts";
import { Conversation, type ProbeOutcome, type Testimony } from "./conversation.ts";
import { sample, type Cause, type WitnessPurpose } from "./context.ts";
import { Ear, type Host } from "./ear.ts";
import { Freshness } from "./freshness.ts";
import type { UsableInterface } from "./interfaces.ts";
import type { Hint } from "./joining.ts";
import { isLive, type Link, type MemberRecord, type Plight } from "./roster.ts";
import { makeKey } from "./seal.ts";
import type {
  CandidacyEntry,
  Command,
  ConversationCounts,
  MemberNews,
  MoveNews,
  OwnerNews,
  Report,
  SelfNews,
} from "./thread-protocol.ts";
import { INTERVAL_RANGE_MS, MULTIPLIER_RANGE } from "./timing.ts";

/** A probe that came to no end, for want of an interface say, counts as unheard. */
const PROBE_MS = 2000;
/** News of members are collected for so long: in a big cluster many come at once. */
const MEMBERS_MS = 10;
/** News of owners, too: each is a message to the main thread, and of a claim there are several. */
const OWNERS_MS = 10;
/** Members that are asked for to hear anything, and for how long the gateways read are current. */
const MEMBERS_ASKED = 3;
const GATEWAYS_MS = 10_000;

/** What the participant is given. */
export interface ParticipantOptions {
  readonly announcing: () => Announcing;
  readonly openLink: (interfaceName: string) => OpenLink;
  readonly report: (report: Report) => void;
  /** Reads the gateways; given by tests. */
  readonly gateways?: () => readonly Host[];
}

type Converse = Extract<Command, { kind: "converse" }>;
type Settings = Omit<Extract<Command, { kind: "settings" }>, "kind">;

/** One member among the speakers. */
export class Participant {
  readonly #options: ParticipantOptions;
  readonly #ear: Ear;
  readonly #probes = new Map<Address, (outcome: ProbeOutcome) => void>();
  /** Entries that came before it was known which node this is. */
  #early: CandidacyEntry[] = [];
  #candidacies: LinkedCandidacies | undefined;
  #start: Converse | undefined;
  #settings: Settings = {
    intervalMs: INTERVAL_RANGE_MS.default,
    multiplier: MULTIPLIER_RANGE.default,
    witnesses: [],
    rebalance: NaN,
  };
  #hints: readonly Hint[] = [];
  #usable: readonly UsableInterface[] | undefined;
  #conversation: Conversation | undefined;
  #memberMacs = new Map<MacAddress, string>();
  #linksKnown = new Map<string, readonly Link[]>();
  #membersTimer: NodeJS.Timeout | undefined;
  #moves: MoveNews[] = [];
  #gateways: readonly Host[] = [];
  #gatewaysAt = -Infinity;
  /** What is being asked for probes, by the interfaces that it is asked on. */
  readonly #listening = new Map<string, Promise<Testimony>>();
  readonly #ownersTouched = new Set<Address>();
  #ownersTimer: NodeJS.Timeout | undefined;
  #plight: Plight | undefined;
  #drains = false;
  #leaves = false;
  #fenced = false;
  /** Since the end of the last fence. */
  readonly #freshness = new Freshness({
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
  });

  /** Talks to nobody before it has a node, hints and interfaces. */
  constructor(options: ParticipantOptions) {
    this.#options = options;
    this.#ear = new Ear({
      openLink: options.openLink,
      usable: () => this.#usable ?? [],
      now: () => performance.now(),
    });
  }

  /** Takes what the main thread says. */
  take(command: Command): void {
    switch (command.kind) {
      case "converse":
        this.#start = command;
        this.#candidacies ??= new LinkedCandidacies(command.node);
        this.#setCandidacies(this.#early.splice(0), []);
        this.#begin();
        break;
      case "settings":
        this.#set(command);
        break;
      case "keys":
        this.#conversation?.rekey(command.keys.map(makeKey));
        break;
      case "hints":
        this.#hints = command.hints;
        this.#begin();
        this.#moved();
        this.#conversation?.step({ type: "hints", hints: command.hints });
        break;
      case "candidacies":
        this.#setCandidacies(command.set, command.delete);
        break;
      case "versions":
        this.#conversation?.step({ type: "versions", versions: command.versions });
        break;
      case "echoed":
        this.#ear.echoed(command.interfaceName);
        this.#conversation?.step({ type: "frame" });
        break;
      case "plight":
        this.#plight = command.plight;
        this.#conversation?.step({ type: "plight", plight: command.plight });
        break;
      case "drain":
        this.#drain(command.on);
        break;
      case "leave":
        this.#leave(command.withinMs);
        break;
      default:
        break;
    }
  }

  /** Takes the interfaces that can be used now. */
  setInterfaces(usable: readonly UsableInterface[]): void {
    const returned = this.#usable !== undefined && this.#usable.length < usable.length;
    this.#usable = usable;
    this.#ear.interfacesChanged();
    this.#begin();
    // Before it knows that it may claim again: others may have taken meanwhile what it had.
    if (returned) this.#conversation?.step({ type: "carrier" });
    this.#ownLinksChanged();
    this.#moved();
  }

  /** Whether a frame may be answered: no fence is up, and it is neither old nor from before one. */
  mayAnswer(frame: ReceivedFrame): boolean {
    const conversation = this.#conversation;
    if (conversation === undefined) return true;
    conversation.catchUp();
    return !this.#fenced && this.#freshness.isFresh(receivedAtMs(frame));
  }

  /** A colleague was heard to claim an address that we answer for. */
  rival(address: Address, mac: MacAddress): void {
    const node = this.#memberMacs.get(mac);
    if (node !== undefined) this.#conversation?.step({ type: "rival", address, node });
  }

  /** Takes the outcome of a probe. @returns whether it was one of ours */
  probed(address: Address, by: MacAddress | undefined): boolean {
    const resolve = this.#probes.get(address);
    const outcome = { taken: by !== undefined, heard: true, ...(by !== undefined && { by }) };
    if (resolve !== undefined) {
      this.#probes.delete(address);
      resolve(outcome);
      return true;
    }
    if (by === undefined || this.#conversation === undefined) return false;
    // Found free some time ago, and a host that took it meanwhile was heard.
    this.#conversation.step({ type: "probed", address, ...outcome });
    return true;
  }

  /** Gives what the conversation counted since the last call; undefined before there is one. */
  takeCounts(): ConversationCounts | undefined {
    return this.#conversation?.takeCounts();
  }

  /** Ends without a word. */
  close(): void {
    clearTimeout(this.#membersTimer);
    clearTimeout(this.#ownersTimer);
    this.#conversation?.close();
    this.#ear[Symbol.dispose]();
  }

  #begin(): void {
    const start = this.#start;
    const candidacies = this.#candidacies;
    const endpoints = this.#endpoints();
    if (this.#conversation !== undefined || start === undefined) return;
    if (endpoints.length === 0 || this.#usable === undefined || candidacies === undefined) return;
    const { node, cluster } = start;
    const announcing = this.#options.announcing();
    candidacies.setLinks(node, this.#links());
    this.#conversation = new Conversation({
      node,
      cluster,
      interval: this.#settings.intervalMs,
      multiplier: this.#settings.multiplier,
      keys: start.keys.map(makeKey),
      endpoints,
      links: this.#links(),
      candidacies: (address) => candidacies.get(address),
      now: () => performance.now(),
      ground: {
        withdraw: (addresses) => {
          this.#reportOwners(addresses);
          announcing.change([], addresses);
        },
        activate: (addresses) => {
          this.#reportOwners(addresses);
          announcing.change(this.#entriesOf(addresses), []);
        },
        announce: (addresses) => announcing.announceAgain(addresses),
        fence: (on) => this.#fence(on),
        witness: (addresses, macs, purpose) => this.#witness(addresses, macs, purpose),
        probe: (address) => this.#probe(address),
        forget: (addresses) => announcing.forget(addresses),
      },
      reports: {
        owners: (addresses) => this.#ownersChanged(addresses),
        moved: (...move) => this.#noteMoves(...move),
        members: () => this.#membersChanged(),
        left: (forced) => this.#options.report({ kind: "left", forced }),
        trouble: (message) => this.#options.report({ kind: "trouble", message }),
      },
    });
    this.#conversation.step({ type: "hints", hints: this.#hints });
    this.#conversation.step({ type: "candidacies", addresses: [...candidacies.addresses()] });
    if (this.#plight !== undefined)
      this.#conversation.step({ type: "plight", plight: this.#plight });
    if (this.#drains) this.#drain(true);
  }

  #set(settings: Settings): void {
    const before = this.#settings;
    this.#settings = settings;
    const { intervalMs, multiplier, rebalance } = settings;
    if (before.intervalMs !== intervalMs || before.multiplier !== multiplier) {
      this.#conversation?.step({ type: "timing", interval: intervalMs, multiplier });
    }
    // The first one seen was asked for before this speaker was there.
    if (rebalance > before.rebalance) this.#conversation?.step({ type: "rebalance" });
  }

  #endpoints() {
    return this.#hints.find(({ name }) => name === this.#start?.node)?.endpoints ?? [];
  }

  #links(): Link[] {
    return (this.#usable ?? []).map(({ name, mac, subnets }) => {
      return { name, mac, prefixes: subnets.map(formatPrefix) };
    });
  }

  #moved(): void {
    const endpoints = this.#endpoints();
    if (endpoints.length === 0) return;
    this.#conversation?.step({ type: "moved", endpoints, links: this.#links() });
  }

  #ownLinksChanged(): void {
    const { node } = this.#start ?? {};
    if (node === undefined) return;
    const touched = this.#candidacies?.setLinks(node, this.#links()) ?? [];
    this.#candidatesChanged(touched);
  }

  #setCandidacies(set: readonly CandidacyEntry[], gone: readonly Address[]): void {
    const candidacies = this.#candidacies;
    if (candidacies === undefined) {
      this.#early = this.#early.filter(({ address }) => !gone.includes(address));
      this.#early.push(...set);
      return;
    }
    for (const address of gone) candidacies.delete(address);
    for (const entry of set) candidacies.set(entry);
    this.#candidatesChanged([...set.map(({ address }) => address), ...gone]);
  }

  #candidatesChanged(addresses: readonly Address[]): void {
    if (addresses.length === 0) return;
    this.#conversation?.step({ type: "candidacies", addresses });
    this.#ownersChanged(addresses);
  }

  #entriesOf(addresses: readonly Address[]): CandidacyEntry[] {
    return addresses.flatMap((address) => this.#candidacies?.allowance(address) ?? []);
  }

  #fence(on: boolean): void {
    this.#fenced = on;
    if (!on) this.#freshness.begin();
    this.#membersChanged();
  }

  #membersChanged(): void {
    this.#membersTimer ??= setTimeout(() => {
      this.#membersTimer = undefined;
      this.#reportMembers();
    }, MEMBERS_MS);
  }

  #reportMembers(): void {
    const conversation = this.#conversation;
    if (conversation === undefined) return;
    const { protocol } = conversation;
    const records = [...protocol.roster.records()];
    this.#memberMacs = new Map(
      records.flatMap(({ name, links }) => links.map(({ mac }) => [mac, name] as const)),
    );
    this.#options.announcing().setColleagues([...this.#memberMacs.keys()]);
    const members = records.map((record) => this.#memberNews(record));
    this.#options.report({ kind: "members", members, self: this.#selfNews() });
    this.#linksChanged(records);
  }

  #linksChanged(records: readonly MemberRecord[]): void {
    const touched = new Set<Address>();
    if (this.#linksKnown.size > records.length) {
      const names = new Set(records.map(({ name }) => name));
      for (const name of this.#linksKnown.keys())
        if (!names.has(name)) this.#linksKnown.delete(name);
    }
    for (const { name, links, status } of records) {
      // Before it is active it does not say all, and this node's own links are known first hand.
      if (name === this.#start?.node || status === "joining") continue;
      if (this.#linksKnown.get(name) === links) continue;
      this.#linksKnown.set(name, links);
      for (const address of this.#candidacies?.setLinks(name, links) ?? []) touched.add(address);
    }
    this.#candidatesChanged([...touched]);
  }

  #memberNews(record: MemberRecord): MemberNews {
    const { name, status, plight, links, keyIds } = record;
    const view = this.#conversation?.protocol.memberView(name);
    return {
      name,
      live: isLive(record),
      status,
      links,
      keyIds,
      ...(plight !== undefined && { plight }),
      ...(view !== undefined && { reason: view.reason, since: wallClock(view.since) }),
      ...(view?.address !== undefined && { address: view.address }),
    };
  }

  #selfNews(): SelfNews {
    const protocol = this.#conversation?.protocol;
    return {
      status: protocol?.own.status ?? "joining",
      ...(protocol?.fence !== undefined && { fence: protocol.fence }),
      isolated: protocol?.isIsolated ?? false,
      quorate: protocol?.isQuorate ?? false,
    };
  }

  #noteMoves(
    addresses: readonly Address[],
    taken: boolean,
    cause: Cause,
    since: readonly number[] = [],
  ): void {
    const now = performance.now();
    if (this.#moves.length === 0) queueMicrotask(() => this.#reportMoves());
    for (const [i, address] of addresses.entries()) {
      const tookMs = now - (since[i] ?? -Infinity);
      this.#moves.push({ address, taken, cause, ...(Number.isFinite(tookMs) && { tookMs }) });
    }
  }

  #reportMoves(): void {
    this.#options.report({ kind: "moves", moves: this.#moves });
    this.#moves = [];
  }

  #ownersChanged(addresses: readonly Address[]): void {
    if (this.#conversation === undefined || addresses.length === 0) return;
    for (const address of addresses) this.#ownersTouched.add(address);
    this.#ownersTimer ??= setTimeout(() => {
      this.#ownersTimer = undefined;
      this.#reportOwners([...this.#ownersTouched]);
    }, OWNERS_MS);
  }

  /**
   * At once where this speaker begins or ends to answer: what it tells of such an address after that,
   * a conflict say, is understood only by whoever knows the owner.
   */
  #reportOwners(addresses: readonly Address[]): void {
    for (const address of addresses) this.#ownersTouched.delete(address);
    const owners = addresses.map((address) => this.#ownerNews(address));
    this.#options.report({ kind: "owners", owners });
  }

  #ownerNews(address: Address): OwnerNews {
    const view = this.#conversation?.protocol.view(address);
    const { owner, claim, hindrance, usedBy, unansweredBy = [] } = view ?? {};
    return {
      address,
      term: claim?.term ?? 0,
      ...(owner !== undefined && { owner }),
      ...(hindrance !== undefined && { hindrance }),
      ...(owner === undefined && usedBy !== undefined && { usedBy }),
      ...(claim?.giving === true && { giving: true }),
      ...(unansweredBy.length > 0 && { unansweredBy }),
    };
  }

  #drain(on: boolean): void {
    this.#drains = on;
    if (!this.#leaves) this.#conversation?.step({ type: "drain", on });
  }

  #leave(withinMs: number): void {
    this.#leaves = true;
    if (this.#conversation === undefined) this.#options.report({ kind: "left", forced: 0 });
    const deadline = performance.now() + withinMs;
    this.#conversation?.step({ type: "drain", on: true, deadline });
  }

  async #probe(address: Address): Promise<ProbeOutcome> {
    const entries = this.#entriesOf([address]);
    if (entries.length === 0) return { taken: false, heard: false };
    const outcome = Promise.withResolvers<ProbeOutcome>();
    this.#probes.set(address, outcome.resolve);
    const giveUp = setTimeout(() => outcome.resolve({ taken: false, heard: false }), PROBE_MS);
    this.#options.announcing().probe(entries, "fast");
    const [found, testimony] = await Promise.all([outcome.promise, this.#listen(address)]);
    clearTimeout(giveUp);
    return { ...found, heard: testimony.heard };
  }

  /** Asks whether anything is heard where an address lives; once for all that are probed there together. */
  #listen(address: Address): Promise<Testimony> {
    const allowed = this.#candidacies?.allowance(address)?.interfaces;
    const where = interfacesFor(address, allowed, this.#usable ?? []).join();
    let asking = this.#listening.get(where);
    if (asking === undefined) {
      asking = this.#witness([address], new Set(), "fence");
      this.#listening.set(where, asking);
      const over = () => this.#listening.delete(where);
      asking.then(over, over);
    }
    return asking;
  }

  #witness(
    addresses: readonly Address[],
    macs: ReadonlySet<MacAddress> | undefined,
    purpose: WitnessPurpose,
  ): Promise<Testimony> {
    const hosts = this.#hosts();
    // What is not urgent is not worth an echo, which wakes the main thread.
    if (purpose !== "check") this.#askForEchoes(hosts);
    const allowed = (address: Address) => this.#candidacies?.allowance(address)?.interfaces;
    return this.#ear.ask({ addresses, allowed, macs, hosts, quietly: purpose === "check" });
  }

  #askForEchoes(hosts: readonly Host[]): void {
    for (const { name } of this.#usable ?? []) {
      const targets = hosts.flatMap(({ address, interfaceName }) =>
        interfaceName === undefined || interfaceName === name ? address : [],
      );
      if (targets.length === 0) continue;
      this.#options.report({ kind: "echo", interfaceName: name, targets });
    }
  }

  /** Gateways, what the configuration names, and some other nodes by chance: their kernels answer, too. */
  #hosts(): Host[] {
    const now = performance.now();
    if (now - this.#gatewaysAt > GATEWAYS_MS) {
      this.#gatewaysAt = now;
      this.#gateways = (this.#options.gateways ?? defaultGateways)();
    }
    const named = this.#settings.witnesses.map((address) => ({ address }));
    return [...this.#gateways, ...named, ...this.#someMembers()];
  }

  /** Some of those believed alive, and one of the others: its kernel may answer all the same. */
  #someMembers(): Host[] {
    const roster = this.#conversation?.protocol.roster;
    const others = this.#hints.filter(({ name }) => name !== this.#start?.node);
    const alive = others.filter(({ name }) => roster?.isLive(name));
    const rest = others.filter(({ name }) => roster?.isLive(name) !== true);
    return [...sample(alive, MEMBERS_ASKED, Math.random), ...sample(rest, 1, Math.random)].flatMap(
      ({ endpoints }) => endpoints.map(({ address }) => ({ address })),
    );
  }
}

/** Gives a time of the steps as milliseconds since 1970. */
function wallClock(at: number): number {
  return Math.round(Date.now() + at - performance.now());
}
