// Asks for a password on the terminal, without showing it.

import { CommandError } from "./failure.ts";

/** What is needed of a terminal; `Deno.stdin` and `Deno.stderr` together are one. */
export interface Terminal {
  readSync(buffer: Uint8Array): number | null;
  setRaw(isRaw: boolean): void;
  writeSync(bytes: Uint8Array): number;
}

const LENGTH_MAX = 1_000;
const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACE = 8;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
const DELETE = 127;

/** The terminal that the program was started on; null: there is none. */
export function ownTerminal(): Terminal | null {
  if (!Deno.stdin.isTerminal()) return null;
  return {
    readSync: (buffer) => Deno.stdin.readSync(buffer),
    setRaw: (isRaw) => Deno.stdin.setRaw(isRaw),
    writeSync: (bytes) => Deno.stderr.writeSync(bytes),
  };
}

/**
 * Reads one line that is not shown.
 *
 * @throws {CommandError} after Ctrl-C, at the end of input, and when the line is too long.
 */
export function askPassword(terminal: Terminal, question: string): string {
  const encoder = new TextEncoder();
  terminal.writeSync(encoder.encode(question));
  terminal.setRaw(true);
  try {
    return readLine(terminal);
  } finally {
    terminal.setRaw(false);
    terminal.writeSync(encoder.encode("\n"));
  }
}

function readLine(terminal: Terminal): string {
  const typed: number[] = [];
  const buffer = new Uint8Array(256);
  for (;;) {
    const length = terminal.readSync(buffer);
    if (length === null) throw new CommandError("No password was given.");
    for (const byte of buffer.subarray(0, length)) {
      if (byte === LINE_FEED || byte === CARRIAGE_RETURN) {
        return new TextDecoder().decode(Uint8Array.from(typed));
      }
      if (byte === CTRL_C) throw new CommandError("Interrupted.");
      if (byte === CTRL_D && typed.length === 0) throw new CommandError("No password was given.");
      if (byte === BACKSPACE || byte === DELETE) removeCharacter(typed);
      else typed.push(byte);
      if (typed.length > LENGTH_MAX) throw new CommandError("The password is too long.");
    }
  }
}

/** Takes the bytes of the last character off: those that go on one, and the one that begins it. */
function removeCharacter(typed: number[]): void {
  while (typed.length > 0 && (typed.pop()! & 0xc0) === 0x80);
}
