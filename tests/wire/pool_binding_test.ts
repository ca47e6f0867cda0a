// Promise: over TLS a client of a pool can insist that nobody stands between it and pgvpd, and who
// stands there cannot talk it out of that; in the clear no password crosses a network.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type FileContents, WITHOUT_TLS } from "../../src/server.ts";
import { makeCa, makeServer } from "../support/certificates.ts";
import { Bench, failure, type Front } from "../support/wire_bench.ts";
import { psqlMissing } from "../support/wire_clients.ts";
import {
  LIBPQS,
  loginAs,
  POOL_PASSWORD,
  POOLED,
  psqlWith,
  saslData,
  saslInitialResponse,
  scram,
  servedBy,
  WHO,
} from "../support/wire_logins.ts";
import { errorFields, RawClient, type RawError, startup } from "../support/wire_raw_client.ts";

let bench: Bench;
let ca: string;
let endPoint: Uint8Array;
let files: FileContents;

Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  const authority = await makeCa("the authority of this test");
  const server = await makeServer(authority);
  ca = authority.pem;
  endPoint = createHash("sha256").update(server.der).digest();
  files = {
    ...WITHOUT_TLS,
    client: {
      identity: { certificates: server.pem, key: server.keyPem },
      endPoint,
      clientAuthorities: null,
    },
  };
});
Deno.test.afterAll(() => bench.stop());

const PLUS = "SCRAM-SHA-256-PLUS";
const HEADER = "p=tls-server-end-point,,";

function tlsFront(): Promise<Front> {
  return bench.front({ ...POOLED, clientTls: "allow" }, files);
}

async function askedOverTls(front: Front): Promise<{ raw: RawClient; offer: string }> {
  const raw = await RawClient.overTls(front.port, { caCerts: [ca] });
  await raw.send(startup(WHO));
  return { raw, offer: await saslData(raw, 10) };
}

for (const libpq of LIBPQS) {
  Deno.test(`psql with ${libpq}: channel_binding=require over TLS, not in the clear`, async () => {
    if (psqlMissing()) return;
    await using front = await tlsFront();
    const login = loginAs(front, POOL_PASSWORD);
    const args = ["-c", "SELECT pg_backend_pid()"];
    const bound = { PGSSLMODE: "require", PGCHANNELBINDING: "require" };
    const served = await psqlWith(libpq, bench, login, args, bound);
    assert.equal(served.err, "");
    for (const PGCHANNELBINDING of ["disable", "prefer"]) {
      const env = { PGSSLMODE: "require", PGCHANNELBINDING };
      const same = await psqlWith(libpq, bench, login, args, env);
      assert.equal(same.out, served.out, "the same backend");
    }
    const clear = await psqlWith(libpq, bench, login, args, { ...bound, PGSSLMODE: "disable" });
    assert.match(clear.err, /channel binding/);
    const wrong = await psqlWith(libpq, bench, loginAs(front, "wrong"), args, bound);
    assert.match(wrong.err, /password authentication failed for user "app_user\.tenant_a"/);
  });
}

Deno.test("both mechanisms are offered over TLS, the better one first, and each works", async () => {
  await using front = await tlsFront();
  for (const options of [{ mechanism: PLUS, header: HEADER, binding: endPoint }, {}]) {
    const { raw, offer } = await askedOverTls(front);
    using _ = raw;
    assert.equal(offer, `${PLUS}\0SCRAM-SHA-256\0\0`);
    assert.equal((await scram(raw, { password: POOL_PASSWORD, ...options })).type, "R");
    await raw.until("Z");
    assert.deepEqual(await raw.query("SELECT count(*) FROM tenants"), [["2"]]);
  }
});

/** What somebody in the middle could try; the password is right each time. */
const TRICKS: Record<string, { mechanism?: string; header?: string; binding?: () => Uint8Array }> =
  {
    "the binding of another certificate": {
      mechanism: PLUS,
      header: HEADER,
      binding: () => endPoint.map((byte) => byte ^ 1),
    },
    "no binding": { mechanism: PLUS, header: HEADER },
    "a binding that is cut": {
      mechanism: PLUS,
      header: HEADER,
      binding: () => endPoint.subarray(1),
    },
    "y: the client thinks that PLUS was not offered": { header: "y,," },
    "binding data without PLUS": { header: HEADER, binding: () => endPoint },
    "PLUS without binding data": { mechanism: PLUS },
    "PLUS, and y": { mechanism: PLUS, header: "y,," },
    "another kind of binding": {
      mechanism: PLUS,
      header: "p=tls-unique,,",
      binding: () => endPoint,
    },
  };

for (const [trick, { binding, ...options }] of Object.entries(TRICKS)) {
  Deno.test(`refused over TLS: ${trick}`, async () => {
    await using front = await tlsFront();
    const before = await servedBy(loginAs(front, POOL_PASSWORD));
    const { raw } = await askedOverTls(front);
    using _ = raw;
    const answer = await scram(raw, {
      password: POOL_PASSWORD,
      ...options,
      ...(binding === undefined ? {} : { binding: binding() }),
    }).catch((error) => error as RawError);
    const fields = "fields" in answer ? answer.fields : errorFields(answer.body);
    assert.match(fields["C"]!, /^(08P01|28000)$/);
    assert.equal(await raw.next(), null, "nothing comes behind the refusal");
    assert.equal(await servedBy(loginAs(front, POOL_PASSWORD)), before);
  });
}

Deno.test("y is no downgrade in the clear, where PLUS was not offered", async () => {
  await using front = await tlsFront();
  using raw = await RawClient.connect(front.port);
  await raw.send(startup(WHO));
  assert.equal(await saslData(raw, 10), "SCRAM-SHA-256\0\0");
  assert.equal((await scram(raw, { password: POOL_PASSWORD, header: "y,," })).type, "R");
});

Deno.test("a proof without its channel binding attribute is refused", async () => {
  await using front = await tlsFront();
  const { raw } = await askedOverTls(front);
  using _ = raw;
  const answer = await scram(raw, {
    password: POOL_PASSWORD,
    mechanism: PLUS,
    header: HEADER,
    binding: endPoint,
    tamper: (final) => final.replace(/^c=[^,]*,/, ""),
  });
  assert.equal(errorFields(answer.body)["C"], "08P01");
});

Deno.test("mechanism names are compared as they are", async () => {
  await using front = await tlsFront();
  for (const mechanism of ["scram-sha-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS ", "PLAIN", ""]) {
    const { raw } = await askedOverTls(front);
    using _ = raw;
    await raw.send(saslInitialResponse(mechanism, "n,,n=,r=abc"));
    const error = await failure(raw.until("R")) as RawError;
    assert.equal(error.fields["C"], "08P01", mechanism);
  }
});

Deno.test("a cleartext password crosses TLS, and loopback", async () => {
  await using front = await bench.front(
    { ...POOLED, poolAuth: "cleartext", clientTls: "allow" },
    files,
  );
  await servedBy(loginAs(front, POOL_PASSWORD));
  if (psqlMissing()) return;
  const args = ["-c", "SELECT 1"];
  const env = { PGSSLMODE: "require", PGCHANNELBINDING: "disable" };
  const login = loginAs(front, POOL_PASSWORD);
  assert.equal((await psqlWith("libpq 18", bench, login, args, env)).out, "1");
});
