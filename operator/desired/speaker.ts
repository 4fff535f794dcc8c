import type { V1DaemonSet, V1DaemonSetSpec, V1Toleration } from "@kubernetes/client-node";
import type { MetalLB } from "../../api/metallb.ts";
import { ownedMetadata, selectorLabels } from "./ownership.ts";
import type { Plain, Rendered } from "./plain.ts";
import { METRICS_PORT, podTemplate, PROBE_PORT, type Image } from "./pod.ts";
import { SPEAKER_KEY_NAME } from "./speaker-key.ts";

/** Name of the DaemonSet, of its container and of its ServiceAccount. */
export const SPEAKER_NAME = "speaker";

/** Long enough for every address of a speaker to have moved before it is killed. */
const GRACE_PERIOD_SECONDS = 20;

/** Where the key is mounted: MetalLB's place. */
const KEY_FOLDER = "/etc/ml_secret_key";

/** Control plane nodes announce too, as MetalLB has it. */
const TOLERATIONS: Plain<V1Toleration[]> = [
  { key: "node-role.kubernetes.io/master", effect: "NoSchedule", operator: "Exists" },
  { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule", operator: "Exists" },
];

/**
 * Builds the DaemonSet that runs a speaker on each node: in the host's network, as uid 0 because
 * Kubernetes gives capabilities to no other user, and with none of root's capabilities but NET_RAW.
 */
export function speakerDaemonSet(owner: MetalLB, image: Image): Rendered<V1DaemonSet> {
  const labels = selectorLabels("speaker");
  const { nodeSelector, speakerTolerations = [], speakerConfig, updateStrategy } = owner.spec;
  const tolerations = [...TOLERATIONS, ...speakerTolerations];
  const spec: Plain<V1DaemonSetSpec> = {
    revisionHistoryLimit: 3,
    updateStrategy:
      updateStrategy?.type === "OnDelete"
        ? { type: "OnDelete" }
        : { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
    selector: { matchLabels: labels },
    template: podTemplate({
      name: "speaker",
      image,
      config: speakerConfig,
      ports: { health: PROBE_PORT, metricshttps: METRICS_PORT },
      pod: {
        serviceAccountName: SPEAKER_NAME,
        hostNetwork: true,
        nodeSelector: { "kubernetes.io/os": "linux", ...nodeSelector },
        tolerations,
        terminationGracePeriodSeconds: GRACE_PERIOD_SECONDS,
        volumes: [{ name: "key", secret: { secretName: SPEAKER_KEY_NAME, defaultMode: 0o400 } }],
        securityContext: {
          runAsUser: 0,
          runAsGroup: 0,
          seccompProfile: { type: "RuntimeDefault" },
        },
      },
      container: {
        securityContext: { capabilities: { drop: ["ALL"], add: ["NET_RAW"] } },
        volumeMounts: [{ name: "key", mountPath: KEY_FOLDER, readOnly: true }],
      },
      // The speaker's port is the host's, so it listens on loopback alone.
      probeHost: "127.0.0.1",
      // A NoExecute taint that nobody asked to be tolerated moves the node's addresses away; what
      // DaemonSets tolerate by themselves is not in this list.
      env: { TOLERATIONS: JSON.stringify(tolerations) },
    }),
  };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: ownedMetadata(owner, SPEAKER_NAME, spec, labels),
    spec,
  };
}
