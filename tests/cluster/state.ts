/** What is up, as a file: written before anything is made, so that whoever comes later can undo it. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { ProcessIdentity } from "./command.ts";
import { STATE_DIRECTORY, STATE_FILE, type ClusterOptions } from "./layout.ts";

/** The cluster that is up, or was being started. */
export interface ClusterState {
  /** `starting` until every node was ready; a crash leaves it so. */
  readonly phase: "starting" | "up";
  readonly options: ClusterOptions;
  /** Loopback port of the machine that leads to the API server. */
  readonly port: number;
  /** The work tree that started it. */
  readonly tree: string;
  /** Folder of the compiled programs. */
  readonly programs: string;
  readonly processes: Readonly<Record<string, ProcessIdentity>>;
}

/** Reads the state; undefined when no cluster is up or was being started. */
export function readState(): ClusterState | undefined {
  try {
    return JSON.parse(readFileSync(STATE_FILE, "utf8")) as ClusterState;
  } catch {
    return undefined; // none, or half-written (writes are renames, so: none)
  }
}

/** Writes the state in one step. */
export function writeState(state: ClusterState): void {
  mkdirSync(STATE_DIRECTORY, { recursive: true });
  writeFileSync(`${STATE_FILE}.draft`, JSON.stringify(state, null, 1));
  renameSync(`${STATE_FILE}.draft`, STATE_FILE);
}

/** Adds or replaces a process of the state. */
export function recordProcess(name: string, identity: ProcessIdentity): void {
  const state = readState();
  if (state === undefined) throw new Error(`recording process ${name}: no cluster is up`);
  writeState({ ...state, processes: { ...state.processes, [name]: identity } });
}
