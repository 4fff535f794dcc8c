/** A Service is reached through all three programs, as a user sees it. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { describeWith } from "../support/requirements.ts";
import { Cluster } from "./cluster.ts";
import type { LanHost } from "./lan.ts";
import {
  PRODUCT_NAMESPACE,
  addressesOf,
  installOperator,
  ownerSeenBy,
  waitAvailable,
  waitForAddresses,
  waitForAnswer,
} from "./product.ts";
import { waitFor } from "./wait.ts";
import { webServers } from "./images.ts";

const NAMESPACE = "path-test";
const MINUTE = 60_000;
const POOL = "path-test";
const RANGES = [
  "172.30.1.0/28",
  "172.30.1.32-172.30.1.40",
  "172.30.1.99",
  "fd00:30::1:0/124",
  "fd00:30::1:99",
];

const METALLB = {
  apiVersion: "metallb.io/v1beta1",
  kind: "MetalLB",
  metadata: { name: "metallb", namespace: PRODUCT_NAMESPACE },
  spec: {},
};

const pool = (name: string, addresses: readonly string[]) => ({
  apiVersion: "metallb.io/v1beta1",
  kind: "AddressPool",
  metadata: { name, namespace: PRODUCT_NAMESPACE },
  spec: { protocol: "layer2", addresses, autoAssign: false },
});

/** A web server on every node. */
const BACKEND = webServers(NAMESPACE);

const service = (name: string, spec: object = {}, annotations: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    name,
    namespace: NAMESPACE,
    annotations: { "metallb.io/address-pool": POOL, ...annotations },
  },
  spec: {
    type: "LoadBalancer",
    ipFamilyPolicy: "PreferDualStack",
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080 }],
    ...spec,
  },
});

