// What limits and lists know a tenant by: the whole payload of the user name, or one value of it.

import type { Identity } from "./username.ts";

/** `payload`, `first`, or the name of a context variable. */
export type TenantKeyRule = string;

/** The tenant of an identity. */
export function tenantKeyOf(
  { payload, values }: Identity,
  rule: TenantKeyRule,
  contextVariables: readonly string[],
): string {
  if (rule === "payload") return payload;
  if (rule === "first") return values[0]!;
  // A variable that is gone since a reload: the whole payload is never too wide.
  return values[variableIndex(rule, contextVariables)] ?? payload;
}

/** Where a variable stands among others; names are compared without case. -1: nowhere. */
export function variableIndex(name: string, contextVariables: readonly string[]): number {
  const wanted = name.toLowerCase();
  return contextVariables.findIndex((variable) => variable.toLowerCase() === wanted);
}
