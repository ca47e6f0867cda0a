// What the first words of a statement say about the session context: for an alarm. SQL has endless
// other ways to say the same, so that nothing here keeps anybody from anything.

/** What is looked at from the beginning of a statement on, comments in front of it included. */
export const WORDS_SIZE_MAX = 256;
const LATIN1 = new TextDecoder("latin1");

const isBlank = new Uint8Array(256);
for (const blank of " \t\n\r\f\v(;") isBlank[blank.charCodeAt(0)] = 1;
const SLASH = 0x2f;
const STAR = 0x2a;
const DASH = 0x2d;
const NEWLINE = 0x0a;
const LOWER_CASE = 0x20;
const S = 0x73;
const E = 0x65;
const T = 0x74;
const L = 0x6c;
const R = 0x72;
const P = 0x70;
const G = 0x67;
const QUOTE = 0x22;
/** As long as the word `select`. */
const SELECT_SIZE = 6;

/** Where more bytes of the statement are needed to tell. */
export const UNDECIDED = -2;
/** The statement says nothing about the context. */
export const NOTHING_SAID = -1;

/**
 * Looks at a statement whose text begins at `start` and of which `[start, end)` has come.
 *
 * @param isWhole nothing of what is looked at is still to come.
 * @returns where the first word is that may be about the context: a closer look is worth while;
 * `NOTHING_SAID`, which is what nearly all statements get; or `UNDECIDED`.
 */
export function suspectAt(
  bytes: Uint8Array,
  start: number,
  end: number,
  isWhole: boolean,
): number {
  const unknown = isWhole ? NOTHING_SAID : UNDECIDED;
  const at = firstWord(bytes, start, end);
  if (at + 2 >= end) return unknown;
  const first = bytes[at]! | LOWER_CASE;
  if (first !== S && first !== R) return NOTHING_SAID;
  if ((bytes[at + 1]! | LOWER_CASE) !== E) return NOTHING_SAID;
  const third = bytes[at + 2]! | LOWER_CASE;
  if (first === R) return third === S ? at : NOTHING_SAID; // reset
  if (third === T) return at;
  if (third !== L) return NOTHING_SAID;
  let called = firstWord(bytes, at + SELECT_SIZE, end);
  if (bytes[called] === QUOTE) called++;
  if (called + 1 >= end) return unknown;
  const letter = bytes[called]! | LOWER_CASE;
  const next = bytes[called + 1]! | LOWER_CASE;
  // set_config or pg_catalog
  return letter === S && next === E || letter === P && next === G ? at : NOTHING_SAID;
}

/** Behind blanks, parentheses, semicolons and comments. */
function firstWord(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end) {
    if (isBlank[bytes[at]!] === 1) {
      at++;
    } else if (bytes[at] === DASH && bytes[at + 1] === DASH) {
      while (at < end && bytes[at] !== NEWLINE) at++;
    } else if (bytes[at] === SLASH && bytes[at + 1] === STAR) {
      at += 2;
      while (at < end && !(bytes[at] === STAR && bytes[at + 1] === SLASH)) at++;
      at += 2;
    } else {
      return at;
    }
  }
  return end;
}

const NAME = String.raw`"?[a-z_][\w$]*"?(?:\s*\.\s*"?[a-z_][\w$]*"?)*|"[^"]+"`;
const IDENTITY = String.raw`role|session\s+authorization`;
const SET = new RegExp(
  String
    .raw`^(set|reset)\s+(?:(?:session|local)\s+(?!authorization\b))?(${IDENTITY}|${NAME})(?![\w$."])`,
  "i",
);
const SET_CONFIG =
  /^select\s*\(*\s*(?:"?pg_catalog"?\s*\.\s*)?"?set_config"?\s*\(\s*(?:e|u&)?'([^']*)'/i;
/** Parameters that decide who a session is. */
const ROLES: ReadonlySet<string> = new Set(["role", "session_authorization"]);
const OWN_PREFIX = "pgvpd.";

/**
 * What a suspect statement does: `SET app.tenant`, `RESET role`, `set_config app.tenant`; null when
 * that is about no role and none of the variables.
 *
 * @param variables in lower case.
 */
export function changeIn(
  bytes: Uint8Array,
  start: number,
  end: number,
  variables: ReadonlySet<string>,
): string | null {
  const text = LATIN1.decode(bytes.subarray(start, Math.min(end, start + WORDS_SIZE_MAX)));
  const [, word, named] = SET.exec(text) ?? [];
  const name = named ?? SET_CONFIG.exec(text)?.[1];
  if (name === undefined) return null;
  const plain = name.toLowerCase().replaceAll('"', "").replace(/^session\s+auth/, "session_auth")
    .replace(/\s+/g, "");
  if (!ROLES.has(plain) && !variables.has(plain) && !plain.startsWith(OWN_PREFIX)) return null;
  return `${word?.toUpperCase() ?? "set_config"} ${plain}`;
}
