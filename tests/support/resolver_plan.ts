// Plans for tests: of a file that must have no mistake.

import { parseResolvers } from "../../src/config/resolvers.ts";
import { planResolvers, type ResolverPlan } from "../../src/context/resolver_plan.ts";

export function planOf(
  toml: string,
  contextVariables: readonly string[] = ["app.current_tenant_id"],
): ResolverPlan {
  const { definitions, problems } = parseResolvers(toml);
  const planned = planResolvers(definitions, contextVariables);
  const all = [...problems, ...planned.problems];
  if (all.length > 0) throw new Error(all.map(({ line, message }) => `${line}: ${message}`).join());
  return planned.plan!;
}
