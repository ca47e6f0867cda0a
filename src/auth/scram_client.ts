// The client's side of SCRAM: pgvpd logs in to PostgreSQL, and has it prove that it is PostgreSQL.
// https://www.rfc-editor.org/rfc/rfc5802#section-5 and src/interfaces/libpq/fe-auth-scram.c

import { assert } from "../assert.ts";
import { parseBase64, sameBytes, utf8 } from "./bytes.ts";
import {
  AttributeReader,
  type ChannelBinding,
  channelBindingInput,
  isPrintable,
  malformed,
  messageText,
  randomNonce,
  ScramError,
  ScramMechanism,
  signature,
  xor,
} from "./scram_message.ts";
import {
  parseScramIterations,
  parseScramSalt,
  SCRAM_KEY_SIZE,
  type ScramKeys,
  storedKeyOf,
} from "./scram_secret.ts";

/** The longest message of a server, in bytes: what libpq takes while it logs in. */
export const SCRAM_SERVER_MESSAGE_SIZE_MAX = 2000;

/** Where keys come from, once the server has named salt and iterations: a cache, or a login. */
export type ScramKeySource = (salt: Uint8Array, iterations: number) => Promise<ScramKeys>;

export interface ScramClientOptions {
  /** The mechanisms that the server's AuthenticationSASL names. */
  readonly offered: readonly string[];
  /** Over TLS, the binding to this connection, if it is known. */
  readonly channelBinding: ChannelBinding | null;
  readonly keys: ScramKeySource;
  /** The client's part of the nonce: for tests, and for nothing else. */
  readonly nonce?: string;
}

/**
 * One login to one server. After {@linkcode verified} turned true an AuthenticationOk may be
 * believed, and not before: it would come from somebody who need not know the password's secret.
 */
export class ScramClient {
  /** The mechanism to name in the SASLInitialResponse. */
  readonly mechanism: ScramMechanism;
  /** The data of the SASLInitialResponse: the client-first-message. */
  readonly initialResponse: Uint8Array;
  readonly #keys: ScramKeySource;
  readonly #channelBindingAttribute: string;
  readonly #clientFirstBare: string;
  readonly #clientNonce: string;
  #awaits: "server-first" | "server-final" | "nothing" = "server-first";
  #serverSignature: Uint8Array = new Uint8Array();
  #isVerified = false;

  /** @throws {ScramError} if the server offers nothing that is spoken here. */
  constructor({ offered, channelBinding, keys, nonce = randomNonce() }: ScramClientOptions) {
    this.mechanism = selectMechanism(offered, channelBinding);
    this.#keys = keys;
    const isBound = this.mechanism === ScramMechanism.Sha256Plus;
    const gs2Header = `${channelBindingFlag(channelBinding, isBound)},,`;
    const data = isBound ? channelBinding!.data : new Uint8Array();
    this.#channelBindingAttribute = channelBindingInput(gs2Header, data).toBase64();
    this.#clientNonce = nonce;
    // The user is the one of the StartupMessage; libpq leaves this name empty too.
    this.#clientFirstBare = `n=,r=${nonce}`;
    this.initialResponse = utf8(gs2Header + this.#clientFirstBare);
  }

  /** Whether the server has proved that it knows the user's secret. */
  get verified(): boolean {
    return this.#isVerified;
  }

  /**
   * Takes the data of the AuthenticationSASLContinue; resolves to that of the SASLResponse.
   *
   * @throws {ScramError} for a message that is not one, names a salt or a number of iterations
   * beyond the bounds, or has a nonce that does not continue the client's. Whatever the source of
   * the keys throws passes through.
   */
  async respond(serverFirst: Uint8Array): Promise<Uint8Array> {
    assert(this.#awaits === "server-first", "the server's first message comes once");
    this.#awaits = "nothing";
    const text = messageText(serverFirst, SCRAM_SERVER_MESSAGE_SIZE_MAX);
    const { nonce, salt, iterations } = this.#readServerFirst(text);
    const { clientKey, serverKey } = await this.#keys(salt, iterations);
    const withoutProof = `c=${this.#channelBindingAttribute},r=${nonce}`;
    const sign = (key: Uint8Array) => signature(key, this.#clientFirstBare, text, withoutProof);
    const proof = xor(clientKey, sign(storedKeyOf(clientKey)));
    this.#serverSignature = sign(serverKey);
    this.#awaits = "server-final";
    return utf8(`${withoutProof},p=${proof.toBase64()}`);
  }

  /**
   * Takes the data of the AuthenticationSASLFinal.
   *
   * @throws {ScramError} if the server reports an error, or its signature is not the right one.
   */
  finish(serverFinal: Uint8Array): void {
    assert(this.#awaits === "server-final", "the server's final message comes once, and last");
    this.#awaits = "nothing";
    const reader = new AttributeReader(messageText(serverFinal, SCRAM_SERVER_MESSAGE_SIZE_MAX));
    if (reader.peek() === "e") throw serverError(reader.read("e"));
    const received = parseBase64(reader.read("v"));
    if (received?.length !== SCRAM_KEY_SIZE) {
      throw malformed("Malformed server signature in server-final-message.");
    }
    if (!reader.isAtEnd) throw malformed("Garbage found at the end of server-final-message.");
    if (!sameBytes(received, this.#serverSignature)) {
      throw new ScramError("incorrect server signature");
    }
    this.#isVerified = true;
  }

  #readServerFirst(text: string) {
    const reader = new AttributeReader(text);
    const nonce = reader.read("r");
    const isContinued = nonce.startsWith(this.#clientNonce) &&
      nonce.length > this.#clientNonce.length;
    if (!isContinued || !isPrintable(nonce)) {
      throw new ScramError("invalid SCRAM response", "Nonce does not match.");
    }
    const salt = parseScramSalt(reader.read("s"));
    if (salt === null) throw malformed("Invalid salt in server-first-message.");
    const iterations = parseScramIterations(reader.read("i"));
    if (iterations === null) throw malformed("Invalid iteration count in server-first-message.");
    if (!reader.isAtEnd) throw malformed("Garbage found at the end of server-first-message.");
    return { nonce, salt, iterations };
  }
}

function selectMechanism(
  offered: readonly string[],
  channelBinding: ChannelBinding | null,
): ScramMechanism {
  if (channelBinding !== null && offered.includes(ScramMechanism.Sha256Plus)) {
    return ScramMechanism.Sha256Plus;
  }
  if (offered.includes(ScramMechanism.Sha256)) return ScramMechanism.Sha256;
  throw new ScramError("none of the server's SASL authentication mechanisms are supported");
}

function channelBindingFlag(channelBinding: ChannelBinding | null, isBound: boolean): string {
  if (channelBinding === null) return "n";
  return isBound ? `p=${channelBinding.type}` : "y";
}

function serverError(value: string): ScramError {
  const shownValue = isPrintable(value) ? value.slice(0, 100) : "(not printable)";
  return new ScramError("error received from server in SCRAM exchange", shownValue);
}
