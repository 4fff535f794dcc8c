/** A responder thread that breaks at its first command. */
import { parentPort } from "node:worker_threads";

parentPort?.on("message", () => {
  throw new RangeError("a bug of the thread");
});
