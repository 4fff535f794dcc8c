/**
 * What can go wrong with an effect, and the one place that decides whether trying again can help.
 *
 * An error says what was attempted on what (`applying Deployment metallb-system/controller`); its
 * cause says why. {@link describeError} prints both in one line.
 */

import { inspect } from "node:util";

/** The closed set of codes; tests and callers match these, never a message. */
export type ErrorCode =
  | "BadRequest"
  | "Unauthorized"
  | "Forbidden"
  | "NotFound"
  | "AlreadyExists"
  | "Conflict"
  | "Gone"
  | "Invalid"
  | "TooManyRequests"
  | "TooLargeResourceVersion"
  | "ServerError"
  | "Unreachable"
  | "ConnectionLost"
  | "Timeout"
  | "Silent"
  | "Malformed"
  | "Certificate"
  | "Configuration"
  | "NotLeading"
  | "Terminal";

/** An effect that did not happen. */
export class OperatorError extends Error {
  override readonly name: string = "OperatorError";
  readonly code: ErrorCode;

  /** @param message what was attempted on what: lower-case, no trailing stop. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Throw it from a reconciler when only a change of the objects can help: no retry, but logged and counted. */
export class TerminalError extends OperatorError {
  override readonly name = "TerminalError";

  /** @param message what was attempted on what. */
  constructor(message: string, options?: ErrorOptions) {
    super("Terminal", message, options);
  }
}

/** The Kubernetes `Status` object that answers a refused request. */
export interface Status {
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly {
      readonly reason?: string;
      readonly message?: string;
      readonly field?: string;
    }[];
  };
}

/** The API server answered, and the answer is no. */
export class ApiError extends OperatorError {
  override readonly name = "ApiError";
  /** HTTP status, or the code inside a watch's ERROR event. */
  readonly status: number;
  /** Kubernetes' machine-readable reason, empty when there was none. */
  readonly reason: string;
  /** How long the server asked us to wait. */
  readonly retryAfterMs: number | undefined;
  /** Refused fields, when the server named them. */
  readonly fields: readonly string[];

  /** @param attempted what was attempted on what. */
  constructor(attempted: string, httpStatus: number, body: Status, retryAfterMs?: number) {
    super(apiErrorCode(httpStatus, body), attempted, {
      cause: new Error(body.message ?? `HTTP status ${httpStatus}`),
    });
    this.status = httpStatus;
    this.reason = body.reason ?? "";
    const inBody = body.details?.retryAfterSeconds;
    this.retryAfterMs = retryAfterMs ?? (inBody ? inBody * 1000 : undefined);
    this.fields = (body.details?.causes ?? []).flatMap((cause) =>
      cause.field ? [cause.field] : [],
    );
  }
}

const CODE_OF_STATUS = new Map<number, ErrorCode>([
  [400, "BadRequest"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "NotFound"],
  [409, "Conflict"],
  [410, "Gone"],
  [413, "Invalid"],
  [415, "BadRequest"],
  [422, "Invalid"],
  [429, "TooManyRequests"],
]);

function apiErrorCode(httpStatus: number, body: Status): ErrorCode {
  if (body.reason === "AlreadyExists") return "AlreadyExists";
  if (body.reason === "Expired" || body.reason === "Gone") return "Gone";
  const tooLarge = body.details?.causes?.some(
    (cause) => cause.reason === "ResourceVersionTooLarge",
  );
  if (tooLarge || body.message?.includes("Too large resource version"))
    return "TooLargeResourceVersion";
  const known = CODE_OF_STATUS.get(httpStatus);
  if (known) return known;
  return httpStatus >= 500 ? "ServerError" : "BadRequest";
}

/** `retry`: soon, with back-off. `slowly`: only people or another program can mend it. `never`. */
export type Retryability = "retry" | "slowly" | "never";

const RETRYABILITY: Record<ErrorCode, Retryability> = {
  BadRequest: "slowly",
  Unauthorized: "retry",
  Forbidden: "slowly",
  NotFound: "retry",
  AlreadyExists: "retry",
  Conflict: "retry",
  Gone: "retry",
  Invalid: "never",
  TooManyRequests: "retry",
  TooLargeResourceVersion: "retry",
  ServerError: "retry",
  Unreachable: "retry",
  ConnectionLost: "retry",
  Timeout: "retry",
  Silent: "retry",
  Malformed: "retry",
  Certificate: "slowly",
  Configuration: "never",
  NotLeading: "never",
  Terminal: "never",
};

/** Decides whether trying again can help. Unknown errors count as `retry`. */
export function retryability(error: unknown): Retryability {
  return error instanceof OperatorError ? RETRYABILITY[error.code] : "retry";
}

/** True when the error carries this code. */
export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): error is OperatorError {
  return error instanceof OperatorError && codes.includes(error.code);
}

/** The error and its causes in one line: `applying Deployment a/b: admission webhook said no`. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && parts.length < 8;) {
    parts.push(at instanceof Error ? at.message : inspect(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.filter((part) => part !== "").join(": ");
}
