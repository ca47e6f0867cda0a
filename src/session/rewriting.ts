// RequestRewriter: what a client of a transaction pool says, as the backend of the moment must hear
// it. Hot: runs per message. No objects, no closures, no copies but of what is rewritten.

import { FrontendMessage, HEADER_SIZE, LENGTH_SIZE, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { Framer } from "../codec/framer.ts";
import { readInt32 } from "../codec/reader.ts";
import { MessageWriter } from "../codec/writer.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import {
  ClientStatements,
  encodeCloseOfNothing,
  encodeParse,
  encodeParseOfNothing,
  FORWARDED,
  NOWHERE,
  type PendingReply,
  ReplyFates,
  type Statement,
  statementOf,
  WITHHELD,
} from "../protocol/prepared.ts";
import { deallocatedName, pinReason, type SessionStatePolicy } from "../protocol/session_state.ts";

/** The longest text of a statement that is prepared by name. */
const PARSE_SIZE_MAX = 1024 * 1024;
/** A simple query up to this size is looked at as a whole. */
const QUERY_SIZE_MAX = 64 * 1024;
/** The names of a portal and a statement stand within so many bytes. */
const NAMES_SIZE_MAX = 4 * 1024;
const NOTHING_COUNTED = new Uint8Array(256);
const NO_BYTES = new Uint8Array(0);
const STATEMENT = "S".charCodeAt(0);
const LETTER_D = "d".charCodeAt(0);
const NAME = new TextDecoder("latin1");

/** Why a client keeps its backend; words for the log and the metrics. */
export type KeepReason = string;

/**
 * Follows the client's stream, enters in the ledger what the backend will answer, and gives named
 * statements the names they have there.
 *
 * Invariant while a chunk is taken: everything before `#runStart` is in the scratch buffer, or
 * nothing is and the run begins at the chunk's start.
 */
export class RequestRewriter {
  readonly fates = new ReplyFates();
  readonly statements = new ClientStatements();
  /** Why the backend must be kept; null when nothing says so. */
  keep: KeepReason | null = null;
  /** The client has said Terminate. */
  terminated = false;
  /** The client cannot be served any longer. */
  failure: PgError | null = null;
  /** The beginning of a message of which more is needed. */
  cut: Uint8Array = NO_BYTES;
  readonly #framer = new Framer(NOTHING_COUNTED);
  #scratch: Uint8Array = NO_BYTES;
  #scratchSize = 0;
  #runStart = 0;
  /** The client's unnamed statement, as it stands behind the name in a Parse. */
  #unnamed: Uint8Array = NO_BYTES;
  #unnamedSize = 0;
  /** The named statement that was used last, and its name: mostly the next one too. */
  #lastName: Uint8Array = NO_BYTES;
  #lastStatement: Statement | null = null;
  readonly #unnamedParsed: PendingReply;
  #deallocated = false;

  /** @param functionCallsAllowed whether FunctionCall messages pass. */
  constructor(
    readonly functionCallsAllowed: boolean,
    readonly sessionState: SessionStatePolicy = "pin",
  ) {
    this.#unnamedParsed = { withheld: false, onFailure: () => void (this.#unnamedSize = 0) };
  }

  /** Whole messages have been taken. */
  get atBoundary(): boolean {
    return this.#framer.atBoundary && this.cut.length === 0;
  }

  /** Does the next byte begin a message? */
  get betweenMessages(): boolean {
    return this.#framer.atBoundary;
  }

  /**
   * Takes a chunk, `cut` in front of it included; what is to be sent lies in it, or in a buffer that
   * is valid until the next call.
   */
  take(bytes: Uint8Array, member: PooledBackend): Uint8Array {
    const framer = this.#framer;
    this.#scratchSize = 0;
    this.#runStart = 0;
    this.cut = NO_BYTES;
    let at = 0;
    while (at < bytes.length) {
      if (!framer.atBoundary) {
        at = framer.step(bytes, at, bytes.length);
        continue;
      }
      const next = bytes.length - at < HEADER_SIZE ? -1 : this.#message(bytes, at, member);
      if (this.terminated || this.failure !== null) return this.#sendable(bytes, at);
      if (next < 0) {
        this.cut = new Uint8Array(bytes.subarray(at));
        return this.#sendable(bytes, at);
      }
      at = next;
    }
    return this.#sendable(bytes, at);
  }

  /** Whether a DEALLOCATE ALL or DISCARD ALL has been seen on its way since it was asked last. */
  takeDeallocated(): boolean {
    const seen = this.#deallocated;
    this.#deallocated = false;
    return seen;
  }

  /** DISCARD ALL or DEALLOCATE ALL: no statement is prepared any more. */
  forgetStatements(): void {
    this.statements.clear();
    this.#lastStatement = null;
  }

