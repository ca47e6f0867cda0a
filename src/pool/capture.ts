// The few messages of a server whose bodies a backend looks into while it passes them on.

import { BackendMessage } from "../codec/codes.ts";
import { MessageReader } from "../codec/reader.ts";
import type { Tally } from "../meters.ts";

/** A longer ParameterStatus is passed on unread; the longest value PostgreSQL reports is a path. */
const SIZE_MAX = 8 * 1024;
/** Parameters that are remembered: PostgreSQL reports about fifteen. */
const PARAMETERS_MAX = 100;
/** Completion tags of statements that reset every run-time parameter, a context's among them. */
const CONTEXT_LOST: ReadonlySet<string> = new Set(["RESET", "DISCARD ALL"]);
/** Completion tags of statements that deallocate every prepared statement. */
const STATEMENTS_LOST: ReadonlySet<string> = new Set(["DEALLOCATE ALL", "DISCARD ALL"]);

/** For who collects no ParameterStatus. */
export const NO_PARAMETERS = new Map<string, string>();

/** Collects one body, however it is cut, and draws its conclusion. */
export class Capture {
  /** A body is being collected. */
  active = false;
  /** A statement has undone the session's context. Whoever reads it takes it back. */
  contextLost = false;
  /** A statement has deallocated all prepared statements. Whoever reads it takes it back. */
  statementsLost = false;
  /** A statement has deallocated a prepared statement. Whoever reads it takes it back. */
  statementLost = false;
  #type = 0;
  #body: Uint8Array = new Uint8Array(64);
  #size = 0;

  /**
   * @param parameters where a ParameterStatus is entered.
   * @param errors counts ErrorResponses by the class of their SQLSTATE; null: nobody does.
   */
  constructor(readonly parameters: Map<string, string>, public errors: Tally | null = null) {}

  /** A message has begun. */
  begin(type: number, bodySize: number): void {
    if (bodySize <= 0 || bodySize > SIZE_MAX) return;
    if (bodySize > this.#body.length) this.#body = new Uint8Array(bodySize);
    this.active = true;
    this.#type = type;
    this.#size = 0;
  }

  /** A piece of its body, `bytes[start, end)`. */
  take(bytes: Uint8Array, start: number, end: number, remaining: number): void {
    this.#body.set(bytes.subarray(start, end), this.#size);
    this.#size += end - start;
    if (remaining > 0) return;
    this.active = false;
    try {
      this.#conclude(new MessageReader(this.#body, 0, this.#size));
    } catch {
      // Malformed; the client that reads it will say so.
    }
  }

  #conclude(reader: MessageReader): void {
    if (this.#type === BackendMessage.ErrorResponse) return this.#countError(reader);
    const name = reader.cstring();
    if (this.#type === BackendMessage.CommandComplete) {
      if (CONTEXT_LOST.has(name)) this.contextLost = true;
      if (STATEMENTS_LOST.has(name)) this.statementsLost = true;
      if (name === "DEALLOCATE") this.statementLost = true;
    } else if (this.parameters.has(name) || this.parameters.size < PARAMETERS_MAX) {
      this.parameters.set(name, reader.cstring());
    }
  }

  /** The fields of an ErrorResponse: a letter and a text each; `C` is the SQLSTATE. */
  #countError(reader: MessageReader): void {
    for (let field = reader.cstring(); field !== ""; field = reader.cstring()) {
      if (field[0] === "C") return this.errors?.add(field.slice(1, 3));
    }
  }
}
