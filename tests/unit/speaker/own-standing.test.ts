import { expect, test } from "@jest/globals";
import { OwnStanding } from "../../../speaker/own-standing.ts";
import type { Command } from "../../../speaker/thread-protocol.ts";
import { ViewVersions, versionOf } from "../../../speaker/versions.ts";

function standing() {
  const posted: Command[] = [];
  const options = {
    tolerations: [{ key: "gpu", operator: "Exists" }],
    post: (command: Command) => void posted.push(command),
    logger: { info: () => undefined },
  };
  return { posted, own: new OwnStanding(options), take: () => posted.splice(0) };
}

const ETH0 = { name: "eth0" };
const NO_CARRIER = { name: "eth0", reason: "NoCarrier", why: "up without carrier" } as const;

test("a node whose kube-proxy is not ready hands over, says why, and comes back", () => {
  const { own, take } = standing();
  own.interfacesChanged([ETH0]);
  expect(take()).toEqual([]);
  own.dataPlaneChanged(false);
  expect(take()).toEqual([
    { kind: "plight", plight: "DataPlaneNotReady" },
    { kind: "drain", on: true },
  ]);
  own.dataPlaneChanged(true);
  expect(take()).toEqual([{ kind: "plight" }, { kind: "drain", on: false }]);
});

test("a drain that is requested by label or taint goes on until none is left", () => {
  const { own, take } = standing();
  const taints = [{ key: "fire", effect: "NoExecute" }];
  own.nodeChanged({ labels: { "metallb.io/drain": "true" }, taints: [] });
  expect(take()).toEqual([
    { kind: "plight", plight: "Draining" },
    { kind: "drain", on: true },
  ]);
  own.nodeChanged({ labels: { "metallb.io/drain": "true" }, taints });
  own.nodeChanged({ labels: {}, taints });
  own.nodeChanged({ labels: { unrelated: "" }, taints });
  expect(take()).toEqual([]);
  own.nodeChanged({ labels: {}, taints: [{ key: "gpu", effect: "NoExecute" }] });
  expect(take()).toEqual([{ kind: "plight" }, { kind: "drain", on: false }]);
});

test("links that are gone are told; they are no drain", () => {
  const { own, take } = standing();
  own.interfacesChanged([NO_CARRIER]);
  expect(take()).toEqual([{ kind: "plight", plight: "NoCarrier" }]);
  own.interfacesChanged([]);
  expect(take()).toEqual([{ kind: "plight", plight: "NoUsableInterface" }]);
  own.interfacesChanged([ETH0]);
  expect(take()).toEqual([{ kind: "plight" }]);
});

test("versions are told when they are others, and nonsense is 0", () => {
  const posted: Command[] = [];
  let texts: (string | undefined)[] = ["12", undefined, "9007199254740993", "x"];
  const versions = new ViewVersions(
    () => texts,
    (command) => posted.push(command),
  );
  versions.tell();
  versions.tell();
  texts = ["13", "1", "2", "3"];
  versions.tell();
  expect(posted).toEqual([
    { kind: "versions", versions: [12n, 0n, 9007199254740993n, 0n] },
    { kind: "versions", versions: [13n, 1n, 2n, 3n] },
  ]);
  expect(versionOf("-1")).toBe(0n);
});
