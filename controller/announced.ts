/** What the speakers say of a Service's addresses, put together to one answer. */
import type { ConditionStatus } from "../api/condition.ts";
import type { AddressReason, NodeReason, ServiceReason } from "../api/reason.ts";
import type { AddressObservation, ServiceL2Status } from "../api/service-l2-status.ts";
import { parseAddress, type Address } from "../packet/address/address.ts";

/** Whether the addresses of a Service are announced, by whom, or why not. */
export interface Announcement {
  readonly status: ConditionStatus;
  readonly reason: ServiceReason | AddressReason | NodeReason;
  readonly message: string;
}

/** An address that another host on the LAN uses, as a speaker reported it. */
export interface ReportedConflict {
  readonly address: Address;
  readonly hardwareAddress: string;
  readonly since: string;
}

interface Witness {
  readonly node: string;
  readonly observation: AddressObservation;
}

/**
 * Puts together what speakers observe: of several that speak of one address the one with the highest
 * term is right, for it is the newest owner. All addresses must be announced.
 */
export function announcementOf(
  addresses: readonly Address[],
  statuses: readonly Pick<ServiceL2Status, "status">[],
): Announcement {
  const found = addresses.map((address) => announcementOfOne(address, statuses));
  const missing = found.find(({ status }) => status !== "True");
  const message = [...new Set(found.map((each) => each.message))].join("; ");
  if (missing !== undefined) return { ...missing, message };
  return { status: "True", reason: "Announced", message };
}

function announcementOfOne(
  address: Address,
  statuses: readonly Pick<ServiceL2Status, "status">[],
): Announcement {
  const witness = highestTerm(address, statuses);
  if (witness === undefined) {
    const message = `no speaker has said anything about ${address} yet`;
    return { status: "Unknown", reason: "SpeakerMissing", message };
  }
  const { node, observation } = witness;
  const { reason, message, interfaces = [] } = observation;
  if (reason === "Announced") {
    const names = interfaces.map(({ name }) => name).join(", ");
    const where = names === "" ? node : `${node} on ${names}`;
    return { status: "True", reason, message: `${address} is announced by ${where}` };
  }
  const why = message ?? `${reason} on node ${node}`;
  return { status: "False", reason, message: `${address} is not announced: ${why}` };
}

function highestTerm(
  address: Address,
  statuses: readonly Pick<ServiceL2Status, "status">[],
): Witness | undefined {
  let best: Witness | undefined;
  for (const { status } of statuses) {
    for (const observation of status?.addresses ?? []) {
      if (observation.address !== address || status === undefined) continue;
      const witness = { node: status.node, observation };
      if (best === undefined || isBetter(witness, best)) best = witness;
    }
  }
  return best;
}

function isBetter(a: Witness, b: Witness): boolean {
  if (a.observation.term !== b.observation.term) return a.observation.term > b.observation.term;
  const announces = (witness: Witness): boolean => witness.observation.reason === "Announced";
  if (announces(a) !== announces(b)) return announces(a);
  return a.node < b.node;
}

/** An address that a speaker announces without anybody's objecting. */
export interface ReportedAnnouncement {
  readonly address: Address;
  readonly term: number;
  /** Since when this node is its owner; empty: not said. */
  readonly since: string;
}

/** What a speaker says about the use of addresses. */
export interface Report {
  readonly conflicts: readonly ReportedConflict[];
  readonly announced: readonly ReportedAnnouncement[];
}

/** Reads what a speaker says about conflicts, and about addresses that it has without one. */
export function reportOf({ status }: Pick<ServiceL2Status, "status">): Report {
  const conflicts: ReportedConflict[] = [];
  const announced: ReportedAnnouncement[] = [];
  for (const { address, reason, conflict, since, term } of status?.addresses ?? []) {
    if (reason !== "AddressConflict" && reason !== "Announced") continue;
    const parsed = parseAddress(address);
    if (!parsed.ok) continue;
    if (reason === "Announced") {
      announced.push({ address: parsed.value, term, since: since ?? "" });
      continue;
    }
    conflicts.push({
      address: parsed.value,
      hardwareAddress: conflict?.hardwareAddress ?? "",
      since: conflict?.since ?? since ?? "",
    });
  }
  return { conflicts, announced };
}
