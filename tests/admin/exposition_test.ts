// The text format: what a name holds is told from what the format means by it.

import assert from "node:assert/strict";
import { familyText } from "../../src/admin/exposition.ts";
import { Histogram } from "../../src/meters.ts";
import { parseExposition, sampleOf } from "../support/exposition.ts";

Deno.test("samples stand behind their help and type; quotes and line feeds are escaped", () => {
  const head = { name: "x_total", type: "counter", help: "a \\ b\nc" } as const;
  const text = familyText(head, [[{}, 1.5], [{ tenant: 'a"b\\c\nd', role: "r" }, 2]]);
  assert.equal(
    text,
    "# HELP x_total a \\\\ b\\nc\n# TYPE x_total counter\nx_total 1.5\n" +
      'x_total{tenant="a\\"b\\\\c\\nd",role="r"} 2\n',
  );
  assert.equal(sampleOf(parseExposition(text), "x_total", { tenant: 'a"b\\c\nd', role: "r" }), 2);
});

Deno.test("a histogram is its buckets, each with those before it, its sum and its count", () => {
  const histogram = new Histogram([0.1, 1]);
  for (const ms of [50, 500, 5_000]) histogram.observeMs(ms);
  const head = { name: "x", type: "histogram", help: "h" } as const;
  const lines = familyText(head, [[{ a: "b" }, histogram]]).trimEnd().split("\n").slice(2);
  assert.deepEqual(lines, [
    'x_bucket{a="b",le="0.1"} 1',
    'x_bucket{a="b",le="1"} 2',
    'x_bucket{a="b",le="+Inf"} 3',
    'x_sum{a="b"} 5.55',
    'x_count{a="b"} 3',
  ]);
});

Deno.test("numbers that are none have their words, and no samples are no lines", () => {
  const head = { name: "x", type: "gauge", help: "h" } as const;
  const text = familyText(head, [[{}, NaN], [{ a: "1" }, Infinity], [{ a: "2" }, -Infinity]]);
  assert.match(text, /x NaN\nx\{a="1"\} \+Inf\nx\{a="2"\} -Inf\n$/);
  assert.equal(familyText(head, []), "# HELP x h\n# TYPE x gauge\n");
});
