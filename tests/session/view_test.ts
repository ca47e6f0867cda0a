// How a session stands: while it logs in, while it is served, when it is held, and when it is over.

import { strict as assert } from "node:assert";
import { establish, startSession } from "../support/session_world.ts";
import { message } from "../support/messages.ts";

Deno.test("a client that has said nothing yet is at its login, and nobody", async () => {
  const world = startSession();
  const { client, dedicated, member } = world.session.view;
  assert.equal(client.state, "login");
  assert.deepEqual([client.tenant, client.role, client.applicationName], [null, null, ""]);
  assert.deepEqual([dedicated, member], [null, null]);
  world.client.transport.close();
  await world.over;
});

Deno.test("a client that is served is shown with what it has moved, and its connection", async () => {
  const world = await establish();
  const { client, dedicated, tenant } = world.session.view;
  assert.deepEqual(
    [client.state, tenant, client.role, client.database, client.applicationName],
    ["idle", "acme", "app", "shop", "test"],
  );
  assert.equal(dedicated?.client, 0);
  assert.equal(dedicated?.address, "db.test:5432");
  world.session.hold();
  await world.client.send(message("Q", new Uint8Array([65, 0])));
  while (world.session.view.state !== "paused") await new Promise((go) => setTimeout(go, 1));
  assert.equal(world.session.view.traffic.bytesIn, 7);
  world.client.transport.close();
  world.session.release();
  await world.over;
  assert.equal(world.session.view.traffic.bytesIn, 0, "it belongs to the past");
});
