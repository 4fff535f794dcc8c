import { encodeAddress, isIPv4, type Address } from "./address.ts";
import { ipv4ToNumber } from "./ipv4.ts";

/** An IPv6 address as four words, and what is kept under it; cells of equal hash form a chain. */
interface Cell<T> {
  readonly words: Int32Array;
  readonly address: Address;
  value: T;
  next: Cell<T> | undefined;
}

/**
 * A map keyed by address that is also searched by what stands in a frame, without building a text
 * or an object on the way: the responder asks it once or twice for every frame that it hears.
 */
export class AddressMap<T> {
  // Keys are signed: such numbers never leave V8's small integers, a 32-bit unsigned one may.
  readonly #ipv4 = new Map<number, { readonly address: Address; value: T }>();
  readonly #ipv6 = new Map<number, Cell<T>>();
  #ipv6Size = 0;

  /** How many addresses there are. */
  get size(): number {
    return this.#ipv4.size + this.#ipv6Size;
  }

  /** Finds what is kept under an address. */
  get(address: Address): T | undefined {
    if (isIPv4(address)) return this.findIPv4(ipv4ToNumber(address));
    return this.findIPv6(encodeAddress(address), 0);
  }

  /** Tells whether an address is here. */
  has(address: Address): boolean {
    return this.get(address) !== undefined;
  }

  /** Finds what is kept under the IPv4 address of a 32-bit number, signed or unsigned. */
  findIPv4(number: number): T | undefined {
    return this.#ipv4.get(number | 0)?.value;
  }

  /** Finds what is kept under the IPv6 address whose sixteen octets stand at an offset. */
  findIPv6(octets: Uint8Array, offset: number): T | undefined {
    const w0 = word(octets, offset);
    const w1 = word(octets, offset + 4);
    const w2 = word(octets, offset + 8);
    const w3 = word(octets, offset + 12);
    let cell = this.#ipv6.get(hash(w0, w1, w2, w3));
    while (cell !== undefined) {
      const { words } = cell;
      if (words[3] === w3 && words[2] === w2 && words[1] === w1 && words[0] === w0) {
        return cell.value;
      }
      cell = cell.next;
    }
    return undefined;
  }

  /** Keeps a value under an address, in place of the one before. */
  set(address: Address, value: T): void {
    if (isIPv4(address)) {
      this.#ipv4.set(ipv4ToNumber(address) | 0, { address, value });
      return;
    }
    const words = wordsOf(address);
    const key = hashOf(words);
    const first = this.#ipv6.get(key);
    const found = findCell(first, address);
    if (found !== undefined) {
      found.value = value;
      return;
    }
    this.#ipv6.set(key, { words, address, value, next: first });
    this.#ipv6Size++;
  }

  /**
   * Forgets an address.
   * @returns whether it was here.
   */
  delete(address: Address): boolean {
    if (isIPv4(address)) return this.#ipv4.delete(ipv4ToNumber(address) | 0);
    const key = hashOf(wordsOf(address));
    const first = this.#ipv6.get(key);
    const found = findCell(first, address);
    if (first === undefined || found === undefined) return false;
    this.#unlink(key, first, found);
    this.#ipv6Size--;
    return true;
  }

  #unlink(key: number, first: Cell<T>, found: Cell<T>): void {
    if (found === first) {
      if (found.next === undefined) this.#ipv6.delete(key);
      else this.#ipv6.set(key, found.next);
      return;
    }
    let before = first;
    while (before.next !== undefined && before.next !== found) before = before.next;
    before.next = found.next;
  }

  /** Forgets every address. */
  clear(): void {
    this.#ipv4.clear();
    this.#ipv6.clear();
    this.#ipv6Size = 0;
  }

  /** Gives every address with its value, IPv4 first. */
  *entries(): Generator<readonly [Address, T]> {
    for (const { address, value } of this.#ipv4.values()) yield [address, value];
    for (const first of this.#ipv6.values()) {
      for (let cell: Cell<T> | undefined = first; cell !== undefined; cell = cell.next) {
        yield [cell.address, cell.value];
      }
    }
  }
}

/** The big-endian 32-bit word at an offset, signed; octets beyond the end count as zero. */
function word(octets: Uint8Array, offset: number): number {
  return (
    ((octets[offset] ?? 0) << 24) |
    ((octets[offset + 1] ?? 0) << 16) |
    ((octets[offset + 2] ?? 0) << 8) |
    (octets[offset + 3] ?? 0)
  );
}

function wordsOf(address: Address): Int32Array {
  const octets = encodeAddress(address);
  return Int32Array.of(word(octets, 0), word(octets, 4), word(octets, 8), word(octets, 12));
}

function hashOf(words: Int32Array): number {
  return hash(words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0);
}

/** Mixes four words into one. Only addresses of our own are hashed in, so no secret is needed. */
function hash(w0: number, w1: number, w2: number, w3: number): number {
  let mixed = Math.imul(w0 ^ (w1 >>> 15), 0x2c1b3c6d) ^ w1;
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0x297a2d39) ^ w2;
  return Math.imul(mixed ^ (mixed >>> 16), 0x1b873593) ^ w3;
}

function findCell<T>(first: Cell<T> | undefined, address: Address): Cell<T> | undefined {
  let cell = first;
  while (cell !== undefined && cell.address !== address) cell = cell.next;
  return cell;
}
