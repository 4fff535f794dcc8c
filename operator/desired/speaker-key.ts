import type { V1Secret } from "@kubernetes/client-node";
import type { MetalLB } from "../../api/metallb.ts";
import type { SpeakerKeys } from "../key-rotation.ts";
import { ownedMetadata } from "./ownership.ts";
import type { Rendered } from "./plain.ts";

/** Name of the Secret: MetalLB's. */
export const SPEAKER_KEY_NAME = "memberlist";
/** Key of its data. */
export const SPEAKER_KEY_ENTRY = "secretkey";
/** Octets of a key that is made. */
export const SPEAKER_KEY_LENGTH = 32;

/** Key of its data that holds the next key while it is being taken up. */
export const NEXT_SPEAKER_KEY_ENTRY = `${SPEAKER_KEY_ENTRY}-next`;

const REQUEST_ANNOTATION = "metallb.io/rotated-for";

/** A Secret as far as it matters here. */
export interface ObservedSecret {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
}

/** Fewer octets are no key. */
const SHORTEST = 16;

/**
 * Reads the keys back, so that an existing one is never replaced but by a rotation.
 * @returns undefined when there is none, or one too short to be one
 */
export function presentKeys(secret: ObservedSecret | undefined): SpeakerKeys | undefined {
  const usable = (entry: string): string | undefined => {
    const key = secret?.data?.[entry];
    return key !== undefined && Buffer.from(key, "base64").length >= SHORTEST ? key : undefined;
  };
  const current = usable(SPEAKER_KEY_ENTRY);
  if (current === undefined) return undefined;
  const next = usable(NEXT_SPEAKER_KEY_ENTRY);
  const request = secret?.metadata?.annotations?.[REQUEST_ANNOTATION] ?? "";
  return { current, ...(next !== undefined && { next }), request };
}

/** Builds the Secret with the keys under which speakers talk to each other. */
export function speakerKey(owner: MetalLB, keys: SpeakerKeys): Rendered<V1Secret> {
  const { current, next, request } = keys;
  const metadata = ownedMetadata(owner, SPEAKER_KEY_NAME, keys);
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      ...metadata,
      annotations: { ...metadata.annotations, [REQUEST_ANNOTATION]: request },
    },
    type: "Opaque",
    data: {
      [SPEAKER_KEY_ENTRY]: current,
      ...(next !== undefined && { [NEXT_SPEAKER_KEY_ENTRY]: next }),
    },
  };
}
