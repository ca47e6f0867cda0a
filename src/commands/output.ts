// What commands say: results to standard output, mistakes to standard error.

const ENCODER = new TextEncoder();

/** Writes all of `text`, or as much as a reader that is still there takes. */
export function writeAll(to: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = ENCODER.encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(to.writeSync(bytes));
  } catch {
    // Nobody reads any more; a log line is not worth ending for.
  }
}

/** One line of a result. */
export function printLine(line: string): void {
  writeAll(Deno.stdout, `${line}\n`);
}

/** One mistake, for the person who started the program. */
export function printError(sentence: string): void {
  writeAll(Deno.stderr, `pgvpd: ${sentence}\n`);
}
