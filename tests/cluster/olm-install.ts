/** A real Operator Lifecycle Manager in the test cluster, as its own chart installs it. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { importByDigest, olmArchive, OLM_IMAGE } from "./olm-images.ts";
import type { LanHost } from "./lan.ts";
import { Names } from "./olm-names.ts";
import { moduleFolder } from "./olm-programs.ts";
import { waitFor } from "./wait.ts";

/** Namespace of OLM and of its catalogs. */
export const OLM_NAMESPACE = "olm";
/** Name of our CatalogSource. */
export const CATALOG = "metallb-catalog";

const ACCOUNT = "olm-operator-serviceaccount";
const ROLE = "system:controller:operator-lifecycle-manager";

const SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/** One of OLM's two operators. `pod` says what is special about its pod. */
function deployment(name: string, args: readonly string[], pod: object = {}): object {
  const health = { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 2 };
  const container = {
    name,
    image: OLM_IMAGE,
    imagePullPolicy: "Never",
    command: args,
    env: [
      { name: "OPERATOR_NAMESPACE", value: OLM_NAMESPACE },
      { name: "OPERATOR_NAME", value: name },
    ],
    ports: [{ containerPort: 8080, name: "metrics" }],
    readinessProbe: health,
    volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
    securityContext: SECURITY,
    terminationMessagePolicy: "FallbackToLogsOnError",
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: OLM_NAMESPACE, labels: { app: name } },
    spec: {
      strategy: { type: "Recreate" },
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          serviceAccountName: ACCOUNT,
          terminationGracePeriodSeconds: 1,
          containers: [container],
          volumes: [{ name: "tmp", emptyDir: {} }],
          ...pod,
        },
      },
    },
  };
}

/** The catalog operator, which calls catalogs by name. */
function catalogOperator(toolImage: string, nameserver: string): object {
  return deployment(
    "catalog-operator",
    [
      "/bin/catalog",
      `--namespace=${OLM_NAMESPACE}`,
      `--opmImage=${toolImage}`,
      `--util-image=${toolImage}`,
      "--set-workload-user-id=true",
    ],
    { dnsPolicy: "None", dnsConfig: { nameservers: [nameserver] } },
  );
}

const RIGHTS = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: OLM_NAMESPACE } },
  {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: ACCOUNT, namespace: OLM_NAMESPACE },
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: ROLE },
    rules: [
      { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
      { nonResourceURLs: ["*"], verbs: ["*"] },
    ],
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: `olm-operator-binding-${OLM_NAMESPACE}` },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: ROLE },
    subjects: [{ kind: "ServiceAccount", name: ACCOUNT, namespace: OLM_NAMESPACE }],
  },
];

/** Texts of OLM's CustomResourceDefinitions. */
async function definitions(): Promise<string[]> {
  const folder = join(await moduleFolder("github.com/operator-framework/api"), "crds");
  return globSync("*.yaml", { cwd: folder }).map((name) =>
    readFileSync(join(folder, name), "utf8"),
  );
}

/** OLM in a cluster. */
export class Olm implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #names: Names;

  private constructor(cluster: Cluster, names: Names) {
    this.#cluster = cluster;
    this.#names = names;
  }

  /** Installs it and waits until it runs; a host of the LAN serves names to it. */
  static async install(cluster: Cluster, host: LanHost): Promise<Olm> {
    const names = await Names.start(cluster, host, OLM_NAMESPACE);
    const toolImage = await importByDigest(cluster, await olmArchive(), OLM_IMAGE);
    await cluster.apply(...(await definitions()));
    await cluster.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    await cluster.apply(
      ...RIGHTS,
      { apiVersion: "operators.coreos.com/v1", kind: "OLMConfig", metadata: { name: "cluster" } },
      deployment("olm-operator", [
        "/bin/olm",
        `--namespace=${OLM_NAMESPACE}`,
        "--writeStatusName=",
      ]),
      catalogOperator(toolImage, names.address),
    );
    const olm = new Olm(cluster, names);
    for (const name of ["olm-operator", "catalog-operator"]) await olm.#rolledOut(name);
    return olm;
  }

  async #rolledOut(name: string): Promise<void> {
    const status = ["rollout", "status", `deployment/${name}`, "--timeout=180s"];
    await this.#cluster.kubectl(["-n", OLM_NAMESPACE, ...status]);
  }

  /** Serves a catalog's image, in place of the one before, and waits until OLM reads it. */
  async serve(image: string): Promise<void> {
    await this.#cluster.apply({
      apiVersion: "operators.coreos.com/v1alpha1",
      kind: "CatalogSource",
      metadata: { name: CATALOG, namespace: OLM_NAMESPACE },
      spec: {
        sourceType: "grpc",
        image,
        displayName: "MetalLB Operator",
        grpcPodConfig: {
          securityContextConfig: "restricted",
          extractContent: { catalogDir: "/configs" },
        },
      },
    });
    await waitFor("the catalog being served", 180, async () => {
      const pods = await this.#cluster.kubectl([
        ...["-n", OLM_NAMESPACE, "get", "pods", "-l", `olm.catalogSource=${CATALOG}`],
        ...[
          "-o",
          "jsonpath={range .items[*]}{.spec.initContainers[1].image} {.status.containerStatuses[0].ready}{'\\n'}{end}",
        ],
      ]);
      return pods.trim() === `${image} true`;
    });
    await waitFor("the catalog being read", 300, async () => {
      if ((await this.#connection(".lastObservedState")) !== "READY")
        throw new Error(await this.#connection());
      return true;
    });
  }

  /** What OLM says of its connection to the catalog. */
  async #connection(field = ""): Promise<string> {
    const path = `jsonpath={.status.connectionState${field}}`;
    const get = ["get", "catalogsource", CATALOG, "-o", path];
    return await this.#cluster.kubectl(["-n", OLM_NAMESPACE, ...get]);
  }

  /** Removes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#names[Symbol.asyncDispose]();
    const gone = ["--ignore-not-found", "--timeout=90s"];
    const kubectl = async (args: string[]): Promise<string> => await this.#cluster.kubectl(args);
    await kubectl(["delete", "namespace", OLM_NAMESPACE, ...gone]);
    const crds = await kubectl(["get", "crd", "-o", "name"]);
    const own = crds.split("\n").filter((name) => name.endsWith(".operators.coreos.com"));
    if (own.length > 0) await kubectl(["delete", ...own, ...gone]);
    await kubectl(["delete", "clusterrole", ROLE, ...gone]);
    await kubectl([
      "delete",
      "clusterrolebinding",
      `olm-operator-binding-${OLM_NAMESPACE}`,
      ...gone,
    ]);
  }
}
