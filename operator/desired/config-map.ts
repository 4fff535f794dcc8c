import type { V1ConfigMap } from "@kubernetes/client-node";
import type { MetalLB } from "../../api/metallb.ts";
import {
  CONFIG_KEY,
  CONFIG_NAME,
  formatRenderedConfig,
  parseRenderedConfig,
  type RenderedConfig,
} from "../../api/rendered-config.ts";
import { contentHash, HASH_ANNOTATION, ownedMetadata } from "./ownership.ts";
import type { Rendered } from "./plain.ts";

/** Builds the ConfigMap that carries the rendered configuration to the programs. */
export function configMap(owner: MetalLB, config: RenderedConfig): Rendered<V1ConfigMap> {
  const text = formatRenderedConfig(config);
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: ownedMetadata(owner, CONFIG_NAME, text),
    data: { [CONFIG_KEY]: text },
  };
}

/** A ConfigMap as far as it matters here. */
export interface ObservedConfigMap {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * Reads back the configuration that was in effect before this process started.
 * @returns undefined when there is none, or when somebody edited it: the hash tells
 */
export function acceptedConfig(
  observed: ObservedConfigMap | undefined,
): RenderedConfig | undefined {
  const text = observed?.data?.[CONFIG_KEY];
  if (text === undefined) return undefined;
  if (observed?.metadata.annotations?.[HASH_ANNOTATION] !== contentHash(text)) return undefined;
  const parsed = parseRenderedConfig(text);
  return parsed.ok ? parsed.value : undefined;
}
