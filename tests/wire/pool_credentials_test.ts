// Promise: a secret comes from auth_file, auth_query or pool_password, in this order; whatever
// happens to a source, nobody gets in who should not, and the next login is asked for in order.

import assert from "node:assert/strict";
import { parseUserlist } from "../../src/auth/userlist.ts";
import { type FileContents, type ProxyOptions, WITHOUT_TLS } from "../../src/server.ts";
import { APP_PASSWORD, Bench, eventually, failure } from "../support/wire_bench.ts";
import type { Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { loginAs, POOL_PASSWORD, POOLED, servedBy, WHO } from "../support/wire_logins.ts";
import { proxyOptions } from "../support/wire_options.ts";
import { PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { RawClient, type RawError, startup } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run(`
    CREATE TABLE logins (name text PRIMARY KEY, secret text);
    CREATE ROLE lookup LOGIN PASSWORD 'lookup-password';
    GRANT SELECT ON logins TO lookup;
    INSERT INTO logins VALUES ('app_user', 'from the table'), ('empty', ''), ('nobody', NULL);
    INSERT INTO logins SELECT 'stored', rolpassword FROM pg_authid WHERE rolname = 'app_user';
    CREATE ROLE stored LOGIN PASSWORD '${APP_PASSWORD}';
    GRANT SELECT ON tenants TO stored;
    CREATE SCHEMA hostile;
    CREATE TABLE hostile.logins AS SELECT 'app_user'::text AS name, 'hostile'::text AS secret;
    GRANT USAGE ON SCHEMA hostile TO public;
    GRANT SELECT ON hostile.logins TO public;
  `);
});
Deno.test.afterAll(() => bench.stop());

const ASKED: Partial<ProxyOptions> = {
  ...POOLED,
  authQuery: "SELECT name, secret FROM logins WHERE name = $1",
  authUser: "lookup",
  authPassword: "lookup-password",
};
const NOT_ANSWERED = "pgvpd could not look the password up";

function userlist(text: string): FileContents {
  return { ...WITHOUT_TLS, users: parseUserlist(new TextEncoder().encode(text)) };
}

/** Who comes in with what; the right password of one is wrong for the others. */
async function onlyWith(front: Front, right: string, user: string, ...wrong: string[]) {
  await servedBy(loginAs(front, right, user));
  for (const password of wrong) await refused(front, password, user);
}

async function refused(front: Front, password: string, user: string): Promise<void> {
  const error = await failure(servedBy(loginAs(front, password, user)));
  assert.equal(error.code, "28P01", error.message);
  assert.equal(error.message, `password authentication failed for user "${user}"`);
}

const SECRETS: Record<string, () => Promise<string>> = {
  "in the clear": () => Promise.resolve("file"),
  "md5": async () =>
    String(await bench.admin.value("SELECT 'md5' || md5('fileapp_user.tenant_a')")),
  "SCRAM-SHA-256": async () => {
    await bench.admin.run("CREATE ROLE temporary PASSWORD 'file'");
    const sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'temporary'";
    const secret = String(await bench.admin.value(sql));
    await bench.admin.run("DROP ROLE temporary");
    return secret;
  },
};

for (const [form, secretOf] of Object.entries(SECRETS)) {
  for (const poolAuth of ["scram", "md5", "cleartext"] as const) {
    const works = form !== "md5" || poolAuth !== "scram";
    Deno.test(`auth_file ${form}, asked by ${poolAuth}: ${works ? "served" : "refused"}`, async () => {
      const files = userlist(`"${WHO.user}" "${await secretOf()}"`);
      await using front = await bench.front({ ...POOLED, poolAuth }, files);
      if (works) await onlyWith(front, "file", WHO.user, "wrong", POOL_PASSWORD);
      else await refused(front, "file", WHO.user); // as PostgreSQL would
    });
  }
}

Deno.test("the file's user name wins over its role, the file over the query, both over all", async () => {
  const files = userlist(`"app_user.tenant_a" "mine"\n"app_user" "the role's"\n"shut" ""`);
  await using front = await bench.front(ASKED, files);
  await onlyWith(front, "mine", WHO.user, "the role's", "from the table", POOL_PASSWORD);
  const other = "app_user.tenant_b";
  const error = await failure(servedBy(loginAs(front, "the role's", other)));
  assert.match(error.message, /other rows: Bob/, "served, as the other tenant");
  await refused(front, "mine", other);
  await refused(front, POOL_PASSWORD, "shut.tenant_a");
});

