// Promise: authentication is the server's own, whatever the method, and a client that leaves in the
// middle of it frees everything at once (W9, W14, W25, W26).

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { APP_PASSWORD, Bench, DATABASE, eventually, failure } from "../support/wire_bench.ts";
import { connectPostgresJs, PgClient, psql, psqlMissing } from "../support/wire_clients.ts";
import {
  cancelKey,
  cstring,
  GSSENC_REQUEST,
  message,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  RawClient,
  type RawMessage,
  SSL_REQUEST,
  startup,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const COUNT = "SELECT count(*)::int FROM tenants";
const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };
/** Far less than `handshake_timeout`, which the fronts here leave at 30 s. */
const AT_ONCE_MS = 20_000;

const METHODS: Record<string, string> = {
  "scram-sha-256": "app_user",
  "md5 in pg_hba.conf with a SCRAM secret": "mixed_user",
  "cleartext password": "clear_user",
  trust: "trusty",
};

for (const [method, role] of Object.entries(METHODS)) {
  Deno.test(`${method}: pg and postgres.js log in`, async () => {
    await using front = await bench.front();
    const login = { port: front.port, user: `${role}.tenant_a`, password: APP_PASSWORD };
    await using client = await PgClient.connect(login);
    assert.equal(await client.value(COUNT), 2);
    await using sql = connectPostgresJs(login);
    assert.deepEqual([...await sql`SELECT count(*)::int AS n FROM tenants`], [{ n: 2 }]);
  });

  if (method === "trust") continue;
  Deno.test(`${method}: a wrong password is refused by the server itself`, async () => {
    await using front = await bench.front();
    const login = { port: front.port, user: `${role}.tenant_a`, password: "wrong" };
    const error = await failure(PgClient.connect(login));
    assert.equal(error.code, "28P01");
    assert.equal(error.message, `password authentication failed for user "${role}"`);
    await front.empty(AT_ONCE_MS);
    assert.equal(front.entries("upstream refused the login")[0]?.["sqlstate"], "28P01");
    await using client = await PgClient.connect({ ...login, password: APP_PASSWORD });
    assert.equal(await client.value(COUNT), 2);
  });
}

Deno.test("md5: relayed to the last byte; a user that is passed through logs in", async () => {
  await using front = await bench.front({ superuserBypass: ["md5_user"] });
  const login = { port: front.port, user: "md5_user", password: APP_PASSWORD };
  await using client = await PgClient.connect(login);
  assert.equal(await client.value(COUNT), 0);
  await using sql = connectPostgresJs(login);
  assert.deepEqual([...await sql`SELECT current_user AS u`], [{ u: "md5_user" }]);
  assert.equal((await failure(PgClient.connect({ ...login, password: "x" }))).code, "28P01");
});

// An MD5 secret is md5(password + user name), and the client hashes with the name it logs in with,
// tenant and all: no relay can make such a secret fit for a tenant. The role needs a SCRAM secret.
Deno.test("md5: a tenant's login does not fit a secret made for the role's name", async () => {
  await using front = await bench.front();
  const login = { port: front.port, user: "md5_user.tenant_a", password: APP_PASSWORD };
  assert.equal((await failure(PgClient.connect(login))).code, "28P01");
  await front.empty(AT_ONCE_MS);
  await bench.admin.run(
    `ALTER ROLE md5_user PASSWORD 'md5${md5Hex(`${APP_PASSWORD}md5_user.tenant_a`)}'`,
  );
  await using client = await PgClient.connect(login);
  assert.equal(await client.value(COUNT), 2, "the relay itself is sound");
});

Deno.test({
  name: "psql logs in with every method",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    for (const role of Object.values(METHODS)) {
      const login = { port: front.port, user: `${role}.tenant_a`, password: APP_PASSWORD };
      const { code, out, err } = await psql(login, ["-c", COUNT]);
      assert.deepEqual([code, out, err], [0, "2", ""], role);
    }
  },
});

Deno.test("an unknown role and an unknown database get the server's own error", async () => {
  await using front = await bench.front();
  const unknown = { ...front.app("tenant_a"), user: "nobody_knows.tenant_a" };
  assert.equal((await failure(PgClient.connect(unknown))).code, "28P01");
  const missing = { ...front.app("tenant_a"), database: "missing" };
  assert.equal((await failure(PgClient.connect(missing))).code, "3D000");
});

Deno.test("the greeting is the server's, message by message, with nothing of ours in it", async () => {
  await using front = await bench.front({ setRole: "authenticated" });
  using through = await RawClient.connect(front.port);
  using direct = await RawClient.connect(bench.postgres.port);
  const summary = (messages: RawMessage[]) =>
    messages.map(({ type, body }) => type === "K" ? `K${body.length}` : `${type}${body}`);
  assert.deepEqual(
    summary(await through.login(TRUSTY)),
    summary(await direct.login({ ...TRUSTY, user: "trusty" })),
  );
});

