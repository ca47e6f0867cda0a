// Promise: what resolvers find is in the context before the client may speak, in every mode, and
// nobody comes in whom they refuse.

import assert from "node:assert/strict";
import {
  as,
  MEMBERSHIP,
  MODES,
  resolverFront,
  seenBy,
  startResolverBench,
} from "../support/resolver_bench.ts";
import { type Bench, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await startResolverBench()));
Deno.test.afterAll(() => bench.stop());

for (const mode of MODES) {
  Deno.test(`${mode}: 3.1: a resolver fills the variables`, async () => {
    await using front = await resolverFront(bench, mode, MEMBERSHIP);
    assert.deepEqual(await seenBy(as(front, "alice"), "app.org_id", "app.org_role"), {
      "app.org_id": "1",
      "app.org_role": "admin",
    });
    assert.deepEqual(await seenBy(as(front, "bob"), "app.org_id", "app.org_role"), {
      "app.org_id": "2",
      "app.org_role": "reader",
    });
  });

  Deno.test(`${mode}: 3.2: for an unknown user they are empty`, async () => {
    await using front = await resolverFront(bench, mode, MEMBERSHIP);
    assert.deepEqual(await seenBy(as(front, "nobody"), "app.org_id", "app.org_role"), {
      "app.org_id": "",
      "app.org_role": "",
    });
  });

  Deno.test(`${mode}: required, and no row: FATAL 28000 and nothing else`, async () => {
    await using front = await resolverFront(bench, mode, `${MEMBERSHIP}required = true\n`);
    const error = await failure(PgClient.connect(as(front, "nobody")));
    assert.equal(error.code, "28000");
    assert.equal(
      error.message,
      'the session context could not be resolved: "org_membership" found nothing',
    );
    assert.equal((await seenBy(as(front, "alice"), "app.org_id"))["app.org_id"], "1");
  });
}
