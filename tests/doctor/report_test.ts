// Promise: people see each fault with its object and its fix, machines see all of it, and nothing
// out of the database moves the cursor of a terminal.

import assert from "node:assert/strict";
import type { Finding } from "../../src/doctor/lint.ts";
import { countsOf, jsonReport, type Report, textReport } from "../../src/doctor/report.ts";

const finding = (more: Partial<Finding>): Finding => ({
  ...{ lint: "T01", name: "rls_disabled", severity: "critical", object: "public.a", detail: "d" },
  ...{ why: "Because.", fix: "FIX;", ...more },
});
const report = (more: Partial<Report> = {}): Report => ({
  ...{ server: "18.6", database: "app", roles: ["app_user"], findings: [], silenced: [] },
  ...{ tried: ["52 lints"], untried: ["much"], ...more },
});
const PLAIN = { colour: false };

Deno.test("each lint is told once, each object below it with its fix", () => {
  const findings = [
    finding({ object: "public.a" }),
    finding({ object: "public.longer", fix: "OTHER;" }),
    finding({ lint: "D10", name: "shared", severity: "info", object: "x" }),
  ];
  const silenced = [{ ...finding({ lint: "T02", object: "public.list" }), reason: "read only" }];
  assert.deepEqual(textReport(report({ findings, silenced }), PLAIN).split("\n"), [
    "CRITICAL  T01 rls_disabled: Because.",
    "  public.a       d",
    "                 FIX;",
    "  public.longer  d",
    "                 OTHER;",
    "",
    "NOTE  D10 shared: Because.",
    "  x  d",
    "     FIX;",
    "",
    "silenced  T02 public.list: read only",
    "tried     52 lints",
    "not tried much",
    '2 critical, 1 note, 1 silenced in database "app" for "app_user", PostgreSQL 18.6',
  ]);
});

Deno.test("nothing found is said to be so, notes or not", () => {
  const last = (text: string) => text.split("\n").at(-1)!;
  assert.match(last(textReport(report(), PLAIN)), /^no finding in database "app"/);
  const findings = [finding({ severity: "info" }), finding({ severity: "info", object: "b" })];
  assert.match(last(textReport(report({ findings }), PLAIN)), /^no finding, 2 notes in /);
  const warned = report({ findings: [finding({ severity: "warning" })] });
  assert.match(last(textReport(warned, PLAIN)), /^1 warning in /);
});

Deno.test("colours are there when they are asked for, and only then", () => {
  const text = (colour: boolean) => textReport(report({ findings: [finding({})] }), { colour });
  assert.ok(text(true).includes("\x1b[1;31mCRITICAL\x1b[0m"));
  assert.ok(!text(false).includes("\x1b"));
});

Deno.test("names from the database cannot speak to the terminal", () => {
  const evil = "a\x1b[2J\n\x9b\u202e\u2028b";
  const findings = [finding({ object: evil, detail: evil, fix: evil })];
  const silenced = [{ ...finding({ object: evil }), reason: evil }];
  const text = textReport(
    report({ findings, silenced, database: evil, roles: [evil], untried: [evil] }),
    PLAIN,
  );
  assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Cf}\u2028]/u);
  assert.equal(text.split("\n").length, 8);
  assert.ok(text.includes("a\\u001b[2J\\u000a\\u009b\\u202e\\u2028b"));
});

Deno.test("JSON has every field of every finding", () => {
  const findings = [finding({}), finding({ severity: "info" })];
  const silenced = [{ ...finding({ object: "s" }), reason: "r" }];
  const read = JSON.parse(jsonReport(report({ findings, silenced })));
  assert.deepEqual(read, {
    ...{ version: 1, server: "18.6", database: "app", roles: ["app_user"] },
    ...{ tried: ["52 lints"], untried: ["much"], findings, silenced },
    counts: { critical: 1, error: 0, warning: 0, info: 1 },
  });
  assert.deepEqual(countsOf([]), { critical: 0, error: 0, warning: 0, info: 0 });
});
