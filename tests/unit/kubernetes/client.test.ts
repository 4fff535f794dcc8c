import { expect, test } from "@jest/globals";
import { hasCode } from "../../../kubernetes/errors.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import { NODES, SERVICES } from "../../../kubernetes/resources.ts";
import { eventually } from "../../support/eventually.ts";
import { answer, refusal, serve, service } from "./scripted-server.ts";

const web = { name: "web", namespace: "a" };

test("apply sends kind, field manager and force, and gives the object back", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 200, service("web", 7)),
  );
  const client = await server.client();
  const applied = await client.apply(SERVICES, { metadata: web, spec: { type: "LoadBalancer" } });
  expect(applied.metadata.resourceVersion).toBe("7");
  const [request] = server.received;
  expect(request).toMatchObject({
    method: "PATCH",
    headers: { "content-type": "application/apply-patch+yaml" },
    body: { apiVersion: "v1", kind: "Service", metadata: web, spec: { type: "LoadBalancer" } },
  });
  expect(request?.url.pathname).toBe("/api/v1/namespaces/a/services/web");
  expect(Object.fromEntries(request!.url.searchParams)).toEqual({
    fieldManager: "test",
    force: "true",
  });
});

test("each write has its path, method and content type", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 200, service("web", 7)),
  );
  const client = await server.client();
  await client.applyStatus(
    SERVICES,
    { metadata: web, status: {} },
    { force: false, fieldManager: "x" },
  );
  await client.patch(SERVICES, web, [{ op: "remove", path: "/spec" }], {
    type: "json",
    subresource: "status",
  });
  await client.patch(SERVICES, web, { spec: null });
  await client.replace(SERVICES, { metadata: web });
  await client.create(SERVICES, { metadata: web });
  await client.delete(SERVICES, web, { uid: "u" });
  const seen = server.received.map(({ method, url, headers }) => {
    return `${method} ${url.pathname}${url.search} ${headers["content-type"] ?? ""}`;
  });
  const path = "/api/v1/namespaces/a/services";
  expect(seen).toEqual([
    `PATCH ${path}/web/status?fieldManager=x&force=false application/apply-patch+yaml`,
    `PATCH ${path}/web/status?fieldManager=test application/json-patch+json`,
    `PATCH ${path}/web?fieldManager=test application/merge-patch+json`,
    `PUT ${path}/web?fieldManager=test application/json`,
    `POST ${path}?fieldManager=test application/json`,
    `DELETE ${path}/web application/json`,
  ]);
  expect(server.received[5]?.body).toMatchObject({ preconditions: { uid: "u" } });
});

test("what is not there is undefined to get and false to delete", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 404, refusal(404, "NotFound")),
  );
  const client = await server.client();
  expect(await client.get(SERVICES, web)).toBeUndefined();
  expect(await client.delete(SERVICES, web)).toBe(false);
  await expect(client.apply(SERVICES, { metadata: web })).rejects.toMatchObject({
    code: "NotFound",
  });
});

test("lists in pages and gives each item its kind", async () => {
  await using server = await serve(({ url }, response) => {
    const start = Number(url.searchParams.get("continue") ?? "0");
    const limit = Number(url.searchParams.get("limit"));
    const items = Array.from({ length: Math.min(limit, 1_100 - start) }, (_, index) => ({
      metadata: { name: `s${start + index}`, namespace: "a" },
    }));
    const next = start + limit < 1_100 ? { continue: String(start + limit) } : {};
    answer(response, 200, { metadata: { resourceVersion: "42", ...next }, items });
  });
  const client = await server.client();
  const { items, resourceVersion } = await client.list(SERVICES, { labelSelector: "app=x" });
  expect(items).toHaveLength(1_100);
  expect(items[0]).toMatchObject({ apiVersion: "v1", kind: "Service", metadata: { name: "s0" } });
  expect(resourceVersion).toBe("42");
  expect(server.received.map(({ url }) => url.searchParams.get("labelSelector"))).toEqual(
    Array.from({ length: 3 }, () => "app=x"),
  );
});

