// FairShares: whose turn it is, who is charged for what, and what is remembered.

import { strict as assert } from "node:assert";
import { linkFor } from "../../src/pool/chain.ts";
import {
  DEBT_MS_MAX,
  DEBTORS_MAX,
  EVERYBODY,
  FairShares,
  type TenantShare,
  type Use,
} from "../../src/pool/fairness.ts";
import { Random } from "../support/random.ts";

/** A waiter: whose it is, and for how long it will use what it is given. */
interface Job {
  readonly tenant: string;
  readonly ms: number;
  readonly since: number;
}

function share(tenant: string, more: Partial<TenantShare> = {}): TenantShare {
  return { ...EVERYBODY, tenant, ...more };
}

/** Members, tenants that keep them busy, and a clock that goes from event to event. */
class Workshop {
  readonly shares = new FairShares<Job & { leave(): void }>();
  readonly known = new Map<string, TenantShare>();
  readonly usedMs = new Map<string, number>();
  readonly waits = new Map<string, number[]>();
  readonly most = new Map<string, number>();
  readonly #onServed = new Map<string, () => void>();
  now = 0;
  idleWhileWaited = 0;
  #uses: { readonly use: Use<Job & { leave(): void }>; readonly job: Job; readonly end: number }[] =
    [];
  #arrivals: { readonly at: number; readonly act: () => void }[] = [];

  constructor(readonly members: number) {}

  at(at: number, act: () => void): void {
    this.#arrivals.push({ at, act });
  }

  want(whose: TenantShare, ms: number): void {
    const account = this.shares.account(whose);
    const job = { tenant: whose.tenant, ms, since: this.now, leave: () => {} };
    const link = linkFor(job);
    job.leave = () => this.shares.leave(account, link);
    this.shares.join(account, link);
  }

  /** A tenant that always has as many waiting. */
  flood(whose: TenantShare, ms: number, waiting: number): void {
    for (let count = 0; count < waiting; count++) this.want(whose, ms);
    this.#onServed.set(whose.tenant, () => this.want(whose, ms));
  }

