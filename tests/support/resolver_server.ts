// A server in memory that answers resolvers, and remembers what it was asked.

import type { UpstreamConnection } from "../../src/pool/connect.ts";
import { memoryPair } from "./memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  commandComplete,
  cstring,
  dataRow,
  errorResponse,
  int16,
  int32,
  join,
  message,
  readyForQuery,
  text,
} from "./messages.ts";
import { ScriptedPeer } from "./scripted_peer.ts";

/** Columns and rows, or the SQLSTATE and text of an error. */
export type Answer =
  | { readonly columns: readonly string[]; readonly rows: readonly (readonly (string | null)[])[] }
  | { readonly sqlState: string; readonly error: string };

/** What was asked, taken apart. */
export interface AskedQuery {
  readonly sql: string;
  readonly inputs: readonly (string | null)[];
  readonly rowsMax: number;
  /** The settings around it, by name. */
  readonly settings: Readonly<Record<string, string>>;
}

/** The messages of one query of a resolver. */
export const REQUEST_TYPES = "QPBECSPBDECSQ";

const TEXT = new TextDecoder();

/** Reads Parse and Bind (and what follows) as `encodeResolverQuery` must have written them. */
export function readAsked(messages: readonly Uint8Array[]): AskedQuery {
  const settings = bindValues(messages[2]!).map((value) => value ?? "");
  const pairs = Array.from(
    { length: settings.length / 2 },
    (_, index) => [settings[2 * index]!, settings[2 * index + 1]!],
  );
  const parse = messages[6]!;
  const execute = messages[9]!;
  return {
    sql: TEXT.decode(parse.subarray(6, parse.indexOf(0, 6))),
    inputs: bindValues(messages[7]!),
    rowsMax: new DataView(execute.buffer, execute.byteOffset + execute.length - 4).getInt32(0),
    settings: Object.fromEntries(pairs),
  };
}

/** The parameters of a Bind for the unnamed statement and portal. */
function bindValues(bind: Uint8Array): (string | null)[] {
  const view = new DataView(bind.buffer, bind.byteOffset, bind.length);
  let at = 7 + 2 + 2 * view.getInt16(7);
  const count = view.getInt16(at);
  at += 2;
  return Array.from({ length: count }, () => {
    const size = view.getInt32(at);
    const value = size < 0 ? null : TEXT.decode(bind.subarray(at + 4, at + 4 + size));
    at += 4 + Math.max(size, 0);
    return value;
  });
}

export function rowDescription(columns: readonly string[]): Uint8Array {
  const described = columns.map((name) => join(cstring(name), new Uint8Array(18)));
  return message("T", int16(columns.length), ...described);
}

/** Everything that a server says to one query of a resolver. */
export function resolverReplies(answer: Answer): Uint8Array {
  const begin = [commandComplete("BEGIN"), readyForQuery("T")];
  const end = [commandComplete("ROLLBACK"), readyForQuery()];
  const settings = [
    ...[message("1"), message("2"), dataRow([text("")]), commandComplete("SELECT 1")],
    ...[message("3"), readyForQuery("T")],
  ];
  const told = "error" in answer
    ? [message("1"), errorResponse(answer.sqlState, answer.error, "ERROR"), readyForQuery("E")]
    : [
      ...[message("1"), message("2"), rowDescription(answer.columns)],
      ...answer.rows.map((row) => dataRow(row.map((value) => value === null ? null : text(value)))),
      ...[commandComplete("SELECT"), message("3"), readyForQuery("T")],
    ];
  return join(...begin, ...settings, ...told, ...end);
}

/** Connections are accepted and served until they end. */
export class ResolverServer {
  readonly asked: AskedQuery[] = [];
  readonly users: string[] = [];
  /** As whom the connection of each question was logged in. */
  readonly askers: string[] = [];
  /** Connections that listen for invalidations. */
  readonly listeners: ScriptedPeer[] = [];
  /** Connections that were opened. */
  readonly peers: ScriptedPeer[] = [];
  /** How often LISTEN was said. */
  listens = 0;
  /** LISTEN is not answered any more. */
  isMute = false;

  /** @param answer null: none comes; the connection stays as it is. */
  constructor(public answer: (asked: AskedQuery) => Answer | null | Promise<Answer | null>) {}

  readonly connect = (): Promise<UpstreamConnection> => {
    const [transport, far] = memoryPair({ peers: ["pgvpd", "server"] });
    const peer = new ScriptedPeer(far);
    this.peers.push(peer);
    this.#serve(peer).catch(() => far.close());
    return Promise.resolve({ transport, encrypted: false, endPoint: null });
  };

  /** Tells every listener. */
  async notify(payload: string, channel = "pgvpd_invalidate"): Promise<void> {
    for (const peer of this.listeners) {
      await peer.send(message("A", int32(7), cstring(channel), cstring(payload)));
    }
  }

  async #serve(peer: ScriptedPeer): Promise<void> {
    const packet = TEXT.decode(await peer.expectPacket());
    const user = /user\0([^\0]*)/.exec(packet)![1]!;
    this.users.push(user);
    await peer.send(AUTHENTICATION_OK, BACKEND_KEY_DATA, readyForQuery());
    for (;;) {
      const first = await peer.next();
      if (first === null || first[0] === "X".charCodeAt(0)) return peer.transport.close();
      if (TEXT.decode(first).includes("LISTEN")) {
        this.listens++;
        if (this.isMute) continue;
        if (!this.listeners.includes(peer)) this.listeners.push(peer);
        await peer.send(commandComplete("LISTEN"), readyForQuery());
        continue;
      }
      const asked = readAsked([first, ...await peer.expectAll(REQUEST_TYPES.slice(1))]);
      this.asked.push(asked);
      this.askers.push(user);
      const answer = await this.answer(asked);
      if (answer !== null) await peer.send(resolverReplies(answer));
    }
  }
}
