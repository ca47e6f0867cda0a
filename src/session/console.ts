// A client of the console: an operator who speaks PostgreSQL's protocol with pgvpd itself.
// Simple queries alone, as in PgBouncer's console; nothing of it goes to a server.

import type { StoredPassword } from "../auth/password.ts";
import {
  encodeAuthentication,
  encodeParameterStatus,
  READY_FOR_QUERY_IDLE,
} from "../codec/backend.ts";
import {
  AuthenticationRequest,
  BackendMessage,
  FrontendMessage,
  HEADER_SIZE,
  LENGTH_SIZE,
  SqlState,
} from "../codec/codes.ts";
import { encodeNotice, PgError } from "../codec/error.ts";
import { MessageReader, readInt32 } from "../codec/reader.ts";
import { MessageWriter } from "../codec/writer.ts";
import { findParameter } from "../context/startup_parameters.ts";
import { type ConsoleAnswer, type ConsoleTable, ControlError } from "../control.ts";
import type { Operator, OperatorConsole } from "../control.ts";
import type { Inbox } from "../net/buffers.ts";
import { writeAll } from "../net/transport.ts";
import type { AddressLimit } from "./address_limit.ts";
import { authenticate, refuseBlocked } from "./authentication.ts";
import type { FoundSecret } from "./credentials.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone } from "./endings.ts";
import { lingering } from "./farewell.ts";
import type { StartupPacket } from "./opening.ts";

/** The database that is the console. */
export const CONSOLE_DATABASE = "pgvpd";
/** The OIDs of text and int8. */
const TEXT = { oid: 25, size: -1 };
const INT8 = { oid: 20, size: 8 };
const UTF8 = new TextEncoder();
/** What clients expect to be told at the start. */
const PARAMETERS = {
  server_version: "14.0 (pgvpd console)",
  ...{ client_encoding: "UTF8", server_encoding: "UTF8", DateStyle: "ISO" },
  ...{ TimeZone: "UTC", standard_conforming_strings: "on", integer_datetimes: "on" },
};

/** Who may use the console, and what answers there. */
export interface ConsoleAccess {
  readonly users: readonly string[];
  /** auth_file. */
  readonly secrets: ReadonlyMap<string, StoredPassword | null> | null;
  /** For users that the file does not know. */
  readonly password: string | null;
  /** Null while there is none. */
  readonly console: () => OperatorConsole | null;
}

/** An operator who has logged in. */
export interface Operating {
  readonly commands: OperatorConsole;
  readonly user: string;
}

/** The user who asks for the console and may have it; null: it is a client as any other. */
export function consoleUser(
  { message: { parameters } }: StartupPacket,
  access: ConsoleAccess | null,
): string | null {
  const text = (name: string) => {
    const value = findParameter(parameters, name);
    return value === null ? null : new TextDecoder().decode(value);
  };
  const user = text("user");
  if (access === null || user === null || text("database") !== CONSOLE_DATABASE) return null;
  return access.users.includes(user) ? user : null;
}

/**
 * Asks an operator for the password, by SCRAM, and greets it.
 *
 * @throws {PgError} to be told to the client · {ClientGone}.
 */
export async function operate(
  client: Inbox,
  user: string,
  { encryption }: StartupPacket,
  access: ConsoleAccess,
  failures: AddressLimit,
  deadline: Deadline,
): Promise<Operating> {
  refuseBlocked(failures, client.transport.peer);
  const secret = secretOf(user, access);
  await authenticate({ client, user, secret, method: "scram", encryption, failures, deadline });
  const commands = access.console();
  if (commands === null) {
    throw new PgError(SqlState.CannotConnectNow, "the console is not ready yet");
  }
  const greeting = [
    encodeAuthentication(AuthenticationRequest.Ok),
    ...Object.entries(PARAMETERS).map(([name, value]) => encodeParameterStatus(name, value)),
    READY_FOR_QUERY_IDLE,
  ];
  await deadline.race(send(client, greeting));
  return { commands, user };
}

/** What `auth_file` says of a user counts, also that it has no password. */
function secretOf(user: string, { secrets, password }: ConsoleAccess): FoundSecret | null {
  const stored = secrets?.get(user);
  if (stored !== undefined) return stored === null ? null : { stored, name: user };
  if (password === null) return null;
  return { stored: { kind: "cleartext", password: UTF8.encode(password) }, name: user };
}

/** Serves one operator, command by command. */
export class ConsoleSession {
  readonly #client: Inbox;
  readonly #operating: Operating;
  readonly #by: Operator;
  readonly #over = Promise.withResolvers<PgError>();
  /** An answer is on its way: the client reads it, or does not. */
  #isWriting = false;
  #written: Promise<void> = Promise.resolve();
  /** Why it ends; null while it does not. */
  #reason: PgError | null = null;
  /** Rejects with the reason of `end`. */
  readonly #ended: Promise<never>;
  /** Messages are passed over up to the next Sync. */
  #isSkipping = false;

