/**
 * `/healthz` and `/readyz` over plain HTTP, with a line for each check and the reason when it fails:
 *
 *     [+]reflectors ok
 *     [-]leader failed: held by controller-abc
 *     readyz check failed
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One thing to look at. */
export interface Check {
  readonly name: string;
  /** @returns undefined when all is well, else the reason. Must not wait. */
  readonly check: () => string | undefined;
}

/** Where to listen, and what to look at. */
export interface ProbeOptions {
  /** 0 lets the system choose. */
  readonly port: number;
  /** All addresses without it; a hostNetwork pod uses 127.0.0.1. */
  readonly host?: string;
  /** Failing means: restart this process. */
  readonly healthz?: readonly Check[];
  /** Failing means: do not count on this process yet. */
  readonly readyz?: readonly Check[];
}

/** What is asked of a further path. */
export interface Question {
  readonly query: URLSearchParams;
  /** The header of that name. */
  readonly accept: string | undefined;
}

/** What a further path answers. */
export interface ServedDocument {
  /** 200 without it. */
  readonly status?: number;
  readonly contentType: string;
  readonly body: Uint8Array | string;
}

/** Running probes. */
export interface Probes {
  readonly port: number;
  /** Answers `GET` of a further path, such as `/exchanges.pcap`. */
  serve(path: string, read: Read): void;
  /** Adds checks while running. */
  add(kind: "healthz" | "readyz", ...checks: readonly Check[]): void;
  close(): Promise<void>;
}

/** Starts the probes. @throws when the port is taken. */
export async function startProbes(options: ProbeOptions): Promise<Probes> {
  const checks = { healthz: [...(options.healthz ?? [])], readyz: [...(options.readyz ?? [])] };
  const served: Served = new Map();
  const server = createServer((request, response) => {
    void answer(request, response, checks, served);
  });
  await listen(server, options.port, options.host);
  return {
    port: (server.address() as AddressInfo).port,
    serve: (path, read) => void served.set(path, read),
    add: (kind, ...more) => void checks[kind].push(...more),
    close: () => close(server),
  };
}

type Read = (question: Question) => Promise<ServedDocument>;
type Served = Map<string, Read>;
type Checks = Readonly<Record<"healthz" | "readyz", readonly Check[]>>;

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  checks: Checks,
  served: Served,
): Promise<void> {
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  const isRead = request.method === "GET" || request.method === "HEAD";
  const read = isRead ? served.get(path) : undefined;
  if (isRead && (path === "/healthz" || path === "/readyz")) {
    const name = path === "/healthz" ? "healthz" : "readyz";
    const { ok, text } = evaluate(name, checks[name]);
    answerText(response, ok ? 200 : 503, text);
  } else if (read !== undefined) {
    const { accept } = request.headers;
    await answerDocument(response, read, { query: new URLSearchParams(query), accept });
  } else {
    const paths = ["/healthz", "/readyz", ...served.keys()];
    answerText(response, 404, `not found: here are ${paths.join(", ")}\n`);
  }
}

function answerText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(text);
}

async function answerDocument(
  response: ServerResponse,
  read: Read,
  question: Question,
): Promise<void> {
  try {
    const { status = 200, contentType, body } = await read(question);
    response.writeHead(status, { "content-type": contentType }).end(body);
  } catch (error) {
    answerText(response, 500, `${error instanceof Error ? error.message : String(error)}\n`);
  }
}

/** Runs the checks; one that throws counts as failed. */
export function evaluate(
  name: string,
  checks: readonly Check[],
): { readonly ok: boolean; readonly text: string } {
  const reasons = checks.map((each) => ({ name: each.name, reason: reasonOf(each) }));
  const ok = reasons.every(({ reason }) => reason === undefined);
  const lines = reasons.map((each) =>
    each.reason === undefined ? `[+]${each.name} ok` : `[-]${each.name} failed: ${each.reason}`,
  );
  return {
    ok,
    text: [...lines, ok ? `${name} check passed` : `${name} check failed`, ""].join("\n"),
  };
}

function reasonOf(check: Check): string | undefined {
  try {
    return check.check();
  } catch (error) {
    // A check that throws is itself broken; that is the reason to show.
    return `check threw ${String(error)}`;
  }
}

/** Listens; resolves when the port is open. */
export function listen(
  server: Pick<Server, "listen" | "once" | "off">,
  port: number,
  host?: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Stops listening and ends the connections. */
export function close(server: Pick<Server, "close" | "closeAllConnections">): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
