/** The operator from a catalog: installed, upgraded and removed by a real Operator Lifecycle Manager. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describeWith } from "../support/requirements.ts";
import { Cluster } from "../cluster/cluster.ts";
import { run } from "../cluster/command.ts";
import { buildProductImage, PRODUCT_IMAGE } from "../cluster/for-tests.ts";
import { WEB_CONTAINER } from "../cluster/images.ts";
import type { LanHost } from "../cluster/lan.ts";
import { buildImage, importByDigest, tagImage } from "../cluster/olm-images.ts";
import { CATALOG, Olm, OLM_NAMESPACE } from "../cluster/olm-install.ts";
import {
  PRODUCT_NAMESPACE,
  removeOperator,
  waitAvailable,
  waitForAddresses,
  waitForAnswer,
} from "../cluster/product.ts";
import { waitFor } from "../cluster/wait.ts";

const TREE = join(import.meta.dirname, "../..");
const WORK = join(TREE, "build/olm");
const NAMESPACE = "olm-test";
const MINUTE = 60_000;
const OLD = "0.1.0";
const NEW = "0.2.0";
const NEW_IMAGE = `metallb-operator:${NEW}`;
const MANAGER = "metallb-operator-controller-manager";
const ACCOUNTS = ["metallb-operator", "controller", "speaker"];

interface Csv {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
  };
}

interface Role {
  readonly metadata: {
    readonly name: string;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
}

interface Workload {
  readonly spec: { template: { spec: { containers: readonly { readonly image: string }[] } } };
}

const SERVICE = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace: NAMESPACE },
  spec: {
    type: "LoadBalancer",
    ipFamilyPolicy: "PreferDualStack",
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080 }],
  },
};

const BACKEND = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: NAMESPACE },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [WEB_CONTAINER],
      },
    },
  },
};

/** As the ClusterServiceVersion suggests it. */
const PRIVILEGED = { "pod-security.kubernetes.io/enforce": "privileged" };

interface Example {
  readonly kind: string;
}

/** Makes bundle and catalog of a version as docs/olm.md says, and gives the catalog's image. */
async function release(cluster: Cluster, version: string, image: string): Promise<string> {
  const folder = join(WORK, version);
  mkdirSync(folder, { recursive: true });
  const write = async (bundleImage: string): Promise<void> => {
    const names = ["--image", image, "--bundle-image", bundleImage, "--version", version];
    await run([process.execPath, "tools/bundle-export.ts", folder, ...names], { cwd: TREE });
  };
  const build = async (name: "bundle" | "catalog"): Promise<string> => {
    const tag = `test.local/metallb-operator-${name}:${version}`;
    const archive = join(folder, `${name}.tar`);
    await buildImage(join(folder, name), tag, archive);
    return await importByDigest(cluster, archive, tag);
  };
  await write("unknown");
  await write(await build("bundle"));
  return await build("catalog");
}

