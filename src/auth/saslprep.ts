// SASLprep, which gives one form to the many spellings of a password, as PostgreSQL does it.
// https://www.rfc-editor.org/rfc/rfc4013 and src/common/saslprep.c

import { utf8 } from "./bytes.ts";
import {
  L_CAT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACE,
  PROHIBITED,
  RAND_AL_CAT,
  UNASSIGNED,
} from "./stringprep.ts";

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const SPACE = 0x20;

/**
 * The password to derive keys from. Like PostgreSQL, and unlike RFC 4013, it never refuses one:
 * what is not valid UTF-8, becomes empty, holds a prohibited or unassigned character, or breaks the
 * rule for bidirectional text is used byte for byte.
 *
 * Like PostgreSQL it looks for such characters before the normalization, not behind it. The
 * normalization is that of the Unicode version of V8, where PostgreSQL has its own; both agree on
 * every character of Unicode 3.2, and no other gets that far.
 */
export function saslprep(password: Uint8Array): Uint8Array {
  if (password.every((byte) => byte < 0x80)) return password;
  let text: string;
  try {
    text = DECODER.decode(password);
  } catch {
    return password;
  }
  const mapped = map(text);
  if (mapped.length === 0 || !isAllowed(mapped) || !isBidiAllowed(mapped)) return password;
  return utf8(mapped.map((point) => String.fromCodePoint(point)).join("").normalize("NFKC"));
}

function map(text: string): number[] {
  const mapped: number[] = [];
  for (const character of text) {
    const point = character.codePointAt(0)!;
    // U+200B is in both tables; PostgreSQL looks for spaces first.
    if (NON_ASCII_SPACE.has(point)) mapped.push(SPACE);
    else if (!MAPPED_TO_NOTHING.has(point)) mapped.push(point);
  }
  return mapped;
}

function isAllowed(points: readonly number[]): boolean {
  return !points.some((point) => PROHIBITED.has(point) || UNASSIGNED.has(point));
}

/** RFC 3454 section 6: text that runs to the left does so from its first to its last character. */
function isBidiAllowed(points: readonly number[]): boolean {
  if (!points.some((point) => RAND_AL_CAT.has(point))) return true;
  if (points.some((point) => L_CAT.has(point))) return false;
  return RAND_AL_CAT.has(points[0]!) && RAND_AL_CAT.has(points.at(-1)!);
}
