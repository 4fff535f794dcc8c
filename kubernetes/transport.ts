/**
 * HTTP/1.1 over kept-alive connections of `node:https`. One pool is for requests, bounded; another is
 * for those that must not wait behind them; each watch has a connection of its own. A request that hangs is ended by its deadline together with its
 * connection, so that a half-open one is never used again.
 */
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { isDeepStrictEqual } from "node:util";
import { abortReason } from "./clock.ts";
import type { Connection, Credentials } from "./connection.ts";
import { OperatorError } from "./errors.ts";

/** One request. */
export interface TransportRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Time until the headers of the answer; the body has its own watch. */
  readonly timeoutMs: number;
  /** True for a watch, which has a connection of its own. */
  readonly stream?: boolean;
  /** True for a request that must not wait until one of the others is answered. */
  readonly urgent?: boolean | undefined;
  /** Called when the connection stands, right before the first octet leaves; may throw to refuse. */
  readonly beforeSend?: (() => void) | undefined;
  /** What is attempted, for errors. */
  readonly attempted: string;
}

/** An answer whose body has not been read. */
export interface TransportResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: IncomingMessage;
}

/** A failed request and whether it can have reached the server's program. */
export class TransportError extends OperatorError {
  override readonly name = "TransportError";
  /** True when an idle connection turned out dead: the server closed it meanwhile and never saw the request. */
  readonly staleConnection: boolean;

  /** @param attempted what was attempted on what. */
  constructor(
    code: "Unreachable" | "ConnectionLost" | "Timeout" | "Certificate",
    attempted: string,
    cause: unknown,
    staleConnection = false,
  ) {
    super(code, attempted, { cause });
    this.staleConnection = staleConnection;
  }
}

/** How many requests may be under way at once; see {@link Transport}. */
const MAX_CONCURRENT_REQUESTS = 32;
/**
 * Time for a TCP connection. After a lost SYN the kernel waits 1, 2, 4 … s; whoever starts anew sooner
 * is connected sooner when the path is back.
 */
const CONNECT_TIMEOUT_MS = 3_000;
/** Kernel keep-alive: finds peers that vanished, also between requests. */
const TCP_KEEP_ALIVE_MS = 30_000;

/** Sends requests to one API server. */
export class Transport {
  readonly #connection: Connection;
  readonly #maxConcurrent: number;
  #tls: Credentials["tls"] | undefined;
  #requests: HttpAgent | undefined;
  #urgent: HttpAgent | undefined;
  #streams: HttpAgent | undefined;
  #closed = false;

  /** @param maxConcurrent bound of requests under way, watches apart. */
  constructor(connection: Connection, maxConcurrent = MAX_CONCURRENT_REQUESTS) {
    this.#connection = connection;
    this.#maxConcurrent = maxConcurrent;
  }

  /** Ends all connections; further requests fail. */
  close(): void {
    this.#closed = true;
    this.#requests?.destroy();
    this.#urgent?.destroy();
    this.#streams?.destroy();
  }

