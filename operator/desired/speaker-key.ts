import type { V1Secret } from "@kubernetes/client-node";
import type { MetalLB } from "../../api/metallb.ts";
import { ownedMetadata } from "./ownership.ts";
import type { Rendered } from "./plain.ts";

/** Name of the Secret: MetalLB's. */
export const SPEAKER_KEY_NAME = "memberlist";
/** Key of its data. */
export const SPEAKER_KEY_ENTRY = "secretkey";
/** Octets of a key that is made. */
export const SPEAKER_KEY_LENGTH = 32;

/** A Secret as far as it matters here. */
export interface ObservedSecret {
  readonly data?: Readonly<Record<string, string>>;
}

/** Fewer octets are no key. */
const SHORTEST = 16;

/**
 * Reads the key back, so that an existing one is never replaced.
 * @returns base64; undefined when there is none, or one too short to be one
 */
export function presentKey(secret: ObservedSecret | undefined): string | undefined {
  const key = secret?.data?.[SPEAKER_KEY_ENTRY];
  if (key === undefined) return undefined;
  return Buffer.from(key, "base64").length < SHORTEST ? undefined : key;
}

/**
 * Builds the Secret with the key under which speakers talk to each other.
 * @param key base64 of random octets
 */
export function speakerKey(owner: MetalLB, key: string): Rendered<V1Secret> {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: ownedMetadata(owner, SPEAKER_KEY_NAME, key),
    type: "Opaque",
    data: { [SPEAKER_KEY_ENTRY]: key },
  };
}
