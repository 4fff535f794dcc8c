/** Running programs: to their end, or as daemons inside a namespace and a cgroup. */
import { spawn } from "node:child_process";
import { openSync, closeSync, readFileSync } from "node:fs";

/** How a program ended. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What to run a program with. */
export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
}

/** Runs a program to its end and tells how it ended. */
export async function attempt(
  command: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const [program = "", ...rest] = command;
  return await new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (status, signal) =>
      resolve({
        status: status ?? 1,
        stdout,
        stderr: stderr + (signal ? `ended by ${signal}` : ""),
      }),
    );
    child.stdin.on("error", () => undefined); // a program that does not read its input
    child.stdin.end(options.input ?? "");
  });
}

/** Runs a program and returns what it printed. @throws Error naming the command when it fails. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const outcome = await attempt(command, options);
  if (outcome.status !== 0) {
    const said = (outcome.stderr || outcome.stdout).trim().split("\n").slice(-5).join("; ");
    throw new Error(`running ${command.slice(0, 8).join(" ")}: status ${outcome.status}: ${said}`);
  }
  return outcome.stdout;
}

/** Runs shell lines that stop at the first failure. */
export async function shell(script: string, options: RunOptions = {}): Promise<string> {
  return await run(["sh", "-eu", "-c", script], options);
}

/** A command as it runs inside a network namespace. */
export function inNamespace(namespace: string, command: readonly string[]): string[] {
  return ["nsenter", `--net=/run/netns/${namespace}`, "--", ...command];
}

/** A process of ours, told apart from a later one with the same number by its start time. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

/** Fields of /proc/PID/stat after the command's name, from field 3 on; undefined when it is gone. */
function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined; // no such process
  }
}

/** Identifies a running process. */
export function identify(pid: number): ProcessIdentity | undefined {
  const startTime = statFields(pid)?.[19];
  return startTime === undefined ? undefined : { pid, startTime };
}

/** Whether that very process still runs (a zombie does not). */
export function isRunning(identity: ProcessIdentity): boolean {
  const fields = statFields(identity.pid);
  return fields?.[19] === identity.startTime && fields[0] !== "Z";
}

/** What a daemon is started with. */
export interface DaemonOptions {
  readonly namespace?: string;
  /** Paths of cgroup.procs files to join first. */
  readonly cgroups: readonly string[];
  readonly log: string;
  readonly cwd?: string;
}

/** Starts a program that outlives this process; its output is appended to the log. */
export function startDaemon(command: readonly string[], options: DaemonOptions): ProcessIdentity {
  const log = openSync(options.log, "a");
  const join = options.cgroups.map((file) => `echo $$ >${file}`).join("; ");
  const enter = options.namespace === undefined ? command : inNamespace(options.namespace, command);
  const child = spawn("sh", ["-eu", "-c", `${join || ":"}; exec "$@"`, "sh", ...enter], {
    detached: true,
    stdio: ["ignore", log, log],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  closeSync(log);
  child.unref();
  const identity = child.pid === undefined ? undefined : identify(child.pid);
  if (identity === undefined) throw new Error(`starting ${command.join(" ")}: no process`);
  return identity;
}
