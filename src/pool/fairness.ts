// Fair shares: whose turn it is among tenants that wait for the same members.
// Deficit round robin (Shreedhar and Varghese, 1995), charged with the time that members were used.

import { Chain, type Link, linkFor } from "./chain.ts";

/** What a tenant is to a pool. */
export interface TenantShare {
  /** Those of one name share a share. */
  readonly tenant: string;
  /** Its part of the time, beside those of others. */
  readonly weight: number;
  /** Members at most; Infinity: as many as there are. */
  readonly poolMax: number;
  /** While it has fewer, the next member is its own. */
  readonly poolMin: number;
  /** How many of it may wait; Infinity: as many as of all together. */
  readonly queueMax: number;
}

/** The share of whoever has none of its own: first come, first served. */
export const EVERYBODY: TenantShare = {
  tenant: "",
  weight: 1,
  poolMax: Infinity,
  poolMin: 0,
  queueMax: Infinity,
};

/** Time that a tenant of weight 1 is granted in one round. */
export const QUANTUM_MS = 10;
/** Nobody owes more than this, whatever it has used: how long it can be passed over. */
export const DEBT_MS_MAX = 1_000;
/** Tenants that are neither here nor waiting, and are remembered for their debts. */
export const DEBTORS_MAX = 10_000;
/** Of them so many are looked at whenever one is added: their number goes down as time passes. */
const LOOKS_PER_DEBTOR = 2;
/** How much the last use counts in what the next one is expected to take. */
const LAST_USE_SHARE = 0.25;

/** One tenant's account. */
export class Account<W> {
  /** Who waits, in the order of arrival. */
  readonly queue = new Chain<W>();
  readonly link: Link<Account<W>> = linkFor<Account<W>>(this);
  /** Members that it has. */
  active = 0;
  /** How many of those that wait could be given a member now. */
  ready = 0;
  /** Time that it may use before it is another's turn; negative: it has used more. */
  creditMs = 0;
  /** What a use is expected to take. */
  expectedMs = QUANTUM_MS;
  /** The common time when it was last here. */
  leftAt = 0;
  /** Where it stands: among those below their minimum, those that take turns, or debtors. */
  chain: Chain<Account<W>> | null = null;

  constructor(public share: TenantShare) {}

  get isCapped(): boolean {
    return this.active >= this.share.poolMax;
  }

  get isHere(): boolean {
    return this.active > 0 || this.queue.size > 0;
  }
}

/** A use of a member, which is charged at its beginning by estimate and at its end exactly. */
export interface Use<W> {
  readonly account: Account<W>;
  readonly chargedMs: number;
}

/**
 * Queues by tenant, and turns. Everything takes the same time however many tenants there are: a
 * round in which nobody is served pays back what was charged before.
 */
export class FairShares<W> {
  readonly #accounts = new Map<string, Account<W>>();
  readonly #belowMinimum = new Chain<Account<W>>();
  readonly #turns = new Chain<Account<W>>();
  readonly #debtors = new Chain<Account<W>>();
  /** Time that a tenant of weight 1 would have been given by now, had it always been here. */
  #commonMs = 0;
  /** The weights of those that are here. */
  #weight = 0;
  #ready = 0;
  #size = 0;

  /** Waiters that could be given a member now. */
  get ready(): number {
    return this.#ready;
  }

  /** All who wait. */
  get size(): number {
    return this.#size;
  }

  /** Tenants that are remembered. */
  get tenants(): number {
    return this.#accounts.size;
  }

  /** Whether a tenant may be given a member that is there, past everybody who waits. */
  mayBegin(share: TenantShare): boolean {
    const known = this.#accounts.get(share.tenant);
    if (known === undefined) return this.#ready === 0;
    this.account(share); // those of its own who wait may be ready by that
    return this.#ready === 0 && !known.isCapped;
  }

  /** The last one of the longest queue; of equal ones, that of the tenant known for longest. */
  get lastOfLongest(): W | undefined {
    let longest: Account<W> | undefined;
    for (const account of this.#accounts.values()) {
      if (account.queue.size > (longest?.queue.size ?? 0)) longest = account;
    }
    return longest?.queue.last;
  }

