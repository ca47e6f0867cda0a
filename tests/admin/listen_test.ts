// The admin API on a port: it is asked, it answers with where it was asked from, and it ends.

import { strict as assert } from "node:assert";
import { startAdmin } from "../../src/admin/listen.ts";
import { fakeControl } from "../support/fake_control.ts";

Deno.test("it listens on a free port, takes new settings at once, and stops", async () => {
  const control = fakeControl();
  let token: string | null = null;
  const settings = () => ({ token, names: [], metricsTenants: 50 });
  const server = startAdmin(control, { host: "127.0.0.1", port: 0 }, settings);
  const url = `http://127.0.0.1:${server.port}`;
  const statusOf = async (path: string, method = "GET") => {
    const response = await fetch(url + path, { method });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await statusOf("/metrics"), 200);
  assert.equal(await statusOf("/tenants/acme/pause", "POST"), 200);
  assert.match(control.calls[0]!, /"from":"127\.0\.0\.1:\d+"/);
  token = "from now on";
  assert.equal(await statusOf("/metrics"), 401);
  await server.stop();
  await assert.rejects(fetch(`${url}/health`));
});
