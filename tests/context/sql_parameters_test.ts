// Parameters are found where the server would find them, and nowhere else.

import assert from "node:assert/strict";
import { parametersIn } from "../../src/context/sql_parameters.ts";

Deno.test("parameters of a query", () => {
  const cases: [sql: string, found: number[]][] = [
    ["SELECT 1", []],
    ["SELECT $1", [1]],
    ["SELECT $2, $1, $2", [1, 2]],
    ["SELECT a FROM b WHERE c=$1AND d=$12", [1, 12]],
    ["SELECT '$1', \"$2\", $3", [3]],
    ["SELECT 'it''s $1' || $2", [2]],
    ["SELECT '\\' || $1 || '\\'", [1]],
    ["SELECT E'\\' $1' || $2", [2]],
    ["SELECT e'\\\\' || $1", [1]],
    ["SELECT foE'\\' || $1", [1]],
    ['SELECT "a""$1" || $2', [2]],
    ["SELECT $$ $1 $$ || $2", [2]],
    ["SELECT $a$ $$ $1 $b$ $a$ || $2", [2]],
    ["SELECT $ä$ $1 $ä$ || $2", [2]],
    ["SELECT a$1, b$$1$$c FROM t", []],
    ["SELECT 1 -- $1\n + $2", [2]],
    ["SELECT /* $1 /* $2 */ $3 */ $4", [4]],
    ["SELECT /* $1", []],
    ["SELECT '$1", []],
    ["SELECT $$ $1", []],
    ["SELECT $1::text, ARRAY[$2], ($3)", [1, 2, 3]],
    ["SELECT 1$1", [1]],
    ["SELECT $0 - $", [0]],
  ];
  for (const [sql, found] of cases) {
    assert.deepEqual([...parametersIn(sql)].sort((a, b) => a - b), found, sql);
  }
});
