// Sealing: the token that proves a backend's context to the database, made for this backend alone,
// set in the same write as the context, read back, and made anew before it ends.

import type { SealBinding, SealKey } from "../auth/seal.ts";
import { parseErrorResponse } from "../codec/backend.ts";
import { BackendMessage, FrontendMessage, SqlState, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeSideQuery } from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";
import type { SessionContext } from "../context/context.ts";
import type { Backend } from "./backend.ts";
import { Conversation, isAsynchronous, malformedReply, MESSAGE_SIZE_MAX } from "./conversation.ts";
import { binaryQuery, type Exchange, type Say, type TextRow } from "./statements.ts";

/** What tokens are made with; another object when the keys have been read again. */
export interface Sealing {
  /** The first signs; the others where the database does not know it yet. */
  readonly keys: readonly SealKey[];
  /** How long a token is good for, in milliseconds. */
  readonly ttlMs: number;
}

/** What the database has read out of a token: the witness's value; or its error. */
export type SealOutcome =
  | { readonly value: string | null }
  | { readonly sqlState: string; readonly message: string };

/** Times that a statement is said again which a late cancel request has hit. */
const CANCELLED_MAX = 3;
/** A name that only pgvpd gives: the client's unnamed statement stays what it is. */
const STATEMENT = "pgvpd_seal";
const SEAL_QUERY = "SELECT pg_catalog.convert_to(pg_catalog.left(pg_catalog.set_config(" +
  "'pgvpd.seal', pg_catalog.convert_from($1, 'UTF8'), false), 0), 'UTF8'), " +
  "pg_catalog.convert_to(pgvpd.ctx(pg_catalog.convert_from($2, 'UTF8')), 'UTF8')";
/** Who the connection is to the server, and the server's clock. */
const BINDING_QUERY = "SELECT pg_catalog.convert_to(pg_catalog.concat(pg_catalog.pg_backend_pid()" +
  ", ' ', coalesce(pg_catalog.inet_client_port(), 0), ' ', pg_catalog.floor(" +
  "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()))::pg_catalog.int8), 'UTF8')";

/** The seal of one backend. */
export class BackendSeal {
  readonly #sealing: () => Sealing | null;
  #binding: SealBinding | null = null;
  /** Add it to `performance.now()` for the server's clock, in milliseconds since 1970. */
  #clockOffsetMs = 0;
  /** By `performance.now()`: half of the token's time is over then. */
  #renewAt = 0;
  /** What the token was made with; the keys may have been read again since. */
  #sealedWith: Sealing | null = null;

  constructor(sealing: () => Sealing | null = () => null) {
    this.#sealing = sealing;
  }

  /** There is no token, it is time for another, or other keys are in force. */
  get isDue(): boolean {
    const sealing = this.#sealing();
    if (sealing === null) return false;
    return sealing !== this.#sealedWith || performance.now() >= this.#renewAt;
  }

