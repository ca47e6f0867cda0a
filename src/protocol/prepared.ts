// Prepared statements across backends: a client's names mean texts, and a backend's names too.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY

import { FrontendMessage, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { MessageWriter } from "../codec/writer.ts";
import { deallocatedName } from "./session_state.ts";

const UTF8 = new TextEncoder();
const LATIN1 = new TextDecoder("latin1");
const NO_NAME = new Uint8Array(0);
const STATEMENT = "S".charCodeAt(0);

/** Names that pgvpd gives; a client's own names never name anything on a backend. */
const PREFIX = "pgvpd_";
/** A statement that is nowhere: closing it changes nothing, and is answered. */
export const NOWHERE: Uint8Array = UTF8.encode(`${PREFIX}0`);
/** A statement that is there to be deallocated. */
export const DOOMED = `${PREFIX}doomed`;
const DOOMED_BYTES = UTF8.encode(DOOMED);
/** The longest Parse message of a statement that has a name. */
export const PARSE_SIZE_MAX = 1024 * 1024;
/** Prepared statements that one client may have, in bytes of text and what it takes to know them. */
export const CLIENT_SIZE_MAX = 16 * 1024 * 1024;
const STATEMENT_OVERHEAD = 256;

/** Literals that mean another moment in each Parse. */
const MOMENT = /'\s*(now|today|tomorrow|yesterday)\b/i;
/** What a literal in a text means depends on these. */
const MEANING_PARAMETERS = [
  ...["client_encoding", "DateStyle", "IntervalStyle", "search_path"],
  ...["standard_conforming_strings", "TimeZone"],
];
let privateStatements = 0;

/** A statement: its text and parameter types, as they stand in a Parse message behind the name. */
export interface Statement {
  readonly definition: Uint8Array;
  /** The same for the same definition, unless nobody else's Parse would have meant the same. */
  readonly key: string;
  /** It is a DEALLOCATE ALL or DISCARD ALL. */
  readonly deallocatesAll: boolean;
}

/** Makes a statement of `bytes[start, end)`: query, terminator, parameter types. */
export function statementOf(bytes: Uint8Array, start: number, end: number): Statement {
  const definition = bytes.slice(start, end);
  const text = LATIN1.decode(definition);
  const textEnd = start + definition.indexOf(0);
  return {
    definition,
    key: MOMENT.test(text) ? `${++privateStatements} ${text}` : text,
    deallocatesAll: mayDeallocate(bytes, start, textEnd) &&
      deallocatedName(bytes, start, textEnd) === "*",
  };
}

/** Does `bytes[start, end)` begin as DEALLOCATE or DISCARD do, as far as can be seen? */
export function mayDeallocate(bytes: Uint8Array, start: number, end: number): boolean {
  while (start < end && isBlank(bytes[start]!)) start++;
  if (start === end || (bytes[start]! | 0x20) !== 0x64) return false; // d
  if (end - start < 3) return true;
  const third = bytes[start + 2]! | 0x20;
  return third === 0x61 || third === 0x73; // a or s
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte >= 0x09 && byte <= 0x0d;
}

/** Does a name begin as those that pgvpd gives? */
export function isOwnName(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < PREFIX.length) return false;
  for (let at = 0; at < PREFIX.length; at++) {
    if (bytes[start + at] !== PREFIX.charCodeAt(at)) return false;
  }
  return true;
}

/** What a client means by a name. */
export class ClientStatement {
  /** The name under which the client's Parse was sent, until it is answered. */
  pendingName: Uint8Array | null = null;
  /** Where it was found last. */
  prepared: Prepared | null = null;
  /** Its Parse has failed. */
  failed = false;
  /** What a second Parse makes the name mean, where this one's fails. */
  #successor: ClientStatement | null = null;
  /** It is deallocated under its pending name, if it is there. */
  isDropped = false;

  constructor(readonly statement: Statement) {}

  /** This one, or, when its Parse has failed, the next; null when there is none. */
  get current(): ClientStatement | null {
    return this.failed ? this.#successor?.current ?? null : this;
  }

  /** A DEALLOCATE of the pending name is sent, whoever of them has it then. */
  drop(): void {
    this.isDropped = true;
    this.#successor?.drop();
  }

