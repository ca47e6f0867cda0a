// A chain: a list in which every link can be taken out, and moved to the end, in no time.

/** One link; it is in one chain at most. */
export interface Link<T> {
  readonly value: T;
  before: Link<T> | null;
  after: Link<T> | null;
  isIn: boolean;
}

/** A link that is in no chain. */
export function linkFor<T>(value: T): Link<T> {
  return { value, before: null, after: null, isIn: false };
}

/** Links in the order in which they were added. */
export class Chain<T> {
  #first: Link<T> | null = null;
  #last: Link<T> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first?.value;
  }

  get last(): T | undefined {
    return this.#last?.value;
  }

  /** Adds a link at the end, which must be in no chain. */
  add(link: Link<T>): void {
    link.isIn = true;
    link.before = this.#last;
    link.after = null;
    if (this.#last === null) this.#first = link;
    else this.#last.after = link;
    this.#last = link;
    this.#size++;
  }

  /** Takes a link out, which must be in this chain. */
  remove(link: Link<T>): void {
    if (link.before === null) this.#first = link.after;
    else link.before.after = link.after;
    if (link.after === null) this.#last = link.before;
    else link.after.before = link.before;
    link.isIn = false;
    this.#size--;
  }

  /** Moves a link of this chain to its end. */
  moveToEnd(link: Link<T>): void {
    this.remove(link);
    this.add(link);
  }

  *[Symbol.iterator](): Generator<T, undefined> {
    for (let link = this.#first; link !== null;) {
      const { value, after } = link;
      yield value;
      link = after;
    }
  }
}
