// Prepared statements across backends: a client's names mean texts, and a backend's names too.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY

import { FrontendMessage } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { SqlState } from "../codec/codes.ts";
import { MessageWriter } from "../codec/writer.ts";

const LATIN1 = new TextDecoder("latin1");
const NO_NAME = new Uint8Array(0);

/** Names that pgvpd gives; a client's own names never reach a backend. */
const PREFIX = "pgvpd_";
/** A statement that is nowhere: closing it changes nothing, and is answered. */
export const NOWHERE: Uint8Array = new TextEncoder().encode(`${PREFIX}0`);
/** Text of prepared statements that one client may have, in bytes. */
export const CLIENT_TEXT_SIZE_MAX = 16 * 1024 * 1024;

/** A statement: its text and parameter types, as they stand in a Parse message behind the name. */
export interface Statement {
  readonly definition: Uint8Array;
  /** The same for the same definition. */
  readonly key: string;
}

/** Makes a statement of `bytes[start, end)`: query, terminator, parameter types. */
export function statementOf(bytes: Uint8Array, start: number, end: number): Statement {
  const definition = bytes.slice(start, end);
  return { definition, key: LATIN1.decode(definition) };
}

/** The named statements of one client. */
export class ClientStatements {
  /** Null as long as there are none: most clients have none, and there are many clients. */
  #byName: Map<string, Statement> | null = null;
  #size = 0;

  get(name: string): Statement | undefined {
    return this.#byName?.get(name);
  }

  /** @throws {PgError} 54000 when they are too much text together. */
  set(name: string, statement: Statement): void {
    this.delete(name);
    this.#size += statement.definition.length;
    if (this.#size > CLIENT_TEXT_SIZE_MAX) {
      throw new PgError(SqlState.ProgramLimitExceeded, "too many prepared statements", {
        detail: `Their texts may have ${CLIENT_TEXT_SIZE_MAX} bytes together.`,
        hint: "Close statements that are not needed any more (DEALLOCATE).",
      });
    }
    this.#byName ??= new Map();
    this.#byName.set(name, statement);
  }

  delete(name: string): void {
    const known = this.#byName?.get(name);
    if (known === undefined) return;
    this.#size -= known.definition.length;
    this.#byName!.delete(name);
  }

  clear(): void {
    this.#byName = null;
    this.#size = 0;
  }

  get count(): number {
    return this.#byName?.size ?? 0;
  }
}

/** The named statements of one backend, the least recently used first. */
export class BackendStatements {
  readonly #names = new Map<string, Uint8Array>();
  #last = 0;

  /** The name of a statement that is there; it is the most recently used one then. */
  use(statement: Statement): Uint8Array | undefined {
    const name = this.#names.get(statement.key);
    if (name === undefined) return undefined;
    this.#names.delete(statement.key);
    this.#names.set(statement.key, name);
    return name;
  }

  /** Gives a statement that will be prepared a name. */
  add(statement: Statement): Uint8Array {
    const name = new TextEncoder().encode(`${PREFIX}${++this.#last}`);
    this.#names.set(statement.key, name);
    return name;
  }

  /** It could not be prepared, or is there no more. */
  delete(statement: Statement): void {
    this.#names.delete(statement.key);
  }

  clear(): void {
    this.#names.clear();
  }

  get count(): number {
    return this.#names.size;
  }

  /** The least recently used one goes; returns its name. */
  evict(): Uint8Array {
    const [key, name] = this.#names.entries().next().value!;
    this.#names.delete(key);
    return name;
  }
}

/** A Parse message for a statement under a name. */
export function encodeParse(
  writer: MessageWriter,
  name: Uint8Array,
  { definition }: Statement,
): void {
  writer.begin(FrontendMessage.Parse).cstringBytes(name).raw(definition).end();
}

/** A Parse of an empty statement without a name: answered by ParseComplete, and nothing else. */
export function encodeParseOfNothing(writer: MessageWriter): void {
  writer.begin(FrontendMessage.Parse).cstringBytes(NO_NAME).cstring("").int16(0).end();
}

/** A Close of the statement with this name. */
export function encodeClose(writer: MessageWriter, name: Uint8Array): void {
  writer.begin(FrontendMessage.Close).byte("S".charCodeAt(0)).cstringBytes(name).end();
}

/** A Close that is answered and does nothing. */
export function encodeCloseOfNothing(writer: MessageWriter): void {
  encodeClose(writer, NOWHERE);
}

/** What becomes of the reply to a Parse or Close, and what it is about. */
export interface PendingReply {
  /** pgvpd asked, and not the client. */
  readonly withheld: boolean;
  /** Called when it does not come, because the batch failed before. */
  readonly onFailure: (() => void) | null;
}

/** Passed on, and nothing depends on it. */
export const FORWARDED: PendingReply = { withheld: false, onFailure: null };
/** Withheld, and nothing depends on it. */
export const WITHHELD: PendingReply = { withheld: true, onFailure: null };

/**
 * The fates of ParseComplete and CloseComplete, in the order in which they are due.
 *
 * Each belongs to a unit: what ends with one ReadyForQuery. What is left of a unit when that comes
 * was skipped by the server, because something before it failed.
 */
export class ReplyFates {
  readonly #pending: PendingReply[] = [];
  readonly #units: number[] = [];
  #withheld = 0;
  /** Units that have been sent to their end. */
  #sent = 0;
  /** Units that are over. */
  #done = 0;

  /** A reply that is withheld is due, now or later. */
  get anyWithheld(): boolean {
    return this.#withheld > 0;
  }

  /** A Parse or Close has been sent. */
  push(reply: PendingReply): void {
    this.#pending.push(reply);
    this.#units.push(this.#sent);
    if (reply.withheld) this.#withheld++;
  }

  /** What ends the present unit has been sent: Sync, Query or FunctionCall. */
  unitSent(): void {
    this.#sent++;
  }

  /** The server has dropped `count` Syncs, because it reads the data of a COPY. */
  unitsDropped(count: number): void {
    this.#sent -= count;
    for (let index = 0; index < this.#units.length; index++) {
      if (this.#units[index]! > this.#done) this.#units[index]! -= count;
    }
  }

  /** ParseComplete or CloseComplete has come; returns whether it is withheld. */
  replied(): boolean {
    const reply = this.#pending.shift();
    this.#units.shift();
    if (reply === undefined) return false; // the client will find out
    if (reply.withheld) this.#withheld--;
    return reply.withheld;
  }

  /** ReadyForQuery has come: what is still due of its unit will not come. */
  ready(): void {
    while (this.#units.length > 0 && this.#units[0]! <= this.#done) {
      const reply = this.#pending.shift()!;
      this.#units.shift();
      if (reply.withheld) this.#withheld--;
      reply.onFailure?.();
    }
    this.#done++;
  }
}
