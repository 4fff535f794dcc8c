/** A node whose interfaces are ports of switches in memory, under a clock that tests move. */
import type { Address } from "../../../packet/address/address.ts";
import type { IPv6Address } from "../../../packet/address/ipv6.ts";
import type { MacAddress } from "../../../packet/address/mac.ts";
import { parsePrefix, type Prefix } from "../../../packet/address/prefix.ts";
import type { Link, OpenLink } from "../../../packet/link/link.ts";
import { MemoryLan, type MemoryPort } from "../../../packet/link/memory.ts";
import { decodeFrame, formatFrame } from "../../../packet/wire/frame.ts";
import { Announcing } from "../../../speaker/announcing.ts";
import type { UsableInterface } from "../../../speaker/interfaces.ts";
import { compileFor, type Report } from "../../../speaker/thread-protocol.ts";
import { runBpf } from "../../support/bpf.ts";
import { NEIGHBOUR_MAC } from "./frames.ts";

type ReportOf<Kind extends Report["kind"]> = Extract<Report, { readonly kind: Kind }>;

/** A frame that the node sent. */
export interface Seen {
  readonly at: number;
  readonly octets: Uint8Array;
  /** The address that it is about. */
  readonly target: Address;
  /** As `formatFrame` puts it. */
  readonly text: string;
}

/** One of the node's networks: the node's port, and a neighbour that hears all. */
interface Network {
  readonly port: MemoryPort;
  readonly neighbour: Link;
  readonly seen: Seen[];
}

/** Facts about interface number `n`: 192.0.2.0/24 and 2001:db8::/64 on the first, others after. */
export function facts(n: number, more: Partial<UsableInterface> = {}): UsableInterface {
  const networks = [`192.0.${n + 1}.0/24`, `2001:db8:0:${n - 1}::/64`];
  return {
    name: `eth${n - 1}`,
    index: n,
    mac: `02:00:00:00:00:0${n}` as MacAddress,
    linkLocal: `fe80::${n}` as IPv6Address,
    addresses: [],
    subnets: networks.map(prefix),
    ...more,
  };
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new TypeError(`${text} is no prefix`);
  return parsed.value;
}

/** A node that announces, and what is around it. */
export class World {
  readonly reports: Report[] = [];
  readonly announcing: Announcing;
  /** Answers to compilations wait in here. */
  compileBy: "atOnce" | "never" = "atOnce";
  /** Whether the node is not fenced. */
  mayAnswer = true;
  now = 1000;
  /** How often time woke the node. */
  wakes = 0;
  #wakeAt: number | undefined;
  readonly #networks = new Map<string, Network>();
  readonly #tasks: (() => void)[] = [];

  /** @param wrap what stands between the node and the link of an interface; may throw */
  constructor(wrap: (link: OpenLink, interfaceName: string) => OpenLink = (link) => link) {
    this.announcing = new Announcing({
      openLink: (name) => wrap((handlers) => this.network(name).port.open(handlers), name),
      report: (report) => {
        this.reports.push(report);
        if (report.kind === "compile" && this.compileBy === "atOnce")
          this.#tasks.push(() => this.compiled(report));
      },
      now: () => this.now,
      wakeAt: (time) => {
        this.#wakeAt = time;
      },
      random: () => 0.5,
      mayAnswer: () => this.mayAnswer,
    });
  }

  network(name: string): Network {
    let network = this.#networks.get(name);
    if (network === undefined) this.#networks.set(name, (network = this.#connect(name)));
    return network;
  }

  #connect(name: string): Network {
    const lan = new MemoryLan({
      schedule: (task) => this.#tasks.push(task),
      nowMs: () => this.now,
      accepts: (program, octets) => runBpf(program, octets).keep > 0,
    });
    const seen: Seen[] = [];
    const number = Number(name.replace(/\D/g, "")) + 1;
    const port = lan.connect(name, `02:00:00:00:00:0${number}` as MacAddress);
    const neighbour = lan.connect("neighbour", NEIGHBOUR_MAC).open({
      frame: ({ octets }) => {
        const decoded = decodeFrame(octets);
        if (!decoded.ok) throw new Error(decoded.reason);
        const frame = decoded.value;
        const target =
          frame.kind === "arp" ? frame.packet.targetProtocolAddress : frame.message.targetAddress;
        seen.push({ at: this.now, octets, target, text: formatFrame(frame) });
      },
    });
    return { port, neighbour, seen };
  }

  compiled(report: ReportOf<"compile">): void {
    const answer = compileFor(report);
    if (answer.kind === "filter") this.announcing.takeFilter(answer, answer.programs, answer.exact);
  }

  /** Starts with so many interfaces. */
  static withInterfaces(count: number): World {
    const world = new World();
    world.announcing.setInterfaces(Array.from({ length: count }, (_, i) => facts(i + 1)));
    return world;
  }

  announce(...addresses: readonly Address[]): void {
    this.announcing.change(
      addresses.map((address) => ({ address })),
      [],
    );
    this.settle();
  }

  withdraw(...addresses: readonly Address[]): void {
    this.announcing.change([], addresses);
    this.settle();
  }

  /** Has the neighbour on an interface's network send, and gives what the node sent to that. */
  send(name: string, ...frames: readonly Uint8Array[]): readonly Seen[] {
    this.settle();
    const { neighbour, seen } = this.network(name);
    const before = seen.length;
    neighbour.sendBatch(frames);
    this.settle();
    return seen.slice(before);
  }

  /** Frames that the neighbour on an interface's network heard since the last call. */
  take(name = "eth0"): Seen[] {
    this.settle();
    return this.network(name).seen.splice(0);
  }

  /** Delivers what is on its way. */
  settle(): void {
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task();
  }

  /** Lets time pass, waking the node when it asked for it. */
  pass(ms: number): void {
    const end = this.now + ms;
    this.settle();
    while (this.#wakeAt !== undefined && this.#wakeAt <= end) {
      this.now = Math.max(this.now, this.#wakeAt);
      this.#wakeAt = undefined;
      this.wakes++;
      this.announcing.wake();
      this.settle();
    }
    this.now = end;
  }

  reported<Kind extends Report["kind"]>(kind: Kind): ReportOf<Kind>[] {
    return this.reports.filter((report): report is ReportOf<Kind> => report.kind === kind);
  }
}
