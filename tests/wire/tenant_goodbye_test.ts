// Clients that say goodbye behind a statement that still runs: their tenant's limits hold on.

import { WITHOUT_TLS } from "../../src/server.ts";
import { APP_PASSWORD, Bench, eventually, type Front } from "../support/wire_bench.ts";
import { type Mode, modeFront, MODES } from "../support/wire_modes.ts";
import { proxyOptions } from "../support/wire_options.ts";
import { cstring, message, RawClient, startup } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const LIMIT_MS = 2_000;
const POOLS = { poolAuth: "cleartext", poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD };

/** Sends a statement with Terminate behind it, and leaves when the statement runs. */
async function sleepAndLeave(front: Front, mode: Mode): Promise<void> {
  using raw = await RawClient.connect(front.port);
  await raw.send(startup({ user: "trusty.tenant_a", database: "pgvpd_test" }));
  if (mode !== "none") {
    await raw.until("R");
    await raw.send(message("p", cstring(APP_PASSWORD)));
  }
  await raw.until("Z");
  await raw.send(message("Q", cstring("SELECT pg_sleep(600) AS goodbye")), message("X"));
  await bench.running("AS goodbye");
}

async function nothingRuns(): Promise<void> {
  await eventually("its statement has been cancelled", async () =>
    await bench.admin.value(
      "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' " +
        "AND query LIKE '%AS goodbye' AND pid <> pg_backend_pid()",
    ) === 0);
}

for (const mode of MODES) {
  Deno.test(`${mode}: a statement with Terminate behind it has no more time than others`, async () => {
    const limits = { tenantStatementTimeout: LIMIT_MS, poolAuth: "cleartext" } as const;
    await using front = await modeFront(bench, mode, limits);
    await sleepAndLeave(front, mode);
    await nothingRuns();
    await front.empty();
  });

  Deno.test(`${mode}: denying a tenant cancels what its clients have left behind`, async () => {
    await using front = await modeFront(bench, mode, { poolAuth: "cleartext" });
    await sleepAndLeave(front, mode);
    const options = proxyOptions(bench.postgres.port, { poolMode: mode, ...POOLS as object });
    front.proxy.reload(options, { ...WITHOUT_TLS, tenants: { allow: null, deny: ["tenant_a"] } });
    await nothingRuns();
    await front.empty();
  });
}
