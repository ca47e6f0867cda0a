// A world of memory around one PooledRelay: a client, and a pooled connection that is lent to it.

import { SessionContext, type Setting } from "../../src/context/context.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { PooledRelay } from "../../src/session/pooled_relay.ts";
import {
  contextReplies,
  contextRow,
  readContextMessage,
  requestedValues,
} from "./context_message.ts";
import { memoryPair, type MemoryPairOptions, type MemoryTransport } from "./memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  commandComplete,
  dataRow,
  join,
  message,
  parameterStatus,
  readyForQuery,
} from "./messages.ts";
import { ScriptedPeer } from "./scripted_peer.ts";

export const CONTEXT = new SessionContext(
  [{ name: "app.current_tenant_id", value: "acme" }],
  "app_user",
);
export const PARAMETERS = { server_version: "18.4", application_name: "" };

/** Lets everything happen that can happen without anybody doing anything. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 300; turn++) await Promise.resolve();
}

export interface BackendWorld {
  readonly member: PooledBackend;
  readonly server: ScriptedPeer;
  /** pgvpd's end of the connection to the server. */
  readonly upstreamSide: MemoryTransport;
}

/** A pooled connection as new; nobody has it. */
export async function openBackend(wire: MemoryPairOptions = {}): Promise<BackendWorld> {
  const [upstreamSide, serverEnd] = memoryPair({ ...wire, peers: ["pgvpd", "server"] });
  const server = new ScriptedPeer(serverEnd);
  const opening = PooledBackend.open({
    connect: () => Promise.resolve({ transport: upstreamSide, encrypted: false, endPoint: null }),
    credentials: { user: "app_user", password: null },
    database: "shop",
    startupSettings: [],
    provesRoles: false,
  }, new AbortController().signal);
  await server.expectPacket();
  const statuses = Object.entries(PARAMETERS).map(([name, value]) => parameterStatus(name, value));
  await server.send(join(AUTHENTICATION_OK, ...statuses, BACKEND_KEY_DATA, readyForQuery()));
  return { member: await opening, server, upstreamSide };
}

/** Reads the context message and confirms it; a value that is there already is no fault later. */
export async function confirm(
  server: ScriptedPeer,
  { before = null as string | null, status = "I", between = new Uint8Array(0) } = {},
): Promise<void> {
  const request = readContextMessage(join(...await server.expectAll("PBECS")));
  const values = requestedValues(request);
  const replies = contextReplies(values, contextRow(values, () => before));
  await server.send(join(between, replies.subarray(0, replies.length - 6), readyForQuery(status)));
}

/** Answers the statement that sets (or sets again) a client's settings. */
export async function takeSettings(server: ScriptedPeer, reported = new Uint8Array(0)) {
  await server.expectAll("PBECS");
  await server.send(
    join(message("1"), message("2"), dataRow([null]), reported, commandComplete("SELECT 1")),
    join(message("3"), readyForQuery()),
  );
}

export interface RelayWorld extends BackendWorld {
  readonly relay: PooledRelay;
  readonly client: ScriptedPeer;
  readonly clientSide: MemoryTransport;
  readonly over: Promise<string>;
}

/** A client that may speak. */
export async function lent(
  { wire = {}, settings = [] }: { wire?: MemoryPairOptions; settings?: readonly Setting[] } = {},
): Promise<RelayWorld> {
  const world = await openBackend(wire);
  const { member, server } = world;
  const established = member.establish(CONTEXT, settings, new AbortController().signal);
  if (settings.length > 0) await takeSettings(server);
  await confirm(server);
  await established;
  const [near, clientSide] = memoryPair({ ...wire, peers: ["client", "pgvpd"] });
  const relay = new PooledRelay(new Inbox(clientSide, 65_536), member);
  const over = relay.run();
  return { ...world, relay, client: new ScriptedPeer(near), clientSide, over };
}
