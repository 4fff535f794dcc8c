import { expect, test } from "@jest/globals";
import type { ServerResponse } from "node:http";
import type { Timer } from "../../../kubernetes/clock.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import { Reflector, trimMetadata, type Change } from "../../../kubernetes/reflector.ts";
import { SERVICES, type Service } from "../../../kubernetes/resources.ts";
import { VirtualClock } from "./virtual-clock.ts";
import { eventually } from "../../support/eventually.ts";
import {
  answer,
  bookmark,
  line,
  refusal,
  serve,
  service,
  type Received,
  type ScriptedServer,
} from "./scripted-server.ts";

/** One request of a reflector after the other; the last entry answers all further ones. */
type Answers = ((response: ServerResponse, request: Received) => void)[];

interface Reflecting extends AsyncDisposable {
  readonly server: ScriptedServer;
  readonly reflector: Reflector<Service, Service, "type">;
  readonly metrics: Metrics;
  /** Changes as `type name@version`. */
  readonly changes: string[];
  /** What each request asked for: `list` or the version that a watch resumed from. */
  asked(): string[];
}

async function reflect(
  answers: Answers,
  options: { readonly silenceMs?: number; readonly clock?: VirtualClock } = {},
): Promise<Reflecting> {
  let turn = 0;
  const server = await serve((request, response) => {
    answers[Math.min(turn++, answers.length - 1)]!(response, request);
  });
  const metrics = new Metrics();
  const controller = new AbortController();
  const reflector = new Reflector<Service, Service, "type">({
    client: await server.client(),
    resource: SERVICES,
    metrics,
    ...options,
    random: () => 0,
    indexes: { type: ({ spec }) => (spec?.type ? [spec.type] : []) },
  });
  const changes: string[] = [];
  reflector.onChange((change) => changes.push(format(change)));
  const running = reflector.run(controller.signal);
  return {
    server,
    reflector,
    metrics,
    changes,
    asked: () =>
      server.received.map(({ url }) => {
        if (url.searchParams.get("sendInitialEvents") === "true") return "streaming list";
        if (url.searchParams.get("watch") !== "true") return "list";
        return `watch ${url.searchParams.get("resourceVersion") ?? ""}`;
      }),
    [Symbol.asyncDispose]: async () => {
      controller.abort();
      await running;
      await server[Symbol.asyncDispose]();
    },
  };
}

function format({ type, key, object }: Change<Service>): string {
  return `${type} ${key.replace("a/", "")}@${object.metadata.resourceVersion ?? ""}`;
}

const open = (response: ServerResponse): ServerResponse =>
  response.headersSent ? response : response.writeHead(200);
/** A streaming list of these objects; the watch stays open. */
const streamed =
  (version: number, ...objects: object[]) =>
  (response: ServerResponse): void => {
    open(response).write(
      objects.map((each) => line("ADDED", each)).join("") + bookmark(version, true),
    );
  };
/** These lines, then a proper end. */
const ended =
  (...lines: string[]) =>
  (response: ServerResponse): void =>
    void open(response).end(lines.join(""));
/** These lines, then a reset. */
const cut =
  (...lines: string[]) =>
  (response: ServerResponse): void => {
    open(response).write(lines.join("") || "\n", () =>
      setImmediate(() => response.socket?.resetAndDestroy()),
    );
  };
const quiet = (response: ServerResponse): void => void open(response).write("\n");
const refused =
  (code: number, reason: string, headers = {}) =>
  (response: ServerResponse): void =>
    answer(response, code, refusal(code, reason), headers);

test("lists by stream, then follows changes", async () => {
  await using it = await reflect([
    (response) => {
      streamed(5, service("x", 1), service("y", 2))(response);
      response.write(
        line("MODIFIED", service("x", 6)) +
          line("DELETED", service("y", 7)) +
          line("ADDED", service("z", 8)),
      );
    },
  ]);
  await eventually(() => it.changes.length === 5);
  expect(it.changes).toEqual(["added x@1", "added y@2", "updated x@6", "deleted y@2", "added z@8"]);
  expect([...it.reflector.store.keys()]).toEqual(["a/x", "a/z"]);
  expect(it.reflector.hasSynced).toBe(true);
});

test("is not synced before the whole list is there", async () => {
  const sent = Promise.withResolvers<ServerResponse>();
  await using it = await reflect([
    (response) => {
      open(response).write(line("ADDED", service("x", 1)), () => sent.resolve(response));
    },
  ]);
  const response = await sent.promise;
  await eventually(() => it.changes.length === 1);
  expect(it.reflector.hasSynced).toBe(false);
  response.write(bookmark(5, true));
  await it.reflector.synced();
  expect(it.reflector.hasSynced).toBe(true);
});

test("lists in pages where the server has no streaming list, and asks for it only once", async () => {
  const page = { metadata: { resourceVersion: "5" }, items: [service("x", 1)] };
  await using it = await reflect([
    refused(422, "Invalid"),
    (response) => answer(response, 200, page),
    cut(),
    refused(410, "Expired"),
    (response) => answer(response, 200, page),
    quiet,
  ]);
  await eventually(() => it.server.received.length === 6);
  expect(it.asked()).toEqual(["streaming list", "list", "watch 5", "watch 5", "list", "watch 5"]);
  expect(it.changes).toEqual(["added x@1"]);
});

