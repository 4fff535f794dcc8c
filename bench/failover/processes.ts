/** What a speaker costs, read from the kernel. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ClusterNode } from "../../tests/cluster/cluster.ts";
import { inNamespace } from "../../tests/cluster/command.ts";

/** Ticks of the kernel's accounting a second: always so on Linux. */
const TICKS = 100;

/** Seconds of processor time that a process has used. */
function processorSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Shares of a core that processes use during a time, in percent. */
export async function processorShares(pids: readonly number[], seconds: number): Promise<number[]> {
  const [before, began] = [pids.map(processorSeconds), performance.now()];
  await delay(seconds * 1000);
  const passed = (performance.now() - began) / 1000;
  return pids.map((pid, i) => (100 * (processorSeconds(pid) - (before[i] ?? 0))) / passed);
}

/** Datagrams that a node sends and receives to a UDP port, a second each way. */
export async function datagrams(
  node: ClusterNode,
  port: number,
  seconds: number,
): Promise<{ readonly sent: number; readonly received: number }> {
  const { ipv4, ipv6 } = node.layout.address();
  const count = async (direction: "src" | "dst"): Promise<number> => {
    const filter = `udp port ${port} and (${direction} host ${ipv4} or ${direction} host ${ipv6})`;
    const command = ["tcpdump", "-i", "eth0", "-n", "-w", "/dev/null", filter];
    const [program = "", ...args] = inNamespace(node.layout.namespace, command);
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    await delay(seconds * 1000);
    child.kill("SIGINT");
    await closed;
    return Number(/(\d+) packets? captured/.exec(said)?.[1]) / seconds;
  };
  const [sent, received] = await Promise.all([count("src"), count("dst")]);
  return { sent, received };
}
