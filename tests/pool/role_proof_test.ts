// RoleProof: a role that leaves row-level security is refused, the others are asked about once.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { RoleProof } from "../../src/pool/role_proof.ts";
import { converse, type Say } from "../../src/pool/statements.ts";
import { queryReplies, serverWorld } from "../support/server_world.ts";
import { commandComplete, dataRow, message, readyForQuery } from "../support/messages.ts";

function world() {
  const { backend, server } = serverWorld();
  const proof = new RoleProof();
  const said = { times: 0 };
  const say: Say = (exchanges) => {
    said.times++;
    return converse(backend, exchanges);
  };
  return { proof, say, said, server };
}

Deno.test("role proof: a bound role is asked about once", async () => {
  const { proof, say, said, server } = world();
  const proving = proof.prove("app", "somewhere", say);
  await server.expectAll("PBECS");
  await server.send(...queryReplies("f"));
  await proving;
  await proof.prove("app", "somewhere", say);
  assert.equal(said.times, 1);
});

Deno.test("role proof: a role that is not bound is refused, each time", async () => {
  const { proof, say, server } = world();
  for (let time = 0; time < 2; time++) {
    const proving = proof.prove("root", "set_role", say).catch((error) => error);
    await server.expectAll("PBECS");
    await server.send(...queryReplies("t"));
    const error = await proving;
    assert(error instanceof PgError);
    assert.equal(error.sqlState, "28000");
    assert.match(error.fields.detail!, /set_role/);
  }
});

Deno.test("role proof: a role that does not exist yet is asked about again", async () => {
  const { proof, say, said, server } = world();
  for (let time = 1; time <= 2; time++) {
    const proving = proof.prove("later", "somewhere", say);
    await server.expectAll("PBECS");
    await server.send(
      ...[message("1"), message("2"), dataRow([null]), commandComplete("SELECT 1")],
      ...[message("3"), readyForQuery()],
    );
    await proving;
    assert.equal(said.times, time);
  }
});
