import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ControlPlane } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";

const READY_WITHIN_MS = 60_000;

/** One program of a control plane, restarted with the command line that it was started with. */
class Program {
  readonly #command: readonly string[];
  #pid: number;
  #own: ChildProcess | undefined;

  constructor(plane: ControlPlane, name: string) {
    const found = findProcess(plane.directory, name);
    this.#pid = found.pid;
    this.#command = found.command;
  }

  /** Arguments behind the program's name. */
  get args(): readonly string[] {
    return this.#command.slice(2);
  }

  async stop(): Promise<void> {
    if (this.#own) {
      const ended = once(this.#own, "exit");
      this.#own.kill("SIGKILL");
      this.#own = undefined;
      await ended;
      return;
    }
    if (!isRunning(this.#pid)) return;
    process.kill(this.#pid, "SIGKILL");
    await eventually(() => !isRunning(this.#pid));
  }

  start(): void {
    const args = ["--pdeathsig", "KILL", "--", ...this.#command];
    this.#own = spawn("setpriv", args, { stdio: "ignore" });
  }
}

/** The processes of a control plane, to be stopped, compacted, copied and set back. */
export class Processes implements AsyncDisposable {
  readonly #plane: ControlPlane;
  readonly #etcd: Program;
  readonly #server: Program;
  readonly #data: string;
  readonly #url: string;
  readonly #copy: string;

  /** Finds the processes of a control plane that is up. */
  constructor(plane: ControlPlane) {
    this.#plane = plane;
    this.#etcd = new Program(plane, "etcd");
    this.#server = new Program(plane, "kube-apiserver");
    const [data = "", url = ""] = this.#etcd.args;
    this.#data = data;
    this.#url = url;
    this.#copy = join(plane.directory, "etcd-copy");
  }

  /** Kills the API server. */
  stopServer(): Promise<void> {
    return this.#server.stop();
  }

  /** Starts the API server and waits until it is ready. */
  async startServer(): Promise<void> {
    this.#server.start();
    const ready = async (): Promise<boolean> =>
      (await this.#plane.call({ method: "GET", path: "/readyz" })).status === 200;
    await eventually(ready, { deadlineMs: READY_WITHIN_MS });
  }

  /** Forgets all history before now. */
  async compact(): Promise<void> {
    const range = await this.#post("kv/range", { key: Buffer.from("/").toString("base64") });
    const { revision } = (range as { header: { revision: string } }).header;
    await this.#post("kv/compaction", { revision, physical: true });
  }

  /** Copies the data, as a snapshot would; etcd is restarted. */
  async copy(): Promise<void> {
    await this.#etcd.stop();
    await cp(this.#data, this.#copy, { recursive: true });
    await this.#startEtcd();
  }

  /** Goes back to the copy; etcd is restarted. */
  async restore(): Promise<void> {
    await this.#etcd.stop();
    await rm(this.#data, { recursive: true, force: true });
    await cp(this.#copy, this.#data, { recursive: true });
    await this.#startEtcd();
  }

  /** Ends what this started. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await this.#etcd.stop();
  }

  async #post(path: string, body: object): Promise<unknown> {
    const url = `${this.#url}/v3/${path}`;
    const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd ${path}: ${await response.text()}`);
    return response.json();
  }

  async #startEtcd(): Promise<void> {
    this.#etcd.start();
    const ready = async (): Promise<boolean> => (await fetch(`${this.#url}/health`)).ok;
    await eventually(ready, { deadlineMs: READY_WITHIN_MS });
  }
}

function findProcess(
  directory: string,
  name: string,
): { readonly pid: number; readonly command: readonly string[] } {
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const command = commandOf(Number(pid));
    const ours = command.some((argument) => argument.includes(directory));
    if (command[1] === name && ours) return { pid: Number(pid), command };
  }
  throw new Error(`no process ${name} of ${directory}`);
}

function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    // It ended while we were looking.
    return [];
  }
}

/** A zombie has no command line. */
function isRunning(pid: number): boolean {
  return commandOf(pid).length > 0;
}
