/**
 * Rotates the key under which speakers talk to each other, without a moment in which two of them have
 * none in common: the Secret first gains the new key beside the old one, each speaker takes it up by
 * itself and says so, and the old one is removed when all of them have. All that must be remembered
 * stands in the Secret.
 */
import { createHash } from "node:crypto";

/** Annotation of the MetalLB object: each new value asks for a new key. */
export const ROTATE_KEY_ANNOTATION = "metallb.io/rotate-key";

/** The keys in the Secret, in base64. */
export interface SpeakerKeys {
  readonly current: string;
  /** The one that is being taken up; absent: nothing is under way. */
  readonly next?: string;
  /** The request that was followed last. */
  readonly request: string;
}

/** What a speaker says of its keys. */
export interface KeyHolder {
  readonly node: string;
  /** Names of the keys that it accepts. */
  readonly keys: readonly string[];
}

/** What bears on a rotation. */
export interface RotationFacts {
  /** Value of the annotation; undefined: there is none. */
  readonly request: string | undefined;
  readonly speakers: readonly KeyHolder[];
  /** How many speakers there should be; undefined while that is not known. */
  readonly expectedSpeakers: number | undefined;
  /** A key that nobody has yet, in base64. */
  readonly fresh: string;
}

/** Names a key without telling it: eight hexadecimal digits, as the speakers name it. */
export function speakerKeyName(key: string): string {
  const secret = Buffer.from(key, "base64");
  return createHash("sha256").update("speaker key id").update(secret).digest("hex").slice(0, 8);
}

/**
 * Gives the keys that follow.
 * @param present undefined when there is no usable key: then one is made, whatever was asked for
 */
export function nextKeys(present: SpeakerKeys | undefined, facts: RotationFacts): SpeakerKeys {
  const { request = "", fresh } = facts;
  if (present === undefined) return { current: fresh, request };
  if (present.next !== undefined) {
    if (laggards(present, facts).length > 0) return present;
    return { current: present.next, request: present.request };
  }
  if (request === present.request) return present;
  if (request === "") return { ...present, request };
  return { ...present, next: fresh, request };
}

/** Names what has not taken up the next key: nodes by name, or speakers that have not said anything. */
export function laggards(
  { next }: Pick<SpeakerKeys, "next">,
  { speakers, expectedSpeakers }: Pick<RotationFacts, "speakers" | "expectedSpeakers">,
): string[] {
  if (next === undefined) return [];
  const name = speakerKeyName(next);
  const behind = speakers.filter(({ keys }) => !keys.includes(name)).map(({ node }) => node);
  const silent = (expectedSpeakers ?? Infinity) - speakers.length;
  return silent > 0 ? [...behind.sort(), "nodes whose speaker says nothing"] : behind.sort();
}
