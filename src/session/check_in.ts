// What becomes of a backend when its client is done with it: as new, or closed.

import { FrontendMessage } from "../codec/codes.ts";
import { encodeTextQuery } from "../codec/frontend.ts";
import { MessageWriter } from "../codec/writer.ts";
import { type Backend, type BackendConsumer } from "../pool/backend.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { elapsed } from "./farewell.ts";

/** How long the replies to what a client has left behind may take, once it is cancelled. */
const DRAIN_MS_MAX = 5_000;
/** Between cancel requests: of several statements in a row each must be hit. */
const CANCEL_PAUSE_MS = 100;

const COPY_FAIL = new MessageWriter().begin(FrontendMessage.CopyFail)
  .cstring("the client has gone").end().take();
const ROLLBACK = encodeTextQuery("ROLLBACK", []);

/** How a session has left its backend. */
export interface Leaving {
  /** Resolves when nothing more will be written to the backend for the client. */
  readonly pumped: Promise<void>;
  /** Whole messages have been sent. */
  readonly sentWhole: boolean;
  /** What was asked for is to be done all the same: the client has said Terminate. */
  readonly finishes: boolean;
  /** Aborts when it is not to be done any more. */
  readonly hurry: AbortSignal;
  /** Cancels what the backend does; resolves when the server has been told. */
  readonly cancel: () => Promise<void>;
  /** Called once, when nothing of the client's is under way any more, or is waited for. */
  readonly onSettled: () => void;
  /** Ends waiting for what is to be done. */
  readonly signal: AbortSignal;
}

/**
 * Gives the backend back clean, or discards it. Never rejects.
 *
 * @returns what became of it, for the log: "clean", or why it was closed.
 */
export async function checkIn(lease: Lease<PooledBackend>, leaving: Leaving): Promise<string> {
  const reason = await uncleanliness(lease.member, leaving).catch(() => "failed");
  if (reason === null) lease.giveBack();
  else lease.discard(reason);
  return reason ?? "clean";
}

/** Brings the backend to rest and cleans it; says what stands in the way. */
async function uncleanliness(member: PooledBackend, leaving: Leaving): Promise<string | null> {
  const { backend } = member;
  // The last write may wait for a server that waits for its replies to be read.
  const rest = new Rest(backend);
  backend.consumer = rest;
  const isSettled = await settles(rest, leaving).finally(leaving.onSettled);
  if (!isSettled) {
    if (!backend.isOver && !finishes(leaving)) await leaving.cancel().catch(() => {});
    return backend.isOver ? "lost" : "unsettled";
  }
  return await member.reset(leaving.signal) ? null : "unclean";
}

/** Waits until everything that was asked for is answered. */
async function settles(rest: Rest, leaving: Leaving): Promise<boolean> {
  const { backend } = rest;
  if (backend.isOver) return false;
  const stuck = { is: true };
  const pumped = leaving.pumped.then(() => void (stuck.is = false));
  await elapsed(DRAIN_MS_MAX, pumped);
  if (stuck.is || !leaving.sentWhole) return false;
  let deadline = performance.now() + DRAIN_MS_MAX;
  for (;;) {
    const { changed } = rest; // taken before looking: what happens from here on is not missed
    if (rest.isSettled) return true;
    if (rest.isHopeless || leaving.signal.aborted) return false;
    await endBatch(backend);
    if (finishes(leaving)) {
      await Promise.race([changed, aborted(leaving.signal), aborted(leaving.hurry)]);
      deadline = performance.now() + DRAIN_MS_MAX;
    } else {
      if (performance.now() > deadline) return false;
      await leaving.cancel().catch(() => {});
      await elapsed(CANCEL_PAUSE_MS, changed);
    }
  }
}

function finishes(leaving: Leaving): boolean {
  return leaving.finishes && !leaving.hurry.aborted;
}

/**
 * Ends what a client has begun and not ended, so that the server becomes ready again; as when the
 * client's own connection had ended, nothing of it is done.
 */
async function endBatch(backend: Backend): Promise<void> {
  const { ledger } = backend;
  if (ledger.copyIn) {
    ledger.request(FrontendMessage.CopyFail);
    await backend.send(COPY_FAIL);
  }
  if (ledger.batchOpen) {
    ledger.request(FrontendMessage.Sync);
    await backend.send(ROLLBACK); // a Sync alone would commit
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

/** Reads replies away that nobody waits for any more. */
class Rest implements BackendConsumer {
  /** Resolves when it may be worth looking again. */
  changed: Promise<void>;
  #change = Promise.withResolvers<void>();

  constructor(readonly backend: Backend) {
    this.changed = this.#change.promise;
  }

  get isSettled(): boolean {
    return this.backend.ledger.settled && this.backend.atBoundary && !this.backend.isOver;
  }

  get isHopeless(): boolean {
    return this.backend.isOver || this.backend.ledger.uncertain;
  }

  /** The server waits for more: also when a COPY has just begun, and has swallowed a Sync. */
  get #isOpen(): boolean {
    return this.backend.ledger.copyIn || this.backend.ledger.batchOpen;
  }

  consume(bytes: Uint8Array): null {
    for (let at = 0; at < bytes.length;) at = this.backend.walk(bytes, at, bytes.length);
    if (this.isSettled || this.isHopeless || this.#isOpen) this.#tell();
    return null;
  }

  lost(): void {
    this.#tell();
  }

  #tell(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
    this.changed = this.#change.promise;
  }
}
