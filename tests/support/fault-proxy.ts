/**
 * Proxies that stand between a client and an API server and break things on purpose.
 *
 * {@link TcpProxy} passes octets, TLS included; it can reset, freeze and refuse connections.
 * {@link FaultProxy} speaks HTTP (or HTTPS with a certificate of its own) and asks the API server as
 * administrator; it can answer in the server's place and edit what the server says.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { Agent, createServer as createHttpsServer, request as httpsRequest } from "node:https";
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";

/** Passes octets between clients and one address. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** Connections that clients have made so far. */
  accepted = 0;
  #frozen = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Starts a proxy on loopback. @param to where the octets go */
  static async start(to: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const server = createTcpServer();
    const proxy = new TcpProxy(server);
    server.on("connection", (client) => proxy.#join(client, connect(to)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resets every connection. */
  reset(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  /** Holds back every octet from now on, of new connections too; nobody is told. */
  freeze(): void {
    this.#frozen = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /** Lets octets pass again. */
  thaw(): void {
    this.#frozen = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  /** Ends it with all its connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    this.accepted++;
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on("data", (octets) => to.write(octets));
      from.on("end", () => to.end());
      // Whatever ends one side ends the other.
      from.on("error", () => to.resetAndDestroy());
      from.on("close", () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
      if (this.#frozen) from.pause();
    }
  }
}

/** What the proxy does with one request instead of passing it. */
export type Fault =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: unknown }
  /** Edits each chunk of the answer's body; what it gives is written piece by piece. */
  | { readonly edit: (chunk: Buffer, control: BodyControl) => readonly (Buffer | string)[] };

/** What an editor can do beside editing. */
export interface BodyControl {
  /** Resets the connection once what was given is written. */
  reset(): void;
}

/** How the proxy reaches the API server, and how it shows itself. */
export interface FaultProxyOptions {
  readonly server: string;
  readonly ca: string | Buffer;
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Speaks HTTPS with this certificate; without it HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** An HTTP proxy with faults. */
export class FaultProxy implements AsyncDisposable {
  /** Asked for each request; undefined passes it. */
  fault: (request: IncomingMessage) => Fault | undefined = () => undefined;
  /** Method and URL of each request, in order. */
  readonly requests: string[] = [];
  readonly #options: FaultProxyOptions;
  readonly #agent: Agent;
  readonly #server: Server & {
    closeAllConnections(): void;
    setSecureContext?: (tls: object) => void;
  };
  readonly #sockets = new Set<Socket>();

  private constructor(options: FaultProxyOptions) {
    this.#options = options;
    const { ca, cert, key } = options;
    this.#agent = new Agent({ ca, cert, key, keepAlive: true });
    const pass = (request: IncomingMessage, response: ServerResponse): void =>
      this.#pass(request, response);
    this.#server = options.tls ? createHttpsServer(options.tls, pass) : createHttpServer(pass);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** Starts a proxy on loopback. */
  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Where it listens, as a URL. */
  get origin(): string {
    return `${this.#options.tls ? "https" : "http"}://127.0.0.1:${this.port}`;
  }

  /** Resets every connection of clients. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Shows another certificate to new connections. */
  setCertificate(tls: { readonly cert: string; readonly key: string }): void {
    this.#server.setSecureContext?.(tls);
  }

  /** Ends it with all its connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method ?? ""} ${request.url ?? ""}`);
    const fault = this.fault(request);
    if (fault && "status" in fault) {
      request.resume();
      response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
      response.end(JSON.stringify(fault.body ?? {}));
      return;
    }
    const { host: _host, authorization: _authorization, ...headers } = request.headers;
    const outgoing = httpsRequest(
      new URL(request.url ?? "/", this.#options.server),
      { method: request.method, headers, agent: this.#agent },
      (incoming) => {
        response.writeHead(incoming.statusCode ?? 502, incoming.headers);
        // A watch's client waits for the headers.
        response.flushHeaders();
        passBody(incoming, response, fault?.edit);
      },
    );
    // Whatever ends one side ends the other.
    outgoing.on("error", () => response.socket?.resetAndDestroy());
    response.on("close", () => outgoing.destroy());
    request.pipe(outgoing);
  }
}

type Edit = Extract<Fault, { readonly edit: unknown }>["edit"];

function passBody(
  incoming: IncomingMessage,
  response: ServerResponse,
  edit: Edit | undefined,
): void {
  incoming.on("data", (chunk: Buffer) => {
    const wish = { reset: false };
    const pieces = edit ? edit(chunk, { reset: () => (wish.reset = true) }) : [chunk];
    for (const piece of pieces) response.write(piece);
    // An empty write comes back when all before it has been handed to the kernel.
    if (wish.reset)
      response.write("\n", () => setImmediate(() => response.socket?.resetAndDestroy()));
  });
  incoming.on("error", () => response.socket?.resetAndDestroy());
  incoming.on("end", () => response.end());
}
