// ClientEnd: the client's end of a session whose backend changes: how it is over, and what is said
// then.

import { BackendMessage } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import type { Backend } from "../pool/backend.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import {
  elapsed,
  lingering,
  PROBE_PAUSE_MS_MAX,
  PROBE_PAUSE_MS_MIN,
  STILL_RUNNING,
  TENANT_PAUSED,
  UPSTREAM_LOST,
} from "./farewell.ts";
import { TransactionHold } from "./hold.ts";
import type { ClientEnding } from "./endings.ts";
import { RequestTimer } from "./request_timer.ts";

export type { ClientEnding } from "./endings.ts";

/** What a relay is towards its client; the moving of bytes is the subclass's. */
export abstract class ClientEnd {
  /** Resolves when nothing more will be read from the client or written to a backend. */
  pumped: Promise<void> = Promise.resolve();
  /** Why pgvpd itself has ended the session; null when it had no reason of its own. */
  failure: PgError | null = null;
  bytesFromClient = 0;
  bytesFromUpstream = 0;
  /** May be another one before anything has been moved. */
  timer = new RequestTimer();
  readonly hold = new TransactionHold();
  /** Resolves when the session is over. */
  protected readonly over = Promise.withResolvers<void>();
  protected ending: ClientEnding | null = null;
  protected writingToClient = false;
  /** The client has ended its sending side. */
  protected clientEnded = false;
  protected farewell: Uint8Array | null = null;
  /** The context is being proved to the database once more; never rejects. */
  protected renewing: Promise<void> = Promise.resolve();
  /** While the context is being restored nothing passes in either direction. */
  protected gate: PromiseWithResolvers<void> | null = null;

  constructor(protected readonly client: Transport) {}

  /** Nothing is under way: a message of pgvpd's own may end the session here. */
  abstract get idle(): boolean;

  /** The backend of the moment. */
  protected abstract get backend(): Backend | null;

  get betweenTransactions(): boolean {
    return this.backend === null || this.backend.idle;
  }

  /** Whole messages have been sent. */
  abstract get sentWhole(): boolean;

  /** Ends the session with a message as soon as it is idle. */
  drain(farewell: Uint8Array): void {
    this.farewell = farewell;
    if (this.idle) this.end("pgvpd");
  }

  /** Ends the session now; the client is told when a message may stand where its stream is. */
  close(farewell: Uint8Array): void {
    this.farewell = farewell;
    this.end("pgvpd");
  }

  /** The first way in which it ends counts. */
  protected end(ending: ClientEnding): void {
    this.ending ??= ending;
    this.hold.end();
    this.over.resolve();
  }

  /** The client cannot be served any longer, and is told why. */
  protected fail(error: unknown): void {
    if (error instanceof PgError) {
      this.failure ??= error;
      this.farewell ??= error.encode();
    }
    this.end("pgvpd");
  }

  /** Proves a context once more that the database will not believe much longer, when it is idle. */
  protected renewSeal(member: PooledBackend): Promise<void> {
    if (member.backend.idle && this.sentWhole && this.ending === null) {
      this.renewing = member.renewSeal(undefined, (each) => this.sendThrough(each))
        .catch((error) => this.fail(error));
    }
    return this.renewing;
  }

  /** Waits until what the client has sent may pass; `type` is its first byte. */
  protected async passage(type: number): Promise<void> {
    if (this.gate !== null) await Promise.race([this.gate.promise, this.over.promise]);
    if (this.ending === null) await this.hold.pass(this, type);
  }

  /** To the client, while everything else waits. */
  protected async sendThrough(bytes: Uint8Array): Promise<void> {
    try {
      await writeAll(this.client, bytes);
    } catch {
      this.end("vanished");
    }
  }

  /** Has a client that sends no more read all that it asked for? */
  protected endWhenAnswered(): void {
    if (this.writingToClient || this.gate !== null) return;
    const { backend } = this;
    if (backend === null) return this.end(this.sentWhole ? "closed" : "vanished");
    const { ledger } = backend;
    if (ledger.owed > 0 && !ledger.uncertain) return;
    this.end(ledger.settled && this.sentWhole ? "closed" : "vanished");
  }

  /** As in a session pool: only a write tells whether a client that sends no more still reads. */
  protected async watchSilentClient(): Promise<void> {
    this.clientEnded = true;
    let pauseMs = PROBE_PAUSE_MS_MIN;
    for (;;) {
      this.endWhenAnswered();
      if (this.ending !== null) return;
      await elapsed(pauseMs, this.over.promise);
      pauseMs = Math.min(pauseMs * 2, PROBE_PAUSE_MS_MAX);
      await this.probe(STILL_RUNNING);
    }
  }

  async probe(notice: Uint8Array = TENANT_PAUSED): Promise<void> {
    if (this.ending !== null || this.writingToClient) return;
    if (this.backend === null || this.backend.atBoundary) await this.sendThrough(notice);
  }

  /** Says why it is over, where a message may stand, and lets the client read it. */
  protected async tellClient(): Promise<void> {
    const message = this.farewell ?? UPSTREAM_LOST;
    const { backend } = this;
    const explained = this.ending === "upstream" &&
      backend?.lastType === BackendMessage.ErrorResponse;
    const mayStand = !this.writingToClient && (backend === null || backend.atBoundary);
    const farewell = async () => {
      if (!explained && mayStand) await writeAll(this.client, message);
      await this.client.closeWrite();
      await this.pumped;
    };
    await lingering(farewell().catch(() => {}));
  }
}
