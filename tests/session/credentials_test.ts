// Credentials: the first source that knows a user decides; the database is asked on few connections
// of its own, one question after the other, whatever becomes of those who wait for the answers.

import { strict as assert } from "node:assert";
import type { StoredPassword } from "../../src/auth/password.ts";
import { PgError } from "../../src/codec/error.ts";
import { AuthQuery, ConfiguredCredentials } from "../../src/session/credentials.ts";
import { memoryPair } from "../support/memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  commandComplete,
  dataRow,
  errorResponse,
  message,
  parameterStatus,
  readyForQuery,
  startupPairs,
  text,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

const NEVER = new AbortController().signal;
const who = (role: string, database = "shop") => ({ user: `${role}.acme`, role, database });
const clear = (secret: string): StoredPassword => ({ kind: "cleartext", password: text(secret) });

/** What was found, as words. */
async function found(credentials: ConfiguredCredentials, role: string): Promise<string | null> {
  const secret = await credentials.find(who(role), NEVER);
  if (secret === null) return null;
  assert(secret.stored.kind === "cleartext");
  return `${new TextDecoder().decode(secret.stored.password)} of ${secret.name || "everybody"}`;
}

Deno.test("Credentials: the whole user name, the role, everybody", async () => {
  const users = new Map<string, StoredPassword | null>([
    ["app.acme", clear("acme's")],
    ["app", clear("the role's")],
    ["web", clear("web's")],
    ["shut", null],
    ["", clear("nobody's")],
  ]);
  const credentials = new ConfiguredCredentials({ users, query: null, password: "pool's" });
  assert.equal(await found(credentials, "app"), "acme's of app.acme");
  assert.equal(await found(credentials, "web"), "web's of web");
  assert.equal(await found(credentials, "shut"), null, "known, and without a password");
  assert.equal(await found(credentials, "other"), "pool's of everybody");
  const without = new ConfiguredCredentials({ users, query: null, password: null });
  assert.equal(await found(without, "other"), null);
  const none = new ConfiguredCredentials({ users: null, query: null, password: null });
  assert.equal(await found(none, "app"), null);
});

const LAST_WORDS = errorResponse("57P01", "terminating connection", "FATAL");

/** A database that answers questions with what `answers` says, when it is told to. */
class Database {
  readonly connections: { readonly database: string; readonly server: ScriptedPeer }[] = [];
  readonly questions: string[] = [];
  open = 0;
  openMax = 0;
  gate: Promise<void> = Promise.resolve();

  constructor(readonly answers: (role: string) => Uint8Array[]) {}

  readonly connect = () => {
    const [near, far] = memoryPair({ peers: ["pgvpd", "server"] });
    this.openMax = Math.max(this.openMax, ++this.open);
    const server = new ScriptedPeer(far);
    this.#serve(server).catch(() => {}).finally(() => {
      this.open--;
      far.close();
    });
    return Promise.resolve({ transport: near, encrypted: false, endPoint: null });
  };

  async #serve(server: ScriptedPeer): Promise<void> {
    const database = new Map(startupPairs(await server.expectPacket())).get("database")!;
    this.connections.push({ database, server });
    await server.send(AUTHENTICATION_OK, parameterStatus("server_version", "18.4"));
    await server.send(BACKEND_KEY_DATA, readyForQuery());
    for (;;) {
      let role = "";
      for (;;) {
        const next = await server.next();
        if (next === null || next[0] === 0x58) return;
        if (next[0] === 0x42) role = /[a-z]+[0-9]*/.exec(new TextDecoder().decode(next))![0];
        if (next[0] === 0x53) break;
      }
      this.questions.push(`${role}@${database}`);
      await this.gate;
      const answers = this.answers(role);
      await server.send(...answers);
      if (answers.includes(LAST_WORDS)) return;
      await server.send(readyForQuery());
    }
  }

  query(sql = "SELECT name, secret FROM logins WHERE name = $1"): AuthQuery {
    const { connect } = this;
    return new AuthQuery({ sql, user: "lookup", password: null, database: null, connect });
  }
}

function row(...columns: (string | null)[]): Uint8Array[] {
  const values = columns.map((column) => column === null ? null : text(column));
  return [...BEGUN, dataRow(values), commandComplete("SELECT 1"), message("3")];
}

const BEGUN = [message("1"), message("2")];
const NO_ROW = [...BEGUN, commandComplete("SELECT 0"), message("3")];

