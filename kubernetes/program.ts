/**
 * What the start and the end of all three programs have in common: logs, signals, client, probes,
 * metrics, and the order in which they end.
 *
 * Order at the end: readiness turns false, then the program's own steps in the order in which they
 * were added (`program.shutdown.add`), then reflectors (`program.signal` aborts), then events, probes,
 * metrics, client.
 */
import { createClient, type Client, type ClientOptions } from "./client.ts";
import { systemClock, type Clock } from "./clock.ts";
import type { LogLevel } from "../api/metallb.ts";
import { createLogger, type RootLogger } from "./logging.ts";
import { Metrics } from "./metrics.ts";
import { startMetricsServer } from "./metrics-server.ts";
import { startProbes, type Probes } from "./probes.ts";
import type { Reflector } from "./reflector.ts";
import type { KubernetesObject } from "./resources.ts";
import { Shutdown } from "./shutdown.ts";

/** What a program is told at its start. */
export interface ProgramOptions {
  /** `operator`, `controller` or `speaker`: name in logs, field manager, User-Agent. */
  readonly name: string;
  readonly logLevel?: LogLevel;
  /** Of the probes; a hostNetwork pod sets `probeHost` to 127.0.0.1. Absent: no probes. */
  readonly probePort?: number;
  readonly probeHost?: string;
  /** Absent: no metrics endpoint. */
  readonly metricsPort?: number;
  readonly metricsHost?: string;
  /** Default `https`. */
  readonly metricsScheme?: "https" | "http";
  readonly metricsCertificateDirectory?: string;
  /** Overrides of how to reach the API server. */
  readonly client?: Partial<ClientOptions>;
  /** Time for the shutdown; 25 s. */
  readonly shutdownDeadlineMs?: number;
}

/** What a running program has. */
export interface Program {
  readonly name: string;
  readonly logger: RootLogger;
  readonly metrics: Metrics;
  readonly client: Client;
  readonly clock: Clock;
  readonly shutdown: Shutdown;
  /** Aborts when the program's own shutdown steps are through: the signal of all that runs for ever. */
  readonly signal: AbortSignal;
  /** Adds readiness and liveness checks; absent when there are no probes. */
  readonly probes: Probes | undefined;
  /**
   * Runs reflectors until the end and makes readiness wait for them. Resolves when all have synced.
   */
  reflect(...reflectors: readonly AnyReflector[]): Promise<void>;
  /**
   * Runs something that lasts until the end (a reconciler, a leader elector). If it throws, the
   * program logs it, shuts down and exits with 1.
   */
  keep(name: string, task: (signal: AbortSignal) => Promise<void>): void;
}

/** A reflector of whatever kind. */
export type AnyReflector = Pick<
  Reflector<KubernetesObject>,
  "run" | "synced" | "hasSynced" | "lastContactMs" | "resourceName"
>;

/**
 * Starts a program: `main` sets it up and returns; the process ends with SIGTERM, SIGINT, or a kept
 * task that fails.
 */
export async function runProgram(
  options: ProgramOptions,
  main: (program: Program) => Promise<void>,
): Promise<void> {
  const logger = createLogger(options.name, options.logLevel);
  const shutdown = new Shutdown({
    logger,
    ...(options.shutdownDeadlineMs === undefined ? {} : { deadlineMs: options.shutdownDeadlineMs }),
  });
  const end = async (why: string, code: number): Promise<never> => {
    const ok = await shutdown.begin(why);
    process.exit(ok ? code : 1);
  };
  onSignals(logger, (why) => void end(why, 0));
  // Whoever reads the log may go away; that is no reason to stop announcing addresses.
  process.stdout.on("error", () => undefined);
  for (const name of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(name, (error: unknown) => {
      logger.error("program error", { kind: name, error });
      // Our own bug: state may be wrong, only a new process is certain to be right.
      process.exit(1);
    });
  }
  try {
    const program = await assemble(options, logger, shutdown, (why) => void end(why, 1));
    await main(program);
  } catch (error) {
    if (shutdown.signal.aborted) return;
    logger.error("program could not start", { error });
    await end("start failed", 1);
  }
}

function onSignals(logger: RootLogger, end: (why: string) => void): void {
  let ending = false;
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (ending) process.exit(1);
      ending = true;
      end(name);
    });
  }
  process.on("SIGUSR2", () => {
    logger.toggleDebug();
    logger.info("log level changed", { level: logger.level });
  });
}

async function assemble(
  options: ProgramOptions,
  logger: RootLogger,
  shutdown: Shutdown,
  fail: (why: string) => void,
): Promise<Program> {
  const metrics = new Metrics();
  metrics.collectDefaults();
  const client = await createClient({ program: options.name, metrics, ...options.client });
  const probes = await openProbes(options, shutdown);
  const metricsServer =
    options.metricsPort === undefined
      ? undefined
      : await startMetricsServer({
          metrics,
          client,
          logger,
          port: options.metricsPort,
          scheme: options.metricsScheme ?? "https",
          ...(options.metricsHost === undefined ? {} : { host: options.metricsHost }),
          ...(options.metricsCertificateDirectory === undefined
            ? {}
            : { certificateDirectory: options.metricsCertificateDirectory }),
        });
  const running = new AbortController();
  const tasks = new Set<Promise<void>>();
  const keep = (name: string, task: (signal: AbortSignal) => Promise<void>): void => {
    const promise = task(running.signal).catch((error: unknown) => {
      if (running.signal.aborted) return;
      logger.error("task failed", { task: name, error });
      fail(`${name} failed`);
    });
    tasks.add(promise);
    void promise.finally(() => tasks.delete(promise));
  };
  shutdown.addLast("tasks", async () => {
    running.abort();
    await Promise.all(tasks);
  });
  shutdown.addLast("endpoints", async () => {
    await Promise.all([probes?.close(), metricsServer?.close()]);
    client.close();
  });
  return {
    name: options.name,
    logger,
    metrics,
    client,
    clock: systemClock,
    shutdown,
    signal: running.signal,
    probes,
    keep,
    reflect: async (...reflectors) => {
      for (const reflector of reflectors) {
        const name = `reflector-${reflector.resourceName}`;
        probes?.add("readyz", {
          name,
          check: () => (reflector.hasSynced ? undefined : "not yet listed"),
        });
        keep(name, (signal) => reflector.run(signal));
      }
      await Promise.all(reflectors.map((reflector) => reflector.synced(running.signal)));
    },
  };
}

async function openProbes(
  options: ProgramOptions,
  shutdown: Shutdown,
): Promise<Probes | undefined> {
  if (options.probePort === undefined) return undefined;
  const ending = (): string | undefined => (shutdown.signal.aborted ? "shutting down" : undefined);
  return startProbes({
    port: options.probePort,
    ...(options.probeHost === undefined ? {} : { host: options.probeHost }),
    readyz: [{ name: "shutdown", check: ending }],
  });
}
