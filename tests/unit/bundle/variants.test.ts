/** The variants of config/default add what they are named after, and fit what the operator renders. */
import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { controllerDeployment } from "../../../operator/desired/controller.ts";
import { speakerDaemonSet } from "../../../operator/desired/speaker.ts";
import { readEnvironment } from "../../../operator/environment.ts";
import { WEBHOOK_CONFIGURATION } from "../../../operator/own-certificate.ts";
import { readKustomization } from "../../../tools/bundle-config.ts";
import { metallb, withMetadata } from "../../support/builders.ts";
import { document, documents, type Document } from "./documents.ts";

const owner = metallb(withMetadata({ uid: "a" }));
const image = { name: "operator:1", pullSecrets: [] };
const controller = controllerDeployment(owner, image).spec!.template;
const speaker = speakerDaemonSet(owner, image).spec!.template.spec!;

const find = (objects: readonly Document[], kind: string): Document => {
  const found = objects.find((object) => object.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found;
};

for (const variant of ["prometheus", "openshift"])
  test(`config/${variant} has all of config/default`, () => {
    const objects = readKustomization(`config/${variant}`);
    expect(objects).toEqual(expect.arrayContaining(readKustomization("config/default")));
    expect(objects.length).toBeGreaterThan(readKustomization("config/default").length);
  });

describe("config/without-webhook", () => {
  const kustomization = document("config/without-webhook/kustomization.yaml");
  const defaults = document("config/default/kustomization.yaml");

  test("has what config/default has, but for the webhook and its certificate", () => {
    const left = (defaults["resources"] as string[]).filter(
      (resource) => !["../webhook", "../certificate"].includes(resource),
    );
    expect(kustomization["resources"]).toEqual(left);
  });

  test("tells the operator so in a variable that it knows", () => {
    const [{ patch }] = kustomization["patches"] as [{ patch: string }];
    const [{ value }] = parse(patch) as [{ value: { name: string; value: string } }];
    const environment = { POD_NAMESPACE: "a", POD_NAME: "b", [value.name]: value.value };
    expect(readEnvironment(environment)).toMatchObject({ ok: true, value: { webhook: undefined } });
  });
});

describe("the validating webhook", () => {
  const objects = documents("config/webhook/webhook.yaml");
  const webhooks = find(objects, "ValidatingWebhookConfiguration")["webhooks"] as {
    readonly rules: readonly Readonly<Record<string, readonly string[]>>[];
    readonly failurePolicy: string;
    readonly timeoutSeconds: number;
    readonly clientConfig: { readonly caBundle?: string };
  }[];

  test("asks about our two kinds alone, when they are made or changed, not about their status", () => {
    const rules = webhooks.flatMap((webhook) => webhook.rules);
    expect(rules.flatMap(({ apiGroups }) => apiGroups)).toEqual(["metallb.io", "metallb.io"]);
    expect(rules.flatMap(({ resources }) => resources)).toEqual(["addresspools", "metallbs"]);
    for (const { operations } of rules) expect(operations).toEqual(["CREATE", "UPDATE"]);
  });

  test("holds up nobody while the operator is away", () => {
    for (const { failurePolicy, timeoutSeconds } of webhooks) {
      expect(failurePolicy).toBe("Ignore");
      expect(timeoutSeconds).toBeLessThanOrEqual(3);
    }
  });

  test("comes without a placeholder for the authority: the operator writes it", () => {
    for (const { clientConfig } of webhooks) expect(clientConfig).not.toHaveProperty("caBundle");
  });

  test("has the name that the operator has a right to, and watches", () => {
    const role = find(documents("config/certificate/rights.yaml"), "ClusterRole");
    const rules = role["rules"] as { resourceNames: string[] }[];
    const { name } = find(objects, "ValidatingWebhookConfiguration").metadata;
    expect(rules.flatMap(({ resourceNames }) => resourceNames)).toEqual([name]);
    expect(name).toBe(WEBHOOK_CONFIGURATION);
  });
});

describe("the SecurityContextConstraints of the speaker", () => {
  const scc = find(documents("config/openshift/scc.yaml"), "SecurityContextConstraints");
  const container = speaker.containers[0]!;

  test("allow what its pods ask for", () => {
    expect(scc["allowHostNetwork"]).toBe(speaker.hostNetwork);
    expect(scc["allowedCapabilities"]).toEqual(container.securityContext?.capabilities?.add);
    expect(scc["requiredDropCapabilities"]).toEqual(container.securityContext?.capabilities?.drop);
    const kinds = (speaker.volumes ?? []).map(({ name: _, ...source }) => Object.keys(source)[0]);
    expect(scc["volumes"]).toEqual(expect.arrayContaining(kinds));
    expect(scc["seccompProfiles"]).toEqual(["runtime/default"]);
    expect(speaker.securityContext?.seccompProfile?.type).toBe("RuntimeDefault");
  });

  test("allow no more", () => {
    const { allowPrivilegeEscalation, readOnlyRootFilesystem } = container.securityContext ?? {};
    expect(scc["allowPrivilegeEscalation"]).toBe(allowPrivilegeEscalation);
    expect(scc["readOnlyRootFilesystem"]).toBe(readOnlyRootFilesystem);
    for (const field of ["HostDirVolumePlugin", "HostIPC", "HostPID", "PrivilegedContainer"])
      expect(scc[`allow${field}`]).toBe(false);
    expect(scc["users"]).toEqual([]);
    expect(scc["groups"]).toEqual([]);
  });

  test("are given to its account alone; the others, which are not root, get nonroot-v2", () => {
    const bindings = documents("config/openshift/scc.yaml").filter(
      ({ kind }) => kind === "RoleBinding",
    );
    const accounts = Object.fromEntries(
      bindings.map(({ metadata, subjects }) => [
        metadata.name,
        (subjects as { name: string }[]).map(({ name }) => name),
      ]),
    );
    expect(accounts).toEqual({
      "metallb-speaker-scc": ["speaker"],
      "metallb-nonroot-scc": ["metallb-operator", "controller"],
    });
    expect(controller.spec?.securityContext?.runAsNonRoot).toBe(true);
  });
});

describe("the objects for the Prometheus Operator", () => {
  const objects = documents("config/prometheus/metrics.yaml");
  const service = find(objects, "Service")["spec"] as {
    selector: Record<string, string>;
    ports: { name: string; port: number; targetPort: string }[];
  };

  test("find the controller's pod and its port", () => {
    expect(controller.metadata?.labels).toMatchObject(service.selector);
    const [port] = service.ports;
    const ports = controller.spec?.containers[0]?.ports;
    expect(ports).toContainEqual(
      expect.objectContaining({ name: port?.targetPort, containerPort: port?.port }),
    );
  });

  test("select that Service and its port", () => {
    const { selector, endpoints } = find(objects, "ServiceMonitor")["spec"] as {
      selector: { matchLabels: object };
      endpoints: { port: string }[];
    };
    expect(find(objects, "Service").metadata["labels"]).toMatchObject(selector.matchLabels);
    expect(endpoints.map(({ port }) => port)).toEqual(service.ports.map(({ name }) => name));
  });
});
