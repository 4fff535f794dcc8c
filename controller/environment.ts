/** Reads what the controller is told through its environment. */

/** What the controller is told at its start. */
export interface Environment {
  /** Namespace of the configuration, of the pools and of the Lease. */
  readonly namespace: string;
  /** Our pod, which is our name among the replicas; undefined: a random one. */
  readonly podName: string | undefined;
  /** Port of the probes; 0: any. */
  readonly probePort: number;
  /** Port of the metrics; 0: any. */
  readonly metricsPort: number;
  /** How metrics are served: `https` asks the API server who may read them, `http` asks nobody. */
  readonly metricsScheme: "https" | "http" | "none";
}

/** The environment, or every fault in it: variable, value and remedy. */
export type ReadEnvironment =
  | { readonly ok: true; readonly value: Environment }
  | { readonly ok: false; readonly faults: readonly string[] };

const SCHEMES = ["https", "http", "none"] as const;
const NAMESPACE = "metallb-system";

/**
 * Reads the environment. An empty variable counts as unset.
 *
 * - `METALLB_NAMESPACE`, else `POD_NAMESPACE` (metallb-system)
 * - `POD_NAME`
 * - `PROBE_PORT` (17472), `METRICS_PORT` (9120); 0: any that is free
 * - `METRICS_SCHEME` (https): https, http or none
 */
export function readEnvironment(
  variables: Readonly<Record<string, string | undefined>>,
): ReadEnvironment {
  const faults: string[] = [];
  const read = (name: string): string | undefined =>
    variables[name] === "" ? undefined : variables[name];
  const port = (name: string, preset: number): number => {
    const text = read(name) ?? String(preset);
    if (!/^\d{1,5}$/.test(text) || Number(text) > 65535) {
      faults.push(`${name} is ${JSON.stringify(text)}: set it to a port from 0 to 65535`);
    }
    return Number(text);
  };
  const wanted = read("METRICS_SCHEME") ?? "https";
  const metricsScheme = SCHEMES.find((scheme) => scheme === wanted);
  if (metricsScheme === undefined) {
    faults.push(
      `METRICS_SCHEME is ${JSON.stringify(wanted)}: set it to one of ${SCHEMES.join(", ")}`,
    );
  }
  const value = {
    namespace: read("METALLB_NAMESPACE") ?? read("POD_NAMESPACE") ?? NAMESPACE,
    podName: read("POD_NAME"),
    probePort: port("PROBE_PORT", 17472),
    metricsPort: port("METRICS_PORT", 9120),
  };
  if (metricsScheme === undefined || faults.length > 0) return { ok: false, faults };
  return { ok: true, value: { ...value, metricsScheme } };
}
