// The server's side of SCRAM: pgvpd asks a client for its password. Rules as in PostgreSQL.
// https://www.rfc-editor.org/rfc/rfc5802#section-5 and src/backend/libpq/auth-scram.c

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
  ScramSqlState,
  shown,
  signature,
  xor,
} from "./scram_message.ts";
import { SCRAM_KEY_SIZE, type ScramKeys, type ScramSecret, storedKeyOf } from "./scram_secret.ts";

/** The longest message of a client, in bytes (PG_MAX_SASL_MESSAGE_LENGTH). */
export const SCRAM_CLIENT_MESSAGE_SIZE_MAX = 1024;

export interface ScramServerOptions {
  /** The user's secret, or a made-up one for a user without. */
  readonly secret: ScramSecret;
  /** Over TLS, the binding to this connection; null without TLS. */
  readonly channelBinding: ChannelBinding | null;
  /** The server's part of the nonce: for tests, and for nothing else. */
  readonly nonce?: string;
}

/** What the server does next. */
export type ScramServerStep =
  /** `data` goes into an AuthenticationSASLContinue, and the client answers. */
  | { readonly kind: "continue"; readonly data: Uint8Array }
  /** `data` goes into an AuthenticationSASLFinal. The keys log in elsewhere as this user. */
  | { readonly kind: "authenticated"; readonly data: Uint8Array; readonly keys: ScramKeys }
  /** The password is wrong, or there is no such user: 28P01, and nothing says which. */
  | { readonly kind: "failed" };

/** One exchange with one client. It ends with its first error or outcome, and cannot be reused. */
export class ScramServer {
  readonly #secret: ScramSecret;
  readonly #channelBinding: ChannelBinding | null;
  readonly #serverNonce: string;
  #awaits: "initial response" | "client-first" | "client-final" | "nothing" = "initial response";
  /** The client selected SCRAM-SHA-256-PLUS. */
  #isBound = false;
  /** The gs2-header: flag, authorization identity (none), and their commas. */
  #gs2Header = "";
  #clientFirstBare = "";
  #nonce = "";
  #serverFirst = "";

  constructor({ secret, channelBinding, nonce = randomNonce() }: ScramServerOptions) {
    this.#secret = secret;
    this.#channelBinding = channelBinding;
    this.#serverNonce = nonce;
  }

