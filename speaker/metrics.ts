/** Metrics of the speaker, under MetalLB's names where it has one. */
import type { Metrics } from "../kubernetes/metrics.ts";
import { DROP_REASONS } from "./responder.ts";
import type { ResponderCounters } from "./thread-protocol.ts";

/** A counter of the responder thread, shown as one of ours: it is told totals, and adds the rest. */
function totals(
  add: (label: string, by: number) => void,
): (counts: Readonly<Record<string, number>>) => void {
  const shown = new Map<string, number>();
  return (counts) => {
    for (const [label, total] of Object.entries(counts)) {
      const before = shown.get(label) ?? 0;
      if (total > before) add(label, total - before);
      shown.set(label, total);
    }
  };
}

/** What dashboards know of a speaker. */
export class SpeakerMetrics {
  readonly #announced;
  readonly #show: ((counters: ResponderCounters) => void)[] = [];
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
    for (const [name, help, of] of [
      [
        "metallb_layer2_requests_received",
        "ARP requests and Neighbor Solicitations for an address.",
        "requests",
      ],
      ["metallb_layer2_responses_sent", "Replies to them.", "replies"],
      [
        "metallb_layer2_gratuitous_sent",
        "Frames that announced an address unasked.",
        "announcements",
      ],
    ] as const) {
      const counter = metrics.counter<"ip">(name, help, { ip: [] });
      const show = totals((ip, by) => counter.inc({ ip }, by));
      this.#show.push((counters) => show(counters[of]));
    }
    const drops = metrics.counter(
      "metallb_layer2_frames_dropped_total",
      "Frames not answered, by reason.",
      {
        reason: DROP_REASONS,
      },
    );
    const showDrops = totals((reason, by) => drops.inc({ reason: reason }, by));
    this.#show.push((counters) => showDrops(counters.drops));
    const overruns = metrics.counter(
      "metallb_layer2_socket_overruns_total",
      "Frames that found no room in a socket's buffer.",
    );
    const showOverruns = totals((_label, by) => overruns.inc(by));
    this.#show.push(({ overruns: total }) => showOverruns({ total }));
  }

  /** Shows the responder's counters. */
  show(counters: ResponderCounters): void {
    for (const show of this.#show) show(counters);
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
