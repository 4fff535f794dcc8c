/**
 * Answers the API server's admission questions (`admission.k8s.io/v1`) over HTTPS. What is asked for is
 * decided by handlers, one a path; they do not wait, so an answer is a matter of milliseconds.
 *
 * Whoever reaches the port may ask, as with every webhook: the API server shows no certificate unless it
 * is told to. An answer reveals what a refusal would.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { silentLogger, type Logger } from "./logging.ts";
import { close, listen } from "./probes.ts";

/** A question, as far as handlers look at it. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  /** `CREATE`, `UPDATE`, `DELETE` or `CONNECT`. */
  readonly operation: string;
  readonly namespace?: string;
  readonly name?: string;
  /** The object as it would be stored; null on deletion. */
  readonly object?: unknown;
  /** The object as it is; null on creation. */
  readonly oldObject?: unknown;
  readonly userInfo?: { readonly username?: string };
}

/** An answer. A refusal's message is shown to whoever asked; warnings are shown in any case. */
export type AdmissionAnswer =
  | { readonly allowed: true; readonly warnings?: readonly string[] }
  | { readonly allowed: false; readonly message: string };

/** Decides; what it throws becomes status 500, which the API server treats as its failurePolicy says. */
export type AdmissionHandler = (request: AdmissionRequest) => AdmissionAnswer;

/** A certificate and its key, both PEM. */
export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Where to listen, and who decides. */
export interface AdmissionServerOptions {
  /** 0 lets the system choose. */
  readonly port: number;
  readonly host?: string;
  readonly certificate: ServerCertificate;
  /** By path. */
  readonly handlers: Readonly<Record<string, AdmissionHandler>>;
  readonly logger?: Logger;
}

/** A running admission endpoint. */
export interface AdmissionServer extends Pick<Server, "setSecureContext"> {
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** The API server sends at most 3 MiB of an object, twice when it is updated. */
const MAX_BODY = 7 * 1024 * 1024;
/** Nobody who means well takes longer to send a question. */
const RECEIVE_TIMEOUT_MS = 10_000;

/** Starts the endpoint. @throws when the port is taken. */
export async function startAdmissionServer(
  options: AdmissionServerOptions,
): Promise<AdmissionServer> {
  const logger = options.logger ?? silentLogger;
  const { certificate, handlers } = options;
  const timeouts = { requestTimeout: RECEIVE_TIMEOUT_MS, headersTimeout: RECEIVE_TIMEOUT_MS };
  const server = createServer(
    { ...certificate, ...timeouts, minVersion: "TLSv1.2" },
    (request, response) => {
      answer(request, response, handlers).catch((error: unknown) => {
        logger.error("admission request failed", { path: request.url, error });
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    },
  );
  // A client that leaves in the middle of a handshake is its own business.
  server.on("tlsClientError", () => undefined);
  await listen(server, options.port, options.host);
  return {
    port: (server.address() as AddressInfo).port,
    setSecureContext: (context) => server.setSecureContext(context),
    close: () => close(server),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  handlers: AdmissionServerOptions["handlers"],
): Promise<void> {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const handler = Object.hasOwn(handlers, path) ? handlers[path] : undefined;
  if (request.method !== "POST" || handler === undefined) {
    refuse(response, 404);
    return;
  }
  const body = await receive(request);
  const question = body === undefined ? undefined : readQuestion(body);
  if (question === undefined) {
    refuse(response, body === undefined ? 413 : 400);
    return;
  }
  const review = {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    response: { uid: question.uid, ...wireAnswer(handler(question)) },
  };
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(review));
}

const STATUS_TEXT = new Map([
  [400, "bad request: an AdmissionReview of admission.k8s.io/v1 is needed\n"],
  [404, "not found\n"],
  [413, "too large\n"],
]);

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { connection: "close" }).end(STATUS_TEXT.get(status));
}

/** @returns undefined when there is too much of it */
async function receive(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function readQuestion(body: string): AdmissionRequest | undefined {
  try {
    const review = JSON.parse(body) as { request?: Partial<AdmissionRequest> } | null;
    const request = review?.request;
    return typeof request?.uid === "string" && typeof request.kind?.kind === "string"
      ? (request as AdmissionRequest)
      : undefined;
  } catch {
    // Not JSON: no question.
    return undefined;
  }
}

/** 422, as the API server itself answers what a schema refuses. */
function wireAnswer(given: AdmissionAnswer): object {
  if (!given.allowed) {
    const { message } = given;
    return { allowed: false, status: { code: 422, reason: "Invalid", message } };
  }
  const { warnings = [] } = given;
  return warnings.length === 0 ? { allowed: true } : { allowed: true, warnings };
}
