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

/** Running probes. */
export interface Probes {
  readonly port: number;
  /** Adds checks while running. */
  add(kind: "healthz" | "readyz", ...checks: readonly Check[]): void;
  close(): Promise<void>;
}

/** Starts the probes. @throws when the port is taken. */
export async function startProbes(options: ProbeOptions): Promise<Probes> {
  const checks = { healthz: [...(options.healthz ?? [])], readyz: [...(options.readyz ?? [])] };
  const server = createServer((request, response) => answer(request, response, checks));
  await listen(server, options.port, options.host);
  return {
    port: (server.address() as AddressInfo).port,
    add: (kind, ...more) => void checks[kind].push(...more),
    close: () => close(server),
  };
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  checks: Readonly<Record<"healthz" | "readyz", readonly Check[]>>,
): void {
  const path = (request.url ?? "").split("?", 1)[0];
  if (
    (request.method !== "GET" && request.method !== "HEAD") ||
    (path !== "/healthz" && path !== "/readyz")
  ) {
    response
      .writeHead(404, { "content-type": "text/plain" })
      .end("not found: /healthz and /readyz are here\n");
    return;
  }
  const name = path === "/healthz" ? "healthz" : "readyz";
  const { ok, text } = evaluate(name, checks[name]);
  response.writeHead(ok ? 200 : 503, { "content-type": "text/plain; charset=utf-8" }).end(text);
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
