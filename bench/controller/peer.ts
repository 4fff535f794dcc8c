/**
 * The peer of the controller's benchmarks: MetalLB's Go controller, built from its module once a
 * machine, with a test of ours beside its allocator, for that package can be called from nowhere else.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, contentHash } from "../../tests/cluster/binary.ts";

/** Module and version of the peer. */
export const PEER = "go.universe.tf/metallb@v0.15.2";

const TEST = "peer_test.go";

/** The programs of the peer. */
export interface Peer {
  /** The controller. */
  readonly controller: string;
  /** The test of its allocator. */
  readonly allocator: string;
  /** Its custom resource definitions. */
  readonly crds: string;
}

/** Builds the peer, which takes a minute, or gives what was built before. */
export async function buildPeer(): Promise<Peer> {
  const folder = join(cacheDirectory(), `peer-${contentHash(import.meta.dirname, [TEST], PEER)}`);
  const peer = {
    controller: join(folder, "controller"),
    allocator: join(folder, "allocator"),
    crds: join(folder, "source/config/crd"),
  };
  if (existsSync(peer.allocator)) return peer;
  process.stderr.write(`building ${PEER}\n`);
  const downloaded = await run(["go", "mod", "download", "-json", PEER], "/");
  const { Dir } = JSON.parse(downloaded) as { readonly Dir: string };
  const source = join(folder, "source");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(Dir, source, { recursive: true });
  // The module cache is read-only, and so is its copy.
  await run(["chmod", "-R", "u+w", source], "/");
  cpSync(join(import.meta.dirname, TEST), join(source, "internal/allocator", TEST));
  chmodSync(join(source, "internal/allocator", TEST), 0o644);
  await run(["go", "build", "-o", peer.controller, "./controller"], source);
  await run(["go", "test", "-c", "-o", peer.allocator, "./internal/allocator"], source);
  return peer;
}

/** Gives what the peer's allocator takes: seconds for the first, microseconds for one more. */
export async function peerAllocates(
  peer: Peer,
  cidr: string,
  count: number,
): Promise<{ readonly seconds: number; readonly oneMoreMicroseconds: number }> {
  const args = [peer.allocator, "-test.run", "^TestPeer$", "-test.v"];
  const printed = await run(args, "/", { CIDR: cidr, COUNT: String(count) });
  const [, seconds, more] = /^peer (\S+) (\S+)$/m.exec(printed) ?? [];
  return { seconds: Number(seconds), oneMoreMicroseconds: Number(more) };
}

async function run(
  [program = "", ...args]: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, CGO_ENABLED: "0", GOTOOLCHAIN: "auto", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.on("data", (octets: Buffer) => (printed += octets.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: exit ${code ?? "by signal"}`);
  return printed;
}

/** Reads how much memory a process has: resident, of which anonymous; MB. */
export function memoryOf(pid: number): { readonly resident: number; readonly anonymous: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const read = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]) / 1024;
  return { resident: read("Rss"), anonymous: read("Anonymous") };
}
