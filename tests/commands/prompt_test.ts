// Promise: a password is read without being shown, and the terminal is put back in every case.

import assert from "node:assert/strict";
import { askPassword, type Terminal } from "../../src/commands/prompt.ts";

/** Types these bytes, piece by piece. */
class TypedTerminal implements Terminal {
  isRaw = false;
  shown = "";
  readonly #pieces: Uint8Array[];

  constructor(...pieces: string[]) {
    this.#pieces = pieces.map((piece) => new TextEncoder().encode(piece));
  }

  readSync(buffer: Uint8Array): number | null {
    assert(this.isRaw, "nothing is read while what is typed is shown");
    const piece = this.#pieces.shift();
    if (piece === undefined) return null;
    buffer.set(piece);
    return piece.length;
  }

  setRaw(isRaw: boolean): void {
    this.isRaw = isRaw;
  }

  writeSync(bytes: Uint8Array): number {
    this.shown += new TextDecoder().decode(bytes);
    return bytes.length;
  }
}

Deno.test("prompt: what is typed until the end of the line, and nothing of it is shown", () => {
  for (
    const [pieces, password] of [
      [["secret\r"], "secret"],
      [["se", "cret\n", "more"], "secret"],
      [["\r"], ""],
      [["a b\tc\r"], "a b\tc"],
      [["pässwörd\x7f\x7fü\r"], "pässwöü"],
      [["日本\b語\r"], "日語"],
      [["\x7f\x7fx\r"], "x"],
      [["a\x04b\r"], "a\x04b"],
    ] as const
  ) {
    const terminal = new TypedTerminal(...pieces);
    assert.equal(askPassword(terminal, "Password: "), password);
    assert.deepEqual([terminal.shown, terminal.isRaw], ["Password: \n", false]);
  }
});

Deno.test("prompt: given up, at its end, or too long", () => {
  for (
    const [pieces, words] of [
      [["sec\x03"], /Interrupted/],
      [["\x04"], /No password/],
      [["sec"], /No password/],
      [Array(11).fill("x".repeat(100)), /too long/],
    ] as const
  ) {
    const terminal = new TypedTerminal(...pieces);
    assert.throws(() => askPassword(terminal, "Password: "), words);
    assert.equal(terminal.isRaw, false);
  }
});
