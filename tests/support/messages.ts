// Messages built and read by the letter of the documentation, without a line of src/codec.
// What tests expect must not come from the code that they test.

const UTF8 = new TextEncoder();

export function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value | 0);
  return bytes;
}

export function int16(value: number): Uint8Array {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value);
  return bytes;
}

export function text(value: string): Uint8Array<ArrayBuffer> {
  return UTF8.encode(value);
}

export function cstring(value: string): Uint8Array<ArrayBuffer> {
  return join(UTF8.encode(value), Uint8Array.of(0));
}

/** A message with a type, given as its letter. */
export function message(type: string, ...body: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = join(...body);
  return join(UTF8.encode(type), int32(content.length + 4), content);
}

/** A packet without a type. */
export function packet(code: number, ...body: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = join(int32(code), ...body);
  return join(int32(content.length + 4), content);
}

export const SSL_REQUEST = packet(80877103);
export const GSSENC_REQUEST = packet(80877104);

export function cancelRequest(processId: number, key: Uint8Array): Uint8Array<ArrayBuffer> {
  return packet(80877102, int32(processId), key);
}

/** A StartupMessage with these parameters, in this order. */
export function startup(
  parameters: Record<string, string> | readonly (readonly [string, string])[],
  version = 0x3_0000,
): Uint8Array<ArrayBuffer> {
  const pairs = Array.isArray(parameters) ? parameters : Object.entries(parameters);
  const fields = pairs.flatMap(([name, value]) => [cstring(name), cstring(value)]);
  return packet(version, ...fields, Uint8Array.of(0));
}

/** The parameters of a StartupMessage, by a reader as naive as can be. */
export function startupPairs(bytes: Uint8Array): [string, string][] {
  const words = new TextDecoder().decode(bytes.subarray(8, bytes.length - 1)).split("\0");
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < words.length; at += 2) pairs.push([words[at]!, words[at + 1]!]);
  return pairs;
}

export function authentication(request: number, ...body: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return message("R", int32(request), ...body);
}

export const AUTHENTICATION_OK = authentication(0);
export const CLEARTEXT_PASSWORD = authentication(3);

export function sasl(...mechanisms: string[]): Uint8Array<ArrayBuffer> {
  return authentication(10, ...mechanisms.map(cstring), Uint8Array.of(0));
}

export function parameterStatus(name: string, value: string): Uint8Array<ArrayBuffer> {
  return message("S", cstring(name), cstring(value));
}

export const BACKEND_KEY_DATA = message("K", int32(4711), int32(0x01020304));

export function readyForQuery(status = "I"): Uint8Array<ArrayBuffer> {
  return message("Z", text(status));
}

export function password(value: string): Uint8Array<ArrayBuffer> {
  return message("p", cstring(value));
}

export function query(sql: string): Uint8Array<ArrayBuffer> {
  return message("Q", cstring(sql));
}

export const TERMINATE = message("X");

/** ErrorResponse, or with `type` "N" a NoticeResponse. */
export function errorResponse(
  sqlState: string,
  primary: string,
  severity = "FATAL",
  type = "E",
): Uint8Array<ArrayBuffer> {
  const fields = [`S${severity}`, `V${severity}`, `C${sqlState}`, `M${primary}`];
  return message(type, ...fields.map(cstring), Uint8Array.of(0));
}

/** The fields of an ErrorResponse, by their letters. */
export function errorFields(bytes: Uint8Array): Record<string, string> {
  if (bytes[0] !== 0x45) throw new Error(`not an ErrorResponse: ${bytes.join(" ")}`);
  const words = new TextDecoder().decode(bytes.subarray(5)).split("\0");
  return Object.fromEntries(words.filter((word) => word !== "").map((w) => [w[0]!, w.slice(1)]));
}

export function commandComplete(tag: string): Uint8Array<ArrayBuffer> {
  return message("C", cstring(tag));
}

/** A DataRow; null is SQL's NULL. */
export function dataRow(values: readonly (Uint8Array | null)[]): Uint8Array<ArrayBuffer> {
  const columns = values.map((value) =>
    value === null ? int32(-1) : join(int32(value.length), value)
  );
  return message("D", int16(values.length), ...columns);
}

/** A stream of whole messages, taken apart: each with its header. */
export function splitMessages(bytes: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const size = 1 + view.getInt32(at + 1);
    if (size < 5 || at + size > bytes.length) throw new Error(`no whole message at ${at}`);
    messages.push(bytes.subarray(at, at + size));
    at += size;
  }
  return messages;
}

/** The type letters of a stream of whole messages. */
export function messageTypes(bytes: Uint8Array): string {
  return splitMessages(bytes).map((one) => String.fromCharCode(one[0]!)).join("");
}
