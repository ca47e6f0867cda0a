// Promise: `pgvpd doctor` tells by its exit code and its report whether a database is sound,
// through a real proxy too, shows no password, and keeps a proxy from starting when that is asked.

import assert from "node:assert/strict";
import { SOUND } from "../support/doctor_bench.ts";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { startServer, TestDatabase } from "../support/sql_database.ts";

const SECRET = "geheim";
const CODES = { nothing: 0, findings: 1, couldNotLook: 2 };

let server: Awaited<ReturnType<typeof startServer>>;
let database: TestDatabase;
Deno.test.beforeAll(async () => {
  server = await startServer("18");
  database = await TestDatabase.create(server, "sound");
  await database.admin.run(SOUND);
});
Deno.test.afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await server.stop();
});

const urlOf = (user: string, port = server.port) => `postgres://${user}@127.0.0.1:${port}/sound`;
const env = { PGPASSWORD: SECRET };
/** The lint that blames the server that the tests run on is silenced, as an operator would. */
const IGNORE = '[[ignore]]\nlint = "D06"\nobject = "*"\nreason = "the tests\' own server"\n';

async function doctor(...more: string[]) {
  await using directory = await TestDirectory.make();
  const ignore = await directory.write("doctor.toml", IGNORE);
  const args = ["doctor", "--url", urlOf("postgres"), "--ignore", ignore];
  const { code, out, err } = await pgvpd([...args, ...more], { env });
  assert.ok(!(out + err).includes(SECRET), "the password is in no output");
  return { code, out, err };
}

/** With a table that anybody reads. */
async function withFault<T>(work: () => Promise<T>): Promise<T> {
  await database.admin.run(
    "CREATE TABLE bare (tenant_id text); GRANT SELECT ON bare TO app_user",
  );
  try {
    return await work();
  } finally {
    await database.admin.run("DROP TABLE bare");
  }
}

