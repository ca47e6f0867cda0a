// A server connection in memory: pgvpd's end of it, and a server that says what a test tells it.

import { Backend } from "../../src/pool/backend.ts";
import { memoryPair, type MemoryTransport } from "./memory_transport.ts";
import { commandComplete, dataRow, message, readyForQuery, text } from "./messages.ts";
import { ScriptedPeer } from "./scripted_peer.ts";

/** Both ends of one connection. */
export interface ServerWorld {
  readonly backend: Backend;
  readonly transport: MemoryTransport;
  readonly server: ScriptedPeer;
}

/** @param cut how many bytes one read gives at most. */
export function serverWorld(cut: () => number = () => Infinity): ServerWorld {
  const [transport, far] = memoryPair({ cut, peers: ["pgvpd", "server"] });
  const backend = new Backend(transport, new Map());
  backend.start();
  return { backend, transport, server: new ScriptedPeer(far) };
}

/** The replies to one extended query with rows of one column, message by message. */
export function queryReplies(...values: readonly string[]): Uint8Array[] {
  return [
    message("1"),
    message("2"),
    ...values.map((value) => dataRow([text(value)])),
    commandComplete(`SELECT ${values.length}`),
    message("3"),
    readyForQuery(),
  ];
}

/** Lets everything happen that needs no time. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
