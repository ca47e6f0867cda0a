// Promise: whatever a user name holds, a resolver is asked for exactly that, and what it answers
// is in the variable byte for byte.

import assert from "node:assert/strict";
import {
  as,
  type Mode,
  MODES,
  resolverFront,
  seenBy,
  startResolverBench,
} from "../support/resolver_bench.ts";
import { type Bench, failure, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { RawClient, startup } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await startResolverBench()));
Deno.test.afterAll(() => bench.stop());

/** The user name comes back: by parameter, out of a row, and through a second resolver. */
const ECHO = `
[[resolver]]
name = "echo"
query = "SELECT $1::text AS same, octet_length($1) AS size, md5($1) AS hash -- not $2"
params = ["app.current_tenant_id"]
inject = { "app.same" = "same", "app.size" = "size", "app.hash" = "hash" }

[[resolver]]
name = "again"
query = '''SELECT $1::text || '$2' || $2 AS both, '$1' AS literal /* $3 */'''
params = ["app.same", "app.current_tenant_id"]
inject = { "app.both" = "both", "app.literal" = "literal" }

[[resolver]]
name = "listed"
query = "SELECT $1::text AS word UNION ALL SELECT 'plain'"
params = ["app.same"]
inject = { "app.list" = "word" }
rows = "array"
`;

const CORPUS = [
  "'",
  "''",
  "'; DROP TABLE org_members; --",
  "' OR 1=1 --",
  "$1",
  "$2",
  "'$1'",
  "$$; SELECT 1; $$",
  "$tag$ $tag$",
  "\\",
  "\\'",
  "\\\\'; SELECT 1 --",
  "E'\\x27'",
  '"quoted"',
  '{"a",NULL}',
  "{}",
  "NULL",
  "null",
  "/* comment */",
  "-- comment",
  "a\nb\tc\rd",
  "\u0001\u001f\u007f",
  "größe €uro 日本語 🦀",
  "\ufeffmark",
  "e\u0301 is not \u00e9",
  "\u202eright to left",
  "%s %n {0} ${x} `x`",
  "x".repeat(2_000),
  "'".repeat(500),
  " leading and trailing ",
  "a:b.c/d@e",
];

const echoFront = async (mode: Mode, overrides = {}): Promise<Front> =>
  await resolverFront(bench, mode, ECHO, overrides);

for (const mode of MODES) {
  for (const whose of ["its own", "the client's"]) {
    Deno.test(`${mode}: every string arrives byte for byte, on ${whose} connection`, async () => {
      const overrides = whose === "its own" ? {} : { resolverUser: null, resolverPassword: null };
      await using front = await echoFront(mode, overrides);
      for (const word of CORPUS) {
        await using client = await PgClient.connect(as(front, word));
        const [row] = await client.rows(
          `SELECT current_setting('app.same') AS same, current_setting('app.both') AS both,
                  current_setting('app.size')::int AS size,
                  current_setting('app.literal') AS literal,
                  md5(current_setting('app.same')) = current_setting('app.hash') AS "sameBytes",
                  current_setting('app.current_tenant_id') AS tenant,
                  current_setting('app.list')::text[] AS list`,
        );
        assert.deepEqual(row, {
          same: word,
          both: `${word}$2${word}`,
          size: new TextEncoder().encode(word).length,
          literal: "$1",
          sameBytes: true,
          tenant: word,
          list: [word, "plain"],
        });
      }
      assert.equal(await bench.admin.value("SELECT count(*)::int FROM org_members"), 5);
    });
  }

  Deno.test(`${mode}: a user name with NUL or what is no UTF-8 is refused`, async () => {
    await using front = await echoFront(mode);
    for (const name of [Uint8Array.of(0xff, 0xfe), Uint8Array.of(0xc0, 0x80)]) {
      using raw = await RawClient.connect(front.port);
      const user = Uint8Array.of(...new TextEncoder().encode("trusty."), ...name);
      await raw.send(startup({ user, database: "pgvpd_test" }));
      const error = await failure(raw.until("Z"));
      assert.equal(error.code, "22021");
    }
    using raw = await RawClient.connect(front.port);
    const packet = startup({ user: "trusty.a_b", database: "pgvpd_test" });
    packet[packet.indexOf("_".charCodeAt(0))] = 0; // "b" is a parameter's name then
    await raw.send(packet);
    assert.equal((await failure(raw.until("Z"))).code, "08P01");
    assert.equal((await seenBy(as(front, "fine"), "app.same"))["app.same"], "fine");
  });
}

Deno.test("the second value of a user name is never looked for in the first", async () => {
  const two = {
    contextVariables: ["app.current_tenant_id", "app.user_id"],
    valueSeparator: "|",
  };
  const toml = `
[[resolver]]
name = "lookup"
query = "SELECT count(*)::text AS found FROM org_members WHERE user_id = $1 AND role = $2"
params = ["app.current_tenant_id", "app.user_id"]
inject = { "app.found" = "found" }`;
  for (const mode of MODES) {
    await using front = await resolverFront(bench, mode, toml, two);
    const found = async (user: string) => (await seenBy(as(front, user), "app.found"))["app.found"];
    assert.equal(await found("alice|admin"), "1");
    assert.equal(await found(" OR 1=1 --|$1"), "0");
    assert.equal(await found("$2|alice"), "0");
    assert.equal(await found("|"), "0");
  }
});
