/** One version replaces another while a client goes on opening connections. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { describeWith } from "../support/requirements.ts";
import { Cluster } from "./cluster.ts";
import { run } from "./command.ts";
import { PRODUCT_IMAGE } from "./for-tests.ts";
import { webServers } from "./images.ts";
import type { LanHost } from "./lan.ts";
import { tagImage } from "./olm-images.ts";
import {
  installOperator,
  PRODUCT_NAMESPACE,
  waitAvailable,
  waitForAddresses,
  waitForAnswer,
} from "./product.ts";
import { waitFor } from "./wait.ts";

const NAMESPACE = "upgrade-test";
const MINUTE = 60_000;
const NEW_IMAGE = PRODUCT_IMAGE.replace(/:.*/, ":upgraded");
const MANAGER = "deployment/metallb-operator-controller-manager";
/** Nobody answering for this long is no noise of a busy machine. */
const GAP_MS = 3_000;

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly spec: { readonly containers: readonly { readonly image: string }[] };
    readonly status: { readonly conditions?: readonly { type: string; status: string }[] };
  }[];
}

describeWith(
  "netns",
  "nft",
  "tshark",
)("an upgrade", () => {
  let cluster: Cluster;
  let host: LanHost;
  const inProduct = async (...args: string[]): Promise<string> =>
    await cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...args]);

  /** Waits until all programs run an image and are ready. */
  const upgradedTo = async (image: string): Promise<void> => {
    await waitFor(
      `all programs of ${image}`,
      240,
      async () => {
        const { items } = JSON.parse(await inProduct("get", "pods", "-o", "json")) as Pods;
        const images = new Set(items.map(({ spec }) => spec.containers[0]?.image));
        const ready = items.every(({ status }) =>
          status.conditions?.some((each) => each.type === "Ready" && each.status === "True"),
        );
        return ready && items.length === 5 && images.size === 1 && images.has(image);
      },
      500,
    );
    await inProduct(
      "wait",
      "--for=condition=Progressing=False",
      "metallb/metallb",
      "--timeout=90s",
    );
    await waitAvailable(cluster);
  };

  beforeAll(async () => {
    cluster = await Cluster.up();
    host = await cluster.host();
    await tagImage(cluster, PRODUCT_IMAGE, NEW_IMAGE);
    await installOperator(cluster);
    await cluster.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
      {
        apiVersion: "metallb.io/v1beta1",
        kind: "MetalLB",
        metadata: { name: "metallb", namespace: PRODUCT_NAMESPACE },
        spec: {},
      },
      {
        apiVersion: "metallb.io/v1beta1",
        kind: "AddressPool",
        metadata: { name: NAMESPACE, namespace: PRODUCT_NAMESPACE },
        spec: { protocol: "layer2", addresses: ["172.30.4.0/30"], autoAssign: false },
      },
      webServers(NAMESPACE),
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: {
          name: "web",
          namespace: NAMESPACE,
          annotations: { "metallb.io/address-pool": NAMESPACE },
        },
        spec: {
          type: "LoadBalancer",
          selector: { app: "web" },
          ports: [{ port: 80, targetPort: 8080 }],
        },
      },
    );
    await upgradedTo(PRODUCT_IMAGE);
    await cluster.kubectl(["-n", NAMESPACE, "rollout", "status", "daemonset/web", "--timeout=90s"]);
  }, 6 * MINUTE);

  afterAll(async () => {
    await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    await inProduct("delete", "addresspool", NAMESPACE, "--ignore-not-found");
    await inProduct("set", "image", MANAGER, `operator=${PRODUCT_IMAGE}`);
    await inProduct("rollout", "status", MANAGER, "--timeout=90s");
    await cluster[Symbol.asyncDispose]();
  }, 3 * MINUTE);

  test(
    "loses no connection attempt, and at no time nobody answers",
    async () => {
      const [address = ""] = await waitForAddresses(cluster, "web", 1, NAMESPACE);
      await waitForAnswer(host, address);
      const synAck = `src host ${address} and tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)`;
      const capture = await host.capture(synAck);
      const probe = await host.probe(address, 80, 10, 3_000);
      await inProduct("set", "image", MANAGER, `operator=${NEW_IMAGE}`);
      await upgradedTo(NEW_IMAGE);
      const report = await probe.stop();
      expect(report.attempts).toBeGreaterThan(500);
      expect(report.outages).toEqual([]);
      const read = ["tshark", "-r", await capture.stop(), "-T", "fields", "-e", "frame.time_epoch"];
      const times = (await run(read)).trim().split("\n").map(Number);
      const gaps = times.slice(1).map((time, i) => (time - (times[i] ?? time)) * 1000);
      expect(times.length).toBeGreaterThan(500);
      expect(Math.max(...gaps)).toBeLessThan(GAP_MS);
    },
    6 * MINUTE,
  );
});
