// Promise: what is tried is tried as somebody else, spoils nothing that is tried next, and is gone
// afterwards.

import assert from "node:assert/strict";
import { identifier, inDisguise, literal } from "../../src/doctor/session.ts";
import { DoctorBench } from "../support/doctor_bench.ts";

let bench: DoctorBench;
Deno.test.beforeAll(async () => void (bench = await DoctorBench.start()));
Deno.test.afterAll(() => bench[Symbol.asyncDispose]());

const APP = { login: "app_user", wholeSession: true, setRole: null };
const WHO = "SELECT session_user::text AS s, current_user::text AS c";

Deno.test("a superuser becomes the role with its session, or for a time", async () => {
  const who = (disguise: typeof APP) => inDisguise(bench.query, disguise, (trial) => trial(WHO));
  assert.deepEqual(await who(APP), [{ s: "app_user", c: "app_user" }]);
  const forATime = { ...APP, wholeSession: false };
  assert.deepEqual(await who(forATime), [{ s: "postgres", c: "app_user" }]);
  assert.deepEqual(await bench.query(WHO), [{ s: "postgres", c: "postgres" }]);
});

Deno.test("set_role comes on top, and only where the login may", async () => {
  await bench.query("CREATE ROLE on_top; GRANT on_top TO app_user; CREATE ROLE beyond");
  try {
    const with_ = (setRole: string) =>
      inDisguise(bench.query, { ...APP, setRole }, (trial) => trial(WHO));
    assert.deepEqual(await with_("on_top"), [{ s: "app_user", c: "on_top" }]);
    await assert.rejects(with_("beyond"), /permission denied/);
    assert.deepEqual(await bench.query(WHO), [{ s: "postgres", c: "postgres" }]);
  } finally {
    await bench.query("DROP ROLE on_top, beyond");
  }
});

Deno.test("a refusal is an outcome, and the next trial starts afresh", async () => {
  await inDisguise(bench.query, APP, async (trial) => {
    const refused = await trial("SELECT 1 / 0");
    assert.ok(refused instanceof Error && /division by zero/.test(refused.message));
    await trial("SET LOCAL work_mem = '1MB'");
    const left = await trial("SELECT current_setting('work_mem') AS m");
    assert.deepEqual(left, [{ m: "4MB" }]);
    const written = await trial("CREATE TABLE x (y int)");
    assert.ok(written instanceof Error && /read-only transaction/.test(written.message));
  });
});

Deno.test("names and texts stay what they are, whatever is in them", async () => {
  for (const text of ["a", "o'clock", 'in "quotes"', "back\\slash'", "", "ü\n"]) {
    for (const conforming of ["on", "off"]) {
      await bench.inTransaction(async () => {
        await bench.query(`SET LOCAL standard_conforming_strings = ${conforming}`);
        const [row] = await bench.query(`SELECT ${literal(text)} AS ${identifier(`c${text}`)}`);
        assert.deepEqual(row, { [`c${text}`]: text });
      });
    }
  }
});
