// A backend for a RequestRewriter under test: what it keeps books about, and a server behind it.

import type { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { ReplyLedger } from "../../src/protocol/ledger.ts";
import { BackendStatements } from "../../src/protocol/prepared.ts";
import { RequestRewriter, type RewritingOptions } from "../../src/session/rewriting.ts";
import { StatementServer } from "./statement_server.ts";

const IDLE = "I".charCodeAt(0);

export class RewritingBackend {
  readonly server = new StatementServer();
  readonly ledger = new ReplyLedger();
  unnamedOwner: object | null = null;
  /** Replies that have not been read. */
  readonly #replies: string[] = [];
  readonly backend = {
    ledger: this.ledger,
    parameters: new Map([["client_encoding", "UTF8"]]),
    reports: 1,
  };
  readonly statements = new BackendStatements(this.backend);

  constructor() {
    Object.defineProperty(this.backend, "idle", { get: () => this.ledger.settled });
  }

  get member(): PooledBackend {
    return this as unknown as PooledBackend;
  }

  /** Another context has had it. */
  clean(): void {
    this.server.clean();
    this.statements.clear();
    this.unnamedOwner = null;
  }

  /** The server takes whole messages. */
  take(bytes: Uint8Array): void {
    this.#replies.push(...this.server.take(bytes));
  }

  /** Reads up to so many replies; returns what is the client's. */
  read({ fates }: RequestRewriter, count = Infinity): string[] {
    const forwarded: string[] = [];
    for (; count > 0 && this.#replies.length > 0; count--) {
      const reply = this.#replies.shift()!;
      if ((reply === "1" || reply === "3") && fates.replied()) continue;
      if (reply === "CDEALLOCATE ALL") fates.deallocated(true);
      if (reply === "CDEALLOCATE") fates.deallocated(false);
      if (reply === "Z") {
        this.ledger.ready(IDLE);
        fates.ready();
      }
      forwarded.push(reply);
    }
    return forwarded;
  }
}

export function rewriter(options: Partial<RewritingOptions> = {}): RequestRewriter {
  return new RequestRewriter({
    functionCallsAllowed: false,
    preparedStatementsMax: 200,
    sessionState: "pin",
    ...options,
  });
}

/** Has a client say these pieces, one read after the other; what is sent, joined. */
export function sentFor(
  requests: RequestRewriter,
  { member }: RewritingBackend,
  pieces: readonly Uint8Array[],
): Uint8Array {
  const sent: number[] = [];
  for (const piece of pieces) {
    const chunk = new Uint8Array([...requests.cut, ...piece]);
    for (const byte of requests.take(chunk, member)) sent.push(byte);
  }
  return Uint8Array.from(sent);
}
