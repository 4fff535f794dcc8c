/** Ours and MetalLB on one cluster, each with the same Services under a class and a pool of its own. */
import type { Cluster, ClusterNode } from "../../tests/cluster/cluster.ts";
import { FailoverScene, poolNamed } from "../../tests/cluster/failover.ts";
import { installOperator, PRODUCT_NAMESPACE, waitAvailable } from "../../tests/cluster/product.ts";
import { waitFor } from "../../tests/cluster/wait.ts";
import { installPeer, makePeerPool, PEER_CLASS, PEER_NAMESPACE } from "./peer.ts";

/** One of the two. */
export interface Contender {
  readonly side: "ours" | "peer";
  readonly loadBalancerClass: string;
  readonly namespace: string;
  /** The port of its speakers' talk. */
  readonly memberPort: number;
  readonly scene: FailoverScene;
  /** Makes one more pool. */
  readonly makePool: (name: string, addresses: readonly string[]) => Promise<void>;
  /** Number of the speaker's process on a node. */
  speakerOn(node: ClusterNode): number;
  /** Waits until what failed takes part again. */
  recovered(): Promise<void>;
}

const OUR_CLASS = "bench.example/ours";

function speakerOn(word: string): (node: ClusterNode) => number {
  return (node) => {
    const [pid] = node.processes(word);
    if (pid === undefined) throw new Error(`no process ${word} on ${node.name}`);
    return pid;
  };
}

/** Installs ours, and its Services. */
export async function installOurs(cluster: Cluster): Promise<Contender> {
  await installOperator(cluster);
  await cluster.apply({
    apiVersion: "metallb.io/v1beta1",
    kind: "MetalLB",
    metadata: { name: "metallb", namespace: PRODUCT_NAMESPACE },
    spec: { loadBalancerClass: OUR_CLASS },
  });
  await waitAvailable(cluster, 300);
  const makePool = (name: string, addresses: readonly string[]): Promise<void> =>
    cluster.apply(poolNamed(name, addresses));
  const pool = "bench-ours";
  const scene = await FailoverScene.open(cluster, {
    pool,
    block: 16,
    loadBalancerClass: OUR_CLASS,
    makePool: (addresses) => makePool(pool, addresses),
  });
  return {
    side: "ours",
    loadBalancerClass: OUR_CLASS,
    namespace: PRODUCT_NAMESPACE,
    memberPort: 7946,
    scene,
    makePool,
    speakerOn: speakerOn("speaker"),
    recovered: () => scene.whole(),
  };
}

/** Installs MetalLB, and its Services. */
export async function installTheirs(cluster: Cluster): Promise<Contender> {
  await installPeer(cluster);
  const makePool = (name: string, addresses: readonly string[]): Promise<void> =>
    makePeerPool(cluster, name, addresses);
  const pool = "bench-peer";
  const scene = await FailoverScene.open(cluster, {
    pool,
    block: 24,
    loadBalancerClass: PEER_CLASS,
    makePool: (addresses) => makePool(pool, addresses),
  });
  const [first] = cluster.nodes;
  return {
    side: "peer",
    loadBalancerClass: PEER_CLASS,
    namespace: PEER_NAMESPACE,
    memberPort: 7947,
    scene,
    makePool,
    speakerOn: speakerOn("/metallb-speaker"),
    // its addresses go back to the first node by rank as soon as that is back
    recovered: async () => {
      for (const { address } of scene.subjects)
        await waitFor(`${address} back at ${first?.name ?? ""}`, 120, async () => {
          return (await scene.ownerOf(address)) === first;
        });
    },
  };
}