  /** What every tenant's share is from now on. */
  reshare(shareOf: (known: TenantShare) => TenantShare): void {
    for (const { share } of [...this.#accounts.values()]) this.account(shareOf(share));
  }

  /**
   * The account of a tenant, which must join or begin at once. What this share says holds for it
   * from now on.
   */
  account(share: TenantShare): Account<W> {
    let account = this.#accounts.get(share.tenant);
    if (account === undefined) {
      account = new Account(share);
      this.#accounts.set(share.tenant, account);
    } else if (account.share !== share) {
      if (account.isHere) this.#weight += share.weight - account.share.weight;
      account.share = share;
      this.#place(account);
    }
    return account;
  }

  /** Stands at the end of its tenant's queue. */
  join(account: Account<W>, waiter: Link<W>): void {
    this.#change(account, () => account.queue.add(waiter));
    this.#size++;
  }

  /** Leaves the queue, served or not. */
  leave(account: Account<W>, waiter: Link<W>): void {
    this.#size--;
    this.#change(account, () => account.queue.remove(waiter));
  }

  /** Who would be given the next member but for `others` that are being made ready. */
  next(others = 0): W | undefined {
    if (others >= this.#ready) return undefined;
    const account = this.#belowMinimum.first ?? this.#nextInTurn();
    if (account === undefined || this.#belowMinimum.size + this.#turns.size > 1) {
      return account?.queue.first;
    }
    for (const waiter of account.queue) if (others-- === 0) return waiter;
  }

  /** A member is given to a tenant. */
  begin(account: Account<W>): Use<W> {
    const chargedMs = account.expectedMs;
    this.#change(account, () => account.active++);
    this.#charge(account, chargedMs);
    if (account.chain === this.#belowMinimum) account.chain.moveToEnd(account.link);
    return { account, chargedMs };
  }

  /** The tenant is done with it, after so long. */
  end({ account, chargedMs }: Use<W>, usedMs: number): void {
    account.expectedMs += LAST_USE_SHARE * (usedMs - account.expectedMs);
    this.#charge(account, usedMs - chargedMs);
    this.#change(account, () => account.active--);
  }

  *[Symbol.iterator](): Generator<W, undefined> {
    for (const account of [...this.#accounts.values()]) yield* account.queue;
  }

  #nextInTurn(): Account<W> | undefined {
    const turns = this.#turns;
    if (turns.size === 1) return turns.first;
    for (;;) {
      const account = turns.first;
      if (account === undefined || account.creditMs > 0) return account;
      account.creditMs += QUANTUM_MS * account.share.weight;
      turns.moveToEnd(account.link);
    }
  }

  #charge(account: Account<W>, ms: number): void {
    const most = QUANTUM_MS * account.share.weight;
    account.creditMs = Math.max(-DEBT_MS_MAX, Math.min(most, account.creditMs - ms));
    this.#commonMs += ms / Math.max(1, this.#weight);
  }

  #change(account: Account<W>, act: () => void): void {
    const wasHere = account.isHere;
    act();
    if (account.isHere !== wasHere) {
      if (wasHere) this.#goes(account);
      else this.#comes(account);
    }
    this.#place(account);
  }

  #comes(account: Account<W>): void {
    this.#weight += account.share.weight;
    account.creditMs = Math.min(0, this.#creditNow(account));
  }

  #goes(account: Account<W>): void {
    this.#weight -= account.share.weight;
    account.leftAt = this.#commonMs;
  }

  /** A debt becomes less by what would have been the tenant's share meanwhile. */
  #creditNow({ creditMs, leftAt, share }: Account<W>): number {
    return creditMs + (this.#commonMs - leftAt) * share.weight;
  }

  /** Puts an account where it belongs now. */
  #place(account: Account<W>): void {
    const { queue, active, share } = account;
    const ready = Math.max(0, Math.min(queue.size, share.poolMax - active));
    this.#ready += ready - account.ready;
    account.ready = ready;
    const chain = ready > 0
      ? active < share.poolMin ? this.#belowMinimum : this.#turns
      : account.isHere
      ? null
      : this.#debtors;
    if (chain === account.chain) return;
    account.chain?.remove(account.link);
    account.chain = chain;
    if (chain === this.#debtors && account.creditMs >= 0) return this.#remove(account);
    chain?.add(account.link);
    if (chain === this.#debtors) this.#forget();
  }

  /** Debts that are paid are forgotten, and when there are too many, the oldest ones too. */
  #forget(): void {
    let looks = LOOKS_PER_DEBTOR;
    for (const debtor of this.#debtors) {
      const isTooMany = this.#debtors.size > DEBTORS_MAX;
      if (looks-- === 0 && !isTooMany) break;
      if (isTooMany || this.#creditNow(debtor) >= 0) {
        this.#debtors.remove(debtor.link);
        this.#remove(debtor);
      }
    }
  }

  #remove(account: Account<W>): void {
    account.chain = null;
    this.#accounts.delete(account.share.tenant);
  }
}
