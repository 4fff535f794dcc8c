/**
 * A server that knows one thing: a watch of Services on which each event says when it was sent. 500
 * events a second, in an even stream. Prints its URL.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { EVENTS, SENT } from "./subject.ts";

const PER_SECOND = 500;
const WARM_UP = 1_000;

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "", "http://server");
  response.writeHead(200, { "content-type": "application/json" });
  if (url.searchParams.get("watch") !== "true") {
    response.end(JSON.stringify({ metadata: { resourceVersion: "1" }, items: [] }));
    return;
  }
  if (url.searchParams.get("sendInitialEvents") === "true") {
    const annotations = { "k8s.io/initial-events-end": "true" };
    response.write(line("BOOKMARK", { metadata: { resourceVersion: "1", annotations } }));
  }
  send(response);
});

function send(response: ServerResponse): void {
  const startedAt = performance.now();
  let count = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) * PER_SECOND) / 1000;
    for (; count < due && count < WARM_UP + EVENTS; count++) response.write(event(count));
    if (count === WARM_UP + EVENTS) clearInterval(timer);
  }, 1);
  response.on("close", () => clearInterval(timer));
}

function event(count: number): string {
  const name = `s${count % 1_000}`;
  const sent = count < WARM_UP ? {} : { annotations: { [SENT]: String(process.hrtime.bigint()) } };
  const metadata = {
    name,
    namespace: "bench",
    uid: name,
    resourceVersion: String(count + 2),
    ...sent,
  };
  const spec = {
    type: "LoadBalancer",
    ports: [{ name: "http", port: 80, protocol: "TCP", targetPort: 8080 }],
  };
  return line(count < 1_000 ? "ADDED" : "MODIFIED", {
    apiVersion: "v1",
    kind: "Service",
    metadata,
    spec,
  });
}

function line(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}

server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