  constructor(client: Inbox, operating: Operating) {
    this.#client = client;
    this.#operating = operating;
    this.#ended = this.#over.promise.then((reason) => {
      throw reason;
    });
    this.#ended.catch(() => {}); // it may end while nobody waits
    this.#by = { name: operating.user, from: client.transport.peer, via: "console" };
  }

  /** Ends it: nothing is ever under way for long, but for a client that does not read. */
  end(reason: PgError): void {
    this.#reason ??= reason;
    this.#over.resolve(reason);
    void lingering(this.#written).then(() => {
      if (this.#isWriting) this.#client.transport.close();
    });
  }

  /** Resolves when the client has left. @throws {PgError} the reason of `end`, or nonsense. */
  async run(): Promise<void> {
    for (;;) {
      if (this.#reason !== null) throw this.#reason;
      const message = await this.#next();
      if (message === null || message.type === FrontendMessage.Terminate) return;
      const answer = this.#answer(message.type, message.body);
      if (answer.length > 0) await this.#send(answer);
    }
  }

  async #send(answer: readonly Uint8Array[]): Promise<void> {
    this.#isWriting = true;
    this.#written = send(this.#client, answer).finally(() => this.#isWriting = false);
    await this.#written;
  }

  async #next(): Promise<{ readonly type: number; readonly body: Uint8Array } | null> {
    const client = this.#client;
    for (;;) {
      if (client.length >= HEADER_SIZE) {
        const length = readInt32(client.bytes, client.start + 1);
        if (length < LENGTH_SIZE || 1 + length > client.sizeMax) {
          throw PgError.protocolViolation("invalid message length");
        }
        if (client.length >= 1 + length) {
          const type = client.bytes[client.start]!;
          const body = client.bytes.slice(client.start + HEADER_SIZE, client.start + 1 + length);
          client.take(1 + length);
          return { type, body };
        }
      }
      const filled = client.fill().catch((error) => {
        throw new ClientGone(error);
      });
      if (await Promise.race([this.#ended, filled]) === null) return null;
    }
  }

  #answer(type: number, body: Uint8Array): Uint8Array[] {
    if (type === FrontendMessage.Query) return [...this.#run(body), READY_FOR_QUERY_IDLE];
    if (type === FrontendMessage.Sync) {
      this.#isSkipping = false;
      return [READY_FOR_QUERY_IDLE];
    }
    if (this.#isSkipping) return [];
    this.#isSkipping = true;
    return [
      new PgError(SqlState.FeatureNotSupported, "the console takes simple queries alone", {
        severity: "ERROR",
        hint: "Turn off prepared statements, or use psql.",
      }).encode(),
    ];
  }

  #run(body: Uint8Array): Uint8Array[] {
    const reader = new MessageReader(body, 0, body.length);
    const command = reader.cstring();
    try {
      return encodeAnswer(this.#operating.commands.run(command, this.#by));
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      const state = error.kind === "invalid"
        ? SqlState.SyntaxError
        : SqlState.InvalidParameterValue;
      return [new PgError(state, error.message, { severity: "ERROR" }).encode()];
    }
  }
}

function encodeAnswer({ tag, table, notice }: ConsoleAnswer): Uint8Array[] {
  if (tag === "") {
    return [new MessageWriter().begin(BackendMessage.EmptyQueryResponse).end().take()];
  }
  const complete = new MessageWriter().begin(BackendMessage.CommandComplete).cstring(tag).end();
  return [
    ...(notice === undefined ? [] : [encodeNotice(notice)]),
    ...(table === undefined ? [] : [encodeTable(table)]),
    complete.take(),
  ];
}

/** RowDescription and DataRows. A column is of numbers when every value in it is one. */
function encodeTable({ columns, rows }: ConsoleTable): Uint8Array {
  const writer = new MessageWriter(16 * 1024).begin(BackendMessage.RowDescription);
  writer.int16(columns.length);
  for (const [index, name] of columns.entries()) {
    const isNumber = rows.length > 0 && rows.every((row) => typeof row[index] === "number");
    const { oid, size } = isNumber ? INT8 : TEXT;
    writer.cstring(name).int32(0).int16(0).int32(oid).int16(size).int32(-1).int16(0);
  }
  writer.end();
  for (const row of rows) {
    writer.begin(BackendMessage.DataRow).int16(row.length);
    for (const value of row) {
      if (value === null) {
        writer.int32(-1);
        continue;
      }
      const bytes = UTF8.encode(String(value));
      writer.int32(bytes.length).raw(bytes);
    }
    writer.end();
  }
  return writer.take();
}

async function send(client: Inbox, messages: readonly Uint8Array[]): Promise<void> {
  const writer = new MessageWriter();
  for (const message of messages) writer.raw(message);
  await writeAll(client.transport, writer.take()).catch((error) => {
    throw new ClientGone(error);
  });
}
