// Promise: pgvpd negotiates the protocol itself: 3.0 and 3.2 are spoken, newer ones and options
// that nobody knows are answered as PostgreSQL 18 answers them, and each version has its own keys.

import assert from "node:assert/strict";
import { Bench, DATABASE, failure } from "../support/wire_bench.ts";
import { psqlMissing } from "../support/wire_clients.ts";
import {
  LIBPQS,
  loginAs,
  POOL_PASSWORD,
  POOLED,
  psqlWith,
  scram,
  servedBy,
  WHO,
} from "../support/wire_logins.ts";
import {
  cancelKey,
  cancelRequest,
  RawClient,
  type RawError,
  startup,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const version = (minor: number) => (3 << 16) | minor;

/** Everything up to the request for a password. */
async function offers(port: number, user: string, minor: number, options: Record<string, string>) {
  const raw = await RawClient.connect(port);
  await raw.send(startup({ user, database: DATABASE, ...options }, version(minor)));
  const messages = await raw.until("R");
  return { raw, messages };
}

const OPTIONS: readonly Record<string, string>[] = [
  {},
  { "_pq_.unknown": "x" },
  { "_pq_.a": "", "application_name": "test", "_pq_.b": "2" },
];

for (const minor of [0, 2, 3, 9_999]) {
  for (const options of OPTIONS) {
    const names = Object.keys(options).join(", ") || "no options";
    Deno.test(`3.${minor} with ${names}: negotiated as PostgreSQL 18 does, and served`, async () => {
      await using front = await bench.front(POOLED);
      const theirs = await offers(bench.postgres.port, "app_user", minor, options);
      const ours = await offers(front.port, WHO.user, minor, options);
      using raw = ours.raw;
      theirs.raw.close();
      const negotiated = ({ messages }: typeof theirs) =>
        messages.filter(({ type }) => type !== "R");
      assert.deepEqual(negotiated(ours), negotiated(theirs));
      assert.equal(
        negotiated(ours).length,
        minor > 2 || options["_pq_.unknown"] || options["_pq_.b"] ? 1 : 0,
      );

      assert.equal((await scram(raw, { password: POOL_PASSWORD })).type, "R");
      const { secret } = cancelKey(await raw.until("Z"));
      assert.equal(secret.length, minor >= 2 ? 32 : 4);
      assert.deepEqual(await raw.query("SELECT count(*) FROM tenants"), [["2"]]);
    });
  }
}

Deno.test("other major versions are refused, in PostgreSQL's words", async () => {
  await using front = await bench.front(POOLED);
  for (const code of [4 << 16, (5 << 16) | 1]) {
    const refusal = async (port: number, user: string) => {
      using raw = await RawClient.connect(port);
      await raw.send(startup({ user, database: DATABASE }, code));
      const { fields } = await failure(raw.until("R")) as RawError;
      return [fields["C"], fields["M"]!.split(":")[0]];
    };
    const theirs = await refusal(bench.postgres.port, "app_user");
    assert.deepEqual(await refusal(front.port, WHO.user), theirs);
  }
});

for (const minor of [0, 2]) {
  Deno.test(`3.${minor}: the key cancels the query of its own client, and nothing when it is wrong`, async () => {
    await using front = await bench.front(POOLED);
    const { raw } = await offers(front.port, WHO.user, minor, {});
    using _ = raw;
    await scram(raw, { password: POOL_PASSWORD });
    const key = cancelKey(await raw.until("Z"));
    const sleeping = failure(raw.query("SELECT pg_sleep(20)"));
    const pid = await bench.running("pg_sleep(20)");
    for (
      const wrong of [
        { ...key, processId: pid },
        { ...key, secret: key.secret.map((byte) => byte ^ 1) },
        { ...key, secret: key.secret.subarray(1) },
      ]
    ) {
      using stranger = await RawClient.connect(front.port);
      await stranger.send(cancelRequest(wrong));
      assert(await stranger.ended(), "dropped without a word");
    }
    assert.equal(await bench.running("pg_sleep(20)"), pid, "it goes on");
    using friend = await RawClient.connect(front.port);
    await friend.send(cancelRequest(key));
    assert(await friend.ended());
    assert.equal((await sleeping as RawError).code, "57014");
    raw.close();
    assert.equal(await servedBy(loginAs(front, POOL_PASSWORD)), pid);
  });
}

for (const libpq of LIBPQS) {
  for (const max of libpq === "libpq 18" ? ["3.0", "3.2", "latest"] : [""]) {
    Deno.test(`psql with ${libpq}${max && `, max_protocol_version=${max}`}`, async () => {
      if (psqlMissing()) return;
      await using front = await bench.front(POOLED);
      const env = max === "" ? {} : { PGMAXPROTOCOLVERSION: max };
      const login = loginAs(front, POOL_PASSWORD);
      const sql = "SELECT count(*) FROM tenants";
      const { out, err } = await psqlWith(libpq, bench, login, ["-c", sql], env);
      assert.deepEqual([out, err], ["2", ""]);
    });
  }
}

Deno.test("libpq 18 that insists on 3.2 gets it", async () => {
  if (psqlMissing()) return;
  await using front = await bench.front(POOLED);
  const env = { PGMINPROTOCOLVERSION: "3.2", PGMAXPROTOCOLVERSION: "latest" };
  const login = loginAs(front, POOL_PASSWORD);
  assert.equal((await psqlWith("libpq 18", bench, login, ["-c", "SELECT 1"], env)).out, "1");
});
