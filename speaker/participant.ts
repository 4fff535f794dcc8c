/**
 * The speaker as a member, in the responder thread: what the protocol decides becomes addresses that
 * are answered for, and what the LAN and the main thread say becomes events of the protocol.
 */
import type { Address } from "../packet/address/address.ts";
import { decodeMac, type MacAddress } from "../packet/address/mac.ts";
import { formatPrefix } from "../packet/address/prefix.ts";
import { receivedAtMs, type OpenLink, type ReceivedFrame } from "../packet/link/link.ts";
import { announcementFrames } from "../packet/wire/announcement.ts";
import { ETHERNET_FIELD } from "../packet/wire/ethernet.ts";
import { decodeFrame } from "../packet/wire/frame.ts";
import { interfacesFor, type Announcing } from "./announcing.ts";
import { listCandidacy, type Candidacy } from "./candidacy.ts";
import { Conversation, type ProbeOutcome, type Testimony } from "./conversation.ts";
import type { UsableInterface } from "./interfaces.ts";
import type { Hint } from "./joining.ts";
import { isLive, type Link, type MemberRecord } from "./roster.ts";
import { makeKey } from "./seal.ts";
import type { CandidacyEntry, Command, Report } from "./thread-protocol.ts";

/** How long the LAN is listened to for an answer. */
const WITNESS_MS = 60;
/** A probe that came to no end, for want of an interface say, counts as unheard. */
const PROBE_MS = 2000;
/** A frame that waited longer than this is answered by nobody: its answer may be out of date. */
const STALE_MS = 100;

/** What the participant is given. */
export interface ParticipantOptions {
  readonly announcing: () => Announcing;
  readonly openLink: (interfaceName: string) => OpenLink;
  readonly report: (report: Report) => void;
}

type Converse = Extract<Command, { kind: "converse" }>;

/** One member among the speakers. */
export class Participant {
  readonly #options: ParticipantOptions;
  readonly #entries = new Map<Address, CandidacyEntry>();
  readonly #candidacies = new Map<Address, Candidacy>();
  readonly #probes = new Map<Address, (outcome: ProbeOutcome) => void>();
  #start: Converse | undefined;
  #hints: readonly Hint[] = [];
  #usable: readonly UsableInterface[] | undefined;
  #conversation: Conversation | undefined;
  #memberMacs = new Map<MacAddress, string>();
  #fenced = false;
  /** Wall clock: frames from before the end of the last fence are not answered. */
  #fenceEnd = 0;

  /** Talks to nobody before it has a node, hints and interfaces. */
  constructor(options: ParticipantOptions) {
    this.#options = options;
  }

  /** Takes what the main thread says. */
  take(command: Command): void {
    switch (command.kind) {
      case "converse":
        this.#start = command;
        this.#begin();
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
      case "drain":
        this.#drain(command.withinMs);
        break;
      default:
        break;
    }
  }

  /** Takes the interfaces that can be used now. */
  setInterfaces(usable: readonly UsableInterface[]): void {
    const returned = this.#usable !== undefined && this.#usable.length < usable.length;
    this.#usable = usable;
    this.#begin();
    this.#moved();
    if (returned) this.#conversation?.step({ type: "carrier" });
    this.#setCandidacies([...this.#entries.values()], []);
  }

  /** Whether a frame may be answered: no fence is up, and it is neither old nor from before one. */
  mayAnswer(frame: ReceivedFrame): boolean {
    const conversation = this.#conversation;
    if (conversation === undefined) return true;
    conversation.catchUp();
    const at = receivedAtMs(frame);
    return !this.#fenced && at >= this.#fenceEnd && at > Date.now() - STALE_MS;
  }

  /** A colleague was heard to claim an address that we answer for. */
  rival(address: Address, mac: MacAddress): void {
    const node = this.#memberMacs.get(mac);
    if (node !== undefined) this.#conversation?.step({ type: "rival", address, node });
  }

  /** Takes the outcome of a probe. @returns whether it was one of ours */
  probed(address: Address, by: MacAddress | undefined): boolean {
    const resolve = this.#probes.get(address);
    this.#probes.delete(address);
    resolve?.({ taken: by !== undefined, heard: true, ...(by !== undefined && { by }) });
    return resolve !== undefined;
  }

  /** Ends without a word. */
  close(): void {
    this.#conversation?.close();
  }

