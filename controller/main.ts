/** The controller's program: gives Services of type LoadBalancer their addresses. */
import { runProgram } from "../kubernetes/program.ts";

import { readEnvironment } from "./environment.ts";
import { Replica } from "./replica.ts";

/** Below the pod's grace period of 10 s. */
const SHUTDOWN_MS = 8_000;

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
