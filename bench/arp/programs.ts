/** The programs of the benchmark, compiled or bundled as they are needed. */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, contentHash } from "../../tests/cluster/binary.ts";
import { run } from "../../tests/cluster/command.ts";
import { withLock } from "../../tests/cluster/lock.ts";
import { bundle } from "../../tools/image/bundle.ts";

const TREE = join(import.meta.dirname, "../..");
const BUILD = join(TREE, "build/bench");
const PEER_MODULE = join(TREE, "bench/go/speaker");
const PEER_PACKAGE = "go.universe.tf/metallb";
/** The addon that the responder thread loads: beside the bundle, as in the image. */
const NATIVE = join(TREE, "build/packet_socket.node");

/** Compiles the load generator. @returns its path */
export async function loadProgram(): Promise<string> {
  mkdirSync(BUILD, { recursive: true });
  const target = join(BUILD, "load");
  const flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"];
  await run(["cc", ...flags, join(import.meta.dirname, "load.c"), "-o", target]);
  return target;
}

/** Bundles the responder and its thread as the image does. @returns the path of its program */
export async function responderProgram(): Promise<string> {
  const folder = join(BUILD, "responder");
  rmSync(folder, { recursive: true, force: true });
  const entries = ["bench/arp/responder.ts", "speaker/responder-thread.ts"];
  await bundle(
    entries.map((path) => ({ in: path, out: path.replace(/^.*\/|[.]ts$/g, "") })),
    folder,
  );
  await run(["cp", NATIVE, folder]);
  return join(folder, "responder.mjs");
}

/** MetalLB's speaker, and its custom resource definitions. */
export interface PeerProgram {
  readonly binary: string;
  readonly definitions: string;
}

/** Compiles MetalLB's speaker from its Go module, once a machine. */
export async function peerProgram(): Promise<PeerProgram> {
  const env = { CGO_ENABLED: "0", GOTOOLCHAIN: "auto", GOFLAGS: "-buildvcs=false -mod=readonly" };
  const go = { cwd: PEER_MODULE, env };
  // Also when the binary is there: the definitions come from the module's source.
  await run(["go", "mod", "download", PEER_PACKAGE], go);
  const source = await run(["go", "list", "-m", "-f", "{{.Dir}}", PEER_PACKAGE], go);
  const key = contentHash(PEER_MODULE, ["go.mod", "go.sum"], process.arch);
  const binary = join(cacheDirectory(), `metallb-speaker-${key}`);
  await withLock(join(cacheDirectory(), "metallb-speaker.lock"), "compiling", async () => {
    if (existsSync(binary)) return;
    process.stderr.write("compiling MetalLB's speaker from Go modules: once, some minutes\n");
    const draft = `${binary}.${process.pid}`;
    const build = ["go", "build", "-p", "1", "-trimpath", "-ldflags", "-s -w", "-o", draft];
    await run(["nice", "-n", "19", ...build, `${PEER_PACKAGE}/speaker`], go);
    renameSync(draft, binary);
  });
  return { binary, definitions: join(source.trim(), "config/crd/bases") };
}