  #begin(): void {
    const start = this.#start;
    const endpoints = this.#endpoints();
    if (this.#conversation !== undefined || start === undefined) return;
    if (endpoints.length === 0 || this.#usable === undefined) return;
    const { node, cluster, interval } = start;
    const announcing = this.#options.announcing();
    this.#conversation = new Conversation({
      node,
      cluster,
      interval,
      keys: start.keys.map(makeKey),
      endpoints,
      links: this.#links(),
      candidacies: (address) => this.#candidacies.get(address),
      now: () => performance.now(),
      ground: {
        withdraw: (addresses) => announcing.change([], addresses),
        activate: (addresses) => announcing.change(this.#entriesOf(addresses), []),
        announce: (addresses) => announcing.announceAgain(addresses),
        fence: (on) => this.#fence(on),
        witness: (addresses, macs, others) => this.#witness(addresses, macs, others),
        probe: (address) => this.#probe(address),
      },
      reports: {
        owners: (addresses) => this.#reportOwners(addresses),
        members: (records) => this.#membersChanged(records),
        left: (forced) => this.#options.report({ kind: "left", forced }),
        trouble: (message) => this.#options.report({ kind: "trouble", message }),
      },
    });
    this.#conversation.step({ type: "hints", hints: this.#hints });
    this.#conversation.step({ type: "candidacies", addresses: [...this.#candidacies.keys()] });
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

  #setCandidacies(set: readonly CandidacyEntry[], gone: readonly Address[]): void {
    for (const address of gone) {
      this.#entries.delete(address);
      this.#candidacies.delete(address);
    }
    for (const entry of set) {
      const { address, ranked, prober, interfaces } = entry;
      this.#entries.set(address, entry);
      const usable = interfacesFor(address, interfaces, this.#usable ?? []).length > 0;
      this.#candidacies.set(address, listCandidacy(ranked, { usable, prober }));
    }
    const touched = [...set.map(({ address }) => address), ...gone];
    this.#conversation?.step({ type: "candidacies", addresses: touched });
    this.#reportOwners(touched);
  }

  #entriesOf(addresses: readonly Address[]): CandidacyEntry[] {
    return addresses.flatMap((address) => this.#entries.get(address) ?? []);
  }

  #fence(on: boolean): void {
    this.#fenced = on;
    if (!on) this.#fenceEnd = Date.now();
  }

  #membersChanged(records: readonly MemberRecord[]): void {
    const links = records.flatMap(({ name, links }) => links.map(({ mac }) => ({ name, mac })));
    this.#memberMacs = new Map(links.map(({ name, mac }) => [mac, name]));
    this.#options.announcing().setColleagues([...this.#memberMacs.keys()]);
    const members = records.map((each) => {
      return { name: each.name, live: isLive(each), status: each.status };
    });
    this.#options.report({ kind: "members", members });
  }

  #reportOwners(addresses: readonly Address[]): void {
    const protocol = this.#conversation?.protocol;
    if (protocol === undefined || addresses.length === 0) return;
    const owners = addresses.map((address) => {
      const { owner, claim, hindrance } = protocol.view(address);
      return {
        address,
        term: claim?.term ?? 0,
        ...(owner !== undefined && { owner }),
        ...(hindrance !== undefined && { hindrance }),
      };
    });
    this.#options.report({ kind: "owners", owners });
  }

  #drain(withinMs: number): void {
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
    const [found, testimony] = await Promise.all([
      outcome.promise,
      this.#witness([], new Set(), this.#otherEndpoints()),
    ]);
    clearTimeout(giveUp);
    return { ...found, heard: testimony.heard };
  }

  #otherEndpoints(): Address[] {
    return this.#hints
      .filter(({ name }) => name !== this.#start?.node)
      .flatMap(({ endpoints }) => endpoints.map(({ address }) => address))
      .slice(0, 8);
  }

  /** Asks on every interface, by probes that change no neighbour's table, and listens a while. */
  async #witness(
    addresses: readonly Address[],
    macs: ReadonlySet<MacAddress> | undefined,
    others: readonly Address[],
  ): Promise<Testimony> {
    const subjects = new Set(addresses);
    const all = new Set([...addresses, ...others]);
    const found = { answered: false, heard: false, reached: false };
    const links = (this.#usable ?? []).flatMap((facts) => {
      try {
        const link = this.#options.openLink(facts.name)({
          frame: ({ octets }) => {
            const mac = decodeMac(octets, ETHERNET_FIELD.source);
            if (mac === facts.mac) return;
            const claimed = claimedBy(octets);
            found.heard = true;
            if (claimed === undefined) return;
            found.reached ||= all.has(claimed);
            found.answered ||= subjects.has(claimed) && (macs?.has(mac) ?? true);
          },
        });
        const probes = [...all].flatMap((each) => announcementFrames("probe", each, facts));
        link.sendBatch(probes);
        return [link];
      } catch {
        return []; // an interface that cannot be opened hears nothing
      }
    });
    await new Promise((resolve) => setTimeout(resolve, WITNESS_MS));
    for (const link of links) link[Symbol.dispose]();
    return found;
  }
}

/** The address that a frame says its sender has. */
function claimedBy(octets: Uint8Array): Address | undefined {
  const decoded = decodeFrame(octets);
  if (!decoded.ok) return undefined;
  const frame = decoded.value;
  if (frame.kind === "arp") return frame.packet.senderProtocolAddress;
  const { message } = frame;
  return message.kind === "neighborAdvertisement" ? message.targetAddress : undefined;
}
