// What limits and lists know a tenant by: the whole payload of the user name, or one value of it.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
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

/** What tenants are in the database. */
export type TenantType = "text" | "uuid" | "integer";

/**
 * The one spelling in which PostgreSQL itself writes a tenant; null: it is none of this type. Of a
 * uuid and an integer the server takes many, and all of them are one tenant.
 * https://www.postgresql.org/docs/current/datatype-uuid.html
 */
export function canonicalTenant(name: string, type: TenantType): string | null {
  if (type === "text") return name;
  if (type === "integer") return /^[+-]?[0-9]{1,30}$/.test(name) ? String(BigInt(name)) : null;
  if (!/^(\{(?=.*\}$))?([0-9a-f]{4}-?){8}\}?$/i.test(name)) return null;
  const digits = name.toLowerCase().replace(/[^0-9a-f]/g, "");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * A client's tenant, which must be spelled as PostgreSQL writes it: lists and limits that know one
 * spelling could be walked round with another.
 *
 * @throws {PgError} 28000
 */
export function refuseOtherSpelling(name: string, type: TenantType): void {
  if (canonicalTenant(name, type) === name) return;
  throw new PgError(
    SqlState.InvalidAuthorizationSpecification,
    `tenant ${JSON.stringify(name)} is not written as PostgreSQL writes ${SPELLINGS[type]}`,
    { hint: "tenant_type is what has been configured." },
  );
}

const SPELLINGS: Readonly<Record<TenantType, string>> = {
  text: "text",
  uuid: "a uuid: in lower case, with its hyphens",
  integer: "an integer: without leading zeros",
};

/** Where a variable stands among others; names are compared without case. -1: nowhere. */
export function variableIndex(name: string, contextVariables: readonly string[]): number {
  const wanted = name.toLowerCase();
  return contextVariables.findIndex((variable) => variable.toLowerCase() === wanted);
}
