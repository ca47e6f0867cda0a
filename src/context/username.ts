// The user name of a start-up message, taken apart: `app_user.acme` is the role and its context.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";

/** How user names are built; the names are those of the settings. */
export interface UsernameRules {
  /** Between the role and the context values; its first occurrence counts. */
  readonly tenantSeparator: string;
  /** Between context values, when there are several variables. */
  readonly valueSeparator: string;
  /** The run-time parameters that the values are for, in their order. */
  readonly contextVariables: readonly string[];
}

/** Who a client says it is. */
export interface Identity {
  /** The PostgreSQL role that is logged in. */
  readonly role: string;
  /** Everything behind the separator: the tenant, as lists and limits know it. */
  readonly payload: string;
  /** One value per context variable, in the configured order. */
  readonly values: readonly string[];
}

// A byte order mark belongs to the name; stripping it would make two names one.
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A user name as text.
 *
 * @throws {PgError} 22021 when it is not UTF-8: replacement characters would make two tenants one.
 */
export function decodeUsername(bytes: Uint8Array): string {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch {
    throw new PgError(SqlState.CharacterNotInRepertoire, "user name is not valid UTF-8", {
      hint: "Encode the user name as UTF-8, the tenant in it included.",
    });
  }
}

/**
 * Takes a user name apart.
 *
 * @param bareRole the role of a name without a separator, which is an identity alone then; null:
 * such a name is a mistake.
 * @throws {PgError} 28000 that says which part is missing, or how many values are expected.
 */
export function parseUsername(
  username: string,
  rules: UsernameRules,
  bareRole: string | null = null,
): Identity {
  const hint = `Connect as "${usernameForm(rules)}".`;
  const separatorAt = username.indexOf(rules.tenantSeparator);
  if (separatorAt < 0 && bareRole !== null) {
    return { role: bareRole, payload: username, values: valuesIn(username, rules) };
  }
  if (separatorAt < 0) {
    throw refusal(
      `user name ${JSON.stringify(username)} carries no tenant: ` +
        `the separator ${JSON.stringify(rules.tenantSeparator)} is missing`,
      hint,
    );
  }
  const role = username.slice(0, separatorAt);
  const payload = username.slice(separatorAt + rules.tenantSeparator.length);
  if (role === "") throw refusal("user name has no role before the separator", hint);
  if (payload === "") throw refusal("user name has no tenant behind the separator", hint);
  return { role, payload, values: valuesIn(payload, rules) };
}

function valuesIn(payload: string, rules: UsernameRules): string[] {
  const expected = rules.contextVariables.length;
  const values = expected === 1 ? [payload] : payload.split(rules.valueSeparator);
  if (values.length !== expected) {
    throw refusal(
      `user name carries ${values.length} context value${values.length === 1 ? "" : "s"}, ` +
        `expected ${expected}: ${rules.contextVariables.join(", ")}`,
      `Connect as "${usernameForm(rules)}".`,
    );
  }
  return values;
}

/** What a user name must look like: `<role>.<app.current_tenant_id>`. */
function usernameForm(rules: UsernameRules): string {
  const values = rules.contextVariables.map((name) => `<${name}>`).join(rules.valueSeparator);
  return `<role>${rules.tenantSeparator}${values}`;
}

function refusal(message: string, hint: string): PgError {
  return new PgError(SqlState.InvalidAuthorizationSpecification, message, { hint });
}