Deno.test("what a client says too early waits until its context is there", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  const query = message("Q", cstring(`SELECT current_setting('app.current_tenant_id')`));
  await client.send(startup(TRUSTY), query);
  await client.until("Z");
  const reply = await client.until("Z");
  assert.deepEqual(reply.map(({ type }) => type).join(""), "TDCZ");
  assert.match(new TextDecoder().decode(reply[1]!.body), /tenant_a$/);
});

// ---- Clients that leave

/** Steps up to a moment in a login with a password; what they leave unread varies on purpose. */
const MOMENTS: Record<string, (client: RawClient) => Promise<unknown>> = {
  "before any byte": () => Promise.resolve(),
  "after one byte": (client) => client.send(Uint8Array.of(0)),
  "in the startup packet": (client) => client.send(scramLogin().subarray(0, 20)),
  "after SSLRequest": (client) => client.send(SSL_REQUEST),
  "after SSLRequest was answered": async (client) => {
    await client.send(SSL_REQUEST);
    await client.nextByte();
  },
  "after the startup packet": (client) => client.send(scramLogin()),
  "at the authentication request": async (client) => {
    await client.send(scramLogin());
    await client.until("R");
  },
  "in the password message": async (client) => {
    await client.send(scramLogin());
    await client.until("R");
    await client.send(saslInitialResponse().subarray(0, 9));
  },
  "in the middle of SCRAM": async (client) => {
    await client.send(scramLogin());
    await client.until("R");
    await client.send(saslInitialResponse());
    await client.until("R");
  },
  "after a startup packet that needs no password": (client) => client.send(startup(TRUSTY)),
  "as soon as authentication is over": async (client) => {
    await client.send(startup(TRUSTY));
    await client.until("R");
  },
};

for (const [moment, approach] of Object.entries(MOMENTS)) {
  for (const manner of ["closes", "ends its stream"]) {
    Deno.test(`a client that ${manner} ${moment} frees both sides at once`, async () => {
      await using front = await bench.front();
      using client = await RawClient.connect(front.port);
      await eventually("the client is accepted", () => front.proxy.connectionsTotal === 1);
      await approach(client);
      if (manner === "closes") client.close();
      else await client.connection.closeWrite();
      await front.empty(AT_ONCE_MS);
      await bench.noBackends(AT_ONCE_MS);
      await using works = await PgClient.connect(front.app("tenant_a"));
      assert.equal(await works.value(COUNT), 2);
    });
  }
}

Deno.test("a client at the password prompt really holds a backend, until it leaves", async () => {
  await using front = await bench.front();
  for (const user of ["app_user.tenant_a", "md5_user.tenant_a", "clear_user.tenant_a"]) {
    const client = await RawClient.connect(front.port);
    await client.send(startup({ user, database: DATABASE }));
    await client.until("R");
    await eventually("a backend waits", async () => await bench.backends() === 1);
    assert.equal(front.proxy.connectionsActive, 1);
    client.close();
    await front.empty(AT_ONCE_MS);
    await bench.noBackends(AT_ONCE_MS);
  }
});

Deno.test({
  name: "psql that leaves at the password prompt frees both sides at once",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    const result = await psql(front.app("tenant_a"), ["-w", "-c", "SELECT 1"], {
      PGPASSWORD: "",
      PGPASSFILE: "/nonexistent",
    });
    assert.equal(result.code, 2);
    assert.match(result.err, /no password supplied/);
    await front.empty(AT_ONCE_MS);
    await bench.noBackends(AT_ONCE_MS);
  },
});

Deno.test("the handshake timer names the phase that was slow", async () => {
  await using front = await bench.front({ handshakeTimeout: 1_000 });
  const slow: Record<string, RegExp> = {
    "before any byte": /while waiting for the client's startup packet$/,
    "in the startup packet": /while waiting for the client's startup packet$/,
    "at the authentication request": /while waiting for the client to answer the authentication/,
    "in the middle of SCRAM": /while waiting for the client to answer the authentication/,
  };
  for (const [moment, text] of Object.entries(slow)) {
    using client = await RawClient.connect(front.port);
    await MOMENTS[moment]!(client);
    const error = await failure(client.until("Z"));
    assert.equal(error.code, "08006", moment);
    assert.match(error.message, text);
    assert.match(error.message, /timed out after 1 s/);
    assert.ok(await client.ended());
  }
  await front.empty();
  await bench.noBackends(AT_ONCE_MS);
});

// ---- Protocol versions and encryption requests

Deno.test("protocol 3.2: the long cancel key is the server's", async () => {
  await using front = await bench.front();
  using old = await RawClient.connect(front.port);
  assert.equal(cancelKey(await old.login(TRUSTY, PROTOCOL_3_0)).secret.length, 4);
  using recent = await RawClient.connect(front.port);
  const messages = await recent.login(TRUSTY, PROTOCOL_3_2);
  assert.equal(messages.some(({ type }) => type === "v"), false);
  assert.equal(cancelKey(messages).secret.length, 32);
  assert.deepEqual(await recent.query(COUNT), [["2"]]);
});

