// A connection that a client has logged in on itself, and whose context is sealed: it is served as
// if it were lent, from a pool of one that is nobody else's.

import { encodeParameterStatus, READY_FOR_QUERY_IDLE } from "../codec/backend.ts";
import { readInt32 } from "../codec/reader.ts";
import type { SessionContext } from "../context/context.ts";
import type { Inbox } from "../net/buffers.ts";
import { PooledBackend } from "../pool/pooled_backend.ts";
import type { Sealing } from "../pool/sealing.ts";
import type { Lease } from "../pool/slots.ts";
import type { CancelKey, CancelKeys, CancelTarget } from "./cancel_keys.ts";
import type { Deadline } from "./deadline.ts";
import { type Lent, tell } from "./lending.ts";

/** Where the process ID stands in a CancelRequest. */
const PROCESS_ID_AT = 8;
const NO_KEY: CancelKey = { processId: 0, secret: new Uint8Array(0), [Symbol.dispose]: () => {} };

/** A login that has been relayed up to the point where the client would hear that it may speak. */
export interface RelayedLogin {
  readonly client: Inbox;
  /** The server's side; whoever lends it closes it when this fails. */
  readonly upstream: Inbox;
  readonly context: SessionContext;
  /** The packet that cancels what the server is doing; null when it gave no key. */
  readonly cancelRequest: Uint8Array | null;
}

/**
 * Establishes and seals the context, and tells the client that it may speak.
 *
 * @param cancelKeys null: every cancel request goes to the server as it is.
 * @throws {PgError} to be told to the client · {ClientGone}.
 */
export async function lendOwn(
  { client, upstream, context, cancelRequest }: RelayedLogin,
  sealing: () => Sealing | null,
  cancelKeys: CancelKeys | null,
  target: CancelTarget,
  deadline: Deadline,
): Promise<Lent> {
  deadline.phase = "establishing the session context";
  const processId = cancelRequest === null ? 0 : readInt32(cancelRequest, PROCESS_ID_AT);
  const member = PooledBackend.adopt(upstream, { processId, cancelRequest }, sealing);
  await member.establish(context, [], deadline.signal);
  // The client has been told what the server reported before.
  const reports = [...member.backend.parameters]
    .map(([name, value]) => encodeParameterStatus(name, value));
  await tell(client, [...reports, READY_FOR_QUERY_IDLE], deadline);
  const adopted = cancelRequest === null ? undefined : cancelKeys?.adopt(cancelRequest, target);
  return { lease: leaseOf(member), cancelKey: adopted ?? NO_KEY };
}

/** Nobody comes behind the client: its connection is closed, in order where that is possible. */
function leaseOf(member: PooledBackend): Lease<PooledBackend> {
  return {
    member,
    giveBack: () => member.close(),
    discard: () => member.backend.close(),
    [Symbol.dispose]: () => member.close(),
  };
}
