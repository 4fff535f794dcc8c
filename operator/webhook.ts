/**
 * The shell round the validating webhook: serves {@link admitPool} and {@link admitMetalLB} over HTTPS,
 * with a certificate from mounted files (OLM's, cert-manager's) or with one of its own.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { AddressPool } from "../api/address-pool.ts";
import type { MetalLB } from "../api/metallb.ts";
import { CONFIG_NAME, type PoolConfig } from "../api/rendered-config.ts";
import {
  startAdmissionServer,
  type AdmissionHandler,
  type AdmissionRequest,
} from "../kubernetes/admission-server.ts";
import { certificateFiles, renewCertificate } from "../kubernetes/certificate-files.ts";
import { sleep } from "../kubernetes/clock.ts";
import type { Program } from "../kubernetes/program.ts";
import type { ConfigMap } from "../kubernetes/resources.ts";
import { formatKey, type Store } from "../kubernetes/store.ts";
import { admitMetalLB, admitPool, type Admission, type Known, type Question } from "./admission.ts";
import { acceptedConfig } from "./desired/config-map.ts";
import type { WebhookEnvironment } from "./environment.ts";
import { OwnCertificate } from "./own-certificate.ts";

/** Name of the Service that the API server calls, as config/webhook has it. */
const SERVICE = "metallb-operator-webhook-service";
/** Paths of the webhooks, as config/webhook has them. */
const PATHS = {
  pools: "/validate-metallb-io-v1beta1-addresspool",
  metallbs: "/validate-metallb-io-v1beta1-metallb",
} as const;

/** How often mounted files are looked at. */
const REREAD_MS = 10_000;
/** The API server hears of a pod that ends a moment after the pod itself. */
const LINGER_MS = 1_000;

/** What the operator watches, as far as it matters here. */
export interface WebhookWorld {
  readonly pools: Store<AddressPool>;
  readonly configMaps: Store<ConfigMap>;
}

/**
 * Serves the webhook until the program ends. Every replica answers, whether it leads or not: what it
 * knows comes from its watches. Call it when those have synced.
 */
export async function serveWebhook(
  program: Program,
  { port, certificateDirectory, lifetimeMs }: WebhookEnvironment,
  namespace: string,
  world: WebhookWorld,
): Promise<void> {
  const handlers = handlersFor(program, namespace, world);
  const { logger } = program;
  if (existsSync(join(certificateDirectory, "tls.crt"))) {
    const files = certificateFiles(certificateDirectory);
    const server = await startAdmissionServer({
      port,
      certificate: files.read(),
      handlers,
      logger,
    });
    const reread = (): void => renewCertificate(server, files, logger, "webhook");
    const timer = setInterval(reread, REREAD_MS);
    program.shutdown.addLast("webhook", async () => {
      clearInterval(timer);
      await linger(program, server.close);
    });
    logger.info("webhook", { port: server.port, certificate: certificateDirectory });
    return;
  }
  const dnsName = `${SERVICE}.${namespace}.svc`;
  const own = new OwnCertificate({
    program,
    dnsName,
    lifetimeMs,
    use: ({ cert, key }) => server.setSecureContext({ cert, key }),
  });
  const { certificate } = own;
  const server = await startAdmissionServer({ port, certificate, handlers, logger });
  program.shutdown.addLast("webhook", () => linger(program, server.close));
  logger.info("webhook", { port: server.port, certificate: "own" });
  await program.reflect(own.reflector);
  program.probes?.add("readyz", { name: "webhook", check: own.trouble });
  program.keep("webhook certificate", (signal) => own.run(signal));
}

/** Answers on while the API server still sends questions, then ends. */
async function linger({ clock }: Program, close: () => Promise<void>): Promise<void> {
  await sleep(clock, LINGER_MS);
  await close();
}

function handlersFor(
  { logger }: Program,
  namespace: string,
  { pools, configMaps }: WebhookWorld,
): Record<string, AdmissionHandler> {
  // Read once for each content: with many pools it is long.
  const read = new WeakMap<ConfigMap, readonly PoolConfig[]>();
  const inEffect = (): readonly PoolConfig[] => {
    const object = configMaps.get(formatKey(CONFIG_NAME, namespace));
    if (object === undefined) return [];
    const accepted = read.get(object) ?? acceptedConfig(object)?.["address-pools"] ?? [];
    read.set(object, accepted);
    return accepted;
  };
  const known = (): Known => {
    const own = [...pools.values()].filter(({ metadata }) => metadata.namespace === namespace);
    return { namespace, pools: own, inEffect: inEffect() };
  };
  const handler =
    <T>(judge: (question: Question<T>) => Admission): AdmissionHandler =>
    (request) => {
      const answer = judge(questionOf<T>(request));
      if (!answer.allowed) {
        const { kind, operation, userInfo } = request;
        const object = formatKey(request.name ?? "", request.namespace);
        const by = userInfo?.username;
        logger.info("refused", { kind: kind.kind, object, operation, by, why: answer.message });
      }
      return answer;
    };
  return {
    [PATHS.pools]: handler<AddressPool>((question) => admitPool(question, known())),
    [PATHS.metallbs]: handler<MetalLB>((question) => admitMetalLB(question, { namespace })),
  };
}

/** The objects come from the API server, which has held them against the schema of the CRD. */
function questionOf<T>({ object, oldObject }: AdmissionRequest): Question<T> {
  return { object: object as T, before: (oldObject ?? undefined) as T | undefined };
}
