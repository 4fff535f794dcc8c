/** What goes when it goes: the MetalLB object alone, or the whole operator. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { join } from "node:path";
import { describeWith } from "../support/requirements.ts";
import { refusals, rightsGranted, rightsUnused } from "../support/rights.ts";
import { Cluster } from "./cluster.ts";
import { differences, dump, leases, type Dump, type Dumped } from "./dump.ts";
import { WEB_IMAGE } from "./images.ts";
import type { LanHost } from "./lan.ts";
import {
  addressesOf,
  installOperator,
  PRODUCT_NAMESPACE,
  removeOperator,
  waitAvailable,
  waitForAddresses,
  waitForAnswer,
} from "./product.ts";
import { waitFor } from "./wait.ts";

const NAMESPACE = "uninstall-test";
const POOL = "uninstall-test";
const MINUTE = 60_000;
const METALLB = {
  apiVersion: "metallb.io/v1beta1",
  kind: "MetalLB",
  metadata: { name: "metallb", namespace: PRODUCT_NAMESPACE },
  spec: {},
};
const ADDRESS_POOL = {
  apiVersion: "metallb.io/v1beta1",
  kind: "AddressPool",
  metadata: { name: POOL, namespace: PRODUCT_NAMESPACE },
  spec: { protocol: "layer2", addresses: ["172.30.3.0/29"] },
};
const BACKEND = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", namespace: NAMESPACE, labels: { app: "web" } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "web", image: WEB_IMAGE, imagePullPolicy: "Never" }],
  },
};
const SERVICE = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace: NAMESPACE },
  spec: {
    type: "LoadBalancer",
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080 }],
  },
};

interface ServiceObject {
  readonly status?: {
    readonly conditions?: readonly { type: string; status: string; reason: string }[];
  };
}

describeWith("netns", "nft")("uninstalling", () => {
  let cluster: Cluster;
  let host: LanHost;
  let bare: Dump;
  let installed: Date;

  /** Waits until nothing differs any more, and says what does. */
  const sameAs = async (
    before: Dump,
    seconds: number,
    read: () => Promise<Dump>,
  ): Promise<void> => {
    await waitFor("the cluster being as it was", seconds, async () => {
      const left = differences(before, await read());
      if (left.length > 0) throw new Error(left.join("\n"));
      return true;
    });
  };

  beforeAll(async () => {
    cluster = await Cluster.up();
    host = await cluster.host();
    await removeOperator(cluster);
    await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    bare = await dump(cluster);
    installed = new Date();
    await installOperator(cluster);
    await cluster.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
      ADDRESS_POOL,
      BACKEND,
      SERVICE,
    );
    const ready = ["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"];
    await cluster.kubectl(["-n", NAMESPACE, ...ready]);
  }, 5 * MINUTE);

  afterAll(async () => {
    await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    await cluster[Symbol.asyncDispose]();
  }, 2 * MINUTE);

  test(
    "deleting the MetalLB object removes all that it made and nothing else",
    async () => {
      // What users made stays; that its status moves is looked at below.
      const stable = ({ kind, metadata }: Pick<Dumped, "kind" | "metadata">): boolean =>
        kind !== "AddressPool" && metadata.namespace !== NAMESPACE;
      const before = await dump(cluster, stable);
      await cluster.apply(METALLB);
      await waitAvailable(cluster);
      const addresses = await waitForAddresses(cluster, "web", 1, NAMESPACE);
      for (const address of addresses) await waitForAnswer(host, address);
      expect(differences(before, await dump(cluster, stable))).not.toEqual([]);
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "metallb", "metallb"]);
      await sameAs(before, 90, () => dump(cluster, stable));
      // leases are in no dump, for they change all the time
      await waitFor("only the operator's Lease being left", 60, async () => {
        const left = await leases(cluster, PRODUCT_NAMESPACE);
        if (left.length !== 1) throw new Error(left.join());
        return true;
      });
      const pool = await cluster.get("addresspool", POOL, PRODUCT_NAMESPACE);
      expect(pool).toMatchObject({ spec: ADDRESS_POOL.spec });
      expect(await cluster.get("pod", "web", NAMESPACE)).toMatchObject({
        metadata: BACKEND.metadata,
      });
      expect(await addressesOf(cluster, "web", NAMESPACE)).toEqual(addresses);
      const service = await cluster.get<ServiceObject>("service", "web", NAMESPACE);
      const announced = service?.status?.conditions?.find(({ type }) => type.endsWith("Announced"));
      expect(announced).toMatchObject({ status: "False", reason: "Uninstalled" });
      for (const address of addresses) {
        await host.forgetNeighbours();
        expect(await host.fetch(address)).toBeUndefined();
      }
    },
    5 * MINUTE,
  );

  test(
    "until then nobody asked for what it may not do, and speakers used all that they may",
    async () => {
      const by = (account: string) =>
        cluster.audit(
          installed,
          ({ user }) => user.username === `system:serviceaccount:${PRODUCT_NAMESPACE}:${account}`,
        );
      for (const account of ["metallb-operator", "controller", "speaker"]) {
        expect(by(account).length).toBeGreaterThan(10);
        expect(refusals(by(account))).toEqual([]);
      }
      await cluster.kubectl(["-n", NAMESPACE, "delete", "service", "web"]);
      await cluster.apply(METALLB, SERVICE);
      await waitAvailable(cluster);
      const [address = ""] = await waitForAddresses(cluster, "web", 1, NAMESPACE);
      await waitForAnswer(host, address);
      await cluster.kubectl(["-n", NAMESPACE, "delete", "service", "web"]);
      // Reviews are for whoever asks for metrics, whom other tests are.
      const granted = rightsGranted("config/rbac/speaker.yaml").filter(
        (right) => !right.endsWith("reviews"),
      );
      await waitFor("all rights of speakers used", 60, () => {
        const unused = rightsUnused(granted, by("speaker"));
        if (unused.length > 0) throw new Error(unused.join(", "));
        return true;
      });
      await cluster.apply(SERVICE);
    },
    3 * MINUTE,
  );

  test(
    "kubectl delete -k config/default with a MetalLB object in place ends within a minute, and all is as it was",
    async () => {
      await cluster.apply(METALLB);
      await waitAvailable(cluster);
      const addresses = await waitForAddresses(cluster, "web", 1, NAMESPACE);
      for (const address of addresses) await waitForAnswer(host, address);
      const config = join(import.meta.dirname, "../../config/default");
      await cluster.kubectl(["delete", "-k", config, "--wait=true", "--timeout=60s"]);
      await cluster.kubectl(["delete", "namespace", NAMESPACE]);
      await sameAs(bare, 60, () => dump(cluster));
    },
    5 * MINUTE,
  );

  test(
    "it can be installed again, and serves again",
    async () => {
      await installOperator(cluster);
      await cluster.apply(METALLB);
      await waitAvailable(cluster);
      expect(await leases(cluster, PRODUCT_NAMESPACE)).toHaveLength(2);
    },
    3 * MINUTE,
  );
});
