// A session's context: derived in order, from as few questions as may be, and known to be stale.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import { AskedIndex, parseInvalidation } from "../../src/context/invalidation.ts";
import type { ResolverValues } from "../../src/context/resolution.ts";
import { type ContextChange, LiveContext, type Oracle } from "../../src/session/live_context.ts";
import { failure } from "../support/failure.ts";
import { planOf } from "../support/resolver_plan.ts";

const TOML = `
[[resolver]]
name = "a"
query = "SELECT $1"
params = ["app.user"]
inject = { "app.a" = "x" }
[[resolver]]
name = "b"
query = "SELECT $1"
params = ["app.user"]
inject = { "app.b" = "x", role = "r" }
[[resolver]]
name = "c"
query = "SELECT $1"
params = ["app.a"]
inject = { "app.c" = "x" }
`;
const never = new AbortController().signal;

type Answer = ResolverValues | Promise<ResolverValues>;

function world(answers: Record<string, () => Answer>, toml = TOML) {
  const index = new AskedIndex<LiveContext>();
  const asked: string[] = [];
  const told: string[] = [];
  const signals: AbortSignal[] = [];
  const oracle = {
    hasConnections: true,
    askerFor: () => "resolver",
    databaseFor: ({ database }) => database,
    ask: async ({ resolver, inputs }, _call, _runner, signal) => {
      asked.push(`${resolver}(${inputs})`);
      signals.push(signal);
      return await answers[resolver]!();
    },
    watch: (question, live) => index.add(question, live),
    unwatch: (question, live) => index.remove(question, live),
  } satisfies Oracle as Oracle & { hasConnections: boolean };
  let disposed = 0;
  const client = {
    plan: planOf(toml, ["app.user"]),
    ...{ upstream: null, database: "shop", loginRole: "app", role: "app" },
    defaults: [{ name: "work_mem", value: "8MB" }, { name: "App.A", value: "none" }],
    known: [{ name: "app.user", value: "alice" }],
  };
  const holder = { contextInvalidated: (policy: string) => void told.push(policy) };
  const live = new LiveContext(oracle, client, holder, () => disposed++);
  const invalidate = (payload: string, database = "shop", change: ContextChange = "refresh") => {
    for (const one of index.find(parseInvalidation(database, payload))) one.invalidated(change);
  };
  return { live, asked, told, signals, invalidate, oracle, index, disposals: () => disposed };
}

const GOOD = { a: () => ["A"], b: () => ["B", "lead"], c: () => ["C"] };

Deno.test("the context is what the user name says, then the plan's variables, then the role", async () => {
  const { live, asked, disposals } = world(GOOD);
  const context = await live.resolve(null, never);
  assert.deepEqual(context.settings.map(({ name, value }) => `${name}=${value}`), [
    ...["app.user=alice", "app.a=A", "app.b=B", "app.c=C", "role=lead"],
  ]);
  assert.deepEqual(asked, ["a(alice)", "b(alice)", "c(A)"]);
  assert.deepEqual(context.defaults, [{ name: "work_mem", value: "8MB" }], "never over theirs");
  live[Symbol.dispose]();
  assert.equal(disposals(), 1);
});

Deno.test("independent ones run together, dependent ones as soon as they can", async () => {
  const b = Promise.withResolvers<ResolverValues>();
  const phases: string[] = [];
  const { live, asked } = world({ ...GOOD, b: () => b.promise });
  const resolving = live.resolve(null, never, (phase) => phases.push(phase));
  while (asked.length < 3) await new Promise((resolve) => setTimeout(resolve, 0));
  b.resolve(["B", "lead"]);
  await resolving;
  assert.equal(phases[0], "running resolver a, b");
  assert(phases.includes("running resolver b, c"));
});

Deno.test("the first failure ends it, and the others are told", async () => {
  const { live, signals } = world({
    a: () => new Promise(() => {}),
    b: () => Promise.reject(new PgError("28000", "no")),
    c: () => null,
  });
  assert.equal((await failure(live.resolve(null, never))).message, "no");
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true, true]);
});

Deno.test("a refusal is not lost behind answers that come at the same moment", async () => {
  const required = TOML.replace('name = "b"', 'name = "b"\nrequired = true');
  for (const order of [["a", "b"], ["b", "a"]]) {
    const answers = {
      a: Promise.withResolvers<ResolverValues>(),
      b: Promise.withResolvers<ResolverValues>(),
    };
    const { live } = world(
      { ...GOOD, a: () => answers.a.promise, b: () => answers.b.promise },
      required,
    );
    const resolving = failure(live.resolve(null, never));
    await Promise.resolve(); // both have been asked
    for (const name of order) name === "a" ? answers.a.resolve(["A"]) : answers.b.resolve(null);
    assert.match((await resolving).message, /"b" found nothing/, order.join());
  }
});

Deno.test("the same context is the same object, another one is another", async () => {
  let a = "A";
  const { live } = world({ ...GOOD, a: () => [a] });
  const first = await live.resolve(null, never);
  assert.equal(await live.resolve(null, never), first);
  assert.equal(await live.hasChanged(never), false);
  a = "A2";
  assert.equal(await live.hasChanged(never), true);
  const second = await live.resolve(null, never);
  assert.notEqual(second, first);
  assert.equal(await live.hasChanged(never), false);
});

