/**
 * Turns validating webhooks into what OLM wants of them: it makes the configuration, the Service and
 * the certificate itself, and mounts the certificate into the Deployment.
 */
import type { KubernetesObject } from "./bundle-config.ts";

interface Webhook {
  readonly name: string;
  readonly clientConfig: {
    readonly service: { readonly name: string; readonly path?: string; readonly port?: number };
  };
  readonly [field: string]: unknown;
}

interface WebhookConfiguration extends KubernetesObject {
  readonly webhooks: readonly Webhook[];
}

interface ServiceObject extends KubernetesObject {
  readonly spec: {
    readonly selector: Readonly<Record<string, string>>;
    readonly ports: readonly { readonly port: number; readonly targetPort?: number | string }[];
  };
}

interface DeploymentObject extends KubernetesObject {
  readonly spec: {
    readonly template: { readonly metadata: { readonly labels: Readonly<Record<string, string>> } };
  };
}

const CONFIGURATION = "ValidatingWebhookConfiguration";

/** Fields of a webhook that a definition has too; selectors of namespaces are OLM's. */
const KEPT = [
  "admissionReviewVersions",
  "failurePolicy",
  "matchPolicy",
  "objectSelector",
  "rules",
  "sideEffects",
  "timeoutSeconds",
];

const webhooksOf = (objects: readonly KubernetesObject[]): readonly Webhook[] =>
  objects.flatMap((object) =>
    object.kind === CONFIGURATION ? (object as unknown as WebhookConfiguration).webhooks : [],
  );

/** Names the Services that only webhooks use: OLM makes its own. */
export function webhookServices(objects: readonly KubernetesObject[]): ReadonlySet<string> {
  return new Set(webhooksOf(objects).map(({ clientConfig }) => clientConfig.service.name));
}

/** Gives the webhook definitions of the validating webhooks among the objects. */
export function webhookDefinitions(objects: readonly KubernetesObject[]): object[] {
  return webhooksOf(objects).map((webhook) => {
    const { name, path, port = 443 } = webhook.clientConfig.service;
    const service = objects.find(
      ({ kind, metadata }) => kind === "Service" && metadata.name === name,
    ) as ServiceObject | undefined;
    if (service === undefined) throw new Error(`webhook ${webhook.name}: no Service ${name}`);
    const target = service.spec.ports.find((candidate) => candidate.port === port)?.targetPort;
    return {
      type: "ValidatingAdmissionWebhook",
      generateName: webhook.name,
      deploymentName: deploymentBehind(service, objects),
      containerPort: port,
      targetPort: target ?? port,
      ...(path !== undefined && { webhookPath: path }),
      ...Object.fromEntries(
        KEPT.flatMap((field) => (field in webhook ? [[field, webhook[field]]] : [])),
      ),
    };
  });
}

function deploymentBehind(service: ServiceObject, objects: readonly KubernetesObject[]): string {
  const wanted = Object.entries(service.spec.selector);
  const found = objects.find(
    (object) =>
      object.kind === "Deployment" &&
      wanted.every(([key, value]) => {
        const { template } = (object as unknown as DeploymentObject).spec;
        return template.metadata.labels[key] === value;
      }),
  );
  if (found === undefined) {
    throw new Error(`Service ${service.metadata.name}: no Deployment has the labels it selects`);
  }
  return found.metadata.name;
}
