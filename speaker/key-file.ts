/** The speakers' key as the kubelet mounts it: read at the start, and looked at for a new one. */
import { readFileSync } from "node:fs";

/** How often the file is looked at. */
const REREAD_MS = 10_000;

/** A mounted key that may be replaced. */
export class KeyFile implements Disposable {
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;
  /** Oldest first: the one before is accepted while others still use it. */
  #keys: readonly Uint8Array[];

  /**
   * Reads the file.
   * @param changed told all keys that are accepted, oldest first
   * @throws Error naming the file when it cannot be read
   */
  constructor(path: string, changed: (keys: readonly Uint8Array[]) => void) {
    this.#path = path;
    this.#keys = [read(path)];
    this.#timer = setInterval(() => {
      if (this.#reread()) changed(this.#keys);
    }, REREAD_MS);
  }

  /** All keys that are accepted, oldest first. */
  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  /** Stops looking. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #reread(): boolean {
    const newest = this.#keys.at(-1);
    let found: Uint8Array;
    try {
      found = read(this.#path);
    } catch {
      return false; // the kubelet is replacing it, or it was taken away: the last one stays
    }
    if (newest !== undefined && Buffer.compare(newest, found) === 0) return false;
    this.#keys = [...(newest === undefined ? [] : [newest]), found];
    return true;
  }
}

function read(path: string): Uint8Array {
  try {
    return Uint8Array.from(readFileSync(path));
  } catch (cause) {
    throw new Error(`reading the speakers' key ${path}`, { cause });
  }
}
