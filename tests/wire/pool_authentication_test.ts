// Promise: pgvpd itself asks the clients of a pool for their passwords, by whatever method, with
// every common client; who does not know it is told what PostgreSQL would say, and nothing else.

import assert from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { AuthenticationMethod } from "../../src/session/authentication.ts";
import { Bench, DATABASE, failure, type Front } from "../support/wire_bench.ts";
import { connectPostgresJs, PgClient, psqlMissing } from "../support/wire_clients.ts";
import {
  asked,
  LIBPQS,
  loggedIn,
  loginAs,
  POOL_PASSWORD,
  POOLED,
  psqlWith,
  saslInitialResponse,
  scram,
  servedBy,
  WHO,
} from "../support/wire_logins.ts";
import {
  cstring,
  errorFields,
  message,
  RawClient,
  RawError,
  startup,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const PID = "SELECT pg_backend_pid()";
const FAILED = `password authentication failed for user "${WHO.user}"`;
const METHODS: Record<AuthenticationMethod, number> = { scram: 10, md5: 5, cleartext: 3 };

for (const [name, request] of Object.entries(METHODS)) {
  const poolAuth = name as AuthenticationMethod;

  Deno.test(`${poolAuth}: pg and postgres.js log in, and not with a wrong password`, async () => {
    await using front = await bench.front({ ...POOLED, poolAuth });
    const right = loginAs(front, POOL_PASSWORD);
    const first = await servedBy(right);
    {
      await using sql = connectPostgresJs(right);
      assert.deepEqual([...await sql.unsafe(PID)], [{ pg_backend_pid: first }]);
    }
    const wrong = loginAs(front, "wrong");
    const error = await failure(PgClient.connect(wrong));
    assert.deepEqual([error.code, error.message], ["28P01", FAILED]);
    {
      await using sql = connectPostgresJs(wrong);
      const second = await failure(sql`SELECT 1`);
      assert.deepEqual([second.code, second.message], ["28P01", FAILED]);
    }
    assert.equal(await servedBy(right), first, "the pool's backend was not touched");
  });

  for (const libpq of LIBPQS) {
    Deno.test(`${poolAuth}: psql with ${libpq}`, async () => {
      if (psqlMissing()) return;
      await using front = await bench.front({ ...POOLED, poolAuth });
      const right = loginAs(front, POOL_PASSWORD);
      const served = await psqlWith(libpq, bench, right, ["-c", "SELECT count(*) FROM tenants"]);
      assert.deepEqual([served.out, served.err], ["2", ""]);
      const refused = await psqlWith(libpq, bench, loginAs(front, "wrong"), ["-c", PID]);
      assert.equal(refused.code, 2);
      assert.match(refused.err, new RegExp(`FATAL:  ${FAILED}$`, "m"));
    });
  }

  Deno.test(`${poolAuth}: the method is the one that was asked for, for unknown users too`, async () => {
    const users = new Map([["known", { kind: "cleartext", password: utf8("x") }]] as const);
    const files = { ...(await import("../../src/server.ts")).WITHOUT_TLS, users };
    await using front = await bench.front({ ...POOLED, poolAuth, poolPassword: null }, files);
    for (const role of ["known", "unknown"]) {
      using raw = await RawClient.connect(front.port);
      await raw.send(startup({ user: `${role}.a`, database: DATABASE }));
      const offer = (await raw.until("R"))[0]!.body;
      assert.equal(new DataView(offer.buffer, offer.byteOffset).getInt32(0), request, role);
    }
  });
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("an empty password is refused in the server's own words, by either method", async () => {
  for (const [poolAuth, role] of [["cleartext", "clear_user"], ["md5", "md5_user"]] as const) {
    await using front = await bench.front({ ...POOLED, poolAuth, poolPassword: "x" });
    const [theirs, ours] = [bench.direct.port, front.port].map(async (port) => {
      using raw = await RawClient.connect(port);
      const user = port === front.port ? `${role}.a` : role;
      await raw.send(startup({ user, database: DATABASE }));
      await raw.until("R");
      await raw.send(message("p", cstring("")));
      const error = await failure(raw.until("Z")) as RawError;
      assert.equal(await raw.next(), null);
      const { S, V, C, M } = error.fields;
      return { S, V, C, M };
    });
    assert.deepEqual(await ours, await theirs);
    assert.equal((await ours!)!.C, "28P01");
  }
});

Deno.test("28P01 is what the server says to the same mistake, field by field", async () => {
  await using front = await bench.front({ ...POOLED });
  const fieldsOf = async (port: number, user: string) => {
    using raw = await RawClient.connect(port);
    await raw.send(startup({ user, database: DATABASE }));
    await raw.until("R");
    const answer = await scram(raw, { password: "wrong" });
    assert.equal(answer.type, "E");
    assert.equal(await raw.next(), null, "and closes");
    const { S, V, C, M, D, H } = errorFields(answer.body);
    return { S, V, C, M, D, H };
  };
  const theirs = await fieldsOf(bench.direct.port, "app_user");
  assert.equal(theirs.C, "28P01");
  theirs.M = theirs.M!.replace("app_user", WHO.user);
  assert.deepEqual(await fieldsOf(front.port, WHO.user), theirs);
});

/** Passwords that SASLprep changes, leaves, and refuses; the other spelling is the same password. */
const PASSWORDS: readonly (readonly [password: string, other: string])[] = [
  ["Grüße aus Köln", "Gru\u0308ße aus Ko\u0308ln"],
  ["so\u00adft", "soft"], // a hyphen that is nothing
  ["a\u00a0b", "a b"], // a space that does not break is one
  ["\u2168", "IX"], // compatibility composition
  ["пароль 密码 🐘", "пароль 密码 🐘"],
  ["Grüße", "Grüße"],
  ["bell\u0007", "bell\u0007"], // prohibited: taken as it is
];

Deno.test("scram: passwords that are not ASCII, with every client, as the server takes them", async () => {
  const noPsql = psqlMissing();
  for (const [password, other] of PASSWORDS) {
    await using front = await bench.front({ ...POOLED, poolPassword: password });
    if (password === other) await servedByJavaScript(front, password);
    if (noPsql) continue;
    await bench.admin.run(`ALTER ROLE mixed_user PASSWORD '${password}'`);
    for (const libpq of LIBPQS) {
      for (const typed of [password, other]) {
        const args = ["-c", "SELECT 1"];
        const ours = await psqlWith(libpq, bench, loginAs(front, typed), args);
        assert.equal(ours.out, "1", JSON.stringify([typed, ours.err]));
        const direct = { port: bench.direct.port, user: "mixed_user", password: typed };
        assert.equal((await psqlWith(libpq, bench, direct, args)).out, "1", "the server agrees");
      }
    }
  }
});

/** The clients in JavaScript do without SASLprep. */
async function servedByJavaScript(front: Front, password: string): Promise<void> {
  await servedBy(loginAs(front, password));
  await using sql = connectPostgresJs(loginAs(front, password));
  assert.equal((await sql`SELECT 1 AS one`)[0]!["one"], 1);
}

Deno.test("a cleartext password is compared as SCRAM would compare it", async () => {
  const [password, other] = PASSWORDS[0]!;
  await using front = await bench.front({
    ...POOLED,
    poolPassword: password,
    poolAuth: "cleartext",
  });
  await servedBy(loginAs(front, password));
  await servedBy(loginAs(front, other));
  assert.equal((await failure(servedBy(loginAs(front, "Gruesse")))).code, "28P01");
});

Deno.test("fifty logins at once never hold the event loop", async () => {
  await using front = await bench.front({
    ...POOLED,
    poolSize: 2,
    poolAuth: "cleartext",
    authFailureLimit: 1_000_000,
  });
  // The machine may hold it, too, but not every time: what pgvpd does is the same in each round.
  const held: number[] = [];
  for (let round = 0; round < 5; round++) held.push(await heldByLogins(front, round));
  assert(Math.min(...held) < 250, `the event loop stood still for ${held.join(", ")} ms`);
  await servedBy(loginAs(front, POOL_PASSWORD));
});

/** The longest time in ms that the event loop stands still while fifty log in. */
async function heldByLogins(front: Front, round: number): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  // Fifty different passwords: none of the keys is in any cache.
  const attempts = Array.from({ length: 50 }, async (_, index) => {
    using raw = await RawClient.connect(front.port);
    await raw.send(startup(WHO), message("p", cstring(`wrong ${round} ${index}`)));
    const error = await failure(raw.until("Z")) as RawError;
    assert.equal(error.code, "28P01");
  });
  await Promise.all(attempts);
  delay.disable();
  return delay.max / 1e6;
}

Deno.test("the password is in no log record, no error and no list of processes", async () => {
  const secret = "hunter2-Ωmega";
  await using front = await bench.front({ ...POOLED, poolPassword: secret });
  await using held = await PgClient.connect(loginAs(front, secret));
  const guess = "guess-of-hunter3";
  const error = await failure(PgClient.connect(loginAs(front, guess)));
  const { raw } = await loggedInOnceFree(front, held, secret);
  using _ = raw;
  const activity = JSON.stringify(await bench.admin.rows("SELECT * FROM pg_stat_activity"));
  const shown = [error.message, JSON.stringify({ ...error }), activity, JSON.stringify(front.log)];
  for (const text of [...shown, bench.postgres.log]) {
    for (const word of [secret, guess, btoa(guess)]) assert(!text.includes(word), word);
  }
  assert.match(
    JSON.stringify(front.log),
    /password authentication failed/,
    "the log was looked at",
  );
});

async function loggedInOnceFree(
  front: Parameters<typeof loggedIn>[0],
  held: PgClient,
  password: string,
) {
  await held[Symbol.asyncDispose]();
  return await loggedIn(front, password);
}

Deno.test("a proof of one exchange is worth nothing in another", async () => {
  await using front = await bench.front(POOLED);
  let recorded = "";
  {
    using raw = await asked(front);
    const tamper = (final: string) => recorded = final;
    assert.equal((await scram(raw, { password: POOL_PASSWORD, tamper })).type, "R");
  }
  using raw = await asked(front);
  const replayed = await scram(raw, { password: POOL_PASSWORD, tamper: () => recorded });
  assert.equal(replayed.type, "E");
  assert.equal(errorFields(replayed.body)["C"], "08P01");
});

Deno.test("SCRAM-SHA-256-PLUS cannot be chosen where it was not offered", async () => {
  await using front = await bench.front(POOLED);
  using raw = await asked(front);
  await raw.send(saslInitialResponse("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"));
  const error = await failure(raw.until("R")) as RawError;
  assert.equal(error.fields["M"], "client selected an invalid SASL authentication mechanism");
});
