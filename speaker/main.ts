/** The speaker: makes the node answer for the addresses that it is to announce. */
import { isDeepStrictEqual } from "node:util";
import { CONFIG_KEY, CONFIG_NAME, parseRenderedConfig } from "../api/rendered-config.ts";
import { isAborted, sleep } from "../kubernetes/clock.ts";
import { describeError } from "../kubernetes/errors.ts";
import { runProgram, type Program } from "../kubernetes/program.ts";
import { runReconciler } from "../kubernetes/reconciler.ts";
import { Reflector } from "../kubernetes/reflector.ts";
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  NODES,
  SERVICES,
  type ConfigMap,
  type EndpointSlice,
  type Node,
  type Service,
} from "../kubernetes/resources.ts";
import { byServiceName } from "../kubernetes/store.ts";
import { WorkQueue } from "../kubernetes/work-queue.ts";
import { parseAddress, type Address } from "../packet/address/address.ts";
import { EchoWitness } from "./echo-witness.ts";
import { watchDataPlane } from "./data-plane.ts";
import { readEnvironment, type Environment } from "./environment.ts";
import { drainFacts, memberHint } from "./facts.ts";
import { GroupMembership } from "./group-membership.ts";
import { KeyFile } from "./key-file.ts";
import { SpeakerMetrics } from "./metrics.ts";
import { NodeReport } from "./node-report.ts";
import { OwnStanding } from "./own-standing.ts";
import { SpeakerReconciler } from "./reconcile.ts";
import { ResponderClient, yieldToResponder } from "./responder-client.ts";
import { makeKey } from "./seal.ts";
import { StatusWriter } from "./status.ts";
import { trimNode, trimService, trimSlice } from "./trim.ts";
import { answerQuestion } from "./verdict.ts";
import { ViewVersions } from "./versions.ts";
import { SpeakerView } from "./view.ts";

/** For handing over at the end: within the pod's grace period of 20 s. */
const DRAIN_MS = 16_000;
/** How often what was written of Services is looked at, some more or less: somebody may delete it. */
const SURVEY_MS = 300_000;
/** How often the others may hear how new this node's view of the API is. */
const VERSIONS_MS = 1_000;

/** Index of Services: every address that one has, whoever gave it. */
function byAddress(service: Service): readonly string[] {
  return (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => {
    const parsed = parseAddress(ip ?? "");
    return parsed.ok ? [parsed.value] : [];
  });
}

function reflectors(program: Program, { namespace }: Environment) {
  const { client, logger, metrics } = program;
  const shared = { client, logger, metrics };
  return {
    services: new Reflector<Service, Service, "address">({
      ...shared,
      resource: SERVICES,
      fieldSelector: "spec.type=LoadBalancer",
      trim: trimService,
      indexes: { address: byAddress },
    }),
    slices: new Reflector<EndpointSlice, EndpointSlice, "service">({
      ...shared,
      resource: ENDPOINT_SLICES,
      // No load balancer is in front of a headless Service.
      labelSelector: "!service.kubernetes.io/headless",
      trim: trimSlice,
      indexes: { service: byServiceName },
    }),
    nodes: new Reflector<Node>({ ...shared, resource: NODES, trim: trimNode }),
    configMaps: new Reflector<ConfigMap>({
      ...shared,
      resource: CONFIG_MAPS,
      namespace,
      fieldSelector: `metadata.name=${CONFIG_NAME}`,
    }),
  };
}

