/**
 * The compiled parts of the cluster, kept outside the work tree under the hash of what they are
 * made from: compiled once a machine, shared by all checkouts, never compiled again for nothing.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { attempt, run } from "./command.ts";
import { UsageError } from "./failure.ts";
import { withLock } from "./lock.ts";

const SOURCE = join(import.meta.dirname, "go");
const VERSION = "v1.36.3";
const [, MAJOR = "", MINOR = ""] = /^v(\d+)\.(\d+)/.exec(VERSION) ?? [];
const LINKER_FLAGS = [
  "-s -w",
  `-X k8s.io/component-base/version.gitVersion=${VERSION}`,
  `-X k8s.io/component-base/version.gitMajor=${MAJOR}`,
  `-X k8s.io/component-base/version.gitMinor=${MINOR}`,
  "-X k8s.io/component-base/version.gitTreeState=clean",
].join(" ");
const OLDEST_GO = [1, 21] as const;

/** Folder that outlives checkouts: `$XDG_CACHE_HOME/metallb-operator`. */
export function cacheDirectory(): string {
  const base = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(base, "metallb-operator");
}

/** Hash of the names and contents of files in a folder, and of more texts; 16 hex digits. */
export function contentHash(
  folder: string,
  names: readonly string[],
  ...more: readonly string[]
): string {
  const hash = createHash("sha256");
  for (const text of more) hash.update(`${text}\0`);
  for (const name of names.toSorted())
    hash
      .update(`${name}\0`)
      .update(readFileSync(join(folder, name)))
      .update("\0");
  return hash.digest("hex").slice(0, 16);
}

async function checkGo(): Promise<void> {
  const outcome = await attempt(["go", "env", "GOVERSION"], { cwd: "/" }).catch(() => undefined);
  if (outcome?.status !== 0)
    throw new UsageError(`Go is missing: install Go ${OLDEST_GO.join(".")} or newer`);
  const version = outcome.stdout.trim();
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  if (Number(major) === OLDEST_GO[0] && Number(minor) < OLDEST_GO[1])
    throw new UsageError(`${version} is too old: install Go ${OLDEST_GO.join(".")} or newer`);
}

/** The go command's environment: an older Go (1.21 and up) fetches the newer one that it needs. */
const GO_ENVIRONMENT = {
  CGO_ENABLED: "0",
  GOTOOLCHAIN: "auto",
  GOFLAGS: "-buildvcs=false -mod=readonly",
};

/** Programs of one Go module that are compiled together. */
export interface GoPrograms {
  /** Folder with go.mod and go.sum. */
  readonly source: string;
  /** Begins the name of the folder that holds them. */
  readonly name: string;
  /** What is compiled, for people. */
  readonly what: string;
  /** About how long it takes, for people. */
  readonly duration: string;
  readonly linkerFlags: string;
  /** Build tags, and packages if not all of the module's own. */
  readonly tags?: string;
  readonly packages?: readonly string[];
}

/** Shows one line that grows, at most once a second, or plain lines where nobody watches. */
function progress(what: string, total: number): (done: number) => void {
  let shown = 0;
  return (done) => {
    const percent = Math.min(99, Math.floor((100 * done) / total));
    const step = process.stderr.isTTY ? 1 : 10;
    if (percent < shown + step) return;
    shown = percent - (percent % step);
    const text = `compiling ${what}: ${shown} %`;
    process.stderr.write(process.stderr.isTTY ? `\r${text}` : `${text}\n`);
  };
}

async function compile(programs: GoPrograms, target: string): Promise<void> {
  const { source, what, linkerFlags, tags = "", packages = ["./..."] } = programs;
  const list = await run(["go", "list", "-deps", "-tags", tags, ...packages], {
    cwd: source,
    env: GO_ENVIRONMENT,
  });
  const report = progress(what, list.trim().split("\n").length);
  const flags = ["-v", "-trimpath", "-tags", tags, "-ldflags", linkerFlags, "-o", `${target}/`];
  await new Promise<void>((resolve, reject) => {
    const child = spawn("go", ["build", ...flags, ...packages], {
      cwd: source,
      env: { ...process.env, ...GO_ENVIRONMENT },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let done = 0;
    let tail = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      done += text.split("\n").length - 1;
      tail = (tail + text).slice(-2000);
      report(done);
    });
    child.on("error", reject);
    child.on("close", (status) => {
      if (process.stderr.isTTY) process.stderr.write("\n");
      if (status === 0) resolve();
      else reject(new Error(`compiling ${what}: ${tail.trim()}`));
    });
  });
}

/** Folder with the programs, compiled if need be. */
export async function compiled(programs: GoPrograms): Promise<string> {
  const { source, name, what, duration, linkerFlags, tags, packages = [] } = programs;
  const settings = [linkerFlags, ...(tags === undefined ? [] : [tags]), ...packages, process.arch];
  const key = contentHash(source, globSync("**/*.{go,mod,sum}", { cwd: source }), ...settings);
  const folder = join(cacheDirectory(), `${name}-${key}`);
  if (existsSync(folder)) {
    utimesSync(folder, new Date(), new Date());
    return folder;
  }
  await checkGo();
  mkdirSync(cacheDirectory(), { recursive: true });
  return await withLock(join(cacheDirectory(), "compile.lock"), "compiling", async () => {
    if (existsSync(folder)) return folder;
    const draft = `${folder}.${process.pid}`;
    process.stderr.write(
      `compiling ${what} from Go modules: once, about ${duration} on two cores\n`,
    );
    try {
      await compile(programs, draft);
      renameSync(draft, folder);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
    return folder;
  });
}

/** Folder with the programs `controlplane`, `lantool` and `web`, compiled if need be. */
export async function compiledPrograms(): Promise<string> {
  return await compiled({
    source: SOURCE,
    name: "go",
    what: `Kubernetes ${VERSION}`,
    duration: "ten minutes",
    linkerFlags: LINKER_FLAGS,
  });
}

/** Path of the binary that is etcd, kube-apiserver, … and kubectl by its first argument. */
export async function controlPlaneBinary(): Promise<string> {
  return join(await compiledPrograms(), "controlplane");
}
