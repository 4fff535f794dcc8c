/** All that a cluster holds, so that before and after can be compared. */
import type { Cluster } from "./cluster.ts";

/** An object as it is read. */
export interface Dumped {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

/** Every object by kind, namespace and name: its text, without what changes by itself. */
export type Dump = ReadonlyMap<string, string>;

/** Kinds that say what happens and not what is. */
const TRANSIENT = /^(events|componentstatuses|leases[.])/;
/** Fields that count writes or time. */
const CHANGING = new Set(["resourceVersion", "managedFields", "lastHeartbeatTime"]);

/**
 * Reads every object of every kind.
 * @param select leaves out what is not to be compared
 */
export async function dump(
  cluster: Cluster,
  select: (object: Dumped) => boolean = () => true,
): Promise<Dump> {
  const names = await cluster.kubectl(["api-resources", "--verbs=list", "-o", "name"]);
  const kinds = names.split("\n").filter((name) => name !== "" && !TRANSIENT.test(name));
  const text = await cluster.kubectl(["get", kinds.join(","), "-A", "-o", "json"]);
  const { items } = JSON.parse(text) as { readonly items: readonly Dumped[] };
  return new Map(items.filter(select).map((object) => [keyOf(object), textOf(object)]));
}

/** Leases of the product in a namespace, by name; of the system's there are always some. */
export async function leases(cluster: Cluster, namespace: string): Promise<string[]> {
  const text = await cluster.kubectl(["-n", namespace, "get", "leases", "-o", "name"]);
  return text.split("\n").filter((name) => name !== "");
}

/** The two texts where they part. */
function excerpts(before: string, after: string): string {
  let at = 0;
  while (at < before.length && before[at] === after[at]) at += 1;
  const [from, to] = [Math.max(0, at - 100), at + 100];
  return `…${before.slice(from, to)}… is now …${after.slice(from, to)}…`;
}

/** Names every difference; of a changed object, where its texts part. */
export function differences(before: Dump, after: Dump): string[] {
  const gone = [...before.keys()].filter((key) => !after.has(key)).map((key) => `gone: ${key}`);
  const added = [...after.keys()].filter((key) => !before.has(key)).map((key) => `new: ${key}`);
  const changed = [...before].flatMap(([key, text]) => {
    const now = after.get(key);
    return now === undefined || now === text ? [] : [`changed: ${key}: ${excerpts(text, now)}`];
  });
  return [...gone, ...added, ...changed];
}

function keyOf({ apiVersion, kind, metadata }: Dumped): string {
  return `${kind} ${String(apiVersion)} ${metadata.namespace ?? ""}/${metadata.name}`;
}

function textOf(object: Dumped): string {
  const { images: _, ...status } = (object["status"] ?? {}) as Record<string, unknown>;
  // which images a node has is its kubelet's business
  const seen = object.kind === "Node" ? { ...object, status } : object;
  return JSON.stringify(seen, (name, value: unknown) => (CHANGING.has(name) ? undefined : value));
}
