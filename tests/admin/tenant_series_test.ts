// Tenants with series of their own are those with the most traffic; every byte is booked once.

import { strict as assert } from "node:assert";
import { TenantBook, type TenantSeries } from "../../src/admin/tenant_series.ts";
import { addTraffic, NO_TRAFFIC, type Traffic } from "../../src/meters.ts";
import { tenantView } from "../support/fake_control.ts";
import { Random } from "../support/random.ts";

const moved = (queries: number): Traffic => ({
  ...{ bytesIn: 10 * queries, bytesOut: 100 * queries, transactions: queries, queries },
});

function names(series: readonly TenantSeries[]): (string | null)[] {
  return series.map(({ tenant }) => tenant).sort();
}

function sum(series: readonly Traffic[]): Traffic {
  return series.reduce(addTraffic, NO_TRAFFIC);
}

Deno.test("where there is room for all, everybody has series, and the rest has nothing", () => {
  const views = [tenantView("a", { ...moved(1), connections: 2 }), tenantView("b", moved(5))];
  const series = new TenantBook().look(views, moved(6), 2, 0);
  assert.deepEqual(names(series), ["a", "b", null]);
  assert.equal(series[0]!.connections, 2);
  const { tenant: _, ...rest } = series.at(-1)!;
  assert.deepEqual(rest, { ...NO_TRAFFIC, connections: 0, waiting: 0 });
});

Deno.test("the busiest have series; who overtakes them takes their place, counted from then on", () => {
  const book = new TenantBook();
  const look = (a: number, b: number, now: number) =>
    book.look([tenantView("a", moved(a)), tenantView("b", moved(b))], moved(a + b), 1, now);
  assert.deepEqual(names(look(10, 1, 0)), ["a", null]);
  assert.deepEqual(names(look(10, 11, 1)), ["a", null], "hardly more is not enough");
  const series = look(10, 100, 2);
  assert.deepEqual(names(series), ["b", null]);
  assert.equal(series[0]!.queries, 89, "what was booked on the others stays there");
  assert.equal(series[1]!.queries, 11);
  const later = look(10_010, 100, 3);
  assert.equal(later[0]!.tenant, "a");
  assert.equal(later[0]!.queries, 10_010, "its own series go on where they were");
});

Deno.test("of those with equal traffic some have series, and never instead of a busier one", () => {
  const views = [5, 5, 5, 10, 1].map((each, index) => tenantView(`t${index}`, moved(each)));
  const look = (count: number) => names(new TenantBook().look(views, moved(26), count, 0));
  assert.deepEqual(look(0), [null]);
  assert.deepEqual(look(1), [null, "t3"]);
  assert.deepEqual(look(2), [null, "t0", "t3"]);
  assert.deepEqual(look(4), [null, "t0", "t1", "t2", "t3"]);
});

Deno.test("what was moved long ago counts less and less", () => {
  const book = new TenantBook();
  const look = (a: number, b: number, now: number) =>
    book.look([tenantView("a", moved(a)), tenantView("b", moved(b))], moved(a + b), 1, now);
  look(1_000, 0, 0);
  assert.deepEqual(names(look(1_000, 10, 3_600_000)), ["b", null]);
});

Deno.test("a tenant that is called other, and no tenants at all", () => {
  const book = new TenantBook();
  assert.deepEqual(names(book.look([], NO_TRAFFIC, 50, 0)), [null]);
  assert.deepEqual(names(book.look([tenantView("other", moved(1))], moved(1), 50, 1)), [
    ...[null, "other"],
  ]);
});

Deno.test("whoever comes and goes, all together are the total and nothing ever becomes less", () => {
  const random = new Random(20_261_125);
  const book = new TenantBook();
  let present = new Map<string, Traffic>();
  let total = NO_TRAFFIC;
  let before = new Map<string | null, TenantSeries>();
  for (let step = 0; step < 300; step++) {
    for (let each = 0; each < 10; each++) {
      const tenant = `t${random.integer(0, 39)}`;
      const more = moved(random.integer(0, 99));
      present.set(tenant, addTraffic(present.get(tenant) ?? NO_TRAFFIC, more));
      total = addTraffic(total, more);
    }
    if (random.chance(0.2)) { // some are forgotten, and begin anew
      present = new Map([...present].filter(() => random.chance(0.5)));
    }
    const views = [...present].map(([tenant, traffic]) => tenantView(tenant, traffic));
    const series = book.look(views, total, 5, step * 1_000);
    assert(series.length <= 6);
    const own = new Map(series.map((each) => [each.tenant, each]));
    assert(own.get(null)!.queries >= (before.get(null)?.queries ?? 0), "the rest only grows");
    assert(sum(series).queries <= total.queries);
    before = own;
  }
});
