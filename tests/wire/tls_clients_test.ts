// Promise: every client in every mode gets what it asks for, or is told in words why not.

import assert from "node:assert/strict";
import { makeCa, makeServer } from "../support/certificates.ts";
import { Bench, DATABASE, failure, type Front } from "../support/wire_bench.ts";
import {
  connectPostgresJs,
  type Login,
  PgClient,
  psql,
  psqlMissing,
} from "../support/wire_clients.ts";
import { cancelKey, cancelRequest, RawClient, SSL_REQUEST } from "../support/wire_raw_client.ts";
import { offering, Tap, TlsFiles } from "../support/wire_tls.ts";

const ROOT = await makeCa("wire root");
const FOREIGN = await makeCa("foreign root");
const SERVER = await makeServer(ROOT, { dns: ["localhost"], ips: [] });
const ELSEWHERE = await makeServer(ROOT, { dns: ["other.test"], ips: [] });
const TLS = offering(SERVER);
const COUNT = "SELECT count(*)::int FROM tenants";
const WITHOUT_PSQL = psqlMissing();

let bench: Bench;
let files: TlsFiles;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  files = await TlsFiles.make();
});
Deno.test.afterAll(async () => {
  await files[Symbol.asyncDispose]();
  await bench.stop();
});

const MODES = [
  "disable",
  "allow",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
  "direct",
] as const;
type Mode = typeof MODES[number];

/** What the proxy is like; `foreign CA` is what the client trusts. */
const SERVERS = [
  "no certificate",
  "allow",
  "require",
  "tls_port",
  "foreign CA",
  "other host",
] as const;
type Server = typeof SERVERS[number];

async function front(server: Server): Promise<Front> {
  if (server === "no certificate") return await bench.front();
  if (server === "other host") return await bench.front({}, offering(ELSEWHERE));
  if (server === "require") return await bench.front({ clientTls: "require" }, TLS);
  if (server === "tls_port") return await bench.front({ tlsPort: 0 }, TLS);
  return await bench.front({}, TLS);
}

/** What a try comes to: how the client spoke, or how it was refused. */
type Attempt = (login: Login, mode: Mode, authority: string) => Promise<void>;

