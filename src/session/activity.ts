// What a session is doing, seen through its relay: for those who look at all sessions now and then.

import { NO_TRAFFIC, type Traffic } from "../meters.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { PooledRelay } from "./pooled_relay.ts";
import { Relay } from "./relay.ts";
import type { Activity } from "./time_limits.ts";
import { TransactionRelay } from "./transaction_relay.ts";

/** What serves a client; null: nothing yet. */
export type AnyRelay = Relay | PooledRelay | TransactionRelay | null;

export function activityOf(relay: AnyRelay): Activity {
  if (relay === null) return "busy";
  if (relay.hold.isWaiting) return "waiting";
  if (relay instanceof Relay) {
    if (!relay.answeredAll) return "busy";
    return relay.outsideTransaction ? "idle" : "in transaction";
  }
  if (relay instanceof TransactionRelay && relay.linking) return "waiting";
  return backendActivity(relay.member);
}

/** Changes whenever a statement has been answered; in a dedicated session, also when it is fed. */
export function answersOf(relay: AnyRelay): number {
  if (relay === null) return 0;
  // A COPY may swallow a Sync, and nobody counts that there: what the client sends begins anew.
  if (relay instanceof Relay) return relay.answered + relay.bytesFromClient;
  return relay.member?.backend.ledger.answered ?? 0;
}

/** Its server connection comes from a pool. */
export function isPooled(relay: AnyRelay): boolean {
  if (relay instanceof PooledRelay) return !relay.member.isDedicated;
  return !(relay instanceof Relay);
}

/** What a session has moved, and what has been answered to it. */
export function usageOf(relay: AnyRelay): Traffic {
  if (relay === null) return NO_TRAFFIC;
  const { bytesFromClient: bytesIn, bytesFromUpstream: bytesOut, timer } = relay;
  return { bytesIn, bytesOut, transactions: timer.transactions, queries: timer.queries };
}

export function trafficOf(relay: AnyRelay): number {
  return relay === null ? 0 : relay.bytesFromClient + relay.bytesFromUpstream;
}

export function transactionsOf(relay: AnyRelay): number {
  return relay === null || relay instanceof Relay ? 0 : relay.timer.transactions;
}

function backendActivity(member: PooledBackend | null): Activity {
  if (member === null || member.backend.idle) return "idle";
  const { ledger } = member.backend;
  return ledger.owed > 0 || ledger.batchOpen || ledger.copyIn ? "busy" : "in transaction";
}
