/**
 * The verdict on a Service as one speaker gives it to who asks on its node's local port: whether each
 * address is announced, by whom, and why not by each of the other nodes. Pure.
 */
import { formatTime } from "../api/condition.ts";
import type { AddressReason, NodeReason, ServiceReason } from "../api/reason.ts";
import { observe, otherNodes, type ObservedAddress } from "./observation.ts";

/** Any reason that a verdict can give. */
export type VerdictReason = NodeReason | AddressReason | ServiceReason;

/** What is said of one address. */
export interface AddressVerdict {
  readonly address: string;
  readonly reason: VerdictReason;
  /** The same for people, with what to do. */
  readonly message: string;
  /** The node that answers for it. */
  readonly owner?: string;
  /** Raised at each change of owner. */
  readonly term: number;
  /** Since when the owner is the owner, or there is none. */
  readonly since: string;
  /** Interfaces of this node that it is answered for on. */
  readonly interfaces: readonly string[];
  /** Another host that uses it. */
  readonly conflict?: { readonly hardwareAddress: string; readonly since: string };
  /** Why this node announces it, or does not. */
  readonly here: { readonly reason: VerdictReason; readonly message: string };
  /** Why all others do not, the first by rank first. */
  readonly nodes: readonly {
    readonly node: string;
    readonly reason: NodeReason;
    readonly since?: string;
  }[];
}

/** What is said of a Service. */
export interface Verdict {
  /** namespace/name */
  readonly service: string;
  /** The node whose speaker says so. */
  readonly saidBy: string;
  readonly reason: VerdictReason;
  readonly message: string;
  readonly addresses: readonly AddressVerdict[];
}

/** What is said of one address as `node` sees it. */
export function addressVerdict(observed: ObservedAddress, node: string): AddressVerdict {
  const { address, owner, term, since, foreign, interfaces } = observed;
  const own = observe(observed, node);
  const here = { reason: own.reason, message: own.message ?? announcedHere(interfaces) };
  const isElsewhere = owner !== undefined && owner !== node && foreign === undefined;
  return {
    address,
    ...(isElsewhere ? { reason: "Announced" as const, message: `announced by ${owner}` } : here),
    ...(owner !== undefined && { owner }),
    term,
    since: formatTime(since),
    interfaces,
    ...(foreign !== undefined && {
      conflict: { hardwareAddress: foreign.hardwareAddress, since: formatTime(foreign.since) },
    }),
    here,
    nodes: otherNodes(observed, node).map(({ node: name, reason, since: from }) => {
      if (name === owner) return { node: name, reason: "Announced" as const };
      return { node: name, reason, ...(from !== undefined && { since: formatTime(from) }) };
    }),
  };
}

function announcedHere(interfaces: readonly string[]): string {
  return `announced by this node on ${interfaces.join(", ")}`;
}

/**
 * Puts the addresses of a Service together: announced when all are, else the first that is not.
 * @param otherwise what to say when there is no address at all
 */
export function verdictOf(
  service: string,
  saidBy: string,
  addresses: readonly AddressVerdict[],
  otherwise: { readonly reason: VerdictReason; readonly message: string },
): Verdict {
  const missing = addresses.find(({ reason }) => reason !== "Announced");
  const said = missing ?? addresses[0];
  const { reason, message } =
    said === undefined
      ? otherwise
      : { reason: said.reason, message: `${said.address}: ${said.message}` };
  return { service, saidBy, reason, message, addresses };
}

/** Writes a verdict for people. */
export function formatVerdict(verdict: Verdict): string {
  const { service, saidBy, reason, message, addresses } = verdict;
  const head = `Service ${service}, as the speaker of ${saidBy} sees it: ${reason}`;
  const lines = addresses.length === 0 ? [head, `  ${message}`] : [head];
  for (const each of addresses) lines.push("", ...linesOf(each, saidBy));
  return `${lines.join("\n")}\n`;
}

