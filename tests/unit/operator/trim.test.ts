import { expect, test } from "@jest/globals";
import { trimDaemonSet, trimNode, trimPod } from "../../../operator/trim.ts";

const metadata = {
  name: "a",
  uid: "u",
  resourceVersion: "1",
  labels: { app: "b" },
  annotations: { much: "text" },
};
const identity = { name: "a", uid: "u", resourceVersion: "1", labels: { app: "b" } };

test("of a Node labels, networks and addresses are kept, no heartbeats", () => {
  const addresses = [{ type: "InternalIP", address: "192.0.2.1" }];
  const conditions = [{ type: "Ready", status: "True", lastHeartbeatTime: "2026-01-01T00:00:00Z" }];
  const node = {
    metadata,
    spec: { podCIDRs: ["10.0.0.0/24"], providerID: "x" },
    status: { addresses, conditions },
  };
  expect(trimNode(node)).toEqual({
    apiVersion: "v1",
    kind: "Node",
    metadata: identity,
    spec: { podCIDRs: ["10.0.0.0/24"] },
    status: { addresses },
  });
  expect(trimNode({ metadata: { name: "a" } })).toEqual({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "a" },
  });
});

test("of a Pod the node and what tells whether it is ready are kept", () => {
  const conditions = [{ type: "Ready", status: "False" }];
  const pod = {
    metadata: { ...metadata, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { nodeName: "node-1", containers: [{ name: "c", image: "i" }] },
    status: { conditions, hostIP: "192.0.2.1" },
  };
  expect(trimPod(pod)).toEqual({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...identity, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { nodeName: "node-1", containers: [] },
    status: { conditions },
  });
});

test("of a DaemonSet of others the images are kept, of the operator's namespace everything", () => {
  const daemonSet = (namespace: string) => ({
    metadata: { ...metadata, namespace },
    spec: {
      selector: { matchLabels: { a: "b" } },
      template: { spec: { containers: [{ name: "c", image: "i", args: ["x"] }] } },
    },
    status: {
      currentNumberScheduled: 1,
      desiredNumberScheduled: 1,
      numberMisscheduled: 0,
      numberReady: 1,
    },
  });
  const trim = trimDaemonSet("metallb-system");
  expect(trim(daemonSet("metallb-system"))).toEqual(daemonSet("metallb-system"));
  expect(trim(daemonSet("kube-system"))).toEqual({
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { ...identity, namespace: "kube-system" },
    spec: { selector: {}, template: { spec: { containers: [{ name: "c", image: "i" }] } } },
  });
});
