/** The life of an installation on a real cluster, as its owner sees it. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { join } from "node:path";
import type { Condition } from "../../api/condition.ts";
import { parseRenderedConfig } from "../../api/rendered-config.ts";
import type { SpeakerStatusStatus } from "../../api/speaker-status.ts";
import { describeWith } from "../support/requirements.ts";
import { Cluster } from "./cluster.ts";
import { installOperator, PRODUCT_NAMESPACE, waitAvailable } from "./product.ts";
import { waitFor } from "./wait.ts";

const MINUTE = 60_000;
const KUBE_IPVS = "kube-ipvs0";

const metallb = (spec: object = {}, annotations: object = {}) => ({
  apiVersion: "metallb.io/v1beta1",
  kind: "MetalLB",
  metadata: { name: "metallb", namespace: PRODUCT_NAMESPACE, annotations },
  spec,
});

const pool = (name: string, addresses: readonly string[]) => ({
  apiVersion: "metallb.io/v1beta1",
  kind: "AddressPool",
  metadata: { name, namespace: PRODUCT_NAMESPACE },
  spec: { protocol: "layer2", addresses },
});

interface Observed {
  readonly metadata: { readonly uid: string; readonly generation: number };
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly observedGeneration?: number;
    readonly speaker?: object;
    readonly controller?: object;
  };
}

describeWith("netns", "nft")("an installation on the cluster", () => {
  let cluster: Cluster;

  const status = async () =>
    (await cluster.get<Observed>("metallb", "metallb", PRODUCT_NAMESPACE))?.status;

  /** Waits until a condition of the MetalLB object has a status and a reason. */
  async function condition(type: string, answer: string, reason: string): Promise<Condition> {
    let last: unknown;
    return await waitFor(`${type}=${answer} because of ${reason}`, 150, async () => {
      last = (await status())?.conditions;
      const found = (last as readonly Condition[] | undefined)?.find((each) => each.type === type);
      if (found?.status === answer && found.reason === reason) return found;
      throw new Error(JSON.stringify(last));
    });
  }

  async function rebalanceGeneration(): Promise<number> {
    const map = await cluster.get<{ data: { config: string } }>(
      "configmap",
      "config",
      PRODUCT_NAMESPACE,
    );
    const parsed = parseRenderedConfig(map?.data.config ?? "");
    return parsed.ok ? parsed.value.rebalance.generation : -1;
  }

  /** What the speakers say of their nodes, by node. */
  async function speakers(): Promise<Record<string, SpeakerStatusStatus>> {
    const text = await cluster.kubectl([
      "-n",
      PRODUCT_NAMESPACE,
      "get",
      "speakerstatuses",
      "-o",
      "json",
    ]);
    const { items } = JSON.parse(text) as { items: { status?: SpeakerStatusStatus }[] };
    return Object.fromEntries(
      items.flatMap(({ status }) => (status ? [[status.node, status]] : [])),
    );
  }

  async function keysInSecret(): Promise<Readonly<Record<string, string>>> {
    const secret = await cluster.get<{ data: Record<string, string> }>(
      "secret",
      "memberlist",
      PRODUCT_NAMESPACE,
    );
    return secret?.data ?? {};
  }

  let firstKeys: Readonly<Record<string, string>> = {};

  beforeAll(async () => {
    cluster = await Cluster.up();
    await installOperator(cluster);
    await cluster.apply(metallb(), pool("lan", ["172.30.3.0/28"]));
    await waitAvailable(cluster);
  }, 4 * MINUTE);

  afterAll(async () => {
    for (const node of cluster.nodes) await node.exec(["ip", "link", "del", KUBE_IPVS]);
    await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "addresspools", "--all"]);
    await cluster[Symbol.asyncDispose]();
  }, 2 * MINUTE);

  test(
    "is Available with all its pods counted, and nothing stands in its way",
    async () => {
      await condition("Progressing", "False", "Available");
      await condition("Degraded", "False", "Available");
      await condition("Upgradeable", "True", "Available");
      await condition("PreflightPassed", "True", "NothingFound");
      expect(await status()).toMatchObject({
        controller: { desired: 1, updated: 1, ready: 1 },
        speaker: { desired: 3, updated: 3, ready: 3 },
      });
      const said = await speakers();
      expect(Object.keys(said).sort()).toEqual(["node1", "node2", "node3"]);
      expect(said["node1"]).toMatchObject({ hasIPVSInterface: false });
      // what did not answer in time once is asked again
      await waitFor("kube-proxy healthy, as node1's speaker sees it", 60, async () => {
        return (await speakers())["node1"]?.kubeProxy === "Healthy";
      });
      const keys = new Set(Object.values(said).flatMap((each) => each.keys));
      expect(keys.size).toBe(1);
      firstKeys = await keysInSecret();
      // It takes the kubelets a minute to hand out a Secret: the last test looks at what became of it.
      const rotate = ["annotate", "metallb", "metallb", "metallb.io/rotate-key=1"];
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...rotate]);
      await waitFor("the next key", 30, async () => (await keysInSecret())["secretkey-next"]);
    },
    3 * MINUTE,
  );

  test(
    "says what its speakers find out about their nodes",
    async () => {
      const [first] = cluster.nodes;
      await first?.exec(["sysctl", "-w", "net.ipv4.conf.all.arp_ignore=0"]);
      await first?.exec(["ip", "link", "add", KUBE_IPVS, "type", "bridge"]);
      const found = await condition("PreflightPassed", "False", "StrictARPOff");
      expect(found.message).toContain("on node node1:");
      await first?.exec(["sysctl", "-w", "net.ipv4.conf.all.arp_ignore=1"]);
      await condition("PreflightPassed", "True", "NothingFound");
      await first?.exec(["ip", "link", "del", KUBE_IPVS]);

      const host = await cluster.host();
      const script = join(import.meta.dirname, "advertise-vrrp.ts");
      const sent = await host.exec([process.execPath, script]);
      expect(sent).toMatchObject({ status: 0 });
      const heard = await condition("PreflightPassed", "False", "VirtualRouterHeard");
      expect(heard.message).toContain(`51 of ${host.addresses.ipv4}`);
      await host[Symbol.asyncDispose]();
    },
    4 * MINUTE,
  );

  test(
    "says which pools nobody on the LAN can reach, and uses the good ones beside them",
    async () => {
      await cluster.apply(pool("lost", ["198.51.100.0/28"]), pool("round", ["172.30.0.0/24"]));
      const found = await waitFor("both findings", 60, async () => {
        const { message } = await condition("PreflightPassed", "False", "PoolOverlapsCluster");
        return message.includes("PoolNotOnLink") && message;
      });
      expect(found).toContain("198.51.100.0/28 of AddressPool lost: in no network of a node");
      expect(found).toMatch(
        /172.30.0.0\/24 of AddressPool round holds 172.30.0.\d+, an address of node/,
      );
      await condition("Degraded", "False", "Available");
      const text = await cluster.kubectl([
        "-n",
        PRODUCT_NAMESPACE,
        "get",
        "addresspools",
        "-o",
        "json",
      ]);
      const { items } = JSON.parse(text) as { items: Observed[] };
      const inEffect = items.map(
        (each) => each.status?.conditions?.find(({ type }) => type === "InEffect")?.status,
      );
      expect(inEffect).toEqual(["True", "True", "True"]);
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "addresspool", "lost", "round"]);
    },
    3 * MINUTE,
  );

  test(
    "stops a rollout at the first speaker that does not become ready, says so, and goes on when it is mended",
    async () => {
      const before = await rebalanceGeneration();
      await cluster.apply(metallb({ images: { speaker: "metallb-operator:no-such-version" } }));
      const stalled = await condition("Degraded", "True", "RolloutStalled");
      expect(stalled.message).toMatch(/^speaker on node node[123] .*: the rollout stops at 1 of 3/);
      await condition("Progressing", "False", "RolloutStalled");
      await condition("Available", "True", "Available");
      await cluster.apply(metallb());
      await condition("Degraded", "False", "Available");
      await condition("Progressing", "False", "Available");
      await waitFor(
        "a rebalance after the rollout",
        30,
        async () => (await rebalanceGeneration()) > before,
      );
    },
    5 * MINUTE,
  );

  test(
    "asks for a rebalance when it is annotated, and leaves everything as it is while paused",
    async () => {
      const before = await rebalanceGeneration();
      await cluster.apply(metallb({ rebalance: "Manual" }, { "metallb.io/rebalance": "once" }));
      await waitFor("the rebalance", 30, async () => (await rebalanceGeneration()) === before + 1);
      await cluster.apply(metallb({ paused: true }));
      await condition("Progressing", "False", "Paused");
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "configmap", "config"]);
      await cluster.apply(pool("later", ["172.30.3.32/28"]));
      await waitFor("the pool's answer", 30, async () => {
        const seen = await cluster.get<Observed>("addresspool", "later", PRODUCT_NAMESPACE);
        const inEffect = seen?.status?.conditions?.find(({ type }) => type === "InEffect");
        return inEffect?.message.includes("spec.paused");
      });
      expect(await cluster.get("configmap", "config", PRODUCT_NAMESPACE)).toBeUndefined();
      await cluster.apply(metallb({ paused: false }));
      await waitFor(
        "the configuration",
        30,
        async () => (await rebalanceGeneration()) === before + 1,
      );
      await condition("Available", "True", "Available");
    },
    4 * MINUTE,
  );

  test(
    "changes the key of its speakers once all of them have the new one",
    async () => {
      const keys = await waitFor("the new key alone", 180, async () => {
        const found = await keysInSecret();
        return found["secretkey-next"] === undefined && found;
      });
      expect(Object.keys(keys)).toEqual(["secretkey"]);
      expect(keys["secretkey"]).not.toBe(firstKeys["secretkey"]);
      await condition("Progressing", "False", "Available");
    },
    5 * MINUTE,
  );

  test(
    "is made anew when it is deleted and made again at once, and its operator is killed meanwhile",
    async () => {
      const old = await cluster.get<Observed>("metallb", "metallb", PRODUCT_NAMESPACE);
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "metallb", "metallb"]);
      await cluster.apply(metallb());
      const operators = ["delete", "pod", "-l", "control-plane=controller-manager"];
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...operators, "--grace-period=0", "--force"]);
      const uid = (await cluster.get<Observed>("metallb", "metallb", PRODUCT_NAMESPACE))?.metadata
        .uid;
      expect(uid).not.toBe(old?.metadata.uid);
      await condition("Available", "True", "Available");
      await condition("Progressing", "False", "Available");
      for (const child of [
        "configmap/config",
        "secret/memberlist",
        "deployment/controller",
        "daemonset/speaker",
      ]) {
        const [kind = "", name = ""] = child.split("/");
        await waitFor(`${child} of the new object`, 60, async () => {
          const found = await cluster.get<{ metadata: { ownerReferences: { uid: string }[] } }>(
            kind,
            name,
            PRODUCT_NAMESPACE,
          );
          const owners = found?.metadata.ownerReferences.map((owner) => owner.uid) ?? [];
          return owners.length === 1 && owners[0] === uid;
        });
      }
    },
    5 * MINUTE,
  );
});
