// Promise: certificates are taken when they change, nobody is lost, and bad ones change nothing.

import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { EXPIRED, makeCa, makeServer, type TestCertificate } from "../support/certificates.ts";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { Bench, DATABASE, failure } from "../support/wire_bench.ts";
import { RawClient } from "../support/wire_raw_client.ts";

const ROOT = await makeCa("first root");
const OTHER = await makeCa("second root");
const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };
const IN_USE = "certificate in use";
const KEPT = "certificates cannot be used: the old ones stay";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

async function write(
  directory: TestDirectory,
  { pem, keyPem }: { pem: string; keyPem: string },
): Promise<string[]> {
  return [
    ...["--tls-cert", await directory.write("tls.pem", pem)],
    ...["--tls-key", await directory.write("tls.key", keyPem)],
  ];
}

function serve(args: readonly string[]): Promise<PgvpdProcess> {
  const upstream = ["--no-config", "--port", "0", "--upstream-port", `${bench.postgres.port}`];
  return PgvpdProcess.serve([...upstream, ...args]);
}

async function loggedIn({ port }: PgvpdProcess, root: TestCertificate): Promise<RawClient> {
  const client = await RawClient.overTls(port, { caCerts: [root.pem] });
  await client.login(TRUSTY);
  return client;
}

async function answers(client: RawClient): Promise<void> {
  assert.deepEqual(await client.query("SELECT 1"), [["1"]]);
}

/** That the certificate in use is from this root, and not from the other. */
async function inUse(process: PgvpdProcess, root: TestCertificate): Promise<void> {
  using client = await loggedIn(process, root);
  await answers(client);
  const other = root === ROOT ? OTHER : ROOT;
  assert.match((await failure(loggedIn(process, other))).message, /UnknownIssuer|BadSignature/);
}

Deno.test("new certificates by SIGHUP and by a change of the files; open connections live", async () => {
  await using directory = await TestDirectory.make();
  await using process = await serve(await write(directory, await makeServer(ROOT)));
  assert.match(String((await process.logged(IN_USE))["subject"]), /CN=localhost/);
  using first = await loggedIn(process, ROOT);
  await inUse(process, ROOT);

  await write(directory, await makeServer(OTHER, { kind: "rsa" }));
  process.kill("SIGHUP");
  await process.logged(IN_USE, 2);
  using second = await loggedIn(process, OTHER);
  await inUse(process, OTHER);

  await write(directory, await makeServer(ROOT)); // and nobody says so
  await process.logged(IN_USE, 3);
  await inUse(process, ROOT);
  for (const client of [first, second]) await answers(client);
});

Deno.test("a client that does not trust the certificate is in the log, with what it said", async () => {
  await using directory = await TestDirectory.make();
  await using process = await serve(await write(directory, await makeServer(ROOT)));
  await failure(loggedIn(process, OTHER));
  const { level, error } = await process.logged("TLS handshake with the client failed");
  assert.match(String(level), /warn/i);
  assert.match(String(error), /alert|certificate|CA/i);
  await inUse(process, ROOT);
});

/** The same key, encrypted. */
function encrypted(one: TestCertificate): string {
  return createPrivateKey(one.keyPem)
    .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "secret" })
    .toString();
}

/** What cannot be used, and the words for it. */
async function faults(): Promise<[{ pem: string; keyPem: string }, RegExp][]> {
  const one = await makeServer(ROOT);
  const other = await makeServer(ROOT);
  return [
    [{ pem: one.pem, keyPem: other.keyPem }, /tls\.key is not the key of .*tls\.pem/],
    [await makeServer(ROOT, EXPIRED), /tls\.pem: CN=localhost expired at/],
    [{ pem: one.pem, keyPem: encrypted(one) }, /tls\.key: the private key is encrypted/],
  ];
}

Deno.test("bad certificates at a reload: the old one stays, loudly, until there is a good one", async () => {
  await using directory = await TestDirectory.make();
  await using process = await serve(await write(directory, await makeServer(ROOT)));
  for (const [fault, sentence] of await faults()) {
    await write(directory, fault);
    const before = process.entries(KEPT).length;
    process.kill("SIGHUP");
    await process.logged(KEPT, before + 1);
    const { level, error } = process.entries(KEPT).at(-1)!;
    assert.equal(level, "ERROR");
    assert.match(String(error), sentence);
    using client = await loggedIn(process, ROOT);
    await answers(client);
  }
  await write(directory, await makeServer(OTHER));
  process.kill("SIGHUP");
  await process.logged(IN_USE, 2);
  await inUse(process, OTHER);
});

Deno.test("bad certificates at the start: an error in words, and exit code 1", async () => {
  await using directory = await TestDirectory.make();
  for (const [fault, sentence] of await faults()) {
    const end = await pgvpd(["--no-config", "--port", "0", ...await write(directory, fault)]);
    assert.equal(end.code, 1, end.out);
    assert.match(end.err, sentence);
    assert.doesNotMatch(end.err, /at .*\.ts:/, "no stack");
  }
});

Deno.test("a certificate that ends soon is warned of", async () => {
  await using directory = await TestDirectory.make();
  const notAfter = new Date(Date.now() + 3.5 * 86_400_000);
  await using process = await serve(await write(directory, await makeServer(ROOT, { notAfter })));
  const warning = await process.logged("certificate in use ends soon");
  assert.equal(warning.level, "WARN");
  assert.equal(warning["days_left"], 3);
});
