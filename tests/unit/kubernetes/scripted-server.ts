import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient, type Client, type ClientOptions } from "../../../kubernetes/client.ts";
import { fixedConnection } from "../../../kubernetes/connection.ts";

/** A request as a script sees it. */
export interface Received {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: unknown;
}

/** Answers one request. */
export type Script = (request: Received, response: ServerResponse) => void;

/** An HTTP server on loopback that answers as its script says. */
export interface ScriptedServer extends AsyncDisposable {
  readonly origin: string;
  readonly received: readonly Received[];
  /** Replaces the script. */
  script: Script;
  client(options?: Partial<ClientOptions>): Promise<Client>;
  /** Resets every connection. */
  reset(): void;
}

/** Starts a scripted server. */
export async function serve(script: Script): Promise<ScriptedServer> {
  const received: Received[] = [];
  const sockets = new Set<IncomingMessage["socket"]>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString();
      const entry = {
        method: request.method ?? "",
        url: new URL(request.url ?? "", "http://server"),
        headers: request.headers,
        body: text === "" ? undefined : (JSON.parse(text) as unknown),
      };
      received.push(entry);
      self.script(entry, response);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clients: Client[] = [];
  const self: ScriptedServer = {
    origin,
    received,
    script,
    client: async (options) => {
      const client = await createClient({
        program: "test",
        connection: fixedConnection(origin),
        ...options,
      });
      clients.push(client);
      return client;
    },
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return self;
}

/** Answers with JSON. */
export function answer(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** A Kubernetes Status. */
export function refusal(code: number, reason: string, message = reason): object {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message };
}

/** A line of a watch. */
export function line(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}

/** A Service with the version. */
export function service(name: string, resourceVersion: number, more: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace: "a",
      uid: `uid-${name}`,
      resourceVersion: String(resourceVersion),
    },
    ...more,
  };
}

/** A bookmark; `end` marks the end of a streaming list. */
export function bookmark(resourceVersion: number, end = false): string {
  const annotations = end ? { annotations: { "k8s.io/initial-events-end": "true" } } : {};
  return line("BOOKMARK", {
    kind: "Service",
    apiVersion: "v1",
    metadata: { resourceVersion: String(resourceVersion), ...annotations },
  });
}
