// What pgvpd itself says to a pooled connection: cleaning, setting, proving, asking for life.

import { parseErrorResponse } from "../codec/backend.ts";
import { BackendMessage, FrontendMessage, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeBinaryQuery, encodeQuery, encodeTextQuery } from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";
import { ContextConfirmation, type SessionContext } from "../context/context.ts";
import type { Backend } from "./backend.ts";
import { Conversation, isAsynchronous, malformedReply, MESSAGE_SIZE_MAX } from "./conversation.ts";

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/** The replies to an extended query, in their order; there may be any number of rows. */
const QUERY_REPLIES: readonly number[] = [
  BackendMessage.ParseComplete,
  BackendMessage.BindComplete,
  BackendMessage.DataRow,
  BackendMessage.CommandComplete,
  BackendMessage.CloseComplete,
  BackendMessage.ReadyForQuery,
];
const ROWS_AT = QUERY_REPLIES.indexOf(BackendMessage.DataRow);
/** Rows that a query of pgvpd's own may return. */
const ROWS_MAX = 100;

/** A row as text; null for NULL. */
export type TextRow = readonly (string | null)[];

/** The server's answer to a statement of pgvpd's own was an error. */
export class StatementFailed extends Error {
  override readonly name = "StatementFailed";
  constructor(readonly sqlState: string, message: string) {
    super(message);
  }
}

/** Something to say, and how the answer is read. */
export interface Exchange<Result> {
  readonly bytes: Uint8Array;
  /** The messages in it that the ledger must know of. */
  readonly requests: readonly number[];
  readonly answer: (backend: Backend) => Conversation<Result>;
}

/** Says these to a server, and returns what came of each. */
export type Say = <Results extends readonly unknown[]>(
  exchanges: { readonly [Index in keyof Results]: Exchange<Results[Index]> },
) => Promise<Results>;

/**
 * Says several things in one write, and reads the answers one after the other.
 *
 * @throws {StatementFailed} · {PgError} 08P01 when the replies are others than expected, 08006 when
 * the server is gone; the first of them.
 */
export async function converse<Results extends readonly unknown[]>(
  backend: Backend,
  exchanges: { readonly [Index in keyof Results]: Exchange<Results[Index]> },
): Promise<Results> {
  const all: readonly Exchange<unknown>[] = exchanges;
  const conversations = all.map(({ answer, requests }) => {
    for (const type of requests) backend.ledger.request(type);
    return answer(backend);
  });
  try {
    await backend.send(joined(all.map(({ bytes }) => bytes)));
  } catch {
    backend.close(); // the conversations are told that the connection is over
    if (backend.isOver) conversations[0]?.lost(); // or nobody is there to tell them
  }
  // All of them, even behind a refusal: whoever is told must not find replies on their way.
  const results = conversations.map(({ result }) => result);
  await Promise.allSettled(results);
  return await Promise.all(results) as unknown as Results;
}

/** Statements as simple queries, each answered by one completion and ReadyForQuery idle. */
export function statements(...texts: readonly string[]): Exchange<void> {
  return {
    bytes: joined(texts.map((sql) => encodeQuery(sql))),
    requests: texts.map(() => FrontendMessage.Query),
    answer: (backend) => new Statements(backend, texts.length),
  };
}

