/**
 * Typed access to the API server: read, apply, patch, delete, watch. The only place that knows URLs,
 * content types and which failed requests are worth repeating at once.
 *
 * - Writes are server-side apply under one field manager a program. An apply without `force` that
 *   touches somebody else's field fails with code `Conflict`; it never overwrites by accident.
 * - A request is repeated here only when that is safe and certain to be wanted: the server said when
 *   (`Retry-After`), or an idle connection turned out dead, or a token was replaced. All else is
 *   thrown, and the caller's queue decides with `retryability` (errors.ts).
 * - There is no client-side rate limit: the server's priority and fairness does that. Requests under
 *   way are bounded (32).
 */
import { abortReason, sleep, systemClock, type Clock } from "./clock.ts";
import {
  inClusterConnection,
  isInCluster,
  kubeconfigConnection,
  type Connection,
} from "./connection.ts";
import { ApiError, OperatorError, hasCode, type Status } from "./errors.ts";
import { Metrics } from "./metrics.ts";
import { apiVersion, type KubernetesObject, type Resource } from "./resources.ts";
import { formatKey } from "./store.ts";
import {
  readBody,
  Transport,
  TransportError,
  type TransportRequest,
  type TransportResponse,
} from "./transport.ts";
import { readWatch, type WatchEvent } from "./watch-stream.ts";

export type { WatchEvent } from "./watch-stream.ts";

/** How to reach the API server, and as whom. */
export interface ClientOptions {
  /** Program name: field manager of applies and part of the User-Agent. */
  readonly program: string;
  /** Path of a kubeconfig; without it the pod's service account, else KUBECONFIG or `~/.kube/config`. */
  readonly kubeconfig?: string;
  /** A connection made by the caller; wins over `kubeconfig`. */
  readonly connection?: Connection;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
  /** Requests under way at once, watches apart; 32. */
  readonly maxConcurrentRequests?: number;
  /** Time to wait for an answer, 15 s. */
  readonly requestTimeoutMs?: number;
}

/** Which object. */
export interface ObjectName {
  readonly name: string;
  /** Required for namespaced kinds. */
  readonly namespace?: string | undefined;
}

/** Which objects. */
export interface Selection {
  /** All namespaces without it. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** How to apply. */
export interface ApplyOptions {
  /** Default: the program's name. */
  readonly fieldManager?: string;
  /** Takes fields over from other managers; default true, as Kubernetes advises controllers. */
  readonly force?: boolean;
  /** Validate and answer, but do not store. */
  readonly dryRun?: boolean;
}

/** How to patch. */
export interface PatchOptions {
  /** Default `merge`. */
  readonly type?: "merge" | "json";
  readonly subresource?: string;
  readonly fieldManager?: string;
}

/** How to delete. */
export interface DeleteOptions {
  readonly propagation?: "Background" | "Foreground" | "Orphan";
  /** Only the object with this uid, not one that took its name. */
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** A part of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Of the snapshot that all pages of one list share. */
  readonly resourceVersion: string;
}

/** How to watch. */
export interface WatchOptions extends Selection {
  /** Changes after this one; absent: current objects first. */
  readonly resourceVersion?: string | undefined;
  /** Streaming list: all objects as ADDED, then a bookmark annotated {@link INITIAL_EVENTS_END}. */
  readonly sendInitialEvents?: boolean;
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number;
  /** Without an octet for this long the connection counts as dead (code `Silent`). */
  readonly silenceMs: number;
}

/** An object as it is written: its type's fields plus name and namespace. */
export type Applied<T extends KubernetesObject> = Omit<
  T,
  "apiVersion" | "kind" | "metadata" | "status"
> & {
  /** The client fills it in. */
  readonly apiVersion?: string;
  /** The client fills it in. */
  readonly kind?: string;
  readonly metadata: Partial<T["metadata"]> & ObjectName;
  readonly status?: unknown;
};

const RETRIES_ON_REQUEST_OF_SERVER = 5;
/** No server may make us wait for longer than this in one go. */
const MAX_RETRY_AFTER_MS = 30_000;
const REQUEST_TIMEOUT_MS = 15_000;
const PAGE_SIZE = 500;

/**
 * Connects to nothing yet; finds out where the server is and who we are.
 * @throws OperatorError `Configuration` naming the file or variable that is missing.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const clock = options.clock ?? systemClock;
  const connection = options.connection ?? (await findConnection(clock, options.kubeconfig));
  return new Client(connection, options);
}

async function findConnection(clock: Clock, kubeconfig: string | undefined): Promise<Connection> {
  if (kubeconfig !== undefined) return kubeconfigConnection(clock, kubeconfig);
  if (!process.env["KUBECONFIG"] && isInCluster()) return inClusterConnection(clock);
  return kubeconfigConnection(clock);
}

/** Typed access to one API server as one identity; close it at the end. */
export class Client {
  /** Where requests go. */
  readonly connection: Connection;
  /** Field manager of applies. */
  readonly program: string;
  readonly #options: ClientOptions;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #guard: (() => void) | undefined;

