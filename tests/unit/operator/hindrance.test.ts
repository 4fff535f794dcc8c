import { expect, test } from "@jest/globals";
import { findHindrances, type ObservedPod } from "../../../operator/hindrance.ts";

const NOW = new Date("2026-01-01T00:02:00Z");

function pod(
  status: ObservedPod["status"],
  metadata: Partial<ObservedPod["metadata"]> = {},
): ObservedPod {
  return {
    metadata: {
      name: "speaker-x",
      labels: { component: "speaker" },
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...metadata,
    },
    spec: { nodeName: "node-1" },
    status,
  };
}

const ready = (status: string, lastTransitionTime: string, message = "") => ({
  conditions: [{ type: "Ready", status, lastTransitionTime, message }],
});

test.each([
  { name: "ready", one: pod(ready("True", "2026-01-01T00:00:00Z")) },
  {
    name: "not ready for a short time",
    one: pod(ready("False", "2026-01-01T00:01:30Z")),
    again: 30_000,
  },
  {
    name: "not ready for long",
    one: pod(ready("False", "2026-01-01T00:01:00Z", "containers with unready status: [speaker]")),
    why: "containers with unready status: [speaker]",
  },
  {
    name: "silent since it was made",
    one: pod(undefined),
    why: "not ready for more than a minute",
  },
  {
    name: "without a node",
    one: pod({ conditions: [{ type: "PodScheduled", status: "False", message: "0/3 nodes" }] }),
    why: "0/3 nodes",
  },
  {
    name: "without an image, at once",
    one: pod({
      ...ready("False", "2026-01-01T00:01:59Z"),
      containerStatuses: [{ state: { waiting: { reason: "ErrImagePull", message: "gone" } } }],
    }),
    why: "ErrImagePull: gone",
  },
  {
    name: "crashing, with its last words",
    one: pod({
      ...ready("False", "2026-01-01T00:01:59Z"),
      containerStatuses: [
        {
          state: { waiting: { reason: "CrashLoopBackOff", message: "back-off" } },
          lastState: { terminated: { exitCode: 2, message: "error: no key\nat main" } },
        },
      ],
    }),
    why: "CrashLoopBackOff: error: no key",
  },
  {
    name: "being deleted",
    one: pod(ready("False", "2026-01-01T00:00:00Z"), { deletionTimestamp: "2026-01-01T00:00:00Z" }),
  },
  {
    name: "evicted, and replaced long since",
    one: pod({ ...ready("False", "2026-01-01T00:00:00Z"), phase: "Failed" }),
  },
  {
    name: "of another program",
    one: pod(ready("False", "2026-01-01T00:00:00Z"), { labels: { component: "controller" } }),
  },
])("a pod that is $name", ({ one, why, again }) => {
  const { found, lookAgainMs } = findHindrances([one], "speaker", NOW);
  expect(found.map((each) => each.why)).toEqual(why === undefined ? [] : [why]);
  expect(lookAgainMs).toBe(again);
});
