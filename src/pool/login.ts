// pgvpd logs in to the server itself: the client's side of start-up and authentication.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import { md5Response, parseStoredPassword } from "../auth/password.ts";
import { ScramClient } from "../auth/scram_client.ts";
import { ScramKeyCache } from "../auth/scram_key_cache.ts";
import { ScramError } from "../auth/scram_message.ts";
import { parseErrorResponse, parseSaslOffer } from "../codec/backend.ts";
import {
  AuthenticationRequest,
  BackendMessage,
  FrontendMessage,
  SqlState,
} from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import {
  cancelRequestFor,
  encodePassword,
  encodeSaslInitialResponse,
  encodeSaslResponse,
  encodeStartupMessage,
  type StartupParameter,
} from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";
import type { Setting } from "../context/context.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import type { Backend } from "./backend.ts";
import { Conversation, malformedReply } from "./conversation.ts";

const UTF8 = new TextEncoder();
const MD5_SALT_SIZE = 4;
const PROTOCOL_3_0 = 3 << 16;

/** As whom to log in. */
export interface ServerCredentials {
  readonly user: string;
  /** Null when the server asks for none (trust, peer, a client certificate). */
  readonly password: string | null;
}

/** The keys of pgvpd's own passwords: derived once, not once for each connection. */
const keyCache = new ScramKeyCache(100);

/** What the server has refused, or does that pgvpd does not: told to whoever waits for the login. */
function loginFailed(sqlState: SqlState, message: string, hint: string): PgError {
  return new PgError(sqlState, `pgvpd could not log in to the upstream server: ${message}`, {
    hint,
  });
}

/** Begins a login. @throws {PgError} 08006 when the server is not there any more. */
export async function sendStartup(
  transport: Transport,
  user: string,
  database: string,
  settings: readonly Setting[],
): Promise<void> {
  const parameters: StartupParameter[] = [
    { name: "user", value: UTF8.encode(user) },
    { name: "database", value: UTF8.encode(database) },
    ...settings.map(({ name, value }) => ({ name, value: UTF8.encode(value) })),
  ];
  const packet = encodeStartupMessage({ protocolVersion: PROTOCOL_3_0, parameters });
  try {
    await writeAll(transport, packet);
  } catch (cause) {
    throw new PgError(SqlState.ConnectionFailure, "the upstream server went away", {}, { cause });
  }
}

/** One login, from the sent StartupMessage to ReadyForQuery. */
export class ServerLogin extends Conversation<void> {
  /** The packet that cancels what this connection does; null when the server gave no key. */
  cancelRequest: Uint8Array | null = null;
  processId = 0;
  readonly #credentials: ServerCredentials;
  readonly #endPoint: Uint8Array | null;
  #scram: ScramClient | null = null;
  #phase: "authenticating" | "greeting" = "authenticating";

  /** @param endPoint the server's `tls-server-end-point`; null when there is none to bind to. */
  constructor(backend: Backend, credentials: ServerCredentials, endPoint: Uint8Array | null) {
    super(backend);
    this.#credentials = credentials;
    this.#endPoint = endPoint;
    backend.ledger.request(FrontendMessage.Sync); // the login, too, ends with a ReadyForQuery
  }

