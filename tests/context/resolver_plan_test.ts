// Plans: an order in which every resolver finds its inputs, or every reason why there is none.

import assert from "node:assert/strict";
import { parseResolvers } from "../../src/config/resolvers.ts";
import { planResolvers } from "../../src/context/resolver_plan.ts";

interface Sketch {
  readonly params?: readonly string[];
  readonly inject?: readonly string[];
  readonly after?: readonly string[];
  readonly query?: string;
  readonly required?: boolean;
}

/** Resolvers of few words, one a line of the file where it matters. */
function plan(resolvers: Record<string, Sketch>, variables = ["app.user"]) {
  const toml = Object.entries(resolvers).map(([name, { params = [], inject = [], ...rest }]) => {
    const { after = [], query = `SELECT ${params.map((_, index) => `$${index + 1}`).join()}` } =
      rest;
    const columns = inject.map((variable) => `"${variable}" = "c"`);
    return `[[resolver]]\nname = "${name.replace(/!.*/, "")}"\nquery = "${query}"\n` +
      `params = ${JSON.stringify(params)}\ninject = { ${columns.join(", ")} }\n` +
      `required = ${rest.required ?? true}\n` +
      `depends_on = ${JSON.stringify(after)}\n`;
  }).join("");
  const { definitions, problems } = parseResolvers(toml);
  assert.deepEqual(problems, []);
  const planned = planResolvers(definitions, variables);
  return {
    plan: planned.plan,
    order: planned.plan?.resolvers.map(({ name }) => name),
    problems: planned.problems.map(({ line, column, message }) => `${line}:${column} ${message}`),
  };
}

Deno.test("whoever needs an answer stands behind who gives it, the rest in the file's order", () => {
  const { plan: made, order } = plan({
    shard: { params: ["APP.Region"], inject: ["app.shard"] },
    region: { params: ["app.org"], inject: ["app.region"] },
    gate: {},
    org: { params: ["app.user"], inject: ["app.org", "role"], after: ["gate"] },
    last: { after: ["shard"] },
  });
  assert.deepEqual(order, ["gate", "org", "region", "shard", "last"]);
  assert.deepEqual(made!.variables, ["app.org", "app.region", "app.shard"]);
  assert.equal(made!.resolvesRole, true);
  assert.deepEqual(made!.resolvers.map(({ after }) => after), [
    [],
    ["gate"],
    ["org"],
    ["region"],
    ["shard"],
  ]);
});

Deno.test("a fingerprint is the same for what means the same", () => {
  const fingerprint = (sketch: Sketch) => plan({ a: sketch }).plan!.resolvers[0]!.fingerprint;
  const base = { params: ["app.user"], inject: ["app.x"] };
  assert.equal(fingerprint(base), fingerprint({ ...base }));
  assert.notEqual(fingerprint(base), fingerprint({ ...base, query: "SELECT $1 " }));
  assert.notEqual(fingerprint(base), fingerprint({ ...base, inject: ["app.y"] }));
  assert.notEqual(fingerprint(base), fingerprint({ ...base, required: false }), "{} or nothing");
});

Deno.test("circles are named, those of one too", () => {
  const circle = plan({
    free: { inject: ["app.f"] },
    behind: { params: ["app.a"] },
    a: { params: ["app.c"], inject: ["app.a"] },
    b: { params: ["app.a"], inject: ["app.b"] },
    c: { after: ["b"], inject: ["app.c"] },
  });
  assert.equal(circle.plan, null);
  assert.deepEqual(circle.problems.map((text) => text.replace(/^\d+:\d+ /, "")), [
    'resolvers wait for each other in a circle: "a" → "c" → "b" → "a"',
  ]);
  assert.deepEqual(plan({ a: { params: ["app.a"], inject: ["app.a"] } }).problems, [
    '2:1 resolvers wait for each other in a circle: "a" → "a"',
  ]);
  assert.match(plan({ a: { after: ["a"] } }).problems[0]!, /"a" → "a"/);
});

Deno.test("names, variables, parameters that do not fit", () => {
  const cases: [resolvers: Record<string, Sketch>, told: string[]][] = [
    [{ a: {}, "a!2": {} }, ['9:1 "a" is the name of the resolver in line 2 too']],
    [{ a: { inject: ["app.x"] }, b: { inject: ["App.X"] } }, [
      '12:12 "App.X" is injected by resolver "a" already',
    ]],
    [{ a: { inject: ["role"] }, b: { inject: ["role"] } }, [
      '12:12 "role" is injected by resolver "a" already',
    ]],
    [{ a: { inject: ["APP.USER"] } }, [
      '5:12 "APP.USER" comes from the user name (context_variables) and cannot be resolved',
    ]],
    [{ a: { params: ["app.nobody"] } }, [
      '4:11 nothing gives "app.nobody" a value; known are app.user',
    ]],
    [{ a: { params: ["role"] } }, ['4:11 nothing gives "role" a value; known are app.user']],
    [{ a: { after: ["b"] } }, ['7:15 there is no resolver "b"']],
    [{ a: { params: ["app.user"], query: "SELECT $1, $2" } }, [
      '3:1 the query has $2, and "params" names one parameter',
    ]],
    [{ a: { params: ["app.user"], query: "SELECT '$1'" } }, ["4:11 the query has no $1"]],
    [{ a: { query: "SELECT $0" } }, ['3:1 the query has $0, and "params" names 0 parameters']],
  ];
  for (const [resolvers, told] of cases) {
    const found = plan(resolvers);
    assert.deepEqual(found.problems, told);
    assert.equal(found.plan, null);
  }
});
