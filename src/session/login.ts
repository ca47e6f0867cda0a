// The login, relayed: authentication between client and server, the server's greeting, and then the
// context, confirmed before ReadyForQuery reaches the client.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import {
  type ErrorFields,
  parseErrorResponse,
  READY_FOR_QUERY_IDLE,
  withHint,
  withoutChannelBinding,
} from "../codec/backend.ts";
import {
  AuthenticationRequest,
  BackendMessage,
  FrontendMessage,
  HEADER_SIZE,
  LENGTH_SIZE,
  PASSWORD_MESSAGE_SIZE_MAX,
  SqlState,
} from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { cancelRequestFor } from "../codec/frontend.ts";
import { readInt32 } from "../codec/reader.ts";
import { ContextConfirmation, type SessionContext } from "../context/context.ts";
import type { Inbox } from "../net/buffers.ts";
import { writeAll } from "../net/transport.ts";
import { bindingImpossible, saysChannelBinding } from "./channel_binding.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone, UpstreamRefused } from "./endings.ts";
import type { LoginResolving } from "./login_resolving.ts";

/**
 * authenticating: until AuthenticationOk · greeting: until ReadyForQuery · resolving: until all
 * are answered · confirming: until the context is confirmed · done: the client may speak.
 */
type Phase = "authenticating" | "greeting" | "resolving" | "confirming" | "done";

const AUTHENTICATION_CODE_SIZE = 4;
/** A SASLInitialResponse's header, mechanism, length and gs2 flag lie within. */
const SASL_INITIAL_READ = 64;

/** What the server may send before it is ready, and the client is shown as it comes. */
const GREETING: ReadonlySet<number> = new Set<number>([
  BackendMessage.BackendKeyData,
  BackendMessage.NegotiateProtocolVersion,
  BackendMessage.NoticeResponse,
  BackendMessage.NotificationResponse,
  BackendMessage.ParameterStatus,
]);

/** Of these only the header is read, so that they may be of any size. */
const UNREAD: ReadonlySet<number> = new Set<number>([
  BackendMessage.Authentication,
  BackendMessage.ErrorResponse,
  BackendMessage.NoticeResponse,
]);

/** What the requests of a server are called, as in pg_hba.conf. */
const METHODS: ReadonlyMap<number, string> = new Map<number, string>([
  [AuthenticationRequest.CleartextPassword, "cleartext"],
  [AuthenticationRequest.MD5Password, "md5"],
  [AuthenticationRequest.SASL, "scram"],
]);

/** The client hashes the name that it knows, `app_user.acme`; the server knows another. */
const MD5_HINT = "An MD5 password is hashed together with the user name and cannot match behind " +
  "pgvpd. Store it anew: SET password_encryption = 'scram-sha-256'; ALTER ROLE … PASSWORD …";

/** The server refused before it asked anything of the client: another try is possible. */
export class RefusedAtOnce extends Error {
  override readonly name = "RefusedAtOnce";
  constructor(readonly fields: ErrorFields, readonly response: Uint8Array) {
    super(fields.message);
  }
}

/** Relays one login; `run()` may be called once. */
export class LoginRelay {
  #phase: Phase = "authenticating";
  /** The server waits for an answer of the client. */
  #asked = false;
  /** Bytes of a message whose header has been read and that still have to be passed on. */
  #passingDown = 0;
  #passingUp = 0;
  /** Decided and not written yet. */
  #outgoing: Uint8Array[] = [];
  #heard = false;
  #confirmation: ContextConfirmation | null = null;
  /** How the server has asked who it is; null: it has not. */
  method: string | null = null;
  /** The server has offered to bind to its own TLS channel, and the client is not to know. */
  #bindingWithheld = false;
  /** The packet that cancels what the server does for this client; null when it gave no key. */
  cancelRequest: Uint8Array | null = null;

  /**
   * @param context what to establish; null for a connection that is passed through as it is.
   * @param onAuthenticated is called before the client hears of it, and may refuse by throwing.
   * @param resolving says what to establish instead, once the client has logged in.
   * @param leavesContext stops before the context is established; `leftContext` says which it is.
   */
  constructor(
    readonly client: Inbox,
    readonly upstream: Inbox,
    readonly context: SessionContext | null,
    readonly deadline: Deadline,
    readonly onAuthenticated: () => void = () => {},
    readonly resolving: LoginResolving | null = null,
    readonly leavesContext = false,
  ) {}

  /** The context that was resolved. */
  leftContext: SessionContext | null = null;