async function speak(program: Program, environment: Environment): Promise<void> {
  const { logger, metrics, client } = program;
  const { node, namespace, pod, keyFile } = environment;
  const addresses = new WorkQueue({ name: "address", metrics });
  const verdicts = new WorkQueue({ name: "verdict", metrics });
  const enqueue = (touched: readonly Address[]): void => {
    for (const address of touched) addresses.add(address);
  };
  const reflected = reflectors(program, environment);
  const { services, slices, nodes, configMaps } = reflected;
  const shown = new SpeakerMetrics(metrics, node);
  const groups = new GroupMembership({ logger });
  const report = new NodeReport({
    client,
    logger,
    node,
    namespace,
    owner: pod,
    keys: () => key.keys.map((secret) => makeKey(secret).id.toString(16).padStart(8, "0")),
  });
  const echoes = new EchoWitness({ logger, answered: (echo) => responder.post(echo) });
  const judgeAll = (): void => {
    for (const service of services.store.keys()) verdicts.add(service);
  };
  const responder = new ResponderClient({
    logger,
    counted: (counters) => shown.count(counters),
    owners: (news) => {
      for (const { address, owner = "nobody", term, hindrance } of news)
        if ((reconciler.ownership(address)?.owner ?? "nobody") !== owner)
          logger.info("owner changed", { address, owner, term, hindrance });
      reconciler.ownersChanged(news);
    },
    membersChanged: (members) => {
      shown.members(members);
      judgeAll();
    },
    moved: (moves) => shown.moved(moves),
    announcedChanged: (address) => {
      groups.place(address, responder.interfacesOf(address));
      reconciler.judge(address);
    },
    contested: (address, mac) => reconciler.contested(address, mac),
    // An answer that came after the address was taken into use: it is silent until it is free.
    probed: ({ address, takenBy }) => reconciler.contested(address, takenBy),
    interfacesChanged: (interfaces) => {
      groups.setInterfaces(interfaces);
      standing.interfacesChanged(interfaces);
      report.setInterfaces(interfaces);
      judgeAll();
    },
    echo: (request) => void echoes.ask(request),
  });
  yieldToResponder(logger);
  const reconciler = new SpeakerReconciler({
    world: { services: services.store, slices: slices.store, nodes: nodes.store },
    post: (command) => responder.post(command),
    touched: (keys) => {
      for (const key of keys) verdicts.add(key);
    },
    now: () => new Date(),
    monotonicMs: () => program.clock.monotonicMs(),
    node,
    later: (address, milliseconds) => addresses.addAfter(address, milliseconds),
  });
  const standing = new OwnStanding({
    tolerations: environment.tolerations,
    post: (command) => responder.post(command),
    logger,
  });
  const view = new SpeakerView({
    node,
    services: services.store,
    decisions: reconciler,
    member: (name) => responder.member(name),
    isolated: () => responder.self?.isolated ?? false,
    interfaces: () => responder.interfaces,
    interfacesOf: (address) => responder.interfacesOf(address),
    now: () => new Date(),
  });
  const writer = new StatusWriter({
    client,
    view,
    node,
    namespace,
    owner: pod,
    said: (service, observations) => shown.said(service, observations),
  });
  serveProbes(program, environment, { reconciler, responder, view, refusal: () => refusal });

  let refusal: string | undefined;
  /** Whether the newest configuration is in effect, and the version of the one that is. */
  const inEffect = { isNewest: true, version: undefined as string | undefined };
  configMaps.onChange(({ type, object }) => {
    inEffect.isNewest = false;
    if (type === "deleted") return; // the last configuration stays in effect
    const parsed = parseRenderedConfig(object.data?.[CONFIG_KEY] ?? "");
    refusal = parsed.ok ? undefined : parsed.message;
    shown.configuration(parsed.ok ? "taken" : "refused");
    if (!parsed.ok) {
      logger.error("configuration refused: the last one stays in effect", {
        configMap: `${namespace}/${CONFIG_NAME}`,
        reason: parsed.reason,
        problem: parsed.message,
      });
      return;
    }
    inEffect.isNewest = true;
    inEffect.version = object.metadata.resourceVersion;
    logger.setLevel(parsed.value["log-level"]);
    enqueue(reconciler.configure(parsed.value));
    judgeAll();
  });
  services.onChange((change) => {
    enqueue(reconciler.serviceChanged(change));
    verdicts.add(change.key);
  });
  slices.onChange((change) => enqueue(reconciler.sliceChanged(change, byServiceName)));
  nodes.onChange((change) => {
    enqueue(reconciler.nodeChanged(change));
    if (change.object.metadata.name === node && change.type !== "deleted")
      standing.nodeChanged(drainFacts(change.object));
  });
  const key = new KeyFile(
    keyFile,
    (keys) => {
      responder.post({ kind: "keys", keys });
      report.changed();
    },
    (problem) => logger.error("key not taken: the last ones stay in use", { problem }),
  );
  const greet = (): void =>
    responder.post({ kind: "hints", hints: [...nodes.store.values()].map(memberHint) });

  program.shutdown.add("responder", async () => {
    addresses.close();
    verdicts.close();
    key[Symbol.dispose]();
    const forced = await responder.leave(DRAIN_MS);
    logger.info("handed over", { forced });
    await responder.stop();
    groups[Symbol.dispose]();
    report[Symbol.dispose]();
    echoes[Symbol.dispose]();
  });
  await program.reflect(services, slices, nodes, configMaps);
  nodes.onChange(({ type, object, previous }) => {
    const moved =
      type !== "updated" || !isDeepStrictEqual(memberHint(object), memberHint(previous));
    if (moved) greet();
  });
  greet();
  responder.post({ kind: "converse", node, cluster: namespace, keys: key.keys });
  for (const key of await writer.survey(program.signal)) verdicts.add(key);
  // whoever goes by an old configuration must not overrule those that go by the new one
  const configuration = (): string | undefined =>
    inEffect.isNewest ? configMaps.resourceVersion : inEffect.version;
  const versions = new ViewVersions(
    () => [
      ...[services, slices, nodes].map(({ resourceVersion }) => resourceVersion),
      configuration(),
    ],
    (command) => responder.post(command),
  );
  const tellVersions = (): void => {
    if (addresses.length === 0 && addresses.inFlight <= 1) versions.tell();
  };
  const telling = setInterval(tellVersions, VERSIONS_MS).unref();
  program.signal.addEventListener("abort", () => clearInterval(telling));
  program.keep("addresses", (signal) =>
    runReconciler(
      {
        name: "address",
        queue: addresses,
        logger,
        metrics,
        reconcile: (address) => {
          reconciler.reconcile(address as Address);
          reconciler.flush();
          tellVersions();
          return Promise.resolve();
        },
      },
      signal,
    ),
  );
  program.keep("node report", (signal) => report.run(signal));
  program.keep("survey", async (signal) => {
    while (!isAborted(signal)) {
      // Only the abort ends the sleep early, and then the loop ends too.
      await sleep(program.clock, SURVEY_MS * (0.75 + Math.random() / 2), signal).catch(
        () => undefined,
      );
      try {
        if (!isAborted(signal)) for (const key of await writer.survey(signal)) verdicts.add(key);
      } catch (error) {
        logger.debug("statuses not listed", { error: describeError(error) });
      }
    }
  });
  program.keep("verdicts", (signal) =>
    runReconciler(
      {
        name: "verdict",
        queue: verdicts,
        logger,
        metrics,
        workers: 8,
        reconcile: (key, _context, own) => writer.reconcile(key, own),
      },
      signal,
    ),
  );
  if (environment.dataPlaneUrl !== "")
    program.keep("data-plane", (signal) =>
      watchDataPlane(
        { url: environment.dataPlaneUrl, changed: (ready) => standing.dataPlaneChanged(ready) },
        signal,
      ),
    );
}

