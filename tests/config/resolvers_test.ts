// resolvers.toml: every field is taken as it is meant, and every mistake is told where it stands.

import assert from "node:assert/strict";
import { parseResolvers } from "../../src/config/resolvers.ts";

function problems(toml: string): string[] {
  return parseResolvers(toml).problems.map(({ line, column, message }) =>
    `${line}:${column} ${message}`
  );
}

Deno.test("the seed's own example, and what is left out", () => {
  const { definitions, problems } = parseResolvers(`
# resolvers.toml
[[resolver]]
name = "org_membership"
query = "SELECT org_id, role FROM org_members WHERE user_id = $1"
params = ["app.current_user_id"]
inject = { "app.org_id" = "org_id", "app.org_role" = "role" }
cache_ttl = 300
`);
  assert.deepEqual(problems, []);
  const { placeOf, ...rest } = definitions[0]!;
  assert.deepEqual(rest, {
    name: "org_membership",
    query: "SELECT org_id, role FROM org_members WHERE user_id = $1",
    params: ["app.current_user_id"],
    inject: [
      { variable: "app.org_id", column: "org_id" },
      { variable: "app.org_role", column: "role" },
    ],
    required: false,
    dependsOn: [],
    cacheTtl: 300_000,
    timeout: 5_000,
    onNullInput: "skip",
    rows: "one",
    runAs: null,
  });
  assert.deepEqual(placeOf("inject", "app.org_role"), { line: 7, column: 37 });
});

Deno.test("every field, with units and as tables of their own", () => {
  const { definitions, problems } = parseResolvers(`[[resolver]]
name = "a-1"
query = '''SELECT 1'''
params = ["role", "app.B"]
required = true
depends_on = ["b", "c"]
cache_ttl = "5m"
timeout = "250ms"
on_null_input = "run"
rows = "array"
run_as = "App User"
[resolver.inject]
role = "r"
"app.x" = "Y z"
[[resolver]]
name = "gate"
query = "SELECT"
required = true
`);
  assert.deepEqual(problems, []);
  const [first, gate] = definitions;
  const { placeOf: _, ...all } = first!;
  assert.deepEqual(all, {
    name: "a-1",
    query: "SELECT 1",
    params: ["role", "app.B"],
    inject: [{ variable: "role", column: "r" }, { variable: "app.x", column: "Y z" }],
    required: true,
    dependsOn: ["b", "c"],
    cacheTtl: 300_000,
    timeout: 250,
    onNullInput: "run",
    rows: "array",
    runAs: "App User",
  });
  assert.equal(gate!.onNullInput, "fail", "when a row is required, an input is");
});

const good = `name = "a"\nquery = "SELECT 1"\ninject = { "app.x" = "x" }\n`;

Deno.test("each mistake has its sentence and its place", () => {
  const cases: [toml: string, told: readonly (string | RegExp)[]][] = [
    ["", ["1:1 no resolver in it; each one begins with [[resolver]]"]],
    ["[[resolver]\nname = 1", [/^1:\d+ no valid TOML: /]],
    ["[[resolver]]\nname = 'a'\nname = 'b'", [/^3:1 no valid TOML: .*defin/]],
    [`title = 1\n[[resolver]]\n${good}`, [/^1:1 unknown key "title"/]],
    [`[resolver]\n${good}`, ["1:1 no resolver in it; each one begins with [[resolver]]"]],
    ["resolver = [1]", [/^1:1\d resolver must be a table/]],
    [`[[resolver]]\n${good}querry = "x"`, [
      '5:1 unknown field "querry"; did you mean "query"?',
    ]],
    ["[[resolver]]\ninject = { }", ['1:1 "name" is missing', '1:1 "query" is missing']],
    ["[[resolver]]\nname = 'a'\nquery = 'b'", [/^1:1 "inject" is missing/]],
    [`[[resolver]]\n${good.replace('"a"', '"*"')}`, [/^2:1 "name" must begin with a letter/]],
    [`[[resolver]]\n${good.replace('"a"', `"${"x".repeat(64)}"`)}`, [/^2:1 "name" must begin/]],
    [`[[resolver]]\n${good.replace('"a"', "7")}`, ['2:1 "name" must be text']],
    [`[[resolver]]\n${good.replace("SELECT 1", "  ")}`, ['3:1 "query" must not be blank']],
    [`[[resolver]]\n${good.replace("SELECT 1", "\\u0000")}`, ['3:1 "query" must not contain NUL']],
    [`[[resolver]]\n${good}params = ["app.y", 1]`, ['5:20 "params" must be text']],
    [`[[resolver]]\n${good}params = "app.y"`, ['5:1 "params" must be a list of texts']],
    [`[[resolver]]\n${good}params = ["plain"]`, [/^5:11 "params" "plain" is no variable name/]],
    [`[[resolver]]\n${good.replace("app.x", "pgvpd.x")}`, [/^4:12 "inject" "pgvpd.x" is reserved/]],
    [`[[resolver]]\n${good.replace("app.x", "a.b,c.d")}`, [/^4:12 .*comma/]],
    [`[[resolver]]\n${good.replace('"x" }', "1 }")}`, [
      '4:12 the column of "app.x" must be text',
    ]],
    ['[[resolver]]\nname = "a"\nquery = "b"\ninject = "c"', [/^4:1 "inject" must be a table/]],
    [`[[resolver]]\n${good}required = 1`, ['5:1 "required" must be true or false']],
    [`[[resolver]]\n${good}cache_ttl = -1`, [/^5:1 "cache_ttl" must be a time from 0 to 168h/]],
    [`[[resolver]]\n${good}cache_ttl = 1.5`, [/^5:1 "cache_ttl" must be a time/]],
    [`[[resolver]]\n${good}timeout = 0`, [/^5:1 "timeout" must be a time from 1ms/]],
    [`[[resolver]]\n${good}timeout = true`, [/^5:1 "timeout" must be a time/]],
    [`[[resolver]]\n${good}on_null_input = "fial"`, [
      '5:1 "on_null_input" must be skip or run or fail; did you mean "fail"?',
    ]],
    [`[[resolver]]\n${good}rows = 2`, ['5:1 "rows" must be first or one or array']],
    [`[[resolver]]\n${good}run_as = "none"`, [/^5:1 "run_as" must be a role name/]],
    [`[[resolver]]\n${good}depends_on = ["b c"]`, [/^5:15 "depends_on" must begin with a letter/]],
    [`[[resolver]]\n${good}\n`.repeat(101), [/^501:1 more than 100 resolvers/]],
  ];
  for (const [toml, told] of cases) {
    const found = problems(toml);
    assert.equal(found.length, told.length, `${toml.slice(0, 200)}: ${found}`);
    told.forEach((sentence, index) => {
      if (typeof sentence === "string") assert.equal(found[index], sentence);
      else assert.match(found[index]!, sentence);
    });
  }
});

Deno.test("all mistakes are told at once", () => {
  assert.equal(problems("[[resolver]]\nname = 1\nquery = 2\nrows = 3\nx = 4").length, 5);
});
