/** The closed set of reasons: each is in the runbook, and each is produced by a test. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import {
  ADDRESS_REASONS,
  NODE_REASONS,
  OBJECT_REASONS,
  PREFLIGHT_REASONS,
  SERVICE_REASONS,
} from "../../../api/reason.ts";

const TREE = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(TREE, path), "utf8");
const ALL = [
  ...new Set([
    ...NODE_REASONS,
    ...ADDRESS_REASONS,
    ...SERVICE_REASONS,
    ...OBJECT_REASONS,
    ...PREFLIGHT_REASONS,
  ]),
];

/**
 * The file in which each is expected of the real thing as far as possible: the cluster, then a LAN of
 * namespaces, then a real API server, then the pure parts. A new reason does not compile without.
 */
const PRODUCED: Readonly<Record<(typeof ALL)[number], string>> = {
  Announced: "tests/cluster/verdict.test.ts",
  LowerRank: "tests/cluster/verdict.test.ts",
  NoLocalReadyEndpoint: "tests/cluster/verdict.test.ts",
  ExcludedByLabel: "tests/cluster/verdict.test.ts",
  NetworkUnavailable: "tests/unit/speaker/election.test.ts",
  NodeNotSelected: "tests/cluster/verdict.test.ts",
  DataPlaneNotReady: "tests/cluster/verdict.test.ts",
  NoUsableInterface: "tests/unit/speaker/reconcile.test.ts",
  NoCarrier: "tests/cluster/verdict.test.ts",
  InterfaceNotSelected: "tests/cluster/verdict.test.ts",
  SpeakerDead: "tests/cluster/verdict.test.ts",
  SpeakerMissing: "tests/unit/speaker/reconcile.test.ts",
  Draining: "tests/cluster/verdict.test.ts",
  Isolated: "tests/link/reasons.test.ts",
  ConfigurationNotRead: "tests/unit/speaker/reconcile.test.ts",
  PeerUnreachableButAnswering: "tests/link/reasons.test.ts",
  NotAnswering: "tests/link/reasons.test.ts",
  Probing: "tests/link/reasons.test.ts",
  AddressConflict: "tests/cluster/verdict.test.ts",
  Assigned: "tests/unit/controller/convergence.test.ts",
  NoReadyEndpoint: "tests/cluster/verdict.test.ts",
  ClassMismatch: "tests/unit/speaker/reconcile.test.ts",
  NotLoadBalancer: "tests/cluster/verdict.test.ts",
  NoPool: "tests/apiserver/controller.test.ts",
  PoolExhausted: "tests/unit/controller/allocator.test.ts",
  AddressInUse: "tests/unit/controller/allocator.test.ts",
  AddressNotInPool: "tests/apiserver/controller.test.ts",
  FamilyMismatch: "tests/apiserver/controller.test.ts",
  SharingRefused: "tests/unit/controller/allocator.test.ts",
  PoolInvalid: "tests/unit/controller/convergence.test.ts",
  InvalidRequest: "tests/apiserver/controller.test.ts",
  Uninstalled: "tests/apiserver/controller-lease.test.ts",
  Available: "tests/apiserver/operator.test.ts",
  Valid: "tests/apiserver/operator.test.ts",
  RollingOut: "tests/apiserver/operator.test.ts",
  ReconcileFailed: "tests/apiserver/operator.test.ts",
  ForeignObject: "tests/apiserver/operator.test.ts",
  WrongNamespace: "tests/apiserver/operator.test.ts",
  WrongName: "tests/unit/operator/status.test.ts",
  Invalid: "tests/unit/operator/config.test.ts",
  Overlapping: "tests/apiserver/operator.test.ts",
  UnsupportedProtocol: "tests/unit/operator/config.test.ts",
  RolloutStalled: "tests/cluster/operator.test.ts",
  PodsNotReady: "tests/unit/operator/status.test.ts",
  RotatingKey: "tests/unit/operator/status.test.ts",
  Paused: "tests/cluster/operator.test.ts",
  NothingFound: "tests/cluster/operator.test.ts",
  AsWritten: "tests/unit/operator/status.test.ts",
  FormerForm: "tests/unit/operator/status.test.ts",
  NoEffect: "tests/unit/operator/status.test.ts",
  PodSecurityTooStrict: "tests/unit/operator/preflight.test.ts",
  OtherAnnouncer: "tests/unit/operator/preflight.test.ts",
  StrictARPOff: "tests/cluster/operator.test.ts",
  AllNodesExcluded: "tests/unit/operator/preflight.test.ts",
  PoolOverlapsCluster: "tests/cluster/operator.test.ts",
  PoolNotOnLink: "tests/unit/operator/preflight.test.ts",
  VirtualRouterHeard: "tests/cluster/operator.test.ts",
  KubeProxyUnhealthy: "tests/unit/operator/preflight.test.ts",
  StrictReversePathFilter: "tests/unit/operator/preflight.test.ts",
};

describe("every reason", () => {
  test("is produced by a test that expects it by its word, and by no word that is none", () => {
    expect(Object.keys(PRODUCED).toSorted()).toEqual(ALL.toSorted());
    const missing = Object.entries(PRODUCED).filter(
      ([reason, file]) => !new RegExp(`["'/^]${reason}\\b`).test(read(file)),
    );
    expect(missing).toEqual([]);
  });

  test("has a row of its own in the runbook: cause and remedy", () => {
    const rows = new Set(
      [...read("docs/runbook.md").matchAll(/^\| `(\w+)` +\|[^|]+\w[^|]+\|[^|]+\w/gm)].map(
        ([, reason = ""]) => reason,
      ),
    );
    expect(ALL.filter((reason) => !rows.has(reason))).toEqual([]);
  });
});
