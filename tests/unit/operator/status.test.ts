import { describe, expect, test } from "@jest/globals";
import type { Condition } from "../../../api/condition.ts";
import type { MetalLBStatus } from "../../../api/metallb.ts";
import {
  controllerReadiness,
  ineffectiveStatus,
  metallbStatus,
  misplaced,
  poolStatus,
  speakerReadiness,
  type Observation,
  type Readiness,
} from "../../../operator/status.ts";
import { addressPool, metallb, NAMESPACE, withMetadata } from "../../support/builders.ts";

const NOW = new Date("2026-01-01T00:00:00Z");
const LATER = new Date("2026-01-01T00:01:00Z");

function controller(ready = 1, desired: number | undefined = 1, updated = 1): Readiness {
  const finished = ready === desired && updated === desired;
  return { component: "controller", desired, updated, ready, finished };
}

function speaker(ready = 3, desired: number | undefined = 3, updated = 3): Readiness {
  const finished = ready === desired && updated === desired;
  return { component: "speaker", desired, updated, ready, finished };
}

function observation(more: Partial<Observation> = {}): Observation {
  return {
    generation: 7,
    version: "1.2.3",
    readiness: [controller(), speaker()],
    images: { controller: "c:1", speaker: "s:1" },
    troubles: [],
    ...more,
  };
}

/** Each condition in short: `Available=True/Available`. */
function inShort({ conditions = [] }: Pick<MetalLBStatus, "conditions">): string[] {
  return conditions.map(({ type, status, reason }) => `${type}=${status}/${reason}`);
}

