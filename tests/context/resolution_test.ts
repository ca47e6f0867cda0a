// Evaluations: what can be asked is asked at once, NULL and missing rows mean what the author says.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import { parseResolvers } from "../../src/config/resolvers.ts";
import {
  Resolution,
  RESOLVED_BYTES_MAX,
  type ResolverAnswer,
  ResolverMistake,
  valuesOf,
} from "../../src/context/resolution.ts";
import { planOf } from "../support/resolver_plan.ts";

const TWO_AND_ONE = `
[[resolver]]
name = "a"
query = "SELECT $1"
params = ["app.user"]
inject = { "app.a" = "x", "app.a2" = "y" }
[[resolver]]
name = "b"
query = "SELECT $1"
params = ["app.user"]
inject = { "app.b" = "x" }
[[resolver]]
name = "c"
query = "SELECT $1, $2, $3"
params = ["app.b", "app.a", "APP.USER"]
inject = { "app.c" = "x" }
`;
const KNOWN = [{ name: "app.user", value: "alice" }];

function begin(toml: string) {
  const plan = planOf(toml, ["app.user"]);
  const resolution = new Resolution(plan, KNOWN);
  const named = (name: string) => plan.resolvers.find((each) => each.name === name)!;
  const calls = () => resolution.begin().map(({ resolver, inputs }) => [resolver.name, ...inputs]);
  return { resolution, named, calls };
}

const refused = (words: RegExp) => (error: unknown) =>
  error instanceof PgError && error.sqlState === "28000" && words.test(error.message);

Deno.test("independent ones begin together, dependent ones when all their inputs are there", () => {
  const { resolution, named, calls } = begin(TWO_AND_ONE);
  assert.deepEqual(calls(), [["a", "alice"], ["b", "alice"]]);
  assert.deepEqual(calls(), [], "each is asked once");
  resolution.answer(named("b"), ["B"]);
  assert.deepEqual(calls(), []);
  assert.equal(resolution.isOver, false);
  resolution.answer(named("a"), ["A", ""]);
  assert.deepEqual(calls(), [["c", "B", "A", "alice"]]);
  resolution.answer(named("c"), [null]);
  assert.equal(resolution.isOver, true);
  assert.deepEqual(resolution.settings, [
    { name: "app.a", value: "A" },
    { name: "app.a2", value: "" },
    { name: "app.b", value: "B" },
    { name: "app.c", value: "" },
  ]);
  assert.equal(resolution.role, null);
});

Deno.test("NULL skips, also through several; the empty text is a value", () => {
  const { resolution, named, calls } = begin(`${TWO_AND_ONE}
[[resolver]]
name = "d"
query = "SELECT $1"
params = ["app.c"]
inject = { "app.d" = "x" }
`);
  calls();
  resolution.answer(named("a"), ["", ""]);
  resolution.answer(named("b"), null);
  assert.deepEqual(calls(), []);
  assert.deepEqual(resolution.skipped.map(({ name }) => name), ["c", "d"]);
  assert.equal(resolution.isOver, true);

  const other = begin(TWO_AND_ONE);
  other.calls();
  other.resolution.answer(other.named("a"), ["", ""]);
  other.resolution.answer(other.named("b"), [""]);
  assert.deepEqual(other.calls(), [["c", "", "", "alice"]]);
});

Deno.test("run is asked with NULL; fail, and required, refuse", () => {
  for (
    const [more, isRun] of [['on_null_input = "run"', true], ["required = true", false]] as const
  ) {
    const { resolution, named, calls } = begin(TWO_AND_ONE + more);
    calls();
    resolution.answer(named("a"), ["A", "A2"]);
    resolution.answer(named("b"), [null]);
    if (isRun) assert.deepEqual(calls(), [["c", null, "A", "alice"]]);
    else assert.throws(calls, refused(/"c" lacks an input/));
  }
  const skips = begin(`${TWO_AND_ONE}required = true\non_null_input = "skip"`);
  skips.calls();
  skips.resolution.answer(skips.named("a"), ["A", "A2"]);
  skips.resolution.answer(skips.named("b"), null);
  assert.deepEqual(skips.calls(), []);
  assert.equal(skips.resolution.isOver, true, "the author has said so");
});

Deno.test("required, and no row", () => {
  const { resolution, named, calls } = begin(`${TWO_AND_ONE}required = true`);
  calls();
  resolution.answer(named("a"), null);
  assert.throws(() => resolution.answer(named("c"), null), refused(/"c" found nothing/));
});

Deno.test("a role is one that a session can have", () => {
  const toml = '[[resolver]]\nname = "r"\nquery = "SELECT"\ninject = { role = "r" }';
  const role = (value: string | null) => {
    const { resolution, named, calls } = begin(toml);
    calls();
    resolution.answer(named("r"), [value]);
    return resolution.role;
  };
  assert.equal(role("App User"), "App User");
  assert.equal(role("x".repeat(63)), "x".repeat(63));
  for (const value of [null, "", "none", "NONE", "x".repeat(64), "ä".repeat(32)]) {
    assert.throws(() => role(value), refused(/no role/));
  }
});

Deno.test("all values together have a size", () => {
  const { resolution, named, calls } = begin(TWO_AND_ONE);
  calls();
  const half = "ä".repeat(RESOLVED_BYTES_MAX / 4);
  resolution.answer(named("a"), [half, null]);
  assert.throws(() => resolution.answer(named("b"), [`${half}x`]), refused(/too large/));
});

Deno.test("answers: columns by name, rows as they are taken", () => {
  const values = (rows: string, answer: ResolverAnswer, more = "") => {
    const { definitions } = parseResolvers(
      `[[resolver]]\nname = "a"\nquery = "b"\ninject = { "x.y" = "y", "x.x" = "x" }
rows = "${rows}"\n${more}`,
    );
    return valuesOf(definitions[0]!, answer);
  };
  const columns = ["x", "other", "y"];
  const none = { columns, rows: [] };
  const one = { columns, rows: [["1", "2", null]] };
  const two = { columns, rows: [["1", "2", null], ["a b", "5", "6"]] };
  assert.deepEqual(values("one", one), [null, "1"]);
  assert.deepEqual(values("first", two), [null, "1"]);
  assert.deepEqual(values("array", two), ["{NULL,6}", '{1,"a b"}']);
  assert.deepEqual(values("array", one), ["{NULL}", "{1}"]);
  assert.deepEqual(values("array", none), ["{}", "{}"]);
  assert.equal(values("array", none, "required = true"), null);
  assert.equal(values("one", none), null);
  assert.equal(values("first", none), null);
  const mistaken = (words: RegExp) => (error: unknown) =>
    error instanceof ResolverMistake && words.test(error.message);
  assert.throws(() => values("one", two), mistaken(/more than one row/));
  for (const rows of ["one", "first", "array"]) {
    const lacking = { columns: ["x", "Y"], rows: [] };
    assert.throws(() => values(rows, lacking), mistaken(/no column "y"; it returns x, Y/));
    const doubled = { columns: ["x", "y", "y"], rows: [] };
    assert.throws(() => values(rows, doubled), mistaken(/more than one column "y"/));
    assert.throws(() => values(rows, { columns: null, rows: [] }), mistaken(/no columns/));
  }
});