Deno.test("protocol 3.99 and unknown options are negotiated by the server itself", async () => {
  await using front = await bench.front();
  const wishes = [
    { version: PROTOCOL_3_0 + 99, options: {} },
    { version: PROTOCOL_3_2, options: { "_pq_.x": "1", "_pq_.y": "2" } },
    { version: PROTOCOL_3_0 + 99, options: { "_pq_.x": "1" } },
  ];
  for (const { version, options } of wishes) {
    using through = await RawClient.connect(front.port);
    using direct = await RawClient.connect(bench.postgres.port);
    const said = await through.login({ ...TRUSTY, ...options }, version);
    const expected = await direct.login({ ...TRUSTY, user: "trusty", ...options }, version);
    const negotiation = (messages: RawMessage[]) => messages.find(({ type }) => type === "v");
    assert.notEqual(negotiation(expected), undefined);
    assert.deepEqual(negotiation(said), negotiation(expected));
    assert.deepEqual(await through.query(COUNT), [["2"]]);
  }
});

Deno.test("protocol 2.0 and others are refused in words", async () => {
  await using front = await bench.front();
  for (const [version, name] of [[2 << 16, "2.0"], [1 << 16, "1.0"], [4 << 16, "4.0"]] as const) {
    using client = await RawClient.connect(front.port);
    const error = await client.refused(TRUSTY, version);
    assert.equal(error.code, "0A000");
    assert.ok(error.message.includes(`unsupported frontend protocol ${name}`), error.message);
  }
});

for (
  const [name, requests] of Object.entries({
    SSLRequest: [SSL_REQUEST],
    GSSENCRequest: [GSSENC_REQUEST],
    "GSSENCRequest, then SSLRequest": [GSSENC_REQUEST, SSL_REQUEST],
    "SSLRequest, then GSSENCRequest": [SSL_REQUEST, GSSENC_REQUEST],
  })
) {
  Deno.test(`${name}: answered N, and the login goes on`, async () => {
    await using front = await bench.front();
    using client = await RawClient.connect(front.port);
    for (const request of requests) {
      await client.send(request);
      assert.equal(await client.nextByte(), "N");
    }
    await client.login(TRUSTY);
    assert.deepEqual(await client.query(COUNT), [["2"]]);
  });
}

Deno.test("bytes behind an SSLRequest are refused, as are requests without end", async () => {
  await using front = await bench.front();
  using hasty = await RawClient.connect(front.port);
  await hasty.send(SSL_REQUEST, startup(TRUSTY));
  assert.equal((await failure(hasty.until("Z"))).code, "08P01");
  using insistent = await RawClient.connect(front.port);
  await insistent.send(SSL_REQUEST);
  assert.equal(await insistent.nextByte(), "N");
  await insistent.send(SSL_REQUEST);
  assert.equal((await failure(insistent.until("Z"))).code, "0A000");
});

Deno.test("a second StartupMessage is refused, with the first one or later", async () => {
  await using front = await bench.front();
  using hasty = await RawClient.connect(front.port);
  await hasty.send(startup(TRUSTY), startup({ ...TRUSTY, user: "trusty.tenant_b" }));
  assert.equal((await failure(hasty.until("Z"))).code, "08P01");
  using late = await RawClient.connect(front.port);
  await late.login(TRUSTY);
  await late.send(startup({ ...TRUSTY, user: "trusty.tenant_b" }));
  const error = await failure(late.until("Z"));
  assert.equal(error.code, "08P01", error.message);
  assert.ok(await late.ended());
});

Deno.test("a client that requires encryption leaves, and frees its place", async () => {
  await using front = await bench.front();
  const login = front.app("tenant_a");
  const error = await failure(PgClient.connect({ ...login, ssl: true } as typeof login));
  assert.match(error.message, /does not support SSL/);
  await using sql = connectPostgresJs({ ...login, ssl: "require" } as typeof login);
  await failure(sql`SELECT 1`);
  await front.empty(AT_ONCE_MS);
});

Deno.test({
  name: "psql: sslmode and gssencmode",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    const required = await psql(front.app("tenant_a"), ["-c", COUNT], { PGSSLMODE: "require" });
    assert.equal(required.code, 2);
    assert.match(required.err, /server does not support SSL/);
    const preferred = await psql(front.app("tenant_a"), ["-c", COUNT], {
      PGSSLMODE: "prefer",
      PGGSSENCMODE: "prefer",
    });
    assert.deepEqual([preferred.code, preferred.out], [0, "2"], preferred.err);
  },
});

function scramLogin(): Uint8Array {
  return startup({ user: "app_user.tenant_a", database: DATABASE });
}

function saslInitialResponse(): Uint8Array {
  const response = new TextEncoder().encode("n,,n=,r=0123456789abcdefghijklmn");
  const size = new Uint8Array([0, 0, 0, response.length]);
  return message("p", cstring("SCRAM-SHA-256"), size, response);
}

function md5Hex(text: string): string {
  return createHash("md5").update(text).digest("hex");
}