  /** Use {@link createClient}. */
  constructor(
    connection: Connection,
    options: ClientOptions,
    shared?: {
      readonly transport: Transport;
      readonly metrics: Metrics;
      readonly guard: () => void;
    },
  ) {
    this.connection = connection;
    this.program = options.program;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#metrics = shared?.metrics ?? options.metrics ?? new Metrics();
    this.#transport = shared?.transport ?? new Transport(connection, options.maxConcurrentRequests);
    this.#guard = shared?.guard;
  }

  /**
   * The same client, whose every write first calls `guard` when its connection stands, right before
   * the first octet leaves. A guard that throws refuses the write: see `LeaderElector.assertLeading`.
   */
  guarded(guard: () => void): Client {
    const shared = { transport: this.#transport, metrics: this.#metrics, guard };
    return new Client(this.connection, this.#options, shared);
  }

  /** Ends all connections, those of guarded clients too. */
  close(): void {
    this.#transport.close();
  }

  /** Ends all connections. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Reads an object; undefined when there is none. */
  async get<T extends KubernetesObject>(
    of: Resource<T>,
    name: ObjectName,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await this.#call<T>(
        "getting",
        of,
        name,
        { method: "GET", path: objectPath(of, name) },
        signal,
      );
    } catch (error) {
      if (hasCode(error, "NotFound")) return undefined;
      throw error;
    }
  }

  /** Reads all objects of a selection, page by page. */
  async list<T extends KubernetesObject>(
    of: Resource<T>,
    selection: Selection = {},
    signal?: AbortSignal,
  ): Promise<Page<T>> {
    const items: T[] = [];
    let resourceVersion = "";
    for await (const page of this.pages(of, selection, undefined, signal)) {
      items.push(...page.items);
      resourceVersion = page.resourceVersion;
    }
    return { items, resourceVersion };
  }

  /**
   * Reads objects in pages of one consistent snapshot.
   * @throws ApiError `Gone` when the snapshot expired between two pages: start again.
   */
  async *pages<T extends KubernetesObject>(
    of: Resource<T>,
    selection: Selection = {},
    limit = PAGE_SIZE,
    signal?: AbortSignal,
  ): AsyncGenerator<Page<T>> {
    let next = "";
    do {
      const query = { ...selectionQuery(selection), limit: String(limit), continue: next };
      const path = withQuery(collectionPath(of, selection.namespace), query);
      const list: RawList<T> = await this.#call<RawList<T>>(
        "listing",
        of,
        { name: "", namespace: selection.namespace },
        { method: "GET", path },
        signal,
      );
      yield {
        // Items of a list carry neither kind nor apiVersion.
        items: list.items.map((item) => ({ ...item, apiVersion: apiVersion(of), kind: of.kind })),
        resourceVersion: list.metadata.resourceVersion ?? "",
      };
      next = list.metadata.continue ?? "";
    } while (next !== "");
  }