  /**
   * Resolves when the client has been told that the server is ready, or only that is left to do.
   *
   * @throws {PgError} to be told to the client · {ClientGone} · {UpstreamRefused} when the server's
   * own error has been passed on · {RefusedAtOnce} when it was the server's first word: nothing has
   * been passed on then.
   */
  async run(): Promise<void> {
    for (;;) {
      const upstreamEnded = this.upstream.ended;
      await this.#fromUpstream();
      if (this.#phase === "resolving") await this.#resolve(this.resolving!);
      if (this.#phase === "done") return;
      if (upstreamEnded) throw upstreamLost(undefined);
      await this.#fromClient();
      if (this.client.ended) throw new ClientGone();
      await this.#wait();
    }
  }

  /** Waits until either side has said something more. */
  async #wait(): Promise<void> {
    if (this.upstream.ended || this.upstream.full) return; // there is something to look at
    this.deadline.phase = this.#waitingFor();
    const upstream = this.upstream.fill().catch((error) => {
      throw upstreamLost(error);
    });
    const waits: Promise<unknown>[] = [upstream];
    if (this.#phase === "resolving") waits.push(this.resolving!.changed);
    if (!this.client.full) {
      waits.push(
        this.client.fill().catch((error) => {
          throw new ClientGone(error);
        }),
      );
    }
    await this.deadline.race(...waits);
  }

  #waitingFor(): string {
    if (this.#phase === "resolving") return this.resolving!.phase;
    if (this.#phase === "confirming") return "establishing the session context";
    if (this.#phase === "greeting") return "waiting for the upstream server to become ready";
    return this.#asked
      ? "waiting for the client to answer the authentication request"
      : "waiting for the upstream server to authenticate";
  }

  async #fromUpstream(): Promise<void> {
    const { upstream } = this;
    while (this.#phase !== "done") {
      if (this.#passingDown > 0) {
        const size = Math.min(this.#passingDown, upstream.length);
        if (size === 0) break;
        this.#passingDown -= size;
        this.#forward(size);
        continue;
      }
      if (upstream.length < HEADER_SIZE) break;
      const type = upstream.bytes[upstream.start]!;
      const length = readInt32(upstream.bytes, upstream.start + 1);
      if (length < LENGTH_SIZE) throw malformed();
      const size = 1 + length;
      // What decides about a message that is too large to be held stands in front.
      if (upstream.length < Math.min(size, HEADER_SIZE + AUTHENTICATION_CODE_SIZE)) break;
      if (size > upstream.sizeMax && this.#passesUnread(type)) {
        this.#passingDown = size;
      } else if (size > upstream.sizeMax) {
        throw malformed();
      } else if (upstream.length < size) {
        break;
      } else {
        await this.#onUpstreamMessage(type, size);
      }
    }
    await this.#flush();
  }

  /** May a message that is too large to be held be passed on by its header alone? */
  #passesUnread(type: number): boolean {
    if (type !== BackendMessage.Authentication) {
      return UNREAD.has(type) && this.#phase !== "confirming";
    }
    if (this.#phase !== "authenticating") return false;
    const { bytes, start } = this.upstream;
    const request = readInt32(bytes, start + HEADER_SIZE);
    if (request === AuthenticationRequest.Ok || request === AuthenticationRequest.SASL) {
      return false;
    }
    this.#asked = true;
    return true;
  }

  async #onUpstreamMessage(type: number, size: number): Promise<void> {
    const start = this.upstream.start + HEADER_SIZE;
    const end = this.upstream.start + size;
    if (this.#phase === "confirming") {
      const step = this.#confirmation!.step(type, this.upstream.bytes, start, end);
      if (step === "forward") return this.#forward(size);
      this.upstream.take(size);
      if (step === "confirmed") this.#ready(READY_FOR_QUERY_IDLE);
      return;
    }
    if (
      this.#phase === "resolving" && this.resolving!.takes(type, this.upstream.bytes, start, end)
    ) return this.upstream.take(size);
    if (type === BackendMessage.ErrorResponse) return await this.#onRefusal(size, start, end);
    if (this.#phase === "authenticating" && type === BackendMessage.Authentication) {
      return this.#onAuthentication(size, start, end);
    }
    if (this.#phase === "greeting" && type === BackendMessage.ReadyForQuery) {
      return await this.#onGreeted(size);
    }
    if (!GREETING.has(type)) throw malformed();
    if (type === BackendMessage.BackendKeyData) {
      this.cancelRequest = cancelRequestFor(this.upstream.bytes, start, end);
    }
    this.#forward(size);
  }

  #onAuthentication(size: number, start: number, end: number): void {
    if (end - start < AUTHENTICATION_CODE_SIZE) throw malformed();
    const request = readInt32(this.upstream.bytes, start);
    if (request === AuthenticationRequest.Ok) this.onAuthenticated();
    const narrowed = request === AuthenticationRequest.SASL
      ? withoutChannelBinding(this.upstream.bytes, start, end)
      : null;
    if (narrowed === null) {
      this.#forward(size);
    } else {
      this.upstream.take(size);
      this.#bindingWithheld = true;
      this.#outgoing.push(narrowed);
      this.#heard = true;
    }
    if (request !== AuthenticationRequest.Ok) this.method ??= METHODS.get(request) ?? "other";
    if (request === AuthenticationRequest.Ok) this.#phase = "greeting";
    else if (request !== AuthenticationRequest.SASLFinal) this.#asked = true;
  }

  async #onRefusal(size: number, start: number, end: number): Promise<never> {
    const fields = parseErrorResponse(this.upstream.bytes, start, end);
    if (!this.#heard) {
      const message = this.upstream.bytes.slice(this.upstream.start, this.upstream.start + size);
      throw new RefusedAtOnce(fields, message);
    }
    if (this.method === "md5" && this.context !== null) {
      this.#outgoing.push(withHint(this.upstream.bytes, start, end, MD5_HINT));
      this.upstream.take(size);
    } else {
      this.#forward(size);
    }
    await this.#flush();
    throw new UpstreamRefused(fields);
  }

  /** The server is ready for a query; the client is not told before the context is confirmed. */
  async #onGreeted(size: number): Promise<void> {
    if (this.context === null) {
      const { bytes, start } = this.upstream;
      this.upstream.take(size);
      return this.#ready(bytes.subarray(start, start + size));
    }
    this.upstream.take(size);
    await this.#flush();
    if (this.resolving === null) return await this.#confirm(this.context);
    this.#phase = "resolving";
    this.resolving.start();
  }

