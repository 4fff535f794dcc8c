/**
 * A process inside a network namespace that is a node's responder: the product's client and its
 * thread, doing what it is told over the process channel. Tests talk to it through `node-client.ts`.
 */
import { createLogger } from "../../kubernetes/logging.ts";
import { Writable } from "node:stream";

import { noInterface } from "../../speaker/no-interface.ts";
import { ResponderClient } from "../../speaker/responder-client.ts";
import type { OwnerNews, ResponderCounters } from "../../speaker/thread-protocol.ts";
import type { LogLine, NodeAnswer, NodeOrder } from "./node-client.ts";

const lines: LogLine[] = [];
const counted: ResponderCounters[] = [];
const probed: unknown[] = [];
const owners = new Map<string, OwnerNews>();
const hindrances = new Set<string>();
const log = new Writable({
  write: (chunk: Buffer, _encoding, done) => {
    for (const line of chunk.toString().trim().split("\n")) lines.push(JSON.parse(line) as LogLine);
    done();
  },
});

const client = new ResponderClient({
  logger: createLogger("node", "debug", log),
  counted: (counters) => counted.push(counters),
  probed: (outcome) => probed.push(outcome),
  owners: (news) => {
    for (const each of news) {
      owners.set(each.address, each);
      if (each.hindrance !== undefined) hindrances.add(each.hindrance);
    }
  },
});

async function obey(order: NodeOrder): Promise<unknown> {
  switch (order.name) {
    case "post":
      client.post(order.command);
      return null;
    case "state":
      return {
        ready: client.notReady === undefined,
        interfaces: client.interfaces,
        explanation: noInterface(client.interfaces).message,
        lines: [...lines],
        counted: [...counted],
        probed: [...probed],
        owners: [...owners.values()],
        members: client.members,
        self: client.self,
        hindrances: [...hindrances],
      };
    case "interfacesOf":
      return client.interfacesOf(order.address);
    case "exchanges":
      return client.exchanges();
    case "stall":
      // A main loop that does not turn, as under the parsing of very many objects.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, order.ms);
      return null;
    case "stop":
      await client.stop();
      return null;
  }
}

process.on("message", ({ id, order }: { id: number; order: NodeOrder }) => {
  void obey(order).then(
    (value) => process.send?.({ id, ok: true, value } satisfies NodeAnswer),
    (error: unknown) =>
      process.send?.({ id, ok: false, message: String(error) } satisfies NodeAnswer),
  );
});
process.send?.({ id: 0, ok: true, value: "ready" } satisfies NodeAnswer);