  protected message(
    type: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Promise<void> | void {
    switch (type) {
      case BackendMessage.ErrorResponse: {
        const { sqlState, message } = parseErrorResponse(bytes, start, end);
        throw loginFailed(
          sqlState,
          message,
          `Check the role ${JSON.stringify(this.#credentials.user)}, upstream_password, and ` +
            "pg_hba.conf.",
        );
      }
      case BackendMessage.NoticeResponse:
      case BackendMessage.ParameterStatus:
      case BackendMessage.NegotiateProtocolVersion:
        return;
      case BackendMessage.Authentication:
        if (this.#phase === "authenticating") {
          return this.#authenticate(new MessageReader(bytes, start, end), bytes, start, end);
        }
        break;
      case BackendMessage.BackendKeyData:
        if (this.#phase === "authenticating") break;
        this.processId = new MessageReader(bytes, start, end).int32();
        this.cancelRequest = cancelRequestFor(bytes, start, end);
        return;
      case BackendMessage.ReadyForQuery:
        if (this.#phase === "greeting") return this.finish();
        break;
    }
    throw malformedReply();
  }

  #authenticate(
    reader: MessageReader,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Promise<void> | void {
    const request = reader.int32();
    switch (request) {
      case AuthenticationRequest.Ok:
        // A server that skips the end of SCRAM has not proved that it knows the password.
        if (this.#scram !== null && !this.#scram.verified) throw notProved();
        this.#phase = "greeting";
        return;
      case AuthenticationRequest.CleartextPassword:
        return this.backend.send(encodePassword(this.#password()));
      case AuthenticationRequest.MD5Password: {
        const salt = reader.window(MD5_SALT_SIZE);
        const response = md5Response(
          parseStoredPassword(this.#password()),
          this.#credentials.user,
          salt,
        );
        if (response === null) throw this.#wrongKind();
        return this.backend.send(encodePassword(UTF8.encode(response)));
      }
      case AuthenticationRequest.SASL:
        return this.#beginScram(parseSaslOffer(bytes, start, end));
      case AuthenticationRequest.SASLContinue:
        return this.#continueScram(reader.window(reader.remaining));
      case AuthenticationRequest.SASLFinal:
        return this.#endScram(reader.window(reader.remaining));
    }
    throw loginFailed(
      SqlState.InvalidAuthorizationSpecification,
      `it asks for authentication method ${request}, which pgvpd does not speak`,
      "Let pg_hba.conf ask pgvpd's address for scram-sha-256.",
    );
  }

  #password(): Uint8Array {
    const { password, user } = this.#credentials;
    if (password !== null) return UTF8.encode(password);
    throw loginFailed(
      SqlState.InvalidPassword,
      `it asks for the password of ${JSON.stringify(user)}, and pgvpd has none`,
      "Set upstream_password.",
    );
  }

  #wrongKind(): PgError {
    return loginFailed(
      SqlState.InvalidPassword,
      "it asks for an MD5 answer, which the configured secret cannot give",
      "Set upstream_password to the password itself.",
    );
  }

  #beginScram(offered: readonly string[]): Promise<void> {
    if (this.#scram !== null) throw malformedReply();
    const password = this.#password();
    const scram = scramChecked(() =>
      new ScramClient({
        offered,
        channelBinding: this.#endPoint === null
          ? null
          : { type: "tls-server-end-point", data: this.#endPoint },
        keys: (salt, iterations) => keyCache.keys(password, salt, iterations),
      })
    );
    this.#scram = scram;
    return this.backend.send(encodeSaslInitialResponse(scram.mechanism, scram.initialResponse));
  }

  async #continueScram(data: Uint8Array): Promise<void> {
    const scram = this.#scram;
    if (scram === null) throw malformedReply();
    let response: Uint8Array;
    try {
      response = await scram.respond(data.slice());
    } catch (error) {
      throw scramFailure(error);
    }
    await this.backend.send(encodeSaslResponse(response));
  }

  #endScram(data: Uint8Array): void {
    const scram = this.#scram;
    if (scram === null) throw malformedReply();
    scramChecked(() => scram.finish(data.slice()));
  }
}

function scramChecked<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw scramFailure(error);
  }
}

function scramFailure(error: unknown): unknown {
  if (!(error instanceof ScramError)) return error;
  return loginFailed(
    SqlState.InvalidAuthorizationSpecification,
    error.message,
    "The server's part of SCRAM is not what the protocol asks for: is it the right server?",
  );
}

function notProved(): PgError {
  return loginFailed(
    SqlState.InvalidAuthorizationSpecification,
    "it let pgvpd in without having proved that it knows the password",
    "Is it the right server? Something in between may be playing its part.",
  );
}
