/**
 * Deadlines of many keys in a binary heap. Nothing is ever taken out early: whoever pops a key
 * looks whether it still means something. That keeps setting a deadline O(log n) and cancelling free.
 */
export class Deadlines<Key> {
  readonly #heap: { readonly at: number; readonly key: Key }[] = [];

  /** Gives the earliest deadline, Infinity if there is none. */
  next(): number {
    return this.#heap[0]?.at ?? Infinity;
  }

  /** Sets one more deadline for the key. */
  set(at: number, key: Key): void {
    const heap = this.#heap;
    let hole = heap.length;
    const entry = { at, key };
    heap.push(entry);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.at <= at) break;
      heap[hole] = above;
      hole = parent;
    }
    heap[hole] = entry;
  }

  /** Takes out and gives the key whose deadline is earliest and not after `now`, if there is one. */
  pop(now: number): Key | undefined {
    const top = this.#heap[0];
    if (top === undefined || top.at > now) return undefined;
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(last);
    return top.key;
  }

  #sink(entry: { readonly at: number; readonly key: Key }): void {
    const heap = this.#heap;
    let hole = 0;
    for (;;) {
      const right = 2 * hole + 2;
      let child = right - 1;
      let below = heap[child];
      const other = heap[right];
      if (below !== undefined && other !== undefined && other.at < below.at) {
        child = right;
        below = other;
      }
      if (below === undefined || below.at >= entry.at) break;
      heap[hole] = below;
      hole = child;
    }
    heap[hole] = entry;
  }
}
