/** The controller's program: gives Services of type LoadBalancer their addresses. */
import { setFlagsFromString } from "node:v8";
import { runProgram } from "../kubernetes/program.ts";

import { readEnvironment } from "./environment.ts";
import { Replica } from "./replica.ts";

/**
 * Below the pod's grace period of 45 s. An ordinary end takes a fraction of a second; the last one, when
 * MetalLB is uninstalled, tells every Service.
 */
const SHUTDOWN_MS = 42_000;

// Left to itself V8 lets the heap grow to several times of what lives in it before it looks for
// garbage, the more the more memory the node has: a burst of 10,000 Services would take 300 MB.
setFlagsFromString("--heap-growing-percent=25");

const environment = readEnvironment(process.env);
if (environment.ok) {
  const { probePort, metricsPort, metricsScheme } = environment.value;
  await runProgram(
    {
      name: "controller",
      probePort,
      ...(metricsScheme !== "none" && { metricsPort, metricsScheme }),
      shutdownDeadlineMs: SHUTDOWN_MS,
    },
    (program) => new Replica(program, environment.value).start(),
  );
} else {
  for (const fault of environment.faults) process.stderr.write(`error: ${fault}\n`);
  process.exit(2);
}
