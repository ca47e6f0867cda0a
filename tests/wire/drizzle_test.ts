// Promise: Drizzle works as it is, on node-postgres and on postgres.js, in every mode and with TLS:
// every query of its builder sees its tenant's rows alone, inside transactions and out.

import assert from "node:assert/strict";
import { asc, eq } from "npm:drizzle-orm@0.45.4";
import { drizzle as onNodePostgres } from "npm:drizzle-orm@0.45.4/node-postgres";
import { integer, pgTable, text } from "npm:drizzle-orm@0.45.4/pg-core";
import { drizzle as onPostgresJs } from "npm:drizzle-orm@0.45.4/postgres-js";
import pg from "pg";
import { makeCa, makeServer } from "../support/certificates.ts";
import { Bench, DATABASE, failure } from "../support/wire_bench.ts";
import { connectPostgresJs, type Login } from "../support/wire_clients.ts";
import { modeFront, MODES, tenantLogin } from "../support/wire_modes.ts";
import { offering } from "../support/wire_tls.ts";

const ROOT = await makeCa("drizzle root");
const TLS = offering(await makeServer(ROOT));

const tenants = pgTable("tenants", {
  id: integer("id").primaryKey().generatedAlwaysAsIdentity(),
  tenantId: text("tenant_id"),
  name: text("name"),
});

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(() => bench.stop());

/** What both drivers' databases have in common. */
type Database = ReturnType<typeof onPostgresJs>;

interface Connected extends AsyncDisposable {
  readonly db: Database;
}

const DRIVERS: Readonly<Record<string, (login: Login) => Connected>> = {
  "node-postgres"(login) {
    const pool = new pg.Pool({ host: "127.0.0.1", database: DATABASE, max: 2, ...login });
    const db = onNodePostgres(pool) as unknown as Database;
    return { db, [Symbol.asyncDispose]: () => pool.end() };
  },
  "postgres.js"(login) {
    const sql = connectPostgresJs(login);
    return { db: onPostgresJs(sql), [Symbol.asyncDispose]: sql[Symbol.asyncDispose] };
  },
};

async function names(db: Pick<Database, "select">): Promise<unknown[]> {
  return (await db.select().from(tenants).orderBy(asc(tenants.name))).map(({ name }) => name);
}

/** Drizzle wraps what the driver throws. */
async function stateOf(work: PromiseLike<unknown>): Promise<unknown> {
  const error = await failure(work);
  return (error.cause as { code?: string }).code;
}

const ALICE = ["Alice Corp", "Alice LLC"];
const BOB = ["Bob Inc", "Bob Ltd"];

async function check(a: Database, b: Database, bypass: Database): Promise<void> {
  assert.deepEqual([await names(a), await names(b)], [ALICE, BOB]);
  const foreign = a.select().from(tenants).where(eq(tenants.tenantId, "tenant_b"));
  assert.deepEqual(await foreign, []);
  assert.deepEqual(await names(bypass), [...ALICE, ...BOB]);

  await a.insert(tenants).values({ tenantId: "tenant_a", name: "Alice New" });
  assert.deepEqual([await names(a), await names(b)], [[...ALICE, "Alice New"], BOB]);
  const smuggled = a.insert(tenants).values({ tenantId: "tenant_b", name: "smuggled" });
  assert.equal(await stateOf(smuggled), "42501");
  const stolen = b.update(tenants).set({ name: "stolen" }).where(eq(tenants.name, "Alice New"));
  assert.deepEqual(await stolen.returning(), []);

  const undone = a.transaction(async (tx) => {
    await tx.delete(tenants).where(eq(tenants.name, "Alice New"));
    assert.deepEqual([await names(tx), await names(b)], [ALICE, BOB]);
    await tx.insert(tenants).values({ tenantId: "tenant_b", name: "smuggled" });
  });
  assert.equal(await stateOf(undone), "42501");
  assert.deepEqual(await names(a), [...ALICE, "Alice New"]);
  await a.transaction((tx) => tx.delete(tenants).where(eq(tenants.name, "Alice New")));
  assert.deepEqual(await names(bypass), [...ALICE, ...BOB]);
}

for (const [driver, connect] of Object.entries(DRIVERS)) {
  for (const mode of MODES) {
    for (const tls of [false, true]) {
      Deno.test(`Drizzle on ${driver}, mode ${mode}${tls ? ", TLS" : ""}`, async () => {
        // Two backends for the two tenants' pools and their transactions, where they are shared.
        const poolSize = mode === "transaction" ? 2 : 4;
        const clientTls = tls ? "require" : "allow";
        await using front = await modeFront(
          bench,
          mode,
          { poolSize, clientTls },
          ...(tls ? [TLS] : []),
        );
        const encrypted = tls ? { host: "localhost", ssl: { ca: ROOT.pem } } : {};
        await using a = connect(tenantLogin(front, "tenant_a", encrypted));
        await using b = connect(tenantLogin(front, "tenant_b", encrypted));
        await using bypass = connect({ ...front.bypass, ...encrypted });
        await check(a.db, b.db, bypass.db);
      });
    }
  }
}
