/**
 * MetalLB as its release installs it (config/manifests/metallb-native.yaml), beside ours: in a
 * namespace of its own, for a class of its own, on a port of its own. What is left out is its webhook
 * and ServiceL2Status, a kind that is ours here.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { Cluster } from "../../tests/cluster/cluster.ts";
import { programArchive } from "../../tests/cluster/images.ts";
import { peerProgram } from "../arp/programs.ts";
import { buildPeer } from "../controller/peer.ts";

/** The peer's namespace. */
export const PEER_NAMESPACE = "metallb-peer";
/** Class of the Services that are the peer's. */
export const PEER_CLASS = "bench.example/peer";
const MEMBER_PORT = "7947";
const IMAGES = {
  controller: "test.local/metallb-controller:v0.15.2",
  speaker: "test.local/metallb-speaker:v0.15.2",
} as const;

type Program = keyof typeof IMAGES;

interface Container {
  name: Program;
  image: string;
  imagePullPolicy: string;
  command: string[];
  args: string[];
  env: { name: string; value?: string }[];
  securityContext: Record<string, unknown>;
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  verbs: readonly string[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules?: readonly Rule[];
  readonly spec?: { readonly template?: { readonly spec: { readonly containers: Container[] } } };
}

const EXTRA_ARGS: Readonly<Record<Program, readonly string[]>> = {
  controller: [`--lb-class=${PEER_CLASS}`, "--webhook-mode=disabled"],
  speaker: [`--lb-class=${PEER_CLASS}`],
};

function isLeftOut({ kind, metadata }: Manifest): boolean {
  return (
    kind === "ValidatingWebhookConfiguration" ||
    (kind === "CustomResourceDefinition" && metadata.name === "servicel2statuses.metallb.io")
  );
}

function adapt(container: Container): void {
  const { name } = container;
  container.image = IMAGES[name];
  container.imagePullPolicy = "Never";
  container.command = [`/metallb-${name}`];
  container.args.push(...EXTRA_ARGS[name]);
  if (name !== "speaker") return;
  container.env.push({ name: "METALLB_ML_BIND_PORT", value: MEMBER_PORT });
  // its release's image says so; that of programArchive says nobody
  container.securityContext["runAsUser"] = 0;
}

const STATUSES = ["servicel2statuses", "servicel2statuses/status"];

/**
 * Takes from its speaker the right to write ServiceL2Status anywhere but in its own namespace: of
 * Services that it does not announce it would delete ours.
 */
function confine(manifests: readonly Manifest[]): object[] {
  for (const { kind, rules = [] } of manifests)
    for (const rule of kind === "ClusterRole" ? rules : [])
      if (rule.resources.some((each) => STATUSES.includes(each)))
        rule.verbs = ["get", "list", "watch"];
  const metadata = { name: "servicel2statuses", namespace: PEER_NAMESPACE };
  const group = "rbac.authorization.k8s.io";
  return [
    {
      apiVersion: `${group}/v1`,
      kind: "Role",
      metadata,
      rules: [{ apiGroups: ["metallb.io"], resources: STATUSES, verbs: ["*"] }],
    },
    {
      apiVersion: `${group}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: group, kind: "Role", name: metadata.name },
      subjects: [{ kind: "ServiceAccount", name: "speaker", namespace: PEER_NAMESPACE }],
    },
  ];
}

/** Installs it and waits until it is there. */
export async function installPeer(cluster: Cluster): Promise<void> {
  const [{ binary }, built] = await Promise.all([peerProgram(), buildPeer()]);
  for (const [name, program] of [
    ["controller", built.controller],
    ["speaker", binary],
  ] as const)
    await cluster.importImage(await programArchive(program, `metallb-${name}`, IMAGES[name]));
  const file = join(built.crds, "../manifests/metallb-native.yaml");
  const text = readFileSync(file, "utf8").replaceAll("metallb-system", PEER_NAMESPACE);
  const manifests = parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((each) => each !== null)
    .filter((each) => !isLeftOut(each));
  for (const { spec } of manifests) spec?.template?.spec.containers.forEach(adapt);
  const confinement = confine(manifests);
  const isDefinition = ({ kind }: Manifest): boolean => kind === "CustomResourceDefinition";
  await cluster.apply(...manifests.filter(isDefinition));
  await cluster.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
  await cluster.apply(...manifests.filter((each) => !isDefinition(each)), ...confinement);
  for (const name of ["deployment/controller", "daemonset/speaker"])
    await cluster.kubectl(["-n", PEER_NAMESPACE, "rollout", "status", name, "--timeout=120s"]);
}

/** Makes a pool of the peer's from which only those who ask get addresses, announced by layer 2. */
export async function makePeerPool(
  cluster: Cluster,
  name: string,
  addresses: readonly string[],
): Promise<void> {
  const metadata = { name, namespace: PEER_NAMESPACE };
  const apiVersion = "metallb.io/v1beta1";
  await cluster.apply(
    {
      apiVersion,
      kind: "IPAddressPool",
      metadata,
      spec: {
        addresses: addresses.map((each) =>
          /[-/]/.test(each) ? each : `${each}/${each.includes(":") ? 128 : 32}`,
        ),
        autoAssign: false,
      },
    },
    { apiVersion, kind: "L2Advertisement", metadata, spec: { ipAddressPools: [name] } },
  );
}