  /** The name is parsed once more before this one's Parse is answered. */
  succeedBy(next: ClientStatement): void {
    if (this.#successor === null) this.#successor = next;
    else this.#successor.succeedBy(next);
  }
}

/** The named statements of one client. */
export class ClientStatements {
  #byName = new Map<string, ClientStatement>();
  #size = 0;

  get(name: string): ClientStatement | undefined {
    return this.#byName.get(name);
  }

  set(name: string, statement: ClientStatement): void {
    this.delete(name);
    this.#size += sizeOf(name, statement);
    this.#byName.set(name, statement);
  }

  /** They are too many: the client must go. */
  get isOverfull(): boolean {
    return this.#size > CLIENT_SIZE_MAX;
  }

  delete(name: string): void {
    const known = this.#byName.get(name);
    if (known === undefined) return;
    this.#size -= sizeOf(name, known);
    this.#byName.delete(name);
  }

  clear(): void {
    this.#byName.clear();
    this.#size = 0;
  }

  /** Takes all of them away. */
  takeAll(): ReadonlyMap<string, ClientStatement> {
    const all = this.#byName;
    this.#byName = new Map();
    this.#size = 0;
    return all;
  }

  /** Brings back those whose names have not been given again. */
  putBack(all: ReadonlyMap<string, ClientStatement>): void {
    for (const [name, statement] of all) {
      const back = statement.current;
      if (back !== null && !this.#byName.has(name)) this.set(name, back);
    }
  }

  get count(): number {
    return this.#byName.size;
  }
}

function sizeOf(name: string, { statement }: ClientStatement): number {
  return name.length + 2 * statement.definition.length + STATEMENT_OVERHEAD;
}

const NO_BATCH = -1;

/** A statement on a backend. */
export class Prepared {
  /** The server has answered its Parse. */
  confirmed = false;
  /** It is on that backend, or will be. */
  isThere = true;
  usedAt = 0;

  /** @param batch in which its last Parse was sent. */
  constructor(
    readonly home: BackendStatements,
    readonly key: string,
    readonly name: Uint8Array,
    public batch: number,
  ) {}
}

/** The parameters of a server, as far as it reports them. */
export interface Reported {
  readonly parameters: ReadonlyMap<string, string>;
  /** ParameterStatus messages that have come. */
  readonly reports: number;
}

/** The named statements of one backend. */
export class BackendStatements {
  #entries = new Map<string, Prepared>();
  #garbage: Uint8Array[] = [];
  #last = 0;
  #uses = 0;
  /** What the texts mean at present: the values of the parameters that decide it. */
  #meaning = "";
  #reports = -1;

  get count(): number {
    return this.#entries.size;
  }

  /** @param reported what the server has reported of its parameters, and how often. */
  constructor(private readonly reported: Reported) {}

  /** What texts mean now. */
  #meaningNow(): string {
    const { parameters, reports } = this.reported;
    if (reports !== this.#reports) {
      this.#reports = reports;
      this.#meaning = JSON.stringify(MEANING_PARAMETERS.map((name) => parameters.get(name)));
    }
    return this.#meaning;
  }

