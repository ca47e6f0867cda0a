// SessionContext: what row-level security will see, and the messages that establish and prove it.

import { BackendMessage, SqlState, TransactionStatus } from "../codec/codes.ts";
import { parseErrorResponse } from "../codec/backend.ts";
import { PgError } from "../codec/error.ts";
import { encodeBinaryQuery, type StartupParameter } from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";

const UTF8 = new TextEncoder();

/** One run-time parameter and its value. */
export interface Setting {
  readonly name: string;
  readonly value: string;
}

/**
 * A role and run-time parameters. Immutable; compared by identity; encoded once.
 *
 * Values travel as bytes and are converted by the server, so that nothing a client can choose
 * (client_encoding, standard_conforming_strings, search_path) changes what they mean.
 */
export class SessionContext {
  /** The variables in the configured order, then the role. */
  readonly settings: readonly Setting[];
  /** Parse, Bind, Execute, Close and Sync that set everything and read it back. */
  readonly message: Uint8Array;
  readonly #variables: readonly Setting[];
  #payload: string | null = null;

  /**
   * @param defaults settings that the session begins with, and may change: the server must take
   * them, in whatever spelling it has for their values.
   */
  constructor(
    variables: readonly Setting[],
    readonly role: string,
    readonly defaults: readonly Setting[] = [],
  ) {
    this.#variables = variables;
    this.settings = [...variables, { name: "role", value: role }];
    const all = this.#all;
    this.message = encodeBinaryQuery(
      statement(all.length),
      all.flatMap(({ name, value }) => [UTF8.encode(name), UTF8.encode(value)]),
    );
  }

  get #all(): Setting[] {
    return [...this.settings, ...this.defaults];
  }

  /** The same for the same settings: for telling contexts apart, never for letting anybody in. */
  get key(): string {
    return JSON.stringify(this.#all.map(({ name, value }) => [name, value]));
  }

  /**
   * The variables as what a token says: a JSON object in ASCII whose names are in lower case.
   * Without those that are empty, because to the database's functions nothing and empty are one.
   */
  get payload(): string {
    return this.#payload ??= payloadOf(this.#variables);
  }

  /** The variable that is read back to see whether the database believes a token. */
  get witness(): Setting {
    return this.settings[0]!;
  }

  /** The same as start-up parameters: what RESET ALL, RESET ROLE and DISCARD ALL go back to. */
  get startupParameters(): StartupParameter[] {
    return this.#all.map(({ name, value }) => ({ name, value: UTF8.encode(value) }));
  }
}

function payloadOf(variables: readonly Setting[]): string {
  const values = new Map(variables.map(({ name, value }) => [name.toLowerCase(), value]));
  const object = Object.fromEntries([...values].filter(([, value]) => value !== ""));
  const escape = (character: string) =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(object).replace(/[\u007f-\uffff]/g, escape);
}

/** One statement whatever the values: nothing in it comes from outside. */
function statement(settingCount: number): string {
  const text = (parameter: number) => `pg_catalog.convert_from($${parameter}, 'UTF8')`;
  const bytes = (expression: string) => `pg_catalog.convert_to(${expression}, 'UTF8')`;
  const columns = Array.from({ length: settingCount }, (_, index) => {
    const name = text(2 * index + 1);
    const before = bytes(`pg_catalog.current_setting(${name}, true)`);
    const after = bytes(`pg_catalog.set_config(${name}, ${text(2 * index + 2)}, false)`);
    return `${before}, ${after}`;
  });
  return `SELECT ${columns.join(", ")}`;
}

/** What becomes of a message that came while the context was being confirmed. */
export type ConfirmationStep = "forward" | "withhold" | "confirmed";

/** The replies, in the order in which the server must send them. */
const EXPECTED_REPLIES = [
  BackendMessage.ParseComplete,
  BackendMessage.BindComplete,
  BackendMessage.DataRow,
  BackendMessage.CommandComplete,
  BackendMessage.CloseComplete,
  BackendMessage.ReadyForQuery,
] as const;

/**
 * Reads the replies to `SessionContext.message`. The context is confirmed when every reply came,
 * in order, and the server has read back every value exactly.
 */
export class ContextConfirmation {
  #received = 0;

  /**
   * @param fresh whether nothing of a session may have been there before: what was there is what
   * RESET goes back to then, and must be nothing, or the same.
   */
  constructor(readonly context: SessionContext, readonly fresh = true) {}

  /**
   * Takes the message with body `bytes[start, end)`.
   *
   * @throws {PgError} with the server's SQLSTATE when it refused, 08P01 when the replies are not
   * those to our message, 42501 when a value would not be the session's for good.
   */
  step(type: number, bytes: Uint8Array, start: number, end: number): ConfirmationStep {
    switch (type) {
      case BackendMessage.NoticeResponse:
      case BackendMessage.NotificationResponse:
      case BackendMessage.ParameterStatus:
        return "forward";
      case BackendMessage.ErrorResponse: {
        const { sqlState, message } = parseErrorResponse(bytes, start, end);
        throw new PgError(sqlState, `could not establish the session context: ${message}`);
      }
    }
    if (type !== EXPECTED_REPLIES[this.#received]) throw outOfStep();
    this.#received++;
    if (type === BackendMessage.DataRow) this.#checkRow(new MessageReader(bytes, start, end));
    if (type !== BackendMessage.ReadyForQuery) return "withhold";
    if (!this.#mayEndWith(bytes[start]!)) throw outOfStep();
    return "confirmed";
  }

  /** In the middle of a session it may be set inside a transaction, and goes with it. */
  #mayEndWith(status: number): boolean {
    return status === TransactionStatus.Idle ||
      !this.fresh && status === TransactionStatus.InTransaction;
  }

  #checkRow(row: MessageReader): void {
    const { settings, defaults } = this.context;
    if (row.int16() !== 2 * (settings.length + defaults.length)) throw outOfStep();
    for (const { name, value } of settings) {
      const wanted = UTF8.encode(value);
      const before = readValue(row);
      const after = readValue(row);
      if (after === null || !equals(after, wanted)) throw notTaken(name);
      if (this.fresh && before !== null && !isUnset(name, before) && !equals(before, wanted)) {
        throw wouldNotLast(name);
      }
    }
    for (const { name } of defaults) {
      readValue(row);
      if (readValue(row) === null) throw notTaken(name);
    }
    row.expectEnd();
  }
}

function readValue(row: MessageReader): Uint8Array | null {
  const size = row.int32();
  return size < 0 ? null : row.window(size);
}

function isUnset(name: string, value: Uint8Array): boolean {
  return value.length === 0 || (name === "role" && equals(value, UTF8.encode("none")));
}

function equals(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function outOfStep(): PgError {
  return PgError.protocolViolation("could not confirm the session context", {
    detail: "The upstream server's replies are not those to the statement that sets it.",
  });
}

function notTaken(name: string): PgError {
  return new PgError(
    SqlState.InsufficientPrivilege,
    `could not establish the session context: parameter "${name}" did not take its value`,
  );
}

function wouldNotLast(name: string): PgError {
  return new PgError(
    SqlState.InsufficientPrivilege,
    `the session context would not last: RESET would give parameter "${name}" another value`,
    {
      hint: `Remove what ALTER ROLE or ALTER DATABASE … SET ${name} stored; ` +
        "context values that are not ASCII need a database with encoding UTF8.",
    },
  );
}
