import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  DATA_PLANE_UNKNOWN,
  stepDataPlane,
  watchDataPlane,
  type DataPlaneAnswer,
} from "../../../speaker/data-plane.ts";
import { eventually } from "../../support/eventually.ts";

describe("kube-proxy is", () => {
  for (const { name, answers, ready } of [
    { name: "ready before it was ever heard", answers: [], ready: true },
    { name: "ready when it says so", answers: ["ready"], ready: true },
    { name: "ready when nobody answers: there may be none", answers: ["unknown"], ready: true },
    { name: "ready after one refusal: it may be starting", answers: ["notReady"], ready: true },
    { name: "not ready after two", answers: ["notReady", "notReady"], ready: false },
    {
      name: "not ready after many",
      answers: Array<DataPlaneAnswer>(9).fill("notReady"),
      ready: false,
    },
    { name: "ready again at once", answers: ["notReady", "notReady", "ready"], ready: true },
    {
      name: "ready when refusals do not follow each other",
      answers: ["notReady", "unknown", "notReady"],
      ready: true,
    },
  ] as { name: string; answers: DataPlaneAnswer[]; ready: boolean }[])
    test(name, () => expect(answers.reduce(stepDataPlane, DATA_PLANE_UNKNOWN).ready).toBe(ready));
});

describe("a watch", () => {
  let server: Server | undefined;
  afterEach(() => void server?.close());

  test("tells of 503 and of 200, and not of a server that is gone", async () => {
    let status = 503;
    server = createServer((_, response) => response.writeHead(status).end());
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const told: boolean[] = [];
    const ending = new AbortController();
    const url = `http://127.0.0.1:${port}/healthz`;
    const watching = watchDataPlane(
      { url, changed: (ready) => told.push(ready), intervalMs: 5 },
      ending.signal,
    );
    await eventually(() => told.length === 1);
    status = 200;
    await eventually(() => told.length === 2);
    status = 503;
    await eventually(() => told.length === 3);
    server.close();
    server.closeAllConnections();
    await eventually(() => told.length === 4);
    expect(told).toEqual([false, true, false, true]);
    ending.abort();
    await watching;
  });
});
