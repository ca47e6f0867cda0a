// The file that `resolvers` names: read, checked, and made a plan of.

import { parseResolvers, type ResolverProblem } from "../config/resolvers.ts";
import type { Settings } from "../config/config.ts";
import { planResolvers, type ResolverPlan } from "../context/resolver_plan.ts";
import { CommandError, reasonOf } from "./failure.ts";

/**
 * The plan, or null when there are no resolvers.
 *
 * @throws {CommandError} with a line for each mistake.
 */
export function loadResolvers(settings: Settings): ResolverPlan | null {
  const { plan, mistakes } = readResolvers(settings);
  if (mistakes.length > 0) throw new CommandError(mistakes.join("\n"));
  return plan;
}

/** The same with its mistakes, each with file, line and column. */
export function readResolvers({ resolvers: path, contextVariables, setRole }: Settings): {
  readonly plan: ResolverPlan | null;
  readonly mistakes: readonly string[];
} {
  if (path === null) return { plan: null, mistakes: [] };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(Deno.readFileSync(path));
  } catch (error) {
    const reason = error instanceof TypeError ? "it is not UTF-8 text" : reasonOf(error);
    return { plan: null, mistakes: [`Cannot read "${path}": ${reason}`] };
  }
  const sentence = ({ line, column, message }: ResolverProblem) =>
    `${path}:${line}:${column}: ${message}`;
  const { definitions, problems } = parseResolvers(text);
  if (problems.length > 0) return { plan: null, mistakes: problems.map(sentence) };
  const planned = planResolvers(definitions, contextVariables);
  const mistakes = planned.problems.map(sentence);
  if (planned.plan?.resolvesRole === true && setRole !== null) {
    mistakes.push(`${path}: a resolver injects "role", and "set_role" is set; keep one`);
  }
  return { plan: mistakes.length === 0 ? planned.plan : null, mistakes };
}
