/** `make cluster-up`, `make cluster-down`, `make cluster-status`. */
import { parseArgs } from "node:util";
import { down, kubectl, up } from "./boot.ts";
import { downOnSignal } from "./signal.ts";
import { isRunning } from "./command.ts";
import { UsageError, runMain } from "./failure.ts";
import { KUBECONFIG, type ClusterOptions, type IPFamily } from "./layout.ts";
import { readState } from "./state.ts";

const report = (line: string): void => void process.stderr.write(`${line}\n`);

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        nodes: { type: "string", default: "3" },
        family: { type: "string", default: "dual" },
        lans: { type: "string", default: "1" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.split("\n", 1)[0] : String(error));
  }
}

function options(args: string[]): ClusterOptions {
  const { values } = parse(args);
  return {
    nodes: Number(values.nodes),
    family: values.family as IPFamily,
    lans: Number(values.lans),
  };
}

async function status(): Promise<number> {
  const state = readState();
  if (state === undefined) {
    report("no cluster is up");
    return 1;
  }
  const { nodes, family, lans } = state.options;
  report(
    `cluster: ${state.phase}, ${nodes} nodes, ${family}, ${lans} LAN(s), started from ${state.tree}`,
  );
  for (const [name, identity] of Object.entries(state.processes))
    report(`  ${name}: ${isRunning(identity) ? `process ${identity.pid}` : "ended"}`);
  report(`export KUBECONFIG=${KUBECONFIG}`);
  process.stdout.write(await kubectl(["get", "nodes", "-o", "wide"]));
  return 0;
}

await runMain(async () => {
  const [verb, ...rest] = process.argv.slice(2);
  switch (verb) {
    case "up":
      downOnSignal();
      if (!(await up(options(rest), [], report))) report("the cluster is up already");
      return await status();
    case "down":
      await down(report);
      return 0;
    case "status":
      return await status();
    default:
      throw new UsageError(
        "usage: cli.ts up [--nodes N] [--family dual|ipv4|ipv6] [--lans N] | down | status",
      );
  }
});
