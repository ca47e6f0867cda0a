// Promise: a server behind TLS is reached as upstream_tls says, or refused with the reason.

import assert from "node:assert/strict";
import type { UpstreamTls, UpstreamTlsMode } from "../../src/pool/connect.ts";
import {
  EXPIRED,
  makeCa,
  makeCertificate,
  makeClient,
  makeServer,
  type TestCertificate,
} from "../support/certificates.ts";
import { PgvpdProcess } from "../support/process_pgvpd.ts";
import { Bench, DATABASE, failure, type Front } from "../support/wire_bench.ts";
import { PgClient, psql, psqlMissing } from "../support/wire_clients.ts";
import { cancelKey, cancelRequest, RawClient } from "../support/wire_raw_client.ts";
import { authorities, CLEAR_UPSTREAM, keyPair, offering, TlsFiles } from "../support/wire_tls.ts";

const ROOT = await makeCa("upstream root");
const FOREIGN = await makeCa("foreign root");
const MIDDLE = await makeCa("upstream middle", {}, ROOT);
const ITSELF = await makeCertificate({ subject: "localhost", dns: ["localhost"], ca: true });
const ITSELF_NO_CA = await makeCertificate({ subject: "localhost", dns: ["localhost"] });
const BELOW = await makeServer(MIDDLE);
const COUNT = "SELECT count(*)::int FROM tenants";
const TLS_IN_USE = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/** The certificates that PostgreSQL has in turn. */
const CHAINS = {
  "own CA": [await makeServer(ROOT)],
  "foreign CA": [await makeServer(FOREIGN)],
  "CA between": [BELOW, MIDDLE],
  "RSA": [await makeServer(ROOT, { kind: "rsa" })],
  "other host": [await makeServer(ROOT, { dns: ["other.test"], ips: [] })],
  "expired": [await makeServer(ROOT, EXPIRED)],
  "itself": [ITSELF],
  "itself, no CA": [ITSELF_NO_CA],
} satisfies Record<string, readonly TestCertificate[]>;

let bench: Bench;
let files: TlsFiles;
Deno.test.beforeAll(async () => {
  files = await TlsFiles.make();
  await install(CHAINS["own CA"]);
  const clientRoot = await files.writeForServer("client-root.pem", ROOT.pem);
  bench = await Bench.start({
    settings: [
      "ssl = on",
      `ssl_cert_file = '${files.path}/server.pem'`,
      `ssl_key_file = '${files.path}/server.key'`,
      `ssl_ca_file = '${clientRoot}'`,
    ],
    hba: [
      'hostssl all "MixedCase" 127.0.0.1/32 cert map=proxy',
      "hostnossl all app_user,trusty,md5_user 127.0.0.1/32 reject",
    ],
  });
  await Deno.writeTextFile(
    `${bench.postgres.directory}/data/pg_ident.conf`,
    "proxy pgvpd MixedCase\n",
  );
});
Deno.test.afterAll(async () => {
  await bench.stop();
  await files[Symbol.asyncDispose]();
});

async function install(chain: readonly TestCertificate[]): Promise<void> {
  await files.writeForServer("server.pem", ...chain.map(({ pem }) => pem));
  await files.writeForServer("server.key", chain[0]!.keyPem);
}

/** PostgreSQL with this certificate, or with `ssl = off` for null. */
async function restart(chain: readonly TestCertificate[] | null): Promise<void> {
  if (chain !== null) await install(chain);
  await bench.admin.run(`ALTER SYSTEM SET ssl = ${chain === null ? "off" : "on"}`);
  await bench.postgres.halt();
  await bench.postgres.boot();
  await bench.reconnectAdmin();
}

type Upstream = Partial<UpstreamTls> & { readonly mode: UpstreamTlsMode };

function front(upstream: Upstream, host = "localhost"): Promise<Front> {
  const tls = { users: null, client: null, upstream: { ...CLEAR_UPSTREAM, ...upstream } };
  return bench.front({ upstreamHost: host }, tls);
}

