// pgvpd authenticates the client itself: it asks, and compares what it is told.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import { MD5_SALT_SIZE, verifyCleartext, verifyMd5 } from "../auth/password.ts";
import { ScramKeyCache } from "../auth/scram_key_cache.ts";
import { type ChannelBinding, ScramError } from "../auth/scram_message.ts";
import { mockScramSecret, type ScramSecret } from "../auth/scram_secret.ts";
import { offeredMechanisms, ScramServer, type ScramServerStep } from "../auth/scram_server.ts";
import { encodeAuthentication, encodeSaslOffer } from "../codec/backend.ts";
import {
  AuthenticationRequest,
  FrontendMessage,
  HEADER_SIZE,
  LENGTH_SIZE,
  SqlState,
} from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { MessageReader, readInt32 } from "../codec/reader.ts";
import type { Inbox } from "../net/buffers.ts";
import { writeAll } from "../net/transport.ts";
import type { AddressLimit } from "./address_limit.ts";
import type { FoundSecret } from "./credentials.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone } from "./endings.ts";
import type { ClientEncryption } from "./opening.ts";

/** How a client is asked. */
export type AuthenticationMethod = "scram" | "md5" | "cleartext";

/** A password, or a message of SCRAM: PostgreSQL's own clients send none that is longer. */
const ANSWER_SIZE_MAX = 2_048;

/** The keys of passwords that are known in the clear. */
const keyCache = new ScramKeyCache();

/** Nothing is left to be said to a client that is right. */
const NOTHING_MORE = new Uint8Array(0);

/** One login of one client. */
export interface LoginAttempt {
  readonly client: Inbox;
  /** The name the client has given. */
  readonly user: string;
  /** Null for a user that cannot log in: it is asked all the same, and refused at the end. */
  readonly secret: FoundSecret | null;
  readonly method: AuthenticationMethod;
  readonly encryption: ClientEncryption | null;
  /** Failed logins of the client's address. */
  readonly failures: AddressLimit;
  readonly deadline: Deadline;
}

/**
 * Asks for the password and checks it; AuthenticationOk is not sent.
 *
 * @throws {PgError} 28P01 in PostgreSQL's own words when it is wrong, 28000 when too many from
 * there were wrong, 08P01 when the client does not keep to the protocol · {ClientGone}.
 */
export async function authenticate(attempt: LoginAttempt): Promise<void> {
  const { client, deadline, failures } = attempt;
  const { peer } = client.transport;
  refuseBlocked(failures, peer);
  deadline.phase = "waiting for the client to answer the authentication request";
  const lastWord = await askFor(attempt);
  // Many may have begun at once: those that come behind the last allowed failure learn nothing.
  refuseBlocked(failures, peer);
  if (lastWord === null) {
    failures.failed(peer);
    throw passwordFailed(attempt.user);
  }
  if (lastWord.length > 0) await send(client, lastWord, deadline);
}

/**
 * Whoever has failed too often is not listened to, whatever it knows.
 *
 * @throws {PgError} 28000.
 */
export function refuseBlocked(failures: AddressLimit, peer: string): void {
  if (failures.allows(peer)) return;
  throw new PgError(
    SqlState.InvalidAuthorizationSpecification,
    "too many failed logins from this address",
    { hint: "Wait a minute. auth_failure_limit is how many there may be in one." },
  );
}

/** What a client that is right is told at the end; null when it is wrong. */
async function askFor(attempt: LoginAttempt): Promise<Uint8Array | null> {
  const { method, secret } = attempt;
  switch (method) {
    case "cleartext":
      return await byCleartext(attempt) ? NOTHING_MORE : null;
    case "md5":
      // As PostgreSQL's md5: a secret that was stored for SCRAM can only be asked for with it.
      if (secret?.stored.kind === "scram") return await byScram(attempt);
      return await byMd5(attempt) ? NOTHING_MORE : null;
    case "scram":
      return await byScram(attempt);
  }
}

function passwordFailed(user: string): PgError {
  return new PgError(
    SqlState.InvalidPassword,
    `password authentication failed for user "${user}"`,
  );
}

/** Whatever is stored, keys are derived once: how long it takes does not tell who is known. */
async function byCleartext({ client, user, secret, deadline }: LoginAttempt): Promise<boolean> {
  await send(client, encodeAuthentication(AuthenticationRequest.CleartextPassword), deadline);
  const given = await receivePassword(client, deadline);
  const scram = await deadline.race(scramSecret(user, secret));
  const derive = keyCache.keys.bind(keyCache);
  const fitsScram = await deadline.race(
    verifyCleartext({ kind: "scram", secret: scram }, user, given, derive),
  );
  if (secret?.stored.kind !== "md5") return fitsScram;
  // The digest is of the name that it stands under: a role's has no tenant in it.
  return await verifyCleartext(secret.stored, secret.name, given);
}