  /** Would its text mean the same if it were prepared now? */
  meansTheSame({ key }: Prepared): boolean {
    return key.startsWith(this.#meaningNow());
  }

  find({ key }: Statement): Prepared | null {
    return this.#entries.get(this.#meaningNow() + key) ?? null;
  }

  /** Gives a statement that will be prepared a name. */
  add({ key }: Statement, batch: number): Prepared {
    const prepared = new Prepared(this, this.#meaningNow() + key, this.freshName(), batch);
    this.#entries.set(prepared.key, prepared);
    this.touch(prepared);
    return prepared;
  }

  /** A statement has been prepared under this name; null when there is one already. */
  adopt(statement: Statement, name: Uint8Array, batch: number): Prepared | null {
    if (this.find(statement) !== null) {
      this.discard(name);
      return null;
    }
    const prepared = new Prepared(this, this.#meaningNow() + statement.key, name, batch);
    prepared.confirmed = true;
    this.#entries.set(prepared.key, prepared);
    this.touch(prepared);
    return prepared;
  }

  /** It is used now. */
  touch(prepared: Prepared): void {
    prepared.usedAt = ++this.#uses;
  }

  /** It could not be prepared, or is there no more. */
  delete(prepared: Prepared): void {
    if (this.#entries.get(prepared.key) === prepared) this.#entries.delete(prepared.key);
    prepared.isThere = false;
    prepared.batch = NO_BATCH;
  }

  /** It is not for others. */
  retire(prepared: Prepared): void {
    this.delete(prepared);
    this.discard(prepared.name);
  }

  /** All of them are gone, or at least not relied upon, that were prepared in these batches. */
  retireUntil(batch: number): void {
    for (const prepared of this.#entries.values()) {
      if (prepared.batch <= batch) this.retire(prepared);
    }
  }

  /** A name that has never been given. */
  freshName(): Uint8Array {
    return UTF8.encode(`${PREFIX}${++this.#last}`);
  }

  /** What has this name is not needed any more. */
  discard(name: Uint8Array): void {
    this.#garbage.push(name);
  }

  /** The server has no statements any more. */
  clear(): void {
    for (const prepared of this.#entries.values()) prepared.isThere = false;
    this.#entries.clear();
    this.#garbage = [];
  }

  /** Takes all of them away. */
  takeAll(): ReadonlyMap<string, Prepared> {
    const all = this.#entries;
    this.#entries = new Map();
    for (const prepared of all.values()) prepared.isThere = false;
    return all;
  }

  /** They are there after all. */
  putBack(all: ReadonlyMap<string, Prepared>): void {
    for (const [key, prepared] of all) {
      if (prepared.batch === NO_BATCH) continue;
      if (this.#entries.has(key)) this.discard(prepared.name);
      else this.#entries.set(key, prepared).get(key)!.isThere = true;
    }
  }

  /** Are there statements to be closed, where `max` may stay? */
  hasSurplus(max: number): boolean {
    return this.#garbage.length > 0 || this.#entries.size > max;
  }

  /** Forgets those that are not needed any more and the least recently used; returns their names. */
  takeSurplus(max: number): Uint8Array[] {
    const names = this.#garbage;
    this.#garbage = [];
    const surplus = this.#entries.size - max;
    if (surplus <= 0) return names;
    const byUse = [...this.#entries.values()].sort((a, b) => a.usedAt - b.usedAt);
    for (const prepared of byUse.slice(0, surplus)) {
      this.delete(prepared);
      names.push(prepared.name);
    }
    return names;
  }
}

/** What a client with too many statements is told. */
export function tooManyStatements(): PgError {
  return new PgError(SqlState.ProgramLimitExceeded, "too many prepared statements", {
    detail: `Those of a client may have ${CLIENT_SIZE_MAX} bytes together.`,
    hint: "Close statements that are not needed any more (DEALLOCATE).",
  });
}

/** What a client with too long a statement is told. */
export function statementTooLong(): PgError {
  return new PgError(SqlState.ProgramLimitExceeded, "statement is too long to prepare", {
    detail: `In transaction mode it may have ${PARSE_SIZE_MAX} bytes.`,
    hint: "Send it as a simple query.",
  });
}

/** A Parse message for a statement under a name. */
export function encodeParse(
  writer: MessageWriter,
  name: Uint8Array,
  { definition }: Statement,
): void {
  writer.begin(FrontendMessage.Parse).cstringBytes(name).raw(definition).end();
}

/** A Close of the statement with this name. */
export function encodeClose(writer: MessageWriter, name: Uint8Array): void {
  writer.begin(FrontendMessage.Close).byte(STATEMENT).cstringBytes(name).end();
}

/** A Close of the unnamed statement. */
export function encodeCloseUnnamed(writer: MessageWriter): void {
  encodeClose(writer, NO_NAME);
}

/**
 * Has a statement be there that can be deallocated, answered by CloseComplete and ParseComplete.
 * An empty statement is one that even a failed transaction takes.
 */
export function encodeDoomed(writer: MessageWriter): void {
  encodeClose(writer, DOOMED_BYTES);
  writer.begin(FrontendMessage.Parse).cstringBytes(DOOMED_BYTES).cstring("").int16(0).end();
}