function conditionOf({ conditions = [] }: MetalLBStatus, type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

const AVAILABLE = metallbStatus(observation(), undefined, NOW);
const foreign = { reason: "ForeignObject", message: "Deployment a/controller" } as const;
const failed = { reason: "ReconcileFailed", message: "applying DaemonSet a/speaker" } as const;

test("a preflight that found nothing is passed", () => {
  const status = metallbStatus(observation({ findings: [] }), undefined, NOW);
  expect(inShort(status)).toContain("PreflightPassed=True/NothingFound");
});

describe("conditions of the MetalLB object", () => {
  for (const { name, readiness, troubles = [], before, expected } of [
    {
      name: "all pods ready: available, and nothing else to tell",
      readiness: [controller(), speaker()],
      expected: [
        "Available=True/Available",
        "Upgradeable=True/Available",
        "Progressing=False/Available",
        "Degraded=False/Available",
      ],
    },
    {
      name: "nothing counted yet: progressing",
      readiness: [controller(0, undefined, 0), speaker(0, undefined, 0)],
      expected: [
        "Available=False/RollingOut",
        "Upgradeable=False/RollingOut",
        "Progressing=True/RollingOut",
        "Degraded=False/RollingOut",
      ],
    },
    {
      name: "one speaker of a first installation is not ready: not available",
      readiness: [controller(), speaker(2)],
      expected: [
        "Available=False/RollingOut",
        "Upgradeable=False/RollingOut",
        "Progressing=True/RollingOut",
        "Degraded=False/RollingOut",
      ],
    },
    {
      name: "one speaker is being replaced: still available",
      readiness: [controller(), speaker(2, 3, 1)],
      before: AVAILABLE,
      expected: [
        "Available=True/Available",
        "Upgradeable=False/RollingOut",
        "Progressing=True/RollingOut",
        "Degraded=False/RollingOut",
      ],
    },
    {
      name: "two speakers are missing: not available any more",
      readiness: [controller(), speaker(1)],
      before: AVAILABLE,
      expected: [
        "Available=False/RollingOut",
        "Upgradeable=False/RollingOut",
        "Progressing=True/RollingOut",
        "Degraded=False/RollingOut",
      ],
    },
    {
      name: "the only speaker is missing: not available any more",
      readiness: [controller(), speaker(0, 1, 1)],
      before: AVAILABLE,
      expected: [
        "Available=False/RollingOut",
        "Upgradeable=False/RollingOut",
        "Progressing=True/RollingOut",
        "Degraded=False/RollingOut",
      ],
    },
    {
      name: "no node is selected: available, since nothing is missing",
      readiness: [controller(), speaker(0, 0, 0)],
      expected: [
        "Available=True/Available",
        "Upgradeable=True/Available",
        "Progressing=False/Available",
        "Degraded=False/Available",
      ],
    },
    {
      name: "a foreign object in the place of the controller: degraded, and not available",
      readiness: [controller(0, undefined, 0), speaker()],
      troubles: [foreign],
      expected: [
        "Available=False/ForeignObject",
        "Upgradeable=False/ForeignObject",
        "Progressing=True/RollingOut",
        "Degraded=True/ForeignObject",
      ],
    },
    {
      name: "a failed apply while all pods run: available and degraded",
      readiness: [controller(), speaker()],
      troubles: [failed],
      expected: [
        "Available=True/Available",
        "Upgradeable=False/ReconcileFailed",
        "Progressing=False/Available",
        "Degraded=True/ReconcileFailed",
      ],
    },
  ]) {
    test(name, () => {
      const status = metallbStatus(observation({ readiness, troubles }), before, NOW);
      expect(inShort(status)).toEqual(expected);
    });
  }

  test("all troubles are named in one message", () => {
    const status = metallbStatus(observation({ troubles: [foreign, failed] }), undefined, NOW);
    expect(conditionOf(status, "Degraded")?.message).toBe(`${foreign.message}; ${failed.message}`);
  });

  test("the transition time moves with the answer and with nothing else", () => {
    const readiness = [controller(), speaker(2, 3, 1)];
    const rolling = metallbStatus(observation({ readiness, generation: 8 }), AVAILABLE, LATER);
    expect(conditionOf(rolling, "Available")).toMatchObject({
      lastTransitionTime: "2026-01-01T00:00:00Z",
      observedGeneration: 8,
      message: "controller: 1 of 1 ready, speaker: 2 of 3 ready, 1 up to date",
    });
    expect(conditionOf(rolling, "Progressing")?.lastTransitionTime).toBe("2026-01-01T00:01:00Z");
  });

  test("the same observation gives the same status at any time", () => {
    expect(metallbStatus(observation(), AVAILABLE, LATER)).toEqual(AVAILABLE);
  });

  test("counts and images of both programs are told", () => {
    expect(AVAILABLE).toMatchObject({
      observedGeneration: 7,
      version: "1.2.3",
      controller: { desired: 1, updated: 1, ready: 1, image: "c:1" },
      speaker: { desired: 3, updated: 3, ready: 3, image: "s:1" },
    });
  });
});

describe("readiness", () => {
  const deployed = { observedGeneration: 2, replicas: 1, updatedReplicas: 1, readyReplicas: 1 };
  const scheduled = {
    observedGeneration: 2,
    desiredNumberScheduled: 2,
    currentNumberScheduled: 2,
    updatedNumberScheduled: 2,
    numberReady: 2,
  };
  const metadata = { generation: 2 };

  for (const { name, readiness, expected } of [
    {
      name: "a Deployment that is not there is not counted",
      readiness: controllerReadiness(undefined),
      expected: { desired: undefined, ready: 0, finished: false },
    },
    {
      name: "a Deployment whose pod is ready is finished",
      readiness: controllerReadiness({ metadata, spec: { replicas: 1 }, status: deployed }),
      expected: { desired: 1, ready: 1, finished: true },
    },
    {
      name: "a Deployment that was changed since it was counted is not finished",
      readiness: controllerReadiness({ metadata: { generation: 3 }, status: deployed }),
      expected: { desired: 1, ready: 1, finished: false },
    },
    {
      name: "a Deployment that still has an old pod is not finished",
      readiness: controllerReadiness({ metadata, status: { ...deployed, replicas: 2 } }),
      expected: { desired: 1, ready: 1, finished: false },
    },
    {
      name: "a DaemonSet without status is not counted",
      readiness: speakerReadiness({ metadata, status: {} }),
      expected: { desired: undefined, ready: 0, finished: false },
    },
    {
      name: "a DaemonSet whose pods are all ready is finished",
      readiness: speakerReadiness({ metadata, status: scheduled }),
      expected: { desired: 2, ready: 2, finished: true },
    },
    {
      name: "a DaemonSet in the middle of an update is not finished",
      readiness: speakerReadiness({
        metadata,
        status: { ...scheduled, updatedNumberScheduled: 1 },
      }),
      expected: { desired: 2, updated: 1, ready: 2, finished: false },
    },
  ]) {
    test(name, () => expect(readiness).toMatchObject(expected));
  }
});

describe("objects in the wrong place", () => {
  test("the one object in the operator's namespace is in the right one", () => {
    expect(misplaced(metallb(), NAMESPACE, "metallb")).toBeUndefined();
    expect(misplaced(addressPool("any", ["192.0.2.1"]), NAMESPACE)).toBeUndefined();
  });

  test("another namespace is the wrong one, and the message names the right one", () => {
    const found = misplaced(metallb(withMetadata({ namespace: "default" })), NAMESPACE, "metallb");
    expect(found).toMatchObject({ reason: "WrongNamespace" });
    expect(found?.message).toContain(NAMESPACE);
  });

  test("another name is the wrong one", () => {
    const found = misplaced(metallb(withMetadata({ name: "second" })), NAMESPACE, "metallb");
    expect(found).toMatchObject({ reason: "WrongName" });
  });

  test("such an object is degraded, and nothing else is said of it", () => {
    const status = ineffectiveStatus({ reason: "WrongName", message: "x" }, 1, undefined, NOW);
    expect(inShort(status)).toEqual([
      "Available=False/WrongName",
      "Upgradeable=False/WrongName",
      "Progressing=False/WrongName",
      "Degraded=True/WrongName",
    ]);
  });
});

describe("the conditions of a pool", () => {
  const inEffect = ["192.0.2.0/24"];
  const valid = {
    reason: "Valid",
    message: "every entry is valid",
    inEffect,
    asWritten: true,
  } as const;
  const fault = { reason: "Overlapping", message: "overlaps", asWritten: false } as const;
  const none = { inEffect: undefined, asWritten: false };

  test.each([
    {
      name: "valid and used",
      seen: valid,
      expected: ["Valid=True/Valid", "InEffect=True/AsWritten"],
    },
    {
      name: "valid, without an installation",
      seen: valid,
      suspension: "uninstalled" as const,
      expected: ["Valid=True/Valid", "InEffect=False/NoEffect"],
      says: "without a MetalLB object",
    },
    {
      name: "valid, edited while all is paused",
      seen: { ...valid, asWritten: false },
      suspension: "paused" as const,
      expected: ["Valid=True/Valid", "InEffect=False/FormerForm"],
      says: "spec.paused",
    },
    {
      name: "valid, made while all is paused",
      seen: { ...valid, ...none },
      suspension: "paused" as const,
      expected: ["Valid=True/Valid", "InEffect=False/NoEffect"],
      says: "spec.paused",
    },
    {
      name: "edited into error",
      seen: { ...fault, inEffect },
      expected: ["Valid=False/Overlapping", "InEffect=False/FormerForm"],
      says: "192.0.2.0/24",
    },
    {
      name: "in error from the start",
      seen: { ...fault, ...none },
      expected: ["Valid=False/Overlapping", "InEffect=False/NoEffect"],
      says: "overlaps",
    },
  ])("of one that is $name", ({ seen, suspension, expected, says = "" }) => {
    const status = poolStatus(seen, suspension, 4, undefined, NOW);
    expect(inShort(status)).toEqual(expected);
    expect(status.conditions?.map(({ message }) => message).join()).toContain(says);
    expect(status.conditions?.[0]?.observedGeneration).toBe(4);
  });

  test("conditions that others wrote are not taken over", () => {
    const other = { type: "Other", status: "True", reason: "A", message: "" } as const;
    const before = { conditions: [{ ...other, lastTransitionTime: "2026-01-01T00:00:00Z" }] };
    const { conditions = [] } = poolStatus(valid, undefined, 4, before, NOW);
    expect(conditions.map(({ type }) => type)).toEqual(["Valid", "InEffect"]);
  });
});

describe("what does not go on", () => {
  const stuck = [{ pod: "speaker-x", node: "node-2", why: "ImagePullBackOff: no such image" }];

  test("a speaker of a new version that does not become ready stops the rollout, and says so", () => {
    const readiness = [controller(), speaker(2, 3, 1)];
    const status = metallbStatus(
      observation({ readiness, hindrances: { speaker: stuck } }),
      AVAILABLE,
      NOW,
    );
    expect(inShort(status)).toEqual([
      "Available=True/Available",
      "Upgradeable=False/RolloutStalled",
      "Progressing=False/RolloutStalled",
      "Degraded=True/RolloutStalled",
    ]);
    expect(conditionOf(status, "Degraded")?.message).toBe(
      "speaker on node node-2 (pod speaker-x) does not become ready: ImagePullBackOff: no such image: the rollout stops at 1 of 3 until this is mended",
    );
  });

  test("a pod that fails beside no rollout is no stalled rollout", () => {
    const readiness = [controller(), speaker(2, 3, 3)];
    const status = metallbStatus(
      observation({ readiness, hindrances: { speaker: stuck } }),
      AVAILABLE,
      NOW,
    );
    expect(conditionOf(status, "Degraded")).toMatchObject({
      status: "True",
      reason: "PodsNotReady",
    });
  });

  test("pods that wait for somebody to delete them are counted, and the remedy told", () => {
    const readiness = [controller(), { ...speaker(3, 3, 1), waits: true }];
    const progressing = conditionOf(
      metallbStatus(observation({ readiness }), AVAILABLE, NOW),
      "Progressing",
    );
    expect(progressing?.status).toBe("True");
    expect(progressing?.message).toContain("1 up to date: delete the pods");
  });

  test("a key that is not taken up yet is told, with who has not", () => {
    const status = metallbStatus(observation({ keyLaggards: ["node-1"] }), AVAILABLE, NOW);
    expect(conditionOf(status, "Progressing")).toMatchObject({
      status: "True",
      reason: "RotatingKey",
      message: expect.stringContaining("by node-1"),
    });
    expect(conditionOf(status, "Degraded")?.status).toBe("False");
  });

  test("findings are told with their reasons, the gravest first, and change nothing else", () => {
    const findings = [
      { reason: "StrictARPOff", message: "a" },
      { reason: "PoolNotOnLink", message: "b" },
    ] as const;
    const status = metallbStatus(observation({ findings }), AVAILABLE, NOW);
    expect(conditionOf(status, "PreflightPassed")).toMatchObject({
      status: "False",
      reason: "StrictARPOff",
      message: "StrictARPOff: a; PoolNotOnLink: b",
    });
    const healthy = metallbStatus(observation({ findings: [] }), AVAILABLE, NOW);
    expect(inShort(healthy)).toEqual([...inShort(AVAILABLE), "PreflightPassed=True/NothingFound"]);
  });

  test("while all is paused nothing progresses and nothing is to be upgraded", () => {
    const status = metallbStatus(observation({ paused: true }), AVAILABLE, NOW);
    expect(inShort(status)).toEqual([
      "Available=True/Available",
      "Upgradeable=False/Paused",
      "Progressing=False/Paused",
      "Degraded=False/Available",
    ]);
  });
});
