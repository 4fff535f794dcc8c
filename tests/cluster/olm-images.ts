/** Images for the OLM tests, built from scratch and given to the nodes under names with a digest. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { cacheDirectory, contentHash } from "./binary.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { run } from "./command.ts";
import { nodeInit } from "./node-boot.ts";
import { olmPrograms } from "./olm-programs.ts";
import { readState } from "./state.ts";

/** Image with OLM's programs and all that it starts by name in a pod. */
export const OLM_IMAGE = "test.local/olm:1";

/** Programs of the image, by the path that OLM calls them by. */
const PROGRAMS = {
  catalog: "catalog",
  olm: "olm",
  opm: "opm",
  cpb: "cpb",
  "copy-content": "copy-content",
  "grpc-health-probe": "grpc_health_probe",
} as const;

const CONTAINERFILE = [
  "FROM scratch",
  "COPY bin /bin",
  "ENV PATH=/bin",
  "USER 65532:65532",
  "",
].join("\n");

/** Builds an image from a folder with a Containerfile into a docker archive. */
export async function buildImage(context: string, image: string, archive: string): Promise<void> {
  const draft = `${archive}.${process.pid}`;
  const storage = `${draft}.storage`;
  const env = { BUILDAH_ISOLATION: "chroot", STORAGE_DRIVER: "vfs" };
  const buildah = ["buildah", "--root", `${storage}/root`, "--runroot", `${storage}/run`];
  try {
    // a fixed time, so that the same content has the same digest
    const build = [...buildah, "build", "--quiet", "--timestamp", "0", "--tag", image];
    await run([...build, "--file", join(context, "Containerfile"), context], { env });
    await run([...buildah, "push", "--quiet", image, `docker-archive:${draft}:${image}`], { env });
    renameSync(draft, archive);
  } finally {
    for (const leftover of [draft, storage]) rmSync(leftover, { recursive: true, force: true });
  }
}

/** Archive of {@link OLM_IMAGE}, built if need be. */
export async function olmArchive(): Promise<string> {
  const programs = await olmPrograms();
  const source = join(import.meta.dirname, "images");
  const key = contentHash(source, ["cp.c"], programs, CONTAINERFILE, JSON.stringify(PROGRAMS));
  const archive = join(cacheDirectory(), `olm-image-${key}.tar`);
  if (existsSync(archive)) return archive;
  const context = `${archive}.${process.pid}.context`;
  try {
    mkdirSync(join(context, "bin"), { recursive: true });
    for (const [name, path] of Object.entries(PROGRAMS)) {
      copyFileSync(join(programs, name), join(context, "bin", path));
      chmodSync(join(context, "bin", path), 0o755);
    }
    await run(["cc", "-O2", "-static", "-o", join(context, "bin/cp"), join(source, "cp.c")]);
    writeFileSync(join(context, "Containerfile"), CONTAINERFILE);
    await buildImage(context, OLM_IMAGE, archive);
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
  return archive;
}

/** Runs containerd's client on a node. */
async function ctr(node: ClusterNode, ...args: string[]): Promise<string> {
  const launcher = readState()?.processes[node.name];
  if (launcher === undefined) throw new Error(`${node.name} was never started`);
  const init = await nodeInit(launcher);
  const enter = ["nsenter", `--target=${init}`, "--mount", "--"];
  const client = ["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"];
  return await run([...enter, ...client, ...args]);
}

/** Gives an image that all nodes have one more name. */
export async function tagImage(cluster: Cluster, image: string, name: string): Promise<void> {
  const tag = ["images", "tag", "--force", fullName(image), fullName(name)];
  await Promise.all(cluster.nodes.map((node) => ctr(node, ...tag)));
}

/**
 * Imports an archive into every node and names the image by its digest.
 * OLM has a node pull what it names by a tag, each time, and no registry is here.
 * @returns `NAME@sha256:…`
 */
export async function importByDigest(
  cluster: Cluster,
  archive: string,
  image: string,
): Promise<string> {
  await cluster.importImage(archive);
  const [first] = cluster.nodes;
  if (first === undefined) throw new Error("a cluster without nodes");
  const line = await ctr(first, "images", "ls", `name==${fullName(image)}`);
  const digest = /sha256:[0-9a-f]{64}/.exec(line)?.[0];
  if (digest === undefined) throw new Error(`${first.name} has no image ${image}: ${line}`);
  const name = `${image.replace(/:[^:/]*$/, "")}@${digest}`;
  await tagImage(cluster, image, name);
  return name;
}

/** `operator:1` → `docker.io/library/operator:1`, as containerd has it. */
function fullName(image: string): string {
  return image.includes("/") ? image : `docker.io/library/${image}`;
}