class Statements extends Conversation<void> {
  #completed = false;
  constructor(backend: Backend, private remaining: number) {
    super(backend);
  }

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (isAsynchronous(type)) return;
    switch (type) {
      case BackendMessage.CommandComplete:
        if (this.#completed) break;
        this.#completed = true;
        return;
      case BackendMessage.ErrorResponse:
        throw failed(bytes, start, end);
      case BackendMessage.ReadyForQuery:
        if (!this.#completed || bytes[start] !== TransactionStatus.Idle) break;
        this.#completed = false;
        if (--this.remaining === 0) this.finish();
        return;
    }
    throw malformedReply();
  }
}

/**
 * One query whose parameters and results are bytes, as `encodeBinaryQuery` makes them; the answer
 * is its rows. When it fails, what stands behind it goes on.
 */
export function binaryQuery(sql: string, parameters: readonly string[]): Exchange<TextRow[]> {
  return {
    bytes: encodeBinaryQuery(sql, parameters.map((text) => UTF8.encode(text))),
    requests: [FrontendMessage.Sync],
    answer: (backend) => new RowsQuery(backend),
  };
}

/** The same with parameters and results as text, of whatever types the statement has. */
export function textQuery(sql: string, parameters: readonly string[]): Exchange<TextRow[]> {
  return {
    bytes: encodeTextQuery(sql, parameters),
    requests: [FrontendMessage.Sync],
    answer: (backend) => new RowsQuery(backend),
  };
}

const NOTHING_QUERY = "SELECT pg_catalog.convert_to('', 'UTF8')";
const ROLE_QUERY = "SELECT pg_catalog.convert_to((SELECT pg_catalog.left((r.rolsuper OR " +
  "r.rolbypassrls)::pg_catalog.text, 1) FROM pg_catalog.pg_roles r WHERE r.rolname " +
  "OPERATOR(pg_catalog.=) pg_catalog.convert_from($1, 'UTF8')), 'UTF8')";

/** Asks nothing: whoever answers is alive. */
export function nothingQuery(): Exchange<TextRow[]> {
  return binaryQuery(NOTHING_QUERY, []);
}

/** Whether a role leaves row-level security: `t` or `f`; NULL when there is no such role. */
export function roleQuery(role: string): Exchange<TextRow[]> {
  return binaryQuery(ROLE_QUERY, [role]);
}

class RowsQuery extends Conversation<TextRow[]> {
  #received = 0;
  readonly #rows: TextRow[] = [];
  #failure: StatementFailed | null = null;

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (isAsynchronous(type)) return;
    if (type === BackendMessage.ErrorResponse) {
      this.#failure ??= failed(bytes, start, end);
      if (isFatal(bytes, start, end)) throw this.#failure;
      return;
    }
    // The connection stays in step: the failure is told when the server is ready again.
    if (this.#failure !== null) {
      if (type === BackendMessage.ReadyForQuery) this.finishWith(this.#failure);
      return;
    }
    if (this.#received === ROWS_AT && type === BackendMessage.DataRow) {
      if (this.#rows.length === ROWS_MAX) throw malformedReply();
      this.#rows.push(readRow(new MessageReader(bytes, start, end)));
      return;
    }
    if (this.#received === ROWS_AT) this.#received++;
    if (type !== QUERY_REPLIES[this.#received]) throw malformedReply();
    this.#received++;
    if (type === BackendMessage.ReadyForQuery) this.finish(this.#rows);
  }
}

function readRow(reader: MessageReader): TextRow {
  return Array.from({ length: reader.int16() }, () => {
    const size = reader.int32();
    return size < 0 ? null : TEXT.decode(reader.window(size));
  });
}

/**
 * Sets the context and has it read back.
 *
 * @param fresh whether nothing of a session may be there yet: a value that RESET would go back to
 * is refused then.
 */
export function confirmation(context: SessionContext, fresh: boolean): Exchange<void> {
  return {
    bytes: context.message,
    requests: [FrontendMessage.Sync],
    answer: (backend) => new Confirmation(backend, context, fresh),
  };
}

class Confirmation extends Conversation<void> {
  readonly #confirmation: ContextConfirmation;
  #refusal: unknown = null;
  constructor(backend: Backend, context: SessionContext, fresh: boolean) {
    super(backend);
    this.#confirmation = new ContextConfirmation(context, fresh);
  }

  /** Every value comes back, as it was and as it is. */
  protected override get messageSizeMax(): number {
    return MESSAGE_SIZE_MAX + 2 * this.#confirmation.context.message.length;
  }

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    // A context that the server refuses leaves the connection in step: it is told at its end.
    if (this.#refusal !== null) {
      if (type === BackendMessage.ReadyForQuery) this.finishWith(this.#refusal);
      return;
    }
    try {
      const step = this.#confirmation.step(type, bytes, start, end);
      if (step === "confirmed") this.finish();
    } catch (error) {
      if (type !== BackendMessage.ErrorResponse || isFatal(bytes, start, end)) throw error;
      this.#refusal = error;
    }
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Nothing comes behind it: the server ends the connection. */
function isFatal(bytes: Uint8Array, start: number, end: number): boolean {
  return parseErrorResponse(bytes, start, end).severity !== "ERROR";
}

function failed(bytes: Uint8Array, start: number, end: number): StatementFailed {
  const { sqlState, message } = parseErrorResponse(bytes, start, end);
  return new StatementFailed(sqlState, message);
}

/** What the server refused, for the client. */
export function asPgError(error: unknown, what: string): unknown {
  if (!(error instanceof StatementFailed)) return error;
  return new PgError(error.sqlState, `${what}: ${error.message}`, {}, { cause: error });
}
