/**
 * How soon a watch sees again once a fault is over: a Service is marked while the fault lasts, and the
 * time runs from the end of the fault until a handler has the mark.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "../../kubernetes/client.ts";
import { SERVICES } from "../../kubernetes/resources.ts";
import type { ControlPlane } from "../../tests/support/control-plane.ts";
import { FaultProxy } from "../../tests/support/fault-proxy.ts";
import { MARKED, NAMESPACE, SENT } from "./subject.ts";

/** How long a fault lasts. */
const FAULT_MS = 10_000;

/** Says what it sees, one JSON object a call. */
export interface Follower extends AsyncDisposable {
  said<T>(): Promise<T>;
}

let marks = 0;

async function mark(client: Client): Promise<string> {
  const sent = String(marks++);
  await client.apply(SERVICES, {
    metadata: { name: MARKED, namespace: NAMESPACE, annotations: { [SENT]: sent } },
    spec: { clusterIP: "None", ports: [{ port: 80 }] },
  });
  return sent;
}

async function seen(follower: Follower, wanted: string): Promise<void> {
  for (;;) {
    const { mark: found } = await follower.said<{ readonly mark?: string }>();
    if (found === wanted) return;
  }
}

/** Milliseconds after the end of what `fault` does. */
async function recovery(
  client: Client,
  follower: Follower,
  fault: () => Promise<void>,
): Promise<number> {
  await seen(follower, await mark(client));
  await fault();
  const endedAt = performance.now();
  await seen(follower, await mark(client));
  return performance.now() - endedAt;
}

/** A fault on the way to the server: all connections reset, or ten seconds of 429. */
export async function recoveries(
  plane: ControlPlane,
  client: Client,
  start: (origin: string) => Follower,
): Promise<{ readonly resetMs: number; readonly stormMs: number }> {
  const [ca, cert, key] = await Promise.all(
    ["ca.crt", "admin.crt", "admin.key"].map((file) => readFile(join(plane.directory, file))),
  );
  await using proxy = await FaultProxy.start({
    server: plane.server,
    ca: ca!,
    cert: cert!,
    key: key!,
  });
  await using follower = start(proxy.origin);
  const resetMs = await recovery(client, follower, () => {
    proxy.reset();
    return Promise.resolve();
  });
  const stormMs = await recovery(client, follower, async () => {
    proxy.fault = () => ({ status: 429, headers: { "retry-after": "1" } });
    proxy.reset();
    await delay(FAULT_MS);
    proxy.fault = () => undefined;
  });
  return { resetMs, stormMs };
}

/** An API server that is killed and comes back. */
export async function recoveryOfServer(
  plane: ControlPlane,
  client: Client,
  follower: Follower,
): Promise<number> {
  return recovery(client, follower, async () => {
    await plane.stop();
    await delay(FAULT_MS);
    await plane.start();
  });
}
