/** Nothing in config/ is left out of the bundle in silence. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { readKustomization, type KubernetesObject } from "../../../tools/bundle-config.ts";
import { webhookDefinitions, webhookServices } from "../../../tools/bundle-webhooks.ts";

describe("a kustomization", () => {
  let folder: string;
  const write = (path: string, text: string): void => writeFileSync(join(folder, path), text);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bundle-"));
    mkdirSync(join(folder, "more"));
    write("one.yaml", "kind: A\nmetadata: { name: a }\n---\nkind: B\nmetadata: { name: b }\n");
    write("more/two.yaml", "kind: C\nmetadata: { name: c }\n");
    write("more/kustomization.yaml", "resources: [two.yaml]\n");
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test("is read with all its files and folders, in order", () => {
    write("kustomization.yaml", "namespace: x\nresources: [one.yaml, more]\n");
    expect(readKustomization(folder).map(({ kind }) => kind)).toEqual(["A", "B", "C"]);
  });

  for (const field of ["patches", "images", "namePrefix", "components"])
    test(`with ${field}, which the reader does not understand, is refused`, () => {
      write("kustomization.yaml", `resources: [one.yaml]\n${field}: []\n`);
      expect(() => readKustomization(folder)).toThrow(new RegExp(field));
    });
});

const labels = { "control-plane": "controller-manager" };
const deployment: KubernetesObject = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "manager" },
  spec: { template: { metadata: { labels } } },
};
const service: KubernetesObject = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "webhook" },
  spec: { selector: labels, ports: [{ port: 443, targetPort: 9443 }] },
};
const rules = [
  { apiGroups: ["metallb.io"], apiVersions: ["v1beta1"], operations: ["CREATE"], resources: ["a"] },
];
const configuration: KubernetesObject = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingWebhookConfiguration",
  metadata: { name: "webhooks" },
  webhooks: [
    {
      name: "pools.metallb.io",
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
      failurePolicy: "Fail",
      rules,
      clientConfig: { service: { name: "webhook", namespace: "x", path: "/validate" } },
    },
  ],
};

describe("a validating webhook", () => {
  test("becomes a definition that points at the Deployment behind its Service", () => {
    expect(webhookDefinitions([deployment, service, configuration])).toEqual([
      {
        type: "ValidatingAdmissionWebhook",
        generateName: "pools.metallb.io",
        deploymentName: "manager",
        containerPort: 443,
        targetPort: 9443,
        webhookPath: "/validate",
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        failurePolicy: "Fail",
        rules,
      },
    ]);
  });

  test("takes its Service with it, for OLM makes one", () => {
    expect([...webhookServices([service, configuration])]).toEqual(["webhook"]);
  });

  for (const { name, objects, error } of [
    { name: "without its Service", objects: [deployment, configuration], error: /no Service/ },
    { name: "without a Deployment", objects: [service, configuration], error: /no Deployment/ },
  ])
    test(`${name} is refused`, () => {
      expect(() => webhookDefinitions(objects)).toThrow(error);
    });
});
