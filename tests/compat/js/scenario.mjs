// What every JavaScript client is asked to do. A client is an adapter: connect() gives a handle with
//   names()                  the names in `tenants`, by the client's own query builder, sorted
//   count(tenant)            how many rows of that tenant, the same way
//   add(tenant, name)        one more row
//   remove(name)
//   transaction(work)        work is given a handle with the same names(), add() and rows()
//   rows(sql, parameters)    SQL with $1 … as it is
//   cancel?(sql)             runs it, and returns a promise and a function that cancels it
//   end()
// Each check's result goes to standard output as a line of JSON.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const env = (name) => process.env[`COMPAT_${name}`] ?? "";
const TENANTS = {
  a: { tenant: "tenant_a", user: "ann", names: ["Alice Corp", "Alice LLC"] },
  b: { tenant: "tenant_b", user: "bob", names: ["Bob Inc", "Bob Ltd"] },
};
const ROUNDS = 20;
const PATIENCE_MS = 30_000;

/** How a tenant logs in; `url` has the user name percent-encoded. */
function login(which, port = Number(env("PORT"))) {
  const { tenant, user: person } = TENANTS[which];
  const user = `${env("ROLE")}.${tenant}:${person}`;
  const [host, database] = [env("HOST"), env("DATABASE")];
  const password = env("PASSWORD");
  const ca = env("CA") === "" ? null : readFileSync(env("CA"), "utf8");
  const url = `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}` +
    `@${host}:${port}/${database}`;
  const ssl = ca === null ? false : { ca, rejectUnauthorized: true };
  return { host, port, user, password, database, ssl, url };
}

/** An exact version of an installed package. */
export function versionOf(name) {
  const path = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(path, "utf8")).version;
}

function say(fact) {
  console.log(JSON.stringify(fact));
}

/** The SQLSTATE in an error, wherever the client hides it. */
function sqlState(error, depth = 0) {
  if (error === null || typeof error !== "object" || depth > 6) return null;
  for (const code of [error.code, error.originalCode, error.sqlState]) {
    if (/^(?!P\d{4}$)[0-9A-Z]{5}$/.test(code ?? "")) return code;
  }
  const inside = ["cause", "original", "parent", "driverError", "meta", "driverAdapterError"];
  for (const key of inside) {
    const found = sqlState(error[key], depth + 1);
    if (found !== null) return found;
  }
  return null;
}

async function refused(promise, state) {
  const error = await promise.then(() => assert.fail(`this should fail with ${state}`), (e) => e);
  assert.equal(sqlState(error), state, String(error?.stack ?? error));
}

const md5 = (text) => createHash("md5").update(text).digest("hex");

