// Which parameters a query has: every `$1` that is one, and none inside a literal, name or comment.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html

const IDENTIFIER_GOES_ON = /[A-Za-z0-9_$\u0080-\uffff]/;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const PARAMETER = /\$(\d+)/y;
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y;

/** The numbers behind `$`, as the server would read them with standard_conforming_strings. */
export function parametersIn(sql: string): Set<number> {
  const found = new Set<number>();
  for (let at = 0; at < sql.length;) {
    const character = sql[at]!;
    if (sql.startsWith("--", at)) {
      at = endOf(sql, "\n", at);
    } else if (sql.startsWith("/*", at)) {
      at = commentEnd(sql, at);
    } else if (character === "'" || character === '"') {
      at = quoteEnd(sql, at, character, false);
    } else if (character === "$") {
      const tag = match(DOLLAR_TAG, sql, at);
      const parameter = match(PARAMETER, sql, at);
      if (tag !== null) at = endOf(sql, tag[0], at + tag[0].length);
      else if (parameter !== null) {
        found.add(Number(parameter[1]));
        at += parameter[0].length;
      } else at++;
    } else {
      const word = match(WORD, sql, at);
      at += word === null ? numberSize(sql, at) : word[0].length;
      // An escape string: E'it\'s'
      if (word !== null && /^e$/i.test(word[0]) && sql[at] === "'") {
        at = quoteEnd(sql, at, "'", true);
      }
    }
  }
  return found;
}

function match(pattern: RegExp, sql: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(sql);
}

/** A number takes the letters that follow it with it; anything else is one character. */
function numberSize(sql: string, at: number): number {
  let end = at + 1;
  if (!/\d/.test(sql[at]!)) return 1;
  while (end < sql.length && IDENTIFIER_GOES_ON.test(sql[end]!) && sql[end] !== "$") end++;
  return end - at;
}

function endOf(sql: string, mark: string, from: number): number {
  const at = sql.indexOf(mark, from);
  return at < 0 ? sql.length : at + mark.length;
}

function commentEnd(sql: string, start: number): number {
  let depth = 0;
  for (let at = start; at < sql.length; at++) {
    if (sql.startsWith("/*", at)) {
      depth++;
      at++;
    } else if (sql.startsWith("*/", at)) {
      at++;
      if (--depth === 0) return at + 1;
    }
  }
  return sql.length;
}

function quoteEnd(sql: string, start: number, quote: string, escapes: boolean): number {
  for (let at = start + 1; at < sql.length; at++) {
    if (escapes && sql[at] === "\\") at++;
    else if (sql[at] === quote && sql[at + 1] === quote) at++;
    else if (sql[at] === quote) return at + 1;
  }
  return sql.length;
}