function linesOf(verdict: AddressVerdict, saidBy: string): string[] {
  const { address, reason, message, owner = "nobody", term, since, conflict, here } = verdict;
  const lines = [
    `${address}: ${reason}`,
    `  ${message}`,
    `  owner ${owner}, term ${term}, since ${since}`,
  ];
  if (conflict !== undefined)
    lines.push(`  used by ${conflict.hardwareAddress} since ${conflict.since}`);
  const rows = [
    { node: saidBy, reason: here.reason, more: here.message },
    ...verdict.nodes.map(({ node, reason: why, since: from }) => {
      return { node, reason: why, more: from === undefined ? "" : `since ${from}` };
    }),
  ];
  const width = Math.max(...rows.map(({ node }) => node.length));
  const reasonWidth = Math.max(...rows.map((row) => row.reason.length));
  for (const row of rows)
    lines.push(
      `  ${row.node.padEnd(width)}  ${row.reason.padEnd(reasonWidth)}  ${row.more}`.trimEnd(),
    );
  return lines;
}

/** What somebody asked, or why it cannot be answered. */
export type VerdictQuestion =
  | { readonly ok: true; readonly service: string }
  | { readonly ok: false; readonly message: string };

/** What a name of a namespace or of a Service looks like (RFC 1123). */
const KEY = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** Reads the query of `GET /verdict?service=namespace/name`. */
export function readQuestion(query: URLSearchParams): VerdictQuestion {
  const example = "ask for /verdict?service=default/web";
  const unknown = [...query.keys()].find((name) => name !== "service");
  if (unknown !== undefined)
    return { ok: false, message: `query parameter ${unknown} is not known: ${example}` };
  const services = query.getAll("service");
  const [service = ""] = services;
  if (services.length !== 1 || service === "")
    return { ok: false, message: `query parameter service has to be given once: ${example}` };
  if (!KEY.test(service)) {
    const shown = JSON.stringify(service.slice(0, 128));
    return { ok: false, message: `service ${shown} is no namespace/name: ${example}` };
  }
  return { ok: true, service };
}

/** Whether an `Accept` header would rather have JSON than text: it names JSON, or a `+json`. */
export function prefersJson(accept: string | undefined): boolean {
  const types = (accept ?? "").split(",").map((part) => {
    const [type = "", ...parameters] = part.trim().toLowerCase().split(";");
    const quality = parameters.map((each) => /^\s*q=([\d.]+)\s*$/.exec(each)?.[1]).find(Boolean);
    return { type: type.trim(), quality: quality === undefined ? 1 : Number(quality) };
  });
  const best = (wanted: readonly string[]): number =>
    Math.max(0, ...types.flatMap(({ type, quality }) => (wanted.includes(type) ? [quality] : [])));
  return best(["application/json", "application/*"]) > best(["text/plain", "text/*"]);
}

/** What a speaker can say about a Service; undefined: it does not know it. */
export interface Witness {
  verdict(service: string): Verdict | undefined;
}

/** Answers `GET /verdict`: 200, 400 with what is wrong with the question, 404 with where to look. */
export function answerQuestion(
  { query, accept }: { readonly query: URLSearchParams; readonly accept: string | undefined },
  witness: Witness,
): { readonly status: number; readonly contentType: string; readonly body: string } {
  const json = prefersJson(accept);
  const answer = (status: number, value: object, text: string) =>
    json
      ? { status, contentType: "application/json", body: `${JSON.stringify(value, null, 2)}\n` }
      : { status, contentType: "text/plain; charset=utf-8", body: text };
  const refuse = (status: number, message: string) =>
    answer(status, { error: message }, `${message}\n`);
  const question = readQuestion(query);
  if (!question.ok) return refuse(400, question.message);
  const verdict = witness.verdict(question.service);
  if (verdict === undefined)
    return refuse(
      404,
      `NotLoadBalancer: no Service ${question.service} of type LoadBalancer is known to this speaker: look at its name, namespace and spec.type`,
    );
  return answer(200, verdict, formatVerdict(verdict));
}
