/** What is to happen when, in a binary heap; of two at the same instant the one set first goes first. */
export class Agenda {
  readonly #at: number[] = [];
  readonly #order: number[] = [];
  readonly #act: (() => void)[] = [];
  #count = 0;

  get size(): number {
    return this.#at.length;
  }

  next(): number {
    return this.#at[0] ?? Infinity;
  }

  set(at: number, act: () => void): void {
    let hole = this.#at.length;
    const order = this.#count++;
    this.#at.push(at);
    this.#order.push(order);
    this.#act.push(act);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (this.#at[parent]! <= at) break;
      this.#move(parent, hole);
      hole = parent;
    }
    this.#put(hole, at, order, act);
  }

  take(): () => void {
    const top = this.#act[0]!;
    const at = this.#at.pop()!;
    const order = this.#order.pop()!;
    const act = this.#act.pop()!;
    const length = this.#at.length;
    if (length === 0) return top;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#isBefore(child + 1, child)) child++;
      const isAbove =
        this.#at[child]! < at || (this.#at[child] === at && this.#order[child]! < order);
      if (!isAbove) break;
      this.#move(child, hole);
      hole = child;
    }
    this.#put(hole, at, order, act);
    return top;
  }

  #isBefore(a: number, b: number): boolean {
    return (
      this.#at[a]! < this.#at[b]! ||
      (this.#at[a] === this.#at[b] && this.#order[a]! < this.#order[b]!)
    );
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#at[from]!, this.#order[from]!, this.#act[from]!);
  }

  #put(place: number, at: number, order: number, act: () => void): void {
    this.#at[place] = at;
    this.#order[place] = order;
    this.#act[place] = act;
  }
}
