/** How new this speaker's view of the API is, for the others: who sees less must not overrule. */
import type { Versions } from "./messages.ts";
import type { Command } from "./thread-protocol.ts";

/** Tells of versions as they grow. */
export class ViewVersions {
  readonly #read: () => readonly (string | undefined)[];
  readonly #post: (command: Command) => void;
  #told = "";

  /** @param read gives the resourceVersions of Services, EndpointSlices, Nodes and configuration */
  constructor(read: () => readonly (string | undefined)[], post: (command: Command) => void) {
    this.#read = read;
    this.#post = post;
  }

  /** Tells them, if they are others than the last time. */
  tell(): void {
    const texts = this.#read();
    const text = texts.join(" ");
    if (text === this.#told) return;
    this.#told = text;
    const [services = 0n, slices = 0n, nodes = 0n, configuration = 0n] = texts.map(versionOf);
    const versions: Versions = [services, slices, nodes, configuration];
    this.#post({ kind: "versions", versions });
  }
}

/** A resourceVersion as the integer that it is (KEP-5504); 0 for what is none, or none yet. */
export function versionOf(text: string | undefined): bigint {
  return text !== undefined && /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
}
