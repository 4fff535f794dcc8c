import { validateAddressPool, type AddressPool } from "../../api/address-pool.ts";
import { formatFault, objectReasonOf } from "../../api/fault.ts";
import type { ObjectReason } from "../../api/reason.ts";
import type { PoolConfig } from "../../api/rendered-config.ts";
import { formatRange, parsePoolEntry, type AddressRange } from "../../packet/address/range.ts";

/** One entry of a pool: its canonical text and the addresses it stands for. */
export interface PoolEntry {
  readonly text: string;
  readonly range: AddressRange;
}

/** A pool as it takes effect, with its entries read. */
export interface PoolForm {
  readonly config: PoolConfig;
  readonly entries: readonly PoolEntry[];
}

/** The form of a pool, or what is wrong with the pool; the message names field, value and remedy. */
export type ReadPool =
  | { readonly ok: true; readonly value: PoolForm }
  | { readonly ok: false; readonly reason: ObjectReason; readonly message: string };

/** Objects of a store never change, so what was found out about one holds while it is there. */
const readPools = new WeakMap<AddressPool, ReadPool>();
const forms = new WeakMap<PoolConfig, PoolForm>();

/**
 * Builds the rendered form of one pool, looking at nothing but the pool. Asked again about the same
 * object, it gives the same answer without looking again.
 * @returns reason `UnsupportedProtocol`, `Overlapping` (of its own entries) or `Invalid`
 */
export function desiredPool(pool: AddressPool): ReadPool {
  const known = readPools.get(pool);
  if (known !== undefined) return known;
  const read = readPool(pool);
  readPools.set(pool, read);
  if (read.ok) forms.set(read.value.config, read.value);
  return read;
}

/** A ConfigMap holds a MiB for all pools together: no single one takes it from the others. */
const MAX_FORM_OCTETS = 65_536;

function readPool({ metadata, spec }: AddressPool): ReadPool {
  const faults = validateAddressPool(spec);
  if (faults.length > 0) {
    const message = faults.map(formatFault).join("; ");
    return { ok: false, reason: objectReasonOf(faults), message };
  }
  const entries = readEntries(spec.addresses);
  const { serviceAllocation } = spec;
  const config: PoolConfig = {
    name: metadata.name,
    protocol: "layer2",
    addresses: entries.map((entry) => entry.text),
    "auto-assign": spec.autoAssign,
    "avoid-buggy-ips": spec.avoidBuggyIPs,
    priority: serviceAllocation?.priority ?? 0,
    namespaces: serviceAllocation?.namespaces ?? [],
    "namespace-selectors": serviceAllocation?.namespaceSelectors ?? [],
    "service-selectors": serviceAllocation?.serviceSelectors ?? [],
    "cooldown-seconds": spec.cooldownSeconds,
    "node-selectors": spec.nodeSelectors ?? [],
    interfaces: spec.interfaces ?? [],
    "announce-from": spec.announceFrom,
  };
  const octets = Buffer.byteLength(JSON.stringify(config));
  if (octets > MAX_FORM_OCTETS) {
    const message = `spec takes ${octets} octets of the configuration that all pools share, of at most ${MAX_FORM_OCTETS}: use fewer or shorter selectors, or several pools`;
    return { ok: false, reason: "Invalid", message };
  }
  return { ok: true, value: { config, entries } };
}

/**
 * Reads a pool of a rendered configuration back.
 * @returns undefined when one of its entries is not what the operator writes
 */
export function renderedPool(config: PoolConfig): PoolForm | undefined {
  const known = forms.get(config);
  if (known !== undefined) return known;
  const entries = readEntries(config.addresses);
  return entries.length === config.addresses.length ? { config, entries } : undefined;
}

function readEntries(addresses: readonly string[]): PoolEntry[] {
  return addresses.flatMap((text) => {
    const parsed = parsePoolEntry(text);
    return parsed.ok ? [{ text: formatRange(parsed.value), range: parsed.value }] : [];
  });
}
