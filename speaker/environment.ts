/** Reads what the speaker is told through its environment. */
import type { Toleration } from "./drain.ts";

/** What the speaker is told at its start. */
export interface Environment {
  /** Namespace of the configuration and of what we write. */
  readonly namespace: string;
  /** The node that we run on. */
  readonly node: string;
  /** Our own pod: it owns the objects that we write. */
  readonly pod: { readonly name: string; readonly uid: string };
  /** File with the key under which speakers talk to each other. */
  readonly keyFile: string;
  /** Port of the probes; 0: any. */
  readonly probePort: number;
  /** The probes listen here; the network is the host's, so nobody else should reach them. */
  readonly probeHost: string;
  /** Port of the metrics; 0: any. */
  readonly metricsPort: number;
  /** The metrics listen here; absent: on all addresses. */
  readonly metricsHost?: string;
  /** How metrics are served: `https` asks the API server who may read them, `http` asks nobody. */
  readonly metricsScheme: (typeof SCHEMES)[number];
  /** Tolerations that somebody asked for; see `drainRequest`. */
  readonly tolerations: readonly Toleration[];
  /** Where kube-proxy tells whether it is ready; empty: it is not asked. */
  readonly dataPlaneUrl: string;
}

/** The environment, or every fault in it: variable, value and remedy. */
export type ReadEnvironment =
  | { readonly ok: true; readonly value: Environment }
  | { readonly ok: false; readonly faults: readonly string[] };

const PROBE_PORT = 17472;
const METRICS_PORT = 9120;
/** Where kube-proxy tells of itself: its default, which nearly nobody changes. */
const DATA_PLANE_URL = "http://127.0.0.1:10256/healthz";
const SCHEMES = ["https", "http", "none"] as const;

/**
 * Reads the environment. An empty variable counts as unset, but for `DATA_PLANE_URL`.
 *
 * - `POD_NAMESPACE`, `METALLB_NODE_NAME`, `POD_NAME`, `POD_UID`: all needed
 * - `KEY_FILE` (/etc/ml_secret_key/secretkey)
 * - `PROBE_PORT` (17472; 0: any that is free), `PROBE_HOST` (127.0.0.1)
 * - `METRICS_PORT` (9120; 0: any), `METRICS_SCHEME` (https; http, none), `HOST_IP` (all addresses)
 * - `TOLERATIONS`: JSON, tolerations of core/v1 that the speaker was given by request (none)
 * - `DATA_PLANE_URL` (http://127.0.0.1:10256/healthz, kube-proxy's; empty: it is not asked)
 */
export function readEnvironment(
  variables: Readonly<Record<string, string | undefined>>,
): ReadEnvironment {
  const faults: string[] = [];
  const need = (name: string, what: string): string => {
    const value = variables[name] ?? "";
    if (value === "") faults.push(`${name} is not set: set it to ${what}`);
    return value;
  };
  const given = (name: string, otherwise: string): string => {
    const value = variables[name] ?? "";
    return value === "" ? otherwise : value;
  };
  const port = (name: string, preset: number): number => {
    const text = given(name, String(preset));
    if (!/^\d{1,5}$/.test(text) || Number(text) > 65535)
      faults.push(`${name} is ${JSON.stringify(text)}: set it to a port from 0 to 65535`);
    return Number(text);
  };
  const wanted = given("METRICS_SCHEME", "https");
  const scheme = SCHEMES.find((each) => each === wanted);
  if (scheme === undefined)
    faults.push(
      `METRICS_SCHEME is ${JSON.stringify(wanted)}: set it to one of ${SCHEMES.join(", ")}`,
    );
  const tolerations = readTolerations(given("TOLERATIONS", "[]"));
  if (tolerations === undefined)
    faults.push(
      `TOLERATIONS is ${JSON.stringify(variables["TOLERATIONS"])}: set it to a JSON list of tolerations, such as [{"key":"gpu","operator":"Exists"}]`,
    );
  const hostIp = given("HOST_IP", "");
  const value: Environment = {
    namespace: need("POD_NAMESPACE", "the namespace of MetalLB"),
    node: need("METALLB_NODE_NAME", "the name of the node (spec.nodeName)"),
    pod: {
      name: need("POD_NAME", "the name of this pod (metadata.name)"),
      uid: need("POD_UID", "the uid of this pod (metadata.uid)"),
    },
    keyFile: given("KEY_FILE", "/etc/ml_secret_key/secretkey"),
    probePort: port("PROBE_PORT", PROBE_PORT),
    probeHost: given("PROBE_HOST", "127.0.0.1"),
    metricsPort: port("METRICS_PORT", METRICS_PORT),
    ...(hostIp !== "" && { metricsHost: hostIp }),
    metricsScheme: scheme ?? "none",
    tolerations: tolerations ?? [],
    dataPlaneUrl: variables["DATA_PLANE_URL"] ?? DATA_PLANE_URL,
  };
  const isUrl = value.dataPlaneUrl === "" || /^http:\/\/\S+$/.test(value.dataPlaneUrl);
  if (!isUrl)
    faults.push(
      `DATA_PLANE_URL is ${JSON.stringify(value.dataPlaneUrl)}: set it to a URL such as ${DATA_PLANE_URL}, or to nothing`,
    );
  return faults.length > 0 ? { ok: false, faults } : { ok: true, value };
}

const FIELDS: readonly string[] = ["key", "operator", "value", "effect"];

/** Reads a list of tolerations; undefined when it is none. */
function readTolerations(text: string): readonly Toleration[] | undefined {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return undefined; // the caller says what it should have been
  }
  if (!Array.isArray(list)) return undefined;
  return list.every(isToleration) ? list : undefined;
}

function isToleration(value: unknown): value is Toleration {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).every(
    ([name, field]) => !FIELDS.includes(name) || typeof field === "string",
  );
}
