// The messages of the extended query protocol, by the letter of the documentation.

import { concat, cstring, int16, int32, message } from "./wire_raw_client.ts";

const UTF8 = new TextEncoder();

export function query(sql: string): Uint8Array {
  return message("Q", cstring(sql));
}

export function parse(name: string, sql: string, types: readonly number[] = []): Uint8Array {
  const oids = types.map((type) => int32(type));
  return message("P", cstring(name), cstring(sql), int16(types.length), ...oids);
}

/** Parameters and results as text. */
export function bind(
  portal: string,
  name: string,
  parameters: readonly (string | null)[] = [],
): Uint8Array {
  const values = parameters.map((value) => {
    if (value === null) return int32(-1);
    const bytes = UTF8.encode(value);
    return concat([int32(bytes.length), bytes]);
  });
  const counted = concat([int16(0), int16(parameters.length), ...values, int16(0)]);
  return message("B", cstring(portal), cstring(name), counted);
}

/** @param kind `S` for a statement, `P` for a portal. */
export function describe(kind: "S" | "P", name: string): Uint8Array {
  return message("D", UTF8.encode(kind), cstring(name));
}

export function execute(portal = "", rowsMax = 0): Uint8Array {
  return message("E", cstring(portal), int32(rowsMax));
}

/** @param kind `S` for a statement, `P` for a portal. */
export function close(kind: "S" | "P", name: string): Uint8Array {
  return message("C", UTF8.encode(kind), cstring(name));
}

export const SYNC = message("S");
export const FLUSH = message("H");
export const COPY_DONE = message("c");

export function copyData(text: string): Uint8Array {
  return message("d", UTF8.encode(text));
}

export function copyFail(reason: string): Uint8Array {
  return message("f", cstring(reason));
}
