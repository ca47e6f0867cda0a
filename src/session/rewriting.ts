// RequestRewriter: what a client of a transaction pool says, as the backend of the moment hears it.
// Hot: runs per message. No objects, no closures, no copies but of what is rewritten.

import { FrontendMessage, HEADER_SIZE, LENGTH_SIZE, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { Framer } from "../codec/framer.ts";
import { encodeQuery } from "../codec/frontend.ts";
import { readInt32, terminator } from "../codec/reader.ts";
import { MessageWriter } from "../codec/writer.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { FORWARDED, ReplyFates, WITHHELD } from "../protocol/fates.ts";
import {
  encodeCloseUnnamed,
  encodeParse,
  isOwnName,
  mayDeallocate,
  NOWHERE,
  PARSE_SIZE_MAX,
  statementOf,
  statementTooLong,
  tooManyStatements,
} from "../protocol/prepared.ts";
import {
  deallocatedName,
  pinReason,
  type SessionStatePolicy,
  stateRefused,
} from "../protocol/session_state.ts";
import { encodeCloseOfNothing, Naming } from "./naming.ts";
import { Outgoing } from "./outgoing.ts";
import { UnnamedStatement } from "./unnamed.ts";

/** A simple query up to this size is looked at as a whole. */
const QUERY_SIZE_MAX = 64 * 1024;
/** The names of a portal and a statement stand within so many bytes. */
export const NAMES_SIZE_MAX = 4 * 1024;
const NOTHING_COUNTED = new Uint8Array(256);
const NO_BYTES = new Uint8Array(0);
const STATEMENT = "S".charCodeAt(0);
const UTF8 = new TextEncoder();
const LATIN1 = new TextDecoder("latin1");

/** What the settings say. */
export interface RewritingOptions {
  /** Whether FunctionCall messages pass. */
  readonly functionCallsAllowed: boolean;
  /** What becomes of a client that would leave something on a backend. */
  readonly sessionState: SessionStatePolicy;
  /** Statements that stay prepared on a backend from one transaction to the next. */
  readonly preparedStatementsMax: number;
}

/**
 * Follows the client's stream, enters in the ledger what the backend will answer, and gives named
 * statements the names they have there. What it puts in between never fails by itself, or only
 * where the client's own message would have.
 */
export class RequestRewriter {
  readonly fates = new ReplyFates();
  /** Why the backend must be kept, in words for the log; null when nothing says so. */
  keep: string | null = null;
  /** The client has said Terminate. */
  terminated = false;
  /** The client cannot be served any longer. */
  failure: PgError | null = null;
  /** The beginning of a message of which more is needed. */
  cut: Uint8Array = NO_BYTES;
  readonly #options: RewritingOptions;
  readonly #framer = new Framer(NOTHING_COUNTED);
  readonly #out = new Outgoing();
  readonly #naming = new Naming(this.fates);
  readonly #unnamed = new UnnamedStatement(this.fates);
  /** Nothing has been said yet, and nothing stands open on the backend. */
  #isFirst = false;

  constructor(options: RewritingOptions) {
    this.#options = options;
  }

  /** Whole messages have been taken. */
  get atBoundary(): boolean {
    return this.#framer.atBoundary && this.cut.length === 0;
  }

  get betweenMessages(): boolean {
    return this.#framer.atBoundary;
  }

  /**
   * Takes a chunk, `cut` in front of it included; what is to be sent lies in it, or in a buffer
   * that is valid until the next call.
   */
  take(bytes: Uint8Array, member: PooledBackend): Uint8Array {
    const framer = this.#framer;
    this.#begin(bytes, member);
    let at = 0;
    while (at < bytes.length) {
      if (!framer.atBoundary) {
        at = framer.step(bytes, at, bytes.length);
        continue;
      }
      const next = bytes.length - at < HEADER_SIZE ? -1 : this.#message(bytes, at, member);
      if (this.terminated || this.failure !== null) break;
      if (next < 0) {
        this.cut = new Uint8Array(bytes.subarray(at));
        break;
      }
      at = next;
    }
    return this.#out.take(at);
  }

  #begin(bytes: Uint8Array, member: PooledBackend): void {
    this.cut = NO_BYTES;
    this.#out.begin(bytes);
    this.#isFirst = member.backend.idle && this.fates.settled;
    this.#naming.home = member.statements;
    if (this.#naming.statements.isOverfull) this.failure = tooManyStatements();
  }

  /** A message begins at `at`; returns where to go on, or -1 when more of it is needed. */
  #message(bytes: Uint8Array, at: number, member: PooledBackend): number {
    const length = readInt32(bytes, at + 1);
    if (length < LENGTH_SIZE) return this.#fail("invalid message length");
    const end = at + 1 + length;
    switch (bytes[at]) {
      case FrontendMessage.Query:
        return this.#query(bytes, at, end, member);
      case FrontendMessage.Parse:
        return this.#parse(bytes, at, end, member);
      case FrontendMessage.Bind:
        return this.#bind(bytes, at, end, member);
      case FrontendMessage.Describe:
      case FrontendMessage.Close:
        return this.#describeOrClose(bytes, at, end, member);
      case FrontendMessage.Terminate:
        this.terminated = true;
        return at;
      case FrontendMessage.FunctionCall:
        return this.#functionCall(bytes, at, member);
      case FrontendMessage.Sync:
        if (!member.backend.ledger.copyIn) this.fates.unitSent();
        return this.#pass(bytes, at, member);
    }
    return this.#pass(bytes, at, member);
  }

  /** The message, or what has come of it, goes as it is. */
  #pass(bytes: Uint8Array, at: number, member: PooledBackend): number {
    if (this.#isFirst) this.#tidyUp(at, member);
    member.backend.ledger.request(bytes[at]!);
    if (member.backend.ledger.uncertain) this.keep ??= "protocol";
    const from = this.#framer.step(bytes, at, bytes.length);
    return this.#framer.atBoundary ? from : this.#framer.step(bytes, from, bytes.length);
  }

  /** Before the first message: what others have left is closed, as nothing stands open now. */
  #tidyUp(at: number, member: PooledBackend): void {
    this.#isFirst = false;
    const isForeign = this.#unnamed.isForeignOn(member);
    if (!isForeign && !member.statements.hasSurplus(this.#options.preparedStatementsMax)) return;
    const writer = new MessageWriter();
    if (isForeign) {
      member.unnamedOwner = null;
      encodeCloseUnnamed(writer);
      this.fates.push(WITHHELD);
    }
    this.#naming.closeSurplus(writer, this.#options.preparedStatementsMax);
    this.#insert(at, writer.take());
  }

  /** pgvpd's own bytes go in front of the message at `at`. */
  #insert(at: number, own: Uint8Array): void {
    this.#out.passUntil(at);
    this.#out.add(own);
  }

  /** Other bytes go in the place of the message `[at, end)`. */
  #replace(
    bytes: Uint8Array,
    at: number,
    end: number,
    other: Uint8Array,
    member: PooledBackend,
  ): number {
    member.backend.ledger.request(bytes[at]!);
    if (member.backend.ledger.uncertain) this.keep ??= "protocol";
    this.#insert(at, other);
    this.#out.skipTo(end);
    return end;
  }

  /** Whether a statement may be sent, for all that it leaves on the backend. */
  #mayLeave(bytes: Uint8Array, start: number, end: number, member: PooledBackend): boolean {
    if (this.keep !== null || this.#options.sessionState === "ignore") return true;
    const reason = pinReason(bytes, start, end, member.backend.parameters);
    if (reason === null) return true;
    if (this.#options.sessionState === "pin") this.keep = reason;
    else this.failure = stateRefused(reason);
    return this.failure === null;
  }

  #query(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    const start = at + HEADER_SIZE;
    const seen = Math.min(end, bytes.length);
    if (seen < end && end - at <= QUERY_SIZE_MAX) return -1; // what it leaves is told by all of it
    if (!this.#mayLeave(bytes, start, seen, member)) return at;
    if (this.#isFirst) this.#tidyUp(at, member);
    this.#unnamed.drop(member); // as every simple query does
    let sql: string | null = null;
    if (seen === end && mayDeallocate(bytes, start, end)) {
      sql = this.#deallocation(bytes, start, end, at);
      if (deallocatedName(bytes, start, end) === "*") this.#naming.deallocateAll();
    }
    this.fates.unitSent();
    if (sql === null) return this.#pass(bytes, at, member);
    return this.#replace(bytes, at, end, encodeQuery(sql), member);
  }

  /**
   * `bytes[start, end)` may be a DEALLOCATE of one: what is to be executed in its place; null when
   * it is to be executed as it is. What must go before it is inserted.
   */
  #deallocation(bytes: Uint8Array, start: number, end: number, at: number): string | null {
    const name = deallocatedName(bytes, start, end);
    if (name === null) return null;
    if (name === "*") return null;
    const deallocation = this.#naming.deallocate(name);
    if (deallocation !== null) {
      this.#insert(at, deallocation.before);
      return deallocation.sql;
    }
    const own = UTF8.encode(name);
    return isOwnName(own, 0, own.length) ? `DEALLOCATE ${LATIN1.decode(NOWHERE)}` : null;
  }

  #parse(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    if (end > bytes.length) {
      if (end - at <= PARSE_SIZE_MAX || bytes.length - at === HEADER_SIZE) return -1;
      if (bytes[at + HEADER_SIZE] === 0) return this.#parseLarge(bytes, at, member);
      this.failure = statementTooLong();
      return at;
    }
    const nameAt = at + HEADER_SIZE;
    const nameEnd = terminator(bytes, nameAt, end);
    const textEnd = nameEnd < 0 ? -1 : terminator(bytes, nameEnd + 1, end);
    if (textEnd < 0) return this.#fail("invalid message format");
    if (!this.#mayLeave(bytes, nameEnd + 1, textEnd, member)) return at;
    if (this.#isFirst) this.#tidyUp(at, member);
    if (nameEnd > nameAt) {
      return this.#replace(
        bytes,
        at,
        end,
        this.#naming.define(bytes, nameAt, nameEnd, end),
        member,
      );
    }
    const mayMatter = mayDeallocate(bytes, nameEnd + 1, textEnd);
    if (mayMatter) {
      const sql = this.#deallocation(bytes, nameEnd + 1, textEnd, at);
      if (sql !== null) return this.#parseOther(bytes, at, end, sql, member);
    }
    this.#unnamed.parse(member, bytes, nameEnd + 1, end);
    this.#unnamed.deallocatesAll = mayMatter &&
      deallocatedName(bytes, nameEnd + 1, textEnd) === "*";
    return this.#pass(bytes, at, member);
  }

  /** Another text is parsed than the client's. */
  #parseOther(
    bytes: Uint8Array,
    at: number,
    end: number,
    sql: string,
    member: PooledBackend,
  ): number {
    const text = UTF8.encode(`${sql}\0\0\0`); // no parameter types
    const writer = new MessageWriter(text.length + HEADER_SIZE + 1);
    encodeParse(writer, NO_BYTES, statementOf(text, 0, text.length));
    this.#unnamed.parse(member, text, 0, text.length);
    return this.#replace(bytes, at, end, writer.take(), member);
  }

  /** An unnamed statement of which no copy is kept: the client keeps its backend instead. */
  #parseLarge(bytes: Uint8Array, at: number, member: PooledBackend): number {
    this.keep ??= "large statement";
    if (this.#isFirst) this.#tidyUp(at, member);
    this.#unnamed.parseLarge(member);
    return this.#pass(bytes, at, member);
  }

  #bind(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    const seen = Math.min(end, bytes.length);
    const portalEnd = terminator(bytes, at + HEADER_SIZE, seen);
    const nameEnd = portalEnd < 0 ? -1 : terminator(bytes, portalEnd + 1, seen);
    if (nameEnd < 0) {
      if (seen < end && seen - at <= NAMES_SIZE_MAX) return -1;
      return this.#fail("invalid message format");
    }
    return this.#withStatement(bytes, at, portalEnd + 1, nameEnd, end, member);
  }

  #describeOrClose(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    if (end > bytes.length && end - at <= NAMES_SIZE_MAX) return -1;
    const kindAt = at + HEADER_SIZE;
    const nameEnd = end > bytes.length ? -1 : terminator(bytes, kindAt + 1, end);
    if (nameEnd < 0) return this.#fail("invalid message format");
    const isClose = bytes[at] === FrontendMessage.Close;
    if (bytes[kindAt] !== STATEMENT) {
      if (this.#isFirst) this.#tidyUp(at, member);
      if (isClose) this.fates.push(FORWARDED);
      return this.#pass(bytes, at, member);
    }
    if (!isClose) return this.#withStatement(bytes, at, kindAt + 1, nameEnd, end, member);
    if (this.#isFirst) this.#tidyUp(at, member);
    if (nameEnd === kindAt + 1) {
      this.#unnamed.close();
      return this.#pass(bytes, at, member);
    }
    this.#naming.close(bytes, kindAt + 1, nameEnd);
    return this.#replace(bytes, at, end, encodeCloseOfNothing(), member);
  }

  /** A message that names a statement, at `[nameAt, nameEnd)`. */
  #withStatement(
    bytes: Uint8Array,
    at: number,
    nameAt: number,
    nameEnd: number,
    end: number,
    member: PooledBackend,
  ): number {
    if (this.#isFirst) this.#tidyUp(at, member);
    if (nameEnd === nameAt) {
      if (!this.#unnamed.isOn(member) && this.#unnamed.isKnown) {
        this.#out.passUntil(at);
        this.#unnamed.restore(member, this.#out);
      }
      if (this.#unnamed.deallocatesAll && bytes[at] === FrontendMessage.Bind) {
        this.#naming.deallocateAll();
      }
      return this.#pass(bytes, at, member);
    }
    const statement = this.#naming.find(bytes, nameAt, nameEnd);
    if (statement === null) {
      // The server says that there is none; pgvpd's own names must not be tried.
      if (!isOwnName(bytes, nameAt, nameEnd)) return this.#pass(bytes, at, member);
      return this.#rename(bytes, at, nameAt, nameEnd, end, NOWHERE, member);
    }
    const preparation = this.#naming.preparation(statement);
    if (preparation !== null) this.#insert(at, preparation);
    const name = this.#naming.nameOf(statement);
    if (statement.statement.deallocatesAll && bytes[at] === FrontendMessage.Bind) {
      this.#naming.deallocateAll();
    }
    return this.#rename(bytes, at, nameAt, nameEnd, end, name, member);
  }

  #rename(
    bytes: Uint8Array,
    at: number,
    nameAt: number,
    nameEnd: number,
    end: number,
    name: Uint8Array,
    member: PooledBackend,
  ): number {
    const out = this.#out;
    out.passUntil(at);
    const headAt = out.size;
    out.addPart(bytes, at, nameAt);
    out.add(name);
    out.setInt32(headAt + 1, end - at - 1 + name.length - (nameEnd - nameAt));
    out.skipTo(nameEnd);
    return this.#pass(bytes, at, member);
  }

  #functionCall(bytes: Uint8Array, at: number, member: PooledBackend): number {
    if (!this.#options.functionCallsAllowed) {
      this.failure = functionCallRefused();
      return at;
    }
    this.fates.unitSent();
    return this.#pass(bytes, at, member);
  }

  #fail(reason: string): number {
    this.failure = PgError.protocolViolation(reason);
    return 0;
  }
}

function functionCallRefused(): PgError {
  return new PgError(
    SqlState.FeatureNotSupported,
    "function calls are not available in transaction mode",
    { hint: "Call the function in a SELECT, or set pool_function_calls = true." },
  );
}
