import type { V1Deployment, V1DeploymentSpec } from "@kubernetes/client-node";
import type { MetalLB } from "../../api/metallb.ts";
import { ownedMetadata, selectorLabels } from "./ownership.ts";
import type { Plain, Rendered } from "./plain.ts";
import { METRICS_PORT, podTemplate, PROBE_PORT, type Image } from "./pod.ts";

/** Name of the Deployment, of its container and of its ServiceAccount. */
export const CONTROLLER_NAME = "controller";

/** Builds the Deployment that runs the controller: one pod, without any privilege. */
export function controllerDeployment(owner: MetalLB, image: Image): Rendered<V1Deployment> {
  const labels = selectorLabels("controller");
  const { controllerNodeSelector, controllerTolerations, controllerConfig } = owner.spec;
  const spec: Plain<V1DeploymentSpec> = {
    replicas: 1,
    revisionHistoryLimit: 3,
    selector: { matchLabels: labels },
    template: podTemplate({
      name: "controller",
      image,
      config: controllerConfig,
      ports: { health: PROBE_PORT, metricshttps: METRICS_PORT },
      pod: {
        serviceAccountName: CONTROLLER_NAME,
        nodeSelector: { "kubernetes.io/os": "linux", ...controllerNodeSelector },
        ...(controllerTolerations !== undefined && { tolerations: controllerTolerations }),
        // When MetalLB is uninstalled the controller is the one who tells all Services.
        terminationGracePeriodSeconds: 45,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 65532,
          runAsGroup: 65532,
          seccompProfile: { type: "RuntimeDefault" },
        },
      },
      container: { securityContext: { capabilities: { drop: ["ALL"] } } },
    }),
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: ownedMetadata(owner, CONTROLLER_NAME, spec, labels),
    spec,
  };
}
