// What a statement leaves behind in its session, as far as its text tells: what a client in
// transaction mode would miss on another backend.

/** Whether such a client keeps its backend, is sent away, or loses what it has left. */
export type SessionStatePolicy = "pin" | "error" | "ignore";

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";

/** Why a client must keep its backend. */
export type PinReason =
  | "advisory lock"
  | "cursor with hold"
  | "listen"
  | "load"
  | "prepare"
  | "set"
  | "set_config"
  | "temporary object";

/** Parameters that PostgreSQL reports and that follow the client from backend to backend. */
export const FOLLOWING_PARAMETERS: readonly string[] = [
  "application_name",
  "client_encoding",
  "DateStyle",
  "default_transaction_read_only",
  "IntervalStyle",
  "scram_iterations",
  "search_path",
  "standard_conforming_strings",
  "TimeZone",
];

/** More text than this is not looked at: what slips through can be lost, but never leaks. */
const TEXT_SIZE_MAX = 64 * 1024;
const LATIN1 = new TextDecoder("latin1");
const UNDERSCORE = 0x5f;
const SEMICOLON = 0x3b;

/** First letters of statements that need a closer look: declare, listen, load, prepare, set. */
const SUSPECTS = "dlpsDLPS";
const isSuspect = new Uint8Array(256);
for (const letter of SUSPECTS) isSuspect[letter.charCodeAt(0)] = 1;
/** A statement may also begin behind a comment or a parenthesis. */
for (const letter of "/-(") isSuspect[letter.charCodeAt(0)] = 1;
const isBlank = new Uint8Array(256);
for (const blank of " \t\n\r\f\v") isBlank[blank.charCodeAt(0)] = 1;

/**
 * Why a client that runs the statements in `bytes[start, end)` must keep its backend; null when
 * nothing is seen that would stay.
 *
 * Nearly all statements are decided by their first letters and by the underscores in them.
 */
export function pinReason(
  bytes: Uint8Array,
  start: number,
  end: number,
  reported: ReadonlyMap<string, string>,
): PinReason | null {
  end = Math.min(end, start + TEXT_SIZE_MAX);
  if (!mayLeaveState(bytes, start, end)) return null;
  return reasonIn(LATIN1.decode(bytes.subarray(start, end)), reported);
}

function mayLeaveState(bytes: Uint8Array, start: number, end: number): boolean {
  let atStart = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === UNDERSCORE && isTelling(bytes, at)) return true;
    if ((byte | 0x20) === 0x74 && isTemp(bytes, at)) return true;
    if (atStart && isBlank[byte] === 0) {
      atStart = false;
      if (isSuspect[byte] === 1 && !isSelect(bytes, at)) return true;
    }
    if (byte === SEMICOLON) atStart = true;
  }
  return false;
}

/** The underscore of `advisory_lock`, `set_config`, `pg_temp`: the letters around it decide. */
function isTelling(bytes: Uint8Array, at: number): boolean {
  const before = bytes[at - 1]! | 0x20;
  const after = bytes[at + 1]! | 0x20;
  return before === 0x79 && after === 0x6c || // y_l
    before === 0x74 && after === 0x63 || // t_c
    before === 0x67 && after === 0x74; // g_t
}

/** `temp`, of a temporary object: `SELECT … INTO TEMP`, or in a DO block. */
function isTemp(bytes: Uint8Array, at: number): boolean {
  return (bytes[at + 1]! | 0x20) === 0x65 && (bytes[at + 2]! | 0x20) === 0x6d &&
    (bytes[at + 3]! | 0x20) === 0x70;
}

/** `select`, and not `set`: the second and third letters. */
function isSelect(bytes: Uint8Array, at: number): boolean {
  return (bytes[at]! | 0x20) === 0x73 && (bytes[at + 1]! | 0x20) === 0x65 &&
    (bytes[at + 2]! | 0x20) === 0x6c;
}

const COMMENTS = /\/\*[\s\S]*?\*\/|--[^\n]*/g;
const TEMPORARY =
  /\b(into\s+((global|local)\s+)?temp(orary)?|temp(orary)?\s+(table|view|sequence|recursive))\b/i;
/** SET of something that lasts no longer than the transaction. */
const SET_TRANSACTION = /^set\s+(local|transaction|constraints)\b/i;
const SET_PARAMETER = /^set\s+(?:session\s+)?("?)([a-z_][\w.$]*)\1\s*(?:=|\bto\b)/i;
const SET_TIME_ZONE = /^set\s+(?:session\s+)?time\s+zone\b/i;
const SET_NAMES = /^set\s+(?:session\s+)?names\b/i;

function reasonIn(text: string, reported: ReadonlyMap<string, string>): PinReason | null {
  if (/\bpg_(try_)?advisory_lock(_shared)?\s*\(/i.test(text)) return "advisory lock";
  if (/\bset_config\s*\(/i.test(text)) return "set_config";
  if (/\bpg_temp\b/i.test(text)) return "temporary object";
  if (TEMPORARY.test(text) && !/\bon\s+commit\s+drop\b/i.test(text)) return "temporary object";
  for (const statement of text.replace(COMMENTS, " ").split(";")) {
    const reason = reasonOf(statement.trim().replace(/^\(+\s*/, ""), reported);
    if (reason !== null) return reason;
  }
  return null;
}

function reasonOf(statement: string, reported: ReadonlyMap<string, string>): PinReason | null {
  const [word = ""] = /^[a-z]+/i.exec(statement) ?? [];
  switch (word.toLowerCase()) {
    case "listen":
      return "listen";
    case "load":
      return "load";
    case "prepare":
      return /^prepare\s+transaction\b/i.test(statement) ? null : "prepare";
    case "set":
      return outlives(statement, reported) ? "set" : null;
    case "declare":
      return /\bwith\s+hold\b/i.test(statement) ? "cursor with hold" : null;
  }
  return null;
}

/** Whether a SET stays on the backend and does not follow the client. */
function outlives(statement: string, reported: ReadonlyMap<string, string>): boolean {
  if (SET_TRANSACTION.test(statement)) return false;
  if (SET_TIME_ZONE.test(statement) || SET_NAMES.test(statement)) return false;
  const name = SET_PARAMETER.exec(statement)?.[2]?.toLowerCase();
  if (name === undefined) return true;
  const following = FOLLOWING_PARAMETERS.find((each) => each.toLowerCase() === name);
  return following === undefined || !reported.has(following);
}

const DEALLOCATE =
  /^\s*deallocate\s+(?:prepare\s+)?(?:(all)|([a-z_][\w$]*)|"((?:[^"]|"")+)")\s*;?\s*$/i;
const DISCARD_ALL = /^\s*discard\s+all\s*;?\s*$/i;

/**
 * The name in a DEALLOCATE that is the whole query `bytes[start, end)`; `*` for all of them, also
 * those of DISCARD ALL; null for any other query.
 */
export function deallocatedName(bytes: Uint8Array, start: number, end: number): string | null {
  const text = LATIN1.decode(bytes.subarray(start, end)).replace(/\0$/, "");
  if (DISCARD_ALL.test(text)) return "*";
  const found = DEALLOCATE.exec(text);
  if (found === null) return null;
  if (found[1] !== undefined) return "*";
  return found[2]?.toLowerCase() ?? found[3]!.replaceAll('""', '"');
}

/** What a client is told that may not leave anything. */
export function stateRefused(reason: string): PgError {
  return new PgError(
    SqlState.FeatureNotSupported,
    `session state is not available in transaction mode: ${reason}`,
    { hint: "Use what ends with the transaction (SET LOCAL …), or set session_state = pin." },
  );
}