  /** Creates an object. @throws ApiError `AlreadyExists`. */
  create<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const path = withQuery(collectionPath(of, object.metadata.namespace), {
      fieldManager: this.program,
    });
    return this.#write(
      "creating",
      of,
      object.metadata,
      { method: "POST", path, ...json(of, object) },
      signal,
    );
  }

  /**
   * Server-side apply: the object afterwards has what `object` says, and lacks what an earlier apply
   * of the same field manager said and this one does not. Creates the object when there is none.
   * @throws ApiError `Conflict` when `force` is false and another manager owns a field.
   */
  apply<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    options: ApplyOptions = {},
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#apply("applying", "", of, object, options, signal);
  }

  /** Server-side apply of the status alone; the object must exist. */
  applyStatus<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    options: ApplyOptions = {},
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#apply("applying status of", "/status", of, object, options, signal);
  }

  /** Replaces the object; with `metadata.resourceVersion` only that version. @throws ApiError `Conflict`. */
  replace<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const path = withQuery(objectPath(of, object.metadata), { fieldManager: this.program });
    return this.#write(
      "replacing",
      of,
      object.metadata,
      { method: "PUT", path, ...json(of, object) },
      signal,
    );
  }

  /** Changes parts of an object: a merge patch (RFC 7386) or a JSON patch (RFC 6902). */
  patch<T extends KubernetesObject>(
    of: Resource<T>,
    name: ObjectName,
    patch: object,
    options: PatchOptions = {},
    signal?: AbortSignal,
  ): Promise<T> {
    const subresource = options.subresource ? `/${options.subresource}` : "";
    const path = withQuery(objectPath(of, name) + subresource, {
      fieldManager: options.fieldManager ?? this.program,
    });
    const type =
      options.type === "json" ? "application/json-patch+json" : "application/merge-patch+json";
    const body = { headers: { "content-type": type }, body: JSON.stringify(patch) };
    return this.#write("patching", of, name, { method: "PATCH", path, ...body }, signal);
  }

  /** Deletes an object. @returns false when there was none. */
  async delete(
    of: Resource<KubernetesObject>,
    name: ObjectName,
    options: DeleteOptions = {},
    signal?: AbortSignal,
  ): Promise<boolean> {
    const preconditions = {
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.resourceVersion === undefined
        ? {}
        : { resourceVersion: options.resourceVersion }),
    };
    const body = JSON.stringify({
      apiVersion: "v1",
      kind: "DeleteOptions",
      propagationPolicy: options.propagation ?? "Background",
      ...(Object.keys(preconditions).length > 0 ? { preconditions } : {}),
    });
    const headers = { "content-type": "application/json" };
    try {
      const request = { method: "DELETE" as const, path: objectPath(of, name), headers, body };
      await this.#write("deleting", of, name, request, signal);
      return true;
    } catch (error) {
      if (hasCode(error, "NotFound")) return false;
      throw error;
    }
  }

  /** Any other request with a JSON answer, for instance `POST` of a TokenReview. */
  async raw<T>(
    method: TransportRequest["method"],
    path: string,
    body?: object,
    signal?: AbortSignal,
  ): Promise<T> {
    const content =
      body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    return this.#request<T>(
      `${method} ${path}`,
      method.toLowerCase(),
      { method, path, ...content },
      signal,
    );
  }

  /**
   * One watch over one connection, low level: use a `Reflector` instead wherever state is wanted.
   * `onEvent` runs synchronously for each event, bookmarks included; what it throws ends the watch.
   * @returns when the server ends the watch properly.
   * @throws ApiError for a refusal or an ERROR event; OperatorError `Silent`, `Malformed`,
   * `ConnectionLost`, `Unreachable` …; the signal's reason.
   */
  async watch<T extends KubernetesObject>(
    of: Resource<T>,
    options: WatchOptions,
    onEvent: (event: WatchEvent<T>) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const attempted = `watching ${of.kind}`;
    const path = withQuery(collectionPath(of, options.namespace), {
      ...selectionQuery(options),
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: options.resourceVersion ?? "",
      sendInitialEvents: options.sendInitialEvents ? "true" : "",
      resourceVersionMatch: options.sendInitialEvents ? "NotOlderThan" : "",
      timeoutSeconds: String(options.timeoutSeconds),
    });
    const request = {
      method: "GET" as const,
      path,
      stream: true,
      timeoutMs: this.#timeoutMs,
      attempted,
    };
    const response = await this.#send("watch", request, signal);
    if (response.status !== 200) throw await this.#refusal(response, attempted, signal);
    await readWatch<T>(response.body, { attempted, silenceMs: options.silenceMs }, onEvent, signal);
  }

  get #timeoutMs(): number {
    return this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  }

  #apply<T extends KubernetesObject>(
    verb: string,
    subresource: string,
    of: Resource<T>,
    object: Applied<T>,
    options: ApplyOptions,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const path = withQuery(objectPath(of, object.metadata) + subresource, {
      fieldManager: options.fieldManager ?? this.program,
      force: String(options.force ?? true),
      dryRun: options.dryRun ? "All" : "",
    });
    const content = json(of, object);
    // JSON is YAML; the server accepts apply patches under this type in all supported versions.
    const headers = { "content-type": "application/apply-patch+yaml" };
    return this.#write(
      verb,
      of,
      object.metadata,
      { method: "PATCH", path, ...content, headers },
      signal,
    );
  }

  #write<T>(
    verb: string,
    of: Resource<KubernetesObject>,
    name: ObjectName,
    request: Pick<TransportRequest, "method" | "path" | "headers" | "body">,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    return this.#call(verb, of, name, { ...request, beforeSend: this.#guard }, signal);
  }

  #call<T>(
    verb: string,
    of: Resource<KubernetesObject>,
    name: ObjectName,
    request: Omit<TransportRequest, "timeoutMs" | "attempted">,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const attempted = `${verb} ${of.kind} ${formatKey(name.name, name.namespace)}`.trim();
    const metricVerb = verb === "listing" ? "list" : request.method.toLowerCase();
    return this.#request(attempted, metricVerb, request, signal);
  }

  async #request<T>(
    attempted: string,
    verb: string,
    request: Omit<TransportRequest, "timeoutMs" | "attempted">,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once<T>(attempted, verb, request, signal);
      } catch (error) {
        const delayMs = this.#repeatAfter(error, request.method, attempt);
        if (delayMs === undefined) throw error;
        this.#metrics.clientRetries.inc();
        if (delayMs > 0) await sleep(this.#clock, delayMs, signal);
      }
    }
  }

  /** Milliseconds until the request is repeated; undefined: the caller gets the error. */
  #repeatAfter(error: unknown, method: string, attempt: number): number | undefined {
    if (attempt > RETRIES_ON_REQUEST_OF_SERVER) return undefined;
    if (error instanceof TransportError && error.staleConnection && method !== "POST") return 0;
    if (!(error instanceof ApiError)) return undefined;
    // A token that was replaced while we used the old one: once with what the file says now.
    if (error.code === "Unauthorized") return attempt === 1 ? 0 : undefined;
    const overloaded = error.code === "TooManyRequests" || error.status === 503;
    if (!overloaded || error.retryAfterMs === undefined) return undefined;
    return Math.min(error.retryAfterMs, MAX_RETRY_AFTER_MS) * (1 + Math.random() / 4);
  }

  async #once<T>(
    attempted: string,
    verb: string,
    request: Omit<TransportRequest, "timeoutMs" | "attempted">,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const full = { ...request, attempted, timeoutMs: this.#timeoutMs };
    const response = await this.#send(verb, full, signal);
    if (response.status < 200 || response.status > 299)
      throw await this.#refusal(response, attempted, signal);
    const octets = await readBody(response.body, attempted, this.#timeoutMs, signal);
    return parseJson(octets.toString("utf8"), attempted) as T;
  }

  async #send(
    verb: string,
    request: TransportRequest,
    signal: AbortSignal | undefined,
  ): Promise<TransportResponse> {
    if (signal?.aborted) throw abortReason(signal);
    const headers = { "user-agent": `metallb-operator (${this.program})`, ...request.headers };
    const startedAt = this.#clock.monotonicMs();
    let code = "error";
    try {
      const response = await this.#transport.send({ ...request, headers }, signal);
      code = String(response.status);
      return response;
    } catch (error) {
      if (hasCode(error, "Certificate")) this.connection.invalidate();
      throw error;
    } finally {
      const seconds = (this.#clock.monotonicMs() - startedAt) / 1000;
      this.#metrics.observeRequest(verb, code, seconds);
    }
  }

  async #refusal(
    response: TransportResponse,
    attempted: string,
    signal: AbortSignal | undefined,
  ): Promise<ApiError> {
    if (response.status === 401) this.connection.invalidate();
    const octets = await readBody(response.body, attempted, this.#timeoutMs, signal);
    return new ApiError(
      attempted,
      response.status,
      parseStatus(octets.toString("utf8")),
      retryAfterMs(response.headers["retry-after"], this.#clock.wallMs()),
    );
  }
}

interface RawList<T> {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly T[];
}

function collectionPath(of: Resource<KubernetesObject>, namespace: string | undefined): string {
  const root = of.group === "" ? `/api/${of.version}` : `/apis/${of.group}/${of.version}`;
  const scope = of.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${of.plural}`;
}

function objectPath(of: Resource<KubernetesObject>, name: ObjectName): string {
  if (of.namespaced && !name.namespace) {
    throw new TypeError(`${of.kind} ${JSON.stringify(name.name)} needs a namespace`);
  }
  if (name.name === "") throw new TypeError(`${of.kind} needs a name`);
  return `${collectionPath(of, name.namespace)}/${encodeURIComponent(name.name)}`;
}

function selectionQuery(selection: Selection): Record<string, string> {
  return {
    labelSelector: selection.labelSelector ?? "",
    fieldSelector: selection.fieldSelector ?? "",
  };
}

function withQuery(path: string, query: Readonly<Record<string, string>>): string {
  const present = Object.entries(query).filter(([, value]) => value !== "");
  return present.length === 0 ? path : `${path}?${new URLSearchParams(present).toString()}`;
}

function json(
  of: Resource<KubernetesObject>,
  object: object,
): { headers: Record<string, string>; body: string } {
  return {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...object, apiVersion: apiVersion(of), kind: of.kind }),
  };
}

function parseJson(text: string, attempted: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new OperatorError("Malformed", attempted, { cause });
  }
}

/** A proxy or a server that is starting answers in plain text. */
function parseStatus(text: string): Status {
  try {
    const parsed = JSON.parse(text) as unknown;
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // Not JSON: the text itself is the message.
  }
  const message = text.trim().slice(0, 500);
  return message === "" ? {} : { message };
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function retryAfterMs(header: string | string[] | undefined, wallMs: number): number | undefined {
  if (typeof header !== "string") return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - wallMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