  /**
   * Sends a request.
   * @returns the answer as soon as its headers are there.
   * @throws TransportError, or the signal's reason.
   */
  async send(request: TransportRequest, signal?: AbortSignal): Promise<TransportResponse> {
    const credentials = await this.#connection.credentials();
    if (signal?.aborted) throw abortReason(signal);
    if (this.#closed)
      throw new TransportError("Unreachable", request.attempted, new Error("client is closed"));
    const secure = this.#connection.server.protocol === "https:";
    const { server } = this.#connection;
    const options = {
      method: request.method,
      host: server.hostname.replace(/^\[|\]$/g, ""),
      port: server.port === "" ? (secure ? 443 : 80) : Number(server.port),
      path: `${server.pathname.replace(/\/$/, "")}${request.path}`,
      headers: {
        accept: "application/json",
        ...(request.body === undefined
          ? {}
          : { "content-length": Buffer.byteLength(request.body) }),
        ...credentials.headers,
        ...request.headers,
      },
      agent: credentials.agent ?? this.#agent(secure, credentials.tls, request),
    };
    const outgoing = secure
      ? httpsRequest({ ...options, ...credentials.tls })
      : httpRequest(options);
    try {
      return await exchange(outgoing, request, signal);
    } catch (error) {
      // The other idle connections took the same path: each would cost the next request its time.
      if (isTimeout(error)) this.#dropIdle();
      throw error;
    }
  }

  #dropIdle(): void {
    for (const agent of [this.#requests, this.#urgent])
      for (const sockets of Object.values(agent?.freeSockets ?? {}))
        for (const socket of sockets ?? []) socket.destroy();
  }

  #agent(
    secure: boolean,
    tls: Credentials["tls"],
    { stream, urgent }: Pick<TransportRequest, "stream" | "urgent">,
  ): HttpAgent {
    if (!this.#requests || !this.#urgent || !this.#streams || !sameTls(this.#tls, tls)) {
      // A new CA or client certificate counts for new connections; running watches keep theirs.
      const common = {
        keepAlive: true,
        keepAliveMsecs: TCP_KEEP_ALIVE_MS,
        scheduling: "lifo" as const,
      };
      const create = (maxSockets: number): HttpAgent => {
        const settings = { ...common, maxSockets, maxFreeSockets: 4 };
        return secure ? new HttpsAgent({ ...settings, ...tls }) : new HttpAgent(settings);
      };
      this.#tls = tls;
      this.#requests = create(this.#maxConcurrent);
      this.#urgent = create(this.#maxConcurrent);
      this.#streams = create(Number.POSITIVE_INFINITY);
    }
    if (stream === true) return this.#streams;
    return urgent === true ? this.#urgent : this.#requests;
  }
}

/** A deadline that passed: ours, or that of the caller's `AbortSignal.timeout`. */
function isTimeout(error: unknown): boolean {
  if (error instanceof TransportError) return error.code === "Timeout";
  return error instanceof DOMException && error.name === "TimeoutError";
}

function sameTls(a: Credentials["tls"] | undefined, b: Credentials["tls"]): boolean {
  if (a === b) return true;
  if (!a) return false;
  const names = new Set([...Object.keys(a), ...Object.keys(b)] as (keyof Credentials["tls"])[]);
  return [...names].every((name) => isDeepStrictEqual(a[name], b[name]));
}

/** Sends when the connection stands, waits for the headers, and maps what goes wrong. */
function exchange(
  outgoing: ClientRequest,
  request: TransportRequest,
  signal: AbortSignal | undefined,
): Promise<TransportResponse> {
  return new Promise((resolve, reject) => {
    let connected = false;
    let timer: NodeJS.Timeout | undefined;
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const onAbort = (): void => {
      // One that still waits for a connection would tell of its end only when it has got one.
      settle();
      reject(abortReason(signal));
      outgoing.destroy(abortReason(signal));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    outgoing.once("error", (cause) => {
      settle();
      if (cause instanceof OperatorError) reject(cause);
      else reject(transportError(cause, request.attempted, connected, outgoing.reusedSocket));
    });
    outgoing.once("response", (body) => {
      settle();
      // From here on the reader of the body owns the connection and listens to the signal.
      resolve({ status: body.statusCode ?? 0, headers: body.headers, body });
    });
    outgoing.once("socket", (socket: Socket) => {
      // Waiting for a free connection does not count: it is our own bound, not the server's delay.
      const limit = (ms: number, doing: string): void => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          const cause = new Error(`no ${doing} within ${ms} ms`);
          const code = connected ? "Timeout" : "Unreachable";
          outgoing.destroy(new TransportError(code, request.attempted, cause));
        }, ms);
      };
      limit(request.timeoutMs, "answer");
      if (socket.connecting) {
        limit(CONNECT_TIMEOUT_MS, "connection");
        socket.once("connect", () => limit(request.timeoutMs, "answer"));
      }
      whenReady(socket, () => {
        connected = true;
        try {
          request.beforeSend?.();
        } catch (refusal) {
          outgoing.destroy(refusal as Error);
          return;
        }
        outgoing.end(request.body);
      });
    });
  });
}

/** Calls back once octets written to the socket would leave at once. */
function whenReady(socket: Socket, callback: () => void): void {
  if (socket instanceof TLSSocket) {
    // Not in the typings; Node's own agent reads it too.
    const { secureConnecting } = socket as TLSSocket & { secureConnecting?: boolean };
    if (secureConnecting === false) callback();
    else socket.once("secureConnect", callback);
  } else if (socket.connecting) socket.once("connect", callback);
  else callback();
}

const NEVER_CONNECTED = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
]);

function transportError(
  cause: Error & { code?: string },
  attempted: string,
  connected: boolean,
  reused: boolean,
): TransportError {
  const code = cause.code ?? "";
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|ERR_OSSL/.test(code)) {
    return new TransportError("Certificate", attempted, cause);
  }
  if (!connected || NEVER_CONNECTED.has(code))
    return new TransportError("Unreachable", attempted, cause);
  return new TransportError("ConnectionLost", attempted, cause, reused);
}

/**
 * Reads a whole body.
 * @throws TransportError when it ends early or pauses for longer than `timeoutMs`.
 */
export function readBody(
  body: IncomingMessage,
  attempted: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const fail = (error: Error): void => {
      settle();
      body.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(abortReason(signal));
    const timer = setTimeout(() => {
      fail(
        new TransportError("Timeout", attempted, new Error(`answer paused for ${timeoutMs} ms`)),
      );
    }, timeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    if (signal?.aborted) {
      onAbort();
      return;
    }
    signal?.addEventListener("abort", onAbort, { once: true });
    body.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      timer.refresh();
    });
    body.once("error", (cause) => fail(new TransportError("ConnectionLost", attempted, cause)));
    body.once("end", () => {
      settle();
      resolve(Buffer.concat(chunks));
    });
  });
}
