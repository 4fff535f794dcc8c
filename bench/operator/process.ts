/** The operator's process on this machine, whose cluster's nodes are namespaces. */
import { readdirSync, readFileSync } from "node:fs";
import { waitFor } from "../../tests/cluster/wait.ts";

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    // It ended meanwhile.
    return "";
  }
}

/** Finds the process of the one operator that runs; during an upgrade there are two. */
export async function operatorPid(): Promise<number> {
  return await waitFor("one operator", 60, () => {
    const found = readdirSync("/proc").filter(
      (name) =>
        /^\d+$/.test(name) &&
        environmentOf(name).includes("POD_NAME=metallb-operator-controller-manager-"),
    );
    // One of this machine's other clusters may be up: the newest is ours.
    return found.length > 0 && Math.max(...found.map(Number));
  });
}