Deno.test("the query decides about those it knows, pool_password about the others", async () => {
  await using front = await bench.front(ASKED);
  await onlyWith(front, "from the table", WHO.user, POOL_PASSWORD, "wrong");
  await onlyWith(front, APP_PASSWORD, "stored.tenant_a", POOL_PASSWORD, "wrong");
  for (const role of ["nobody", "empty"]) {
    for (const password of ["null", POOL_PASSWORD]) await refused(front, password, `${role}.a`);
  }
  await servedBy(loginAs(front, POOL_PASSWORD, "trusty.tenant_a"));
  const sessions = await bench.admin.value(
    "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'lookup'",
  );
  assert.equal(sessions, 1, "all of them were looked up on one connection, as auth_user");
});

Deno.test("the query knows nobody and there is no pool_password: refused like a wrong one", async () => {
  await using front = await bench.front({ ...ASKED, poolPassword: null });
  await refused(front, "anything", "trusty.tenant_a");
});

Deno.test("an MD5 digest of the server's own fits the role's password in the clear", async () => {
  const authQuery = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1";
  const asSuperuser = { authUser: "postgres", authPassword: "postgres" };
  const options = { ...ASKED, ...asSuperuser, authQuery, poolAuth: "cleartext" as const };
  await using front = await bench.front(options);
  await onlyWith(front, APP_PASSWORD, "md5_user.tenant_a", "wrong", POOL_PASSWORD);
});

Deno.test("$2 is the whole user name", async () => {
  const authQuery = "SELECT $1::text, $2::text || '!'";
  await using front = await bench.front({ ...ASKED, authQuery });
  await onlyWith(front, "app_user.tenant_a!", WHO.user, "app_user!");
});

Deno.test("a client's own settings have no part in the query", async () => {
  await using front = await bench.front(ASKED);
  const options = "-c search_path=hostile,public -c client_encoding=LATIN1";
  const hostile = { ...loginAs(front, "hostile"), options };
  assert.equal((await failure(PgClient.connect(hostile))).code, "28P01");
  await using client = await PgClient.connect({ ...hostile, password: "from the table" });
  assert.equal(await client.value("SELECT secret FROM logins"), "hostile", "its own it has");
  await refused(front, "hostile", WHO.user);
});

const BROKEN: Record<string, Partial<ProxyOptions>> = {
  "a query that is wrong": { authQuery: "SELECT nonsense FROM logins WHERE name = $1" },
  "a table that auth_user may not read": {
    authQuery: "SELECT rolpassword FROM pg_authid WHERE rolname = $1",
  },
  "a secret that is damaged": { authQuery: "SELECT 'SCRAM-SHA-256$damaged' WHERE $1::text > ''" },
  "a wrong auth_password": { authPassword: "wrong" },
  "a database that does not exist": { authDatabase: "nowhere" },
};

for (const [what, overrides] of Object.entries(BROKEN)) {
  Deno.test(`${what}: nobody comes in, strangers learn nothing, the log says why`, async () => {
    await using front = await bench.front({ ...ASKED, ...overrides });
    for (const password of ["from the table", POOL_PASSWORD]) {
      const error = await failure(servedBy(loginAs(front, password)));
      assert.deepEqual([error.code, error.message], ["XX000", NOT_ANSWERED]);
      const all = JSON.stringify({ ...error });
      assert(!/lookup|logins|pg_authid|nowhere|damaged/.test(all), all);
    }
    const [entry] = front.entries("client refused");
    assert.match(String(entry!["cause"]), /nonsense|denied|malformed|authentication|exist/);
  });
}

Deno.test("a table that is dropped, and one that is back", async () => {
  await using front = await bench.front(ASKED);
  const login = loginAs(front, "from the table");
  await servedBy(login);
  await bench.admin.run("ALTER TABLE logins RENAME TO away");
  assert.equal((await failure(servedBy(login))).message, NOT_ANSWERED);
  await bench.admin.run("ALTER TABLE away RENAME TO logins");
  await servedBy(login);
});

