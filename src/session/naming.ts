// Naming: what a client's named statements are called on the backend of the moment.

import { MessageWriter } from "../codec/writer.ts";
import { FORWARDED, type PendingReply, type ReplyFates, WITHHELD } from "../protocol/fates.ts";
import {
  type BackendStatements,
  ClientStatement,
  ClientStatements,
  DOOMED,
  encodeClose,
  encodeDoomed,
  encodeParse,
  NOWHERE,
  type Prepared,
  type Statement,
  statementOf,
} from "../protocol/prepared.ts";

/** Names that are found without a string being made of them; a power of two. */
const CACHE_SIZE = 64;
const NAME = new TextDecoder("latin1");
const NO_BYTES = new Uint8Array(0);

/**
 * A statement is known by its name from the moment its Parse is sent, as the next message may use
 * it. When the reply says otherwise, that is undone; what rests on a reply that is still due
 * is asked for under the very name that the reply decides about.
 */
export class Naming {
  readonly statements = new ClientStatements();
  /** The backend of the moment. */
  home: BackendStatements | null = null;
  readonly #fates: ReplyFates;
  #cache: (ClientStatement | null)[] = [];
  #cachedNames: Uint8Array[] = [];

  constructor(fates: ReplyFates) {
    this.#fates = fates;
    fates.onStatementsLost = () => {
      this.statements.clear();
      this.home!.clear();
      this.#changed();
    };
  }

  /** What the client means by the name `bytes[start, end)`; null when nothing. */
  find(bytes: Uint8Array, start: number, end: number): ClientStatement | null {
    if (this.statements.count === 0) return null;
    const slot = slotOf(bytes, start, end);
    const cached = this.#cache[slot] ?? null;
    if (cached !== null && isSame(this.#cachedNames[slot]!, bytes, start, end)) return cached;
    const found = this.statements.get(NAME.decode(bytes.subarray(start, end))) ?? null;
    if (found !== null) this.#remember(slot, found, bytes.subarray(start, end));
    return found;
  }

  #remember(slot: number, statement: ClientStatement, name: Uint8Array): void {
    if (this.#cache.length === 0) {
      this.#cache = new Array(CACHE_SIZE).fill(null);
      this.#cachedNames = new Array(CACHE_SIZE).fill(NO_BYTES);
    }
    this.#cache[slot] = statement;
    this.#cachedNames[slot] = new Uint8Array(name);
  }

  #changed(): void {
    this.#cache.fill(null);
  }

  /** What must be sent before the statement can be used; null when nothing. */
  preparation(definition: ClientStatement): Uint8Array | null {
    if (definition.pendingName !== null) return null;
    const last = definition.prepared;
    if (last !== null && last.isThere && last.home === this.home && this.#isSure(last)) return null;
    const there = definition.prepared = this.home!.find(definition.statement);
    if (there !== null && this.#isSure(there)) return null;
    return this.#prepare(definition, there);
  }

  /** It is there whatever becomes of the batches that are under way. */
  #isSure(prepared: Prepared): boolean {
    return prepared.confirmed || prepared.batch === this.#fates.batch;
  }

  #prepare(definition: ClientStatement, there: Prepared | null): Uint8Array {
    const { statement } = definition;
    const writer = new MessageWriter(statement.definition.length + 64);
    if (there !== null) {
      // Its Parse is under way in a batch that may have failed before it.
      encodeClose(writer, there.name);
      this.#fates.push({ withheld: true, replied: () => void (there.confirmed = false) });
      there.batch = this.#fates.batch;
    }
    const prepared = there ?? this.home!.add(statement, this.#fates.batch);
    definition.prepared = prepared;
    encodeParse(writer, prepared.name, statement);
    this.#fates.push(new Preparation(prepared));
    return writer.take();
  }

  /** Its name on the backend, once the preparation is sent. */
  nameOf({ pendingName, prepared }: ClientStatement): Uint8Array {
    if (pendingName !== null) return pendingName;
    this.home!.touch(prepared!);
    return prepared!.name;
  }

  /** A Parse with a name, `bytes[nameAt, nameEnd)`, that ends at `end`, as the backend is sent it. */
  define(bytes: Uint8Array, nameAt: number, nameEnd: number, end: number): Uint8Array {
    const name = NAME.decode(bytes.subarray(nameAt, nameEnd));
    const known = this.statements.get(name);
    const statement = statementOf(bytes, nameEnd + 1, end);
    const writer = new MessageWriter(end - nameAt + 64);
    if (known !== undefined) this.#defineAgain(writer, name, known, statement);
    else this.#defineNew(writer, name, statement);
    return writer.take();
  }

  #defineNew(writer: MessageWriter, name: string, statement: Statement): void {
    const home = this.home!;
    const definition = new ClientStatement(statement);
    // Also where it is there already: the server checks it as it would for its own client.
    definition.pendingName = home.freshName();
    encodeParse(writer, definition.pendingName, statement);
    this.#fates.push(new Definition(this, name, definition, home));
    this.set(name, definition);
  }

