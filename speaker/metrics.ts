/** Metrics of the speaker, under MetalLB's names where it has one. */
import { ADDRESS_REASONS, NODE_REASONS } from "../api/reason.ts";
import type { AddressObservation } from "../api/service-l2-status.ts";
import type { Metrics } from "../kubernetes/metrics.ts";
import { CAUSES } from "./context.ts";
import { MEMBER_STATUSES } from "./roster.ts";
import { OPEN_REASONS } from "./seal.ts";
import type {
  ConversationCounts,
  InterfaceCounts,
  MemberNews,
  MoveNews,
  ResponderCounters,
} from "./thread-protocol.ts";
import { FRAME_DROP_REASONS, type AddressTraffic, type DropCounts } from "./traffic.ts";

/** Reasons that an address is counted under. */
const REASONS = [...NODE_REASONS, ...ADDRESS_REASONS, "NoReadyEndpoint"] as const;
/** States that members are counted under. */
const STATES = [...MEMBER_STATUSES, "dead"] as const;
/** Why datagrams are not taken: they are not even opened, or what is in them makes no sense. */
const REFUSALS = [...OPEN_REASONS, "malformed"] as const;
/** Seconds of a takeover: detection is due after 0.42, the worst case after 0.6. */
const TAKEOVER_SECONDS = [0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8, 1, 2, 5];
const ROUND_TRIP_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];

/** What dashboards know of a speaker. */
export class SpeakerMetrics {
  readonly #announced;
  readonly #of;
  readonly #on;
  readonly #exact;
  readonly #protocol;
  readonly #loaded;
  readonly #stale;
  readonly #said;
  readonly #reasons = new Map<string, readonly string[]>();
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
    this.#loaded = metrics.gauge(
      "metallb_k8s_client_config_loaded_bool",
      "1 with a configuration.",
    );
    this.#stale = metrics.gauge(
      "metallb_k8s_client_config_stale_bool",
      "1 when the last configuration was refused.",
    );
    this.#said = metrics.gauge<"reason">(
      "metallb_speaker_addresses",
      "Addresses that this node speaks for, by what it says of them.",
      { reason: REASONS },
    );
    this.#protocol = protocolMetrics(metrics);
  }

  /** Shows whether the last configuration was taken. */
  configuration(state: "taken" | "refused"): void {
    if (state === "taken") this.#loaded.set(1);
    this.#stale.set(state === "refused" ? 1 : 0);
  }

  /** Shows how the speakers stand, as this one sees them. */
  members(members: readonly MemberNews[]): void {
    const counts = new Map<string, number>(STATES.map((state) => [state, 0]));
    for (const { status, reason } of members) {
      const state = reason === "SpeakerDead" ? "dead" : status;
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    for (const [state, count] of counts) this.#protocol.members.set({ state }, count);
  }

  /** Counts addresses that changed hands here. */
  moved(moves: readonly MoveNews[]): void {
    const { changes, takeover } = this.#protocol;
    for (const { taken, cause, tookMs } of moves) {
      changes.inc({ change: taken ? "taken" : "released", cause });
      if (tookMs !== undefined) takeover.observe(tookMs / 1000);
    }
  }

  /** Adds what the speakers' conversation counted. */
  #countConversation(counts: ConversationCounts): void {
    const { datagrams, refused, events, roundTrip } = this.#protocol;
    datagrams.inc({ direction: "sent" }, counts.sent);
    datagrams.inc({ direction: "received" }, counts.received);
    for (const [reason, by] of Object.entries(counts.refused)) refused.inc({ reason }, by);
    for (const [event, by] of Object.entries(counts.events)) events.inc({ event }, by);
    for (const milliseconds of counts.roundTrips) roundTrip.observe(milliseconds / 1000);
  }

  /** Adds what the responder counted. */
  count({ interfaces, addresses, conversation }: ResponderCounters): void {
    if (conversation !== undefined) this.#countConversation(conversation);
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

  /** Shows what this node says of the addresses of a Service; what it said before is forgotten. */
  said(service: string, observations: readonly AddressObservation[]): void {
    for (const reason of this.#reasons.get(service) ?? []) this.#said.dec({ reason });
    const reasons = observations.map(({ reason }) => reason);
    for (const reason of reasons) this.#said.inc({ reason });
    if (reasons.length > 0) this.#reasons.set(service, reasons);
    else this.#reasons.delete(service);
    // Also one that somebody else claims, or that others hear no answer about.
    const answered = observations.filter(({ interfaces = [] }) => interfaces.length > 0);
    this.#announce(
      service,
      answered.map(({ address }) => address),
    );
  }

  #announce(service: string, addresses: readonly string[]): void {
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

/** What happens among the speakers. */
function protocolMetrics(metrics: Metrics) {
  return {
    members: metrics.gauge<"state">(
      "metallb_speaker_members",
      "Speakers that this one knows, by what they are up to.",
      { state: STATES },
    ),
    changes: metrics.counter<"change" | "cause">(
      "metallb_speaker_ownership_changes_total",
      "Addresses that this node has begun or ceased to answer for, by cause.",
      { change: ["taken", "released"], cause: CAUSES },
    ),
    takeover: metrics.histogram(
      "metallb_speaker_takeover_duration_seconds",
      "From the last sign of life of an owner that died until this node answered instead.",
      {},
      TAKEOVER_SECONDS,
    ),
    roundTrip: metrics.histogram(
      "metallb_speaker_heartbeat_round_trip_seconds",
      "From a heartbeat to its acknowledgement, which travels with the other's next one.",
      {},
      ROUND_TRIP_SECONDS,
    ),
    datagrams: metrics.counter<"direction">(
      "metallb_speaker_datagrams_total",
      "Datagrams between the speakers.",
      { direction: ["sent", "received"] },
    ),
    refused: metrics.counter<"reason">(
      "metallb_speaker_datagrams_refused_total",
      "Datagrams that were not taken: without the key, replayed, malformed and so on.",
      { reason: REFUSALS },
    ),
    events: metrics.counter<"event">(
      "metallb_speaker_protocol_events_total",
      "What happened among the speakers: suspicions, deaths, fences and so on.",
      { event: [] },
    ),
  };
}

function entriesOf(drops: DropCounts): [reason: string, by: number][] {
  return Object.entries(drops);
}
