/**
 * Typed access to the API server: read, apply, patch, delete, watch.
 *
 * - Writes are server-side apply under one field manager a program. An apply without `force` that
 *   touches somebody else's field fails with code `Conflict`; it never overwrites by accident.
 * - Which failed requests are repeated here says `requester.ts`; all other failures are thrown, and
 *   the caller's queue decides with `retryability` of `errors.ts`.
 * - There is no client-side rate limit: the server's priority and fairness does that. Requests under
 *   way are bounded (32), and as many urgent ones beside them.
 */
import {
  collectionPath,
  objectPath,
  selectionQuery,
  withQuery,
  type ObjectName,
  type Selection,
} from "./api-path.ts";
import { systemClock, type Clock } from "./clock.ts";
import { findConnection, type Connection } from "./connection.ts";
import { hasCode } from "./errors.ts";
import { Metrics } from "./metrics.ts";
import { Requester, type RequestInput } from "./requester.ts";
import { apiVersion, type KubernetesObject, type Resource } from "./resources.ts";
import { formatKey } from "./store.ts";
import { Transport, type TransportRequest } from "./transport.ts";
import { readWatch, type WatchEvent } from "./watch-stream.ts";

export type { ObjectName, Selection } from "./api-path.ts";
export type { WatchEvent } from "./watch-stream.ts";

/** How to reach the API server, and as whom. */
export interface ClientOptions {
  /** Program name: field manager of applies and part of the User-Agent. */
  readonly program: string;
  /** Path of a kubeconfig; without it KUBECONFIG, the pod's service account, or `~/.kube/config`. */
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
  /** Default `Background`. */
  readonly propagation?: "Background" | "Foreground" | "Orphan";
  /** Only the object with this uid, not one that took its name. */
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** Objects of a list, or of a part of it. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Of the snapshot that all pages of one list share. */
  readonly resourceVersion: string;
}

/** How to watch. */
export interface WatchOptions extends Selection {
  /** Changes after this one; absent: current objects first. */
  readonly resourceVersion?: string | undefined;
  /** Streaming list: all objects as ADDED, then a bookmark annotated `k8s.io/initial-events-end`. */
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

const REQUEST_TIMEOUT_MS = 15_000;
const PAGE_SIZE = 500;
const METADATA_PAGE_SIZE = 2_000;
const ACCEPT_METADATA = {
  accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
} as const;

/**
 * Makes a client; connects to nothing yet, but finds out where the server is and who we are.
 * @throws OperatorError `Configuration` naming the file or variable that is missing.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const clock = options.clock ?? systemClock;
  const connection = options.connection ?? (await findConnection(clock, options.kubeconfig));
  const transport = new Transport(connection, options.maxConcurrentRequests);
  const requester = new Requester({
    connection,
    transport,
    clock,
    metrics: options.metrics ?? new Metrics(),
    userAgent: `metallb-operator (${options.program})`,
    timeoutMs: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
  });
  return new Client({ program: options.program, connection, transport, requester });
}

interface ClientParts {
  readonly program: string;
  readonly connection: Connection;
  readonly transport: Transport;
  readonly requester: Requester;
  readonly guard?: () => void;
  readonly urgent?: boolean;
}

/** Typed access to one API server as one identity; close it at the end. */
export class Client implements Disposable {
  readonly #parts: ClientParts;

  /** Use {@link createClient}. */
  constructor(parts: ClientParts) {
    this.#parts = parts;
  }

  /** Field manager of applies. */
  get program(): string {
    return this.#parts.program;
  }

  /** Where requests go. */
  get connection(): Connection {
    return this.#parts.connection;
  }

