import type { Client } from "../kubernetes/client.ts";
import { OperatorError } from "../kubernetes/errors.ts";
import { PODS, type Pod } from "../kubernetes/resources.ts";
import type { Image, Images } from "./desired/pod.ts";
import type { Environment } from "./environment.ts";

/**
 * Finds out which image the programs run: the environment's, else the one that this very pod runs,
 * pulled in the same way, so that whoever changes the operator's image changes all three.
 * @throws OperatorError when the pod cannot be read
 */
export async function findImages(
  client: Client,
  { namespace, podName, controllerImage, speakerImage }: Environment,
  signal: AbortSignal,
): Promise<Images> {
  const named = (name: string): Image => ({ name, pullSecrets: [] });
  if (controllerImage !== undefined && speakerImage !== undefined) {
    return { controller: named(controllerImage), speaker: named(speakerImage) };
  }
  const name = podName ?? "";
  const pod = await client.get(PODS, { name, namespace }, signal);
  if (pod === undefined) {
    const attempted = `finding the operator's image in its own Pod ${namespace}/${name}`;
    throw new OperatorError("NotFound", attempted);
  }
  const own = imageOf(pod);
  return {
    controller: { ...own, name: controllerImage ?? own.name },
    speaker: { ...own, name: speakerImage ?? own.name },
  };
}

function imageOf({ metadata, spec }: Pod): Image {
  const container = spec?.containers.find(({ args }) => args?.[0] === "operator");
  if (container?.image === undefined) {
    const attempted = `finding the container with argument "operator" in Pod ${metadata.name}`;
    throw new OperatorError("Configuration", attempted);
  }
  return {
    name: container.image,
    ...(container.imagePullPolicy !== undefined && { pullPolicy: container.imagePullPolicy }),
    pullSecrets: (spec?.imagePullSecrets ?? []).flatMap((secret) => secret.name ?? []),
  };
}
