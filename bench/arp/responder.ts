/**
 * A process that only answers packets: the product's responder thread and its client, told by lines
 * of JSON on standard input what to announce.
 *
 *   {"announce":[address, …],"withdraw":[address, …]}     answered with a line when it has been posted
 *   {"parsing":true}                                      parse on the main thread until told otherwise
 */
import { createInterface } from "node:readline";
import type { Logger } from "../../kubernetes/logging.ts";
import type { Address } from "../../packet/address/address.ts";
import { ResponderClient, yieldToResponder } from "../../speaker/responder-client.ts";
import { parseWithoutPause } from "./parsing.ts";

interface Order {
  readonly announce?: readonly Address[];
  readonly withdraw?: readonly Address[];
  readonly parsing?: boolean;
}

function log(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  process.stderr.write(`${JSON.stringify({ message, ...fields })}\n`);
}

const logger: Logger = {
  debug: () => undefined,
  info: log,
  warn: log,
  error: log,
  child: () => logger,
  enabled: () => true,
};

const client = new ResponderClient({
  logger,
  announcedChanged: () => undefined,
  counted: () => undefined,
  died: (why) => {
    log("the responder thread died", { why });
    process.exit(1);
  },
});
yieldToResponder(logger);
client.post({ kind: "configure", excludedInterfaces: ["^lo$"] });

let stopParsing: (() => void) | undefined;

function obey({ announce = [], withdraw = [], parsing }: Order): void {
  if (announce.length + withdraw.length > 0)
    client.post({ kind: "table", announce: announce.map((address) => ({ address })), withdraw });
  if (parsing === undefined) return;
  stopParsing?.();
  stopParsing = parsing ? parseWithoutPause() : undefined;
}

createInterface({ input: process.stdin }).on("line", (line) => {
  obey(JSON.parse(line) as Order);
  process.stdout.write("{}\n");
});