  /** To be called before `exchanges`, which needs to know the backend. */
  async prepare(say: Say): Promise<void> {
    if (this.#sealing() !== null && this.#binding === null) await this.#identify(say);
  }

  /** What is to be said right behind the context; nothing where nothing is sealed. */
  exchanges(context: SessionContext): Exchange<SealOutcome>[] {
    const sealing = this.#sealing();
    this.#renewAt = 0;
    if (sealing === null || this.#binding === null) return [];
    return [this.#exchange(context, sealing.keys[0]!, sealing)];
  }

  /**
   * Takes what came of `exchanges`; where the database did not believe, tries what there is to try:
   * the server's clock anew, and the key of before.
   *
   * @throws {PgError} when the database believes none of it: nothing of the client may pass then.
   */
  async conclude(
    context: SessionContext,
    outcome: SealOutcome | undefined,
    say: Say,
  ): Promise<void> {
    const sealing = this.#sealing();
    if (sealing === null) return;
    if (outcome !== undefined && this.#isSealed(context, outcome, sealing)) return;
    await this.#identify(say);
    for (const key of sealing.keys) {
      for (let attempt = 1; attempt <= CANCELLED_MAX; attempt++) {
        [outcome] = await say([this.#exchange(context, key, sealing)]);
        if (this.#isSealed(context, outcome, sealing)) return;
        if (!("sqlState" in outcome) || outcome.sqlState !== SqlState.QueryCanceled) break;
      }
    }
    throw notBelieved(outcome);
  }

  /** Another token for a context that is there. */
  async renew(context: SessionContext, say: Say): Promise<void> {
    await this.prepare(say);
    const [outcome] = await say(this.exchanges(context));
    await this.conclude(context, outcome, say);
  }

  async #identify(say: Say): Promise<void> {
    const [[row]] = await say<[TextRow[]]>([binaryQuery(BINDING_QUERY, [])]);
    const numbers = (row?.[0] ?? "").split(" ").map(Number);
    const [processId, port, seconds] = numbers;
    if (numbers.length !== 3 || !numbers.every(Number.isSafeInteger)) throw malformedReply();
    this.#binding = { processId: processId!, port: port! };
    this.#clockOffsetMs = seconds! * 1_000 - performance.now();
  }

  #exchange(
    context: SessionContext,
    key: SealKey,
    { ttlMs }: Sealing,
  ): Exchange<SealOutcome> {
    const now = performance.now();
    const endsAt = Math.ceil((now + this.#clockOffsetMs + ttlMs) / 1_000);
    const token = key.token(this.#binding!, endsAt, context.payload);
    const parameters = [token, context.witness.name.toLowerCase()];
    return {
      bytes: encodeSideQuery(STATEMENT, SEAL_QUERY, parameters),
      requests: [FrontendMessage.Sync],
      answer: (backend) => new SealReading(backend, token.length),
    };
  }

  #isSealed(context: SessionContext, outcome: SealOutcome, sealing: Sealing): boolean {
    if ("sqlState" in outcome) return false;
    // What is empty is not in the token.
    if (outcome.value !== (context.witness.value || null)) return false;
    this.#renewAt = performance.now() + sealing.ttlMs / 2;
    this.#sealedWith = sealing;
    return true;
  }
}

/** The replies, in their order. */
const REPLIES: readonly number[] = [
  BackendMessage.CloseComplete,
  BackendMessage.ParseComplete,
  BackendMessage.BindComplete,
  BackendMessage.DataRow,
  BackendMessage.CommandComplete,
  BackendMessage.CloseComplete,
  BackendMessage.ReadyForQuery,
];

class SealReading extends Conversation<SealOutcome> {
  #received = 0;
  #outcome: SealOutcome = { value: null };

  constructor(backend: Backend, readonly tokenSize: number) {
    super(backend);
  }

  protected override get messageSizeMax(): number {
    return MESSAGE_SIZE_MAX + 2 * this.tokenSize;
  }

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (isAsynchronous(type)) return;
    if (type === BackendMessage.ErrorResponse) {
      const { sqlState, message, severity } = parseErrorResponse(bytes, start, end);
      this.#outcome = { sqlState, message };
      this.#received = REPLIES.length - 1; // the server drops everything up to the Sync
      if (severity !== "ERROR") throw notBelieved(this.#outcome);
      return;
    }
    if (type !== REPLIES[this.#received]) throw malformedReply();
    this.#received++;
    if (type === BackendMessage.DataRow) this.#read(new MessageReader(bytes, start, end));
    if (type !== BackendMessage.ReadyForQuery) return;
    const isWell = bytes[start] === TransactionStatus.Idle ||
      bytes[start] === TransactionStatus.InTransaction || "sqlState" in this.#outcome;
    if (!isWell) throw malformedReply();
    this.finish(this.#outcome);
  }

  #read(row: MessageReader): void {
    if (row.int16() !== 2) throw malformedReply();
    row.window(Math.max(0, row.int32()));
    const size = row.int32();
    const value = size < 0 ? null : new TextDecoder("utf-8", { ignoreBOM: true })
      .decode(row.window(size));
    row.expectEnd();
    this.#outcome = { value };
  }
}

function notBelieved(outcome: SealOutcome | undefined): PgError {
  if (outcome !== undefined && "sqlState" in outcome) {
    return new PgError(
      outcome.sqlState,
      `could not seal the session context: ${outcome.message}`,
      { hint: "Is sql/sealed.sql installed in this database (pgvpd setup --sealed)?" },
    );
  }
  return new PgError(
    SqlState.InsufficientPrivilege,
    "could not seal the session context: the database does not believe the token",
    {
      detail: "It knows none of the keys in seal_key_file, or pgvpd is behind another pooler, " +
        "which leads it to another server process.",
      hint: "Put the key into the database with pgvpd seal-key.",
    },
  );
}
