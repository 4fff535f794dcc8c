/** What the pods of both programs have in common. */
import type {
  V1Container,
  V1EnvVar,
  V1PodSpec,
  V1PodTemplateSpec,
  V1Probe,
  V1ResourceRequirements,
} from "@kubernetes/client-node";
import type { MetalLBSpec } from "../../api/metallb.ts";
import type { PodConfig } from "../../api/pod.ts";
import { selectorLabels, type Component } from "./ownership.ts";
import type { Plain } from "./plain.ts";

/** Port of `/healthz` and `/readyz` in every program: MetalLB's. */
export const PROBE_PORT = 17472;

/** Port of the controller's metrics: MetalLB's. */
export const METRICS_PORT = 9120;

/** The image of a program, and what a node needs to pull it. */
export interface Image {
  readonly name: string;
  readonly pullPolicy?: string;
  /** Names of the Secrets to pull with. */
  readonly pullSecrets: readonly string[];
}

/** The images of both programs. */
export type Images = Readonly<Record<Component, Image>>;

/** Chooses the images: the user's where there are any. */
export function chooseImages(spec: MetalLBSpec, images: Images): Images {
  const choose = (program: Component): Image => {
    return { ...images[program], name: spec.images?.[program] ?? images[program].name };
  };
  return { controller: choose("controller"), speaker: choose("speaker") };
}

/** What differs between the pods of the two programs. */
export interface Program {
  readonly name: Component;
  readonly image: Image;
  /** What the user set about the pod. */
  readonly config: PodConfig | undefined;
  /** Ports that it listens on, by name. */
  readonly ports: Readonly<Record<string, number>>;
  readonly pod: Plain<Omit<V1PodSpec, "containers">>;
  readonly container: Plain<Pick<V1Container, "securityContext" | "volumeMounts">>;
  /** Address to probe; absent: the pod's. */
  readonly probeHost?: string;
  /** Environment variables beside those that all pods have. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Builds the pod template of a program. */
export function podTemplate(program: Program): Plain<V1PodTemplateSpec> {
  const { priorityClassName, runtimeClassName, affinity, annotations } = program.config ?? {};
  const pullSecrets = program.image.pullSecrets.map((name) => ({ name }));
  return {
    metadata: {
      labels: selectorLabels(program.name),
      annotations: { "kubectl.kubernetes.io/default-container": program.name, ...annotations },
    },
    spec: {
      ...program.pod,
      ...(priorityClassName !== undefined && { priorityClassName }),
      ...(runtimeClassName !== undefined && { runtimeClassName }),
      ...(affinity !== undefined && { affinity }),
      ...(pullSecrets.length > 0 && { imagePullSecrets: pullSecrets }),
      containers: [container(program)],
    },
  };
}

/** The image's entry takes the program's name as its first argument. */
function container({
  name,
  image,
  config,
  ports,
  container,
  probeHost,
  env = {},
}: Program): Plain<V1Container> {
  return {
    name,
    image: image.name,
    ...(image.pullPolicy !== undefined && { imagePullPolicy: image.pullPolicy }),
    args: [name],
    env: [...DOWNWARD_ENV, ...Object.entries(env).map(([name, value]) => ({ name, value }))],
    ports: Object.entries(ports).map(([name, containerPort]) => {
      return { name, containerPort, protocol: "TCP" };
    }),
    resources: resourcesOf(config) ?? { requests: { cpu: "20m", memory: "96Mi" } },
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...probes(probeHost),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      ...container.securityContext,
    },
    ...(container.volumeMounts !== undefined && { volumeMounts: container.volumeMounts }),
  };
}

/** In the API a quantity may be a number; in a pod it is a text. */
function resourcesOf(config: PodConfig | undefined): Plain<V1ResourceRequirements> | undefined {
  if (config?.resources === undefined) return undefined;
  const texts = (quantities: Readonly<Record<string, number | string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(quantities).map(([name, value]) => [name, String(value)]));
  const { requests, limits } = config.resources;
  return {
    ...(requests && { requests: texts(requests) }),
    ...(limits && { limits: texts(limits) }),
  };
}

/**
 * Builds the three probes. Starting may take a while on a busy node, so the startup probe is the
 * patient one; afterwards a program that hangs is restarted after a minute. Not sooner: on a node that
 * is short of processor time probes are late, and a program made to start anew makes it worse; a
 * speaker's thread goes on answering meanwhile.
 */
function probes(
  host: string | undefined,
): Record<"startupProbe" | "livenessProbe" | "readinessProbe", Plain<V1Probe>> {
  const get = (path: string): Plain<Pick<V1Probe, "httpGet">> => ({
    httpGet: { path, port: PROBE_PORT, ...(host !== undefined && { host }) },
  });
  return {
    startupProbe: { ...get("/healthz"), periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 2 },
    livenessProbe: {
      ...get("/healthz"),
      periodSeconds: 10,
      failureThreshold: 6,
      timeoutSeconds: 10,
    },
    readinessProbe: { ...get("/readyz"), periodSeconds: 2, failureThreshold: 2, timeoutSeconds: 2 },
  };
}

const DOWNWARD_ENV: Plain<V1EnvVar[]> = [
  ["METALLB_NODE_NAME", "spec.nodeName"],
  ["POD_NAME", "metadata.name"],
  ["POD_NAMESPACE", "metadata.namespace"],
  ["POD_UID", "metadata.uid"],
  ["HOST_IP", "status.hostIP"],
].map(([name = "", fieldPath = ""]) => ({ name, valueFrom: { fieldRef: { fieldPath } } }));
