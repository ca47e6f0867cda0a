// The admin API as a whole: what needs the token, what no foreign page may, what is nowhere.

import { strict as assert } from "node:assert";
import { ROUTES } from "../../src/admin/routes.ts";
import { adminWorld, TOKEN } from "../support/admin_world.ts";

Deno.test("health and ready need no token, and say what they know", async () => {
  const { ask } = adminWorld({}, TOKEN);
  const health = await ask("GET /health");
  assert.deepEqual([health.status, health.json], [200, { status: "ok" }]);
  const ready = await ask("GET /ready");
  assert.deepEqual([ready.status, ready.json.status], [200, "ready"]);
  for (const part of ["listening", "upstream", "draining"] as const) {
    const readiness = { listening: true, upstream: true, draining: false };
    const not = adminWorld({
      readiness: () => Promise.resolve({ ...readiness, [part]: !readiness[part] }),
    });
    assert.equal((await not.ask("GET /ready")).status, 503, part);
  }
});

Deno.test("everything else needs the token, also what is not there", async () => {
  const { ask } = adminWorld({}, TOKEN);
  const headers = { authorization: `Bearer ${TOKEN}` };
  const paths = ROUTES.filter(({ isOpen }) => isOpen !== true)
    .map(({ method, path }) => `${method.toUpperCase()} ${path.replace(/:\w+/, "1")}`);
  for (const what of [...paths, "GET /openapi.json", "GET /nowhere"]) {
    const refused = await ask(what);
    assert.equal(refused.status, 401, what);
    assert.equal(refused.headers.get("www-authenticate"), 'Bearer realm="pgvpd"');
    assert.notEqual((await ask(what, { headers })).status, 401, what);
  }
});

Deno.test("no answer lets a page of another origin read it, or keeps anything", async () => {
  const { ask } = adminWorld();
  for (const what of ["GET /health", "GET /status", "GET /nowhere", "POST /reload"]) {
    const { headers } = await ask(what);
    assert.equal(headers.get("access-control-allow-origin"), null);
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    const foreign = await ask(what, { headers: { origin: "https://evil.example" } });
    assert.equal(foreign.status, what === "GET /health" ? 200 : 403, what);
  }
});

Deno.test("a body that is too large is not read, whatever it says of its size", async () => {
  const { control, ask } = adminWorld();
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled++;
      controller.enqueue(new TextEncoder().encode(" ".repeat(10_000)));
    },
  });
  assert.equal((await ask("POST /log-level", { body: endless })).status, 413);
  assert(pulled < 20, `${pulled} pieces were read`);
  assert.equal((await ask("POST /log-level", { body: " ".repeat(100_000) })).status, 413);
  assert.deepEqual(control.calls, []);
});

Deno.test("what is asked with HEAD is answered without a body", async () => {
  const { ask } = adminWorld();
  for (const path of ["/health", "/metrics", "/status"]) {
    const { status, text } = await ask(`HEAD ${path}`);
    assert.deepEqual([status, text], [200, ""]);
  }
});

Deno.test("another path is not there, another method is not for it", async () => {
  const { ask } = adminWorld();
  assert.equal((await ask("GET /nowhere")).status, 404);
  const { status, headers } = await ask("DELETE /tenants/acme/pause");
  assert.deepEqual([status, headers.get("allow")], [405, "POST"]);
  assert.equal((await ask("GET /tenants/acme/pause")).status, 405);
  assert.equal((await ask("POST /status")).status, 405);
});

Deno.test("the dashboard's page is open, with a policy of its own; its data needs the token", async () => {
  const { ask } = adminWorld({}, TOKEN);
  const page = await ask("GET /");
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-security-policy")!, /script-src 'self'/);
  assert.equal((await ask("GET /dashboard/client.js")).status, 200);
  assert.equal((await ask("GET /dashboard/live")).status, 401);
});