for (const { name, status, headers, method, repeats } of [
  {
    name: "an overloaded server that says when is asked again",
    status: 429,
    headers: { "retry-after": "0" },
    method: "apply",
    repeats: 1,
  },
  {
    name: "an unavailable server that says when is asked again",
    status: 503,
    headers: { "retry-after": "0" },
    method: "get",
    repeats: 1,
  },
  {
    name: "an overloaded server that does not say when is left to the caller",
    status: 429,
    headers: {},
    method: "get",
    repeats: 0,
  },
  {
    name: "a broken server is left to the caller",
    status: 500,
    headers: { "retry-after": "0" },
    method: "get",
    repeats: 0,
  },
  {
    name: "a refused token is tried once more, as it may have been replaced",
    status: 401,
    headers: {},
    method: "get",
    repeats: 1,
  },
  {
    name: "a conflict is left to the caller",
    status: 409,
    headers: {},
    method: "apply",
    repeats: 0,
  },
] as const) {
  test(name, async () => {
    let count = 0;
    await using server = await serve((_request, response) => {
      if (count++ === 0) answer(response, status, refusal(status, "X"), headers);
      else answer(response, 200, service("web", 1));
    });
    const client = await server.client();
    const done =
      method === "get" ? client.get(SERVICES, web) : client.apply(SERVICES, { metadata: web });
    const result = await done.then(
      () => "done",
      () => "failed",
    );
    expect({ result, repeats: server.received.length - 1 }).toEqual({
      result: repeats > 0 ? "done" : "failed",
      repeats,
    });
  });
}

test("gives up after five repeats, with the last answer", async () => {
  await using server = await serve((_request, response) => {
    answer(response, 429, refusal(429, "TooManyRequests", "slow down"), { "retry-after": "0" });
  });
  const client = await server.client();
  const failed = client.apply(SERVICES, { metadata: web });
  await expect(failed).rejects.toMatchObject({
    code: "TooManyRequests",
    message: "applying Service a/web",
    cause: { message: "slow down" },
  });
  expect(server.received).toHaveLength(6);
});

test("a connection that died while idle is not the caller's problem", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 200, service("web", 1)),
  );
  const client = await server.client();
  await client.get(SERVICES, web);
  server.script = (_request, response) => {
    server.script = (_again, second) => answer(second, 200, service("web", 2));
    response.destroy();
  };
  expect((await client.get(SERVICES, web))?.metadata.resourceVersion).toBe("2");
});

test("a create is not repeated when its connection breaks: it may have happened", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 200, service("web", 1)),
  );
  const client = await server.client();
  await client.get(SERVICES, web);
  server.script = (_request, response) => response.destroy();
  const failed = client.create(SERVICES, { metadata: web });
  await expect(failed).rejects.toMatchObject({ code: "ConnectionLost" });
  expect(server.received.filter(({ method }) => method === "POST")).toHaveLength(1);
});

test("a server that does not answer in time is a timeout, one that is not there is unreachable", async () => {
  await using server = await serve(() => undefined);
  const client = await server.client({ requestTimeoutMs: 20 });
  await expect(client.get(SERVICES, web)).rejects.toMatchObject({ code: "Timeout" });
  await server[Symbol.asyncDispose]();
  const other = await server.client();
  await expect(other.get(SERVICES, web)).rejects.toMatchObject({ code: "Unreachable" });
});

test("an answer that stops in the middle is a timeout", async () => {
  await using server = await serve((_request, response) => {
    response.writeHead(200).write("{");
  });
  const client = await server.client({ requestTimeoutMs: 20 });
  await expect(client.get(SERVICES, web)).rejects.toMatchObject({ code: "Timeout" });
});

