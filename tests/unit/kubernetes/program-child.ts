/** A program for program.test.ts: says in its log what happens to it. Argument: what to do. */
import { fixedConnection } from "../../../kubernetes/connection.ts";
import { runProgram } from "../../../kubernetes/program.ts";

const [what = ""] = process.argv.slice(2);
const connection = fixedConnection("http://127.0.0.1:9");

await runProgram(
  {
    name: "child",
    probePort: 0,
    probeHost: "127.0.0.1",
    client: { connection },
    shutdownDeadlineMs: 5_000,
  },
  (program) => {
    if (what === "throw") throw new RangeError("cannot start");
    program.keep("forever", async (signal) => {
      if (what === "fail") throw new RangeError("task broke");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      program.logger.info("task ended");
    });
    program.shutdown.add("withdraw", async () => {
      program.logger.info("withdrawn", { aborted: program.signal.aborted });
      const answer = await fetch(`http://127.0.0.1:${program.probes?.port ?? 0}/readyz`);
      program.logger.info("readyz", { status: answer.status });
      if (what === "hang") await new Promise(() => undefined);
    });
    program.logger.debug("details");
    program.logger.info("started");
    if (what === "bug") void Promise.reject(new RangeError("nobody waits for this"));
    return Promise.resolve();
  },
);
