/** The client's own informer and API classes, as its documentation shows them; see subject.ts. */
import {
  CoreV1Api,
  DiscoveryV1Api,
  KubeConfig,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  type KubernetesListObject,
  type KubernetesObject,
} from "@kubernetes/client-node";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  answerMemory,
  Delays,
  EVENTS,
  NAMESPACE,
  rate,
  say,
  SENT,
  sinceStart,
  told,
  watchLoop,
  WRITES,
} from "./subject.ts";

const { mode, place, selector } = told();

switch (mode) {
  case "hold":
    await hold(connect());
    break;
  case "events":
    await events(selector);
    break;
  case "writes":
    await writes(connect());
    break;
  default:
    throw new TypeError(`unknown mode ${mode}`);
}

function connect(): KubeConfig {
  const config = new KubeConfig();
  const server = `https://${place.host}:${place.port}`;
  config.loadFromClusterAndUser(
    { name: "c", server, caFile: join(place.directory, "ca.crt"), skipTLSVerify: false },
    { name: "u", token: readFileSync(join(place.directory, "token"), "utf8") },
  );
  return config;
}

/** Starts an informer; resolves when its list is there. It may stop at an error: that is the peer. */
async function informer<T extends KubernetesObject>(
  config: KubeConfig,
  path: string,
  list: () => Promise<KubernetesListObject<T>>,
  changed?: (object: T) => void,
): Promise<number> {
  const made = makeInformer<T>(
    config,
    path,
    list,
    selector.startsWith("http") ? undefined : selector,
  );
  if (changed) for (const verb of ["add", "update"] as const) made.on(verb, changed);
  await made.start();
  return made.list().length;
}

/** Holds Services and EndpointSlices. */
async function hold(config: KubeConfig): Promise<never> {
  const blocked = watchLoop();
  const core = config.makeApiClient(CoreV1Api);
  const discovery = config.makeApiClient(DiscoveryV1Api);
  const labelSelector = selector;
  const parts = [
    informer(config, "/api/v1/services", () => core.listServiceForAllNamespaces({ labelSelector })),
    informer(config, "/apis/discovery.k8s.io/v1/endpointslices", () =>
      discovery.listEndpointSliceForAllNamespaces({ labelSelector }),
    ),
  ];
  const first = await Promise.race(parts).then(sinceStart);
  const counts = await Promise.all(parts);
  const objects = counts.reduce((a, b) => a + b, 0);
  say({ objects, firstMs: first, syncedMs: sinceStart(), blockedMs: blocked() });
  return answerMemory();
}

/** Follows events of a server that says in each when it was sent. */
async function events(server: string): Promise<void> {
  const config = new KubeConfig();
  config.loadFromClusterAndUser({ name: "c", server, skipTLSVerify: true }, { name: "u" });
  const delays = new Delays(EVENTS);
  const empty = { metadata: { resourceVersion: "1" }, items: [] };
  await informer(
    config,
    "/api/v1/services",
    () => Promise.resolve(empty),
    (object: KubernetesObject) => {
      const sent = object.metadata?.annotations?.[SENT];
      if (sent !== undefined) delays.add(sent);
    },
  );
}

/** Writes the status of many Services. */
async function writes(config: KubeConfig): Promise<void> {
  const core = config.makeApiClient(CoreV1Api);
  const value = String(process.pid % 250);
  const options = setHeaderOptions("Content-Type", PatchStrategy.ServerSideApply);
  const perSecond = await rate(WRITES, (index) => {
    const name = `s${index}`;
    const status = { loadBalancer: { ingress: [{ ip: `192.0.2.${value}` }] } };
    const body = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace: NAMESPACE },
      status,
    };
    const request = { name, namespace: NAMESPACE, body, fieldManager: "peer", force: true };
    return core.patchNamespacedServiceStatus(request, options);
  });
  say({ perSecond });
}
