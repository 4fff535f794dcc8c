/** Reads what the speaker is told through its environment. */

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
}

/** The environment, or every fault in it: variable, value and remedy. */
export type ReadEnvironment =
  | { readonly ok: true; readonly value: Environment }
  | { readonly ok: false; readonly faults: readonly string[] };

const PROBE_PORT = 17472;

/**
 * Reads `POD_NAMESPACE`, `METALLB_NODE_NAME`, `POD_NAME`, `POD_UID` (all needed), `KEY_FILE`
 * (/etc/ml_secret_key/secretkey), `PROBE_PORT` (17472; 0: any that is free) and `PROBE_HOST` (127.0.0.1). An empty variable counts as unset.
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
  const port = given("PROBE_PORT", String(PROBE_PORT));
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535)
    faults.push(`PROBE_PORT is ${JSON.stringify(port)}: set it to a port from 0 to 65535`);
  const value: Environment = {
    namespace: need("POD_NAMESPACE", "the namespace of MetalLB"),
    node: need("METALLB_NODE_NAME", "the name of the node (spec.nodeName)"),
    pod: {
      name: need("POD_NAME", "the name of this pod (metadata.name)"),
      uid: need("POD_UID", "the uid of this pod (metadata.uid)"),
    },
    keyFile: given("KEY_FILE", "/etc/ml_secret_key/secretkey"),
    probePort: Number(port),
    probeHost: given("PROBE_HOST", "127.0.0.1"),
  };
  return faults.length > 0 ? { ok: false, faults } : { ok: true, value };
}
