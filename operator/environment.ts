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
}

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
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) {
    faults.push(`PROBE_PORT is ${JSON.stringify(port)}: set it to a port from 0 to 65535`);
  }
  if (logLevel === undefined) {
    faults.push(`LOG_LEVEL is ${JSON.stringify(level)}: set it to one of ${LOG_LEVELS.join(", ")}`);
  }
  if (namespace === undefined || logLevel === undefined || faults.length > 0) {
    return { ok: false, faults };
  }
  const probePort = Number(port);
  const value = { namespace, podName, controllerImage, speakerImage, probePort, logLevel };
  return { ok: true, value };
}
