import { expect, test } from "@jest/globals";
import { Replica } from "../../../controller/replica.ts";
import type { Environment } from "../../../controller/environment.ts";
import { formatRenderedConfig, type PoolConfig } from "../../../api/rendered-config.ts";
import { silentLogger } from "../../../kubernetes/logging.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import type { Program } from "../../../kubernetes/program.ts";
import type { WatchEvent } from "../../../kubernetes/client.ts";
import type { KubernetesObject, Resource } from "../../../kubernetes/resources.ts";
import { Shutdown } from "../../../kubernetes/shutdown.ts";
import { eventually } from "../../support/eventually.ts";
import { poolConfig, renderedConfig } from "../../support/builders.ts";
import { VirtualClock } from "../kubernetes/virtual-clock.ts";

type Emit = (event: WatchEvent<KubernetesObject>) => void;

const LISTED: WatchEvent<KubernetesObject> = {
  type: "BOOKMARK",
  object: {
    metadata: {
      name: "",
      resourceVersion: "1",
      annotations: { "k8s.io/initial-events-end": "true" },
    },
  },
};

/** A replica whose watches bring what the test gives them; all but that of Namespaces are listed. */
async function start() {
  const running = new AbortController();
  const watches = new Map<string, Emit>();
  const taken: string[][] = [];
  const client = {
    urgent: () => client,
    get: () => Promise.resolve(undefined),
    watch: (of: Resource<KubernetesObject>, _how: object, emit: Emit, signal: AbortSignal) => {
      watches.set(of.plural, emit);
      if (of.plural !== "namespaces") emit(LISTED);
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    },
  };
  const logger = {
    setLevel: () => undefined,
    error: () => undefined,
    child: () => silentLogger,
    info: (_message: string, fields: { readonly pools?: string[] } = {}) => {
      if (fields.pools !== undefined) taken.push(fields.pools);
    },
  };
  const tasks: Promise<void>[] = [];
  const program = {
    client,
    logger,
    metrics: new Metrics(),
    probes: undefined,
    shutdown: new Shutdown(),
    signal: running.signal,
    clock: new VirtualClock(),
    keep: () => undefined,
    reflect: async (
      ...reflectors: { run(s: AbortSignal): Promise<void>; synced(s: AbortSignal): Promise<void> }[]
    ) => {
      for (const reflector of reflectors) tasks.push(reflector.run(running.signal));
      await Promise.all(reflectors.map((reflector) => reflector.synced(running.signal)));
    },
  };
  const environment = { namespace: "metallb-system", podName: "p" } as Environment;
  await new Replica(program as unknown as Program, environment).start();
  let version = 2;
  return {
    taken,
    listNamespaces: () => watches.get("namespaces")?.(LISTED),
    watchesNamespaces: () => watches.has("namespaces"),
    configure: (pool: PoolConfig | undefined) => {
      const config = pool === undefined ? "fish" : formatRenderedConfig(renderedConfig([pool]));
      const metadata = {
        name: "config",
        namespace: "metallb-system",
        resourceVersion: String(version++),
      };
      const object = { metadata, data: { config } } as KubernetesObject;
      watches.get("configmaps")?.({ type: version === 3 ? "ADDED" : "MODIFIED", object });
    },
    end: async () => {
      running.abort(new Error("shutting down"));
      await Promise.all(tasks);
    },
  };
}

const SELECTING = poolConfig("selecting", ["10.0.0.1"], {
  "namespace-selectors": [{ matchLabels: { team: "red" } }],
});
const PLAIN = poolConfig("plain", ["10.1.0.1"]);

test("a configuration that waits for namespaces does not undo a newer one", async () => {
  const it = await start();
  it.configure(SELECTING);
  await eventually(() => it.watchesNamespaces());
  it.configure(PLAIN);
  await eventually(() => it.taken.length === 1);
  it.listNamespaces();
  it.configure(poolConfig("last", ["10.2.0.1"]));
  await eventually(() => it.taken.flat().includes("last"));
  expect(it.taken).toEqual([["plain"], ["last"]]);
  await it.end();
});

test("one that waits is taken although the next is refused, and its wait ends with the program", async () => {
  const it = await start();
  it.configure(SELECTING);
  await eventually(() => it.watchesNamespaces());
  it.configure(undefined);
  it.listNamespaces();
  await eventually(() => it.taken.length === 1);
  expect(it.taken).toEqual([["selecting"]]);
  await it.end();

  const other = await start();
  other.configure(SELECTING);
  await eventually(() => other.watchesNamespaces());
  await other.end();
  expect(other.taken).toEqual([]);
});