Deno.test("AuthQuery: the last column of the first row is the secret", async () => {
  const answers: Record<string, Uint8Array[]> = {
    known: row("known", "secret"),
    single: row("alone"),
    shut: row("shut", null),
    empty: row("empty", ""),
    nobody: NO_ROW,
  };
  const database = new Database((role) => answers[role]!);
  const query = database.query();
  assert.deepEqual(await query.find(who("known"), NEVER), clear("secret"));
  assert.deepEqual(await query.find(who("single"), NEVER), clear("alone"));
  assert.equal(await query.find(who("shut"), NEVER), null);
  assert.equal(await query.find(who("empty"), NEVER), null);
  assert.equal(await query.find(who("nobody"), NEVER), undefined);
  assert.equal(database.connections.length, 1);
  const both = new ConfiguredCredentials({ users: null, query, password: "pool's" });
  assert.equal(await found(both, "known"), "secret of known");
  assert.equal(await found(both, "nobody"), "pool's of everybody");
  assert.equal(await found(both, "shut"), null);
  await query.close();
});

Deno.test("AuthQuery: what goes wrong is hidden from strangers, and the connection goes on", async () => {
  const answers: Record<string, Uint8Array[]> = {
    wrong: [errorResponse("42P01", 'relation "logins" does not exist', "ERROR")],
    damaged: row("SCRAM-SHA-256$damaged"),
    known: row("secret"),
  };
  const database = new Database((role) => answers[role]!);
  const query = database.query();
  for (const role of ["wrong", "damaged"]) {
    const error = await query.find(who(role), NEVER).then(() => null, (error) => error);
    assert(error instanceof PgError);
    assert.equal(error.sqlState, "XX000");
    assert.equal(error.message, "pgvpd could not look the password up");
    assert(!/logins|damaged|lookup/.test(JSON.stringify(error.fields)));
    assert(error.cause instanceof Error);
  }
  assert.deepEqual(await query.find(who("known"), NEVER), clear("secret"));
  assert.equal(database.connections.length, 1);
  await query.close();
});

Deno.test("AuthQuery: a connection that has died is replaced within the same login", async () => {
  const database = new Database(() => row("secret"));
  const query = database.query();
  for (let round = 1; round <= 3; round++) {
    assert.deepEqual(await query.find(who("known"), NEVER), clear("secret"));
    assert.equal(database.connections.length, round);
    database.connections.at(-1)!.server.transport.reset();
  }
  await query.close();
});

Deno.test("AuthQuery: a connection that dies with its last words, too", async () => {
  const database: Database = new Database((role) =>
    role === "killed" && database.connections.length === 1 ? [LAST_WORDS] : row("secret")
  );
  const query = database.query();
  assert.deepEqual(await query.find(who("known"), NEVER), clear("secret"));
  assert.deepEqual(await query.find(who("killed"), NEVER), clear("secret"));
  assert.deepEqual(database.questions, ["known@shop", "killed@shop", "killed@shop"]);
  await query.close();
});

Deno.test("AuthQuery: who leaves does not end a question that others wait behind", async () => {
  const database = new Database(() => row("secret"));
  const query = database.query();
  const answered = Promise.withResolvers<void>();
  database.gate = answered.promise;
  const leaving = new AbortController();
  const first = query.find(who("first"), leaving.signal).then(() => null, (error) => error);
  const skipped = query.find(who("skipped"), leaving.signal).then(() => null, (error) => error);
  const second = query.find(who("second"), NEVER);
  while (database.questions.length === 0) await Promise.resolve();
  leaving.abort(new Error("gone"));
  answered.resolve();
  assert.deepEqual(await second, clear("secret"));
  await first;
  assert.equal((await skipped).message, "gone");
  assert.deepEqual(database.questions, ["first@shop", "second@shop"]);
  assert.equal(database.connections.length, 1);
  await query.close();
});

Deno.test("AuthQuery: many databases share few connections, and all are answered", async () => {
  const database = new Database((role) => row(`secret of ${role}`));
  const query = database.query();
  const asked = Array.from({ length: 100 }, async (_, index) => {
    const secret = await query.find(who(`user${index}`, `db${index % 37}`), NEVER);
    assert.deepEqual(secret, clear(`secret of user${index}`));
  });
  await Promise.all(asked);
  assert(database.openMax <= 8, `${database.openMax} connections`);
  for (const question of database.questions) {
    const [, index, number] = /^user(\d+)@db(\d+)$/.exec(question)!;
    assert.equal(Number(index) % 37, Number(number), "asked in the client's own database");
  }
  await query.close();
});

Deno.test("AuthQuery: closing lets questions be answered, and leaves no connection", async () => {
  const database = new Database(() => row("secret"));
  const query = database.query();
  const answered = Promise.withResolvers<void>();
  database.gate = answered.promise;
  const first = query.find(who("first"), NEVER);
  while (database.questions.length === 0) await Promise.resolve();
  const closed = query.close();
  const late = query.find(who("late"), NEVER);
  answered.resolve();
  assert.deepEqual(await first, clear("secret"));
  assert.deepEqual(await late, clear("secret"));
  await closed;
  for (let turn = 0; database.open > 0; turn++) {
    assert(turn < 1_000, "the connections are closed");
    await Promise.resolve();
  }
});