  /** A message begins at `at`; returns where to go on, or -1 when more of it is needed. */
  #message(bytes: Uint8Array, at: number, member: PooledBackend): number {
    const length = readInt32(bytes, at + 1);
    if (length < LENGTH_SIZE) {
      this.failure = PgError.protocolViolation("invalid message length");
      return at;
    }
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
        if (!this.functionCallsAllowed) {
          this.failure = functionCallRefused();
          return at;
        }
        this.fates.unitSent();
        return this.#pass(bytes, at, member);
      case FrontendMessage.Sync:
        if (!member.backend.ledger.copyIn) this.fates.unitSent();
        return this.#pass(bytes, at, member);
    }
    return this.#pass(bytes, at, member);
  }

  /** The message, or what has come of it, goes as it is. */
  #pass(bytes: Uint8Array, at: number, member: PooledBackend): number {
    member.backend.ledger.request(bytes[at]!);
    if (member.backend.ledger.uncertain) this.keep ??= "protocol";
    const from = this.#framer.step(bytes, at, bytes.length);
    return this.#framer.atBoundary ? from : this.#framer.step(bytes, from, bytes.length);
  }

  /** Whether a statement may be sent, for all that it leaves on the backend. */
  #mayLeave(bytes: Uint8Array, start: number, end: number, member: PooledBackend): boolean {
    if (this.keep !== null || this.sessionState === "ignore") return true;
    const reason = pinReason(bytes, start, end, member.backend.parameters);
    if (reason === null) return true;
    if (this.sessionState === "pin") this.keep = reason;
    else this.failure = stateRefused(reason);
    return this.failure === null;
  }

  #query(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    const start = at + HEADER_SIZE;
    const seen = Math.min(end, bytes.length);
    if (seen < end && end - at <= QUERY_SIZE_MAX) return -1; // what it leaves is told by all of it
    if (!this.#mayLeave(bytes, start, seen, member)) return at;
    member.unnamedOwner = null; // a simple query destroys the unnamed statement
    this.#unnamedSize = 0;
    if (start < seen && (bytes[start]! | 0x20) === LETTER_D && seen === end) {
      const name = deallocatedName(bytes, start, end);
      if (name !== null) return this.#deallocate(name, bytes, at, end, member);
    }
    this.fates.unitSent();
    return this.#pass(bytes, at, member);
  }

  /** DEALLOCATE as a simple query: of one name, or of all (null would not have come here). */
  #deallocate(
    name: string,
    bytes: Uint8Array,
    at: number,
    end: number,
    member: PooledBackend,
  ): number {
    if (name === "*") {
      this.forgetStatements();
      this.#deallocated = true;
      member.statements.clear();
    }
    const statement = this.statements.get(name);
    if (statement === undefined) {
      this.fates.unitSent();
      return this.#pass(bytes, at, member);
    }
    // It is deallocated under the name that it has on this backend; where it is missing it is
    // prepared for that, so that the server itself answers.
    this.statements.delete(name);
    this.#lastStatement = null;
    const writer = new MessageWriter();
    const known = this.#nameOf(statement, member, writer);
    member.statements.delete(statement);
    writer.begin(FrontendMessage.Query).cstring(`DEALLOCATE ${NAME.decode(known)}`).end();
    if (member.backend.ledger.batchOpen) this.keep ??= "protocol";
    member.backend.ledger.request(FrontendMessage.Query);
    this.fates.unitSent();
    return this.#replace(bytes, at, end, writer.take());
  }

  #parse(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    if (end > bytes.length) {
      if (end - at <= PARSE_SIZE_MAX || bytes.length - at === HEADER_SIZE) return -1;
      if (bytes[at + HEADER_SIZE] === 0) return this.#parseLarge(bytes, at, member);
      this.failure = new PgError(
        SqlState.ProgramLimitExceeded,
        "statement is too long to prepare",
        {
          detail: `In transaction mode it may have ${PARSE_SIZE_MAX} bytes.`,
          hint: "Send it as a simple query.",
        },
      );
      return at;
    }
    const nameAt = at + HEADER_SIZE;
    const nameEnd = terminator(bytes, nameAt, end);
    const textEnd = nameEnd < 0 ? -1 : terminator(bytes, nameEnd + 1, end);
    if (textEnd < 0) return this.#malformed();
    if (!this.#mayLeave(bytes, nameEnd + 1, textEnd, member)) return at;
    if (nameEnd > nameAt) return this.#parseNamed(bytes, at, nameEnd, end, member);
    this.#rememberUnnamed(bytes, nameEnd + 1, end);
    member.unnamedOwner = this;
    this.fates.push(this.#unnamedParsed);
    return this.#pass(bytes, at, member);
  }

  /** An unnamed statement of which no copy is kept: the client keeps its backend instead. */
  #parseLarge(bytes: Uint8Array, at: number, member: PooledBackend): number {
    this.keep ??= "large statement";
    this.#unnamedSize = 0;
    member.unnamedOwner = this;
    this.fates.push(FORWARDED);
    return this.#pass(bytes, at, member);
  }

  #parseNamed(
    bytes: Uint8Array,
    at: number,
    nameEnd: number,
    end: number,
    member: PooledBackend,
  ): number {
    const name = NAME.decode(bytes.subarray(at + HEADER_SIZE, nameEnd));
    const known = this.statements.get(name);
    const statement = known ?? statementOf(bytes, nameEnd + 1, end);
    const writer = new MessageWriter(end - at + 32);
    const there = known === undefined
      ? member.statements.use(statement)
      : this.#nameOf(statement, member, writer);
    member.backend.ledger.request(FrontendMessage.Parse);
    if (known !== undefined) {
      // The name is taken: the server says so, in its own words.
      encodeParse(writer, there!, statement);
      this.fates.push(FORWARDED);
    } else {
      const undo = there === undefined ? member.statements : null;
      if (there === undefined) encodeParse(writer, member.statements.add(statement), statement);
      else this.#encodeNothing(writer, member);
      this.#define(name, statement);
      this.fates.push({
        withheld: false,
        onFailure: () => {
          this.statements.delete(name);
          this.#lastStatement = null;
          undo?.delete(statement);
        },
      });
    }
    return this.#replace(bytes, at, end, writer.take());
  }

  /** In the place of a Parse that the backend does not need: its answer is the same. */
  #encodeNothing(writer: MessageWriter, member: PooledBackend): void {
    encodeParseOfNothing(writer);
    member.unnamedOwner = null;
  }

  #define(name: string, statement: Statement): void {
    try {
      this.statements.set(name, statement);
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      this.failure = error;
    }
  }

  #bind(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    const seen = Math.min(end, bytes.length);
    const portalEnd = terminator(bytes, at + HEADER_SIZE, seen);
    const nameEnd = portalEnd < 0 ? -1 : terminator(bytes, portalEnd + 1, seen);
    if (nameEnd < 0) {
      if (seen === end || seen - at > NAMES_SIZE_MAX) return this.#malformed();
      return -1;
    }
    return this.#withStatement(bytes, at, portalEnd + 1, nameEnd, end, member);
  }

  #describeOrClose(bytes: Uint8Array, at: number, end: number, member: PooledBackend): number {
    if (end > bytes.length) return end - at > NAMES_SIZE_MAX ? this.#malformed() : -1;
    const kindAt = at + HEADER_SIZE;
    const nameEnd = terminator(bytes, kindAt + 1, end);
    if (nameEnd < 0) return this.#malformed();
    const isClose = bytes[at] === FrontendMessage.Close;
    if (bytes[kindAt] !== STATEMENT) {
      if (isClose) this.fates.push(FORWARDED);
      return this.#pass(bytes, at, member);
    }
    if (!isClose) return this.#withStatement(bytes, at, kindAt + 1, nameEnd, end, member);
    this.fates.push(FORWARDED);
    if (nameEnd === kindAt + 1) {
      this.#unnamedSize = 0;
      member.unnamedOwner = null;
      return this.#pass(bytes, at, member);
    }
    this.statements.delete(NAME.decode(bytes.subarray(kindAt + 1, nameEnd)));
    this.#lastStatement = null;
    // The backend keeps it for whoever needs it next.
    const writer = new MessageWriter(32);
    encodeCloseOfNothing(writer);
    member.backend.ledger.request(FrontendMessage.Close);
    return this.#replace(bytes, at, end, writer.take());
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
    if (nameEnd === nameAt) {
      if (member.unnamedOwner === this) return this.#pass(bytes, at, member);
      // What is there by that name is somebody else's.
      if (this.#unnamedSize === 0) {
        return this.#rename(bytes, at, nameAt, nameEnd, end, NOWHERE, member);
      }
      this.#restoreUnnamed(bytes, at, member);
      return this.#pass(bytes, at, member);
    }
    const statement = this.#lookUp(bytes, nameAt, nameEnd);
    if (statement === null) return this.#pass(bytes, at, member); // the server says that there is none
    let name = member.statements.use(statement);
    if (name === undefined) {
      const writer = new MessageWriter(statement.definition.length + 32);
      name = this.#nameOf(statement, member, writer);
      this.#flushRun(bytes, at);
      this.#append(writer.take(), 0);
      this.#runStart = at;
    }
    return this.#rename(bytes, at, nameAt, nameEnd, end, name, member);
  }

  /** The statement that the client has given this name; null when it has not. */
  #lookUp(bytes: Uint8Array, nameAt: number, nameEnd: number): Statement | null {
    if (this.#lastStatement !== null && isSame(this.#lastName, bytes, nameAt, nameEnd)) {
      return this.#lastStatement;
    }
    const statement = this.statements.get(NAME.decode(bytes.subarray(nameAt, nameEnd)));
    if (statement === undefined) return null;
    this.#lastName = new Uint8Array(bytes.subarray(nameAt, nameEnd));
    this.#lastStatement = statement;
    return statement;
  }

  /** The statement's name on the backend; where it is missing, a Parse of pgvpd's own goes first. */
  #nameOf(statement: Statement, member: PooledBackend, writer: MessageWriter): Uint8Array {
    const known = member.statements.use(statement);
    if (known !== undefined) return known;
    const name = member.statements.add(statement);
    encodeParse(writer, name, statement);
    member.backend.ledger.request(FrontendMessage.Parse);
    const { statements } = member;
    this.fates.push({ withheld: true, onFailure: () => statements.delete(statement) });
    return name;
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
    this.#flushRun(bytes, at);
    const headAt = this.#scratchSize;
    this.#append(bytes, at, nameAt);
    this.#append(name, 0);
    writeInt32(this.#scratch, headAt + 1, end - at - 1 + name.length - (nameEnd - nameAt));
    this.#runStart = nameEnd;
    return this.#pass(bytes, at, member);
  }

  /** The client's unnamed statement is not there any more: it is parsed again. */
  #restoreUnnamed(bytes: Uint8Array, at: number, member: PooledBackend): void {
    this.#flushRun(bytes, at);
    const headAt = this.#scratchSize;
    this.#append(PARSE_UNNAMED, 0);
    this.#append(this.#unnamed, 0, this.#unnamedSize);
    writeInt32(this.#scratch, headAt + 1, LENGTH_SIZE + 1 + this.#unnamedSize);
    member.backend.ledger.request(FrontendMessage.Parse);
    member.unnamedOwner = this;
    this.fates.push(WITHHELD);
  }

  #rememberUnnamed(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (size > this.#unnamed.length) this.#unnamed = new Uint8Array(size * 2);
    this.#unnamed.set(bytes.subarray(start, end));
    this.#unnamedSize = size;
  }

  #malformed(): number {
    this.failure = PgError.protocolViolation("invalid message format");
    return 0;
  }

  /** Other bytes go in the place of the message `[at, end)`. */
  #replace(bytes: Uint8Array, at: number, end: number, other: Uint8Array): number {
    this.#flushRun(bytes, at);
    this.#append(other, 0);
    this.#runStart = end;
    return end;
  }

  #sendable(bytes: Uint8Array, end: number): Uint8Array {
    if (this.#scratchSize === 0) {
      return end === bytes.length && this.#runStart === 0
        ? bytes
        : bytes.subarray(this.#runStart, Math.max(end, this.#runStart));
    }
    this.#flushRun(bytes, end);
    return this.#scratch.subarray(0, this.#scratchSize);
  }

  #flushRun(bytes: Uint8Array, end: number): void {
    if (end > this.#runStart) this.#append(bytes, this.#runStart, end);
    this.#runStart = end;
  }

  #append(bytes: Uint8Array, start: number, end: number = bytes.length): void {
    const needed = this.#scratchSize + end - start;
    if (needed > this.#scratch.length) {
      const larger = new Uint8Array(Math.max(needed, this.#scratch.length * 2, 512));
      larger.set(this.#scratch.subarray(0, this.#scratchSize));
      this.#scratch = larger;
    }
    this.#scratch.set(
      start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end),
      this.#scratchSize,
    );
    this.#scratchSize = needed;
  }
}

/** Parse, its length, and an empty name. */
const PARSE_UNNAMED: Uint8Array = Uint8Array.of(FrontendMessage.Parse, 0, 0, 0, 0, 0);

function terminator(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; at++) if (bytes[at] === 0) return at;
  return -1;
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let at = 0; at < name.length; at++) if (name[at] !== bytes[start + at]) return false;
  return true;
}

function writeInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function stateRefused(reason: string): PgError {
  return new PgError(
    SqlState.FeatureNotSupported,
    `session state is not available in transaction mode: ${reason}`,
    { hint: "Use what ends with the transaction (SET LOCAL …), or set session_state = pin." },
  );
}

function functionCallRefused(): PgError {
  return new PgError(
    SqlState.FeatureNotSupported,
    "function calls are not available in transaction mode",
    { hint: "Call the function in a SELECT, or set pool_function_calls = true." },
  );
}
