/**
 * Why an address is reachable, or not: what speakers decide on the real cluster, and what each of them,
 * the Service, the pool and the metrics say of it.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Verdict } from "../../speaker/verdict.ts";
import { describeWith } from "../support/requirements.ts";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { WEB_CONTAINER } from "./images.ts";
import type { LanHost } from "./lan.ts";
import {
  PRODUCT_NAMESPACE,
  installOperator,
  ownerSeenBy,
  waitAvailable,
  waitForAddresses,
  waitForAnswer,
} from "./product.ts";
import { waitFor } from "./wait.ts";

const NAMESPACE = "verdict-test";
const MINUTE = 60_000;
const PATIENCE = 60;

const METALLB = {
  apiVersion: "metallb.io/v1beta1",
  kind: "MetalLB",
  metadata: { name: "metallb", namespace: PRODUCT_NAMESPACE },
  spec: {},
};

const pool = (name: string, addresses: readonly string[], spec: object = {}) => ({
  apiVersion: "metallb.io/v1beta1",
  kind: "AddressPool",
  metadata: { name: `verdict-${name}`, namespace: PRODUCT_NAMESPACE },
  spec: { protocol: "layer2", addresses, autoAssign: false, ...spec },
});

const POOLS = [
  pool("main", ["172.30.2.0/29"], { announceFrom: "AllNodes" }),
  pool("near", ["172.30.2.8/29"]),
  pool("absent", ["172.30.2.16"], { interfaces: ["eth7"] }),
  pool("nowhere", ["172.30.2.17"], {
    nodeSelectors: [{ matchLabels: { "verdict-test": "nobody" } }],
  }),
  pool("taken", ["172.30.2.32-172.30.2.33"]),
];

const POD = {
  terminationGracePeriodSeconds: 0,
  tolerations: [{ operator: "Exists" }],
  containers: [WEB_CONTAINER],
};

const BACKEND = {
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { name: "web", namespace: NAMESPACE },
  spec: {
    selector: { matchLabels: { app: "web" } },
    template: { metadata: { labels: { app: "web" } }, spec: POD },
  },
};

/** A pod that runs and is never Ready. */
const NEVER_READY = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "never", namespace: NAMESPACE, labels: { app: "never" } },
  spec: {
    ...POD,
    containers: [
      {
        ...POD.containers[0],
        readinessProbe: { tcpSocket: { port: 9 }, periodSeconds: 1 },
      },
    ],
  },
};

const service = (
  name: string,
  from: string,
  { annotations, ...spec }: { annotations?: object } & Record<string, unknown> = {},
) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    name,
    namespace: NAMESPACE,
    annotations: { "metallb.io/address-pool": `verdict-${from}`, ...annotations },
  },
  spec: {
    type: "LoadBalancer",
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080 }],
    ...spec,
  },
});

interface Conditioned {
  readonly status?: {
    readonly conditions?: readonly { type: string; reason: string; message: string }[];
  };
}

interface Quarantining {
  readonly status?: {
    readonly quarantined?: readonly { address: string; hardwareAddress?: string }[];
  };
}