Deno.test("a sound database ends with 0, also when warnings would count", async () => {
  const { code, out } = await doctor("--fail-on", "warning");
  assert.equal(code, CODES.nothing, out);
  assert.match(out, /^no finding, \d+ notes?, 1 silenced in database "sound"/m);
  assert.match(out, /^silenced {2}D06 PostgreSQL 18\.\d+: the tests' own server$/m);
  assert.match(out, /^tried {5}5 probes for a pooler at 127\.0\.0\.1:/m);
  assert.ok(!out.includes("\x1b"), "no colours on a pipe");
  assert.equal((await doctor("--fail-on", "info")).code, CODES.findings);
});

Deno.test("a fault ends with 1, is in every format, and can be let pass", async () => {
  await withFault(async () => {
    const text = await doctor();
    assert.equal(text.code, CODES.findings);
    assert.match(text.out, /^CRITICAL {2}T01 rls_disabled: /m);
    assert.match(text.out, /SELECT pgvpd_protect\('public\.bare', 'tenant_id'\);/);

    const { findings, counts, silenced } = JSON.parse((await doctor("--json")).out);
    assert.equal(counts.critical, 1);
    assert.equal(findings[0].object, "public.bare");
    assert.equal(silenced[0].reason, "the tests' own server");

    const { runs } = JSON.parse((await doctor("--sarif")).out);
    assert.equal(runs[0].results[0].ruleId, "T01");
    assert.equal((await doctor("--fail-on", "never")).code, CODES.nothing);
  });
});

Deno.test("through pgvpd: as tenants who do not exist, and with a pooler in the way", async () => {
  const upstream = ["--upstream-port", String(server.port), "--port", "0"];
  await using proxy = await PgvpdProcess.serve(upstream);
  const app = await doctor("--app-url", urlOf("app_user.{tenant}", proxy.port));
  assert.equal(app.code, CODES.nothing, app.out);
  assert.match(app.out, /^tried .* 2 read as tenants who do not exist, through pgvpd as/m);
  assert.doesNotMatch(app.out, /^not tried/m);

  await using pooling = await PgvpdProcess.serve([
    ...upstream,
    ...["--pool-mode", "transaction", "--pool-password", SECRET, "--upstream-password", "x"],
  ]);
  const pooled = await pgvpd(["doctor", "--url", urlOf("app_user.x", pooling.port), "--json"], {
    env,
  });
  assert.equal(pooled.err, "");
  const { findings } = JSON.parse(pooled.out);
  const found = findings.filter(({ lint }: { lint: string }) => lint === "E05");
  assert.equal(found.length, 1, pooled.out);
  assert.match(found[0].detail, /process ID changes/);
});

Deno.test("what keeps it from looking ends with 2 and a sentence", async () => {
  const impossible: [args: string[], sentence: RegExp][] = [
    [["--url", "postgres://x@127.0.0.1:1/y"], /Cannot connect as x@127\.0\.0\.1:1\/y: .*REFUSED/],
    [["--url", "mysql://x"], /A database is named as postgres:\/\//],
    [["--url", `postgres://x:${SECRET}@h/y`], /holds a password, which everybody/],
    [["--url", urlOf("x"), "--app-url", `postgres://x:${SECRET}@h/y`], /holds a password/],
    [["--url", `${urlOf("x")}?sslmode=much`], /sslmode="much"; it is one of disable, allow/],
    [["--url", urlOf("x"), "--password-file", "/nowhere"], /Cannot read "\/nowhere"/],
    [["--url", urlOf("postgres"), "--role", "nobody"], /There is no role "nobody"/],
    [["--url", urlOf("postgres"), "--ignore", "/nowhere"], /Cannot read the ignore file/],
    [["--url", urlOf("postgres"), "--json", "--sarif"], /--json.*cannot be used with.*--sarif/],
    [["--url", urlOf("postgres"), "--fail-on", "much"], /Allowed choices are critical/],
    [["--url", urlOf("postgres"), "word"], /no option's value/],
    [["-c", "/nowhere.conf"], /Cannot read configuration file/],
  ];
  for (const [args, sentence] of impossible) {
    const { code, out, err } = await pgvpd(["doctor", ...args]);
    assert.deepEqual([code, out], [CODES.couldNotLook, ""], args.join(" "));
    assert.match(err, sentence);
    assert.ok(!err.includes(SECRET) && !/bug in pgvpd/.test(err), err);
  }
});

Deno.test("at the start: warn logs each finding, enforce refuses, off does not look", async () => {
  await using directory = await TestDirectory.make();
  const ignore = await directory.write("doctor.toml", IGNORE);
  const config = (mode: string) =>
    directory.write(
      `${mode}.conf`,
      `port = 0\nupstream_port = ${server.port}\nlog_format = json
doctor_on_start = ${mode}\ndoctor_ignore = ${ignore}\ndoctor_url = ${urlOf(`postgres:${SECRET}`)}`,
    );
  {
    await using sound = await PgvpdProcess.serve(["-c", await config("enforce")]);
    const [looked] = sound.entries("doctor: the database was looked at");
    assert.deepEqual([looked!["errors"], looked!["warnings"]], [0, 0]);
  }
  await withFault(async () => {
    const enforced = await pgvpd(["-c", await config("enforce")]);
    assert.equal(enforced.code, 1);
    assert.match(enforced.err, /The doctor has found 1 error in the database, and doctor_on_start/);
    assert.ok(!(enforced.out + enforced.err).includes(SECRET));

    await using warned = await PgvpdProcess.serve(["-c", await config("warn")]);
    const [finding] = warned.entries("doctor: finding");
    assert.deepEqual([finding!["lint"], finding!["object"]], ["T01", "public.bare"]);

    await using off = await PgvpdProcess.serve(["-c", await config("off")]);
    assert.deepEqual(off.log.filter(({ message }) => message.startsWith("doctor")), []);
  });
});

Deno.test("at the start, without a database: warn goes on, enforce does not", async () => {
  const args = (mode: string) => [
    ...["--port", "0", "--doctor-on-start", mode, "--doctor-url", "postgres://x@127.0.0.1:1/y"],
  ];
  await using warned = await PgvpdProcess.serve(args("warn"));
  assert.equal(warned.entries("the doctor could not look at the database").length, 1);
  const enforced = await pgvpd(args("enforce"));
  assert.equal(enforced.code, 1);
  assert.match(enforced.err, /Cannot connect as x@127\.0\.0\.1:1\/y/);
});
