/**
 * `/metrics` over HTTPS for whoever the API server says may read it: the caller's token goes through a
 * TokenReview, its user through a SubjectAccessReview for `get` of the path, as kube-rbac-proxy does.
 * Answers are kept for a minute. Plain HTTP without questions only when asked for.
 */
import { createHash } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { hostname } from "node:os";
import type { AddressInfo } from "node:net";
import { issueCertificate } from "./certificate.ts";
import { certificateFiles, renewCertificate, type CertificateSource } from "./certificate-files.ts";
import type { Client } from "./client.ts";
import { systemClock, type Clock } from "./clock.ts";
import { silentLogger, type Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";
import { close, listen } from "./probes.ts";

/** Where to listen, and who may ask. */
export interface MetricsServerOptions {
  readonly metrics: Metrics;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly host?: string;
  /** `https` with questions to the API server, or `http` without. */
  readonly scheme: "https" | "http";
  /** Required for `https`; its identity needs `create` on tokenreviews and subjectaccessreviews. */
  readonly client?: Pick<Client, "raw">;
  /** Folder with `tls.crt` and `tls.key`, read again when they change; self-signed without it. */
  readonly certificateDirectory?: string;
  /** How often the certificate's files are looked at; 10 s. */
  readonly rereadMs?: number;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** A running metrics endpoint. */
export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

const DECISION_MS = 60_000;
const MAX_DECISIONS = 1_000;
const REREAD_MS = 10_000;
const REVIEW_TIMEOUT_MS = 5_000;
const DAY_MS = 86_400_000;
const SELF_SIGNED_DAYS = 365;

/** Starts the endpoint. @throws when the port is taken or the certificate cannot be read. */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const logger = options.logger ?? silentLogger;
  const clock = options.clock ?? systemClock;
  const authorize =
    options.scheme === "http" ? () => Promise.resolve(200) : authorizer(options, clock);
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response, options.metrics, authorize).catch((error: unknown) => {
      logger.error("metrics request failed", { error });
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  };
  if (options.scheme === "http") {
    const server = createHttpServer(onRequest);
    await listen(server, options.port, options.host);
    return { port: (server.address() as AddressInfo).port, close: () => close(server) };
  }
  const { certificateDirectory } = options;
  const files =
    certificateDirectory === undefined ? selfSigned() : certificateFiles(certificateDirectory);
  const server = createHttpsServer({ ...files.read(), minVersion: "TLSv1.2" }, onRequest);
  await listen(server, options.port, options.host);
  const refresh = setInterval(
    () => renewCertificate(server, files, logger, "metrics"),
    options.rereadMs ?? REREAD_MS,
  ).unref();
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      clearInterval(refresh);
      return close(server);
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  metrics: Metrics,
  authorize: (request: IncomingMessage, path: string) => Promise<number>,
): Promise<void> {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  if (request.method !== "GET" || path !== "/metrics") {
    response.writeHead(404).end("not found: GET /metrics is here\n");
    return;
  }
  const status = await authorize(request, path);
  if (status !== 200) {
    const challenge = status === 401 ? { "www-authenticate": "Bearer" } : {};
    response.writeHead(status, challenge).end(`${STATUS_TEXT.get(status) ?? "refused"}\n`);
    return;
  }
  const text = await metrics.registry.metrics();
  response.writeHead(200, { "content-type": metrics.registry.contentType }).end(text);
}

const STATUS_TEXT = new Map([
  [401, "unauthorized: a bearer token that the API server accepts is needed"],
  [403, "forbidden: the token's user may not get /metrics (nonResourceURLs)"],
  [503, "unavailable: the API server could not be asked"],
]);

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

function authorizer(
  options: MetricsServerOptions,
  clock: Clock,
): (request: IncomingMessage, path: string) => Promise<number> {
  const { client } = options;
  if (!client) throw new TypeError("metrics over https need a client for token reviews");
  const decisions = new Map<string, { readonly status: number; readonly untilMs: number }>();
  return async (request, path) => {
    const token = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined) return 401;
    // Only a digest is kept: a token has no business in our memory for longer than the question.
    const key = createHash("sha256").update(`${path}\0${token}`).digest("base64");
    const known = decisions.get(key);
    if (known && known.untilMs > clock.monotonicMs()) return known.status;
    try {
      const status = await review(client, token, path);
      if (decisions.size >= MAX_DECISIONS) decisions.clear();
      decisions.set(key, { status, untilMs: clock.monotonicMs() + DECISION_MS });
      return status;
    } catch (error) {
      options.logger?.error("metrics authorization failed", { error });
      return 503;
    }
  };
}

async function review(client: Pick<Client, "raw">, token: string, path: string): Promise<number> {
  const signal = AbortSignal.timeout(REVIEW_TIMEOUT_MS);
  const authentication = (await client.raw(
    "POST",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } },
    signal,
  )) as TokenReview;
  const user = authentication.status?.user;
  if (authentication.status?.authenticated !== true || !user) return 401;
  const { username, uid, groups, extra } = user;
  const spec = { user: username, uid, groups, extra, nonResourceAttributes: { path, verb: "get" } };
  const access = (await client.raw(
    "POST",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec },
    signal,
  )) as AccessReview;
  return access.status?.allowed === true ? 200 : 403;
}

function selfSigned(): CertificateSource {
  let renewAt = 0;
  return {
    read: () => {
      const now = Date.now();
      renewAt = now + (SELF_SIGNED_DAYS * DAY_MS) / 2;
      const { certificate, key } = issueCertificate({
        commonName: hostname().slice(0, 64),
        dnsNames: [hostname(), "localhost"],
        notBefore: new Date(now - DAY_MS),
        notAfter: new Date(now + SELF_SIGNED_DAYS * DAY_MS),
      });
      return { cert: certificate, key };
    },
    changed: () => Date.now() > renewAt,
  };
}
