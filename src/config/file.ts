// The grammar of pgvpd.conf: `key = value` lines, comments, quotes. Knows no settings.
//
// An unquoted value ends before a "#" or ";" that follows white space. In quotes everything is
// itself, and the quote is written twice: "say ""hi""".

/** One `key = value` line. */
export interface FileEntry {
  readonly key: string;
  /** Without quotes, comment and surrounding blanks. */
  readonly value: string;
  /** The first line is 1. */
  readonly line: number;
  /** True when an unquoted value ended at a comment. */
  readonly cut: boolean;
}

/** A line that is not `key = value`. `firstWord` may be part of a secret: compare, never show. */
export interface FileFault {
  readonly line: number;
  readonly message: string;
  /** The key if the line has one, else the first word. */
  readonly firstWord: string;
}

export interface ParsedFile {
  readonly entries: readonly FileEntry[];
  readonly faults: readonly FileFault[];
}

/** Reads a whole file; never throws. Byte order mark and CRLF are accepted. */
export function parseFile(text: string): ParsedFile {
  const entries: FileEntry[] = [];
  const faults: FileFault[] = [];
  text.replace(/^\uFEFF/, "").split(/\r?\n/).forEach((content, index) => {
    const result = parseLine(content, index + 1);
    if (result === null) return;
    if ("message" in result) faults.push(result);
    else entries.push(result);
  });
  return { entries, faults };
}

function parseLine(content: string, line: number): FileEntry | FileFault | null {
  const trimmed = trimBlanks(content);
  if (trimmed === "" || trimmed.startsWith("#") || trimmed.startsWith(";")) return null;
  const fault = (message: string, firstWord = "") => ({ line, message, firstWord });
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x08\x0b-\x1f\x7f]/.test(trimmed)) {
    return fault("control character in the line; remove it");
  }
  if (trimmed.startsWith("[")) {
    return fault("section header; there are no sections, remove the line");
  }
  const equals = trimmed.indexOf("=");
  if (equals < 0) {
    return fault('no "=" in the line; write key = value', /^[^ \t]*/.exec(trimmed)![0]);
  }
  const key = trimBlanks(trimmed.slice(0, equals));
  if (key === "") return fault('no key before the "="; write key = value');
  const rest = trimmed.slice(equals + 1);
  const value = trimBlanks(rest);
  if (value.startsWith('"') || value.startsWith("'")) {
    const read = readQuoted(value);
    return typeof read === "string"
      ? fault(read, key)
      : { key, value: read.value, line, cut: false };
  }
  const comment = /[ \t][#;]/.exec(rest);
  if (comment === null) return { key, value, line, cut: false };
  return { key, value: trimBlanks(rest.slice(0, comment.index)), line, cut: true };
}

/** The value, or what is wrong with it. */
function readQuoted(text: string): { value: string } | string {
  const quote = text[0]!;
  let value = "";
  let start = 1;
  for (;;) {
    const end = text.indexOf(quote, start);
    if (end < 0) {
      return `unbalanced quote; end the value with ${quote}, and write a ${quote} inside it twice`;
    }
    value += text.slice(start, end);
    if (text[end + 1] !== quote) {
      const behind = text.slice(end + 1);
      if (behind === "" || /^[ \t]+([#;].*)?$/.test(behind)) return { value };
      return `text behind the closing quote; write a ${quote} inside the value twice`;
    }
    value += quote;
    start = end + 2;
  }
}

/** Blanks are space and tab only: what else looks like one may belong to a value. */
function trimBlanks(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

/**
 * A value as a file spells it, quoted when it has to be.
 *
 * Throws RangeError for control characters: no line can hold them.
 */
export function formatValue(value: string): string {
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
    throw new RangeError("a configuration file cannot hold control characters");
  }
  if (/^[A-Za-z0-9_.:\/,*@%+|()[\]-]+( [A-Za-z0-9_.:\/,*@%+|()[\]-]+)*$/.test(value)) return value;
  const quote = value.includes('"') && !value.includes("'") ? "'" : '"';
  return quote + value.replaceAll(quote, quote + quote) + quote;
}
