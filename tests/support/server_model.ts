// What PostgreSQL answers to a client, as postgres.c and copyfromparse.c have it, reduced to what a
// reply ledger must know: CopyInResponse, ErrorResponse, ReadyForQuery.

/**
 * A message, or an extended statement with all of its messages, as one letter:
 *
 * `q` a query · `k` a query with a COPY, `K` with two · `F` a function call ·
 * `e` an extended statement, `r` one that fails, `y` a COPY ·
 * `S` Sync · `H` Flush · `d` CopyData, `D` bad data · `c` CopyDone · `f` CopyFail
 */
export type Letter = "q" | "k" | "K" | "F" | "e" | "r" | "y" | "S" | "H" | "d" | "D" | "c" | "f";
export const LETTERS: readonly Letter[] = Array.from("qkKFeryHSdDcf") as Letter[];

/** `G`, `E` and `Z`. */
export type Reply = "G" | "E" | "Z";

export class ServerModel {
  /** A COPY reads; how many more follow it in the same query. */
  #copy: { readonly isSimple: boolean; more: number } | null = null;
  #skipping = false;
  #batchOpen = false;
  /** It has ended the connection. */
  isDead = false;

  /** Nothing of what it was told is unfinished. */
  get isAtRest(): boolean {
    return this.#copy === null && !this.#skipping && !this.#batchOpen;
  }

  get readsCopy(): boolean {
    return this.#copy !== null;
  }

  /** As it is now. */
  clone(): ServerModel {
    const copy = new ServerModel();
    copy.#copy = this.#copy === null ? null : { ...this.#copy };
    copy.#skipping = this.#skipping;
    copy.#batchOpen = this.#batchOpen;
    copy.isDead = this.isDead;
    return copy;
  }

  take(letter: Letter): readonly Reply[] {
    if (this.isDead) return [];
    if (this.#copy !== null) return this.#inCopy(letter, this.#copy);
    if (this.#skipping && letter !== "S") return [];
    switch (letter) {
      case "q":
      case "F":
        this.#batchOpen = false;
        return ["Z"];
      case "k":
      case "K":
        this.#batchOpen = false;
        this.#copy = { isSimple: true, more: letter === "K" ? 1 : 0 };
        return ["G"];
      case "e":
        this.#batchOpen = true;
        return [];
      case "r":
        this.#batchOpen = true;
        return this.#fails(false);
      case "y":
        this.#batchOpen = true;
        this.#copy = { isSimple: false, more: 0 };
        return ["G"];
      case "S":
        this.#skipping = this.#batchOpen = false;
        return ["Z"];
      default:
        return [];
    }
  }

  /** Cancels what it does: while it reads the data of a COPY that is an error. */
  interrupt(): readonly Reply[] {
    return this.#copy === null ? [] : this.#fails(this.#copy.isSimple);
  }

  #inCopy(letter: Letter, copy: { readonly isSimple: boolean; more: number }): readonly Reply[] {
    switch (letter) {
      case "d":
      case "S":
      case "H":
        return [];
      case "D":
      case "f":
        return this.#fails(copy.isSimple);
      case "c":
        if (copy.more-- > 0) return ["G"];
        this.#copy = null;
        return copy.isSimple ? ["Z"] : [];
      default: // the body of that message would be read as messages: it gives up
        this.isDead = true;
        return ["E"];
    }
  }

  #fails(isSimple: boolean): readonly Reply[] {
    this.#copy = null;
    if (isSimple) return ["E", "Z"];
    this.#skipping = true;
    return ["E"];
  }
}