/** `clear`, `TLS`, `direct TLS`, or the client's own message. */
async function outcomeOf(attempt: Attempt, server: Server, mode: Mode): Promise<string> {
  await using proxy = await front(server);
  const port = server === "tls_port" ? proxy.proxy.tlsPort! : proxy.port;
  await using tap = new Tap(port);
  const authority = server === "foreign CA" ? FOREIGN.pem : ROOT.pem;
  const login = { host: "localhost", port: tap.port, user: "trusty.tenant_a" };
  try {
    await attempt(login, mode, authority);
    return tap.last;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A row of the table: what is expected of each of SERVERS, in their order. */
type Expected = Readonly<Partial<Record<Mode, readonly (string | RegExp)[]>>>;

async function check(attempt: Attempt, expected: Expected): Promise<void> {
  for (const [mode, row] of Object.entries(expected)) {
    assert.equal(row.length, SERVERS.length);
    for (const [index, server] of SERVERS.entries()) {
      const outcome = await outcomeOf(attempt, server, mode as Mode);
      const cell = row[index]!;
      const where = `${mode} against ${server}: ${outcome}`;
      if (typeof cell === "string") assert.equal(outcome, cell, where);
      else assert.match(outcome, cell, where);
    }
  }
}

const UNENCRYPTED = /not encrypted, and pgvpd requires TLS/;

function viaPsql(more: () => Record<string, string>): Attempt {
  return async (login, mode, authority) => {
    const { host: _host, ...where } = login;
    const isVerified = mode.startsWith("verify");
    const { code, out, err } = await psql(where, ["-c", COUNT], {
      PGHOST: "localhost",
      PGSSLMODE: mode === "direct" ? "require" : mode,
      PGSSLROOTCERT: isVerified ? await files.write("root.pem", authority) : "/nonexistent",
      ...(mode === "direct" ? { PGSSLNEGOTIATION: "direct" } : {}),
      ...more(),
    });
    if (code !== 0) throw new Error(err);
    assert.equal(out, "2");
  };
}

const NO_SSL = /server does not support SSL, but SSL was required/;
const LIBPQ: Expected = {
  "disable": ["clear", "clear", UNENCRYPTED, UNENCRYPTED, "clear", "clear"],
  "allow": ["clear", "clear", "TLS", "TLS", "clear", "clear"],
  "prefer": ["clear", "TLS", "TLS", "TLS", "TLS", "TLS"],
  "require": [NO_SSL, "TLS", "TLS", "TLS", "TLS", "TLS"],
  "verify-ca": [NO_SSL, "TLS", "TLS", "TLS", /certificate verify failed/, "TLS"],
  "verify-full": [
    ...[NO_SSL, "TLS", "TLS", "TLS", /certificate verify failed/],
    /certificate for "other.test" does not match host name "localhost"/,
  ],
};

Deno.test({
  name: "psql with the system's libpq, every mode against every setting",
  ignore: WITHOUT_PSQL,
  fn: () => check(viaPsql(() => ({})), LIBPQ),
});

/** Makes psql use the libpq that PostgreSQL 18 comes with. */
function libpq18(): Record<string, string> {
  return { LD_LIBRARY_PATH: `${bench.postgres.directory}/postgres/lib` };
}

Deno.test({
  name: "psql with libpq 18, every mode against every setting, direct TLS too",
  ignore: WITHOUT_PSQL || Deno.build.os !== "linux",
  async fn() {
    const direct = Array.from({ length: 5 }, () => "direct TLS");
    await check(viaPsql(libpq18), { ...LIBPQ, direct: [/SSL|server closed/, ...direct] });
  },
});

Deno.test({
  name: "a client of TLS 1.2 alone, and one of 1.3 alone",
  ignore: WITHOUT_PSQL,
  async fn() {
    await using proxy = await bench.front({}, TLS);
    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      const { code, out, err } = await psql(proxy.trusty("tenant_a"), ["-c", "\\conninfo"], {
        PGSSLMODE: "require",
        PGSSLMINPROTOCOLVERSION: version,
        PGSSLMAXPROTOCOLVERSION: version,
      });
      assert.equal(code, 0, err);
      assert.match(out, new RegExp(`protocol: ${version}`));
    }
  },
});

const viaPg: Attempt = async (login, mode, authority) => {
  const ssl = mode === "disable" ? false : {
    rejectUnauthorized: mode.startsWith("verify"),
    ca: authority,
    ...(mode === "verify-ca" ? { checkServerIdentity: () => undefined } : {}),
  };
  const sslnegotiation = mode === "direct" ? { sslnegotiation: "direct" as const } : {};
  await using client = await PgClient.connect({ ...login, ssl, ...sslnegotiation });
  assert.equal(await client.value(COUNT), 2);
};

const PG_NO_SSL = "The server does not support SSL connections";
const PG_UNVERIFIED = /certificate/;

Deno.test("npm:pg, every mode that it has against every setting", async () => {
  await check(viaPg, {
    "disable": ["clear", "clear", UNENCRYPTED, UNENCRYPTED, "clear", "clear"],
    "require": [PG_NO_SSL, "TLS", "TLS", "TLS", "TLS", "TLS"],
    "verify-ca": [PG_NO_SSL, "TLS", "TLS", "TLS", PG_UNVERIFIED, "TLS"],
    "verify-full": [PG_NO_SSL, "TLS", "TLS", "TLS", PG_UNVERIFIED, /altname|other\.test/i],
  });
});

const viaPostgresJs: Attempt = async (login, mode, authority) => {
  const verified = { ca: authority, rejectUnauthorized: true };
  const ssl = mode === "disable" ? false : mode.startsWith("verify") ? verified : mode;
  await using sql = connectPostgresJs({ ...login, ssl });
  assert.equal((await sql.unsafe(COUNT))[0]!["count"], 2);
};

Deno.test("postgres.js, every mode that it has against every setting", async () => {
  const refused = /./;
  await check(viaPostgresJs, {
    "disable": ["clear", "clear", UNENCRYPTED, UNENCRYPTED, "clear", "clear"],
    "prefer": ["clear", "TLS", "TLS", "TLS", "TLS", "TLS"],
    "require": [refused, "TLS", "TLS", "TLS", "TLS", "TLS"],
    "verify-full": [refused, "TLS", "TLS", "TLS", PG_UNVERIFIED, /altname|other\.test|cert/i],
  });
});

Deno.test("in the clear under require: 28000 and the way out, the bypass user too", async () => {
  await using proxy = await bench.front({ clientTls: "require" }, TLS);
  for (const login of [proxy.trusty("tenant_a"), proxy.bypass]) {
    const error = await failure(PgClient.connect(login));
    assert.equal(error.code, "28000");
    assert.match((error as { hint?: string }).hint!, /sslmode=require/);
    const ssl = { ca: ROOT.pem };
    await using client = await PgClient.connect({ ...login, host: "localhost", ssl });
    assert.equal(await client.value("SELECT 1"), 1);
  }
  assert.equal(await bench.backends(), 0, "who was refused did not reach the server");
});

const RAW = { caCerts: [ROOT.pem] };
const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };

