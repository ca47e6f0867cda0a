// One query of a resolver as messages: a read-only transaction of its own, with fixed settings and
// bound parameters, and how the server's replies to it are read.

import { parseErrorResponse } from "../codec/backend.ts";
import { BackendMessage, FrontendMessage, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeBinaryQuery, encodeQuery } from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";
import { MessageWriter } from "../codec/writer.ts";

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

/** The largest message that may come in answer, and all rows together. */
export const ANSWER_BYTES_MAX = 2 * 1024 * 1024;
const ROWS_MAX = 100_000;

/** What is to be asked. */
export interface ResolverQuery {
  readonly sql: string;
  /** Null for NULL. */
  readonly inputs: readonly (string | null)[];
  /** How many rows are looked at; 0: all. */
  readonly rowsMax: number;
  /** The role that asks; null: the one that is logged in. */
  readonly runAs: string | null;
  /** In milliseconds. */
  readonly timeout: number;
}

/** What the server has refused. */
export interface ServerError {
  readonly sqlState: string;
  readonly message: string;
}

/**
 * The same for every resolver, whoever's connection it is: nothing that a client can bring in its
 * start-up packet changes what a query means.
 */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ["search_path", "pg_catalog, public, pg_temp"],
  ["client_encoding", "UTF8"],
  ["standard_conforming_strings", "on"],
  ["row_security", "on"],
  ["DateStyle", "ISO, MDY"],
  ["IntervalStyle", "postgres"],
  ["TimeZone", "UTC"],
  ["bytea_output", "hex"],
  ["extra_float_digits", "1"],
  ["array_nulls", "on"],
  ["transform_null_equals", "off"],
  ["gin_fuzzy_search_limit", "0"],
  ["lock_timeout", "0"],
];

const BEGIN = encodeQuery("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
const ROLLBACK = encodeQuery("ROLLBACK");

/** The messages in it that a ledger must know of. */
export const RESOLVER_REQUESTS: readonly number[] = [
  FrontendMessage.Query,
  FrontendMessage.Sync,
  FrontendMessage.Sync,
  FrontendMessage.Query,
];

/** Everything for one query, in one write: it takes one round trip. */
export function encodeResolverQuery(query: ResolverQuery): Uint8Array {
  const settings = [
    ...SETTINGS,
    ["statement_timeout", String(query.timeout)],
    ["role", query.runAs ?? "none"],
  ] as const;
  const text = (parameter: number) => `pg_catalog.convert_from($${parameter}, 'UTF8')`;
  const calls = settings.map((_, index) =>
    `pg_catalog.set_config(${text(2 * index + 1)}, ${text(2 * index + 2)}, true)`
  );
  // One column, which is empty: what the settings are now concerns nobody.
  const sql = `SELECT pg_catalog.left(pg_catalog.concat(${calls.join(", ")}), 0)`;
  const setting = encodeBinaryQuery(sql, settings.flat().map((each) => UTF8.encode(each)));
  return new MessageWriter(1024).raw(BEGIN).raw(setting).raw(encodeAsking(query)).raw(ROLLBACK)
    .take();
}

function encodeAsking({ sql, inputs, rowsMax }: ResolverQuery): Uint8Array {
  const writer = new MessageWriter(512);
  writer.begin(FrontendMessage.Parse).cstring("").cstring(sql).int16(0).end();
  writer.begin(FrontendMessage.Bind).cstring("").cstring("").int16(0).int16(inputs.length);
  for (const input of inputs) {
    if (input === null) {
      writer.int32(-1);
      continue;
    }
    const value = UTF8.encode(input);
    writer.int32(value.length).raw(value);
  }
  writer.int16(0).end();
  writer.begin(FrontendMessage.Describe).byte("P".charCodeAt(0)).cstring("").end();
  writer.begin(FrontendMessage.Execute).cstring("").int32(rowsMax).end();
  writer.begin(FrontendMessage.Close).byte("S".charCodeAt(0)).cstring("").end();
  return writer.begin(FrontendMessage.Sync).end().take();
}

const { ParseComplete, BindComplete, DataRow, CommandComplete, CloseComplete } = BackendMessage;
const { ReadyForQuery, RowDescription, NoData, PortalSuspended } = BackendMessage;

/** One of these, in each place; a place with DataRow takes any number of them. */
const EXPECTED: readonly (readonly number[])[] = [
  ...[[CommandComplete], [ReadyForQuery]],
  ...[[ParseComplete], [BindComplete], [DataRow], [CommandComplete], [CloseComplete]],
  [ReadyForQuery],
  ...[[ParseComplete], [BindComplete], [RowDescription, NoData], [DataRow]],
  ...[[CommandComplete, PortalSuspended], [CloseComplete], [ReadyForQuery]],
  ...[[CommandComplete], [ReadyForQuery]],
];
const SETTINGS_END = 8;

/** Reads the replies; afterwards the connection is as it was before. */
export class ResolverReplies {
  /** Null when the statement returns no rows at all. */
  columns: readonly string[] | null = null;
  readonly rows: (readonly (string | null)[])[] = [];
  /** The first thing that the server has refused. */
  failure: ServerError | null = null;
  #at = 0;
  #failed = false;
  #bytes = 0;

  /**
   * Takes the message with body `bytes[start, end)`.
   *
   * @returns whether it was the last one.
   * @throws {PgError} 08P01 when it does not belong here.
   */
  step(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (type === BackendMessage.ErrorResponse) {
      this.failure ??= parseErrorResponse(bytes, start, end);
      this.#failed = true;
      return false;
    }
    if (type === ReadyForQuery) return this.#ready(bytes[start]!);
    if (this.#failed) return false; // until the server is ready again
    let expected = EXPECTED[this.#at]!;
    if (expected[0] === DataRow && type !== DataRow) expected = EXPECTED[++this.#at]!;
    if (!expected.includes(type)) throw outOfStep();
    if (type === DataRow) {
      if (this.#at > SETTINGS_END) this.#row(new MessageReader(bytes, start, end));
      return false;
    }
    if (type === RowDescription) this.columns = readColumns(new MessageReader(bytes, start, end));
    this.#at++;
    return false;
  }

  #ready(status: number): boolean {
    if (this.#failed) {
      this.#at = EXPECTED.findIndex(([type], at) => at >= this.#at && type === ReadyForQuery);
    }
    if (EXPECTED[this.#at]?.[0] !== ReadyForQuery) throw outOfStep();
    this.#failed = false;
    this.#at++;
    if (this.#at < EXPECTED.length) return false;
    if (status !== TransactionStatus.Idle) throw outOfStep();
    return true;
  }

  #row(reader: MessageReader): void {
    this.#bytes += reader.remaining;
    if (this.#bytes > ANSWER_BYTES_MAX || this.rows.length >= ROWS_MAX) {
      this.failure ??= { sqlState: "54000", message: "the result is too large" };
      return;
    }
    this.rows.push(Array.from({ length: reader.int16() }, () => {
      const size = reader.int32();
      return size < 0 ? null : TEXT.decode(reader.window(size));
    }));
  }
}

/** A column's description behind its name: table, number, type, size, modifier, format. */
const DESCRIPTION_SIZE = 4 + 2 + 4 + 2 + 4 + 2;

function readColumns(reader: MessageReader): string[] {
  return Array.from({ length: reader.int16() }, () => {
    const name = reader.cstring();
    reader.window(DESCRIPTION_SIZE);
    return name;
  });
}

function outOfStep(): PgError {
  return PgError.protocolViolation("the upstream server's replies are not those to a resolver");
}
