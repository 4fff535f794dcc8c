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
import { parse, stringify } from "yaml";

/** Key of the ConfigMap's data under which the document stands. */
export const CONFIG_KEY = "config";
/** Name of the ConfigMap. */
export const CONFIG_NAME = "config";

const closed = { additionalProperties: false } as const;

const labelSelector = Type.Object(
  {
    matchLabels: Type.Optional(Type.Record(Type.String(), Type.String())),
    matchExpressions: Type.Optional(
      Type.Array(
        Type.Object(
          {
            key: Type.String(),
            operator: Type.Union([
              Type.Literal("In"),
              Type.Literal("NotIn"),
              Type.Literal("Exists"),
              Type.Literal("DoesNotExist"),
            ]),
            values: Type.Optional(Type.Array(Type.String())),
          },
          closed,
        ),
      ),
    ),
  },
  closed,
);

const pool = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    protocol: Type.Literal("layer2"),
    addresses: Type.Array(Type.String()),
    "auto-assign": Type.Boolean(),
    "avoid-buggy-ips": Type.Boolean(),
    /** Lower is preferred; 0 is "unset" and comes last, as MetalLB has it. */
    priority: Type.Integer({ minimum: 0 }),
    /** Namespaces that may use the pool; with both lists empty, all. */
    namespaces: Type.Array(Type.String()),
    "namespace-selectors": Type.Array(labelSelector),
    /** A Service must match one of them; empty: every Service. */
    "service-selectors": Type.Array(labelSelector),
    /** How long a released address rests before it is handed out again. */
    "cooldown-seconds": Type.Integer({ minimum: 0 }),
    /** Nodes that may announce; empty: all. */
    "node-selectors": Type.Array(labelSelector),
    /** Interfaces to announce on, by exact name; empty: all. */
    interfaces: Type.Array(Type.String()),
    "announce-from": Type.Union([Type.Literal("EndpointNodes"), Type.Literal("AllNodes")]),
  },
  closed,
);

const renderedConfig = Type.Object(
  {
    "address-pools": Type.Array(pool),
    "log-level": Type.Union(
      (["all", "debug", "info", "warn", "error", "none"] as const).map((level) =>
        Type.Literal(level),
      ),
    ),
    /** Only Services of this class are ours; empty: Services without a class. */
    "load-balancer-class": Type.String(),
    /** Announce from nodes labelled exclude-from-external-load-balancers too. */
    "ignore-exclude-load-balancers": Type.Boolean(),
    /** Regular expressions of interface names that are never announced on. */
    "excluded-interfaces": Type.Array(Type.String()),
  },
  closed,
);

/** A label selector as Kubernetes has it (meta/v1). */
export type LabelSelector = Static<typeof labelSelector>;
/** One pool of the rendered configuration. */
export type PoolConfig = Static<typeof pool>;
/** The whole rendered configuration. */
export type RenderedConfig = Static<typeof renderedConfig>;

/** A document that was read, or why it was refused. */
export type ParsedConfig =
  | { readonly ok: true; readonly value: RenderedConfig }
  | { readonly ok: false; readonly reason: "malformed" | "invalid"; readonly message: string };

const validate = new Ajv({ allErrors: true, strict: false }).compile<RenderedConfig>(renderedConfig);

/**
 * Reads a rendered configuration.
 * @returns reason `malformed` when the text is no YAML, `invalid` when it does not fit the schema;
 * the message names each field. Inverse of {@link formatRenderedConfig}.
 */
export function parseRenderedConfig(text: string): ParsedConfig {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    return { ok: false, reason: "malformed", message: String(error) };
  }
  if (validate(document)) return { ok: true, value: document };
  const faults = (validate.errors ?? []).map(
    (fault) => `${fault.instancePath || "/"} ${fault.message ?? fault.keyword}`,
  );
  return { ok: false, reason: "invalid", message: faults.join("; ") };
}

/**
 * Writes a rendered configuration as YAML with a stable key order, so that equal configurations
 * are equal texts. Inverse of {@link parseRenderedConfig}.
 */
export function formatRenderedConfig(config: RenderedConfig): string {
  return stringify(config, { sortMapEntries: true, lineWidth: 0 });
}