  /**
   * Takes a SASLInitialResponse: the selected mechanism, and the client-first-message or null.
   *
   * @throws {ScramError} for a mechanism that was not offered, and as {@linkcode respond}.
   */
  begin(mechanism: string, initialResponse: Uint8Array | null): ScramServerStep {
    assert(this.#awaits === "initial response", "an exchange begins once");
    this.#awaits = "nothing";
    if (!offeredMechanisms(this.#channelBinding).some((offered) => offered === mechanism)) {
      throw new ScramError("client selected an invalid SASL authentication mechanism");
    }
    this.#isBound = mechanism === ScramMechanism.Sha256Plus;
    this.#awaits = "client-first";
    // Without an initial response the client wants an empty challenge first (RFC 4422 section 3.3).
    if (initialResponse === null) return { kind: "continue", data: new Uint8Array() };
    return this.respond(initialResponse);
  }

  /**
   * Takes the data of a SASLResponse.
   *
   * @throws {ScramError} for a message that PostgreSQL would refuse too.
   */
  respond(message: Uint8Array): ScramServerStep {
    const awaited = this.#awaits;
    assert(awaited === "client-first" || awaited === "client-final", "the exchange is over");
    this.#awaits = "nothing";
    const text = messageText(message, SCRAM_CLIENT_MESSAGE_SIZE_MAX);
    if (awaited === "client-final") return this.#clientFinal(text);
    const data = this.#clientFirst(text);
    this.#awaits = "client-final";
    return { kind: "continue", data };
  }

  #clientFirst(text: string): Uint8Array {
    const reader = new AttributeReader(text);
    this.#readChannelBindingFlag(reader);
    if (reader.peek() === "a") {
      throw new ScramError(
        "client uses authorization identity, but it is not supported",
        "",
        ScramSqlState.FeatureNotSupported,
      );
    }
    if (reader.peek() !== ",") {
      throw malformed(`Unexpected attribute in client-first-message: ${shown(reader.peek())}.`);
    }
    reader.comma();
    this.#gs2Header = text.slice(0, reader.at);
    this.#clientFirstBare = text.slice(reader.at);
    if (reader.peek() === "m") {
      throw new ScramError(
        "client requires an unsupported SCRAM extension",
        "",
        ScramSqlState.FeatureNotSupported,
      );
    }
    reader.read("n"); // The user is the one of the StartupMessage: this name is ignored.
    const clientNonce = reader.read("r");
    if (!isPrintable(clientNonce)) throw new ScramError("non-printable characters in SCRAM nonce");
    while (!reader.isAtEnd) reader.readAny();

    this.#nonce = clientNonce + this.#serverNonce;
    const { salt, iterations } = this.#secret;
    this.#serverFirst = `r=${this.#nonce},s=${salt.toBase64()},i=${iterations}`;
    return utf8(this.#serverFirst);
  }

  #readChannelBindingFlag(reader: AttributeReader): void {
    const flag = reader.peek();
    switch (flag) {
      case "n": // The client knows no channel binding, or wants none.
      case "y": // The client knows it, and believes that the server does not.
        if (this.#isBound) {
          throw malformed(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include " +
              "channel binding data.",
          );
        }
        if (flag === "y" && this.#channelBinding !== null) throw downgraded();
        reader.at++;
        reader.comma();
        return;
      case "p":
        if (!this.#isBound) {
          throw malformed(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message " +
              "includes channel binding data.",
          );
        }
        if (reader.read("p") !== this.#channelBinding!.type) {
          throw new ScramError("unsupported SCRAM channel-binding type");
        }
        return;
      default:
        throw malformed(`Unexpected channel-binding flag: ${shown(flag)}.`);
    }
  }

  #clientFinal(text: string): ScramServerStep {
    const reader = new AttributeReader(text);
    this.#checkChannelBinding(reader.read("c"));
    const nonce = reader.read("r");
    let proofStart: number;
    let attribute: { readonly name: string; readonly value: string };
    do { // Extensions are ignored, but signed.
      proofStart = reader.at;
      attribute = reader.readAny();
    } while (attribute.name !== "p");
    const proof = parseBase64(attribute.value);
    if (proof?.length !== SCRAM_KEY_SIZE) {
      throw malformed("Malformed proof in client-final-message.");
    }
    if (!reader.isAtEnd) throw malformed("Garbage found at the end of client-final-message.");
    if (nonce !== this.#nonce) {
      throw new ScramError("invalid SCRAM response", "Nonce does not match.");
    }
    return this.#verify(text.slice(0, proofStart - 1), proof);
  }

  #checkChannelBinding(attribute: string): void {
    const data = this.#isBound ? this.#channelBinding!.data : new Uint8Array();
    const expected = channelBindingInput(this.#gs2Header, data).toBase64();
    if (attribute === expected) return;
    if (!this.#isBound) {
      throw new ScramError("unexpected SCRAM channel-binding attribute in client-final-message");
    }
    throw new ScramError(
      "SCRAM channel binding check failed",
      "",
      ScramSqlState.InvalidAuthorizationSpecification,
    );
  }

  #verify(withoutProof: string, proof: Uint8Array): ScramServerStep {
    const { storedKey, serverKey, isMock } = this.#secret;
    const sign = (key: Uint8Array) =>
      signature(key, this.#clientFirstBare, this.#serverFirst, withoutProof);
    const clientKey = xor(proof, sign(storedKey));
    const isRight = sameBytes(storedKeyOf(clientKey), storedKey);
    if (!isRight || isMock) return { kind: "failed" };
    const data = utf8(`v=${sign(serverKey).toBase64()}`);
    return { kind: "authenticated", data, keys: { clientKey, serverKey } };
  }
}

/** The mechanisms to name in an AuthenticationSASL, the better one first. */
export function offeredMechanisms(channelBinding: ChannelBinding | null): ScramMechanism[] {
  if (channelBinding === null) return [ScramMechanism.Sha256];
  return [ScramMechanism.Sha256Plus, ScramMechanism.Sha256];
}

function downgraded(): ScramError {
  return new ScramError(
    "SCRAM channel binding negotiation error",
    "The client supports SCRAM channel binding but thinks the server does not.  However, this " +
      "server does support channel binding.",
    ScramSqlState.InvalidAuthorizationSpecification,
  );
}
