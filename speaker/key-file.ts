/**
 * The speakers' keys as the kubelet mounts them: read at the start, and looked at for new ones. While a
 * key is being replaced there are two files: the key, and beside it the next one.
 */
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { MIN_SECRET_LENGTH } from "./seal.ts";

/** How often the files are looked at. */
const REREAD_MS = 10_000;
/** What the name of the next key's file ends with. */
const NEXT = "-next";

/** Mounted keys that may be replaced. */
export class KeyFile implements Disposable {
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;
  readonly #refused: (problem: string) => void;
  #problem = "";
  /** Oldest first: the one before is accepted while others still use it. */
  #keys: readonly Uint8Array[];
  /** What was in the files when they were looked at last. */
  #found: readonly Uint8Array[];

  /**
   * Reads the files.
   * @param path of the key
   * @param changed told all keys that are accepted, oldest first
   * @param refused told once why the key that stands there now is not used, and the last ones are
   * @throws Error naming the file when the key cannot be read, or is too short
   */
  constructor(
    path: string,
    changed: (keys: readonly Uint8Array[]) => void,
    refused: (problem: string) => void = () => undefined,
  ) {
    this.#path = path;
    this.#refused = refused;
    this.#found = readAll(path);
    this.#keys = this.#found;
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

  /** One that was replaced without a next one before it is accepted still: others may use it. */
  #reread(): boolean {
    let found: readonly Uint8Array[];
    try {
      found = readAll(this.#path);
    } catch (error) {
      // the kubelet is replacing it, or it was taken away, or cut short: the last ones stay
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) this.#refused(problem);
      this.#problem = problem;
      return false;
    }
    this.#problem = "";
    if (isDeepStrictEqual(found, this.#found)) return false;
    this.#found = found;
    const newest = this.#keys.at(-1);
    const isKnown = found.some((key) => isDeepStrictEqual(key, newest));
    this.#keys = newest === undefined || isKnown ? found : [newest, ...found];
    return true;
  }
}

function readAll(path: string): Uint8Array[] {
  const key = read(path);
  try {
    return [key, read(path + NEXT)];
  } catch {
    return [key]; // none is under way
  }
}

function read(path: string): Uint8Array {
  let key: Uint8Array;
  try {
    key = Uint8Array.from(readFileSync(path));
  } catch (cause) {
    throw new Error(`reading the speakers' key ${path}`, { cause });
  }
  if (key.length >= MIN_SECRET_LENGTH) return key;
  const message = `the speakers' key ${path} has ${key.length} octets: give it at least ${MIN_SECRET_LENGTH}`;
  throw new Error(message);
}
