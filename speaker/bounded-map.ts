/**
 * A map that forgets everything when it is full. For what can be had again, under keys that others
 * choose: however many they are, they fill no memory, and those in use are soon back.
 */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #limit: number;

  /** Empty, for at most so many entries. */
  constructor(limit: number) {
    super();
    this.#limit = limit;
  }

  /** Puts an entry in, and takes all others out if there is no room for it. */
  override set(key: K, value: V): this {
    if (this.size >= this.#limit && !this.has(key)) this.clear();
    return super.set(key, value);
  }

  /** Gives what is remembered under a key, or makes and remembers it. */
  of(key: K, make: () => V): V {
    const known = this.get(key);
    if (known !== undefined || this.has(key)) return known as V;
    const value = make();
    this.set(key, value);
    return value;
  }
}