async function byMd5({ client, user, secret, deadline }: LoginAttempt): Promise<boolean> {
  const salt = crypto.getRandomValues(new Uint8Array(MD5_SALT_SIZE));
  await send(client, encodeAuthentication(AuthenticationRequest.MD5Password, salt), deadline);
  const given = await receivePassword(client, deadline);
  return verifyMd5(secret?.stored ?? null, user, salt, given);
}

async function byScram(attempt: LoginAttempt): Promise<Uint8Array | null> {
  const { client, user, secret, deadline } = attempt;
  const endPoint = attempt.encryption?.endPoint ?? null;
  const channelBinding: ChannelBinding | null = endPoint === null
    ? null
    : { type: "tls-server-end-point", data: endPoint };
  const server = new ScramServer({
    secret: await deadline.race(scramSecret(user, secret)),
    channelBinding,
  });
  await send(client, encodeSaslOffer(offeredMechanisms(channelBinding)), deadline);
  let step = await begin(server, client, deadline);
  while (step.kind === "continue") {
    await send(
      client,
      encodeAuthentication(AuthenticationRequest.SASLContinue, step.data),
      deadline,
    );
    const response = await receive(client, deadline);
    step = checked(() => server.respond(response));
  }
  if (step.kind === "failed") return null;
  return encodeAuthentication(AuthenticationRequest.SASLFinal, step.data);
}

async function scramSecret(user: string, found: FoundSecret | null): Promise<ScramSecret> {
  switch (found?.stored.kind) {
    case "scram":
      return found.stored.secret;
    case "cleartext":
      return await keyCache.secret(found.name, found.stored.password);
    default: // unknown, without a password, or an MD5 secret, which SCRAM cannot use
      return mockScramSecret(user);
  }
}

async function begin(
  server: ScramServer,
  client: Inbox,
  deadline: Deadline,
): Promise<ScramServerStep> {
  const message = await receive(client, deadline);
  const reader = new MessageReader(message, 0, message.length);
  const mechanism = reader.cstring();
  const size = reader.int32();
  const data = size < 0 ? null : reader.window(size);
  reader.expectEnd();
  return checked(() => server.begin(mechanism, data));
}

function checked(step: () => ScramServerStep): ScramServerStep {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof ScramError)) throw error;
    const detail = error.detail === "" ? {} : { detail: error.detail };
    throw new PgError(error.sqlState, error.message, detail, { cause: error });
  }
}

async function send(client: Inbox, bytes: Uint8Array, deadline: Deadline): Promise<void> {
  await deadline.race(
    writeAll(client.transport, bytes).catch((error) => {
      throw new ClientGone(error);
    }),
  );
}

/** A password as it was typed, or its digest, up to its terminator. */
async function receivePassword(client: Inbox, deadline: Deadline): Promise<Uint8Array> {
  const body = await receive(client, deadline);
  const reader = new MessageReader(body, 0, body.length);
  const text = reader.cstringBytes();
  reader.expectEnd();
  if (text.length === 0) {
    throw new PgError(SqlState.InvalidPassword, "empty password returned by client");
  }
  return text;
}

/** The body of the client's answer, in an array of its own. */
async function receive(client: Inbox, deadline: Deadline): Promise<Uint8Array> {
  await need(client, 1, deadline);
  const type = client.bytes[client.start]!;
  if (type === FrontendMessage.Terminate) throw new ClientGone();
  if (type !== FrontendMessage.PasswordMessage) {
    throw PgError.protocolViolation(`expected password response, got message type ${type}`);
  }
  await need(client, HEADER_SIZE, deadline);
  const length = readInt32(client.bytes, client.start + 1);
  if (length < LENGTH_SIZE || length > ANSWER_SIZE_MAX) {
    throw PgError.protocolViolation("invalid message length");
  }
  await need(client, 1 + length, deadline);
  const body = client.bytes.slice(client.start + HEADER_SIZE, client.start + 1 + length);
  client.take(1 + length);
  return body;
}

async function need(client: Inbox, size: number, deadline: Deadline): Promise<void> {
  while (client.length < size) {
    const filled = client.fill().catch((error) => {
      throw new ClientGone(error);
    });
    if (await deadline.race(filled) === null) throw new ClientGone();
  }
}
