// Promise: without a URL the doctor goes to the upstream as PGUSER and PGPASSWORD say, and checks
// its certificate as upstream_tls says; with one as the URL's sslmode says.

import assert from "node:assert/strict";
import { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import { makeCa, makeServer } from "../support/certificates.ts";
import { pgvpd } from "../support/process_pgvpd.ts";
import { TlsFiles } from "../support/wire_tls.ts";

const ROOT = await makeCa("root");
const FOREIGN = await makeCa("foreign root");
const SECRET = "geheim";
/** The certificate is for that name, and for no address. */
const NAMED = ["--upstream-host", "localhost"];

let files: TlsFiles;
let server: EmbeddedPostgres;
let authority: Record<"own" | "foreign", string>;
Deno.test.beforeAll(async () => {
  files = await TlsFiles.make();
  const { pem, keyPem } = await makeServer(ROOT, { dns: ["localhost"], ips: [] });
  authority = {
    own: await files.writeForServer("root.pem", ROOT.pem),
    foreign: await files.writeForServer("foreign.pem", FOREIGN.pem),
  };
  server = await EmbeddedPostgres.start({
    password: SECRET,
    settings: [
      "ssl = on",
      `ssl_cert_file = '${await files.writeForServer("server.pem", pem)}'`,
      `ssl_key_file = '${await files.writeForServer("server.key", keyPem)}'`,
    ],
    hba: ["hostnossl all all 127.0.0.1/32 reject"],
  });
});
Deno.test.afterAll(async () => {
  await server.stop();
  await files[Symbol.asyncDispose]();
});

function doctor(...args: string[]) {
  const host = args.includes("--upstream-host") ? [] : ["--upstream-host", "127.0.0.1"];
  const upstream = [...host, "--upstream-port", String(server.port)];
  return run([...upstream, ...args]);
}

function run(args: readonly string[]) {
  const env = { PGUSER: server.superuser, PGPASSWORD: SECRET, PGDATABASE: "postgres" };
  const all = ["doctor", "--role", server.superuser, "--fail-on", "never", ...args];
  return pgvpd(all, { env });
}

Deno.test("what upstream_tls accepts is examined", async () => {
  const own = ["--upstream-tls-ca", authority.own];
  for (
    const args of [
      ["--upstream-tls", "require"],
      ["--upstream-tls", "prefer"],
      ["--upstream-tls", "true", "--upstream-tls-verify", "false"],
      ["--upstream-tls", "verify-ca", ...own],
      [...NAMED, "--upstream-tls", "verify-full", ...own],
    ]
  ) {
    const { code, out, err } = await doctor(...args);
    assert.deepEqual([code, err], [0, ""], args.join(" "));
    assert.match(out, /R01 role_privileged/);
  }
});

Deno.test("what it does not accept is not", async () => {
  const foreign = ["--upstream-tls-ca", authority.foreign];
  const refused: [args: string[], reason: RegExp][] = [
    [["--upstream-tls", "disable"], /pg_hba\.conf rejects|no encryption/],
    [["--upstream-tls", "verify-ca", ...foreign], /issuer|verify|self/i],
    [[...NAMED, "--upstream-tls", "verify-full", ...foreign], /issuer|verify|self/i],
    [["--upstream-tls", "verify-full", "--upstream-tls-ca", authority.own], /not in|IP|valid for/i],
    [["--upstream-tls", "verify-full"], /issuer|verify|self/i],
  ];
  for (const [args, reason] of refused) await expectRefusal(doctor(...args), args, reason);
});

Deno.test("an address is not taken for a name, however the URL is written", async () => {
  const url = (
    mode: string,
  ) => ["--url", `postgres://127.0.0.1:${server.port}/postgres?sslmode=${mode}`];
  assert.equal((await run(url("require"))).code, 0);
  for (const mode of ["verify-full", "verify-ca"]) {
    await expectRefusal(run(url(mode)), [mode], /issuer|verify|self/i);
  }
  await expectRefusal(run(url("disable")), ["disable"], /rejects/);
});

async function expectRefusal(end: ReturnType<typeof pgvpd>, args: string[], reason: RegExp) {
  const { code, err } = await end;
  assert.equal(code, 2, args.join(" "));
  assert.match(err, reason, args.join(" "));
  assert.ok(!err.includes(SECRET));
}
