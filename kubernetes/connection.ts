/**
 * Where the API server is and who we are.
 *
 * Inside a cluster that is two environment variables and two files, read here: loading the client's
 * configuration code would cost 29 MB on every node (docs/adr/0005-api-client.md). A kubeconfig, with
 * its certificates, exec plugins and OIDC, is the client's business; its code is loaded only then.
 */
import { readFileSync, existsSync } from "node:fs";
import type { Agent } from "node:http";
import { isIPv6 } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type { Clock } from "./clock.ts";
import { OperatorError } from "./errors.ts";

/** What a TLS connection to the server needs. */
export type TlsSettings = Pick<
  ConnectionOptions,
  "ca" | "cert" | "key" | "pfx" | "passphrase" | "rejectUnauthorized" | "servername"
>;

/** How the next request identifies itself. */
export interface Credentials {
  readonly tls: TlsSettings;
  readonly headers: Readonly<Record<string, string>>;
  /** Set when the connection goes through a proxy. */
  readonly agent?: Agent;
}

/** The way to one API server. */
export interface Connection {
  /** Scheme, host and port, perhaps with a path. */
  readonly server: URL;
  /** Namespace we run in or the kubeconfig's context names; empty when unknown. */
  readonly namespace: string;
  /** What the next request identifies itself with; files are read again when they may have changed. */
  credentials(): Promise<Credentials>;
  /** Has the next call of `credentials` read everything again: the server refused what we had. */
  invalidate(): void;
}

/** Folder in which Kubernetes mounts a pod's token, CA and namespace. */
export const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";

/** How often token, CA and kubeconfig are read again; reading three small files costs 0.1 ms. */
const REREAD_MS = 10_000;

/** Where a pod finds the API server. */
export interface InClusterOptions {
  readonly directory?: string;
  readonly host?: string;
  readonly port?: string;
}

/** True when this process runs in a pod that has a service account. */
export function isInCluster(directory = SERVICE_ACCOUNT_DIRECTORY): boolean {
  return Boolean(process.env["KUBERNETES_SERVICE_HOST"]) && existsSync(`${directory}/token`);
}

/** The connection of the kubeconfig given, else of KUBECONFIG, the pod, or `~/.kube/config`. */
export async function findConnection(clock: Clock, kubeconfig?: string): Promise<Connection> {
  if (kubeconfig !== undefined) return kubeconfigConnection(clock, kubeconfig);
  if (!process.env["KUBECONFIG"] && isInCluster()) return inClusterConnection(clock);
  return kubeconfigConnection(clock);
}

/**
 * The connection of a pod.
 * @throws OperatorError `Configuration` when an environment variable or a file is missing.
 */
export function inClusterConnection(clock: Clock, options: InClusterOptions = {}): Connection {
  const directory = options.directory ?? SERVICE_ACCOUNT_DIRECTORY;
  const host = options.host ?? process.env["KUBERNETES_SERVICE_HOST"];
  const port = options.port ?? process.env["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (!host) {
    throw new OperatorError(
      "Configuration",
      "finding the API server: KUBERNETES_SERVICE_HOST is not set; run in a pod or set KUBECONFIG",
    );
  }
  const read = (): Credentials => ({
    tls: { ca: readRequired(`${directory}/ca.crt`) },
    headers: { authorization: `Bearer ${readRequired(`${directory}/token`).trim()}` },
  });
  return {
    server: new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`),
    namespace: readOptional(`${directory}/namespace`).trim(),
    ...cached(clock, () => Promise.resolve(read())),
  };
}

/** A connection that is known beforehand; for tests and for proxies on loopback. */
export function fixedConnection(
  server: string,
  credentials: Partial<Credentials> = {},
): Connection {
  const fixed: Credentials = { tls: {}, headers: {}, ...credentials };
  return {
    server: new URL(server),
    namespace: "",
    credentials: () => Promise.resolve(fixed),
    invalidate: () => undefined,
  };
}

/**
 * The connection of a kubeconfig's current context.
 * @param path the file; without it KUBECONFIG or `~/.kube/config`.
 * @throws OperatorError `Configuration` when the file is unreadable or has no current cluster.
 */
export async function kubeconfigConnection(clock: Clock, path?: string): Promise<Connection> {
  const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
  const attempted = `reading kubeconfig ${path ?? process.env["KUBECONFIG"] ?? "~/.kube/config"}`;
  const load = (): InstanceType<typeof KubeConfig> => {
    const config = new KubeConfig();
    try {
      if (path === undefined) config.loadFromDefault();
      else config.loadFromFile(path);
    } catch (cause) {
      throw new OperatorError("Configuration", attempted, { cause });
    }
    return config;
  };
  const first = load();
  const cluster = first.getCurrentCluster();
  if (!cluster) {
    throw new OperatorError(
      "Configuration",
      `${attempted}: context ${JSON.stringify(first.getCurrentContext())} names no cluster of the file`,
    );
  }
  return {
    server: new URL(cluster.server),
    namespace: first.getContextObject(first.getCurrentContext())?.namespace ?? "",
    ...cached(clock, (again) => kubeconfigCredentials(again ? load() : first)),
  };
}

/** The part of the client's options that it fills in. */
interface HttpsOptions extends TlsSettings {
  headers?: Record<string, string>;
  auth?: string;
  agent?: Agent;
}

type Config = import("@kubernetes/client-node/dist/config.js").KubeConfig;

async function kubeconfigCredentials(config: Config): Promise<Credentials> {
  const options: HttpsOptions = {};
  await config.applyToHTTPSOptions(options);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {}))
    headers[name.toLowerCase()] = value;
  if (options.auth)
    headers["authorization"] ??= `Basic ${Buffer.from(options.auth).toString("base64")}`;
  const tls: Record<string, unknown> = {};
  for (const name of [
    "ca",
    "cert",
    "key",
    "pfx",
    "passphrase",
    "rejectUnauthorized",
    "servername",
  ] as const) {
    // The client writes null where there is nothing.
    const value: unknown = options[name] ?? undefined;
    if (value !== undefined) tls[name] = value;
  }
  const proxied = config.getCurrentCluster()?.proxyUrl !== undefined;
  return { tls, headers, ...(proxied && options.agent ? { agent: options.agent } : {}) };
}

/** Keeps what `read` gave for {@link REREAD_MS}, and keeps the last good one while reading fails. */
function cached(
  clock: Clock,
  read: (again: boolean) => Promise<Credentials>,
): Pick<Connection, "credentials" | "invalidate"> {
  let value: Credentials | undefined;
  let readAt = Number.NEGATIVE_INFINITY;
  return {
    credentials: async () => {
      if (value && clock.monotonicMs() - readAt < REREAD_MS) return value;
      try {
        value = await read(value !== undefined);
      } catch (error) {
        // While kubelet swaps the files they may be missing for a moment; what we had is still valid.
        if (!value) throw error;
      }
      readAt = clock.monotonicMs();
      return value;
    },
    invalidate: () => {
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}

function readRequired(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new OperatorError("Configuration", `reading ${path}`, { cause });
  }
}

function readOptional(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