test("an answer that is no JSON is malformed", async () => {
  await using server = await serve(
    (_request, response) => void response.writeHead(200).end("<html>"),
  );
  const client = await server.client();
  await expect(client.get(SERVICES, web)).rejects.toMatchObject({ code: "Malformed" });
});

test("an abort ends a request with the signal's reason", async () => {
  await using server = await serve(() => undefined);
  const client = await server.client();
  const controller = new AbortController();
  const request = client.get(SERVICES, web, controller.signal);
  await eventually(() => server.received.length === 1);
  controller.abort(new Error("enough"));
  await expect(request).rejects.toThrow("enough");
  await expect(client.get(SERVICES, web, controller.signal)).rejects.toThrow("enough");
});

test("requests under way are bounded, and those that wait do not time out", async () => {
  let active = 0;
  let most = 0;
  const held: (() => void)[] = [];
  await using server = await serve((_request, response) => {
    most = Math.max(most, ++active);
    held.push(() => {
      active--;
      answer(response, 200, service("web", 1));
    });
  });
  const client = await server.client({ maxConcurrentRequests: 4 });
  const all = Promise.all(
    Array.from({ length: 20 }, () => client.apply(SERVICES, { metadata: web })),
  );
  for (let round = 0; round < 5; round++) {
    await eventually(() => held.length === 4);
    for (const release of held.splice(0)) release();
  }
  await all;
  expect(most).toBe(4);
});

test("an urgent request waits behind no other, and one that waits can be given up at once", async () => {
  const held: (() => void)[] = [];
  await using server = await serve(({ method }, response) => {
    const reply = () => answer(response, 200, service("web", 1));
    if (method === "PATCH") held.push(reply);
    else reply();
  });
  const client = await server.client({ maxConcurrentRequests: 2 });
  const slow = [1, 2].map(() => client.apply(SERVICES, { metadata: web }));
  await eventually(() => held.length === 2);
  const controller = new AbortController();
  const waiting = client.get(SERVICES, web, controller.signal);
  controller.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  expect(server.received.map(({ method }) => method)).toEqual(["PATCH", "PATCH"]);
  expect(await client.urgent().get(SERVICES, web)).toBeDefined();
  for (const reply of held) reply();
  await Promise.all(slow);
  // what was given up holds no connection: both are free again
  expect(await Promise.all([1, 2].map(() => client.get(SERVICES, web)))).toHaveLength(2);
});

test("a guard refuses writes before an octet leaves, and no reads", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 200, service("web", 1)),
  );
  const client = await server.client();
  let leading = true;
  const guarded = client.guarded(() => {
    if (!leading) throw new RangeError("not leading");
  });
  await guarded.apply(SERVICES, { metadata: web });
  leading = false;
  await expect(guarded.apply(SERVICES, { metadata: web })).rejects.toThrow();
  await expect(guarded.delete(SERVICES, web)).rejects.toThrow();
  expect(await guarded.get(SERVICES, web)).toBeDefined();
  await client.apply(SERVICES, { metadata: web });
  expect(server.received.map(({ method }) => method)).toEqual(["PATCH", "GET", "PATCH"]);
});

test("counts requests by method and code, all there at zero from the start", async () => {
  const metrics = new Metrics();
  await using server = await serve((_request, response) =>
    answer(response, 404, refusal(404, "NotFound")),
  );
  const client = await server.client({ metrics });
  await client.get(NODES, { name: "n" });
  const text = await metrics.registry.metrics();
  expect(text).toContain('rest_client_requests_total{method="get",code="404"} 1');
  expect(text).toContain('rest_client_requests_total{method="patch",code="409"} 0');
});

test("says what was attempted on what", async () => {
  await using server = await serve((_request, response) =>
    answer(response, 403, refusal(403, "Forbidden", "no")),
  );
  const client = await server.client();
  const error = await client.list(NODES).catch((thrown: unknown) => thrown);
  expect(hasCode(error, "Forbidden")).toBe(true);
  expect(error).toMatchObject({ message: "listing Node", status: 403, reason: "Forbidden" });
});