  async #resolve(resolving: LoginResolving): Promise<void> {
    const context = resolving.outcome();
    if (context !== null) return await this.#confirm(context);
    const query = resolving.nextQuery();
    if (query !== null) await this.#toUpstream(query);
  }

  async #confirm(context: SessionContext): Promise<void> {
    this.leftContext = context;
    if (this.leavesContext) return this.#ready(null);
    this.#phase = "confirming";
    this.#confirmation = new ContextConfirmation(context);
    await this.#toUpstream(context.message);
  }

  #ready(readyForQuery: Uint8Array | null): void {
    const { bytes, start, length } = this.client;
    if (length > 0 && bytes[start] === 0) {
      throw PgError.protocolViolation("received a second startup packet");
    }
    if (readyForQuery !== null) this.#outgoing.push(readyForQuery);
    this.#phase = "done";
  }

  /** Passes the answers of a client on, when they are asked for; anything else waits or is refused. */
  async #fromClient(): Promise<void> {
    const { client } = this;
    while (client.length > 0) {
      if (this.#passingUp > 0) {
        const size = Math.min(this.#passingUp, client.length);
        const part = client.bytes.subarray(client.start, client.start + size);
        this.#passingUp -= size;
        client.take(size);
        await this.#toUpstream(part);
        continue;
      }
      if (!this.#asked) return;
      const type = client.bytes[client.start]!;
      if (type === FrontendMessage.Terminate) throw new ClientGone();
      if (type !== FrontendMessage.PasswordMessage) {
        throw PgError.protocolViolation(`expected password response, got message type ${type}`);
      }
      if (client.length < HEADER_SIZE) return;
      const length = readInt32(client.bytes, client.start + 1);
      if (length < LENGTH_SIZE || length > PASSWORD_MESSAGE_SIZE_MAX) {
        throw PgError.protocolViolation("invalid message length");
      }
      if (this.#bindingWithheld) {
        if (client.length < Math.min(1 + length, SASL_INITIAL_READ)) return;
        this.#checkChannelBinding(HEADER_SIZE, Math.min(1 + length, client.length));
      }
      this.#passingUp = 1 + length;
      this.#asked = false;
    }
  }

  /**
   * A client on TLS that could bind to its channel says so when it was not offered that, and the
   * server, which did offer it, takes this for a downgrade by somebody in the middle.
   */
  #checkChannelBinding(from: number, to: number): void {
    this.#bindingWithheld = false; // only the first answer says it
    const { bytes, start } = this.client;
    if (saysChannelBinding(bytes, start + from, start + to)) throw bindingImpossible();
  }

  #toUpstream(bytes: Uint8Array): Promise<void> {
    return this.deadline.race(
      writeAll(this.upstream.transport, bytes).catch((error) => {
        throw upstreamLost(error);
      }),
    );
  }

  /** Marks the next `size` bytes of the server for the client. */
  #forward(size: number): void {
    const { bytes, start } = this.upstream;
    this.#outgoing.push(bytes.subarray(start, start + size));
    this.upstream.take(size);
    this.#heard = true;
  }

  /** Writes what has been decided, in one piece, before the buffer it lies in is filled again. */
  async #flush(): Promise<void> {
    if (this.#outgoing.length === 0) return;
    const bytes = new Uint8Array(this.#outgoing.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#outgoing) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#outgoing = [];
    await this.deadline.race(
      writeAll(this.client.transport, bytes).catch((error) => {
        throw new ClientGone(error);
      }),
    );
  }
}

function malformed(): PgError {
  return PgError.protocolViolation("the upstream server sent a message that does not belong here");
}

function upstreamLost(cause: unknown): PgError {
  return new PgError(
    SqlState.ConnectionFailure,
    "the upstream server closed the connection unexpectedly",
    { hint: "Look into the server's log." },
    { cause },
  );
}
