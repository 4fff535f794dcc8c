/** The images that every cluster needs, built from scratch: no registry is asked. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { cacheDirectory, compiledPrograms, contentHash } from "./binary.ts";
import { run } from "./command.ts";

/** Image of the backend that tests and the demonstration use (tests/cluster/go/web). */
export const WEB_IMAGE = "test.local/web:1";
/** Container that serves {@link WEB_IMAGE} on port 8080 and is looked at each second. */
export const WEB_CONTAINER = {
  name: "web",
  image: WEB_IMAGE,
  imagePullPolicy: "Never",
  readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 1 },
};
/** {@link WEB_CONTAINER} on every node: DaemonSet `web` whose pods have label `app: web`. */
export const webServers = (namespace: string, container: object = WEB_CONTAINER) => ({
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { name: "web", namespace },
  spec: {
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: { terminationGracePeriodSeconds: 0, containers: [container] },
    },
  },
});
/** Image of the pod sandbox. */
export const PAUSE_IMAGE = "test.local/pause:1";

/** Builds an image with one static program, at /NAME, into a docker archive. */
async function buildArchive(
  program: string,
  name: string,
  image: string,
  archive: string,
): Promise<void> {
  const draft = `${archive}.${process.pid}`;
  const context = `${draft}.context`;
  const storage = `${draft}.storage`;
  mkdirSync(context, { recursive: true });
  const env = { BUILDAH_ISOLATION: "chroot", STORAGE_DRIVER: "vfs" };
  const buildah = ["buildah", "--root", `${storage}/root`, "--runroot", `${storage}/run`];
  try {
    copyFileSync(program, `${context}/${name}`);
    chmodSync(`${context}/${name}`, 0o755);
    writeFileSync(
      `${context}/Containerfile`,
      `FROM scratch\nCOPY ${name} /${name}\nUSER 65532:65532\nENTRYPOINT ["/${name}"]\n`,
    );
    await run([...buildah, "build", "--quiet", "--tag", image, context], { env });
    await run([...buildah, "push", "--quiet", image, `docker-archive:${draft}:${image}`], { env });
    renameSync(draft, archive);
  } finally {
    for (const leftover of [draft, context, storage])
      rmSync(leftover, { recursive: true, force: true });
  }
}

async function cached(
  name: string,
  key: string,
  build: (archive: string) => Promise<void>,
): Promise<string> {
  const archive = join(cacheDirectory(), `${name}-${key}.tar`);
  if (!existsSync(archive)) {
    mkdirSync(cacheDirectory(), { recursive: true });
    await build(archive);
  }
  return archive;
}

/** Archive of an image with one static program, which the container's command is to name, built if need be. */
export async function programArchive(
  program: string,
  name: string,
  image: string,
): Promise<string> {
  const key = contentHash(dirname(program), [basename(program)], image);
  return await cached(name, key, (archive) => buildArchive(program, name, image, archive));
}

/** Archives of the pause and the web image, built if need be. */
export async function baseImages(): Promise<string[]> {
  const programs = await compiledPrograms();
  const source = join(import.meta.dirname, "images");
  const pauseKey = contentHash(source, ["pause.c"], process.arch, PAUSE_IMAGE);
  const webKey = contentHash(programs, ["web"], WEB_IMAGE);
  return await Promise.all([
    cached("pause", pauseKey, async (archive) => {
      const binary = `${archive}.binary`;
      await run(["cc", "-O2", "-static", "-o", binary, join(source, "pause.c")]);
      await buildArchive(binary, "pause", PAUSE_IMAGE, archive);
      rmSync(binary);
    }),
    cached("web", webKey, (archive) =>
      buildArchive(join(programs, "web"), "web", WEB_IMAGE, archive),
    ),
  ]);
}
