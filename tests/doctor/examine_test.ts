// Promise: an examination does all that its connections allow, says what it could not do, and
// changes nothing.

import assert from "node:assert/strict";
import { DoctorDatabase } from "../../src/commands/doctor_database.ts";
import { CHECKS, ExaminationError, examine, type Patient } from "../../src/doctor/examine.ts";
import { isAtLeast } from "../../src/doctor/lint.ts";
import { DoctorBench, TARGET } from "../support/doctor_bench.ts";

let bench: DoctorBench;
Deno.test.beforeAll(async () => void (bench = await DoctorBench.start()));
Deno.test.afterAll(() => bench[Symbol.asyncDispose]());

const patient = (more: Partial<Patient> = {}): Patient => ({
  ...{ admin: bench.query, target: TARGET, setRole: null, variable: "app.current_tenant_id" },
  ...{ upstream: null, app: null, strangers: [], ...more },
});

const connect = (user: string) =>
  DoctorDatabase.connect(null, {
    ...{ host: "127.0.0.1", port: bench.server.port, database: "postgres", user },
  });

Deno.test("every check has an id and a name of its own", () => {
  assert.equal(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  assert.equal(new Set(CHECKS.map(({ name }) => name)).size, CHECKS.length);
  assert.equal(CHECKS.length, 52 + 5 + 1);
});

Deno.test("a sound database: everything is tried, and only the server's age is found", async () => {
  const { findings, tried, untried, roles } = await examine(patient());
  const faults = findings.filter(({ severity }) => isAtLeast(severity, "warning"));
  assert.deepEqual(faults.filter(({ lint }) => lint !== "D06"), []);
  assert.deepEqual(roles, ["app_user"]);
  assert.match(tried.join("\n"), /^52 lints\n2 of 2 protected tables .* 2 read/);
  assert.match(
    tried.join("\n"),
    /\d\d changes of role, as app_user\na forged context, as app_user/,
  );
  assert.deepEqual(untried.length, 1);
  assert.match(untried[0]!, /--app-url/);
});

Deno.test("as the application itself all is tried as it is", async () => {
  await using app = await connect("app_user");
  await using stranger = await connect("app_user");
  const result = await examine(patient({ app: app.query, strangers: [stranger.query] }));
  assert.deepEqual(result.untried, []);
  const faults = result.findings.filter(({ severity }) => isAtLeast(severity, "warning"));
  assert.deepEqual(faults.filter(({ lint }) => lint !== "D06"), []);
  for (
    const words of [/explained, through pgvpd$/, /changes of role, through/, /read as .* exist$/]
  ) {
    assert.ok(result.tried.some((sentence) => words.test(sentence)), String(words));
  }
});

Deno.test("the same fault found in two ways is one finding", async () => {
  await bench.query("CREATE ROLE service BYPASSRLS; GRANT service TO app_user");
  try {
    await using app = await connect("app_user");
    const { findings } = await examine(patient({ app: app.query }));
    const changed = findings.filter(({ lint }) => lint === "E03");
    assert.deepEqual(changed.map(({ object }) => object), ["service"]);
  } finally {
    await bench.query("DROP ROLE service");
  }
});

Deno.test("an administrator who is no superuser does what he may, and says what not", async () => {
  await bench.query("CREATE ROLE manager LOGIN CREATEROLE NOINHERIT; CREATE ROLE stranger LOGIN");
  try {
    await using stranger = await connect("stranger");
    const result = await examine(patient({ admin: stranger.query }));
    assert.ok(result.untried.some((text) => /^proofs as app_user: permission denied/.test(text)));

    await bench.query("GRANT app_user TO manager");
    await using manager = await connect("manager");
    const more = await examine(patient({ admin: manager.query }));
    assert.ok(more.tried.some((text) => /^2 of 2 protected tables explained/.test(text)));
    assert.ok(more.untried.some((text) => /^changes of role as app_user/.test(text)));
  } finally {
    await bench.query("DROP ROLE manager, stranger");
  }
});

Deno.test("code of others does not run in an administrator's session", async () => {
  await bench.query(`ALTER FUNCTION current_tenant_id() OWNER TO keeper`);
  try {
    const { tried, untried } = await examine(patient());
    assert.ok(tried.includes("0 of 2 protected tables explained, as app_user, for two tenants"));
    assert.match(untried.join("\n"), /^2 protected tables as app_user: they run code of/);
    assert.match(untried.join("\n"), /^a forged context as app_user: an administrator has no/m);
    await using app = await connect("app_user");
    const through = await examine(patient({ app: app.query }));
    assert.ok(through.tried.includes("2 of 2 protected tables explained, through pgvpd"));
  } finally {
    await bench.query(`ALTER FUNCTION current_tenant_id() OWNER TO postgres`);
  }
});

Deno.test("probes are run on the way that is given", async () => {
  await using stack = new AsyncDisposableStack();
  const upstream = {
    connect: async () => stack.use(await connect("postgres")).query,
    where: "db:5432",
  };
  const { tried } = await examine(patient({ upstream }));
  assert.equal(tried.at(-1), "5 probes for a pooler at db:5432");
});

Deno.test("a role that is not there is no finding, but a mistake of the question", async () => {
  const target = { ...TARGET, roles: ["app_user", "nobody"] };
  await assert.rejects(examine(patient({ target })), (error) => {
    assert.ok(error instanceof ExaminationError);
    assert.match(error.message, /^There is no role "nobody"; --role names/);
    return true;
  });
});
