// Resolvers at work, against a server in memory: who asks, what is kept, what the client hears.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import type { SessionContext } from "../../src/context/context.ts";
import type { LiveContext } from "../../src/session/live_context.ts";
import { Resolvers, type ResolverSettings } from "../../src/session/resolving.ts";
import { failure } from "../support/failure.ts";
import { FakeClock } from "../support/pool_world.ts";
import { planOf } from "../support/resolver_plan.ts";
import { type Answer, ResolverServer } from "../support/resolver_server.ts";
import { type LogEntry, recordingLog } from "../support/session_world.ts";
import { eventually } from "../support/wire_bench.ts";

const SETTINGS: ResolverSettings = {
  resolverUser: "resolver",
  resolverPassword: null,
  resolverDatabase: null,
  resolverPoolSize: 4,
  resolverCacheSize: 100,
  onInvalidate: "refresh",
};
const NOWHERE = { upstream: null, defaults: [] };
const TOML = `[[resolver]]
name = "org"
query = "SELECT org FROM members WHERE name = $1"
params = ["app.current_tenant_id"]
inject = { "app.org" = "org" }
required = true
`;
const CACHED = `${TOML}cache_ttl = 60`;
const never = new AbortController().signal;
const found = (org: string): Answer => ({ columns: ["org"], rows: [[org]] });

interface World extends AsyncDisposable {
  readonly resolvers: Resolvers;
  readonly server: ResolverServer;
  readonly log: LogEntry[];
  readonly told: string[];
  resolve(user: string, database?: string, signal?: AbortSignal): Promise<SessionContext>;
  pass(ms: number): Promise<void>;
}

function world(toml: string, overrides: Partial<ResolverSettings> = {}): World {
  const clock = new FakeClock();
  const log: LogEntry[] = [];
  const server = new ResolverServer(({ inputs }) => found(`org of ${inputs[0]}`));
  const plan = planOf(toml);
  const settings = { ...SETTINGS, ...overrides };
  const resolvers = new Resolvers(plan, settings, server.connect, {
    log: recordingLog(log),
    clock,
    isCurrent: (upstream) => upstream !== "retired",
  });
  const told: string[] = [];
  return {
    ...{ resolvers, server, log, told },
    resolve: (user, database = "shop", signal = never) => {
      const known = [{ name: "app.current_tenant_id", value: user }];
      const client = { ...NOWHERE, plan, database, loginRole: "app", role: "app", known };
      const holder = {
        contextInvalidated: (policy: string) => void told.push(`${user} ${policy}`),
      };
      return resolvers.begin(client, holder).resolve(null, signal);
    },
    pass: (ms) => clock.advance(ms),
    [Symbol.asyncDispose]: () => resolvers.close(),
  };
}

