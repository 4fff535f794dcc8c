/** A worker that tries to load raw-socket and says what came of it. */
import { parentPort } from "node:worker_threads";

import { LinkError } from "../../../../packet/link/link.ts";
import { rawSocketModule } from "../../../../packet/link/raw-socket.ts";

try {
  rawSocketModule();
  parentPort?.postMessage("loaded");
} catch (error) {
  parentPort?.postMessage(error instanceof LinkError ? error.message : "another error");
}