async function eventually(what, condition) {
  const deadline = performance.now() + PATIENCE_MS;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const CHECKS = {
  async isolation({ a, b }) {
    for (const [handle, own, other] of [[a, TENANTS.a, TENANTS.b], [b, TENANTS.b, TENANTS.a]]) {
      assert.deepEqual(await handle.names(), own.names);
      assert.equal(await handle.count(other.tenant), 0);
      await refused(handle.add(other.tenant, "smuggled"), "42501");
      const [row] = await handle.rows(
        "SELECT current_setting('app.current_tenant_id') AS tenant, " +
          "current_setting('app.user_id') AS person, current_user::text AS role",
      );
      assert.deepEqual({ ...row }, { tenant: own.tenant, person: own.user, role: env("ROLE") });
    }
  },

  async transaction({ a, b }) {
    await a.transaction(async (tx) => {
      await tx.add("tenant_a", "Committed");
      assert.deepEqual(await tx.names(), [...TENANTS.a.names, "Committed"]);
      assert.deepEqual(await b.names(), TENANTS.b.names);
    });
    assert.deepEqual(await a.names(), [...TENANTS.a.names, "Committed"]);
    assert.deepEqual(await b.names(), TENANTS.b.names);
    await b.remove("Committed");
    assert.equal(await a.count("tenant_a"), 3);
    await a.remove("Committed");
    assert.deepEqual(await a.names(), TENANTS.a.names);
  },

  async rollback({ a }) {
    const away = new Error("away with it");
    const work = a.transaction(async (tx) => {
      await tx.add("tenant_a", "Rolled back");
      throw away;
    });
    await assert.rejects(work, (error) => error === away || /away with it/.test(error.message));
    assert.deepEqual(await a.names(), TENANTS.a.names);
    const failing = a.transaction(async (tx) => {
      await tx.add("tenant_a", "Undone");
      await tx.rows("SELECT 1 / $1::int AS n", [0]);
    });
    await refused(failing, "22012");
    assert.deepEqual(await a.names(), TENANTS.a.names);
  },

  async "prepared statements"({ a, b }) {
    const sql = "SELECT name FROM tenants WHERE $1::int >= 0 ORDER BY name";
    for (let round = 0; round < ROUNDS; round++) {
      for (const [handle, own] of [[a, TENANTS.a], [b, TENANTS.b]]) {
        const rows = await (handle.prepared ?? handle.rows)(sql, [round]);
        assert.deepEqual(rows.map(({ name }) => name), own.names);
      }
    }
  },

  async "large parameter"({ a }) {
    const text = "größer ".repeat(150_000);
    const [row] = await a.rows("SELECT md5($1::text) AS sum, $1::text AS text", [text]);
    assert.equal(row.sum, md5(text));
    assert.equal(md5(row.text), md5(text));
  },

  async error({ a, b }) {
    for (const handle of [a, b, a]) {
      await refused(handle.rows("SELECT 1 / $1::int AS n", [0]), "22012");
      await refused(handle.rows("SELECT nothing FROM nowhere"), "42P01");
    }
    assert.deepEqual(await a.names(), TENANTS.a.names);
  },

  async cancel({ a, b }) {
    if (a.cancel === undefined) return "none";
    const marker = `pg_sleep(${100 + Math.floor(Math.random() * 800)})`;
    const { done, cancel } = a.cancel(`SELECT ${marker}`);
    const outcome = done.then(() => null, (error) => error);
    await eventually("it runs", async () => {
      const [row] = await b.rows(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' " +
          "AND pid <> pg_backend_pid() AND query = $1",
        [`SELECT ${marker}`],
      );
      return Number(row.n) > 0;
    });
    await cancel();
    const error = await outcome;
    if (!a.cancelIsSilent) assert.equal(sqlState(error), "57014", String(error));
    await eventually("it has ended", async () => {
      const [row] = await b.rows(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' " +
          "AND pid <> pg_backend_pid() AND query = $1",
        [`SELECT ${marker}`],
      );
      return Number(row.n) === 0;
    });
    assert.deepEqual(await a.names(), TENANTS.a.names);
  },

  async "pool return"({ a, b, connect, pids }) {
    const both = Array.from({ length: 16 }, async (_, n) => {
      const [handle, own, key] = n % 2 === 0 ? [a, TENANTS.a, "a"] : [b, TENANTS.b, "b"];
      await handle.transaction(async (tx) => {
        assert.deepEqual(await tx.names(), own.names);
        pids[key].add((await tx.rows("SELECT pg_backend_pid() AS pid"))[0].pid);
      });
    });
    await Promise.all(both);
    await Promise.all([a.end(), b.end()]);
    for (const key of ["a", "b", "a", "b"]) {
      const handle = await connect(login(key, Number(env("SERIAL_PORT"))));
      assert.deepEqual(await handle.names(), TENANTS[key].names);
      const [row] = await handle.rows(
        "SELECT pg_backend_pid() AS pid, to_regclass('left_behind')::text AS left_behind, " +
          "nullif(current_setting('app.note', true), '') AS note",
      );
      pids[key].add(row.pid);
      assert.deepEqual([row.left_behind, row.note], [null, null]);
      await handle.rows("SELECT set_config('app.note', $1, false)", [key]);
      await handle.rows("CREATE TEMPORARY TABLE left_behind (n int)");
      await handle.end();
    }
  },

  async "percent-encoded URL"({ connectUrl }) {
    if (connectUrl === undefined) return "none";
    for (const key of ["a", "b"]) {
      const handle = await connectUrl(login(key));
      try {
        assert.deepEqual(await handle.names(), TENANTS[key].names);
        const [row] = await handle.rows("SELECT current_setting('app.user_id') AS person");
        assert.equal(row.person, TENANTS[key].user);
      } finally {
        await handle.end();
      }
    }
  },
};

/**
 * Runs every check.
 * @param client.version what the table says
 * @param client.connect a handle from the fields of a login
 * @param client.connectUrl the same from `login.url`
 */
export async function run({ version, connect, connectUrl }) {
  const on = globalThis.Deno === undefined
    ? `Node ${process.versions.node}`
    : `Deno ${Deno.version.deno}`;
  say({ version, on });
  const pids = { a: new Set(), b: new Set() };
  const [a, b] = [await connect(login("a")), await connect(login("b"))];
  for (const [check, work] of Object.entries(CHECKS)) {
    try {
      say({ check, result: await work({ a, b, connect, connectUrl, pids }) ?? "pass" });
    } catch (error) {
      say({ check, result: "fail", why: String(error?.stack ?? error).slice(0, 1500) });
    }
  }
  say({ pids: { a: [...pids.a], b: [...pids.b] } });
}
