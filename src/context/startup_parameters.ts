// What a tenant's client may say in its start-up parameters, and what pgvpd says in its place.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { StartupMessage, StartupParameter } from "../codec/frontend.ts";
import type { SessionContext } from "./context.ts";

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/** Parameters that decide who a session is; nobody but pgvpd gives them. */
const IDENTITY_PARAMETERS = ["role", "session_authorization"];
/** Parameters of this prefix are pgvpd's own. */
const OWN_PREFIX = "pgvpd.";

/**
 * The start-up message for the server: the client's parameters in their order, the user rewritten,
 * and behind them the context, which so becomes what RESET goes back to. Behind, because the server
 * takes the last value it is given, those inside `options` first of all.
 */
export function rewriteStartup(
  message: StartupMessage,
  role: string,
  context: SessionContext | null,
): StartupMessage {
  const parameters = message.parameters.map((parameter) =>
    parameter.name === "user" ? { name: "user", value: UTF8.encode(role) } : parameter
  );
  return {
    protocolVersion: message.protocolVersion,
    parameters: context === null ? parameters : [...parameters, ...context.startupParameters],
  };
}

/**
 * Refuses what would let a tenant's client decide its own context, or leave row-level security.
 *
 * @throws {PgError} 42501 for a parameter that is pgvpd's to set, also inside `options`; 0A000 for
 * replication, which no policy filters; 08P01 for `options` that cannot be read.
 */
export function refuseReservedParameters(
  parameters: readonly StartupParameter[],
  contextVariables: readonly string[],
): void {
  const reserved = new Set([...IDENTITY_PARAMETERS, ...contextVariables.map(canonicalName)]);
  const check = (name: string) => {
    const canonical = canonicalName(name);
    if (!reserved.has(canonical) && !canonical.startsWith(OWN_PREFIX)) return;
    throw new PgError(
      SqlState.InsufficientPrivilege,
      `parameter "${canonical}" cannot be set by the client`,
      {
        detail: "It is part of the session context, which follows from the user name.",
        hint: "Remove it from the connection's parameters, options and PGOPTIONS.",
      },
    );
  };
  for (const { name, value } of parameters) {
    check(name);
    if (name === "options") parseOptions(TEXT.decode(value)).forEach(check);
    if (name === "replication") refuseReplication(TEXT.decode(value));
  }
}

/** The value of a start-up parameter, or null when it is not there or empty. */
export function findParameter(
  parameters: readonly StartupParameter[],
  name: string,
): Uint8Array | null {
  const value = parameters.find((parameter) => parameter.name === name)?.value;
  return value === undefined || value.length === 0 ? null : value;
}

/** Names are compared without case, and a `-` in an option's name means `_`. */
function canonicalName(name: string): string {
  return name.replaceAll("-", "_").replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function refuseReplication(value: string): void {
  if (["false", "off", "no", "0"].includes(value.toLowerCase())) return;
  throw new PgError(
    SqlState.FeatureNotSupported,
    "replication connections are not available to tenants",
    {
      detail: "Row-level security does not apply to a replication stream.",
      hint: "Connect as a user listed in superuser_bypass.",
    },
  );
}

// The switches of a server process, as in process_postgres_switches() of postgres.c.
const SWITCHES_WITH_VALUE = "BCcDdfhkNprStvW-";
const SWITCHES_WITHOUT_VALUE = "bEeFijlnOPsT";

/**
 * The names of the parameters that an `options` string sets, in every spelling that the server
 * accepts: `-c x=y`, `-cx=y`, `--x=y`, behind other switches (`-ec x=y`), with backslash escapes.
 *
 * @throws {PgError} 08P01 for what the server would not accept either.
 */
export function parseOptions(options: string): string[] {
  const words = splitOptions(options);
  const names: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (!word.startsWith("-") || word === "-" || word === "--") throw invalidOptions(word);
    for (let at = 1; at < word.length; at++) {
      const letter = word[at]!;
      if (SWITCHES_WITHOUT_VALUE.includes(letter)) continue;
      if (!SWITCHES_WITH_VALUE.includes(letter)) throw invalidOptions(word);
      const rest = word.slice(at + 1);
      const value = rest !== "" ? rest : words[++index];
      if (value === undefined) throw invalidOptions(word);
      if (letter === "c" || letter === "-") names.push(assignedName(value, word));
      break;
    }
  }
  return names;
}

function assignedName(assignment: string, word: string): string {
  const equalsAt = assignment.indexOf("=");
  if (equalsAt < 1) throw invalidOptions(word);
  return assignment.slice(0, equalsAt);
}

/** Splits at white space; a backslash makes the next character part of the word. */
function splitOptions(options: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < options.length; at++) {
    const character = options[at]!;
    if (/[ \t\n\v\f\r]/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (character === "\\") {
      word = (word ?? "") + (options[++at] ?? "");
    } else {
      word = (word ?? "") + character;
    }
  }
  if (word !== null) words.push(word);
  return words;
}

function invalidOptions(word: string): PgError {
  // What stands behind "=", or behind a space that had to be escaped, may be a secret.
  const name = word.startsWith("-") ? `: ${JSON.stringify(word.split("=", 1)[0])}` : "";
  return PgError.protocolViolation(
    `invalid command-line argument for server process${name}`,
    { hint: 'Write the connection\'s options as "-c name=value".' },
  );
}