test("lists in pages where the server ignores the wish for a streaming list", async () => {
  await using it = await reflect([
    ended(line("ADDED", service("x", 1)), bookmark(5)),
    (response) =>
      answer(response, 200, { metadata: { resourceVersion: "5" }, items: [service("x", 1)] }),
    quiet,
  ]);
  await it.reflector.synced();
  expect(it.asked().slice(0, 2)).toEqual(["streaming list", "list"]);
});

test("resumes after a cut from the last event or bookmark, without telling anything twice", async () => {
  await using it = await reflect([
    (response) => {
      streamed(5, service("x", 1))(response);
      cut(line("MODIFIED", service("x", 6)), bookmark(9))(response);
    },
    cut(line("MODIFIED", service("x", 10))),
    quiet,
  ]);
  await eventually(() => it.server.received.length >= 3);
  expect(it.asked()).toEqual(["streaming list", "watch 9", "watch 10"]);
  expect(it.changes).toEqual(["added x@1", "updated x@6", "updated x@10"]);
});

test("a quiet watch that is cut again and again is taken up at once each time", async () => {
  class Recorder extends VirtualClock {
    readonly delays: number[] = [];
    override setTimer(delayMs: number, callback: () => void): Timer {
      this.delays.push(delayMs);
      return super.setTimer(delayMs, callback);
    }
  }
  const clock = new Recorder();
  const cutLater = (response: ServerResponse): void => {
    clock.freeze(35_000);
    cut()(response);
  };
  const answers = [streamed(5), ...Array<typeof cutLater>(10).fill(cutLater), quiet];
  answers[0] = (response) => {
    streamed(5)(response);
    cut()(response);
  };
  await using it = await reflect(answers, { clock });
  await eventually(() => {
    clock.advanceSync(100);
    return it.server.received.length === 12;
  });
  expect(it.asked().slice(1)).toEqual(Array(11).fill("watch 5"));
  expect(clock.delays.length).toBeGreaterThan(10);
  expect(Math.max(...clock.delays)).toBeLessThanOrEqual(100);
});

test("a list that is cut begins again and deletes nothing before it is whole", async () => {
  await using it = await reflect([
    (response) => {
      streamed(5, service("x", 1), service("y", 2))(response);
      cut()(response);
    },
    refused(410, "Expired"),
    cut(line("ADDED", service("x", 1))),
    streamed(9, service("x", 1)),
  ]);
  await eventually(() => it.changes.length === 3);
  expect(it.changes).toEqual(["added x@1", "added y@2", "deleted y@2"]);
  expect(it.asked()).toEqual(["streaming list", "watch 5", "streaming list", "streaming list"]);
});

for (const { name, answers } of [
  { name: "410 as status", answers: [refused(410, "Expired")] },
  { name: "410 as event", answers: [ended(line("ERROR", refusal(410, "Expired")))] },
  {
    name: "a version from the future",
    answers: [refused(504, "Timeout")].map(
      () => (response: ServerResponse) =>
        answer(response, 504, refusal(504, "Timeout", "Too large resource version: 5, current: 2")),
    ),
  },
  { name: "a bookmark of an older version", answers: [ended(bookmark(3))] },
  { name: "an event of an older version", answers: [ended(line("MODIFIED", service("x", 2)))] },
  { name: "a line that cannot be read, twice", answers: [ended("{]\n"), ended("{]\n")] },
]) {
  test(`lists again after ${name}, as a diff`, async () => {
    await using it = await reflect([
      (response) => {
        streamed(5, service("x", 1), service("y", 2), service("z", 3))(response);
        response.end();
      },
      ...answers,
      streamed(9, service("x", 1), service("y", 7), service("new", 8)),
    ]);
    await eventually(() => it.asked().filter((each) => each === "streaming list").length === 2);
    await eventually(() => [...it.reflector.store.keys()].sort().join(" ") === "a/new a/x a/y");
    const relisted = it.changes.slice(3).filter((change) => change !== "updated x@2");
    expect(new Set(relisted)).toEqual(
      new Set([
        ...relisted.filter((change) => change === "updated x@1"),
        "updated y@7",
        "added new@8",
        "deleted z@3",
      ]),
    );
  });
}

test("tells another content under the same version after a list: etcd may have been restored", async () => {
  await using it = await reflect([
    (response) => {
      streamed(5, service("x", 1, { spec: { type: "ClusterIP" } }))(response);
      cut()(response);
    },
    refused(410, "Expired"),
    streamed(5, service("x", 1, { spec: { type: "LoadBalancer" } })),
  ]);
  await eventually(() => it.changes.length === 2);
  expect(it.changes[1]).toBe("updated x@1");
  expect(it.reflector.store.byIndex("type", "LoadBalancer")).toHaveLength(1);
  expect(it.reflector.store.byIndex("type", "ClusterIP")).toHaveLength(0);
});

