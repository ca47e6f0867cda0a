// Between two contexts on one connection: the clean-up, and a look for what it could not remove.

import { parseErrorResponse } from "../codec/backend.ts";
import { BackendMessage, FrontendMessage, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeQuery } from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";
import type { Backend } from "./backend.ts";
import { Conversation, isAsynchronous, malformedReply } from "./conversation.ts";
import { type Exchange, statements } from "./statements.ts";

const { CommandComplete, DataRow, ErrorResponse, ReadyForQuery, RowDescription } = BackendMessage;

/**
 * Everything that DISCARD ALL does but DISCARD PLANS, which would have every policy planned anew.
 *
 * One message is one implicit transaction: when a statement fails, everything of the context before
 * is still in place. The connection is closed then.
 */
const SCRUB_SQL = "RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *; " +
  "DEALLOCATE ALL; DISCARD TEMP; DISCARD SEQUENCES; SET seed TO 0.000000000000000; " +
  "SELECT pg_catalog.pg_advisory_unlock_all()";
const SEED_AT = "Q....".length + SCRUB_SQL.indexOf("0.0") + "0.".length;
const SEED_DIGITS = 15;
const SCRUB_REPLIES: readonly number[] = [
  ...Array<number>(8).fill(CommandComplete),
  ...[RowDescription, DataRow, CommandComplete, ReadyForQuery],
];

/** What must not be there any more: temporary objects, PREPARE, held cursors, LISTEN. */
const RESIDUE_SQL = "SELECT pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0 AND EXISTS " +
  "(SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) " +
  "pg_catalog.pg_my_temp_schema()) " +
  "OR EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) " +
  "OR EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) " +
  "OR EXISTS (SELECT FROM pg_catalog.pg_listening_channels())";
const RESIDUE_REPLIES: readonly number[] = [
  ...[RowDescription, DataRow, CommandComplete, ReadyForQuery],
];
const FALSE = "f".charCodeAt(0);
const ZERO = "0".charCodeAt(0);

const SCRUB_BYTES = encodeQuery(SCRUB_SQL);
const RESIDUE_BYTES = encodeQuery(RESIDUE_SQL);

/** A connection that another context may have left its marks on. It must be closed. */
export class UncleanBackend extends PgError {
  constructor(reason: string) {
    super(
      SqlState.ProtocolViolation,
      `a server connection could not be cleaned for another client: ${reason}`,
    );
  }
}

/** Removes what a session of another context may have left. */
export function scrub(): Exchange<void> {
  // Whoever has set or watched random() could foretell it.
  const bytes = new Uint8Array(SCRUB_BYTES);
  const random = crypto.getRandomValues(new Uint8Array(SEED_DIGITS));
  for (let index = 0; index < SEED_DIGITS; index++) {
    bytes[SEED_AT + index] = ZERO + random[index]! % 10;
  }
  return {
    bytes,
    requests: [FrontendMessage.Query],
    answer: (backend) => new ExactReplies(backend, SCRUB_REPLIES, null),
  };
}

/** Leaves nothing of a session but what is for the server alone to know; prepared plans go too. */
export function discard(inTransaction: boolean): Exchange<void> {
  return statements(...inTransaction ? ["ROLLBACK"] : [], "DISCARD ALL", newSeed());
}

/** DISCARD ALL leaves the state of random(), which whoever has set or watched it can foretell. */
function newSeed(): string {
  const random = crypto.getRandomValues(new Uint32Array(2));
  return `SET seed TO ${(random[0]! / 2 ** 32 + random[1]! / 2 ** 64).toFixed(18)}`;
}

/** Looks for what the scrub could not remove; fails when there is anything. */
export function residueCheck(): Exchange<void> {
  return {
    bytes: RESIDUE_BYTES,
    requests: [FrontendMessage.Query],
    answer: (backend) => new ExactReplies(backend, RESIDUE_REPLIES, FALSE),
  };
}

/** These replies, in this order, and nothing else. */
class ExactReplies extends Conversation<void> {
  #received = 0;

  /** @param value the only byte that the only column of the row may have; null: any. */
  constructor(
    backend: Backend,
    readonly replies: readonly number[],
    readonly value: number | null,
  ) {
    super(backend);
  }

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (isAsynchronous(type)) return;
    if (type === ErrorResponse) {
      throw new UncleanBackend(parseErrorResponse(bytes, start, end).message);
    }
    if (type !== this.replies[this.#received]) throw malformedReply();
    this.#received++;
    if (type === DataRow && this.value !== null) this.#checkRow(bytes, start, end);
    if (type === ReadyForQuery) this.finish();
  }

  #checkRow(bytes: Uint8Array, start: number, end: number): void {
    const row = new MessageReader(bytes, start, end);
    const isAsWanted = row.int16() === 1 && row.int32() === 1 && row.byte() === this.value;
    if (!isAsWanted) throw new UncleanBackend("something of the last one is still there");
  }
}
