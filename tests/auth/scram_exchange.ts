// Both sides of SCRAM joined, with a place to tamper between them, and the vector of RFC 7677.

import { strict as assert } from "node:assert";
import { utf8 } from "../../src/auth/bytes.ts";
import { ScramClient } from "../../src/auth/scram_client.ts";
import { type ChannelBinding, ScramError } from "../../src/auth/scram_message.ts";
import {
  deriveScramKeys,
  parseScramSecret,
  type ScramSecret,
} from "../../src/auth/scram_secret.ts";
import {
  offeredMechanisms,
  ScramServer,
  type ScramServerStep,
} from "../../src/auth/scram_server.ts";

/** https://www.rfc-editor.org/rfc/rfc7677#section-3: user "user", password "pencil". */
export const RFC_7677 = {
  password: utf8("pencil"),
  salt: Uint8Array.fromBase64("W22ZaJ0SNY7soEsUEjb6gQ=="),
  secret:
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=" +
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
  serverNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  clientFirst: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
  serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  clientFinal: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
} as const;

export const RFC_SECRET: ScramSecret = parseScramSecret(RFC_7677.secret)!;

export const BINDING: ChannelBinding = {
  type: "tls-server-end-point",
  data: Uint8Array.from({ length: 32 }, (_, index) => 255 - index),
};

export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The data of a step that must be of this kind. */
export function dataOf(step: ScramServerStep, kind: "continue" | "authenticated"): string {
  assert.equal(step.kind, kind);
  return text((step as { data: Uint8Array }).data);
}

/** Whether an error is a ScramError with this message and, if given, SQLSTATE. */
export function scramError(message: RegExp, sqlState = "08P01") {
  return (error: unknown) => {
    assert(error instanceof ScramError, String(error));
    assert.match(`${error.message}: ${error.detail}`, message);
    assert.equal(error.sqlState, sqlState);
    return true;
  };
}

export interface Exchange {
  readonly secret: ScramSecret;
  readonly password: Uint8Array;
  readonly serverBinding?: ChannelBinding;
  readonly clientBinding?: ChannelBinding;
  readonly offered?: readonly string[];
  /** May change any message on its way. */
  readonly tamper?: (name: string, message: Uint8Array) => Uint8Array;
}

/** One login from end to end. The client has verified the server if it is `true`. */
export async function login(exchange: Exchange): Promise<boolean> {
  const { secret, password, serverBinding = null, clientBinding = null } = exchange;
  const { offered = offeredMechanisms(serverBinding), tamper = (_, message) => message } = exchange;
  const server = new ScramServer({ secret, channelBinding: serverBinding });
  const client = new ScramClient({
    offered,
    channelBinding: clientBinding,
    keys: (salt, iterations) => deriveScramKeys(password, salt, iterations),
  });
  const clientFirst = tamper("client-first", client.initialResponse);
  const serverFirst = server.begin(client.mechanism, clientFirst);
  assert.equal(serverFirst.kind, "continue");
  const { data } = serverFirst as { data: Uint8Array };
  const clientFinal = await client.respond(tamper("server-first", data));
  const serverFinal = server.respond(tamper("client-final", clientFinal));
  assert.equal(client.verified, false);
  if (serverFinal.kind === "failed") return false;
  assert.equal(serverFinal.kind, "authenticated");
  client.finish(tamper("server-final", (serverFinal as { data: Uint8Array }).data));
  return client.verified;
}