describeWith("netns", "nft")("a Service on the cluster", () => {
  let cluster: Cluster;
  let host: LanHost;

  beforeAll(async () => {
    cluster = await Cluster.up();
    host = await cluster.host();
    await installOperator(cluster);
    await cluster.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
      METALLB,
      pool(POOL, RANGES),
      BACKEND,
    );
    await waitAvailable(cluster);
    await cluster.kubectl(["-n", NAMESPACE, "rollout", "status", "daemonset/web", "--timeout=60s"]);
  }, 4 * MINUTE);

  afterAll(async () => {
    await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true"]);
    await cluster[Symbol.asyncDispose]();
  }, 2 * MINUTE);

  test(
    "gets the lowest free address of each family and is reached at both",
    async () => {
      await cluster.apply(service("first"));
      const addresses = await waitForAddresses(cluster, "first", 2, NAMESPACE);
      expect(addresses.toSorted()).toEqual(["172.30.1.0", "fd00:30::1:0"]);
      for (const address of addresses) {
        expect(await waitForAnswer(host, address)).toMatch(/^pod=web-/);
        expect(await ownerSeenBy(cluster, host, address)).toMatch(/^node[123]$/);
      }
    },
    2 * MINUTE,
  );

  test(
    "says in kubectl describe from where it is announced",
    async () => {
      const said = await waitFor("the verdict", 30, async () => {
        const text = await cluster.kubectl(["-n", NAMESPACE, "describe", "service", "first"]);
        return /metallb.io\/verdict:[^]*announced by node/.test(text) && text;
      });
      expect(said).toMatch(/metallb.io\/ip-allocated-from-pool: path-test/);
    },
    MINUTE,
  );

  test(
    "with externalTrafficPolicy Local shows the backend the client's own address",
    async () => {
      await cluster.apply(service("local", { externalTrafficPolicy: "Local" }));
      const addresses = await waitForAddresses(cluster, "local", 2, NAMESPACE);
      for (const address of addresses) {
        const seen = address.includes(":") ? `[${host.addresses.ipv6}]` : host.addresses.ipv4;
        expect(await waitForAnswer(host, address)).toContain(`client=${seen}:`);
      }
    },
    2 * MINUTE,
  );

  for (const [family, address] of [
    ["IPv4", "172.30.1.40"],
    ["IPv6", "fd00:30::1:f"],
  ] as const)
    test(
      `with one family, ${family}, gets one address and is reached at it`,
      async () => {
        const name = `only-${family.toLowerCase()}`;
        const spec = { ipFamilyPolicy: "SingleStack", ipFamilies: [family] };
        await cluster.apply(service(name, spec, { "metallb.io/loadBalancerIPs": address }));
        expect(await waitForAddresses(cluster, name, 1, NAMESPACE)).toEqual([address]);
        expect(await waitForAnswer(host, address)).toMatch(/^pod=web-/);
      },
      2 * MINUTE,
    );

  test(
    "gives its address back when it is deleted, and the next one takes it",
    async () => {
      await cluster.apply(service("third"));
      const before = await waitForAddresses(cluster, "third", 2, NAMESPACE);
      await cluster.kubectl(["-n", NAMESPACE, "delete", "service", "third"]);
      await cluster.apply(service("fourth"));
      expect(await waitForAddresses(cluster, "fourth", 2, NAMESPACE)).toEqual(before);
    },
    2 * MINUTE,
  );

  test(
    "is no longer answered for once it is deleted",
    async () => {
      const [address = ""] = await addressesOf(cluster, "fourth", NAMESPACE);
      await waitForAnswer(host, address);
      await cluster.kubectl(["-n", NAMESPACE, "delete", "service", "fourth"]);
      await waitFor("silence", 30, async () => {
        await host.forgetNeighbours();
        return (await host.fetch(address)) === undefined;
      });
    },
    2 * MINUTE,
  );

  test(
    "gets the address that it asks for",
    async () => {
      const wanted = "172.30.1.99,fd00:30::1:99";
      await cluster.apply(service("asking", {}, { "metallb.io/loadBalancerIPs": wanted }));
      const addresses = await waitForAddresses(cluster, "asking", 2, NAMESPACE);
      expect(addresses.toSorted()).toEqual(wanted.split(","));
    },
    MINUTE,
  );

  test(
    "is withdrawn while no endpoint is Ready, and announced again when one is",
    async () => {
      await cluster.apply(service("unready", { selector: { app: "nobody" } }));
      const [address = ""] = await waitForAddresses(cluster, "unready", 2, NAMESPACE);
      await waitFor("the reason", 30, async () => {
        const text = await cluster.kubectl(["-n", NAMESPACE, "describe", "service", "unready"]);
        return text.includes("NoReadyEndpoint");
      });
      expect(await host.fetch(address)).toBeUndefined();
      await cluster.apply(service("unready"));
      await waitForAnswer(host, address);
    },
    2 * MINUTE,
  );

  test(
    "moves to another node when the link of its owner is cut, and is reached there",
    async () => {
      await cluster.apply(service("moving"));
      const [address = ""] = await waitForAddresses(cluster, "moving", 2, NAMESPACE);
      await waitForAnswer(host, address);
      const before = await waitFor("the owner", 10, () => ownerSeenBy(cluster, host, address));
      await cluster.node(before).cutLink();
      try {
        await waitFor("another owner", 90, async () => {
          const owner = await ownerSeenBy(cluster, host, address);
          return owner !== undefined && owner !== before;
        });
        await waitForAnswer(host, address, 90);
      } finally {
        await cluster.node(before).restoreLink();
        await cluster.node(before).waitReady();
      }
    },
    4 * MINUTE,
  );

  test(
    "goes with the MetalLB object, whose children leave nothing behind",
    async () => {
      const kinds =
        "configmaps,deployments,daemonsets,pods,servicel2statuses,secrets,replicasets,controllerrevisions";
      const names = async (): Promise<string[]> => {
        const text = await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "get", kinds, "-o", "name"]);
        return text
          .trim()
          .split("\n")
          .filter((name) => !/kube-root-ca|metallb-operator/.test(name));
      };
      expect(await names()).toContain("daemonset.apps/speaker");
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "metallb", "metallb"]);
      await waitFor("nothing left", 60, async () => (await names()).length === 0);
      const [address = ""] = await addressesOf(cluster, "first", NAMESPACE);
      expect(address).not.toBe("");
      // The controller, the last who may write that, has been told to end by the garbage collector.
      const announced = async (): Promise<string> =>
        cluster.kubectl([
          ...["-n", NAMESPACE, "get", "service", "first", "-o"],
          `jsonpath={.status.conditions[?(@.type=="metallb.io/Announced")].reason}`,
        ]);
      expect(await announced()).toBe("Uninstalled");
      await waitFor("silence", 30, async () => {
        await host.forgetNeighbours();
        return (await host.fetch(address)) === undefined;
      });
      await cluster.apply(METALLB);
      await waitAvailable(cluster);
      await waitForAnswer(host, address);
      await waitFor("word of it", 60, async () => (await announced()) === "Announced");
    },
    4 * MINUTE,
  );
});
