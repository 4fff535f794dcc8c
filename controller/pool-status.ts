/** What the controller says in the status of an AddressPool: its own fields, never the conditions. */
import type { AddressPoolStatus } from "../api/address-pool.ts";
import type { Allocator } from "./allocator.ts";
import type { Quarantine } from "./quarantine.ts";

/** The fields of the status that the controller owns. */
export type OwnedStatus = Omit<AddressPoolStatus, "conditions" | "observedGeneration">;

const FIELDS = [
  "assignedIPv4",
  "assignedIPv6",
  "availableIPv4",
  "availableIPv6",
  "holders",
  "moreHolders",
  "quarantined",
] as const satisfies readonly (keyof OwnedStatus)[];

/** Holders listed by name. */
const MAX_HOLDERS = 100;
/** Entries of `quarantined` that the schema takes. */
const MAX_QUARANTINED = 1024;
/** A number in JSON is exact up to here. */
const MAX_COUNT = BigInt(Number.MAX_SAFE_INTEGER);

/** Says how a pool stands; a pool that is not in effect has nothing to say. */
export function poolStatus(
  pool: string,
  allocator: Allocator,
  quarantine: Quarantine,
): OwnedStatus {
  if (!allocator.pools.some(({ name }) => name === pool)) return {};
  const [ipv4, ipv6] = [allocator.usage(pool, "ipv4"), allocator.usage(pool, "ipv6")];
  const holders = firstHolders(pool, allocator);
  const quarantined = allocator
    .quarantined(pool)
    .slice(0, MAX_QUARANTINED)
    .flatMap((address) => quarantine.entry(address) ?? []);
  return {
    assignedIPv4: ipv4.assigned,
    assignedIPv6: ipv6.assigned,
    availableIPv4: countOf(ipv4.available),
    availableIPv6: countOf(ipv6.available),
    holders,
    moreHolders: ipv4.holders + ipv6.holders - holders.length,
    quarantined,
  };
}

function countOf(number: bigint): number {
  return Number(number > MAX_COUNT ? MAX_COUNT : number);
}

/** Lists the first holders: by address, then by name. */
function firstHolders(pool: string, allocator: Allocator): NonNullable<OwnedStatus["holders"]> {
  const holders: NonNullable<OwnedStatus["holders"]> = [];
  for (const { address, services } of allocator.holders(pool)) {
    for (const service of [...services].sort()) {
      const slash = service.indexOf("/");
      const [namespace, name] = [service.slice(0, slash), service.slice(slash + 1)];
      holders.push({ address, namespace, name });
      if (holders.length === MAX_HOLDERS) return holders;
    }
  }
  return holders;
}

/** Tells whether the status of a pool says something else than it should, in the fields that are ours. */
export function differs(observed: AddressPoolStatus | undefined, desired: OwnedStatus): boolean {
  return FIELDS.some((field) => {
    const [before, after] = [observed?.[field], desired[field]];
    if (isEmpty(before) && isEmpty(after)) return false;
    return JSON.stringify(normal(before)) !== JSON.stringify(normal(after));
  });
}

function isEmpty(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}

/** The API server may give the fields of an entry in another order. */
function normal(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((entry: Record<string, unknown>) =>
    Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
