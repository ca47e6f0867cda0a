// Reads the message that establishes a context, as the server would, and answers it.

import { strict as assert } from "node:assert";
import {
  commandComplete,
  dataRow,
  join,
  message,
  messageTypes,
  readyForQuery,
  splitMessages,
  text,
} from "./messages.ts";

/** What Parse and Bind said. */
export interface ContextRequest {
  readonly sql: string;
  readonly parameterTypes: readonly number[];
  /** Names and values, alternating. */
  readonly parameters: readonly string[];
}

class Fields {
  #at = 5;
  readonly #view: DataView;
  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  int16(): number {
    this.#at += 2;
    return this.#view.getInt16(this.#at - 2);
  }
  int32(): number {
    this.#at += 4;
    return this.#view.getInt32(this.#at - 4);
  }
  take(size: number): Uint8Array {
    this.#at += size;
    return this.bytes.subarray(this.#at - size, this.#at);
  }
  cstring(): string {
    const end = this.bytes.indexOf(0, this.#at);
    const value = new TextDecoder().decode(this.bytes.subarray(this.#at, end));
    this.#at = end + 1;
    return value;
  }
  end(): void {
    assert.equal(this.#at, this.bytes.length, "something stands behind the last field");
  }
}

/** Takes Parse, Bind, Execute, Close and Sync apart; whatever else is in them is an error. */
export function readContextMessage(bytes: Uint8Array): ContextRequest {
  assert.equal(messageTypes(bytes), "PBECS");
  const [parse, bind, execute, close] = splitMessages(bytes).map((one) => new Fields(one));
  assert.equal(parse!.cstring(), "", "the statement is unnamed");
  const sql = parse!.cstring();
  const parameterTypes = Array.from({ length: parse!.int16() }, () => parse!.int32());
  parse!.end();
  assert.deepEqual(
    [bind!.cstring(), bind!.cstring()],
    ["", ""],
    "portal and statement are unnamed",
  );
  assert.deepEqual([bind!.int16(), bind!.int16()], [1, 1], "every parameter is binary");
  const parameters = Array.from({ length: bind!.int16() }, () => {
    const size = bind!.int32();
    return new TextDecoder("utf-8", { fatal: true }).decode(bind!.take(size));
  });
  assert.deepEqual([bind!.int16(), bind!.int16()], [1, 1], "every result is binary");
  bind!.end();
  assert.equal(execute!.cstring(), "");
  assert.equal(execute!.int32(), 0, "every row");
  execute!.end();
  assert.deepEqual(close!.take(1), text("S"));
  assert.equal(close!.cstring(), "");
  close!.end();
  return { sql, parameterTypes, parameters };
}

/** The row that a server reads back which had nothing (or `before`) and took every value. */
export function contextRow(
  values: readonly string[],
  before: (index: number) => string | null = () => null,
): Uint8Array<ArrayBuffer> {
  return dataRow(values.flatMap((value, index) => {
    const earlier = before(index);
    return [earlier === null ? null : text(earlier), text(value)];
  }));
}

/** Every reply to a context message, as the server sends them when all went well. */
export function contextReplies(
  values: readonly string[],
  row: Uint8Array = contextRow(values),
): Uint8Array<ArrayBuffer> {
  return join(
    message("1"),
    message("2"),
    row,
    commandComplete("SELECT 1"),
    message("3"),
    readyForQuery(),
  );
}

/** The values that a request asks for. */
export function requestedValues(request: ContextRequest): string[] {
  return request.parameters.filter((_, index) => index % 2 === 1);
}
