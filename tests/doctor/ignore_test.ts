// Promise: an entry silences exactly what it names, needs a reason, and is told of when it is idle.

import assert from "node:assert/strict";
import { CHECKS } from "../../src/doctor/examine.ts";
import { IgnoreError, parseIgnoreFile, silence } from "../../src/doctor/ignore.ts";
import type { Finding } from "../../src/doctor/lint.ts";

const entry = (lint: string, object: string, reason = "known") =>
  `[[ignore]]\nlint = "${lint}"\nobject = "${object}"\nreason = "${reason}"\n`;
const finding = (object: string): Finding => ({
  ...{ lint: "T02", name: "no_tenant_column", severity: "warning", object, detail: "d" },
  ...{ why: "w", fix: "f" },
});
const silenced = (text: string, ...objects: string[]) => {
  const result = silence(objects.map(finding), parseIgnoreFile(text, CHECKS));
  return {
    left: result.findings.map(({ lint, object }) => `${lint} ${object}`),
    silenced: result.silenced.map(({ object, reason }) => `${object}: ${reason}`),
  };
};

Deno.test("an entry silences its lint, by id or name, on its object", () => {
  for (const lint of ["T02", "no_tenant_column"]) {
    assert.deepEqual(silenced(entry(lint, "public.a", "read only"), "public.a", "public.b"), {
      left: ["T02 public.b"],
      silenced: ["public.a: read only"],
    });
  }
});

Deno.test("a star stands for any characters, and nothing else is a pattern", () => {
  const { left, silenced: gone } = silenced(entry("T02", "public.*_list"), "public.a_list", "x.a");
  assert.deepEqual([left, gone.length], [["T02 x.a"], 1]);
  assert.equal(silenced(entry("T02", "a.b+"), "a.b+", "axb+", "a.bb").silenced.length, 1);
  assert.equal(silenced(entry("T02", "a"), "ab", "ba").silenced.length, 0);
});

Deno.test("an entry of another lint, or for nothing, is a finding itself", () => {
  assert.deepEqual(silenced(entry("T01", "public.a"), "public.a").left, [
    "T02 public.a",
    "X01 T01 public.a",
  ]);
  assert.deepEqual(silenced(entry("T02", "a") + entry("T02", "a"), "a").left, ["X01 T02 a"]);
  assert.deepEqual(silenced("", "public.a"), { left: ["T02 public.a"], silenced: [] });
});

Deno.test("mistakes are told", () => {
  const mistakes: [text: string, sentence: RegExp][] = [
    [entry("T02", "a", ""), /^entry 1 lacks its reason$/],
    [entry("T02", "a", "  "), /^entry 1 lacks its reason$/],
    [entry("T02", "a") + "[[ignore]]\nlint = 'T02'\nreason = 'x'", /^entry 2 lacks its object$/],
    [entry("T99", "a"), /^entry 1 names a lint that does not exist: "T99"$/],
    [`${entry("T02", "a")}why = "x"`, /^entry 1 has an unknown field "why"$/],
    ["[[ignored]]", /^"ignored" is not known; write \[\[ignore\]\]$/],
    ["[ignore]\nlint = 'T02'", /^write \[\[ignore\]\], in double brackets$/],
    ["ignore = [1]", /^entry 1 is no table$/],
    ["[[ignore]]\nlint = ", /^line 2, column \d+: /],
  ];
  for (const [text, sentence] of mistakes) {
    assert.throws(
      () => parseIgnoreFile(text, CHECKS),
      (error) => error instanceof IgnoreError && sentence.test(error.message),
      text,
    );
  }
});
