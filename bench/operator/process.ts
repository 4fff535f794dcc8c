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

/** Finds the process of an operator by the name of its pod, which it has in its environment. */
export async function operatorPid(pod: string): Promise<number> {
  return await waitFor(`the process of ${pod}`, 60, () => {
    const own = (name: string): boolean => environmentOf(name).includes(`POD_NAME=${pod}\0`);
    const found = readdirSync("/proc").find((name) => /^\d+$/.test(name) && own(name));
    return found === undefined ? undefined : Number(found);
  });
}
