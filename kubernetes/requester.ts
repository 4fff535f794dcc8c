/**
 * Sends requests and reads answers: errors from refusals, metrics of all, and the one place that
 * decides which failed requests are repeated at once. Those are few, because repeating must be safe
 * and certain to be wanted:
 *
 * - the server said when (`Retry-After` of 429 and 503), at most five times;
 * - an idle connection turned out dead, and the request is not a POST;
 * - 401, once, with what the token's file says now.
 */
import { parseRetryAfter, parseStatus } from "./api-path.ts";
import { abortReason, sleep, type Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { ApiError, hasCode, OperatorError } from "./errors.ts";
import type { Metrics } from "./metrics.ts";
import {
  readBody,
  TransportError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from "./transport.ts";

const MAX_REPEATS = 5;
/** No server may make us wait for longer than this in one go. */
const MAX_RETRY_AFTER_MS = 30_000;

/** A request before the requester adds what all have in common. */
export interface RequestInput extends Pick<
  TransportRequest,
  "method" | "path" | "headers" | "body" | "stream" | "urgent" | "beforeSend"
> {
  /** What is attempted on what, for errors. */
  readonly attempted: string;
  /** Label of the metrics: `get`, `list`, `watch`, … */
  readonly verb: string;
}

/** What a requester works with. */
export interface RequesterOptions {
  readonly connection: Connection;
  readonly transport: Transport;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly userAgent: string;
  readonly timeoutMs: number;
}

/** See the head of the file. */
export class Requester {
  readonly #options: RequesterOptions;

  /** Shares the transport with others; does not close it. */
  constructor(options: RequesterOptions) {
    this.#options = options;
  }

  /** Sends a request and reads the JSON answer. @throws ApiError, OperatorError, the signal's reason. */
  async json(input: RequestInput, signal?: AbortSignal): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(input, signal);
      } catch (error) {
        const delayMs = repeatAfter(error, input.method, attempt);
        if (delayMs === undefined) throw error;
        this.#options.metrics.clientRetries.inc();
        if (delayMs > 0) await sleep(this.#options.clock, delayMs, signal);
      }
    }
  }

  /** Sends a request and gives the answer of status 200 with its body unread. @throws as {@link json}. */
  async stream(input: RequestInput, signal?: AbortSignal): Promise<TransportResponse> {
    const response = await this.#send(input, signal);
    if (response.status !== 200) throw await this.#refusal(response, input.attempted, signal);
    return response;
  }

  async #once(input: RequestInput, signal: AbortSignal | undefined): Promise<unknown> {
    const { attempted } = input;
    const response = await this.#send(input, signal);
    if (response.status < 200 || response.status > 299) {
      throw await this.#refusal(response, attempted, signal);
    }
    const octets = await readBody(response.body, attempted, this.#options.timeoutMs, signal);
    try {
      return JSON.parse(octets.toString("utf8")) as unknown;
    } catch (cause) {
      throw new OperatorError("Malformed", attempted, { cause });
    }
  }

  async #send(input: RequestInput, signal: AbortSignal | undefined): Promise<TransportResponse> {
    if (signal?.aborted) throw abortReason(signal);
    const { clock, connection, metrics, timeoutMs, transport, userAgent } = this.#options;
    const headers = { "user-agent": userAgent, ...input.headers };
    const startedAt = clock.monotonicMs();
    let code = "error";
    try {
      const response = await transport.send({ ...input, headers, timeoutMs }, signal);
      code = String(response.status);
      return response;
    } catch (error) {
      // The CA may have been replaced.
      if (hasCode(error, "Certificate")) connection.invalidate();
      throw error;
    } finally {
      metrics.observeRequest(input.verb, code, (clock.monotonicMs() - startedAt) / 1000);
    }
  }

  async #refusal(
    response: TransportResponse,
    attempted: string,
    signal: AbortSignal | undefined,
  ): Promise<ApiError> {
    const { clock, connection, timeoutMs } = this.#options;
    // The token may have been replaced.
    if (response.status === 401) connection.invalidate();
    const octets = await readBody(response.body, attempted, timeoutMs, signal);
    const header = response.headers["retry-after"];
    const retryAfterMs = parseRetryAfter(
      typeof header === "string" ? header : undefined,
      clock.wallMs(),
    );
    return new ApiError(
      attempted,
      response.status,
      parseStatus(octets.toString("utf8")),
      retryAfterMs,
    );
  }
}

/** Milliseconds until the request is repeated; undefined: the caller gets the error. */
function repeatAfter(error: unknown, method: string, attempt: number): number | undefined {
  if (attempt > MAX_REPEATS) return undefined;
  if (error instanceof TransportError && error.staleConnection && method !== "POST") return 0;
  if (!(error instanceof ApiError)) return undefined;
  if (error.code === "Unauthorized") return attempt === 1 ? 0 : undefined;
  const overloaded = error.status === 429 || error.status === 503;
  if (!overloaded || error.retryAfterMs === undefined) return undefined;
  return Math.min(error.retryAfterMs, MAX_RETRY_AFTER_MS) * (1 + Math.random() / 4);
}
