/**
 * Asks the LAN, in the responder thread: whether certain MAC addresses answer for addresses, and
 * whether any frame of another host comes in at all. Asked is by ARP Probes and their like of
 * Neighbor Discovery, which change no neighbour's table; all hosts asked, speakers or not, answer
 * those from their kernels. An ICMP echo, which only the main thread can send, is a second source:
 * slower, not waited for, and taken when it comes.
 *
 * Of a member its own MAC addresses are asked, by unicast, and by broadcast as a last try; hosts by
 * broadcast, until one has answered, and for what is not urgent only when the member does not answer:
 * each member asks four times a second, and a thousand of them would fill the LAN with broadcasts.
 */
import { isIPv4, type Address } from "../packet/address/address.ts";
import { decodeMac, type MacAddress } from "../packet/address/mac.ts";
import { NEIGHBOR_FILTER } from "../packet/link/af-packet.ts";
import type { Link, OpenLink } from "../packet/link/link.ts";
import { announcementFrames, pollFrames } from "../packet/wire/announcement.ts";
import { BPF, type BpfProgram } from "../packet/wire/bpf.ts";
import { ETHERNET_FIELD } from "../packet/wire/ethernet.ts";
import { decodeFrame } from "../packet/wire/frame.ts";
import { interfacesFor } from "./announcing.ts";
import type { Testimony } from "./conversation.ts";
import type { UsableInterface } from "./interfaces.ts";

/** How long the LAN is listened to for an answer. */
const LISTEN_MS = 60;
/** Requests and answers get lost. */
const TRIES = 3;
/** An answer to an echo counts for so long. */
const ECHO_MS = 200;

/** A host that shows by its answer that we are not cut off, and where it is asked. */
export interface Host {
  readonly address: Address;
  /** Absent: where the networks of the interfaces say. */
  readonly interfaceName?: string;
}

/** What the LAN is asked. */
export interface Question {
  readonly addresses: readonly Address[];
  /** Interfaces that an address may be answered for on, by name; absent: all. */
  readonly allowed: (address: Address) => readonly string[] | undefined;
  /** Whose answers count, and who is asked; undefined: anybody's, and everybody. */
  readonly macs: ReadonlySet<MacAddress> | undefined;
  /** Asked for only to hear anything at all. */
  readonly hosts: readonly Host[];
  /** Asks the hosts only when nobody has answered for the addresses. */
  readonly quietly?: boolean;
}

/** What the ear is given. */
export interface EarOptions {
  readonly openLink: (interfaceName: string) => OpenLink;
  readonly usable: () => readonly UsableInterface[];
  readonly now: () => number;
}

/** Told of each frame: who sent it, and the address that it says its sender has. */
type Hears = (from: MacAddress, claimed: Address | undefined) => void;

interface Listening {
  readonly line: Line;
  readonly hears: Hears;
  /** Asks for the addresses: those with the MAC addresses, if any, else everybody. */
  readonly frames: readonly Uint8Array[];
  /** Asks everybody for them, where `frames` does not. Made when wanted, which is seldom. */
  readonly aloud: () => readonly Uint8Array[];
  readonly forHosts: () => readonly Uint8Array[];
}

interface Asked {
  readonly facts: UsableInterface;
  readonly addresses: ReadonlySet<Address>;
  readonly hosts: ReadonlySet<Address>;
}

/** What a link that nobody listens to receives. */
const NOTHING: BpfProgram = [{ code: BPF.RET, jt: 0, jf: 0, k: 0 }];

/**
 * A link that stays open, since opening and closing one costs more than all else about a question.
 * While nobody listens the kernel lets nothing through, so other people's noise costs nothing.
 */
class Line implements Disposable {
  readonly link: Link;
  readonly #listeners = new Set<Hears>();

