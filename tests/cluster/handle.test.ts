/** The faults that tests make do what they say, and are undone. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";
import { describeWith } from "../support/requirements.ts";
import { Cluster } from "./cluster.ts";
import { CONTROL_HOST, CONTROL_NAMESPACE, lanAddress } from "./layout.ts";
import type { LanHost } from "./lan.ts";
import { attempt } from "./command.ts";
import { waitFor } from "./wait.ts";

const MINUTE = 60_000;
const CONTROL = lanAddress(CONTROL_HOST);

describeWith(
  "netns",
  "nft",
  "tshark",
)("the cluster's handle", () => {
  let cluster: Cluster;
  let host: LanHost;

  beforeAll(async () => {
    cluster = await Cluster.up();
    host = await cluster.host();
  }, 2 * MINUTE);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, MINUTE);

  /** How many of ten pings from one node to another are answered. */
  async function answered(from: string, to: string): Promise<number> {
    const target = cluster.node(to).layout.address().ipv4;
    const ping = ["ping", "-c", "10", "-i", "0.02", "-W", "0.2", "-q", target];
    const { stdout } = await cluster.node(from).exec(ping);
    return Number(/(\d+) received/.exec(stdout)?.[1]);
  }

  test(
    "cuts a node's link and restores it, pods' routes too",
    async () => {
      const node = cluster.node("node2");
      expect(await answered("node1", "node2")).toBe(10);
      await node.cutLink();
      expect(await answered("node1", "node2")).toBe(0);
      await node.restoreLink();
      await waitFor("the node again", 10, async () => (await answered("node1", "node2")) === 10);
      const { stdout } = await node.exec(["ip", "route"]);
      expect(stdout).toMatch(/10\.244\.1\.0\/24 via 172\.30\.0\.11/);
    },
    MINUTE,
  );

  test(
    "parts two groups of nodes and heals them",
    async () => {
      const [one, two, three] = ["node1", "node2", "node3"].map((name) => cluster.node(name));
      {
        await using _parted = await cluster.partition([one!], [two!, three!]);
        expect(await answered("node1", "node2")).toBe(0);
        expect(await answered("node3", "node1")).toBe(0);
        expect(await answered("node2", "node3")).toBe(10);
      }
      expect(await answered("node1", "node2")).toBe(10);
    },
    MINUTE,
  );

  test(
    "loses a share of the frames of a node",
    async () => {
      {
        await using _lossy = await cluster.loss(cluster.node("node1"), 100);
        expect(await answered("node1", "node2")).toBe(0);
      }
      expect(await answered("node1", "node2")).toBe(10);
    },
    MINUTE,
  );

  test(
    "freezes the API server, stops it and starts it",
    async () => {
      const ready = async (): Promise<boolean> => {
        const get = ["get", "--raw", "/readyz", "--request-timeout=500ms"];
        return await cluster.kubectl(get).then(
          (text) => text === "ok",
          () => false,
        );
      };
      cluster.apiServer.pause();
      expect(await ready()).toBe(false);
      cluster.apiServer.resume();
      await waitFor("the API server again", 20, ready);
      await cluster.apiServer.stop();
      expect(await ready()).toBe(false);
      await cluster.apiServer.start();
      expect(await ready()).toBe(true);
    },
    MINUTE,
  );

  test(
    "cuts a node's power and switches it on again",
    async () => {
      const node = cluster.node("node3");
      await node.kill();
      expect(node.running).toBe(false);
      await node.waitReady(false);
      await node.start();
      await node.waitReady();
      expect(node.running).toBe(true);
    },
    2 * MINUTE,
  );

  test(
    "probes and tells each outage",
    async () => {
      const node = cluster.node("node1");
      // kube-proxy's healthz is a web server that every node has
      const probe = await host.probe(node.layout.address().ipv4, 10256);
      await node.cutLink();
      await waitFor(
        "the link down",
        5,
        async () =>
          (await host.exec(["ping", "-c", "1", "-W", "0.1", node.layout.address().ipv4])).status !==
          0,
      );
      await node.restoreLink();
      const outage = await probe.nextOutage(30);
      expect(outage.ended).toBe(true);
      expect(outage.outageMs).toBeGreaterThan(50);
      const report = await probe.stop();
      expect(report.failed).toBeGreaterThan(0);
      expect(report.attempts).toBeGreaterThan(report.failed);
    },
    MINUTE,
  );

  test(
    "captures what the host's interface sees",
    async () => {
      const capture = await host.capture("arp");
      await host.forgetNeighbours();
      await host.exec(["ping", "-c", "1", "-W", "1", CONTROL.ipv4]);
      const file = await capture.stop();
      const { stdout } = await attempt([
        "tshark",
        "-r",
        file,
        "-T",
        "fields",
        "-e",
        "arp.dst.proto_ipv4",
      ]);
      expect(stdout).toContain(CONTROL.ipv4);
      expect(readFileSync(file).length).toBeGreaterThan(24);
    },
    MINUTE,
  );

  test(
    "finds requests in the audit log",
    async () => {
      const since = new Date();
      const name = `audit-${since.getTime()}`;
      await cluster.kubectl(["create", "configmap", name]);
      const found = await waitFor("the request", 10, () => {
        const events = cluster.audit(since, ({ objectRef }) => objectRef?.name === name);
        return events.length > 0 && events;
      });
      expect(found.map(({ verb }) => verb)).toContain("create");
      await cluster.kubectl(["delete", "configmap", name]);
    },
    MINUTE,
  );

  test(
    "is a world of its own: nothing leaves the LAN",
    async () => {
      const { stdout } = await attempt([
        "nsenter",
        `--net=/run/netns/${CONTROL_NAMESPACE}`,
        "ip",
        "route",
        "show",
        "default",
      ]);
      expect(stdout).toBe("");
      const away = await cluster.node("node1").exec(["ping", "-c", "1", "-W", "1", "192.0.2.1"]);
      expect(away.status).not.toBe(0);
    },
    MINUTE,
  );
});