describeWith("netns", "nft")("the verdict", () => {
  let cluster: Cluster;
  let host: LanHost;

  /** What a node's speaker says when it is asked on the node, as people ask it. */
  async function ask(node: ClusterNode, query: string, ...options: string[]): Promise<string> {
    const url = `http://127.0.0.1:17472/verdict?${query}`;
    return (await node.exec(["curl", "--silent", "--max-time", "5", ...options, url])).stdout;
  }

  async function verdictOf(node: ClusterNode, name: string): Promise<Verdict> {
    const query = `service=${NAMESPACE}/${name}`;
    return JSON.parse(await ask(node, query, "-H", "Accept: application/json")) as Verdict;
  }

  /** Waits until the condition Announced has a reason; gives its message. */
  async function announced(name: string, reason: string, seconds = PATIENCE): Promise<string> {
    return await waitFor(`${name}: ${reason}`, seconds, async () => {
      const object = await cluster.get<Conditioned>("service", name, NAMESPACE);
      const found = object?.status?.conditions?.find(({ type }) => type === "metallb.io/Announced");
      return found?.reason === reason && found.message;
    });
  }

  /** The one node of which all speakers say that it owns the address of a Service. */
  async function owner(name: string, but?: ClusterNode): Promise<ClusterNode> {
    const said = await waitFor(`one owner of ${name}`, PATIENCE, async () => {
      const verdicts = await Promise.all(cluster.nodes.map((node) => verdictOf(node, name)));
      const owners = new Set(verdicts.map(({ addresses }) => addresses[0]?.owner));
      const [first] = owners;
      return owners.size === 1 && first !== undefined && first !== but?.name && first;
    });
    return cluster.node(said);
  }

  /** Waits until the owner's status object gives a reason for another node. */
  async function saidOf(name: string, other: ClusterNode, reason: string): Promise<void> {
    const labels = `metallb.io/service-name=${name},metallb.io/service-namespace=${NAMESPACE}`;
    await waitFor(`${reason} of ${other.name}`, PATIENCE, async () => {
      const path = "-o=jsonpath={.items[*].status.addresses[*].otherNodes}";
      const text = await cluster.kubectl([
        ...["-n", PRODUCT_NAMESPACE, "get", "servicel2statuses", "-l", labels, path],
      ]);
      const others = JSON.parse(text) as { node: string; reason: string }[];
      return others.some((each) => each.node === other.name && each.reason === reason);
    });
  }

  beforeAll(async () => {
    cluster = await Cluster.up();
    host = await cluster.host();
    await installOperator(cluster);
    await cluster.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
      METALLB,
      ...POOLS,
      BACKEND,
      NEVER_READY,
    );
    await waitAvailable(cluster);
    await cluster.kubectl(["-n", NAMESPACE, "rollout", "status", "daemonset/web", "--timeout=60s"]);
    await cluster.apply(service("main", "main"));
    const [address = ""] = await waitForAddresses(cluster, "main", 1, NAMESPACE);
    await waitForAnswer(host, address);
  }, 5 * MINUTE);

  afterAll(async () => {
    await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true"]);
    for (const { metadata } of POOLS)
      await cluster.kubectl(["-n", PRODUCT_NAMESPACE, "delete", "addresspool", metadata.name]);
    await cluster[Symbol.asyncDispose]();
  }, 3 * MINUTE);

  test(
    "is given by every speaker alike, on the Service, and by its status object",
    async () => {
      const node = await owner("main");
      expect(await announced("main", "Announced")).toMatch(`is announced by ${node.name} on eth0`);
      for (const each of cluster.nodes) {
        const verdict = await verdictOf(each, "main");
        expect(verdict).toMatchObject({ reason: "Announced", saidBy: each.name });
        const here = each === node ? "Announced" : "LowerRank";
        expect(verdict.addresses[0]?.here.reason).toBe(here);
        expect(verdict.addresses[0]?.nodes).toHaveLength(cluster.nodes.length - 1);
      }
      const [address = ""] = await waitForAddresses(cluster, "main", 1, NAMESPACE);
      expect(await ownerSeenBy(cluster, host, address)).toBe(node.name);
    },
    2 * MINUTE,
  );

  test(
    "is a page for people, and questions that make no sense are told so",
    async () => {
      const [node] = cluster.nodes;
      if (node === undefined) throw new Error("no nodes");
      const text = await ask(node, `service=${NAMESPACE}/main`);
      expect(text).toMatch(`Service ${NAMESPACE}/main, as the speaker of ${node.name} sees it:`);
      expect(text).toMatch(/^ {2}node[123] +(Announced|LowerRank)/m);
      const status = ["-o", "/dev/null", "-w", "%{http_code}"];
      expect(await ask(node, "service=main", ...status)).toBe("400");
      expect(await ask(node, `service=${NAMESPACE}/other`, ...status)).toBe("404");
      expect(await ask(node, `service=${NAMESPACE}/other`)).toMatch(/^NotLoadBalancer: no Service/);
    },
    MINUTE,
  );

  describe("follows endpoints", () => {
    const endpoint = (node: string, conditions: object = { ready: true }) => ({
      addresses: ["172.30.0.250"],
      nodeName: node,
      conditions,
    });
    const setEndpoints = async (...endpoints: readonly object[]): Promise<void> =>
      await cluster.apply({
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: "by-hand",
          namespace: NAMESPACE,
          labels: { "kubernetes.io/service-name": "by-hand" },
        },
        addressType: "IPv4",
        ports: [{ port: 8080, protocol: "TCP" }],
        endpoints,
      });

    test(
      "that come, go, terminate and are elsewhere",
      async () => {
        await cluster.apply(service("by-hand", "near", { selector: null }));
        await waitForAddresses(cluster, "by-hand", 1, NAMESPACE);
        expect(await announced("by-hand", "NoReadyEndpoint")).toMatch(/no endpoint .* is Ready/);
        await setEndpoints(endpoint("node2"), endpoint("node1", { ready: false }));
        expect((await owner("by-hand")).name).toBe("node2");
        await saidOf("by-hand", cluster.node("node1"), "NoLocalReadyEndpoint");
        const going = { ready: false, serving: true, terminating: true };
        await setEndpoints(endpoint("node2", going));
        await announced("by-hand", "Announced");
        await setEndpoints(endpoint("node2", going), endpoint("node3"));
        expect((await owner("by-hand", cluster.node("node2"))).name).toBe("node3");
        await setEndpoints(endpoint("node3", { ready: false, serving: false, terminating: true }));
        await announced("by-hand", "NoReadyEndpoint");
        const local = { selector: null, externalTrafficPolicy: "Local" };
        await cluster.apply(service("by-hand", "near", local));
        await setEndpoints(endpoint("elsewhere"));
        expect(await announced("by-hand", "NoLocalReadyEndpoint")).toMatch(/Local/);
        await setEndpoints(endpoint("node1"));
        expect((await owner("by-hand")).name).toBe("node1");
        await setEndpoints(endpoint("node2"));
        expect((await owner("by-hand", cluster.node("node1"))).name).toBe("node2");
      },
      4 * MINUTE,
    );

    test(
      "that are never Ready and are to be published all the same",
      async () => {
        await cluster.apply(service("never", "near", { selector: { app: "never" } }));
        await waitForAddresses(cluster, "never", 1, NAMESPACE);
        await announced("never", "NoReadyEndpoint");
        const spec = { selector: { app: "never" }, publishNotReadyAddresses: true };
        await cluster.apply(service("never", "near", spec));
        await announced("never", "Announced");
      },
      2 * MINUTE,
    );
  });

  describe("says why no node may announce", () => {
    test(
      "an address of a pool whose interfaces no node has, with each interface",
      async () => {
        await cluster.apply(service("absent", "absent"));
        await waitForAddresses(cluster, "absent", 1, NAMESPACE);
        const message = await announced("absent", "InterfaceNotSelected");
        expect(message).toMatch(/eth7: the pool names it/);
        expect(message).toMatch(/eth0: not among the pool's interfaces/);
      },
      2 * MINUTE,
    );

    test(
      "an address of a pool that selects no node",
      async () => {
        await cluster.apply(service("nowhere", "nowhere"));
        await waitForAddresses(cluster, "nowhere", 1, NAMESPACE);
        expect(await announced("nowhere", "NodeNotSelected")).toMatch(/nodeSelectors/);
      },
      2 * MINUTE,
    );
  });

  describe("goes with what happens to the owner's node", () => {
    for (const { name, begin, end, reason } of [
      {
        name: "kube-proxy answers 503, for the node is about to be removed",
        begin: ["taint", "node", "NODE", "ToBeDeletedByClusterAutoscaler=1:NoSchedule"],
        end: ["taint", "node", "NODE", "ToBeDeletedByClusterAutoscaler-"],
        reason: "DataPlaneNotReady",
      },
      {
        name: "label metallb.io/drain",
        begin: ["label", "node", "NODE", "metallb.io/drain=true"],
        end: ["label", "node", "NODE", "metallb.io/drain-"],
        reason: "Draining",
      },
      {
        name: "taint out-of-service",
        begin: ["taint", "node", "NODE", "node.kubernetes.io/out-of-service=shut:NoSchedule"],
        end: ["taint", "node", "NODE", "node.kubernetes.io/out-of-service-"],
        reason: "Draining",
      },
      {
        name: "label exclude-from-external-load-balancers",
        begin: [
          "label",
          "node",
          "NODE",
          "node.kubernetes.io/exclude-from-external-load-balancers=",
        ],
        end: ["label", "node", "NODE", "node.kubernetes.io/exclude-from-external-load-balancers-"],
        reason: "ExcludedByLabel",
      },
    ])
      test(
        `${name}: another takes over, ${reason}`,
        async () => {
          const node = await owner("main");
          const on = (command: readonly string[]): string[] =>
            command.map((word) => (word === "NODE" ? node.name : word));
          await cluster.kubectl(on(begin));
          try {
            const heir = await owner("main", node);
            await saidOf("main", node, reason);
            expect((await verdictOf(node, "main")).addresses[0]?.here.reason).toBe(reason);
            await cluster.kubectl(on(end));
            await saidOf("main", node, "LowerRank");
            expect((await owner("main")).name).toBe(heir.name);
          } finally {
            await cluster.kubectl(on(end)).catch(() => undefined); // mostly it is gone already
          }
        },
        3 * MINUTE,
      );

    test(
      "a cordon moves nothing",
      async () => {
        const node = await owner("main");
        await cluster.kubectl(["cordon", node.name]);
        try {
          // A speaker that has seen what is written after the cordon has seen the cordon.
          await cluster.apply(service("after", "main"));
          await announced("after", "Announced");
          const said = (await verdictOf(node, "main")).addresses[0]?.here.reason;
          expect(["Announced", "LowerRank"]).toContain(said);
        } finally {
          await node.uncordon();
        }
      },
      2 * MINUTE,
    );

    /** Cuts the owner's link until the others say so; it comes back and takes nothing back. */
    async function cut(): Promise<void> {
      const node = await owner("main");
      await node.cutLink();
      try {
        const others = cluster.nodes.filter((each) => each !== node);
        await waitFor("another owner", PATIENCE, async () => {
          const verdicts = await Promise.all(others.map((each) => verdictOf(each, "main")));
          return verdicts.every(
            ({ addresses: [said] }) =>
              said?.owner !== undefined &&
              said.owner !== node.name &&
              said.nodes.some((each) => each.node === node.name && each.reason === "SpeakerDead"),
          );
        });
        const { here } = (await verdictOf(node, "main")).addresses[0] ?? {};
        expect(here).toMatchObject({
          reason: "NoCarrier",
          message: expect.stringMatching(/eth0: up without carrier/),
        });
      } finally {
        await node.restoreLink();
        await node.waitReady();
      }
      await saidOf("main", node, "LowerRank");
    }

    test(
      "its cable: the others say SpeakerDead, and it says NoCarrier itself",
      async () => {
        // What the others do and what comes back with the link race: several times, then.
        for (let round = 0; round < 5; round++) await cut();
      },
      3 * MINUTE,
    );
  });

  describe("of an address that another host has", () => {
    const ADDRESS = "172.30.2.32";
    const asking = { annotations: { "metallb.io/loadBalancerIPs": ADDRESS } };
    const quarantined = async (): Promise<readonly { address: string }[]> => {
      const name = "verdict-taken";
      const found = await cluster.get<Quarantining>("addresspool", name, PRODUCT_NAMESPACE);
      return found?.status?.quarantined ?? [];
    };

    test(
      "AddressConflict, and the pool does not hand it out before the host has gone",
      async () => {
        await using stranger = await cluster.host();
        await stranger.exec(["ip", "addr", "add", `${ADDRESS}/32`, "dev", "eth0"]);
        const { stdout } = await stranger.exec(["ip", "-json", "link", "show", "eth0"]);
        const mac = (JSON.parse(stdout) as { address: string }[])[0]?.address ?? "none";
        await cluster.apply(service("taken", "taken", asking));
        expect(await announced("taken", "AddressConflict")).toMatch(mac);
        const entry = { address: ADDRESS, hardwareAddress: mac };
        await waitFor("the quarantine", PATIENCE, async () => (await quarantined()).length > 0);
        expect(await quarantined()).toEqual([expect.objectContaining(entry)]);
        const [first] = cluster.nodes;
        if (first === undefined) throw new Error("no nodes");
        await cluster.kubectl(["-n", NAMESPACE, "delete", "service", "taken"]);
        await cluster.apply(service("next", "taken"));
        expect(await waitForAddresses(cluster, "next", 1, NAMESPACE)).toEqual(["172.30.2.33"]);
        // Who insists does not get it either, until a person lifts the mark.
        await cluster.apply(service("taken", "taken", asking));
        await announced("taken", "AddressConflict");
        const lift = [{ op: "remove", path: "/status/quarantined" }];
        await cluster.kubectl([
          ...["-n", PRODUCT_NAMESPACE, "patch", "addresspool", "verdict-taken"],
          ...["--subresource=status", "--type=json", `--patch=${JSON.stringify(lift)}`],
        ]);
        expect(await waitForAddresses(cluster, "taken", 1, NAMESPACE)).toEqual([ADDRESS]);
        await waitFor("the mark again", PATIENCE, async () => (await quarantined()).length > 0);
        await stranger.exec(["ip", "addr", "del", `${ADDRESS}/32`, "dev", "eth0"]);
        // The speaker asks again after a while: no hurry with an address that others have.
        await announced("taken", "Announced", 150);
        await waitFor("no quarantine", PATIENCE, async () => (await quarantined()).length === 0);
      },
      6 * MINUTE,
    );

    test(
      "that comes later: the owner defends it and says so",
      async () => {
        const [address = ""] = await waitForAddresses(cluster, "next", 1, NAMESPACE);
        await waitForAnswer(host, address);
        await using stranger = await cluster.host();
        await stranger.exec(["ip", "addr", "add", `${address}/32`, "dev", "eth0"]);
        const claim = ["arping", "-U", "-c", "1", "-I", "eth0", "-s", address, address];
        await waitFor("the conflict", PATIENCE, async () => {
          await stranger.exec(claim);
          const object = await cluster.get<Conditioned>("service", "next", NAMESPACE);
          return object?.status?.conditions?.some(({ reason }) => reason === "AddressConflict");
        });
        expect(await announced("next", "AddressConflict")).toMatch(/announces and defends it/);
        await stranger.exec(["ip", "addr", "del", `${address}/32`, "dev", "eth0"]);
        await host.forgetNeighbours();
        await waitForAnswer(host, address);
        const node = await owner("next");
        expect(await ownerSeenBy(cluster, host, address)).toBe(node.name);
      },
      3 * MINUTE,
    );
  });

  test(
    "is in the metrics, for whoever may read them",
    async () => {
      const node = await owner("main");
      const url = `https://${node.layout.address().ipv4}:9120/metrics`;
      const read = ["curl", "--silent", "--insecure", "--max-time", "10"];
      const stranger = await host.exec([...read, "-o", "/dev/null", "-w", "%{http_code}", url]);
      expect(stranger.stdout).toBe("401");
      await cluster.apply(
        { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "r", namespace: NAMESPACE } },
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "ClusterRole",
          metadata: { name: NAMESPACE },
          rules: [{ nonResourceURLs: ["/metrics"], verbs: ["get"] }],
        },
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "ClusterRoleBinding",
          metadata: { name: NAMESPACE },
          roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: NAMESPACE },
          subjects: [{ kind: "ServiceAccount", name: "r", namespace: NAMESPACE }],
        },
      );
      const token = (await cluster.kubectl(["-n", NAMESPACE, "create", "token", "r"])).trim();
      const text = (await host.exec([...read, "-H", `Authorization: Bearer ${token}`, url])).stdout;
      await cluster.kubectl(["delete", "clusterrole,clusterrolebinding", NAMESPACE]);
      for (const line of [
        `metallb_speaker_announced{service="${NAMESPACE}/main",protocol="layer2",node="${node.name}",ip="172.30.2.`,
        'metallb_speaker_members{state="active"} 3',
        'metallb_speaker_ownership_changes_total{change="taken",cause="',
        "metallb_speaker_takeover_duration_seconds_count",
        "metallb_speaker_heartbeat_round_trip_seconds_count",
        "metallb_layer2_requests_received{ip=",
        "metallb_layer2_gratuitous_sent{ip=",
      ])
        expect(text).toContain(line);
    },
    2 * MINUTE,
  );
});