  /** @throws LinkError */
  constructor(open: OpenLink) {
    this.link = open({
      frame: ({ octets }) => {
        if (this.#listeners.size === 0) return;
        const from = decodeMac(octets, ETHERNET_FIELD.source);
        const claimed = claimedBy(octets);
        for (const hears of this.#listeners) hears(from, claimed);
      },
    });
  }

  listen(hears: Hears): void {
    // The filter may refuse, and then nobody listens.
    if (this.#listeners.size === 0) this.link.setFilter([NEIGHBOR_FILTER]);
    this.#listeners.add(hears);
  }

  cease(hears: Hears): void {
    this.#listeners.delete(hears);
    if (this.#listeners.size === 0) this.link.setFilter([NOTHING]);
  }

  [Symbol.dispose](): void {
    this.#listeners.clear();
    this.link[Symbol.dispose]();
  }
}

/** Listens to the LAN. */
export class Ear implements Disposable {
  readonly #options: EarOptions;
  /** By interface. */
  readonly #lines = new Map<string, Line>();
  /** When a host last answered an echo, by interface. */
  readonly #echoes = new Map<string, number>();

  /** Opens nothing yet. */
  constructor(options: EarOptions) {
    this.#options = options;
  }

  /** A host answered an echo request. */
  echoed(interfaceName: string): void {
    this.#echoes.set(interfaceName, this.#options.now());
  }

  /** Interfaces came, went or changed. */
  interfacesChanged(): void {
    const usable = new Map(this.#options.usable().map((facts) => [facts.name, facts]));
    for (const [name, { link }] of this.#lines) {
      const facts = usable.get(name);
      if (facts === undefined) this.#hangUp(name);
      else if (facts.index !== link.interfaceIndex || facts.mac !== link.macAddress) link.refresh();
    }
  }

  /** Listens no more. */
  [Symbol.dispose](): void {
    for (const name of [...this.#lines.keys()]) this.#hangUp(name);
  }

  /**
   * Asks and listens a while, on the interfaces that reach the addresses; of no address, on all. An
   * interface that cannot be opened hears nothing.
   */
  async ask(question: Question): Promise<Testimony> {
    const found = { answered: false, heard: false, reached: false };
    const asked = this.#plan(question);
    const links = asked.flatMap((each) => this.#listen(each, question, found) ?? []);
    for (let tries = 1; tries <= TRIES; tries++) {
      const quietly = question.quietly === true;
      // That we hear anybody is to be learnt once, and not yet of a neighbour that answers.
      const isEnough = found.reached || (tries === 1 && quietly);
      // A switch may have forgotten where the member is, and not flood what it cannot place.
      const isLast = tries === TRIES && !quietly;
      for (const { line, frames, aloud, forHosts } of links)
        line.link.sendBatch([
          ...frames,
          ...(isLast ? aloud() : []),
          ...(isEnough ? [] : forHosts()),
        ]);
      await new Promise((resolve) => setTimeout(resolve, LISTEN_MS / TRIES));
      if (found.answered || (found.reached && question.addresses.length === 0)) break;
    }
    for (const { line, hears } of links) this.#cease(line, hears);
    const since = this.#options.now() - ECHO_MS;
    const isEchoed = asked.some(({ facts }) => (this.#echoes.get(facts.name) ?? -Infinity) > since);
    return { ...found, heard: found.heard || isEchoed, reached: found.reached || isEchoed };
  }

  /** Gives the interfaces to ask on, and what is asked there. */
  #plan({ addresses, allowed, hosts }: Question): Asked[] {
    const usable = this.#options.usable();
    const near = addresses.map((address) => ({
      address,
      names: interfacesFor(address, allowed(address), usable),
    }));
    const reaching = hosts.map(({ address, interfaceName }) => ({
      address,
      names:
        interfaceName === undefined ? interfacesFor(address, undefined, usable) : [interfaceName],
    }));
    return usable.flatMap((facts) => {
      const on = (list: typeof near) =>
        new Set(list.flatMap(({ address, names }) => (names.includes(facts.name) ? address : [])));
      const own = on(near);
      // What is heard on another link tells nothing of this one.
      if (addresses.length > 0 && own.size === 0) return [];
      return { facts, addresses: own, hosts: on(reaching) };
    });
  }

  #listen(
    { facts, addresses, hosts }: Asked,
    { macs }: Question,
    found: { answered: boolean; heard: boolean; reached: boolean },
  ): Listening | undefined {
    const hears: Hears = (mac, claimed) => {
      if (mac === facts.mac) return;
      found.heard = true;
      if (claimed === undefined) return;
      found.reached ||= hosts.has(claimed) || addresses.has(claimed);
      found.answered ||= addresses.has(claimed) && (macs?.has(mac) ?? true);
    };
    try {
      const line = this.#lineOf(facts.name);
      line.listen(hears);
      const from = facts.addresses.find(isIPv4);
      const known = [...(macs ?? [])];
      const probes = (of: ReadonlySet<Address>) =>
        [...of].flatMap((each) => announcementFrames("probe", each, facts));
      const frames =
        known.length === 0
          ? probes(addresses)
          : [...addresses].flatMap((each) =>
              known.flatMap((mac) => pollFrames(each, mac, facts, from)),
            );
      const aloud = () => (known.length === 0 ? [] : probes(addresses));
      const forHosts = () => probes(hosts);
      return { line, hears, frames, aloud, forHosts };
    } catch {
      this.#hangUp(facts.name);
      return undefined; // as said above
    }
  }

  #cease(line: Line, hears: Hears): void {
    try {
      line.cease(hears);
    } catch {
      // It was closed meanwhile; or the kernel has no room for a filter: rather no link than one that hears all.
      if (this.#lines.get(line.link.interfaceName) === line) this.#hangUp(line.link.interfaceName);
    }
  }

  #lineOf(name: string): Line {
    let line = this.#lines.get(name);
    if (line === undefined) {
      line = new Line(this.#options.openLink(name));
      this.#lines.set(name, line);
    }
    return line;
  }

  #hangUp(name: string): void {
    this.#lines.get(name)?.[Symbol.dispose]();
    this.#lines.delete(name);
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