Deno.test("when it cannot be found out, it has changed", async () => {
  const answers: Record<string, () => Answer> = { ...GOOD };
  const { live } = world(answers);
  await live.resolve(null, never);
  answers["c"] = () => Promise.reject(new Error("down"));
  assert.equal(await live.hasChanged(never), true);
});

Deno.test("what concerns it is told once, until it is derived anew", async () => {
  const { live, told, invalidate } = world(GOOD);
  invalidate("*");
  assert.deepEqual(told, [], "nothing was asked yet");
  await live.resolve(null, never);
  invalidate("other");
  invalidate('["a", "bob"]');
  invalidate("*", "elsewhere");
  assert.deepEqual([told, live.stale], [[], false]);
  invalidate('["c", "a"]');
  invalidate("*");
  assert.deepEqual([told, live.stale], [["refresh"], true]);
  await live.resolve(null, never);
  assert.equal(live.stale, false);
  invalidate("b");
  assert.deepEqual(told, ["refresh", "refresh"]);
  await live.resolve(null, never);
  live[Symbol.dispose]();
  invalidate("*");
  assert.equal(told.length, 2, "who has gone hears nothing");
});

Deno.test("an event while it is derived makes it stale", async () => {
  const b = Promise.withResolvers<ResolverValues>();
  const { live, told, invalidate, asked } = world({ ...GOOD, b: () => b.promise });
  const resolving = live.resolve(null, never);
  while (asked.length < 3) await new Promise((resolve) => setTimeout(resolve, 0));
  invalidate("a");
  b.resolve(["B", "lead"]);
  await resolving;
  assert.deepEqual([told, live.stale], [["refresh"], true]);
});

Deno.test("what is stronger is told behind what is weaker, and not the other way round", async () => {
  const { live, told, invalidate } = world(GOOD);
  await live.resolve(null, never);
  for (const change of ["possible", "possible", "refresh", "possible", "close"] as const) {
    invalidate("*", "shop", change);
  }
  invalidate("*", "shop", "refresh");
  assert.deepEqual(told, ["possible", "refresh", "close"]);
});

Deno.test("it is stale until it was derived anew: not while it is, and not when that fails", async () => {
  const answers: Record<string, () => Answer> = { ...GOOD };
  const { live, told, invalidate } = world(answers);
  await live.resolve(null, never);
  invalidate("c");
  answers["c"] = () => Promise.reject(new Error("down"));
  const failing = failure(live.resolve(null, never));
  assert.equal(live.stale, true);
  await failing;
  assert.equal(live.stale, true);
  invalidate('["c", "A"]');
  assert.deepEqual(told, ["refresh", "refresh"], "what it was derived from is watched as before");
  answers["c"] = () => ["C2"];
  assert.equal(await live.hasChanged(never), true);
  assert.equal(live.stale, true, "the session still has the old one");
  await live.resolve(null, never);
  assert.equal(live.stale, false);
});

Deno.test("an event while it is looked at is seen, though its question was not asked again yet", async () => {
  const answers: Record<string, () => Answer> = { ...GOOD };
  const { live, told, invalidate, asked } = world(answers);
  await live.resolve(null, never);
  const a = Promise.withResolvers<ResolverValues>();
  answers["a"] = () => a.promise;
  const looking = live.hasChanged(never);
  invalidate('["c", "A"]');
  assert.deepEqual(told, ["refresh"]);
  a.resolve(["A"]);
  assert.equal(await looking, false);
  assert.equal(live.stale, true);
  assert.equal(asked.length, 6);
});

Deno.test("a look that a renewal has overtaken does not count, and nothing is watched twice", async () => {
  let a = "A";
  const answers: Record<string, () => Answer> = { ...GOOD, a: () => [a] };
  const { live, told, invalidate, index } = world(answers);
  const first = await live.resolve(null, never);
  const slow = Promise.withResolvers<ResolverValues>();
  answers["b"] = () => slow.promise;
  const looking = live.hasChanged(never);
  await new Promise((resolve) => setTimeout(resolve, 0));
  answers["b"] = GOOD.b;
  a = "A2";
  invalidate("a");
  assert.equal(live.stale, true);
  const second = await live.resolve(null, never);
  assert.notEqual(second, first);
  assert.equal(live.stale, false);
  slow.resolve(["B", "lead"]);
  assert.equal(await looking, false, "the session has the newer one");
  assert.equal(live.stale, false);
  invalidate('["c", "A"]');
  assert.deepEqual(told, ["refresh"], "the old one's question is nothing to it");
  invalidate('["c", "A2"]');
  invalidate('["b", "alice"]');
  assert.deepEqual([told, live.stale], [["refresh", "refresh"], true]);
  live[Symbol.dispose]();
  assert.equal(index.find(parseInvalidation("shop", "*")).size, 0);
});

Deno.test("where nobody can be asked, it counts as it is", async () => {
  const { live, oracle, asked } = world(GOOD);
  await live.resolve(null, never);
  oracle.hasConnections = false;
  assert.equal(await live.hasChanged(never), false);
  assert.equal(asked.length, 3, "nobody was asked");
});