Deno.test("the query's connection is killed: the next login does not notice", async () => {
  await using front = await bench.front(ASKED);
  const login = loginAs(front, "from the table");
  for (let round = 0; round < 5; round++) {
    await servedBy(login);
    const killed = await bench.admin.value(
      "SELECT count(pg_terminate_backend(pid))::int FROM pg_stat_activity WHERE usename = 'lookup'",
    );
    assert.equal(killed, 1);
  }
  await servedBy(login);
});

Deno.test("many logins at once, and strangers who leave at once: one connection, all served", async () => {
  await using front = await bench.front({ ...ASKED, poolSize: 4 });
  const strangers = Array.from({ length: 40 }, async () => {
    using raw = await RawClient.connect(front.port);
    await raw.send(startup(WHO));
  });
  const logins = Array.from({ length: 40 }, () => servedBy(loginAs(front, "from the table")));
  await Promise.all([...logins, ...strangers]);
  const rows = await bench.admin.rows(
    "SELECT backend_start FROM pg_stat_activity WHERE usename = 'lookup'",
  );
  assert.equal(rows.length, 1);
});

Deno.test("strangers who name many databases do not use the server's connections up", async () => {
  await bench.admin.run("CREATE DATABASE other");
  await using front = await bench.front(ASKED);
  const raws: RawClient[] = [];
  const most = { value: 0 };
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const now = Number(
        await bench.admin.value(
          "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'lookup'",
        ),
      );
      most.value = Math.max(most.value, now);
    }
  })();
  await Promise.all(Array.from({ length: 60 }, async (_, index) => {
    const raw = await RawClient.connect(front.port);
    raws.push(raw);
    const database = index % 3 === 0 ? "postgres" : index % 3 === 1 ? "other" : `db${index}`;
    await raw.send(startup({ user: WHO.user, database }));
    const error = await failure(raw.until("Z")) as RawError;
    assert.equal(error.fields["M"], NOT_ANSWERED);
  }));
  isOver = true;
  await watching;
  for (const raw of raws) raw.close();
  assert(most.value <= 8, `${most.value} connections`);
  await servedBy(loginAs(front, "from the table"));
});

Deno.test("a reload in the middle of a login lets it end, and closes what is not needed", async () => {
  const authQuery = "SELECT secret, pg_sleep(0.3)::text, secret FROM logins WHERE name = $1";
  const options = { ...ASKED, authQuery };
  const front = await bench.front(options);
  await using _ = front;
  const login = servedBy(loginAs(front, "from the table"));
  await bench.running("pg_sleep(0.3)");
  front.proxy.reload(
    proxyOptions(bench.postgres.port, { ...POOLED, poolPassword: "another" }),
    WITHOUT_TLS,
  );
  await login;
  await refused(front, "from the table", WHO.user);
  await servedBy(loginAs(front, "another"));
  await eventually("the query's connection is closed", async () =>
    await bench.admin.value(
      "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'lookup'",
    ) === 0);
});

Deno.test("auth_file is read again when it changes; a damaged one changes nothing", async () => {
  await using directory = await TestDirectory.make();
  const file = await directory.write("userlist.txt", `"app_user" "first"`);
  await using pgvpd = await PgvpdProcess.serve([], {
    env: {
      PGVPD_PORT: "0",
      PGVPD_UPSTREAM_PORT: String(bench.postgres.port),
      PGVPD_POOL_MODE: "session",
      PGVPD_AUTH_FILE: file,
      PGVPD_UPSTREAM_PASSWORD: APP_PASSWORD,
    },
  });
  const login = (password: string) => servedBy({ port: pgvpd.port, user: WHO.user, password });
  await login("first");
  await directory.write("userlist.txt", `"app_user" "second"`);
  await eventually(
    "the new password is known",
    () => login("second").then(() => true, () => false),
    30_000,
  );
  assert.equal((await failure(login("first"))).code, "28P01");
  await directory.write("userlist.txt", `"app_user" "third`);
  await eventually("the mistake is told", () => pgvpd.out.includes("userlist.txt"), 30_000);
  await login("second");
  assert(!/second|third/.test(pgvpd.out + pgvpd.err), "no secret is shown");
});
