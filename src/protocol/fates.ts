// ReplyFates: which replies of a server are pgvpd's own, and what rests on replies yet to come.
// Hot: runs per message. No objects, no closures, no promises, no copies.

const CAPACITY_MIN = 8;

/** What becomes of the reply to a Parse or Close, and what depends on it. */
export interface PendingReply {
  /** pgvpd asked, and not the client. */
  readonly withheld: boolean;
  /** It has come. */
  replied?(batch: number): void;
  /** It does not come: something before it in the batch failed, or the request itself. */
  failed?(batch: number): void;
}

/** Passed on, and nothing depends on it. */
export const FORWARDED: PendingReply = { withheld: false };
/** Withheld, and nothing depends on it. */
export const WITHHELD: PendingReply = { withheld: true };

/** A DEALLOCATE that was seen on its way to the server, which confirms it by a tag. */
export interface Deallocation {
  /** Of all statements, also by DISCARD ALL. */
  readonly all: boolean;
  /** It has been executed. */
  confirmed?(): void;
  /** It has not been executed. */
  undo(): void;
}

/**
 * The fates of ParseComplete and CloseComplete, in the order in which they are due.
 *
 * Each belongs to a unit: what ends with one ReadyForQuery. What is left of a unit when that comes
 * was skipped by the server, because something before it failed; it is undone backwards, as a
 * later request may have rested on an earlier one.
 */
export class ReplyFates {
  /** Counts units like `#sent`, but is never set back: what has the same number was sent together. */
  batch = 0;
  /** Called when all statements have been deallocated by something that nobody saw coming. */
  onStatementsLost: () => void = () => {};
  #pending: PendingReply[] = new Array<PendingReply>(CAPACITY_MIN).fill(FORWARDED);
  #units = new Float64Array(CAPACITY_MIN);
  #batches = new Float64Array(CAPACITY_MIN);
  #head = 0;
  #tail = 0;
  #withheld = 0;
  readonly #deallocations: { unit: number; readonly what: Deallocation }[] = [];
  /** Units that have been sent to their end. */
  #sent = 0;
  /** Units that are over. */
  #done = 0;

  /** A reply that is withheld is due, now or later. */
  get anyWithheld(): boolean {
    return this.#withheld > 0;
  }

  /** The tag of a DEALLOCATE may come. */
  get deallocating(): boolean {
    return this.#deallocations.length > 0;
  }

  /** Nothing is due. */
  get settled(): boolean {
    return this.#head === this.#tail && this.#deallocations.length === 0;
  }

  /** A Parse or Close has been sent. */
  push(reply: PendingReply): void {
    if (this.#tail === this.#pending.length) this.#makeRoom();
    this.#pending[this.#tail] = reply;
    this.#units[this.#tail] = this.#sent;
    this.#batches[this.#tail++] = this.batch;
    if (reply.withheld) this.#withheld++;
  }

  /** A DEALLOCATE is being sent. */
  deallocates(what: Deallocation): void {
    this.#deallocations.push({ unit: this.#sent, what });
  }

  /** What ends the present unit has been sent: Sync, Query or FunctionCall. */
  unitSent(): void {
    this.#sent++;
    this.batch++;
  }

  /** The server has dropped `count` Syncs, because it reads the data of a COPY. */
  unitsDropped(count: number): void {
    this.#sent -= count;
    for (let index = this.#head; index < this.#tail; index++) {
      if (this.#units[index]! > this.#done) this.#units[index]! -= count;
    }
    for (const each of this.#deallocations) if (each.unit > this.#done) each.unit -= count;
  }

  /** ParseComplete or CloseComplete has come; returns whether it is withheld. */
  replied(): boolean {
    if (this.#head === this.#tail) return false; // the client will find out
    const reply = this.#pending[this.#head]!;
    this.#pending[this.#head] = FORWARDED;
    const batch = this.#batches[this.#head++]!;
    if (this.#head === this.#tail) this.#head = this.#tail = 0;
    if (reply.withheld) this.#withheld--;
    reply.replied?.(batch);
    return reply.withheld;
  }

  /** A statement has been deallocated, or all of them. */
  deallocated(all: boolean): void {
    for (let index = 0; index < this.#deallocations.length; index++) {
      const { unit, what } = this.#deallocations[index]!;
      if (unit > this.#done) break;
      if (what.all !== all) continue;
      this.#deallocations.splice(index, 1);
      return what.confirmed?.();
    }
    if (all) this.onStatementsLost();
  }

  /** ReadyForQuery has come: what is still due of its unit will not come. */
  ready(): void {
    let end = this.#head;
    while (end < this.#tail && this.#units[end]! <= this.#done) end++;
    for (let index = end - 1; index >= this.#head; index--) {
      const reply = this.#pending[index]!;
      this.#pending[index] = FORWARDED;
      if (reply.withheld) this.#withheld--;
      reply.failed?.(this.#batches[index]!);
    }
    this.#head = end;
    if (this.#head === this.#tail) this.#head = this.#tail = 0;
    if (this.#deallocations.length > 0) this.#endDeallocations();
    this.#done++;
  }

  #endDeallocations(): void {
    let count = 0;
    while (count < this.#deallocations.length && this.#deallocations[count]!.unit <= this.#done) {
      count++;
    }
    for (const { what } of this.#deallocations.splice(0, count).reverse()) what.undo();
  }

  #makeRoom(): void {
    const count = this.#tail - this.#head;
    if (this.#head < count) this.#grow();
    this.#pending.copyWithin(0, this.#head, this.#tail);
    this.#units.copyWithin(0, this.#head, this.#tail);
    this.#batches.copyWithin(0, this.#head, this.#tail);
    this.#head = 0;
    this.#tail = count;
  }

  #grow(): void {
    const { length } = this.#pending;
    for (let index = 0; index < length; index++) this.#pending.push(FORWARDED);
    this.#units = enlarged(this.#units);
    this.#batches = enlarged(this.#batches);
  }
}

function enlarged(numbers: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}
