// Promise: where to connect is what was said, and a password is never taken from, or shown in, a
// command line.

import assert from "node:assert/strict";
import { type DatabaseArguments, placeOf } from "../../src/commands/database.ts";
import { isNewer } from "../../src/commands/setup.ts";
import { noticePrinter } from "../../src/commands/notices.ts";
import { renderStatus } from "../../src/commands/status.ts";
import { resolveSettings } from "../../src/config/config.ts";

const NOTHING: DatabaseArguments = { url: null, database: null, user: null, passwordFile: null };

function place(
  from: Partial<DatabaseArguments>,
  { flags = {}, environment = {} }: {
    flags?: Record<string, string>;
    environment?: Record<string, string>;
  } = {},
) {
  return placeOf(
    { ...NOTHING, ...from },
    () => resolveSettings({ environment: {}, flags }).settings,
    (name) => environment[name] ?? null,
  );
}

Deno.test("database: the configuration's upstream, and PostgreSQL's variables", () => {
  const flags = {
    upstream_host: "db.internal",
    upstream_port: "5433",
    upstream_tls: "verify-full",
  };
  const { host, port, user, database, tls } = place({ database: "shop" }, { flags });
  assert.deepEqual([host, port, user, database], ["db.internal", 5433, "postgres", "shop"]);
  assert.equal((tls as { rejectUnauthorized: boolean }).rejectUnauthorized, true);
  const named = place({}, { environment: { PGDATABASE: "crm", PGUSER: "owner" } });
  assert.deepEqual([named.database, named.user, named.tls], ["crm", "owner", false]);
  const told = place({ user: "dba", database: "x" }, { environment: { PGUSER: "owner" } });
  assert.equal(told.user, "dba");
  assert.throws(() => place({}), /Which database\? Name it with --database/);
});

Deno.test("database: a URL in libpq's words", () => {
  const url = place({ url: "postgresql://us%40er@db:5433/my%20db?sslmode=require" });
  assert.deepEqual([url.host, url.port, url.user, url.database, url.tls], [
    "db",
    5433,
    "us@er",
    "my db",
    "require",
  ]);
  const bare = place({ url: "postgres://[::1]/", database: "x" });
  assert.deepEqual([bare.host, bare.port, bare.user, bare.tls], [
    "::1",
    5432,
    "postgres",
    "prefer",
  ]);
  const socket = place({ url: "postgres:///x?host=/run/postgresql&sslmode=verify-full" });
  assert.deepEqual([socket.host, socket.tls], ["/run/postgresql", false]);
  const verified = (mode: string) =>
    place({ url: `postgres://db/x?sslmode=${mode}` }).tls as {
      rejectUnauthorized: boolean;
      checkServerIdentity: (host: string, certificate: unknown) => Error | undefined;
    };
  const other = { subject: { CN: "other" }, subjectaltname: "DNS:other" };
  assert.equal(verified("verify-ca").checkServerIdentity("", other), undefined);
  assert.match(String(verified("verify-full").checkServerIdentity("", other)), /db/);
  for (
    const [wrong, words] of [
      ["postgres://db/x?sslmode=verify_full", /sslmode="verify_full"; it is one of disable/],
      ["postgres://db/x?channel_binding=require", /parameter "channel_binding"; known are sslmode/],
      ["postgres://db/x?sslmode=verify-ca&sslrootcert=/no/ca.pem", /Cannot read "\/no\/ca\.pem"/],
      ["mysql://db/x", /--url is no URL of a database/],
      ["host=db dbname=x", /--url is no URL/],
    ] as const
  ) assert.throws(() => place({ url: wrong }), words);
});

Deno.test("database: a password in the command line is refused and not repeated", () => {
  for (const url of ["postgres://u:s3cret@db/x", "postgres://db/x?password=s3cret"]) {
    assert.throws(() => place({ url }), (error: Error) => {
      assert.match(error.message, /list of processes.*PGPASSWORD.*--password-file/s);
      assert(!error.message.includes("s3cret"));
      return true;
    });
  }
});

Deno.test("database: the password of the file, the variable, the configuration", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "from file\nsecond line\n");
    const environment = { PGPASSWORD: "from variable" };
    const flags = { upstream_user: "dba", upstream_password: "from configuration" };
    const all = { flags, environment };
    const passwordFile = path;
    assert.equal(place({ database: "x", user: "dba", passwordFile }, all).password(), "from file");
    assert.equal(place({ database: "x", user: "dba" }, all).password(), "from variable");
    assert.equal(place({ database: "x", user: "dba" }, { flags }).password(), "from configuration");
    assert.throws(
      () => place({ database: "x", passwordFile: `${path}.no` }).password(),
      /Cannot read the password from ".*": there is no such file/,
    );
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("setup: which version is newer", () => {
  for (const [one, other] of [["1.10.0", "1.9.9"], ["0.2.0", "0.1.9"], ["1.0.1", "1.0"]] as const) {
    assert.deepEqual([isNewer(one, other), isNewer(other, one), isNewer(one, one)], [
      true,
      false,
      false,
    ]);
  }
});

Deno.test("status: a table that says what is missing", () => {
  const row = { schema: "public", rls_enabled: true, rls_forced: true, policies: 2, missing: null };
  const tables = [
    { ...row, table: "notes" },
    { ...row, table: "t", rls_forced: false, policies: 1, missing: "not forced" },
    { ...row, table: "global", rls_enabled: false, policies: 0, missing: "off" },
  ];
  assert.deepEqual(renderStatus(tables, false), [
    "table          row security  policies  missing",
    "public.notes   forced        2         nothing",
    "public.t       on            1         not forced",
    "public.global  off           0         off",
    "",
    "1 of 3 tables isolated.",
  ]);
  assert.deepEqual(
    renderStatus(tables, true).filter((line) => line.startsWith("\x1b[31m")).length,
    2,
  );
  assert.deepEqual(renderStatus([], false), ["There are no tables."]);
});

Deno.test("notices: pgvpd's own and warnings, behind what was done", () => {
  const [printed, warned]: [string[], string[]] = [[], []];
  const notices = noticePrinter((line) => printed.push(line), (line) => warned.push(line));
  notices.take({ severity: "NOTICE", message: "pgvpd: done", hint: null });
  notices.take({ severity: "NOTICE", message: "relation exists, skipping", hint: null });
  notices.take({ severity: "WARNING", message: "pgvpd: no index", hint: "CREATE INDEX" });
  assert.deepEqual([printed, warned], [[], []]);
  notices.print();
  notices.print();
  assert.deepEqual([printed, warned], [["done"], ["no index\n  CREATE INDEX"]]);
});
