// Resolution: one evaluation of a plan, as a state machine. Who runs the queries is not its affair.

import { byteLength, NAME_BYTES_MAX } from "../config/values.ts";
import { type ResolverDefinition, ROLE_VARIABLE } from "../config/resolvers.ts";
import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { arrayLiteral } from "./array_literal.ts";
import type { Setting } from "./context.ts";
import { canonicalVariable, type PlannedResolver, type ResolverPlan } from "./resolver_plan.ts";

/** What all resolvers together may inject; a session carries it with every change of context. */
export const RESOLVED_BYTES_MAX = 1024 * 1024;

/** A value of the server's; null for NULL. */
export type Value = string | null;

/** A query to be run now. */
export interface ResolverCall {
  readonly resolver: PlannedResolver;
  readonly inputs: readonly Value[];
}

/** What the server has answered. */
export interface ResolverAnswer {
  /** Null when the statement returns no rows at all. */
  readonly columns: readonly string[] | null;
  readonly rows: readonly (readonly Value[])[];
}

/** The values for a resolver's injections, in their order; null: it has found no row. */
export type ResolverValues = readonly Value[] | null;

/** A resolver is not as its query's answers are: the operator's affair. */
export class ResolverMistake extends Error {
  override readonly name = "ResolverMistake";
}

/**
 * What an answer means.
 *
 * @throws {ResolverMistake} for a column that is missing, and for more rows than there may be.
 */
export function valuesOf(
  { inject, rows: taken, required }: ResolverDefinition,
  { columns, rows }: ResolverAnswer,
): ResolverValues {
  const names = columns ?? [];
  const indexes = inject.map(({ column }) => {
    const index = names.indexOf(column);
    if (index >= 0 && index === names.lastIndexOf(column)) return index;
    const found = names.length === 0 ? "it returns no columns" : `it returns ${names.join(", ")}`;
    const fault = index < 0 ? "has no column" : "has more than one column";
    throw new ResolverMistake(`the result ${fault} "${column}"; ${found}`);
  });
  if (taken === "one" && rows.length > 1) {
    throw new ResolverMistake('it returned more than one row; "rows" says how several are taken');
  }
  if (rows.length === 0 && (taken !== "array" || required)) return null;
  return indexes.map((index) =>
    taken === "array" ? arrayLiteral(rows.map((row) => row[index]!)) : rows[0]![index]!
  );
}

/** The refusal of a client, and all that it learns. */
export function unresolved(what: string, cause?: unknown): PgError {
  return new PgError(
    SqlState.InvalidAuthorizationSpecification,
    `the session context could not be resolved: ${what}`,
    {},
    { cause },
  );
}

/** One evaluation. Ask `begin` at first and after each answer. */
export class Resolution {
  readonly #plan: ResolverPlan;
  readonly #values: Map<string, Value>;
  readonly #begun = new Set<string>();
  readonly #answered = new Set<string>();
  #bytes = 0;
  /** Those that were not asked, because an input is NULL. */
  readonly skipped: PlannedResolver[] = [];

  /** @param known what the user name says, by variable. */
  constructor(plan: ResolverPlan, known: readonly Setting[]) {
    this.#plan = plan;
    this.#values = new Map(known.map(({ name, value }) => [canonicalVariable(name), value]));
  }

  /**
   * The queries that can begin now, each once.
   *
   * @throws {PgError} 28000 when an input is NULL that must not be.
   */
  begin(): ResolverCall[] {
    const calls: ResolverCall[] = [];
    for (const resolver of this.#plan.resolvers) {
      const { name, after, params, onNullInput } = resolver;
      if (this.#begun.has(name) || !after.every((other) => this.#answered.has(other))) continue;
      this.#begun.add(name);
      const inputs: Value[] = params.map((variable) =>
        this.#values.get(canonicalVariable(variable))!
      );
      if (onNullInput === "run" || !inputs.includes(null)) {
        calls.push({ resolver, inputs });
      } else if (onNullInput === "fail") {
        throw unresolved(`"${name}" lacks an input`);
      } else {
        this.skipped.push(resolver);
        this.#enter(resolver, null); // those behind it stand behind it in the plan, too
      }
    }
    return calls;
  }

  /** @throws {PgError} 28000 when a row is required and there is none, or it is too much. */
  answer(resolver: PlannedResolver, values: ResolverValues): void {
    if (values === null && resolver.required) throw unresolved(`"${resolver.name}" found nothing`);
    this.#enter(resolver, values);
  }

  /** Every resolver has answered, or was skipped. */
  get isOver(): boolean {
    return this.#answered.size === this.#plan.resolvers.length;
  }

  /** What is to be set, in the plan's order; NULL is the empty text, which policies take for it. */
  get settings(): Setting[] {
    return this.#plan.variables.map((name) => ({
      name,
      value: this.#values.get(canonicalVariable(name)) ?? "",
    }));
  }

  /**
   * The role that was resolved; null when the plan has none.
   *
   * @throws {PgError} 28000 when it is not one that a session can have.
   */
  get role(): string | null {
    if (!this.#plan.resolvesRole) return null;
    const role = this.#values.get(ROLE_VARIABLE) ?? "";
    // To the server, "none" would mean the login role.
    if (role === "" || role.toLowerCase() === "none" || byteLength(role) > NAME_BYTES_MAX) {
      throw unresolved("there is no role for it");
    }
    return role;
  }

  #enter(resolver: PlannedResolver, values: ResolverValues): void {
    this.#answered.add(resolver.name);
    resolver.inject.forEach(({ variable }, index) => {
      const value = values?.[index] ?? null;
      this.#bytes += value === null ? 0 : byteLength(value);
      this.#values.set(canonicalVariable(variable), value);
    });
    if (this.#bytes > RESOLVED_BYTES_MAX) throw unresolved("it would be too large");
  }
}
