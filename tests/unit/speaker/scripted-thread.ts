/** A responder thread that says what it is told to say, and gives back what it is told. */
import { parentPort } from "node:worker_threads";

import type { Command, Report } from "../../../speaker/thread-protocol.ts";

const say = (report: Report): void => parentPort?.postMessage(report);

/** Commands in reply to a compilation and the like come back as trouble, to be looked at. */
parentPort?.on("message", (command: Command) => {
  switch (command.kind) {
    case "configure":
      // The names excluded are, in these tests, reports in JSON.
      for (const text of command.excludedInterfaces) say(JSON.parse(text) as Report);
      break;
    case "exchanges":
      say({ kind: "exchanges", pcap: Uint8Array.of(1, 2, 3) });
      break;
    case "stop":
      say({ kind: "stopped" });
      parentPort?.close();
      break;
    default:
      say({ kind: "trouble", message: JSON.stringify(command) });
  }
});
