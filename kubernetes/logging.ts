/**
 * Logs: JSON lines on standard output, a constant message with values as fields. The level can change
 * at run time. Secrets never leave: fields with a telling name, bearer tokens, JSON web tokens, private
 * keys and the data of Secret objects are replaced, wherever they stand.
 */
import type winston from "winston";
import { createLogger as createWinston, format, transports, type Logger as Winston } from "winston";
import type { Writable } from "node:stream";
import type { LogLevel } from "../api/metallb.ts";

/** Values beside a message. Errors belong under the key `error`. */
export type Fields = Readonly<Record<string, unknown>>;

/** Writes log lines. */
export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A logger that adds these fields to every line; it shares the level. */
  child(fields: Fields): Logger;
  /** True when a line of this level would be written: ask before costly fields. */
  enabled(level: "debug" | "info" | "warn" | "error"): boolean;
}

/** A logger whose level can be set; its children follow. */
export interface RootLogger extends Logger {
  readonly level: LogLevel;
  setLevel(level: LogLevel): void;
  /** SIGUSR2: from any level to `debug`, and back the next time. */
  toggleDebug(): void;
}

/**
 * Makes the logger of a program.
 * @param destination standard output without it.
 */
export function createLogger(
  program: string,
  level: LogLevel = "info",
  destination?: Writable,
): RootLogger {
  const winston = createWinston({
    format: format.printf(({ level, message, fields }) => formatLine(level, message, fields)),
    // The rule takes winston's own transports for another class.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    transports: [createTransport(destination)],
    exitOnError: false,
  });
  const root = new WinstonLogger(winston, { program });
  root.setLevel(level);
  return root;
}

function createTransport(
  destination: Writable | undefined,
): winston.transports.StreamTransportInstance | winston.transports.ConsoleTransportInstance {
  return destination
    ? new transports.Stream({ stream: destination, eol: "\n" })
    : new transports.Console();
}

function formatLine(level: string, message: unknown, fields: unknown): string {
  const values = redact(fields, { stacks: level === "error" }) as Fields;
  return JSON.stringify({ ts: new Date().toISOString(), level, msg: redact(message), ...values });
}

/** A logger that writes nothing; the default of parts that are used without a program. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
  enabled: () => false,
};

class WinstonLogger implements RootLogger {
  readonly #winston: Winston;
  readonly #fields: Fields;
  /** What was set, and whether debug is toggled on over it. */
  #wanted: LogLevel = "info";
  #debugging = false;

  constructor(winston: Winston, fields: Fields) {
    this.#winston = winston;
    this.#fields = fields;
  }

  get level(): LogLevel {
    return this.#debugging ? "debug" : this.#wanted;
  }

  setLevel(level: LogLevel): void {
    this.#wanted = level;
    this.#apply();
  }

  toggleDebug(): void {
    this.#debugging = !this.#debugging;
    this.#apply();
  }

  #apply(): void {
    const { level } = this;
    this.#winston.silent = level === "none";
    this.#winston.level = level === "all" ? "debug" : level === "none" ? "error" : level;
  }

  enabled(level: "debug" | "info" | "warn" | "error"): boolean {
    return !this.#winston.silent && this.#winston.isLevelEnabled(level);
  }

  debug(message: string, fields?: Fields): void {
    this.#write("debug", message, fields);
  }

  info(message: string, fields?: Fields): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields?: Fields): void {
    this.#write("warn", message, fields);
  }

  error(message: string, fields?: Fields): void {
    this.#write("error", message, fields);
  }

  child(fields: Fields): Logger {
    return new WinstonLogger(this.#winston, { ...this.#fields, ...fields });
  }

  #write(
    level: "debug" | "info" | "warn" | "error",
    msg: string,
    fields: Fields | undefined,
  ): void {
    if (!this.enabled(level)) return;
    this.#winston.log({ level, message: msg, fields: { ...this.#fields, ...fields } });
  }
}

const REDACTED = "[redacted]";
const TELLING_NAME =
  /^(?:.*(?:password|passwd|passphrase|secret-?key|private-?key|api-?key|client-key-data|credential).*|(?:.*[-_a-z])?token|authorization|cookie|dockerconfigjson)$/i;
const TELLING_TEXT =
  /(Bearer\s+)[\w.~+/=-]+|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const MAX_DEPTH = 8;

/** A copy without secrets; errors become plain objects with message, code, cause and perhaps stack. */
export function redact(
  value: unknown,
  options: { readonly stacks?: boolean } = {},
  depth = 0,
): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "[deep]";
  if (value instanceof Error) return redactError(value, options, depth);
  if (value instanceof Date)
    return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (value instanceof Map)
    return redactFields(Object.fromEntries(value) as Record<string, unknown>, options, depth);
  if (value instanceof Set || Array.isArray(value)) {
    return Array.from(value, (item) => redact(item, options, depth + 1));
  }
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} octets]`;
  return redactFields(value as Record<string, unknown>, options, depth);
}

function redactText(text: string): string {
  return text.replace(
    TELLING_TEXT,
    (_match, bearer: string | undefined) => `${bearer ?? ""}${REDACTED}`,
  );
}

function redactFields(
  object: Record<string, unknown>,
  options: { readonly stacks?: boolean },
  depth: number,
): unknown {
  const isSecret = object["kind"] === "Secret";
  const copy: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(object)) {
    const hidden =
      TELLING_NAME.test(name) || (isSecret && (name === "data" || name === "stringData"));
    copy[name] =
      hidden && field !== undefined && field !== null
        ? REDACTED
        : redact(field, options, depth + 1);
  }
  return copy;
}

function redactError(error: Error, options: { readonly stacks?: boolean }, depth: number): unknown {
  const { code } = error as { code?: unknown };
  return {
    name: error.name,
    message: redactText(error.message),
    ...(code === undefined ? {} : { code }),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, options, depth + 1) }),
    ...(options.stacks && error.stack !== undefined ? { stack: redactText(error.stack) } : {}),
  };
}