/** Answers are kept from now on. */
async function listening({ resolve, log }: World, database = "shop"): Promise<void> {
  await resolve("nobody in particular", database);
  while (!log.some(({ message }) => message === "listening for invalidations")) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Sessions that are looked at as soon as they are told. */
function looked({ resolvers }: World, users: readonly string[]) {
  const looks: Promise<boolean>[] = [];
  const plan = resolvers.plan!;
  return {
    looks,
    begun: Promise.all(users.map(async (user) => {
      const known = [{ name: "app.current_tenant_id", value: user }];
      const client = { ...NOWHERE, plan, database: "shop", loginRole: "app", role: "app", known };
      const live: LiveContext = resolvers.begin(client, {
        contextInvalidated: () => void looks.push(live.hasChanged(never)),
      });
      await live.resolve(null, never);
    })),
  };
}

const org = ({ settings }: SessionContext) => settings[1]!.value;
const asked = ({ server }: World, user: string) =>
  server.asked.filter(({ inputs }) => inputs[0] === user).length;

Deno.test("a question is asked once for all who ask, and again when its time is over", async () => {
  await using all = world(CACHED);
  await listening(all);
  const contexts = await Promise.all(Array.from({ length: 100 }, () => all.resolve("a")));
  assert.deepEqual(new Set(contexts.map(org)), new Set(["org of a"]));
  assert.equal(asked(all, "a"), 1);
  await all.pass(59_999);
  await all.resolve("a");
  assert.equal(asked(all, "a"), 1);
  await all.pass(1);
  await all.resolve("a");
  assert.equal(asked(all, "a"), 2);
  const { cacheHits, executions } = all.resolvers.stats;
  assert.equal(executions.get("org"), 3);
  assert(cacheHits >= 1);
});

Deno.test("without cache_ttl everybody asks", async () => {
  await using all = world(TOML);
  await Promise.all(Array.from({ length: 5 }, () => all.resolve("a")));
  assert.equal(asked(all, "a"), 5);
});

Deno.test("until somebody listens nothing is kept, but who asks at the same time asks once", async () => {
  await using all = world(CACHED);
  all.server.isMute = true;
  await Promise.all(Array.from({ length: 5 }, () => all.resolve("a")));
  assert.equal(asked(all, "a"), 1);
  await all.resolve("a");
  assert.equal(asked(all, "a"), 2);
});

Deno.test("events reach the cache and the sessions, as on_invalidate says", async () => {
  for (const onInvalidate of ["keep", "refresh", "close"] as const) {
    await using all = world(CACHED, { onInvalidate });
    await listening(all);
    for (const user of ["a", "b"]) await all.resolve(user);
    all.told.length = 0;
    await all.server.notify('["org", "A"]');
    while (!all.log.some(({ message }) => message === "invalidated")) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    assert.deepEqual(all.told, onInvalidate === "keep" ? [] : [`a ${onInvalidate}`]);
    for (const user of ["a", "b"]) await all.resolve(user);
    assert.deepEqual([asked(all, "a"), asked(all, "b")], [2, 1]);
  }
});

Deno.test("that something may have been missed ends no session, but it is looked at", async () => {
  await using all = world(CACHED, { onInvalidate: "close" });
  await all.resolve("a");
  await listening(all);
  assert.deepEqual(all.told, ["a possible", "nobody in particular possible"]);
  for (const user of ["a", "b"]) await all.resolve(user);
  all.told.length = 0;
  all.server.listeners[0]!.transport.close();
  while (all.resolvers.stats.cacheSize > 0) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(all.told, [], "as long as nobody listens, nobody knows");
});

Deno.test("databases are listened to one by one, and have their own answers", async () => {
  await using all = world(CACHED);
  await listening(all, "one");
  await all.resolve("a", "one");
  await all.resolve("a", "two");
  assert.equal(asked(all, "a"), 2);
  while (all.server.listens < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  await using fixed = world(CACHED, { resolverDatabase: "one" });
  await listening(fixed);
  await fixed.resolve("a", "one");
  await fixed.resolve("a", "two");
  assert.equal(asked(fixed, "a"), 1);
  assert.equal(fixed.server.listens, 1);
});

Deno.test("a place is listened to as long as sessions, or answers for new ones, hang on it", async () => {
  await using all = world(CACHED.replace("60", "3600"));
  const begin = async (upstream: string | null) => {
    const known = [{ name: "app.current_tenant_id", value: "a" }];
    const plan = all.resolvers.plan!;
    const role = { loginRole: "app", role: "app" };
    const client = { plan, upstream, database: "shop", ...role, known, defaults: [] };
    const live = all.resolvers.begin(client, { contextInvalidated: () => {} });
    await live.resolve(null, never);
    return live;
  };
  const listens = (count: number) =>
    eventually(
      `it listens, ${count}`,
      () =>
        all.log.filter(({ message }) => message === "listening for invalidations").length === count,
    );
  (await begin(null))[Symbol.dispose]();
  const retired = await begin("retired");
  await listens(2);
  (await begin(null))[Symbol.dispose](); // its answer is kept from now on
  await begin("retired").then((live) => live[Symbol.dispose]());
  await all.pass(600_000);
  (await begin(null))[Symbol.dispose]();
  await begin("retired").then((live) => live[Symbol.dispose]());
  assert.equal(all.server.listens, 2, "for the answer, and for the session");
  retired[Symbol.dispose]();
  await all.pass(600_000);
  await begin("retired").then((live) => live[Symbol.dispose]());
  await listens(3);
  await all.pass(3_600_000);
  (await begin(null))[Symbol.dispose]();
  await listens(4);
});

Deno.test("the client hears which resolver it is; the log has the rest, and no value", async () => {
  const cases: [answer: Answer, heard: RegExp, logged: string][] = [
    [{ sqlState: "42P01", error: "no such table" }, /"org" failed$/, "no such table (42P01)"],
    [
      { sqlState: "57014", error: "statement timeout" },
      /"org" took too long$/,
      "statement timeout",
    ],
    [{ columns: ["other"], rows: [] }, /"org" failed$/, 'no column "org"'],
    [{ columns: ["org"], rows: [["1"], ["2"]] }, /"org" failed$/, "more than one row"],
    [{ columns: ["org"], rows: [] }, /"org" found nothing$/, ""],
  ];
  for (const [answer, heard, logged] of cases) {
    await using all = world(TOML);
    all.server.answer = () => answer;
    const error = await failure(all.resolve("s3cret"));
    assert(error instanceof PgError);
    assert.equal(error.sqlState, "28000");
    assert.match(error.message, heard);
    assert.deepEqual(error.fields, {}, "no detail, no hint");
    const warnings = all.log.filter(({ level }) => level === "warn");
    assert.equal(warnings.length, logged === "" ? 0 : 1);
    assert(String(warnings[0]?.fields["error"] ?? "").includes(logged));
    assert(!JSON.stringify(all.log).includes("s3cret"));
    assert.equal(all.resolvers.stats.errors.get("org") ?? 0, logged === "" ? 0 : 1);
  }
});

Deno.test("a server that cannot be reached is the operator's affair too", async () => {
  const resolvers = new Resolvers(planOf(TOML), SETTINGS, () => {
    return Promise.reject(new PgError("08001", "could not connect to secret.host"));
  }, { log: recordingLog([]) });
  const known = [{ name: "app.current_tenant_id", value: "a" }];
  const plan = planOf(TOML);
  const client = { ...NOWHERE, plan, database: "d", loginRole: "r", role: "r", known };
  const live = resolvers.begin(client, { contextInvalidated: () => {} });
  const error = await failure(live.resolve(null, never)) as PgError;
  assert.equal(error.sqlState, "28000");
  assert(!error.message.includes("secret.host"));
  await resolvers.close();
});

Deno.test("when all who wait have left, the query is ended; who stays hears the answer", async () => {
  await using all = world(CACHED);
  await listening(all);
  const answer = Promise.withResolvers<Answer>();
  all.server.answer = () => answer.promise;
  const [one, two] = [new AbortController(), new AbortController()];
  const first = failure(all.resolve("a", "shop", one.signal));
  const second = all.resolve("a", "shop", two.signal);
  while (asked(all, "a") === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  one.abort(new Error("left"));
  assert.equal((await first).message, "left");
  answer.resolve(found("1"));
  assert.equal(org(await second), "1");

  all.server.answer = () => null;
  const alone = failure(all.resolve("b", "shop", two.signal));
  while (asked(all, "b") === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  two.abort(new Error("left too"));
  assert.equal((await alone).message, "left too");
  all.server.answer = () => found("2");
  assert.equal(org(await all.resolve("b")), "2");
});

Deno.test("reload: open sessions are looked at as the new role, and nobody is ended for it", async () => {
  await using all = world(CACHED, { resolverPoolSize: 1 });
  await listening(all);
  const { looks, begun } = looked(all, ["a", "b", "c"]);
  await begun;
  const { askers } = all.server;
  const before = askers.length;
  all.resolvers.reload(all.resolvers.plan, { ...SETTINGS, resolverUser: "another" });
  assert.deepEqual(await Promise.all(looks), [false, false, false]);
  assert.deepEqual(askers.slice(before), ["another", "another", "another"]);
  await eventually("it listens as that", () => all.server.listens === 2);
  looks.length = 0;
  all.resolvers.reload(all.resolvers.plan, { ...SETTINGS, resolverUser: null });
  assert.deepEqual(await Promise.all(looks), [false, false, false], "nobody can tell");
  assert.equal(all.resolvers.stats.errors.size, 0);
});

Deno.test("reload: whoever waits for a connection then is answered by one of the new ones", async () => {
  await using all = world(TOML, { resolverPoolSize: 1 });
  const answer = Promise.withResolvers<Answer>();
  all.server.answer = () => answer.promise;
  const [one, two] = [all.resolve("a"), all.resolve("b")];
  await eventually("one is asked for", () => asked(all, "a") === 1);
  all.server.answer = () => found("1");
  all.resolvers.reload(all.resolvers.plan, { ...SETTINGS, resolverUser: "another" });
  assert.equal(org(await two), "1");
  answer.resolve(found("2"));
  assert.equal(org(await one), "2");
  assert.deepEqual(all.server.askers, ["resolver", "another"]);
});

Deno.test("reload: another role means other connections, and nothing that was kept", async () => {
  await using all = world(CACHED);
  await listening(all);
  await all.resolve("a");
  all.resolvers.reload(all.resolvers.plan, { ...SETTINGS, resolverCacheSize: 50 });
  await all.resolve("a");
  assert.equal(asked(all, "a"), 1, "what is the same stays");
  all.resolvers.reload(all.resolvers.plan, { ...SETTINGS, resolverUser: "another" });
  await all.resolve("a");
  assert.equal(asked(all, "a"), 2);
  assert.equal(all.server.users.at(-1) === "another" || all.server.users.includes("another"), true);
  all.resolvers.reload(null, { ...SETTINGS, resolverUser: null });
  assert.equal(all.resolvers.plan, null);
  assert.equal(all.resolvers.hasConnections, false);
  const error = await failure(all.resolve("b"));
  assert.match(error.message, /"org" failed/, "there is nobody to ask");
});
