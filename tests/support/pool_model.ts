// A random life of pools, with everything that must hold checked behind every step.

import { strict as assert } from "node:assert";
import type { TenantShare } from "../../src/pool/fairness.ts";
import type { PoolStats } from "../../src/pool/pool.ts";
import { Pools, type PoolsOptions } from "../../src/pool/pools.ts";
import { Checkout, FakeClock, FakeServer, settle } from "./pool_world.ts";
import { Random } from "./random.ts";

const CONTEXTS = ["a", "b", "c", null];
const TENANTS = ["", "p", "q", "r"];
const RETRY_MS_MAX = 400;

/** One pool as the model sees it from outside. */
class Corner {
  readonly server = new FakeServer();
  /** In the order of arrival. */
  waiting: Checkout[] = [];
  /** Lent and not given back. */
  held: Checkout[] = [];
  /** The number of the checkout that was served last, by tenant. */
  readonly servedLast = new Map<string, number>();
  failedAt = -Infinity;
  /** Held by each tenant behind the last step: a smaller maximum takes effect slowly. */
  readonly active = new Map<string, number>();
  /** Places in use behind the last step: a smaller size takes effect slowly. */
  taken = 0;

  constructor(readonly key: string) {
    this.server.opening = "asked";
    this.server.checking = "asked";
  }
}

/** Lives for some steps, and then ends in peace. */
export class PoolModel {
  readonly #random: Random;
  readonly #clock = new FakeClock();
  readonly #corners: Corner[];
  readonly #pools: Pools<FakeServer["members"][number]>;
  #options: PoolsOptions;
  #shares: readonly TenantShare[];
  readonly #tenantOf = new WeakMap<Checkout, string>();
  #checkouts = 0;
  #total = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    const keys = ["w", "x", "y", "z"].slice(0, this.#random.integer(1, 4));
    this.#corners = keys.map((key) => new Corner(key));
    this.#options = this.#randomOptions();
    this.#shares = TENANTS.map((tenant) => this.#randomShare(tenant));
    const serverOf = (key: string) => this.#corners.find((corner) => corner.key === key)!.server;
    const surroundings = { clock: this.#clock, random: () => this.#random.fraction() };
    this.#pools = new Pools(this.#options, serverOf, surroundings);
  }

  async run(steps: number): Promise<void> {
    const log: string[] = [];
    for (let step = 0; step < steps; step++) {
      const corner = this.#random.pick(this.#corners);
      const deed = this.#random.pick(DEEDS);
      log.push(`${corner.key}: ${deed}`);
      try {
        await this.#do(deed, corner);
        await settle();
        this.#verify();
      } catch (error) {
        const stats = Deno.inspect(this.#pools.stats);
        const facts = `${stats}\n${Deno.inspect(this.#options)}`;
        throw new Error(`step ${step}\n${log.slice(-12).join("\n")}\n${facts}`, { cause: error });
      }
    }
    await this.#endInPeace();
  }

  async #do(deed: typeof DEEDS[number], corner: Corner): Promise<void> {
    const random = this.#random;
    const { server, held, waiting } = corner;
    switch (deed) {
      case "checkout":
        return this.#checkout(corner);
      case "abort":
        return random.pick(waiting)?.abort();
      case "give back":
        return take(held, random)?.giveBack(random.pick(CONTEXTS));
      case "discard":
        return take(held, random)?.taken.discard("protocol");
      case "abandon":
        return take(held, random)?.taken[Symbol.dispose]();
      case "end twice": {
        const lease = take(held, random)?.taken;
        if (random.chance(0.5)) lease?.discard("protocol");
        else lease?.giveBack();
        await settle(); // it may belong to somebody else now
        lease?.giveBack();
        return lease?.[Symbol.dispose]();
      }
      case "member dies":
        corner.failedAt = this.#clock.now();
        return random.pick(server.members.filter(({ isOpen }) => isOpen))?.die();
      case "open":
        return take(server.opens, random)?.answer(server.member());
      case "open fails":
        corner.failedAt = this.#clock.now();
        return take(server.opens, random)?.fail(new Error("planted"));
      case "check":
        return take(server.checks, random)?.answer(random.chance(0.7));
      case "check fails":
        return take(server.checks, random)?.fail(new Error("planted"));
      case "time":
        return await this.#clock.advance(random.integer(1, random.chance(0.2) ? 2_000 : 60));
      case "reload":
        if (random.chance(0.7)) return;
        this.#options = this.#randomOptions();
        this.#pools.options = this.#options;
        return;
      case "reshare":
        this.#shares = TENANTS.map((tenant) => this.#randomShare(tenant));
        this.#pools.reshare(({ tenant }) => this.#shares.find((one) => one.tenant === tenant)!);
    }
  }

