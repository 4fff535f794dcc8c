/** Reads what the operator is told through its environment. */
import { LOG_LEVELS, type LogLevel } from "../api/metallb.ts";
import { PROBE_PORT } from "./desired/pod.ts";

/** What the operator is told at its start. */
export interface Environment {
  /** Namespace of the operator and of everything it renders. */
  readonly namespace: string;
  /** Name of the operator's own pod; needed to find out its image. */
  readonly podName: string | undefined;
  readonly controllerImage: string | undefined;
  readonly speakerImage: string | undefined;
  readonly probePort: number;
  readonly logLevel: LogLevel;
  /** Undefined: no webhook is served. */
  readonly webhook: WebhookEnvironment | undefined;
}

/** How the validating webhook is served. */
export interface WebhookEnvironment {
  readonly port: number;
  /** Where a certificate is used that somebody else supplies; without one there the operator makes its own. */
  readonly certificateDirectory: string;
  /** How long a certificate lives that the operator makes. */
  readonly lifetimeMs: number;
}

const WEBHOOK_PORT = "9443";
/** Where OLM mounts the certificate that it makes. */
const CERTIFICATES = "/tmp/k8s-webhook-server/serving-certs";
const LIFETIME_SECONDS = String(90 * 86_400);
/** Less leaves no time to renew; more is no certificate that anybody should make. */
const LIFETIMES = [30, 3_650 * 86_400] as const;

/** The environment, or every fault in it: variable, value and remedy. */
export type ReadEnvironment =
  | { readonly ok: true; readonly value: Environment }
  | { readonly ok: false; readonly faults: readonly string[] };

/**
 * Reads the environment. An empty variable counts as unset.
 *
 * - `OPERATOR_NAMESPACE`, else `POD_NAMESPACE`: where everything lives
 * - `POD_NAME`: whose image the programs run, unless there are
 * - `CONTROLLER_IMAGE`, `SPEAKER_IMAGE`, or `OPERAND_IMAGE` for both
 * - `PROBE_PORT` (17472; 0: any that is free), `LOG_LEVEL` (info)
 * - `WEBHOOK` (`on`; `off` leaves it out), `WEBHOOK_PORT` (9443; 0: any that is free),
 *   `WEBHOOK_CERTIFICATE_DIRECTORY` (OLM's), `WEBHOOK_CERTIFICATE_SECONDS` (90 days): a certificate's life
 */
export function readEnvironment(
  variables: Readonly<Record<string, string | undefined>>,
): ReadEnvironment {
  const read = (...names: readonly string[]): string | undefined =>
    names.map((name) => variables[name]).find((value) => value !== undefined && value !== "");
  const namespace = read("OPERATOR_NAMESPACE", "POD_NAMESPACE");
  const podName = read("POD_NAME");
  const controllerImage = read("CONTROLLER_IMAGE", "OPERAND_IMAGE");
  const speakerImage = read("SPEAKER_IMAGE", "OPERAND_IMAGE");
  const port = read("PROBE_PORT") ?? String(PROBE_PORT);
  const level = read("LOG_LEVEL") ?? "info";
  const logLevel = LOG_LEVELS.find((known) => known === level);

  const faults: string[] = [];
  if (namespace === undefined) {
    faults.push("POD_NAMESPACE is not set: set it to the operator's namespace");
  }
  if (podName === undefined && (controllerImage === undefined || speakerImage === undefined)) {
    faults.push("POD_NAME is not set: set it, or OPERAND_IMAGE, so that there is an image to run");
  }
  if (!isPort(port)) {
    faults.push(`PROBE_PORT is ${JSON.stringify(port)}: set it to a port from 0 to 65535`);
  }
  const webhook = readWebhook(read, faults);
  if (logLevel === undefined) {
    faults.push(`LOG_LEVEL is ${JSON.stringify(level)}: set it to one of ${LOG_LEVELS.join(", ")}`);
  }
  if (namespace === undefined || logLevel === undefined || faults.length > 0) {
    return { ok: false, faults };
  }
  const probePort = Number(port);
  const value = { namespace, podName, controllerImage, speakerImage, probePort, logLevel, webhook };
  return { ok: true, value };
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65535;
}

function readWebhook(
  read: (name: string) => string | undefined,
  faults: string[],
): WebhookEnvironment | undefined {
  const wanted = read("WEBHOOK") ?? "on";
  const port = read("WEBHOOK_PORT") ?? WEBHOOK_PORT;
  const seconds = read("WEBHOOK_CERTIFICATE_SECONDS") ?? LIFETIME_SECONDS;
  const [shortest, longest] = LIFETIMES;
  if (wanted !== "on" && wanted !== "off") {
    faults.push(`WEBHOOK is ${JSON.stringify(wanted)}: set it to on or off`);
  }
  if (!isPort(port)) {
    faults.push(`WEBHOOK_PORT is ${JSON.stringify(port)}: set it to a port from 0 to 65535`);
  }
  if (!/^\d+$/.test(seconds) || Number(seconds) < shortest || Number(seconds) > longest) {
    faults.push(
      `WEBHOOK_CERTIFICATE_SECONDS is ${JSON.stringify(seconds)}: set it to ${shortest} to ${longest}`,
    );
  }
  if (wanted === "off") return undefined;
  return {
    port: Number(port),
    certificateDirectory: read("WEBHOOK_CERTIFICATE_DIRECTORY") ?? CERTIFICATES,
    lifetimeMs: Number(seconds) * 1000,
  };
}