describeWith("netns", "nft")("the operator from a catalog", () => {
  let cluster: Cluster;
  let host: LanHost;
  let olm: Olm;
  let before: string[];
  const cleanup = new AsyncDisposableStack();

  const inProduct = async (...args: string[]): Promise<string> =>
    await cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...args]);

  const applyInProduct = async (object: string): Promise<string> =>
    await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "apply", "-f", "-"], object);

  /** Names of all that the operator or OLM could leave in the cluster. */
  const leftovers = async (): Promise<string[]> => {
    const kinds =
      "clusterroles,clusterrolebindings,crds,validatingwebhookconfigurations,namespaces";
    const names = await cluster.kubectl(["get", kinds, "-o", "name"]);
    return names.trim().split("\n").toSorted();
  };

  const csv = async (version: string): Promise<Csv | undefined> =>
    await cluster.get<Csv>(
      "clusterserviceversions",
      `metallb-operator.v${version}`,
      PRODUCT_NAMESPACE,
    );

  const succeeded = async (version: string): Promise<Csv> =>
    await waitFor(
      `ClusterServiceVersion of ${version} Succeeded`,
      180,
      async () => {
        const found = await csv(version);
        if (found?.status?.phase === "Succeeded") return found;
        throw new Error(JSON.stringify(found?.status ?? "there is none"));
      },
      500,
    );

  const imageOf = async (kind: string, name: string): Promise<string | undefined> => {
    const found = await cluster.get<Workload>(kind, name, PRODUCT_NAMESPACE);
    return found?.spec.template.spec.containers[0]?.image;
  };

  // an installation by kustomize that another test left
  const removeProduct = async (): Promise<void> => await removeOperator(cluster);

  beforeAll(async () => {
    const archive = buildProductImage();
    cluster = cleanup.use(await Cluster.up());
    cleanup.defer(() => rmSync(WORK, { recursive: true, force: true }));
    await cluster.importImage(archive);
    await tagImage(cluster, PRODUCT_IMAGE, NEW_IMAGE);
    host = await cluster.host();
    await removeProduct();
    cleanup.defer(removeProduct);
    before = await leftovers();
    olm = cleanup.use(await Olm.install(cluster, host));
    cleanup.defer(async () => {
      await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    });
    await olm.serve(await release(cluster, OLD, PRODUCT_IMAGE));
    await cluster.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
      BACKEND,
    );
  }, 40 * MINUTE);

  afterAll(async () => {
    await cleanup.disposeAsync();
  }, 5 * MINUTE);

  test(
    "is installed by a Subscription, for all namespaces",
    async () => {
      const api = "operators.coreos.com";
      const metadata = { name: "metallb-operator", namespace: PRODUCT_NAMESPACE };
      const namespace = { name: PRODUCT_NAMESPACE, labels: PRIVILEGED };
      await cluster.apply(
        { apiVersion: "v1", kind: "Namespace", metadata: namespace },
        { apiVersion: `${api}/v1`, kind: "OperatorGroup", metadata, spec: {} },
        {
          apiVersion: `${api}/v1alpha1`,
          kind: "Subscription",
          metadata,
          spec: {
            channel: "stable",
            name: "metallb-operator",
            source: CATALOG,
            sourceNamespace: OLM_NAMESPACE,
          },
        },
      );
      await succeeded(OLD);
      expect(await imageOf("deployment", MANAGER)).toBe(PRODUCT_IMAGE);
    },
    5 * MINUTE,
  );

  test(
    "has no right in other namespaces that it has in its own only",
    async () => {
      for (const account of ACCOUNTS) {
        const role = await cluster.get<Role>("role", account, PRODUCT_NAMESPACE);
        expect(role?.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([
          (await csv(OLD))?.metadata.uid,
        ]);
      }
      const as = `--as=system:serviceaccount:${PRODUCT_NAMESPACE}:metallb-operator`;
      const may = async (namespace: string): Promise<string> =>
        await cluster
          .kubectl(["auth", "can-i", "delete", "deployments.apps", "-n", namespace, as])
          .catch((error: unknown) => (error instanceof Error ? error.message : ""));
      expect(await may(PRODUCT_NAMESPACE)).toMatch(/^yes/);
      expect(await may(NAMESPACE)).toMatch(/no$|: no/);
    },
    MINUTE,
  );

  test(
    "runs MetalLB from the examples that the catalog shows, and a Service is reached",
    async () => {
      const { metadata } = await succeeded(OLD);
      const resource = metadata.annotations["operatorframework.io/initialization-resource"];
      await applyInProduct(resource ?? "");
      await waitAvailable(cluster);
      const examples = JSON.parse(metadata.annotations["alm-examples"] ?? "") as Example[];
      const pools = examples.filter(({ kind }) => kind === "AddressPool");
      expect(pools.length).toBeGreaterThan(0);
      await applyInProduct(JSON.stringify(pools[0]));
      await cluster.apply(SERVICE);
      for (const address of await waitForAddresses(cluster, "web", 2, NAMESPACE))
        expect(await waitForAnswer(host, address)).toMatch(/^pod=web-/);
    },
    4 * MINUTE,
  );

  test(
    "refuses an overlapping pool, by the webhook and the certificate that OLM made",
    async () => {
      const { metadata } = await succeeded(OLD);
      const examples = JSON.parse(metadata.annotations["alm-examples"] ?? "") as Example[];
      const pool = examples.find(({ kind }) => kind === "AddressPool");
      const object = JSON.stringify({ ...pool, metadata: { name: "overlapping" } });
      const apply = ["-n", PRODUCT_NAMESPACE, "apply", "--dry-run=server", "-f", "-"];
      await waitFor("the refusal", 60, async () => {
        const said = await cluster.kubectl(apply, object).catch(String);
        return /denied the request: .* overlaps .* of AddressPool/.test(said);
      });
      // OLM made the configuration and keeps it: ours has no right to it.
      const ours = "metallb-operator-webhook-configuration";
      expect(await cluster.get("validatingwebhookconfiguration", ours)).toBeUndefined();
    },
    2 * MINUTE,
  );

  test(
    "is upgraded through the channel, and all three programs with it",
    async () => {
      const addresses = await waitForAddresses(cluster, "web", 2, NAMESPACE);
      await olm.serve(await release(cluster, NEW, NEW_IMAGE));
      const { metadata } = await succeeded(NEW);
      await waitFor("the old version gone", 60, async () => (await csv(OLD)) === undefined);
      for (const [kind, name] of [
        ["deployment", MANAGER],
        ["deployment", "controller"],
        ["daemonset", "speaker"],
      ] as const) {
        await waitFor(`${name} of the new version`, 90, async () => {
          return (await imageOf(kind, name)) === NEW_IMAGE;
        });
        await inProduct("rollout", "status", `${kind}/${name}`, "--timeout=180s");
      }
      for (const account of ACCOUNTS) {
        const role = await cluster.get<Role>("role", account, PRODUCT_NAMESPACE);
        expect(role?.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([metadata.uid]);
      }
      await waitAvailable(cluster);
      expect(await waitForAddresses(cluster, "web", 2, NAMESPACE)).toEqual(addresses);
      for (const address of addresses)
        expect(await waitForAnswer(host, address)).toMatch(/^pod=web-/);
    },
    8 * MINUTE,
  );

  test(
    "may also be installed for its own namespace alone",
    async () => {
      const spec = { targetNamespaces: [PRODUCT_NAMESPACE] };
      const patch = ["--type=merge", "-p", JSON.stringify({ spec })];
      await inProduct("patch", "operatorgroup", "metallb-operator", ...patch);
      await waitFor("the new targets", 60, async () => {
        const path = "jsonpath={.status.namespaces[0]}";
        const target = await inProduct("get", "operatorgroup", "metallb-operator", "-o", path);
        return target === PRODUCT_NAMESPACE;
      });
      await succeeded(NEW);
      await waitAvailable(cluster);
    },
    4 * MINUTE,
  );

  test(
    "leaves nothing of its own when it is uninstalled as docs/olm.md says",
    async () => {
      await inProduct("delete", "metallb", "metallb", "--wait=true");
      await inProduct("delete", "subscription", "metallb-operator");
      const label = `operators.coreos.com/metallb-operator.${PRODUCT_NAMESPACE}`;
      await inProduct("delete", "csv", "-l", label);
      const kinds = "deployments,daemonsets,pods,roles,rolebindings,configmaps,secrets,services";
      await waitFor("nothing left in its namespace", 90, async () => {
        const left = await inProduct("get", kinds, "-o", "name");
        const accounts = await inProduct("get", "serviceaccounts", "-o", "name");
        const names = `${left}${accounts}`.trim().split("\n");
        const own = names.filter((name) => !/kube-root-ca|serviceaccount\/default$/.test(name));
        if (own.length > 0) throw new Error(own.join(", "));
        return true;
      });
      const crds = await cluster.kubectl(["get", "crd", "-o", "name"]);
      const own = crds.split("\n").filter((name) => name.endsWith(".metallb.io"));
      expect(own.map((name) => /[/](\w+)[.]/.exec(name)?.[1]).sort()).toEqual([
        "addresspools",
        "metallbs",
        "servicel2statuses",
        "speakerstatuses",
      ]);
      await cluster.kubectl(["delete", ...own]);
      await cluster.kubectl(["delete", "namespace", PRODUCT_NAMESPACE, NAMESPACE]);
      await olm[Symbol.asyncDispose]();
      await waitFor("nothing left in the cluster", 60, async () => {
        const left = (await leftovers()).filter((name) => !before.includes(name));
        if (left.length > 0) throw new Error(left.join(", "));
        return true;
      });
    },
    6 * MINUTE,
  );
});