Deno.test("direct TLS must name the protocol", async () => {
  await using proxy = await bench.front({}, TLS);
  for (const alpnProtocols of [["h2"], []]) {
    const options = { ...RAW, direct: true, alpnProtocols };
    const client = await RawClient.overTls(proxy.port, options).catch(() => null);
    if (client === null) continue; // refused in the handshake
    using _client = client;
    assert.equal(await client.ended(), true, "closed without a word");
  }
  using client = await RawClient.overTls(proxy.port, { ...RAW, direct: true });
  await client.login(TRUSTY);
  assert.deepEqual(await client.query(COUNT), [["2"]]);
});

Deno.test("SSLRequest needs no ALPN, and a second one within TLS is refused", async () => {
  await using proxy = await bench.front({}, TLS);
  using old = await RawClient.overTls(proxy.port, { ...RAW, alpnProtocols: [] });
  await old.login(TRUSTY);
  assert.deepEqual(await old.query(COUNT), [["2"]]);
  using twice = await RawClient.overTls(proxy.port, RAW);
  await twice.send(SSL_REQUEST);
  const error = await failure(twice.until("Z"));
  assert.equal(error.code, "0A000");
});

Deno.test("a cancel request through TLS, through direct TLS and in the clear", async () => {
  await using proxy = await bench.front({ clientTls: "require", tlsPort: 0 }, TLS);
  const cancels = [
    () => RawClient.overTls(proxy.port, RAW),
    () => RawClient.overTls(proxy.proxy.tlsPort!, { ...RAW, direct: true }),
    () => RawClient.connect(proxy.port), // as libpq before 17 does whatever the session uses
  ];
  for (const connect of cancels) {
    using busy = await RawClient.overTls(proxy.port, RAW);
    const key = cancelKey(await busy.login(TRUSTY));
    const sleeping = failure(busy.query("SELECT pg_sleep(60)"));
    await bench.running("pg_sleep");
    using canceller = await connect();
    await canceller.send(cancelRequest(key));
    assert.equal(await canceller.ended(), true);
    assert.equal((await sleeping).code, "57014");
  }
});

Deno.test({
  name: "psql's Ctrl-C cancels, with either libpq",
  ignore: WITHOUT_PSQL || Deno.build.os !== "linux",
  async fn() {
    await using proxy = await bench.front({}, TLS);
    for (const env of [{}, libpq18()]) {
      const sleeping = interruptible(proxy.port, env);
      await bench.running("pg_sleep");
      sleeping.kill("SIGINT");
      const { code, stderr } = await sleeping.output();
      assert.notEqual(code, 0);
      assert.match(new TextDecoder().decode(stderr), /canceling statement due to user request/);
    }
  },
});

function interruptible(port: number, env: Record<string, string>): Deno.ChildProcess {
  return new Deno.Command("psql", {
    args: ["-X", "-c", "SELECT pg_sleep(60)"],
    env: {
      ...{ PGHOST: "127.0.0.1", PGPORT: `${port}`, PGUSER: "trusty.tenant_a" },
      ...{ PGDATABASE: DATABASE, PGSSLMODE: "require", LC_ALL: "C", ...env },
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("500 connections over TLS, one after the other, and nothing is left", async () => {
  await using proxy = await bench.front({}, TLS);
  for (let turn = 0; turn < 500; turn++) {
    using client = await RawClient.overTls(proxy.port, { ...RAW, direct: turn % 2 === 0 });
    await client.login(TRUSTY);
    if (turn % 100 === 0) assert.deepEqual(await client.query("SELECT 1"), [["1"]]);
  }
  await proxy.empty();
  await bench.noBackends();
  assert.equal(proxy.entries("client disconnected").length, 500);
});

Deno.test("200 connections over TLS at once, each with its own tenant", async () => {
  await using proxy = await bench.front({}, TLS);
  const clients = await Promise.all(Array.from({ length: 200 }, async (_, n) => {
    const client = await RawClient.overTls(proxy.port, { ...RAW, direct: n % 2 === 0 });
    await client.login({ ...TRUSTY, user: `trusty.tenant_${n % 2 === 0 ? "a" : "b"}` });
    return client;
  }));
  const seen = await Promise.all(
    clients.map((client) => client.query("SELECT DISTINCT tenant_id FROM tenants")),
  );
  assert.deepEqual(seen, clients.map((_, n) => [[`tenant_${n % 2 === 0 ? "a" : "b"}`]]));
  for (const client of clients) client.close();
  await proxy.empty();
  await bench.noBackends();
});
