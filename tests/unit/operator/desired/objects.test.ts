import { describe, expect, test } from "@jest/globals";
import type { MetalLBSpec } from "../../../../api/metallb.ts";
import { acceptedConfig, configMap } from "../../../../operator/desired/config-map.ts";
import { controllerDeployment } from "../../../../operator/desired/controller.ts";
import { chooseImages, type Image } from "../../../../operator/desired/pod.ts";
import { speakerDaemonSet } from "../../../../operator/desired/speaker.ts";
import {
  metallb,
  renderedConfig,
  withMetadata,
  withMetalLBSpec,
} from "../../../support/builders.ts";

const image: Image = { name: "registry.example/metallb:1", pullSecrets: [] };

function owner(spec: Partial<MetalLBSpec> = {}) {
  return metallb(withMetadata({ uid: "uid-1" }), withMetalLBSpec(spec));
}

const tolerations = [{ key: "dedicated", operator: "Exists" as const }];
const podConfig = {
  priorityClassName: "system-node-critical",
  runtimeClassName: "kata",
  annotations: { "example.com/team": "network" },
  affinity: { nodeAffinity: {} },
  resources: { requests: { cpu: 1, memory: "64Mi" }, limits: { memory: 134217728 } },
};

describe("the ConfigMap", () => {
  const config = renderedConfig([]);

  test("is read back as it was written", () => {
    expect(acceptedConfig(configMap(owner(), config))).toEqual(config);
  });

  for (const { name, observed } of [
    { name: "there is none", observed: undefined },
    { name: "somebody edited it", observed: edited() },
    {
      name: "it is MetalLB's own, without our hash",
      observed: { metadata: {}, data: edited().data },
    },
    { name: "it is empty", observed: { metadata: {} } },
  ]) {
    test(`is not read back when ${name}`, () => {
      expect(acceptedConfig(observed)).toBeUndefined();
    });
  }

  function edited() {
    const written = configMap(owner(), renderedConfig([]));
    return { ...written, data: { config: `${written.data?.["config"] ?? ""}# mine\n` } };
  }
});

test("speakers are replaced one node after the other, or by whoever deletes their pods", () => {
  const strategyOf = (spec: Partial<MetalLBSpec>) =>
    speakerDaemonSet(owner(spec), image).spec?.updateStrategy;
  const oneByOne = { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } };
  expect(strategyOf({})).toEqual(oneByOne);
  expect(strategyOf({ updateStrategy: { type: "RollingUpdate" } })).toEqual(oneByOne);
  expect(strategyOf({ updateStrategy: { type: "OnDelete" } })).toEqual({ type: "OnDelete" });
});

describe("the controller's Deployment", () => {
  test("runs one pod without any privilege", () => {
    expect(controllerDeployment(owner(), image)).toMatchObject({
      kind: "Deployment",
      metadata: { name: "controller", labels: { app: "metallb", component: "controller" } },
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: "metallb", component: "controller" } },
        template: {
          metadata: { labels: { app: "metallb", component: "controller" } },
          spec: {
            serviceAccountName: "controller",
            nodeSelector: { "kubernetes.io/os": "linux" },
            securityContext: {
              runAsNonRoot: true,
              runAsUser: 65532,
              seccompProfile: { type: "RuntimeDefault" },
            },
            containers: [
              {
                name: "controller",
                image: image.name,
                args: ["controller"],
                livenessProbe: { httpGet: { path: "/healthz", port: 17472 } },
                readinessProbe: { httpGet: { path: "/readyz", port: 17472 } },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ["ALL"] },
                },
              },
            ],
          },
        },
      },
    });
  });

  test("follows what the user set about it, and about it alone", () => {
    const set = owner({
      controllerNodeSelector: { zone: "a" },
      controllerTolerations: tolerations,
      controllerConfig: podConfig,
    });
    expect(controllerDeployment(set, image).spec?.template).toMatchObject({
      metadata: { annotations: podConfig.annotations },
      spec: {
        nodeSelector: { "kubernetes.io/os": "linux", zone: "a" },
        tolerations,
        priorityClassName: "system-node-critical",
        runtimeClassName: "kata",
        affinity: podConfig.affinity,
        containers: [
          {
            resources: { requests: { cpu: "1", memory: "64Mi" }, limits: { memory: "134217728" } },
          },
        ],
      },
    });
    expect(speakerDaemonSet(set, image)).toEqual(speakerDaemonSet(owner(), image));
  });
});

describe("the speakers' DaemonSet", () => {
  const taints = ["master", "control-plane"].map((role) => ({
    key: `node-role.kubernetes.io/${role}`,
    effect: "NoSchedule",
    operator: "Exists",
  }));

  test("runs in the host's network as uid 0 with NET_RAW and nothing else", () => {
    expect(speakerDaemonSet(owner(), image)).toMatchObject({
      kind: "DaemonSet",
      metadata: { name: "speaker", labels: { app: "metallb", component: "speaker" } },
      spec: {
        updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
        template: {
          spec: {
            hostNetwork: true,
            terminationGracePeriodSeconds: 20,
            serviceAccountName: "speaker",
            tolerations: taints,
            securityContext: { runAsUser: 0, seccompProfile: { type: "RuntimeDefault" } },
            containers: [
              {
                args: ["speaker"],
                livenessProbe: { httpGet: { host: "127.0.0.1" } },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ["ALL"], add: ["NET_RAW"] },
                },
              },
            ],
          },
        },
      },
    });
  });

  test("tells each speaker its node, its pod and its namespace", () => {
    const [container] = speakerDaemonSet(owner(), image).spec?.template.spec?.containers ?? [];
    expect(container?.env?.map(({ name }) => name)).toEqual([
      "METALLB_NODE_NAME",
      "POD_NAME",
      "POD_NAMESPACE",
      "POD_UID",
      "HOST_IP",
      "TOLERATIONS",
    ]);
  });

  test("follows what the user set about it, and about it alone", () => {
    const set = owner({
      nodeSelector: { rack: "1" },
      speakerTolerations: tolerations,
      speakerConfig: podConfig,
    });
    expect(speakerDaemonSet(set, image).spec?.template).toMatchObject({
      metadata: { annotations: podConfig.annotations },
      spec: {
        nodeSelector: { "kubernetes.io/os": "linux", rack: "1" },
        tolerations: [...taints, ...tolerations],
        priorityClassName: "system-node-critical",
      },
    });
    expect(controllerDeployment(set, image)).toEqual(controllerDeployment(owner(), image));
  });
});

describe("images", () => {
  const own = { name: "own:1", pullPolicy: "Always", pullSecrets: ["pull"] };
  const images = { controller: own, speaker: own };

  test("are the operator's own, pulled in the same way", () => {
    const spec = speakerDaemonSet(owner(), chooseImages(owner().spec, images).speaker).spec;
    expect(spec?.template.spec).toMatchObject({
      imagePullSecrets: [{ name: "pull" }],
      containers: [{ image: "own:1", imagePullPolicy: "Always" }],
    });
  });

  test("are the user's where there are any", () => {
    const chosen = chooseImages(owner({ images: { speaker: "theirs:2" } }).spec, images);
    expect(chosen).toEqual({ controller: own, speaker: { ...own, name: "theirs:2" } });
  });
});
