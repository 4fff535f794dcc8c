/**
 * The rendered configuration: the one document that the operator writes (ConfigMap `config`, key
 * `config`, YAML) and that controller and speaker read. Keys are MetalLB's where MetalLB has one
 * (`address-pools`, `auto-assign`, `avoid-buggy-ips`), else ours.
 *
 * The operator is its only writer and validates everything in it; the readers still refuse a
 * document that does not fit the schema and go on with the last one that did.
 */
import { Type, type Static } from "@sinclair/typebox";
import { Ajv } from "ajv";
import { parse } from "yaml";
import { ANNOUNCE_FROM } from "./address-pool.ts";
import { labelSelector } from "./label.ts";
import {
  ANNOUNCEMENT_REFRESH_SECONDS,
  HEARTBEAT_INTERVAL_MS,
  LOG_LEVELS,
  MISSED_HEARTBEATS,
} from "./metallb.ts";
import { AJV_OPTIONS, oneOf } from "./schema.ts";

/** Key of the ConfigMap's data under which the document stands. */
export const CONFIG_KEY = "config";
/** Name of the ConfigMap. */
export const CONFIG_NAME = "config";

const selector = labelSelector("");
const NONE = { default: [] };

// Keys that a version does not know are passed over, those that it misses have a default: see below.
const pool = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    protocol: Type.Literal("layer2", { default: "layer2" }),
    addresses: Type.Array(Type.String()),
    "auto-assign": Type.Boolean({ default: true }),
    "avoid-buggy-ips": Type.Boolean({ default: false }),
    /** Lower is preferred; 0 is "unset" and comes last, as MetalLB has it. */
    priority: Type.Integer({ minimum: 0, default: 0 }),
    /** Namespaces that may use the pool; with both lists empty, all. */
    namespaces: Type.Array(Type.String(), NONE),
    "namespace-selectors": Type.Array(selector, NONE),
    /** A Service must match one of them; empty: every Service. */
    "service-selectors": Type.Array(selector, NONE),
    /** How long a released address rests before it is handed out again. */
    "cooldown-seconds": Type.Integer({ minimum: 0, default: 0 }),
    /** Nodes that may announce; empty: all. */
    "node-selectors": Type.Array(selector, NONE),
    /** Interfaces to announce on, by exact name; empty: all. */
    interfaces: Type.Array(Type.String(), NONE),
    "announce-from": oneOf(ANNOUNCE_FROM, { default: "EndpointNodes" }),
  },
  { additionalProperties: true },
);

/** Schema of the whole document. */
export const renderedConfig = Type.Object(
  {
    "address-pools": Type.Array(pool),
    "log-level": oneOf(LOG_LEVELS, {}),
    /** Only Services of this class are ours; empty: Services without a class. */
    "load-balancer-class": Type.String(),
    /** Announce from nodes labelled exclude-from-external-load-balancers too. */
    "ignore-exclude-load-balancers": Type.Boolean(),
    /** Regular expressions of interface names that are never announced on. */
    "excluded-interfaces": Type.Array(Type.String()),
    "failure-detection": Type.Object(
      {
        /** Time between two heartbeats of a speaker. */
        "interval-milliseconds": Type.Integer(HEARTBEAT_INTERVAL_MS),
        /** So many missed heartbeats in a row make a speaker suspect. */
        multiplier: Type.Integer(MISSED_HEARTBEATS),
      },
      { default: {} },
    ),
    /** Longest time from one announcement of an address to the next. */
    "announcement-refresh-seconds": Type.Integer(ANNOUNCEMENT_REFRESH_SECONDS),
    /** Hosts of the LAN that a speaker asks whether it is cut off; canonical texts. */
    "witness-addresses": Type.Array(Type.String(), { default: [] }),
    rebalance: Type.Object(
      {
        /**
         * Speakers spread the addresses over the nodes once whenever this has grown since they saw it
         * last. The first one that a speaker sees after its start tells it nothing.
         */
        generation: Type.Integer({ minimum: 0, default: 0 }),
        /** Of the operator: the rollout of speakers that a rebalance has followed. */
        rollout: Type.String({ default: "" }),
        /** Of the operator: the request, by annotation, that a rebalance has followed. */
        request: Type.String({ default: "" }),
      },
      { default: {} },
    ),
  },
  // Keys of later versions are passed over, and those that earlier ones lack have a default: while
  // an upgrade goes from node to node, each version reads what the other wrote.
  { additionalProperties: true },
);

export type { LabelSelector } from "./label.ts";
/** One pool of the rendered configuration. */
export type PoolConfig = Static<typeof pool>;
/** The whole rendered configuration. */
export type RenderedConfig = Static<typeof renderedConfig>;

/** A document that was read, or why it was refused. */
export type ParsedConfig =
  | { readonly ok: true; readonly value: RenderedConfig }
  | { readonly ok: false; readonly reason: "malformed" | "invalid"; readonly message: string };

const validate = new Ajv({ ...AJV_OPTIONS, useDefaults: true }).compile<RenderedConfig>(
  renderedConfig,
);

/**
 * Reads a rendered configuration: any YAML, and its JSON form soonest.
 * @returns reason `malformed` when the text is no YAML, `invalid` when it does not fit the schema;
 * the message names each field. Inverse of {@link formatRenderedConfig}.
 */
export function parseRenderedConfig(text: string): ParsedConfig {
  let document: unknown;
  try {
    document = read(text);
  } catch (error) {
    return { ok: false, reason: "malformed", message: String(error) };
  }
  if (validate(document)) return { ok: true, value: document };
  const faults = (validate.errors ?? []).map(
    (fault) => `${fault.instancePath || "/"} ${fault.message ?? fault.keyword}`,
  );
  return { ok: false, reason: "invalid", message: faults.join("; ") };
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return parse(text); // written by a person, or by an earlier version
  }
}

/**
 * Writes a rendered configuration, with a stable key order, so that equal configurations are equal
 * texts. It is YAML in its JSON form, laid out for people: a line for each pool, one for each setting.
 * A YAML library takes a tenth of a second for five hundred pools, and three to read them.
 * Inverse of {@link parseRenderedConfig}.
 */
export function formatRenderedConfig(config: RenderedConfig): string {
  const lines = sortedEntries(config).map(([key, value]) => {
    const isList = Array.isArray(value) && value.some((item) => typeof item === "object");
    return `  ${JSON.stringify(key)}: ${isList ? linesOf(value) : stableText(value)}`;
  });
  return `{\n${lines.join(",\n")}\n}\n`;
}

function linesOf(list: readonly unknown[]): string {
  return `[\n${list.map((item) => `    ${stableText(item)}`).join(",\n")}\n  ]`;
}

/** JSON on one line with sorted keys, a space after commas and colons. */
function stableText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stableText).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const fields = sortedEntries(value).map(
    ([key, each]) => `${JSON.stringify(key)}: ${stableText(each)}`,
  );
  return `{${fields.join(", ")}}`;
}

/** Names go first: they are what people look for. */
function sortedEntries(value: object): [string, unknown][] {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return entries.sort(([a], [b]) => (a === "name" || (b !== "name" && a < b) ? -1 : 1));
}