/** `TLS`, `clear`, or the refusal. */
async function outcomeOf(upstream: Upstream, user = "trusty.tenant_a"): Promise<string> {
  await using proxy = await front(upstream);
  try {
    await using client = await PgClient.connect({ port: proxy.port, user });
    assert.equal(await client.value(COUNT), user.endsWith("_a") ? 2 : 0);
    return await client.value(TLS_IN_USE) ? "TLS" : "clear";
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code}: ${message}`;
  }
}

const MODES: readonly UpstreamTlsMode[] = [
  ...["disable", "prefer", "require", "verify-ca", "verify-full"] as const,
];
const CLEAR_REFUSED = /^28000: pg_hba.conf rejects connection .* no encryption/;
const NOT_ACCEPTED = /^08001: the certificate of the upstream server at localhost:\d+ is not acc/;
const NO_TLS = /^08001: no TLS with the upstream server at localhost:\d+: it does not support TLS$/;
const OTHER_HOST = /not accepted: the certificate is for other\.test, not for localhost/;

Deno.test("hostssl only: every certificate against every mode", async () => {
  const table: readonly [keyof typeof CHAINS, TestCertificate[], (string | RegExp)[]][] = [
    ["own CA", [ROOT], [CLEAR_REFUSED, "TLS", "TLS", "TLS", "TLS"]],
    ["own CA", [FOREIGN, ROOT], [CLEAR_REFUSED, "TLS", "TLS", "TLS", "TLS"]],
    ["own CA", [FOREIGN], [CLEAR_REFUSED, "TLS", "TLS", NOT_ACCEPTED, NOT_ACCEPTED]],
    ["own CA", [], [CLEAR_REFUSED, "TLS", "TLS", NOT_ACCEPTED, NOT_ACCEPTED]],
    ["CA between", [ROOT], [CLEAR_REFUSED, "TLS", "TLS", "TLS", "TLS"]],
    ["RSA", [ROOT], [CLEAR_REFUSED, "TLS", "TLS", "TLS", "TLS"]],
    ["other host", [ROOT], [CLEAR_REFUSED, "TLS", "TLS", "TLS", OTHER_HOST]],
    ["expired", [ROOT], [CLEAR_REFUSED, "TLS", "TLS", NOT_ACCEPTED, NOT_ACCEPTED]],
    ["itself", [ITSELF], [CLEAR_REFUSED, "TLS", "TLS", "TLS", "TLS"]],
    ["itself", [ROOT], [CLEAR_REFUSED, "TLS", "TLS", NOT_ACCEPTED, NOT_ACCEPTED]],
    ["itself, no CA", [ITSELF_NO_CA], [CLEAR_REFUSED, "TLS", "TLS", "TLS", "TLS"]],
  ];
  let installed: string | null = null;
  for (const [name, roots, row] of table) {
    if (installed !== name) await restart(CHAINS[name]);
    installed = name;
    for (const [index, mode] of MODES.entries()) {
      const trusted = roots.length === 0 ? null : authorities(...roots);
      await expectOutcome(await outcomeOf({ mode, authorities: trusted }), row[index]!, name, mode);
    }
  }
});

async function expectOutcome(
  outcome: string,
  expected: string | RegExp,
  ...where: string[]
): Promise<void> {
  const text = `${where.join(", ")}: ${outcome}`;
  if (typeof expected === "string") assert.equal(outcome, expected, text);
  else assert.match(outcome, expected, text);
  await bench.noBackends();
}

Deno.test("direct TLS to a server that knows it, and a refusal by one without TLS", async () => {
  await restart(CHAINS["own CA"]);
  for (const mode of ["require", "verify-full"] as const) {
    const upstream = { mode, direct: true, authorities: authorities(ROOT) };
    assert.equal(await outcomeOf(upstream), "TLS");
  }
  await restart(null);
  const direct = await outcomeOf({ mode: "require", direct: true });
  assert.match(direct, /^08001: TLS with the upstream server at localhost:\d+ failed/);
});

Deno.test("no TLS on the server: disable and prefer go on, the rest says so", async () => {
  await restart(null);
  for (const mode of MODES) {
    const outcome = await outcomeOf({ mode }, "stored_user.tenant_c");
    await expectOutcome(outcome, mode === "disable" || mode === "prefer" ? "clear" : NO_TLS, mode);
  }
});

Deno.test("with upstream_tls_ca no other authority counts, though the runtime trusts it", async () => {
  await restart(CHAINS["foreign CA"]);
  const trusted = await files.write("runtime.pem", FOREIGN.pem);
  const own = await files.write("own.pem", ROOT.pem);
  for (const args of [[], ["--upstream-tls-ca", own]]) {
    await using process = await PgvpdProcess.serve([
      ...["--no-config", "--port", "0", "--upstream-port", `${bench.postgres.port}`],
      ...["--upstream-host", "localhost", "--upstream-tls", "verify-full", ...args],
    ], { env: { DENO_CERT: trusted } });
    const connecting = PgClient.connect({ port: process.port, user: "trusty.tenant_a" });
    if (args.length > 0) {
      assert.match((await failure(connecting)).message, /not accepted: .* is not trusted/);
    } else {
      await using client = await connecting;
      assert.equal(await client.value(TLS_IN_USE), true);
    }
  }
});

Deno.test("our certificate towards a server that requires one", async () => {
  await restart(CHAINS["own CA"]);
  const upstream = { mode: "verify-full", authorities: authorities(ROOT) } as const;
  const own = keyPair(await makeClient(ROOT, "pgvpd"));
  assert.equal(await outcomeOf({ ...upstream, identity: own }, "MixedCase.tenant_a"), "TLS");
  assert.match(await outcomeOf(upstream, "MixedCase.tenant_a"), /^28000: .*client certificate/);
  const foreign = keyPair(await makeClient(FOREIGN, "pgvpd"));
  assert.match(
    await outcomeOf({ ...upstream, identity: foreign }, "MixedCase.tenant_a"),
    /^08\w+: /,
  );
});

const BINDING = /SCRAM with channel binding cannot be relayed/;

Deno.test("SCRAM over TLS on both legs: clients that bind are told the way out", async () => {
  await restart(CHAINS["own CA"]);
  const server = await makeServer(ROOT);
  const tls = offering(server, null, {
    ...CLEAR_UPSTREAM,
    mode: "verify-full",
    authorities: authorities(ROOT),
  });
  await using proxy = await bench.front({ upstreamHost: "localhost" }, tls);
  const ssl = { ca: ROOT.pem };
  const logins = [proxy.app("tenant_a"), proxy.bypass];
  for (const login of logins) {
    await using client = await PgClient.connect({ ...login, host: "localhost", ssl });
    assert.equal(await client.value(TLS_IN_USE), true, "npm:pg does not bind unless told");
    await using clear = await PgClient.connect(login);
    assert.equal(await clear.value(TLS_IN_USE), true, "in the clear nobody binds");
  }
  if (psqlMissing()) return;
  for (const login of logins) {
    const over = { PGSSLMODE: "require" };
    const refused = await psql(login, ["-c", "SELECT 1"], over);
    assert.match(refused.err, BINDING);
    assert.match(refused.err, /HINT: .*channel_binding=disable/);
    const out = await psql(login, ["-c", "SELECT 1"], { ...over, PGCHANNELBINDING: "disable" });
    assert.equal(out.out, "1", out.err);
    const clear = await psql(login, ["-c", "SELECT 1"], { PGSSLMODE: "disable" });
    assert.equal(clear.out, "1", clear.err);
  }
});

Deno.test("a cancel request reaches a server behind TLS, and abandoned queries are cancelled", async () => {
  await restart(CHAINS["own CA"]);
  await using proxy = await front({ mode: "verify-full", authorities: authorities(ROOT) });
  using raw = await RawClient.connect(proxy.port);
  const key = cancelKey(await raw.login({ user: "trusty.tenant_a", database: DATABASE }));
  const sleeping = failure(raw.query("SELECT pg_sleep(60)"));
  await bench.running("pg_sleep(60)");
  using canceller = await RawClient.connect(proxy.port);
  await canceller.send(cancelRequest(key));
  assert.equal((await sleeping).code, "57014");
  raw.close();
  await using client = await PgClient.connect({ port: proxy.port, user: "trusty.tenant_a" });
  const abandoned = failure(client.run("SELECT pg_sleep(61)"));
  await bench.running("pg_sleep(61)");
  Reflect.get(Reflect.get(client.bare, "connection"), "stream").destroy();
  await abandoned;
  await bench.noBackends();
});
