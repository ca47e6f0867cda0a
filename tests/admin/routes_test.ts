// The routes: lists as they are asked for, acts that reach the proxy, and what is refused.

import { strict as assert } from "node:assert";
import { ControlError } from "../../src/control.ts";
import { adminWorld, PEER, TOKEN } from "../support/admin_world.ts";
import { type FakeControl, NO_CLIENT, tenantView } from "../support/fake_control.ts";

Deno.test("lists are sorted, searched and cut", async () => {
  const views = ["b", "a", "ab"].map((name, queries) => tenantView(name, { queries }));
  const clients = views.map(({ tenant }, id) => ({ ...NO_CLIENT, id, tenant }));
  const { ask } = adminWorld({ tenants: () => [...views], clients: () => clients });
  const names = async (query: string) => {
    const { json } = await ask(`GET /tenants${query}`);
    return [json.total, ...json.rows.map(({ tenant }: { tenant: string }) => tenant)];
  };
  assert.deepEqual(await names(""), [3, "a", "ab", "b"]);
  assert.deepEqual(await names("?sort=queries"), [3, "ab", "a", "b"]);
  assert.deepEqual(await names("?search=a&limit=1&offset=1"), [2, "ab"]);
  for (const query of ["sort=size", "limit=many", "offset=-1"]) {
    assert.equal((await ask(`GET /tenants?${query}`)).status, 400, query);
  }
  assert.equal((await ask("GET /clients?search=b")).json.total, 2);
  const one = await ask("GET /tenants/ab");
  assert.deepEqual([one.json.queries, one.json.clients.length], [2, 1]);
  assert.equal((await ask("GET /tenants/nobody")).status, 404);
});

Deno.test("acts reach the proxy, with who has asked for them and from where", async () => {
  const by = `{"name":"anybody","from":"${PEER}","via":"http"}`;
  const { control, ask } = adminWorld();
  const acts: [what: string, body: string | undefined, call: string][] = [
    ["POST /tenants/a%2Fb%20c/disconnect", undefined, `disconnectTenant a/b c ${by}`],
    ["POST /tenants/acme/pause", undefined, `pause acme ${by}`],
    ["POST /tenants/acme/resume", undefined, `resume acme ${by}`],
    ["POST /tenants/acme/deny", undefined, `deny acme ${by}`],
    ["POST /tenants/acme/allow", undefined, `allow acme ${by}`],
    ["POST /clients/7/disconnect", undefined, `disconnectClient 7 ${by}`],
    [
      ...["POST /resolvers/invalidate", '{"resolver":"r","inputs":["a"]}'] as const,
      `invalidateResolvers {"resolver":"r","inputs":["a"]} ${by}`,
    ],
    ["POST /pools/0123456789ab/drain", undefined, `drainPool 0123456789ab ${by}`],
    ["POST /drain", undefined, `drain ${by}`],
    ["POST /log-level", '{"level":"debug"}', `setLogLevel debug ${by}`],
  ];
  for (const [what, body, call] of acts) {
    const { status } = await ask(what, body === undefined ? {} : { body });
    assert.equal(status, 200, what);
    assert.equal(control.calls.at(-1), call);
  }
  assert.deepEqual((await ask("POST /reload")).json, { problems: [], changes: 1 });
  const bearer = adminWorld({}, TOKEN);
  await bearer.ask("POST /drain", { headers: { authorization: `Bearer ${TOKEN}` } });
  assert.match((bearer.control as FakeControl).calls[0]!, /bearer of admin_token/);
});

Deno.test("what cannot be done is told, and what makes no sense is refused", async () => {
  const { control, ask } = adminWorld({
    reload: () => ({ problems: ["pgvpd.conf:1: no"], changes: 0 }),
    disconnectClient: () => {
      throw new ControlError("unknown", "there is no client of this number");
    },
  });
  assert.deepEqual((await ask("POST /tenants/refuse/pause")).json, { error: "not now" });
  assert.equal((await ask("POST /tenants/refuse/pause")).status, 409);
  assert.equal((await ask("POST /reload")).status, 409);
  assert.equal((await ask("POST /clients/9/disconnect")).status, 404);
  const before = control.calls.length;
  const wrong: [what: string, body: string][] = [
    ["POST /log-level", '{"level":"loud"}'],
    ["POST /log-level", "[]"],
    ["POST /log-level", "not JSON"],
    ["POST /resolvers/invalidate", '{"resolver":1}'],
    ["POST /resolvers/invalidate", '{"inputs":"a"}'],
    ["POST /clients/seven/disconnect", ""],
  ];
  for (const [what, body] of wrong) assert.equal((await ask(what, { body })).status, 400, body);
  assert.equal(control.calls.length, before);
});
