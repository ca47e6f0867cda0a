// Promise: when file descriptors run out, pgvpd says so, waits, and goes on.

import assert from "node:assert/strict";
import { PgvpdProcess } from "../support/process_pgvpd.ts";
import { Bench, DATABASE } from "../support/wire_bench.ts";
import { RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(() => bench.stop());

const DESCRIPTORS_MAX = 64;

Deno.test({
  name: "exhausted descriptors are logged and survived",
  ignore: Deno.build.os === "windows",
  async fn() {
    const limit = `ulimit -n ${DESCRIPTORS_MAX}; exec "$0" "$@"`;
    await using process = await PgvpdProcess.serve(
      ["--port", "0", "--upstream-port", `${bench.postgres.port}`],
      { prefix: ["sh", "-c", limit] },
    );
    const silent: RawClient[] = [];
    for (let count = 0; count < DESCRIPTORS_MAX; count++) {
      silent.push(await RawClient.connect(process.port)); // the kernel accepts what pgvpd cannot
    }
    const entry = await process.logged("could not accept a connection");
    assert.match(String(entry["error"]), /too many open files/i);
    await process.logged("could not accept a connection", 3);
    assert(process.entries("could not accept a connection").length < 100, "it backs off");

    for (const client of silent) client[Symbol.dispose]();
    using client = await RawClient.connect(process.port);
    await client.login({ user: "trusty.tenant_a", database: DATABASE });
    assert.equal(process.entries("could not accept a connection").at(-1)?.level, "ERROR");
  },
});
