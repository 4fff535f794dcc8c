/** Every variant of `config/` is accepted by a real API server, whole. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { describeWith } from "../support/requirements.ts";

const TREE = join(import.meta.dirname, "../..");
const TEST_TIMEOUT_MS = 120_000;
const MANAGER = "deployment/metallb-operator-controller-manager";

/** A kind of somebody else's, without its schema. */
const foreignKind = (group: string, kind: string, plural: string, scope: string) => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: `${plural}.${group}`,
  },
  spec: {
    group,
    scope,
    names: { kind, plural, singular: kind.toLowerCase() },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        },
      },
    ],
  },
});

const FOREIGN = {
  apiVersion: "v1",
  kind: "List",
  items: [
    foreignKind("monitoring.coreos.com", "ServiceMonitor", "servicemonitors", "Namespaced"),
    foreignKind(
      "security.openshift.io",
      "SecurityContextConstraints",
      "securitycontextconstraints",
      "Cluster",
    ),
  ],
};

describeWith("setpriv")("config/", () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    const file = join(plane.directory, "foreign.json");
    writeFileSync(file, JSON.stringify(FOREIGN));
    await plane.kubectl("apply", "-f", file);
    await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s");
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  for (const { variant, has } of [
    { variant: "without-webhook", has: [MANAGER, "clusterrole/metallb-speaker"] },
    {
      variant: "default",
      has: [MANAGER, "validatingwebhookconfiguration/metallb-operator-webhook-configuration"],
    },
    { variant: "prometheus", has: [MANAGER, "servicemonitor/metallb"] },
    { variant: "openshift", has: [MANAGER, "securitycontextconstraints/metallb-speaker"] },
  ])
    test(
      `${variant} is applied, and again without a change`,
      async () => {
        const apply = ["apply", "--server-side", "-k", join(TREE, "config", variant)];
        await plane.kubectl(...apply);
        const found = ["-n", "metallb-system", "get", "-o", "name", ...has];
        expect((await plane.kubectl(...found)).trim().split("\n")).toHaveLength(has.length);
        const versions = ["-o", "jsonpath={.items[*].metadata.resourceVersion}"];
        const all = ["get", "deployments,services,roles,clusterroles,crds", "-A", ...versions];
        const before = await plane.kubectl(...all);
        await plane.kubectl(...apply);
        expect(await plane.kubectl(...all)).toBe(before);
      },
      TEST_TIMEOUT_MS,
    );
});
