import { describe, expect, test } from "@jest/globals";
import { drainRequest, tolerates, type Taint, type Toleration } from "../../../speaker/drain.ts";

const taint = (text: string): Taint => {
  const [head = "", effect = ""] = text.split(":");
  const [key = "", value] = head.split("=");
  return { key, effect, ...(value !== undefined && { value }) };
};

describe("what asks a node to hand its addresses over", () => {
  for (const { name, labels = {}, taints = [], requested = [], asks } of [
    { name: "nothing", asks: undefined },
    {
      name: "the label",
      labels: { "metallb.io/drain": "true" },
      asks: 'label metallb.io/drain: "true"',
    },
    { name: "not the label with another value", labels: { "metallb.io/drain": "false" } },
    {
      name: "not a bare cordon",
      taints: ["node.kubernetes.io/unschedulable:NoSchedule"],
    },
    { name: "not a taint that keeps pods away only", taints: ["gpu=yes:NoSchedule"] },
    {
      name: "the out-of-service taint, whatever its effect",
      taints: ["node.kubernetes.io/out-of-service=nodeshutdown:NoSchedule"],
      asks: "taint node.kubernetes.io/out-of-service=nodeshutdown:NoSchedule",
    },
    {
      name: "the out-of-service taint, also to a speaker that tolerates everything",
      taints: ["node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"],
      requested: [{ operator: "Exists" }],
      asks: "taint node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
    },
    {
      name: "a NoExecute taint that nobody asked to be tolerated",
      taints: ["maintenance:NoExecute"],
      asks: "taint maintenance:NoExecute",
    },
    {
      name: "one that DaemonSets tolerate by themselves",
      taints: ["node.kubernetes.io/unreachable:NoExecute"],
      asks: "taint node.kubernetes.io/unreachable:NoExecute",
    },
    {
      name: "not one that is tolerated by request",
      taints: ["maintenance:NoExecute"],
      requested: [{ key: "maintenance", operator: "Exists" }],
    },
    {
      name: "one of two that is not",
      taints: ["maintenance:NoExecute", "fire:NoExecute"],
      requested: [{ key: "maintenance", operator: "Exists" }],
      asks: "taint fire:NoExecute",
    },
  ] as {
    name: string;
    labels?: Record<string, string>;
    taints?: string[];
    requested?: Toleration[];
    asks?: string;
  }[])
    test(name, () =>
      expect(drainRequest({ labels, taints: taints.map(taint) }, requested)).toBe(asks),
    );
});

describe("a toleration covers a taint as core/v1 has it", () => {
  for (const { toleration, of, covers } of [
    { toleration: { operator: "Exists" }, of: "a=b:NoExecute", covers: true },
    { toleration: { key: "a", operator: "Exists" }, of: "a=b:NoExecute", covers: true },
    { toleration: { key: "b", operator: "Exists" }, of: "a=b:NoExecute", covers: false },
    { toleration: { key: "a", value: "b" }, of: "a=b:NoExecute", covers: true },
    { toleration: { key: "a", value: "c" }, of: "a=b:NoExecute", covers: false },
    { toleration: { key: "a" }, of: "a:NoExecute", covers: true },
    { toleration: { key: "a", effect: "NoSchedule" }, of: "a:NoExecute", covers: false },
    { toleration: { key: "a", effect: "NoExecute" }, of: "a:NoExecute", covers: true },
    { toleration: {}, of: "a:NoExecute", covers: false },
  ])
    test(`${JSON.stringify(toleration)} ${covers ? "covers" : "does not cover"} ${of}`, () =>
      expect(tolerates(toleration, taint(of))).toBe(covers));
});