  run(until: number): void {
    for (;;) {
      this.#handOut();
      if (this.#uses.length < this.members && this.shares.ready > 0) this.idleWhileWaited++;
      const ends = this.#uses.map(({ end }) => end);
      const next = Math.min(...ends, ...this.#arrivals.map(({ at }) => at));
      if (next > until) break;
      this.now = next;
      for (const arrival of this.#arrivals.filter(({ at }) => at <= next)) arrival.act();
      this.#arrivals = this.#arrivals.filter(({ at }) => at > next);
      for (const { use, job, end } of this.#uses) {
        if (end > next) continue;
        this.shares.end(use, job.ms);
        this.usedMs.set(job.tenant, (this.usedMs.get(job.tenant) ?? 0) + job.ms);
      }
      this.#uses = this.#uses.filter(({ end }) => end > next);
    }
    this.now = until;
  }

  #handOut(): void {
    while (this.#uses.length < this.members) {
      const job = this.shares.next();
      if (job === undefined) return;
      const use = this.shares.begin(this.shares.account(this.known.get(job.tenant)!));
      job.leave();
      this.#uses.push({ use, job, end: this.now + job.ms });
      this.waits.set(job.tenant, [...this.waits.get(job.tenant) ?? [], this.now - job.since]);
      const active = this.#uses.filter(({ job: { tenant } }) => tenant === job.tenant).length;
      this.most.set(job.tenant, Math.max(this.most.get(job.tenant) ?? 0, active));
      this.#onServed.get(job.tenant)?.();
    }
  }

  know(...all: TenantShare[]): void {
    for (const one of all) this.known.set(one.tenant, one);
  }
}

Deno.test("one tenant: first come, first served", () => {
  const shares = new FairShares<number>();
  const account = shares.account(EVERYBODY);
  const links = [1, 2, 3].map(linkFor);
  for (const link of links) shares.join(account, link);
  assert.deepEqual([0, 1, 2, 3].map((index) => shares.next(index)), [1, 2, 3, undefined]);
  shares.leave(account, links[1]!);
  assert.deepEqual([...shares], [1, 3]);
  assert.deepEqual([shares.size, shares.ready], [2, 2]);
});

Deno.test("time is shared by weight, whatever each use takes", () => {
  for (const members of [1, 4, 10]) {
    const shop = new Workshop(members);
    const tenants = [
      [share("slow", { weight: 1 }), 200],
      [share("quick", { weight: 1 }), 5],
      [share("heavy", { weight: 3 }), 30],
    ] as const;
    for (const [one, ms] of tenants) {
      shop.know(one);
      shop.flood(one, ms, 20);
    }
    shop.run(20_000);
    const fifth = members * 20_000 / 5;
    for (const [{ tenant, weight }] of tenants) {
      const part = (shop.usedMs.get(tenant) ?? 0) / fifth;
      assert(Math.abs(part - weight) < 0.15 * weight, `${members}: ${tenant} has had ${part}`);
    }
    assert.equal(shop.idleWhileWaited, 0);
  }
});

Deno.test("a small tenant waits for one use of the noisy one, not for its queue", () => {
  const shop = new Workshop(10);
  const random = new Random(7);
  shop.know(share("noisy"));
  shop.flood(share("noisy"), 200, 500);
  for (const name of ["b", "c", "d", "e"]) {
    shop.know(share(name));
    for (let at = 500; at < 30_000; at += 50 + random.integer(-5, 5)) {
      shop.at(at, () => shop.want(shop.known.get(name)!, 1));
    }
  }
  shop.run(30_000);
  for (const name of ["b", "c", "d", "e"]) {
    const waits = shop.waits.get(name)!.toSorted((a, b) => a - b);
    assert(waits.length > 500);
    assert(waits.at(-1)! <= 201, `${name} has waited for ${waits.at(-1)}`);
  }
  const whole = [...shop.usedMs.values()].reduce((sum, ms) => sum + ms);
  assert(whole > 0.98 * 10 * 30_000, "all of it is used");
});

Deno.test("who was alone owes nothing for what nobody else wanted", () => {
  const shop = new Workshop(2);
  shop.know(share("early"), share("late"));
  shop.flood(share("early"), 100, 10);
  shop.run(60_000);
  const before = shop.usedMs.get("early")!;
  assert.equal(before, 2 * 60_000);
  shop.flood(share("late"), 100, 10);
  shop.run(70_000);
  const early = shop.usedMs.get("early")! - before;
  assert(early > 0.4 * 20_000, `the early one had ${early} of 20000`);
});

Deno.test("a tenant has its maximum at most, and what it leaves is for others", () => {
  const shop = new Workshop(10);
  const capped = share("capped", { poolMax: 3 });
  shop.know(capped, share("other"));
  shop.flood(capped, 50, 20);
  shop.run(1_000);
  assert.equal(shop.most.get("capped"), 3);
  assert.equal(shop.shares.ready, 0, "nobody else waits, and it may not");
  shop.flood(share("other"), 50, 20);
  shop.run(5_000);
  assert.deepEqual([shop.most.get("capped"), shop.most.get("other")], [3, 10]);
});

Deno.test("below its minimum a tenant comes first, whatever it owes", () => {
  const shares = new FairShares<string>();
  const [a, b] = [shares.account(share("a", { poolMin: 2 })), shares.account(share("b"))];
  const debt = shares.begin(a);
  shares.end(debt, 60_000);
  for (const [account, job] of [[b, "b1"], [b, "b2"], [a, "a1"], [a, "a2"], [a, "a3"]] as const) {
    shares.join(shares.account(account.share), linkFor(job));
  }
  const account = shares.account(a.share);
  assert.equal(shares.next(), "a1");
  shares.begin(account);
  assert.equal(shares.next(), "a1", "it has one, and may have another");
  shares.begin(account);
  assert.equal(shares.next(), "b1");
});

Deno.test("a new share holds at once, for who waits too", () => {
  const shares = new FairShares<string>();
  const narrow = shares.account(share("a", { poolMax: 1 }));
  shares.begin(narrow);
  shares.join(narrow, linkFor("waiter"));
  assert.deepEqual([shares.ready, shares.next()], [0, undefined]);
  assert.equal(shares.account(share("a", { poolMax: 2 })), narrow);
  assert.deepEqual([shares.ready, shares.next()], [1, "waiter"]);
});

Deno.test("tenants without debts are forgotten, debtors when their debts are paid or too many", () => {
  const shares = new FairShares<string>();
  const use = (tenant: string, ms: number) =>
    shares.end(shares.begin(shares.account(share(tenant))), ms);
  use("thrifty", 0);
  assert.equal(shares.tenants, 0);
  use("debtor", DEBT_MS_MAX);
  assert.equal(shares.tenants, 1);
  for (let count = 0; count < 20; count++) use(`t${count}`, 500);
  assert(!shares.account(share("debtor")).isHere);
  assert(shares.tenants < 15, `${shares.tenants} are remembered`);
  for (let count = 0; count < DEBTORS_MAX + 1_000; count++) {
    const debtor = shares.account(share(`many${count}`));
    shares.end(shares.begin(debtor), 11);
  }
  assert(shares.tenants <= DEBTORS_MAX + 2, `${shares.tenants} are remembered`);
});

Deno.test("hand-outs cost the same among ten thousand tenants as among ten", () => {
  const msFor = (tenants: number) => {
    const shares = new FairShares<number>();
    const all = Array.from({ length: tenants }, (_, index) => shares.account(share(`t${index}`)));
    const links = all.map((account, index) => {
      const link = linkFor(index);
      shares.join(account, link);
      return link;
    });
    const begun = performance.now();
    for (let count = 0; count < 100_000; count++) {
      const index = shares.next()!;
      const use = shares.begin(all[index]!);
      shares.leave(all[index]!, links[index]!);
      shares.end(use, 10 + count % 7);
      all[index] = shares.account(share(`t${index}`));
      shares.join(all[index]!, links[index]!);
    }
    return performance.now() - begun;
  };
  msFor(10); // warm
  const [few, many] = [msFor(10), msFor(10_000)];
  assert(
    many < 20 * few + 2_000,
    `${few.toFixed()} ms among 10, ${many.toFixed()} ms among 10,000`,
  );
});
