/**
 * Opens links in worker threads again and again and ends the workers in every way there is, while
 * frames come in. Prints `done` when all ended; a crash of the process is the failure.
 */
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

import { afPacketLink } from "../../packet/link/af-packet.ts";

const ROUNDS = 5;
const ENDINGS = ["close", "terminate", "throw"] as const;

async function endBy(ending: (typeof ENDINGS)[number]): Promise<void> {
  const worker = new Worker(join(import.meta.dirname, "worker.ts"));
  worker.on("error", () => undefined);
  await once(worker, "message");
  // Not `once`: that refuses at the error which one ending is about.
  const exit = new Promise((resolve) => worker.once("exit", resolve));
  if (ending === "terminate") await worker.terminate();
  else worker.postMessage(ending);
  await exit;
}

// The main thread has its own, which lives on beside those of the workers.
const link = afPacketLink({ interfaceName: "eth0" })({ frame: () => undefined });
for (let round = 0; round < ROUNDS; round++) await Promise.all(ENDINGS.map(endBy));
link[Symbol.dispose]();
process.stdout.write("done\n");