  /** The name is taken: the server says so itself, unless the first Parse has failed. */
  #defineAgain(
    writer: MessageWriter,
    name: string,
    known: ClientStatement,
    statement: Statement,
  ): void {
    const preparation = this.preparation(known);
    if (preparation !== null) writer.raw(preparation);
    const sentAs = this.nameOf(known);
    encodeParse(writer, sentAs, statement);
    if (known.pendingName === null) return this.#fates.push(FORWARDED);
    const again = new ClientStatement(statement);
    again.pendingName = sentAs;
    known.succeedBy(again);
    this.#fates.push(new Definition(this, name, again, this.home!));
  }

  set(name: string, statement: ClientStatement): void {
    this.statements.set(name, statement);
    this.#changed();
  }

  /** The name does not mean this any more, but something else or nothing. */
  unset(name: string, statement: ClientStatement, other: ClientStatement | null = null): void {
    if (this.statements.get(name) !== statement) return;
    if (other === null) this.statements.delete(name);
    else this.statements.set(name, other);
    this.#changed();
  }

  /** A Close of this name is sent; the backend keeps its statement for whoever needs it next. */
  close(bytes: Uint8Array, start: number, end: number): void {
    const name = NAME.decode(bytes.subarray(start, end));
    const known = this.statements.get(name);
    if (known === undefined) return this.#fates.push(FORWARDED);
    this.unset(name, known);
    this.#fates.push({ withheld: false, failed: () => this.#setAgain(name, known) });
  }

  #setAgain(name: string, known: ClientStatement): void {
    const back = known.current;
    if (back !== null && this.statements.get(name) === undefined) this.set(name, back);
  }

  /**
   * A DEALLOCATE of this name is sent: what it must say, and what goes before it. Null when the
   * name is none of the client's.
   */
  deallocate(name: string): { sql: string; before: Uint8Array } | null {
    const known = this.statements.get(name);
    if (known === undefined) return null;
    this.unset(name, known);
    const { pendingName } = known;
    const writer = new MessageWriter(64);
    if (pendingName === null) {
      encodeDoomed(writer);
      this.#fates.push(WITHHELD);
      this.#fates.push(WITHHELD);
    } else known.drop(); // whether it is there, the server knows
    this.#fates.deallocates({ all: false, undo: () => this.#setAgain(name, known) });
    const sql = `DEALLOCATE ${pendingName === null ? DOOMED : NAME.decode(pendingName)}`;
    return { sql, before: writer.take() };
  }

  /** A DEALLOCATE ALL or DISCARD ALL is sent. */
  deallocateAll(): void {
    const home = this.home!;
    const named = this.statements.takeAll();
    const prepared = home.takeAll();
    this.#changed();
    const { batch } = this.#fates;
    this.#fates.deallocates({
      all: true,
      confirmed: () => home.retireUntil(batch),
      undo: () => {
        this.statements.putBack(named);
        home.putBack(prepared);
        this.#changed();
      },
    });
  }

  /** Closes what is not needed on the backend any more, and nothing stands open there. */
  closeSurplus(writer: MessageWriter, max: number): void {
    for (const name of this.home!.takeSurplus(max)) {
      encodeClose(writer, name);
      this.#fates.push(WITHHELD);
    }
  }
}

/** The reply to a Parse of pgvpd's own. */
class Preparation implements PendingReply {
  readonly withheld: boolean = true;
  constructor(readonly prepared: Prepared) {}

  replied(batch: number): void {
    const { prepared } = this;
    if (prepared.batch !== batch) return;
    prepared.confirmed = true;
    // A SET may have come before it in the pipeline.
    if (!prepared.home.meansTheSame(prepared)) prepared.home.retire(prepared);
  }

  failed(batch: number): void {
    const { prepared } = this;
    if (prepared.batch === batch && !prepared.confirmed) prepared.home.delete(prepared);
  }
}

/** The reply to a client's Parse of a name that is new. */
class Definition implements PendingReply {
  readonly withheld = false;

  constructor(
    readonly naming: Naming,
    readonly name: string,
    readonly definition: ClientStatement,
    readonly home: BackendStatements,
  ) {}

  replied(batch: number): void {
    const { definition, home } = this;
    const name = definition.pendingName!;
    definition.pendingName = null;
    if (definition.isDropped) home.discard(name);
    else definition.prepared = home.adopt(definition.statement, name, batch);
  }

  failed(): void {
    this.definition.failed = true;
    this.naming.unset(this.name, this.definition, this.definition.current);
  }
}

/** Not a statement of the client's: closing it does nothing, and is answered. */
export function encodeCloseOfNothing(): Uint8Array {
  const writer = new MessageWriter(32);
  encodeClose(writer, NOWHERE);
  return writer.take();
}

function slotOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let at = start; at < end; at++) hash = (hash * 31 + bytes[at]!) | 0;
  return hash & (CACHE_SIZE - 1);
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let at = 0; at < name.length; at++) if (name[at] !== bytes[start + at]) return false;
  return true;
}
