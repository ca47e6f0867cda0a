// Array literals, as array_out of the server writes them.

import assert from "node:assert/strict";
import { arrayLiteral } from "../../src/context/array_literal.ts";

Deno.test("values are quoted where the server would quote them", () => {
  assert.equal(arrayLiteral([]), "{}");
  assert.equal(arrayLiteral(["a", "1", "ä-b_c:d/e.f'g"]), "{a,1,ä-b_c:d/e.f'g}");
  assert.equal(arrayLiteral([null, "NULL", "null", "nullx"]), '{NULL,"NULL","null",nullx}');
  assert.equal(arrayLiteral(["", " ", "a b", "a\tb", "a,b"]), '{""," ","a b","a\tb","a,b"}');
  assert.equal(arrayLiteral(["{", "}", '"', "\\"]), '{"{","}","\\"","\\\\"}');
});
