// tenants.toml through real PostgreSQL servers, in every mode: limits, settings, other upstreams.

import assert from "node:assert/strict";
import { parseTenantsFile } from "../../src/config/tenants_file.ts";
import { type FileContents, type ProxyOptions, WITHOUT_TLS } from "../../src/server.ts";
import type { NamedUpstream } from "../../src/server_routes.ts";
import { Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import type { PgClient } from "../support/wire_clients.ts";
import { connectTenant, type Mode, modeFront, MODES } from "../support/wire_modes.ts";
import { proxyOptions } from "../support/wire_options.ts";

let bench: Bench;
let other: Bench;
Deno.test.beforeAll(async () => {
  [bench, other] = await Promise.all([Bench.start(), Bench.start()]);
  await other.admin.run("UPDATE tenants SET name = 'Moved ' || name");
});
Deno.test.afterAll(async () => void await Promise.all([bench.stop(), other.stop()]));

const CLEAR = { mode: "disable", direct: false, authorities: null, identity: null } as const;

/** The files with this tenants.toml; `other` is the other server. */
function filesWith(text: string, upstream: Partial<NamedUpstream> = {}): FileContents {
  const whole = `${text}\n[upstreams.other]\nhost = "127.0.0.1"`;
  const { file, problems } = parseTenantsFile(whole, ["app.current_tenant_id"]);
  assert.deepEqual(problems, []);
  const options = { host: "127.0.0.1", port: other.postgres.port, tls: CLEAR };
  const login = { database: null, user: null, password: "testpass" };
  const upstreams = new Map([["other", { options, ...login, ...upstream }]]);
  return { ...WITHOUT_TLS, tenants: { allow: null, deny: null, file, upstreams } };
}

function reload(front: Front, poolMode: Mode, files: FileContents): void {
  const pool = { poolMode, poolPassword: "testpass", upstreamPassword: "testpass" };
  front.proxy.reload(proxyOptions(bench.postgres.port, pool), files);
}

function frontWith(mode: Mode, files: FileContents, more: Partial<ProxyOptions> = {}) {
  return modeFront(bench, mode, more, files);
}

async function firstName(client: PgClient): Promise<unknown> {
  return await client.value("SELECT name FROM tenants ORDER BY name LIMIT 1");
}

const SETTINGS = `
  [classes.small]
  max_connections = 1
  statement_timeout = "300ms"
  settings = { work_mem = "123kB", statement_timeout = "77s", search_path = "acme, public", TimeZone = "Asia/Tokyo" }
  [tenants."tenant_a"]
  class = "small"
`;

for (const mode of MODES) {
  Deno.test(`${mode}: a tenant has the limits and settings of its class, another has not`, async () => {
    await using front = await frontWith(mode, filesWith(SETTINGS), { poolSize: 1 });
    await using client = await connectTenant(front, "tenant_a", { options: "-c work_mem=1GB" });
    const show = async (who: PgClient, name: string) => await who.value(`SHOW ${name}`);
    const names = ["work_mem", "statement_timeout", "search_path", "TimeZone"];
    const values = [];
    for (const name of names) values.push(await show(client, name));
    assert.deepEqual(values, ["123kB", "77s", "acme, public", "Asia/Tokyo"]);
    const { code, message } = await failure(connectTenant(front, "tenant_a"));
    assert.deepEqual([code, message], [
      ...["53300", 'too many connections for tenant "tenant_a": the limit is 1'],
    ]);
    assert.equal((await failure(client.rows("SELECT pg_sleep(60)"))).code, "57014");
    await client.run("SET work_mem = '5MB'");
    await client.run("RESET ALL");
    assert.equal(await show(client, "work_mem"), "123kB", "what RESET goes back to");
    assert.equal(await firstName(client), "Alice Corp");
    const pid = await client.value("SELECT pg_backend_pid()");
    await client[Symbol.asyncDispose]();
    await using next = await connectTenant(front, "tenant_b");
    assert.equal(await show(next, "work_mem"), "4MB");
    assert.notEqual(await show(next, "search_path"), "acme, public");
    assert.notEqual(await show(next, "TimeZone"), "Asia/Tokyo");
    if (mode !== "none") assert.equal(await next.value("SELECT pg_backend_pid()"), pid);
  });

  Deno.test(`${mode}: a setting that PostgreSQL does not take ends the login, nobody is served`, async () => {
    const files = filesWith('[tenants.tenant_a]\nsettings.work_mem = "much"');
    await using front = await frontWith(mode, files);
    assert.equal((await failure(connectTenant(front, "tenant_a"))).code, "22023");
    await using next = await connectTenant(front, "tenant_b");
    assert.equal(await firstName(next), "Bob Inc");
  });

  Deno.test(`${mode}: a tenant is moved, new sessions go to the new place, none is lost`, async () => {
    await using front = await frontWith(mode, filesWith(""), { poolSize: 2 });
    await using before = await connectTenant(front, "tenant_a");
    await using stays = await connectTenant(front, "tenant_b");
    assert.equal(await firstName(before), "Alice Corp");
    await before.run("BEGIN");
    reload(front, mode, filesWith('[tenants.tenant_a]\nupstream = "other"'));
    await using after = await connectTenant(front, "tenant_a");
    assert.equal(await firstName(after), "Moved Alice Corp");
    assert.equal(await firstName(before), "Alice Corp", "who was there stays where it was");
    await before.run("COMMIT");
    assert.equal(await firstName(before), "Alice Corp");
    assert.equal(await firstName(stays), "Bob Inc");
    await using also = await connectTenant(front, "tenant_b");
    assert.equal(await firstName(also), "Bob Inc");
    reload(front, mode, filesWith(""));
    await using back = await connectTenant(front, "tenant_a");
    assert.equal(await firstName(back), "Alice Corp");
    assert.equal(await firstName(after), "Moved Alice Corp");
  });

  Deno.test(`${mode}: a query on another upstream can be cancelled, there and nowhere else`, async () => {
    const files = filesWith('[tenants.tenant_a]\nupstream = "other"\nstatement_timeout = "300ms"');
    await using front = await frontWith(mode, files);
    await using routed = await connectTenant(front, "tenant_a");
    await using plain = await connectTenant(front, "tenant_b");
    const undisturbed = plain.value("SELECT 1 FROM pg_sleep(1)");
    assert.equal((await failure(routed.rows("SELECT pg_sleep(60)"))).code, "57014");
    assert.equal(await undisturbed, 1);
    await routed[Symbol.asyncDispose]();
    await eventually("nothing runs there", async () =>
      await other.admin.value(
        "SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%sleep(60)%' " +
          "AND state = 'active' AND pid <> pg_backend_pid()",
      ) === 0);
  });

  Deno.test(`${mode}: an upstream may have another name for the database`, async () => {
    const files = filesWith('[tenants.tenant_a]\nupstream = "other"', { database: "trusty" });
    await using front = await frontWith(mode, files);
    await using client = await connectTenant(front, "tenant_a");
    assert.equal(await client.value("SELECT current_database()"), "trusty");
    assert.equal(await client.value("SELECT current_setting('app.current_tenant_id')"), "tenant_a");
  });
}

Deno.test("none: a client's own cancel request finds the server that its session is on", async () => {
  const files = filesWith('[tenants.tenant_a]\nupstream = "other"');
  await using front = await frontWith("none", files);
  await using routed = await connectTenant(front, "tenant_a");
  const query = failure(routed.rows("SELECT pg_sleep(600)"));
  await other.running("pg_sleep(600)");
  const secretKey = (routed.bare as unknown as { secretKey: number }).secretKey;
  const packet = new DataView(new ArrayBuffer(16));
  [16, 80877102, routed.bare.processID, secretKey]
    .forEach((word, index) => packet.setInt32(4 * index, word));
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: front.port });
  await connection.write(new Uint8Array(packet.buffer));
  assert.equal((await query).code, "57014");
});

Deno.test("an upstream that is down is told to its tenants, and to nobody else", async () => {
  const options = { host: "127.0.0.1", port: 1, tls: CLEAR };
  const files = filesWith('[tenants.tenant_a]\nupstream = "other"', { options });
  for (const mode of MODES) {
    await using front = await frontWith(mode, files);
    assert.match((await failure(connectTenant(front, "tenant_a"))).code!, /^08/);
    await using client = await connectTenant(front, "tenant_b");
    assert.equal(await firstName(client), "Bob Inc");
  }
});
