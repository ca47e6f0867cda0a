// Promise: docs/doctor.md has every check as it is, and says the names that the program knows.

import assert from "node:assert/strict";
import { CHECKS } from "../../src/doctor/examine.ts";
import { SEVERITIES } from "../../src/doctor/lint.ts";
import { TENANT_COLUMNS } from "../../src/doctor/lints.ts";
import { renderDoctorPage } from "../../src/doctor/table.ts";

const PAGE = await Deno.readTextFile(new URL("../../docs/doctor.md", import.meta.url));

Deno.test("the page is the one that docs/generate.ts writes", () => {
  assert.equal(PAGE, renderDoctorPage(PAGE), "run deno run -A docs/generate.ts");
});

Deno.test("each check has one row of six cells", () => {
  for (const { id, name, severity } of CHECKS) {
    const rows = PAGE.split("\n").filter((line) => line.startsWith(`| ${id} |`));
    assert.equal(rows.length, 1, id);
    assert.ok(rows[0]!.startsWith(`| ${id} | \`${name}\` | ${severity} | `), id);
    assert.equal(rows[0]!.replaceAll("\\|", "").split("|").length, 8, id);
  }
});

Deno.test("what is said in front of the table is named as the program names it", () => {
  for (const word of [...SEVERITIES, ...TENANT_COLUMNS]) {
    assert.ok(PAGE.includes(`\`${word}\``), word);
  }
});
