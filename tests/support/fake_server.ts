// A server in memory that understands what pgvpd itself says to a pooled connection, and lets the
// test answer the rest.

import { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { SessionContext } from "../../src/context/context.ts";
import type { Lease } from "../../src/pool/pool.ts";
import { contextReplies, readContextMessage, requestedValues } from "./context_message.ts";
import { memoryPair, type MemoryTransport } from "./memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  parameterStatus,
  readyForQuery,
  text,
} from "./messages.ts";
import { ScriptedPeer } from "./scripted_peer.ts";

/** What the server was told, in a few words each. */
export type Heard = string;

/** The text of a Query. */
export function queryText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(5, bytes.length - 1));
}

const NEVER = new AbortController().signal;

export class FakeServer {
  readonly heard: Heard[] = [];
  readonly parameters = new Map([
    ["application_name", ""],
    ["DateStyle", "ISO, MDY"],
    ["TimeZone", "UTC"],
  ]);
  /** What the residue check finds. */
  residue = false;
  /** What the scrub, the settings or the context are answered with instead. */
  readonly refusals: { scrub?: Uint8Array; settings?: Uint8Array; context?: Uint8Array } = {};
  /** The answer to what a client says; the messages up to Query or Sync. */
  answer: (server: FakeServer, batch: Uint8Array[]) => Promise<void> = async () => {
    await this.peer.send(commandComplete("SELECT 0"), readyForQuery());
  };
  readonly peer: ScriptedPeer;
  readonly pgvpdSide: MemoryTransport;

  /** @param capacity bytes that pgvpd can write before the server has read any. */
  constructor(capacity?: number) {
    const size = capacity === undefined ? {} : { capacity };
    const [there, here] = memoryPair({ peers: ["pgvpd", "server"], ...size });
    this.pgvpdSide = there;
    this.peer = new ScriptedPeer(here);
    this.#serve().catch(() => here.close());
  }

  /** A pooled connection to it. */
  open(provesRoles = false): Promise<PooledBackend> {
    return PooledBackend.open({
      connect: () =>
        Promise.resolve({ transport: this.pgvpdSide, encrypted: false, endPoint: null }),
      credentials: { user: "app", password: null },
      database: "shop",
      startupSettings: [],
      provesRoles,
    }, NEVER);
  }

  /** Has a parameter reported. */
  async report(name: string, value: string): Promise<void> {
    this.parameters.set(name, value);
    await this.peer.send(parameterStatus(name, value));
  }

  async #serve(): Promise<void> {
    const { peer } = this;
    await peer.expectPacket();
    const reports = [...this.parameters].map(([name, value]) => parameterStatus(name, value));
    await peer.send(AUTHENTICATION_OK, ...reports, BACKEND_KEY_DATA, readyForQuery());
    let batch: Uint8Array[] = [];
    for (;;) {
      const next = await peer.next();
      if (next === null) break;
      batch.push(next);
      if (!"QS".includes(String.fromCharCode(next[0]!))) continue;
      await this.#reply(batch);
      batch = [];
    }
    peer.transport.close();
  }

  async #reply(batch: Uint8Array[]): Promise<void> {
    const whole = new TextDecoder("latin1").decode(join(...batch));
    if (whole.includes("RESET SESSION AUTHORIZATION")) {
      this.heard.push("scrub");
      const tags = Array<Uint8Array>(8).fill(commandComplete("RESET"));
      const row = [message("T"), dataRow([text("")]), commandComplete("SELECT 1"), readyForQuery()];
      return await this.peer.send(this.refusals.scrub ?? join(...tags, ...row));
    }
    if (whole.includes("pg_my_temp_schema")) {
      this.heard.push("residue check");
      const found = dataRow([text(this.residue ? "t" : "f")]);
      return await this.peer.send(
        message("T"),
        found,
        commandComplete("SELECT 1"),
        readyForQuery(),
      );
    }
    if (whole.includes("convert_to('', 'UTF8')")) {
      return await this.peer.send(contextReplies([], dataRow([text("")])));
    }
    if (whole.includes("DISCARD ALL")) {
      this.heard.push("DISCARD ALL");
      return await this.peer.send(commandComplete("DISCARD ALL"), readyForQuery());
    }
    if (whole.includes("pg_catalog.set_config")) return await this.#set(join(...batch), whole);
    this.heard.push(
      batch.map((one) => one[0] === 0x51 ? queryText(one) : String.fromCharCode(one[0]!)).join(" "),
    );
    await this.answer(this, batch);
  }

  async #set(bytes: Uint8Array, whole: string): Promise<void> {
    const request = readContextMessage(bytes);
    const names = request.parameters.filter((_, index) => index % 2 === 0);
    const values = requestedValues(request);
    const isContext = names.includes("role");
    const assignments = names.map((name, index) => `${name}=${values[index]}`).join(" ");
    const isRestored = whole.includes("pg_settings");
    this.heard.push(
      `${isContext ? "context" : isRestored ? "restored" : "settings"}: ${assignments}`,
    );
    const refusal = isContext ? this.refusals.context : this.refusals.settings;
    if (refusal !== undefined) return await this.peer.send(refusal);
    if (isContext) return await this.peer.send(contextReplies(values));
    for (const [index, name] of names.entries()) {
      if (this.parameters.has(name)) await this.report(name, values[index]!);
    }
    await this.peer.send(contextReplies(values, dataRow(values.map((value) => text(value)))));
  }
}

/** A refusal in the middle of a batch. */
export function refused(sqlState: string, primary: string): Uint8Array {
  return join(errorResponse(sqlState, primary, "ERROR"), readyForQuery());
}

export function contextOf(tenant: string, role = "app"): SessionContext {
  return new SessionContext([{ name: "app.current_tenant_id", value: tenant }], role);
}

/** One member that is lent again and again; what became of each lease. */
export class OneMemberPool {
  readonly fates: string[] = [];
  constructor(public member: PooledBackend) {}

  readonly checkout = (): Promise<Lease<PooledBackend>> => {
    let isOwned = true;
    const end = (fate: string) => {
      if (!isOwned) return;
      isOwned = false;
      this.fates.push(fate);
      if (fate !== "given back") this.member.close();
    };
    return Promise.resolve({
      member: this.member,
      giveBack: () => end("given back"),
      discard: (reason: string) => end(reason),
      [Symbol.dispose]: () => end("abandoned"),
    });
  };
}
