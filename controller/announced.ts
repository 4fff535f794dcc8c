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
  statuses: readonly ServiceL2Status[],
): Announcement {
  const found = addresses.map((address) => announcementOfOne(address, statuses));
  const missing = found.find(({ status }) => status !== "True");
  const message = [...new Set(found.map((each) => each.message))].join("; ");
  if (missing !== undefined) return { ...missing, message };
  return { status: "True", reason: "Announced", message };
}

function announcementOfOne(address: Address, statuses: readonly ServiceL2Status[]): Announcement {
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

function highestTerm(address: Address, statuses: readonly ServiceL2Status[]): Witness | undefined {
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

/** Lists the conflicts that speakers report. */
export function conflictsIn(statuses: Iterable<ServiceL2Status>): ReportedConflict[] {
  const conflicts: ReportedConflict[] = [];
  for (const { status } of statuses) {
    for (const { address, reason, conflict, since } of status?.addresses ?? []) {
      const parsed = parseAddress(address);
      if (reason !== "AddressConflict" || !parsed.ok) continue;
      conflicts.push({
        address: parsed.value,
        hardwareAddress: conflict?.hardwareAddress ?? "",
        since: conflict?.since ?? since ?? "",
      });
    }
  }
  return conflicts;
}
