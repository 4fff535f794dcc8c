/**
 * Builds the one image of the three programs without any registry: `FROM scratch` plus a staged
 * root with Node, the libraries it needs, CA certificates and the bundled programs.
 *
 *   node tools/image.ts NAME:TAG                  into the local storage of buildah, podman or docker
 *   node tools/image.ts NAME:TAG --archive FILE   as a docker archive
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { bundle } from "./image/bundle.ts";

const TREE = join(import.meta.dirname, "..");
const STAGE = join(TREE, "build/image");
const ROOT = join(STAGE, "root");
/** The programs of the image, by the name that is the container's first argument. */
const PROGRAMS = ["operator", "controller", "speaker"] as const;
/** Files that run in a worker thread and so are bundled on their own. */
const WORKERS = ["speaker/responder-thread.ts"];
/** The one package that is not bundled: it finds its addon beside itself. */
const RAW_SOCKET = ["package.json", "index.js", "build/Release/raw.node"].map(
  (file) => `raw-socket/${file}`,
);
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
/** uid and gid that operator and controller run as. */
const NONROOT = 65532;

function fail(message: string): never {
  process.stderr.write(`error: ${message}\n`);
  process.exit(2);
}

function output(program: string, ...args: string[]): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Copies a file of the machine to the same path of the root, following links. */
function stage(path: string, target = path): void {
  const destination = join(ROOT, target);
  mkdirSync(dirname(destination), { recursive: true });
  copyFileSync(realpathSync(path), destination);
}

/** Shared libraries of a program, by the paths under which the loader looks for them. */
function libraries(program: string): string[] {
  return output("ldd", program)
    .split("\n")
    .map((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1])
    .filter((path) => path !== undefined);
}

function stageNode(): void {
  const [node] = globSync("node_modules/node/node_modules/node-*/bin/node", { cwd: TREE });
  if (node === undefined) fail("Node 24 is not installed: run `make deps`");
  stage(join(TREE, node), "/usr/local/bin/node");
  const staged = join(ROOT, "/usr/local/bin/node");
  chmodSync(staged, 0o755);
  output("strip", "--strip-unneeded", staged);
  for (const path of libraries(staged)) stage(path);
}

function stageSystem(): void {
  if (!existsSync(CERTIFICATES)) fail(`${CERTIFICATES} is missing: install ca-certificates`);
  stage(CERTIFICATES);
  writeFileSync(
    join(ROOT, "etc/passwd"),
    `root:x:0:0:root:/:/sbin/nologin\nnonroot:x:${NONROOT}:${NONROOT}:nonroot:/:/sbin/nologin\n`,
  );
  writeFileSync(join(ROOT, "etc/group"), `root:x:0:\nnonroot:x:${NONROOT}:\n`);
  stage(join(TREE, "LICENSE"), "/LICENSE");
}

async function stagePrograms(): Promise<void> {
  const programs = PROGRAMS.filter((name) => existsSync(join(TREE, name, "main.ts")));
  await bundle(
    [
      { in: "tools/image/entry.ts", out: "main" },
      ...programs.map((name) => ({ in: `${name}/main.ts`, out: name })),
      ...WORKERS.filter((path) => existsSync(join(TREE, path))).map((path) => ({
        in: path,
        out: path.replace(/^.*\/|[.]ts$/g, ""),
      })),
    ],
    join(ROOT, "app"),
  );
  stage(join(TREE, "build/packet_socket.node"), "/app/packet_socket.node");
  for (const file of RAW_SOCKET)
    stage(join(TREE, "node_modules", file), `/app/node_modules/${file}`);
}

/** Hash of everything in the staged root and of the Containerfile. */
function stageHash(): string {
  const hash = createHash("sha256").update(readFileSync(join(STAGE, "Containerfile")));
  for (const name of globSync("**", { cwd: ROOT }).toSorted()) {
    const path = join(ROOT, name);
    const facts = lstatSync(path);
    hash.update(`${name}\0${facts.mode}\0`);
    if (facts.isSymbolicLink()) hash.update(readlinkSync(path));
    else if (facts.isFile()) hash.update(readFileSync(path));
  }
  return hash.digest("hex");
}

function works(program: string, ...args: string[]): boolean {
  try {
    output(program, ...args);
    return true;
  } catch {
    return false; // not installed, or (docker) no engine behind the client
  }
}

/** Where buildah keeps an image that is wanted as an archive only; removed afterwards. */
const SCRATCH_STORAGE = join(TREE, "build/containers");

/** A builder on this machine that works, as its command line so far. */
function builder(scratch: boolean): {
  build: string[];
  push: (image: string, target: string) => string[];
} {
  if (works("buildah", "--version")) {
    const own = ["--root", `${SCRATCH_STORAGE}/root`, "--runroot", `${SCRATCH_STORAGE}/run`];
    const storage = ["buildah", ...(scratch ? own : [])];
    return {
      build: [...storage, "build", "--quiet"],
      push: (image, target) => [
        ...storage,
        "push",
        "--quiet",
        image,
        `docker-archive:${target}:${image}`,
      ],
    };
  }
  for (const program of ["podman", "docker"])
    if (works(program, "info"))
      return {
        build: [program, "build", "--quiet"],
        push: (image, target) => [program, "save", "--output", target, image],
      };
  return fail("no image builder: install buildah, podman or docker");
}

function execute(command: readonly string[]): void {
  const [program = "", ...args] = command;
  execFileSync(program, args, {
    stdio: ["ignore", "ignore", "inherit"],
    // works for root inside a container too, where neither overlay mounts nor user namespaces do
    env: { BUILDAH_ISOLATION: "chroot", STORAGE_DRIVER: "vfs", ...process.env },
  });
}

const megabytes = (octets: number): string => `${(octets / 1e6).toFixed(1)} MB`;

async function main(): Promise<void> {
  const [image, flag, archive] = process.argv.slice(2);
  if (
    image === undefined ||
    (flag !== undefined && (flag !== "--archive" || archive === undefined))
  )
    fail("usage: node tools/image.ts NAME:TAG [--archive FILE]");
  rmSync(ROOT, { recursive: true, force: true });
  mkdirSync(ROOT, { recursive: true });
  stageNode();
  stageSystem();
  await stagePrograms();
  copyFileSync(join(TREE, "Containerfile"), join(STAGE, "Containerfile"));
  const key = `${stageHash()} ${image}`;
  const keyFile = `${archive ?? ""}.key`;
  if (
    archive !== undefined &&
    existsSync(archive) &&
    existsSync(keyFile) &&
    readFileSync(keyFile, "utf8") === key
  ) {
    process.stderr.write(`image ${image} is up to date\n`);
    return;
  }
  const tool = builder(archive !== undefined);
  execute([...tool.build, "--file", join(STAGE, "Containerfile"), "--tag", image, STAGE]);
  if (archive !== undefined) {
    rmSync(archive, { force: true });
    execute(tool.push(image, archive));
    rmSync(SCRATCH_STORAGE, { recursive: true, force: true });
    writeFileSync(keyFile, key);
    process.stderr.write(`image ${image}: ${megabytes(statSync(archive).size)} in ${archive}\n`);
  } else process.stderr.write(`image ${image} built\n`);
}

await main();
