// Start-up packets and options read by the letter of the documentation and of postgres.c, slowly,
// with regular expressions: a second opinion for the fuzz tests.

const LATIN1 = new TextDecoder("latin1");

/** A decision as text: a kind, or the SQLSTATE of the refusal. */
export type NaiveDecision = string;

/** What the bytes amount to, when these encryption requests have been answered before. */
export function naiveDecision(bytes: Uint8Array, asked: ReadonlySet<number>): NaiveDecision {
  if (bytes.length < 4) return "incomplete";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const size = view.getInt32(0);
  if (size < 8 || size > 10_004) return "08P01";
  if (bytes.length < size) return "incomplete";
  const [high, low] = [view.getUint16(4), view.getUint16(6)];
  if (high === 1234 && low === 5678) return size < 13 || size > 268 ? "08P01" : "cancel";
  if (high === 1234 && (low === 5679 || low === 5680)) {
    if (size !== 8) return "08P01";
    if (asked.has(low)) return "0A000";
    return bytes.length > 8 ? "08P01" : "encryption denied";
  }
  if (high !== 3) return "0A000";
  const pairs = naivePairs(bytes.subarray(8, size));
  return pairs === null ? "08P01" : `startup ${low} ${JSON.stringify(pairs)}`;
}

/** Names and values, one character per byte, or null when the layout is wrong. */
export function naivePairs(body: Uint8Array): [string, string][] | null {
  const text = Array.from(body, (byte) => String.fromCharCode(byte)).join("");
  if (!/^([^\0]+\0[^\0]*\0)*\0$/.test(text)) return null;
  const words = text.slice(0, -1).split("\0").slice(0, -1);
  const pairs: [string, string][] = [];
  for (let at = 0; at < words.length; at += 2) pairs.push([words[at]!, words[at + 1]!]);
  const names = new Set(pairs.map(([name]) => name));
  return names.size === pairs.length ? pairs : null;
}

/** The optstring of process_postgres_switches(). */
const OPTSTRING = "B:bC:c:D:d:EeFf:h:ijk:lN:nOPp:r:S:sTt:v:W:-:";

/** The names that options set, as pg_split_opts() and getopt() find them; null: an error. */
export function naiveOptions(options: string): string[] | null {
  const words = (options.match(/(\\[^]|[^\\ \t\n\v\f\r])+\\?|\\/g) ?? [])
    .map((word) => word.replace(/\\([^])|\\$/g, "$1"));
  const names: string[] = [];
  while (words.length > 0) {
    const word = words.shift()!;
    if (word === "--" || !/^-./s.test(word)) return null;
    for (let rest = word.slice(1); rest !== ""; rest = rest.slice(1)) {
      const place = rest[0] === ":" ? -1 : OPTSTRING.indexOf(rest[0]!);
      if (place < 0) return null;
      if (OPTSTRING[place + 1] !== ":") continue;
      const value = rest.length > 1 ? rest.slice(1) : words.shift();
      if (value === undefined) return null;
      if (rest[0] === "c" || rest[0] === "-") {
        const found = /^([^=]+)=/.exec(value);
        if (found === null) return null;
        names.push(found[1]!.replace(/-/g, "_")); // ParseLongOption()
      }
      break;
    }
  }
  return names;
}

export function latin1Text(bytes: Uint8Array): string {
  return LATIN1.decode(bytes);
}