  /**
   * The same client, whose every write calls `guard` when its connection stands, right before the
   * first octet leaves. A guard that throws refuses the write: see `LeaderElector.assertLeading`.
   */
  guarded(guard: () => void): Client {
    return new Client({ ...this.#parts, guard });
  }

  /** The same client, whose requests never wait for a connection behind those of others. */
  urgent(): Client {
    return new Client({ ...this.#parts, urgent: true });
  }

  /** Ends all connections, those of guarded and urgent clients too. */
  close(): void {
    this.#parts.transport.close();
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
    const input = { method: "GET", path: objectPath(of, name), verb: "get" } as const;
    const attempted = describe("getting", of, name);
    return (await unlessMissing(this.#send({ ...input, attempted }, signal))) as T | undefined;
  }

  /** Reads all objects of a selection, page by page. */
  async list<T extends KubernetesObject>(
    of: Resource<T>,
    selection: Selection = {},
    signal?: AbortSignal,
  ): Promise<Page<T>> {
    const items: T[] = [];
    let resourceVersion = "";
    for await (const page of this.pages(of, selection, PAGE_SIZE, signal)) {
      items.push(...page.items);
      resourceVersion = page.resourceVersion;
    }
    return { items, resourceVersion };
  }

  /**
   * Reads objects in pages of one consistent snapshot.
   * @throws ApiError `Gone` when the snapshot expired between two pages: start again.
   */
  pages<T extends KubernetesObject>(
    of: Resource<T>,
    selection: Selection = {},
    limit = PAGE_SIZE,
    signal?: AbortSignal,
  ): AsyncGenerator<Page<T>, void, undefined> {
    return this.#pages(of, selection, limit, {}, signal);
  }

  /**
   * As {@link Client.pages}, of each object only its kind and metadata: a third of the octets.
   * @throws as it does
   */
  metadataPages<T extends KubernetesObject>(
    of: Resource<T>,
    selection: Selection = {},
    limit = METADATA_PAGE_SIZE,
    signal?: AbortSignal,
  ): AsyncGenerator<Page<KubernetesObject>, void, undefined> {
    return this.#pages<KubernetesObject>(of, selection, limit, ACCEPT_METADATA, signal);
  }

  async *#pages<T extends KubernetesObject>(
    of: Resource<KubernetesObject>,
    selection: Selection,
    limit: number,
    headers: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): AsyncGenerator<Page<T>, void, undefined> {
    const attempted = describe("listing", of, { name: "", namespace: selection.namespace });
    let next = "";
    do {
      const query = { ...selectionQuery(selection), limit: String(limit), continue: next };
      const path = withQuery(collectionPath(of, selection.namespace), query);
      const request = { method: "GET", path, verb: "list", attempted, headers } as const;
      const { items, metadata } = (await this.#send(request, signal)) as RawList<T>;
      yield {
        // Items of a list carry neither kind nor apiVersion.
        items: items.map((item) => ({ ...item, apiVersion: apiVersion(of), kind: of.kind })),
        resourceVersion: metadata.resourceVersion ?? "",
      };
      next = metadata.continue ?? "";
    } while (next !== "");
  }

  /** Creates an object. @throws ApiError `AlreadyExists`. */
  create<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const collection = collectionPath(of, object.metadata.namespace);
    const path = withQuery(collection, { fieldManager: this.program });
    return this.#write("POST", "creating", of, object, path, JSON_CONTENT, signal);
  }

  /**
   * Server-side apply: the object afterwards has what `object` says, and lacks what an earlier apply
   * of the same field manager said and this one does not. Creates the object when there is none,
   * unless `metadata.uid` or `metadata.resourceVersion` say which one is meant.
   * @throws ApiError `Conflict` when `force` is false and another manager owns a field.
   */
  apply<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    options: ApplyOptions = {},
    signal?: AbortSignal,
  ): Promise<T> {
    const path = this.#applyPath(objectPath(of, object.metadata), options);
    return this.#write("PATCH", "applying", of, object, path, APPLY_CONTENT, signal);
  }

  /**
   * Server-side apply of the status alone. The object must exist; give its `metadata.uid`, and an
   * object that is gone or was replaced by another of its name is a `Conflict`.
   */
  applyStatus<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    options: ApplyOptions = {},
    signal?: AbortSignal,
  ): Promise<T> {
    const path = this.#applyPath(`${objectPath(of, object.metadata)}/status`, options);
    return this.#write("PATCH", "applying status of", of, object, path, APPLY_CONTENT, signal);
  }

  /** Replaces the object; with `metadata.resourceVersion` only that version. @throws ApiError `Conflict`. */
  replace<T extends KubernetesObject>(
    of: Resource<T>,
    object: Applied<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const path = withQuery(objectPath(of, object.metadata), { fieldManager: this.program });
    return this.#write("PUT", "replacing", of, object, path, JSON_CONTENT, signal);
  }

  /** Changes parts of an object: a merge patch (RFC 7386) or a JSON patch (RFC 6902). */
  async patch<T extends KubernetesObject>(
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
    const type = options.type === "json" ? "json-patch" : "merge-patch";
    const input: RequestInput = {
      method: "PATCH",
      path,
      verb: "patch",
      attempted: describe("patching", of, name),
      headers: { "content-type": `application/${type}+json` },
      body: JSON.stringify(patch),
    };
    return (await this.#guarded(input, signal)) as T;
  }

  /** Deletes an object. @returns false when there was none. */
  async delete(
    of: Resource<KubernetesObject>,
    name: ObjectName,
    options: DeleteOptions = {},
    signal?: AbortSignal,
  ): Promise<boolean> {
    const { uid, resourceVersion } = options;
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      propagationPolicy: options.propagation ?? "Background",
      preconditions: { uid, resourceVersion },
    };
    const input: RequestInput = {
      method: "DELETE",
      path: objectPath(of, name),
      verb: "delete",
      attempted: describe("deleting", of, name),
      headers: JSON_CONTENT,
      body: JSON.stringify(body),
    };
    return (await unlessMissing(this.#guarded(input, signal))) !== undefined;
  }

  /** Any other request with a JSON answer, for instance `POST` of a TokenReview. */
  raw(
    method: TransportRequest["method"],
    path: string,
    body?: object,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const attempted = `${method} ${path}`;
    const content = body ? { headers: JSON_CONTENT, body: JSON.stringify(body) } : {};
    return this.#send({ method, path, verb: method.toLowerCase(), attempted, ...content }, signal);
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
    const path = withQuery(collectionPath(of, options.namespace), {
      ...selectionQuery(options),
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: options.resourceVersion ?? "",
      sendInitialEvents: options.sendInitialEvents ? "true" : "",
      resourceVersionMatch: options.sendInitialEvents ? "NotOlderThan" : "",
      timeoutSeconds: String(options.timeoutSeconds),
    });
    const attempted = describe("watching", of, { name: "", namespace: options.namespace });
    const input = { method: "GET", path, verb: "watch", attempted, stream: true } as const;
    const { body } = await this.#parts.requester.stream(input, signal);
    await readWatch<T>(body, { attempted, silenceMs: options.silenceMs }, onEvent, signal);
  }

  #applyPath(path: string, options: ApplyOptions): string {
    return withQuery(path, {
      fieldManager: options.fieldManager ?? this.program,
      force: String(options.force ?? true),
      dryRun: options.dryRun ? "All" : "",
    });
  }

  async #write<T extends KubernetesObject>(
    method: "POST" | "PUT" | "PATCH",
    doing: string,
    of: Resource<T>,
    object: Applied<T>,
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const attempted = describe(doing, of, object.metadata);
    const body = JSON.stringify({ ...object, apiVersion: apiVersion(of), kind: of.kind });
    const verb = method.toLowerCase();
    return (await this.#guarded({ method, path, verb, attempted, headers, body }, signal)) as T;
  }

  #guarded(input: RequestInput, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#send({ ...input, beforeSend: this.#parts.guard }, signal);
  }

  #send(input: RequestInput, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#parts.requester.json({ ...input, urgent: this.#parts.urgent }, signal);
  }
}

const JSON_CONTENT = { "content-type": "application/json" } as const;
/** JSON is YAML; all supported servers know an apply by this type. */
const APPLY_CONTENT = { "content-type": "application/apply-patch+yaml" } as const;

interface RawList<T> {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly T[];
}

function describe(doing: string, of: Resource<KubernetesObject>, name: ObjectName): string {
  return `${doing} ${of.kind} ${formatKey(name.name, name.namespace)}`.trim();
}

async function unlessMissing(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (hasCode(error, "NotFound")) return undefined;
    throw error;
  }
}
