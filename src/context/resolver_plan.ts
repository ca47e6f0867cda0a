// ResolverPlan: resolvers that fit together, in an order in which each finds its inputs.

import {
  type ResolverDefinition,
  type ResolverProblem,
  ROLE_VARIABLE,
} from "../config/resolvers.ts";
import { parametersIn } from "./sql_parameters.ts";

/** Variable names are compared without case, as the server does. */
export function canonicalVariable(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** One resolver with what it waits for. */
export interface PlannedResolver extends ResolverDefinition {
  /** Names of the resolvers that must have answered before. */
  readonly after: readonly string[];
  /** The same for definitions that mean the same: answers are kept under it. */
  readonly fingerprint: string;
}

/** A checked set of resolvers. */
export interface ResolverPlan {
  /** In an order in which each stands behind what it waits for; else in the file's order. */
  readonly resolvers: readonly PlannedResolver[];
  /** What they inject, in this order, the role apart. */
  readonly variables: readonly string[];
  /** Whether the session's role is one of their answers. */
  readonly resolvesRole: boolean;
}

/** Puts resolvers in order, or says why they cannot be. The plan is null when there is a problem. */
export function planResolvers(
  definitions: readonly ResolverDefinition[],
  contextVariables: readonly string[],
): { readonly plan: ResolverPlan | null; readonly problems: readonly ResolverProblem[] } {
  const planning = new Planning(definitions, contextVariables);
  const plan = planning.run();
  const problems = planning.problems
    .toSorted((a, b) => a.line - b.line || a.column - b.column);
  return { plan: problems.length === 0 ? plan : null, problems };
}

/** Everything that decides what an answer is; `required` does where several rows are one array. */
function fingerprintOf(definition: ResolverDefinition): string {
  const { name, query, inject, rows, runAs, required } = definition;
  return JSON.stringify([name, query, inject, rows, runAs, required]);
}

class Planning {
  readonly problems: ResolverProblem[] = [];
  readonly #byName = new Map<string, ResolverDefinition>();
  /** Who injects a variable. */
  readonly #producers = new Map<string, ResolverDefinition>();
  readonly #known: ReadonlySet<string>;

  constructor(
    readonly definitions: readonly ResolverDefinition[],
    readonly contextVariables: readonly string[],
  ) {
    this.#known = new Set(contextVariables.map(canonicalVariable));
  }

  run(): ResolverPlan {
    for (const each of this.definitions) this.#enter(each);
    for (const each of this.definitions) this.#checkParameters(each);
    const planned = this.definitions.map((each) => ({
      ...each,
      after: this.#prerequisites(each),
      fingerprint: fingerprintOf(each),
    }));
    const resolvers = this.#inOrder(planned);
    const variables = resolvers.flatMap(({ inject }) => inject.map(({ variable }) => variable));
    return {
      resolvers,
      variables: variables.filter((variable) => variable !== ROLE_VARIABLE),
      resolvesRole: variables.includes(ROLE_VARIABLE),
    };
  }

  #tell(at: ResolverDefinition, message: string, field?: string, item?: string | number): void {
    this.problems.push({ ...at.placeOf(field, item), message });
  }

  #enter(definition: ResolverDefinition): void {
    const { name, inject } = definition;
    const other = this.#byName.get(name);
    if (other !== undefined) {
      const { line } = other.placeOf("name");
      this.#tell(definition, `"${name}" is the name of the resolver in line ${line} too`, "name");
    }
    this.#byName.set(name, other ?? definition);
    for (const { variable } of inject) {
      const canonical = canonicalVariable(variable);
      const producer = this.#producers.get(canonical);
      if (this.#known.has(canonical)) {
        this.#tell(
          definition,
          `"${variable}" comes from the user name (context_variables) and cannot be resolved`,
          ...["inject", variable],
        );
      } else if (producer !== undefined) {
        const who = producer === definition ? "this resolver" : `resolver "${producer.name}"`;
        this.#tell(definition, `"${variable}" is injected by ${who} already`, "inject", variable);
      } else {
        this.#producers.set(canonical, definition);
      }
    }
  }

  #checkParameters(definition: ResolverDefinition): void {
    const { params, query } = definition;
    const used = parametersIn(query);
    for (const number of [...used].sort((a, b) => a - b)) {
      if (number >= 1 && number <= params.length) continue;
      const count = params.length === 1 ? "one parameter" : `${params.length} parameters`;
      this.#tell(definition, `the query has $${number}, and "params" names ${count}`, "query");
    }
    params.forEach((variable, index) => {
      if (!used.has(index + 1)) {
        this.#tell(definition, `the query has no $${index + 1}`, "params", index);
      }
      const canonical = canonicalVariable(variable);
      if (this.#known.has(canonical) || this.#producers.has(canonical)) return;
      const all = [...this.contextVariables, ...this.#producers.keys()].join(", ");
      this.#tell(
        definition,
        `nothing gives "${variable}" a value; known are ${all}`,
        "params",
        index,
      );
    });
  }

  /** Those whose answers are inputs, and those that are named. */
  #prerequisites(definition: ResolverDefinition): string[] {
    const producers = definition.params.map((variable) =>
      this.#producers.get(canonicalVariable(variable))?.name
    );
    definition.dependsOn.forEach((name, index) => {
      if (this.#byName.has(name)) return;
      this.#tell(definition, `there is no resolver "${name}"`, "depends_on", index);
    });
    const named = definition.dependsOn.filter((name) => this.#byName.has(name));
    return [...new Set([...producers.filter((name) => name !== undefined), ...named])];
  }

  #inOrder(planned: readonly PlannedResolver[]): PlannedResolver[] {
    const ordered: PlannedResolver[] = [];
    const placed = new Set<string>();
    let waiting = [...planned];
    while (waiting.length > 0) {
      const next = waiting.find(({ after }) => after.every((name) => placed.has(name)));
      if (next === undefined) {
        this.#tellCycle(waiting);
        break;
      }
      ordered.push(next);
      placed.add(next.name);
      waiting = waiting.filter((each) => each !== next);
    }
    return ordered;
  }

  /** Each of these waits for another one of these: following that leads into the circle. */
  #tellCycle(waiting: readonly PlannedResolver[]): void {
    const trail: PlannedResolver[] = [];
    let at = waiting[0]!;
    while (!trail.includes(at)) {
      trail.push(at);
      at = waiting.find(({ name }) => at.after.includes(name))!;
    }
    const circle = trail.slice(trail.indexOf(at));
    const names = [...circle, at].map(({ name }) => `"${name}"`).join(" → ");
    this.#tell(at, `resolvers wait for each other in a circle: ${names}`, "name");
  }
}
