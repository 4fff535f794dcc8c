/**
 * The cluster's processes live in cgroups of their own, so that all of them, pods too, can be found
 * and ended whoever started them and whatever happened to the starter. Both cgroup versions.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { CGROUP } from "./layout.ts";
import { waitFor } from "./wait.ts";

const ROOT = "/sys/fs/cgroup";

/** Mount points of all hierarchies that processes can be put into. */
function hierarchies(): readonly string[] {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(
      ([, point, type]) => (type === "cgroup" || type === "cgroup2") && point?.startsWith(ROOT),
    )
    .map(([, point]) => point ?? "");
  return [...new Set(mounts)];
}

function isUnified(hierarchy: string): boolean {
  return existsSync(`${hierarchy}/cgroup.controllers`);
}

/** cgroup v1's cpuset accepts no process before it names its processors and memory nodes. */
function inheritCpuset(path: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const own = `${path}/${file}`;
    if (!existsSync(own) || readFileSync(own, "utf8").trim() !== "") continue;
    writeFileSync(own, readFileSync(`${path}/../${file}`));
  }
}

/** On v2 alone, kubelet needs the controllers handed down to its root. */
function delegateControllers(path: string): void {
  for (const controller of readFileSync(`${path}/cgroup.controllers`, "utf8").trim().split(" ")) {
    try {
      writeFileSync(`${path}/cgroup.subtree_control`, `+${controller}`);
    } catch {
      // a controller that cannot be handed down (in use by a v1 hierarchy): kubelet does without
    }
  }
}

/**
 * Makes a cgroup below {@link CGROUP} in every hierarchy.
 * @returns the cgroup.procs files through which a process joins it.
 */
export function createCgroup(name: string): string[] {
  return hierarchies().map((hierarchy) => {
    let path = hierarchy;
    for (const part of name.split("/")) {
      path += `/${part}`;
      mkdirSync(path, { recursive: true });
      if (isUnified(hierarchy)) delegateControllers(`${path}/..`);
      else inheritCpuset(path);
    }
    if (!isUnified(hierarchy)) return `${path}/cgroup.procs`;
    // v2 forbids processes beside children: the daemons get a leaf of their own
    mkdirSync(`${path}/daemons`, { recursive: true });
    return `${path}/daemons/cgroup.procs`;
  });
}

function* descend(path: string): Generator<string> {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) yield* descend(`${path}/${entry.name}`);
  yield path;
}

/** Numbers of all processes in a cgroup and below, in any hierarchy. */
export function processesIn(name: string): number[] {
  const pids = new Set<number>();
  for (const hierarchy of hierarchies())
    for (const path of descend(`${hierarchy}/${name}`)) {
      try {
        const text = readFileSync(`${path}/cgroup.procs`, "utf8");
        for (const line of text.split("\n")) if (line !== "") pids.add(Number(line));
      } catch {
        // the cgroup vanished while being read: so did its processes
      }
    }
  return [...pids];
}

/** Kills every process in a cgroup and below, until none is left, and removes the cgroup. */
export async function endCgroup(name = CGROUP): Promise<void> {
  await waitFor(`ending the processes of cgroup ${name}`, 30, () => {
    const pids = processesIn(name);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // gone meanwhile
      }
    }
    return pids.length === 0;
  });
  await waitFor(`removing cgroup ${name}`, 10, () => {
    let left = 0;
    for (const hierarchy of hierarchies())
      for (const path of descend(`${hierarchy}/${name}`)) {
        try {
          rmdirSync(path);
        } catch {
          left++; // dying processes hold it for a moment
        }
      }
    return left === 0;
  });
}

/** Whether anything of a cgroup exists. */
export function cgroupExists(name = CGROUP): boolean {
  return hierarchies().some((hierarchy) => existsSync(`${hierarchy}/${name}`));
}

/** Whether the machine has cgroup version 1 controllers (kubelet is told). */
export function isVersion1(): boolean {
  return !isUnified(ROOT);
}