/** What is served on the probes' port. */
interface Shown {
  readonly reconciler: SpeakerReconciler;
  readonly responder: ResponderClient;
  readonly view: SpeakerView;
  /** Why the last configuration was refused. */
  readonly refusal: () => string | undefined;
}

function serveProbes(
  { probes }: Program,
  { namespace }: Environment,
  { reconciler, responder, view, refusal }: Shown,
): void {
  const configMap = `ConfigMap ${namespace}/${CONFIG_NAME}`;
  const configuration = (): string | undefined => {
    if (reconciler.configured) return undefined;
    const why = refusal();
    return why === undefined ? `${configMap} was not read yet` : `${configMap} is refused: ${why}`;
  };
  probes?.add("readyz", { name: "configuration", check: configuration });
  probes?.add("readyz", { name: "responder", check: () => responder.notReady });
  probes?.serve("/exchanges.pcap", async () => ({
    contentType: "application/vnd.tcpdump.pcap",
    body: await responder.exchanges(),
  }));
  probes?.serve("/verdict", (question) => Promise.resolve(answerQuestion(question, view)));
}

const environment = readEnvironment(process.env);
if (environment.ok) {
  const { probePort, probeHost, metricsPort, metricsHost, metricsScheme } = environment.value;
  await runProgram(
    {
      name: "speaker",
      probePort,
      probeHost,
      ...(metricsScheme !== "none" && { metricsPort, metricsScheme }),
      ...(metricsHost !== undefined && { metricsHost }),
      shutdownDeadlineMs: DRAIN_MS + 1_500,
    },
    (program) => speak(program, environment.value),
  );
} else {
  for (const fault of environment.faults) process.stderr.write(`error: ${fault}\n`);
  process.exit(2);
}