  #checkout(corner: Corner): void {
    const number = this.#checkouts++;
    const share = this.#random.pick(this.#shares);
    const begin = (signal: AbortSignal) =>
      this.#pools.checkout(corner.key, this.#random.pick(CONTEXTS), signal, share);
    const checkout = new Checkout(begin, (ended) => {
      corner.waiting = corner.waiting.filter((one) => one !== ended);
      if (ended.lease === null) return;
      const last = corner.servedLast.get(share.tenant) ?? -1;
      assert(number > last, "first come, first served, among those of one tenant");
      corner.servedLast.set(share.tenant, number);
      corner.held.push(ended);
    });
    this.#tenantOf.set(checkout, share.tenant);
    corner.waiting.push(checkout);
  }

  #randomShare(tenant: string): TenantShare {
    const random = this.#random;
    return {
      tenant,
      weight: random.integer(1, 3),
      poolMax: random.pick([1, 2, 3, Infinity]),
      poolMin: random.integer(0, 2),
      queueMax: random.pick([0, 2, Infinity]),
    };
  }

  /** Of those that wait, how many could be served; nobody has more than its maximum. */
  #verifyShares({ waiting, held, active }: Corner): number {
    let ready = 0;
    for (const { tenant, poolMax } of this.#shares) {
      const isIts = (one: Checkout) => this.#tenantOf.get(one) === tenant;
      const now = held.filter(isIts).length;
      const most = Math.max(poolMax, active.get(tenant) ?? 0);
      assert(now <= most, `${now} of at most ${most}`);
      active.set(tenant, now);
      ready += Math.max(0, Math.min(waiting.filter(isIts).length, poolMax - now));
    }
    return ready;
  }

  #randomOptions(): PoolsOptions {
    const random = this.#random;
    return {
      size: random.integer(1, 4),
      minIdle: random.integer(0, 2),
      maxWaiting: random.integer(0, 5),
      checkoutTimeoutMs: random.integer(200, 1_000),
      idleTimeoutMs: random.pick([100, 1_000, Infinity]),
      maxLifetimeMs: random.pick([500, 3_000, Infinity]),
      checkAfterIdleMs: random.pick([0, 50, Infinity]),
      retryMsMin: random.pick([20, 100]),
      retryMsMax: RETRY_MS_MAX,
      poolsMax: this.#corners.length,
      maxTotal: random.integer(1, 10),
    };
  }

  #verify(): void {
    const stats = this.#pools.stats;
    let total = 0;
    for (const corner of this.#corners) total += this.#verifyCorner(corner, stats);
    assert.equal(this.#pools.total, total, "the sum of all places");
    const ceiling = Math.max(this.#options.maxTotal, this.#total);
    assert(total <= ceiling, `${total} places under a ceiling of ${ceiling}`);
    this.#total = total;
  }

  /** @returns the places in use. */
  #verifyCorner(corner: Corner, all: ReadonlyMap<string, PoolStats>): number {
    const { server, waiting } = corner;
    corner.held = corner.held.filter(({ taken }) => !taken.member.isDead);
    assert(corner.held.every(({ taken }) => taken.member.isOpen), "only its owner closes it");
    const stats = all.get(corner.key);
    if (stats === undefined) {
      const rest = [server.openMembers, waiting.length, corner.held.length, server.opens.length];
      assert.deepEqual(rest, [0, 0, 0, 0], "a pool is removed when nothing is left in it");
      corner.taken = 0;
      corner.active.clear();
      return 0;
    }
    const members = stats.idle + stats.checking + stats.active;
    const taken = members + stats.opening;
    assert.equal(members, server.openMembers, "every member that lives has a place");
    assert.equal(stats.opening, server.opens.length, "every opening has a place");
    assert.equal(stats.active, corner.held.length, "who is lent");
    assert.equal(stats.waiting, waiting.length, "who waits");
    const size = Math.max(this.#options.size, corner.taken);
    assert(taken <= size, `${taken} of ${size} places`);
    assert(taken + waiting.length > 0 || stats.isFailing, "a pool that is unused is removed");
    this.#verifyProgress(corner, stats, taken, all);
    corner.taken = taken;
    return taken;
  }

  #verifyProgress(
    corner: Corner,
    stats: PoolStats,
    taken: number,
    all: ReadonlyMap<string, PoolStats>,
  ): void {
    const { size, minIdle, maxTotal } = this.#options;
    const coming = stats.opening + stats.checking;
    const ready = this.#verifyShares(corner);
    const isFull = this.#pools.total >= maxTotal;
    const others = [...all].filter(([key]) => key !== corner.key);
    const isStarved = isFull && others.every(([, { idle }]) => idle === 0);
    const isBackingOff = stats.isFailing &&
      (this.#clock.now() - corner.failedAt <= RETRY_MS_MAX || stats.opening > 0);
    if (taken > size || this.#pools.total > maxTotal) {
      assert.equal(stats.idle, 0, "what is too much is closed");
    }
    if (ready > coming) {
      assert.equal(stats.idle, 0, "nobody waits while a member is idle");
      assert(taken >= size || isBackingOff || isStarved, "nobody waits while a place is free");
      assert(taken > 0 || isStarved, "nobody waits for nothing");
    }
    if (stats.opened > 0 && stats.idle + coming - ready < minIdle) {
      assert(taken >= size || isBackingOff || isFull, "idle members are kept ready");
    }
  }

  async #endInPeace(): Promise<void> {
    for (const corner of this.#corners) {
      for (const one of corner.waiting) one.abort();
      corner.server.opening = "at once";
      corner.server.checking = true;
      for (const question of corner.server.opens.splice(0)) question.fail(new Error("planted"));
      for (const question of corner.server.checks.splice(0)) question.answer(true);
      for (const one of corner.held.splice(0)) one.giveBack();
    }
    await this.#clock.advance(10_000);
    this.#verify();
    for (const corner of this.#corners) {
      this.#checkout(corner);
      await settle();
      assert.equal(corner.held.length, 1, "a checkout succeeds at once");
      corner.held.pop()!.giveBack();
    }
    await this.#pools.close();
    assert.deepEqual([this.#pools.stats.size, this.#pools.total, this.#clock.pending], [0, 0, 0]);
    assert(this.#corners.every(({ server }) => server.openMembers === 0));
  }
}

/** Removes one at random, if there is one. */
function take<T>(from: T[], random: Random): T | undefined {
  return from.length === 0 ? undefined : from.splice(random.integer(0, from.length - 1), 1)[0];
}

const DEEDS = [
  ...["checkout", "checkout", "checkout", "checkout", "abort"] as const,
  ...["give back", "give back", "give back", "discard", "abandon", "end twice"] as const,
  ...["open", "open", "open", "open fails", "check", "check", "check fails"] as const,
  ...["member dies", "time", "time", "reload", "reshare"] as const,
];
