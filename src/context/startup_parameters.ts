// What a tenant's client may say in its start-up parameters, and what pgvpd says in its place.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { StartupMessage, StartupParameter } from "../codec/frontend.ts";
import type { Setting } from "./context.ts";

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

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
  context: readonly StartupParameter[],
): StartupMessage {
  const parameters = message.parameters.map((parameter) =>
    parameter.name === "user" ? { name: "user", value: UTF8.encode(role) } : parameter
  );
  return {
    protocolVersion: message.protocolVersion,
    parameters: [...parameters, ...context],
  };
}

/** The message with another database; null: with the client's own. */
export function withDatabase(message: StartupMessage, database: string | null): StartupMessage {
  if (database === null) return message;
  const others = message.parameters.filter(({ name }) => name !== "database");
  const parameter = { name: "database", value: UTF8.encode(database) };
  return { ...message, parameters: [...others, parameter] };
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
    if (name === "options") {
      for (const { name } of parseOptions(TEXT.decode(value)).settings) check(name);
    }
    if (name === "replication") refuseReplication(TEXT.decode(value));
  }
}

/** What a client's start-up parameters mean for a connection that has been started already. */
export interface StartupSettings {
  /** Can be set later, in this order: what stands inside `options` first, as the server does it. */
  readonly settings: readonly Setting[];
  /** Cannot be set later: a connection has them from its start. One spelling for one meaning. */
  readonly startupOnly: readonly Setting[];
  /** Options of the protocol itself, `_pq_.…`. */
  readonly protocolOptions: readonly string[];
}

/** Fixed once a connection is there; who wants it on has a pool of its own. */
const IGNORE_INDEXES = "ignore_system_indexes";
/** The same, and no pool: every number would make another one, and hold a place in it asleep. */
const POST_AUTH_DELAY = "post_auth_delay";
/** Parameters of the start-up message that are no settings. */
const NO_SETTINGS: ReadonlySet<string> = new Set(["user", "database", "options", "replication"]);
const PROTOCOL_OPTION_PREFIX = "_pq_.";
/** Settings that one client may bring; libpq sends four. */
const SETTINGS_MAX = 100;

/**
 * Sorts the parameters of a client that will be served on a pooled connection.
 *
 * @throws {PgError} 0A000 for what only a new connection could have; 22021 for values that are not
 * UTF-8, because nobody knows in which other encoding they are; 22023 for what is no Boolean where
 * one decides which pool it is; 54000 for too many.
 */
export function startupSettings(parameters: readonly StartupParameter[]): StartupSettings {
  const options = parameters.find(({ name }) => name === "options");
  const { settings: fromOptions, switches } = parseOptions(TEXT.decode(options?.value));
  if (switches.length > 0) {
    throw new PgError(
      SqlState.FeatureNotSupported,
      `command-line argument "${switches[0]}" cannot be applied to a pooled connection`,
      { hint: 'Only "-c name=value" can be used in the connection\'s options.' },
    );
  }
  const named = parameters
    .filter(({ name }) => !NO_SETTINGS.has(name) && !name.startsWith(PROTOCOL_OPTION_PREFIX))
    .map(({ name, value }) => ({ name, value: settingText(name, value) }));
  const all = [...fromOptions, ...named];
  if (all.length > SETTINGS_MAX) {
    throw new PgError(SqlState.ProgramLimitExceeded, "too many settings in the start-up packet");
  }
  const isDelay = ({ name }: Setting) => canonicalName(name) === POST_AUTH_DELAY;
  if (all.some(isDelay)) {
    throw new PgError(
      SqlState.FeatureNotSupported,
      `"${POST_AUTH_DELAY}" cannot be applied to a pooled connection`,
    );
  }
  const isIgnoring = ({ name }: Setting) => canonicalName(name) === IGNORE_INDEXES;
  const ignoring = all.filter(isIgnoring).map(({ value }) => isOn(IGNORE_INDEXES, value));
  return {
    settings: all.filter((setting) => !isIgnoring(setting)),
    startupOnly: ignoring.at(-1) === true ? [{ name: IGNORE_INDEXES, value: "on" }] : [],
    protocolOptions: parameters.map(({ name }) => name)
      .filter((name) => name.startsWith(PROTOCOL_OPTION_PREFIX)),
  };
}

/** A Boolean as the server reads it, parse_bool() in bool.c: any beginning that is of one word. */
function isOn(name: string, value: string): boolean {
  const text = value.toLowerCase();
  const begins = (words: readonly string[]) => words.some((word) => word.startsWith(text));
  const isKnown = text !== "" && text !== "o";
  if (isKnown && begins(["true", "yes", "on", "1"])) return true;
  if (isKnown && begins(["false", "no", "off", "0"])) return false;
  throw new PgError(
    SqlState.InvalidParameterValue,
    `parameter "${name}" requires a Boolean value`,
  );
}

function settingText(name: string, value: Uint8Array): string {
  try {
    return STRICT_UTF8.decode(value);
  } catch {
    throw new PgError(
      SqlState.CharacterNotInRepertoire,
      `start-up parameter ${JSON.stringify(name)} is not valid UTF-8`,
    );
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

/** What an `options` string says. */
export interface Options {
  readonly settings: readonly Setting[];
  /** Other switches of a server process, such as `-e`. */
  readonly switches: readonly string[];
}

/**
 * What an `options` string sets, in every spelling that the server accepts: `-c x=y`, `-cx=y`,
 * `--x=y`, behind other switches (`-ec x=y`), with backslash escapes.
 *
 * @throws {PgError} 08P01 for what the server would not accept either.
 */
export function parseOptions(options: string): Options {
  const words = splitOptions(options);
  const settings: Setting[] = [];
  const switches: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (!word.startsWith("-") || word === "-" || word === "--") throw invalidOptions(word);
    for (let at = 1; at < word.length; at++) {
      const letter = word[at]!;
      if (SWITCHES_WITHOUT_VALUE.includes(letter)) {
        switches.push(`-${letter}`);
        continue;
      }
      if (!SWITCHES_WITH_VALUE.includes(letter)) throw invalidOptions(word);
      const rest = word.slice(at + 1);
      const value = rest !== "" ? rest : words[++index];
      if (value === undefined) throw invalidOptions(word);
      if (letter === "c" || letter === "-") settings.push(assignment(value, word));
      else switches.push(`-${letter}`);
      break;
    }
  }
  return { settings, switches };
}

function assignment(text: string, word: string): Setting {
  const equalsAt = text.indexOf("=");
  if (equalsAt < 1) throw invalidOptions(word);
  // The server takes a dash in a name for an underscore here, and nowhere else.
  return { name: text.slice(0, equalsAt).replaceAll("-", "_"), value: text.slice(equalsAt + 1) };
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
