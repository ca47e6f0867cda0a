// Promise: where client certificates are required nobody gets in without a good one, or as another.

import assert from "node:assert/strict";
import type { ClientAuthorities } from "../../src/session/opening.ts";
import {
  EXPIRED,
  makeCa,
  makeCertificate,
  makeClient,
  makeServer,
  remake,
  type TestCertificate,
} from "../support/certificates.ts";
import { Bench, failure, type Front } from "../support/wire_bench.ts";
import { PgClient, psql, psqlMissing } from "../support/wire_clients.ts";
import { authorities, keyPair, offering, TlsFiles } from "../support/wire_tls.ts";

const ROOT = await makeCa("server root");
const SERVER = await makeServer(ROOT);
const CLIENTS = await makeCa("client root");
const MIDDLE = await makeCa("client middle", {}, CLIENTS);
const COUNT = "SELECT count(*)::int FROM tenants";
const URI = "spiffe://test/tenant/tenant_a";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

function front(identity: Partial<ClientAuthorities> = {}): Promise<Front> {
  const required = {
    ...authorities(CLIENTS),
    identity: "none" as const,
    identityPrefix: "",
    ...identity,
  };
  return bench.front({ clientTls: "require" }, offering(SERVER, required));
}

function connect(
  proxy: Front,
  chain: readonly TestCertificate[],
  user = "trusty.tenant_a",
): Promise<PgClient> {
  const identity = chain.length === 0 ? {} : {
    cert: keyPair(...chain).certificates,
    key: chain[0]!.keyPem,
  };
  const ssl = { ca: ROOT.pem, ...identity };
  return PgClient.connect({ host: "localhost", port: proxy.port, user, password: "postgres", ssl });
}

Deno.test("a client certificate from the CA, or from one below it, is enough", async () => {
  await using proxy = await front();
  const chains = [
    [await makeClient(CLIENTS, "anyone")],
    [await makeClient(CLIENTS, "anyone", { kind: "rsa" })],
    [await makeClient(MIDDLE, "anyone"), MIDDLE],
  ];
  for (const chain of chains) {
    await using client = await connect(proxy, chain);
    assert.equal(await client.value(COUNT), 2);
  }
});

Deno.test("any other is refused with 28000, the bypass user's too, before the server is asked", async () => {
  await using proxy = await front();
  const good = await makeClient(CLIENTS, "anyone");
  const cases: Record<string, readonly TestCertificate[]> = {
    none: [],
    foreign: [await makeClient(await makeCa("foreign"), "anyone")],
    "from the server's CA": [await makeClient(ROOT, "anyone")],
    expired: [await makeClient(CLIENTS, "anyone", EXPIRED)],
    "self-signed": [await makeCertificate({ subject: "anyone" })],
    "version 1": [remake(good, CLIENTS, (body) => body.slice(1, -1))],
    "without what leads to it": [await makeClient(MIDDLE, "anyone")],
    "for servers alone": [await makeClient(CLIENTS, "anyone", { usages: ["serverAuth"] })],
  };
  for (const [name, chain] of Object.entries(cases)) {
    for (const user of ["trusty.tenant_a", "postgres"]) {
      const error = await failure(connect(proxy, chain, user));
      assert.equal(error.code, "28000", `${name}: ${error.message}`);
      assert.match(error.message, /client certificate/, name);
    }
  }
  assert.equal(await bench.backends(), 0);
});

Deno.test("cert_identity: each certificate is its own tenant's alone", async () => {
  const one = await makeClient(CLIENTS, "tenant_a", { uris: [URI] });
  const twoNames = await makeClient(CLIENTS, "", {
    subject: [{ CN: ["tenant_a"] }, { CN: ["tenant_b"] }],
    uris: [],
  });
  const rules: Partial<ClientAuthorities>[] = [
    { identity: "cn" },
    { identity: "san-uri", identityPrefix: "spiffe://test/tenant/" },
  ];
  for (const rule of rules) {
    await using proxy = await front(rule);
    {
      await using client = await connect(proxy, [one]);
      assert.equal(await client.value(COUNT), 2);
    }
    const others = ["trusty.tenant_b", "trusty.TENANT_A", "trusty.tenant_", "postgres"];
    for (const user of others) {
      const error = await failure(connect(proxy, [one], user));
      assert.equal(error.code, "28000", user);
      assert.match(error.message, /the client certificate does not belong to/);
    }
    for (const user of ["trusty.tenant_a", "trusty.tenant_b"]) {
      assert.equal((await failure(connect(proxy, [twoNames], user))).code, "28000");
    }
  }
});

Deno.test({
  name: "psql with sslcert and sslkey, and without",
  ignore: psqlMissing(),
  async fn() {
    await using proxy = await front({ identity: "cn" });
    await using files = await TlsFiles.make();
    const own = await makeClient(CLIENTS, "tenant_a");
    const env = {
      PGSSLMODE: "verify-ca",
      PGSSLROOTCERT: await files.write("root.pem", ROOT.pem),
      PGSSLCERT: await files.write("client.pem", own.pem),
      PGSSLKEY: await files.write("client.key", own.keyPem),
    };
    const good = await psql(proxy.trusty("tenant_a"), ["-c", COUNT], env);
    assert.equal(good.out, "2", good.err);
    const other = await psql(proxy.trusty("tenant_b"), ["-c", COUNT], env);
    assert.match(other.err, /does not belong to "tenant_b"/);
    const { PGSSLCERT: _cert, PGSSLKEY: _key, ...without } = env;
    const none = await psql(proxy.trusty("tenant_a"), ["-c", COUNT], without);
    assert.match(none.err, /connection requires a valid client certificate/);
  },
});
