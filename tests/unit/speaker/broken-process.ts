/** A process whose responder thread breaks. It has nothing that would end it otherwise. */
import { createLogger } from "../../../kubernetes/logging.ts";
import { ResponderClient } from "../../../speaker/responder-client.ts";

const client = new ResponderClient({
  logger: createLogger("speaker"),
  entry: new URL("broken-thread.ts", import.meta.url),
});
setInterval(() => undefined, 1000);
client.post({ kind: "configure", excludedInterfaces: [] });
