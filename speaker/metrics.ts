/** Metrics of the speaker, under MetalLB's names where it has one. */
import type { Metrics } from "../kubernetes/metrics.ts";
import type { InterfaceCounts, ResponderCounters } from "./thread-protocol.ts";
import { FRAME_DROP_REASONS, type AddressTraffic, type DropCounts } from "./traffic.ts";

/** What dashboards know of a speaker. */
export class SpeakerMetrics {
  readonly #announced;
  readonly #of;
  readonly #on;
  readonly #exact;
  readonly #interfaces = new Set<string>();
  readonly #node: string;
  #series = new Map<string, Readonly<Record<"service" | "protocol" | "node" | "ip", string>>>();

  /** Registers everything, at zero. */
  constructor(metrics: Metrics, node: string) {
    this.#node = node;
    const labels = { service: [], protocol: [], node: [], ip: [] } as const;
    this.#announced = metrics.gauge<"service" | "protocol" | "node" | "ip">(
      "metallb_speaker_announced",
      "Addresses of Services that this node announces.",
      labels,
    );
    const ip = { ip: [] } as const;
    this.#of = {
      received: metrics.counter<"ip">(
        "metallb_layer2_requests_received",
        "ARP and Neighbor Discovery frames about an address.",
        ip,
      ),
      answered: metrics.counter<"ip">("metallb_layer2_responses_sent", "Replies to them.", ip),
      announced: metrics.counter<"ip">(
        "metallb_layer2_gratuitous_sent",
        "Frames that announced an address unasked.",
        ip,
      ),
      conflicts: metrics.counter<"ip">(
        "metallb_layer2_conflicts_total",
        "Frames of another host that claimed an address.",
        ip,
      ),
      drops: metrics.counter<"ip" | "reason">(
        "metallb_layer2_address_frames_dropped_total",
        "Frames about an address that were not answered, by reason.",
        { ip: [], reason: [] },
      ),
    };
    const on = { interface: [] } as const;
    this.#on = {
      received: metrics.counter<"interface">(
        "metallb_layer2_frames_received_total",
        "Frames that passed the kernel's filter.",
        on,
      ),
      answered: metrics.counter<"interface">(
        "metallb_layer2_frames_answered_total",
        "Frames that were answered.",
        on,
      ),
      drops: metrics.counter<"interface" | "reason">(
        "metallb_layer2_frames_dropped_total",
        "Frames not answered, by reason.",
        { interface: [], reason: [] },
      ),
      overruns: metrics.counter<"interface">(
        "metallb_layer2_socket_overruns_total",
        "Frames that found no room in a socket's buffer.",
        on,
      ),
      refused: metrics.counter<"interface">(
        "metallb_layer2_send_refused_total",
        "Frames that the kernel did not take for sending.",
        on,
      ),
    };
    this.#exact = metrics.gauge<"interface">(
      "metallb_layer2_filter_exact",
      "1 when the kernel's filter lets through no more than it must, 0 when it covers more.",
      on,
    );
  }

  /** Adds what the responder counted. */
  count({ interfaces, addresses }: ResponderCounters): void {
    for (const counts of interfaces) this.#countInterface(counts);
    for (const counts of addresses) this.#countAddress(counts);
  }

  #countInterface({ name, drops, exact, ...counts }: InterfaceCounts): void {
    const series = { interface: name };
    const on = this.#on;
    if (!this.#interfaces.has(name)) {
      this.#interfaces.add(name);
      // At zero from the start, so that an alert's rate is defined.
      for (const reason of FRAME_DROP_REASONS) on.drops.inc({ ...series, reason }, 0);
    }
    for (const what of ["received", "answered", "overruns", "refused"] as const)
      on[what].inc(series, counts[what]);
    for (const [reason, by] of entriesOf(drops)) on.drops.inc({ ...series, reason }, by);
    if (exact === undefined) this.#exact.remove(series);
    else this.#exact.set(series, exact ? 1 : 0);
  }

  #countAddress({ address: ip, drops, ...counts }: AddressTraffic): void {
    const of = this.#of;
    for (const what of ["received", "answered", "announced", "conflicts"] as const)
      of[what].inc({ ip }, counts[what]);
    for (const [reason, by] of entriesOf(drops)) of.drops.inc({ ip, reason }, by);
  }

  /** Shows which addresses of a Service are announced here; the others of it disappear. */
  announced(service: string, addresses: readonly string[]): void {
    for (const [key, series] of this.#series) {
      if (series.service !== service || addresses.includes(series.ip)) continue;
      this.#announced.remove(series);
      this.#series.delete(key);
    }
    for (const ip of addresses) {
      const series = { service, protocol: "layer2", node: this.#node, ip };
      this.#series.set(`${service} ${ip}`, series);
      this.#announced.set(series, 1);
    }
  }
}

function entriesOf(drops: DropCounts): [reason: string, by: number][] {
  return Object.entries(drops);
}