test("an object that was replaced by another of the same name is told as a change", async () => {
  const other = {
    ...service("x", 7),
    metadata: { name: "x", namespace: "a", uid: "other", resourceVersion: "7" },
  };
  await using it = await reflect([
    (response) => {
      streamed(5, service("x", 1))(response);
      cut()(response);
    },
    refused(410, "Expired"),
    streamed(9, other),
  ]);
  await eventually(() => it.changes.length === 2);
  expect(it.reflector.store.get("a/x")?.metadata.uid).toBe("other");
});

test("waits as long as an overloaded server asks", async () => {
  const clock = new VirtualClock();
  await using it = await reflect(
    [refused(429, "TooManyRequests", { "retry-after": "3" }), streamed(5)],
    { clock },
  );
  await eventually(() => clock.pending === 1);
  await clock.advance(2_999);
  expect(it.server.received).toHaveLength(1);
  await clock.advance(1);
  await it.reflector.synced();
});

test("takes a connection without an octet for dead", async () => {
  await using it = await reflect(
    [
      streamed(5, service("x", 1)),
      (response) => open(response).write(line("MODIFIED", service("x", 6))),
    ],
    { silenceMs: 30 },
  );
  await eventually(() => it.changes.includes("updated x@6"));
  expect(it.asked().slice(0, 2)).toEqual(["streaming list", "watch 5"]);
});

for (const [status, reason] of [
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [500, "InternalError"],
  [404, "NotFound"],
] as const) {
  test(`never stops, not at ${status}`, async () => {
    await using it = await reflect([
      refused(status, reason),
      refused(status, reason),
      refused(status, reason),
      streamed(5, service("x", 1)),
    ]);
    await it.reflector.synced();
    expect(it.changes).toEqual(["added x@1"]);
  });
}

test("a handler that throws harms neither the watch nor the other handlers, and is counted", async () => {
  await using it = await reflect([
    (response) => {
      streamed(5, service("x", 1))(response);
      response.write(line("MODIFIED", service("x", 6)));
    },
  ]);
  const seen: string[] = [];
  const remove = it.reflector.onChange(() => {
    throw new Error("bug");
  });
  it.reflector.onChange((change) => seen.push(format(change)));
  await eventually(() => seen.includes("updated x@6"));
  expect(it.server.received).toHaveLength(1);
  expect(it.changes).toContain("updated x@6");
  const text = await it.metrics.registry.metrics();
  expect(text).toMatch(/reflector_handler_errors_total\{resource="services"\} [12]/);
  remove();
});

test("tells a late handler what is there already", async () => {
  await using it = await reflect([streamed(5, service("x", 1), service("y", 2))]);
  await it.reflector.synced();
  const seen: string[] = [];
  it.reflector.onChange((change) => seen.push(format(change)));
  expect(seen).toEqual(["added x@1", "added y@2"]);
});

test("asks for its selection, for bookmarks, and for five to ten minutes", async () => {
  const server = await serve((_request, response) => streamed(5)(response));
  const controller = new AbortController();
  const selection = {
    namespace: "a",
    fieldSelector: "spec.type=LoadBalancer",
    labelSelector: "x=y",
  };
  const reflector = new Reflector({
    client: await server.client(),
    resource: SERVICES,
    ...selection,
  });
  const running = reflector.run(controller.signal);
  await reflector.synced();
  const { url } = server.received[0]!;
  expect(url.pathname).toBe("/api/v1/namespaces/a/services");
  const { timeoutSeconds, ...query } = Object.fromEntries(url.searchParams);
  expect(query).toMatchObject({
    fieldSelector: "spec.type=LoadBalancer",
    labelSelector: "x=y",
    allowWatchBookmarks: "true",
  });
  expect(Number(timeoutSeconds)).toBeGreaterThanOrEqual(300);
  expect(Number(timeoutSeconds)).toBeLessThanOrEqual(600);
  controller.abort();
  await running;
  await server[Symbol.asyncDispose]();
});

test("the end of its signal ends it, while it waits too", async () => {
  await using server = await serve(refusedScript);
  const controller = new AbortController();
  const reflector = new Reflector({ client: await server.client(), resource: SERVICES });
  const running = reflector.run(controller.signal);
  await eventually(() => server.received.length > 1);
  const synced = reflector.synced(controller.signal);
  controller.abort(new Error("enough"));
  await expect(synced).rejects.toThrow("enough");
  await running;
  await expect(reflector.run(controller.signal)).rejects.toThrow(TypeError);
});

function refusedScript(_request: Received, response: ServerResponse): void {
  answer(response, 500, refusal(500, "InternalError"));
}

test("drops what nobody reads as objects arrive", () => {
  const trimmed = trimMetadata({
    metadata: {
      name: "x",
      managedFields: [{ manager: "kubectl" }],
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}", kept: "1" },
    },
  });
  expect(trimmed).toEqual({ metadata: { name: "x", annotations: { kept: "1" } } });
});
