/** Our client and reflectors, as a program of ours uses them; see subject.ts. */
import { createClient, type Client } from "../../kubernetes/client.ts";
import { systemClock } from "../../kubernetes/clock.ts";
import { fixedConnection, inClusterConnection } from "../../kubernetes/connection.ts";
import { createLogger } from "../../kubernetes/logging.ts";
import { Metrics } from "../../kubernetes/metrics.ts";
import { Reflector } from "../../kubernetes/reflector.ts";
import { ENDPOINT_SLICES, SERVICES } from "../../kubernetes/resources.ts";
import { byServiceName } from "../../kubernetes/store.ts";
import { trimService, trimSlice } from "../../speaker/trim.ts";
import {
  answerMemory,
  Delays,
  EVENTS,
  MARKED,
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
const metrics = new Metrics();
const logger = createLogger("bench", "warn");
const never = new AbortController().signal;

switch (mode) {
  case "hold":
    await hold(await connect());
    break;
  case "events":
    await events(selector);
    break;
  case "writes":
    await writes(await connect());
    break;
  case "follow":
    await follow(selector === "" ? await connect() : await connectTo(selector));
    break;
  default:
    throw new TypeError(`unknown mode ${mode}`);
}

function connect(): Promise<Client> {
  return createClient({
    program: "bench",
    connection: inClusterConnection(systemClock, place),
    metrics,
  });
}

function connectTo(origin: string): Promise<Client> {
  return createClient({ program: "bench", connection: fixedConnection(origin), metrics });
}

/** Holds Services and EndpointSlices, trimmed as the speaker trims them. */
async function hold(client: Client): Promise<never> {
  const blocked = watchLoop();
  const common = { client, metrics, logger, labelSelector: selector };
  const services = new Reflector({ ...common, resource: SERVICES, trim: trimService });
  const slices = new Reflector({
    ...common,
    resource: ENDPOINT_SLICES,
    trim: trimSlice,
    indexes: { service: byServiceName },
  });
  void services.run(never);
  void slices.run(never);
  const first = await Promise.race([services.synced(), slices.synced()]).then(sinceStart);
  await Promise.all([services.synced(), slices.synced()]);
  const objects = services.store.size + slices.store.size;
  say({ objects, firstMs: first, syncedMs: sinceStart(), blockedMs: blocked() });
  return answerMemory();
}

/** Follows events of a server that says in each when it was sent. */
async function events(origin: string): Promise<void> {
  const client = await connectTo(origin);
  const reflector = new Reflector({ client, resource: SERVICES, metrics, logger });
  const delays = new Delays(EVENTS);
  reflector.onChange(({ object }) => {
    const sent = object.metadata.annotations?.[SENT];
    if (sent !== undefined) delays.add(sent);
  });
  await reflector.run(never);
}

/** Says each mark that it sees on the Service which is marked. */
async function follow(client: Client): Promise<void> {
  const fieldSelector = `metadata.name=${MARKED}`;
  const reflector = new Reflector({ client, resource: SERVICES, metrics, logger, fieldSelector });
  reflector.onChange(({ object }) => say({ mark: object.metadata.annotations?.[SENT] }));
  await reflector.run(never);
}

/** Writes the status of many Services. */
async function writes(client: Client): Promise<void> {
  const value = String(process.pid % 250);
  const perSecond = await rate(WRITES, (index) =>
    client.applyStatus(SERVICES, {
      metadata: { name: `s${index}`, namespace: NAMESPACE },
      status: { loadBalancer: { ingress: [{ ip: `192.0.2.${value}` }] } },
    }),
  );
  say({ perSecond });
  client.close();
}
