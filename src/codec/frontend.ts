// The packets and messages of a frontend that pgvpd reads or builds.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { FrontendMessage, RequestCode, STARTUP_PACKET_SIZE_MAX } from "./codes.ts";
import { PgError } from "./error.ts";
import { MessageReader } from "./reader.ts";
import { MessageWriter } from "./writer.ts";

/** One start-up parameter. The protocol does not say in which encoding, so the value is bytes. */
export interface StartupParameter {
  /** The name, one character per byte. */
  readonly name: string;
  readonly value: Uint8Array;
}

/** A StartupMessage: what a frontend says first, encryption apart. */
export interface StartupMessage {
  /** Major version in the upper, minor version in the lower 16 bits. */
  readonly protocolVersion: number;
  /** In the order they came in. */
  readonly parameters: readonly StartupParameter[];
}

/**
 * Reads the body of a StartupMessage, `bytes[start, end)`, whose first field is the version.
 *
 * @throws {PgError} 08P01 when it is malformed, has text behind its end, or names a parameter
 * twice: the server would take the last of them, and pgvpd must not look at another.
 */
export function parseStartupMessage(bytes: Uint8Array, start: number, end: number): StartupMessage {
  const reader = new MessageReader(bytes, start, end);
  const protocolVersion = reader.int32();
  const parameters: StartupParameter[] = [];
  const seen = new Set<string>();
  for (;;) {
    if (reader.remaining === 0) {
      throw PgError.protocolViolation("invalid startup packet layout", {
        detail: "Expected a terminator as the last byte.",
      });
    }
    const name = latin1(reader.cstringBytes());
    if (name === "") break;
    if (seen.has(name)) {
      throw PgError.protocolViolation(
        `startup parameter ${JSON.stringify(name)} is given more than once`,
      );
    }
    seen.add(name);
    parameters.push({ name, value: reader.cstringBytes().slice() });
  }
  if (reader.remaining !== 0) {
    throw PgError.protocolViolation("invalid startup packet layout", {
      detail: "Expected a terminator as the last byte.",
    });
  }
  return { protocolVersion, parameters };
}

/**
 * The packet of a StartupMessage.
 *
 * @throws {PgError} 08P01 when it is larger than a server accepts.
 */
export function encodeStartupMessage(message: StartupMessage): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter(512).beginPacket().int32(message.protocolVersion);
  for (const { name, value } of message.parameters) {
    writer.cstringBytes(bytesOfLatin1(name)).cstringBytes(value);
  }
  const packet = writer.byte(0).end().take();
  if (packet.length - 4 > STARTUP_PACKET_SIZE_MAX) {
    throw PgError.protocolViolation("startup packet too large", {
      detail: `With the session context it has ${packet.length} bytes; ` +
        `PostgreSQL accepts ${STARTUP_PACKET_SIZE_MAX}.`,
      hint: "Shorten the user name or the connection's options.",
    });
  }
  return packet;
}

/** A simple query. */
export function encodeQuery(sql: string): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(FrontendMessage.Query).cstring(sql).end().take();
}

/** The answer to a request for a cleartext or MD5 password: the text with its terminator. */
export function encodePassword(password: Uint8Array): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(FrontendMessage.PasswordMessage).cstringBytes(password).end()
    .take();
}

/** The selected mechanism and its first message. */
export function encodeSaslInitialResponse(
  mechanism: string,
  data: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(FrontendMessage.PasswordMessage).cstring(mechanism)
    .int32(data.length).raw(data).end().take();
}

/** A further message of the mechanism. */
export function encodeSaslResponse(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(FrontendMessage.PasswordMessage).raw(data).end().take();
}

/** Says that nothing more comes. */
export const TERMINATE: Uint8Array = new MessageWriter().begin(FrontendMessage.Terminate).end()
  .take();

/** The packet of an SSLRequest. */
export const SSL_REQUEST: Uint8Array = new MessageWriter().beginPacket()
  .int32(RequestCode.SSLRequest).end().take();

/** The packet of a CancelRequest that repeats the body of a BackendKeyData, however long its key. */
export function cancelRequestFor(
  bytes: Uint8Array,
  start: number,
  end: number,
): Uint8Array<ArrayBuffer> {
  return new MessageWriter().beginPacket().int32(RequestCode.CancelRequest)
    .raw(bytes.subarray(start, end)).end().take();
}

/**
 * One extended query on the unnamed statement and portal, with its own Sync: all parameters bytea
 * in binary format, all results binary. The statement is closed again, so that nothing of it stays.
 */
export function encodeBinaryQuery(
  sql: string,
  parameters: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter(512);
  encodeBinaryRun(writer, "", sql, parameters);
  return writer.take();
}

/**
 * The same beside what a client has prepared: the unnamed statement stays what it is, and a
 * statement of this name, whoever's it is, goes first.
 */
export function encodeSideQuery(
  name: string,
  sql: string,
  parameters: readonly string[],
): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter(512);
  writer.begin(FrontendMessage.Close).byte(STATEMENT).cstring(name).end();
  encodeBinaryRun(writer, name, sql, parameters.map((text) => new TextEncoder().encode(text)));
  return writer.take();
}

const BYTEA_OID = 17;
const BINARY_FORMAT = 1;
const STATEMENT = "S".charCodeAt(0);

function encodeBinaryRun(
  writer: MessageWriter,
  name: string,
  sql: string,
  parameters: readonly Uint8Array[],
): void {
  writer.begin(FrontendMessage.Parse).cstring(name).cstring(sql).int16(parameters.length);
  for (const _ of parameters) writer.int32(BYTEA_OID);
  writer.end();
  writer.begin(FrontendMessage.Bind).cstring("").cstring(name).int16(1).int16(BINARY_FORMAT)
    .int16(parameters.length);
  for (const value of parameters) writer.int32(value.length).raw(value);
  writer.int16(1).int16(BINARY_FORMAT).end();
  writer.begin(FrontendMessage.Execute).cstring("").int32(0).end();
  writer.begin(FrontendMessage.Close).byte(STATEMENT).cstring(name).end();
  writer.begin(FrontendMessage.Sync).end();
}

/**
 * One extended query with text parameters whose types the server infers, and text results, with its
 * own Sync.
 */
export function encodeTextQuery(
  sql: string,
  parameters: readonly string[],
): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter(512);
  writer.begin(FrontendMessage.Parse).cstring("").cstring(sql).int16(0).end();
  writer.begin(FrontendMessage.Bind).cstring("").cstring("").int16(0).int16(parameters.length);
  for (const text of parameters) {
    const value = new TextEncoder().encode(text);
    writer.int32(value.length).raw(value);
  }
  writer.int16(0).end();
  writer.begin(FrontendMessage.Execute).cstring("").int32(0).end();
  writer.begin(FrontendMessage.Close).byte(STATEMENT).cstring("").end();
  return writer.begin(FrontendMessage.Sync).end().take();
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function bytesOfLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
