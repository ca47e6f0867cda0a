// RoleProof: a server's word that row-level security binds the roles that are used on a connection.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { roleQuery, type Say, type TextRow } from "./statements.ts";

/** Roles of which is known that they do not leave row-level security. */
const PROVED_ROLES_MAX = 100;

/** Of one connection; each role is asked about once. */
export class RoleProof {
  readonly #proved = new Set<string>();

  /**
   * @param from where the role's name comes from, for the message.
   * @throws {PgError} 28000 for a role to which row-level security does not apply.
   */
  async prove(role: string, from: string, say: Say): Promise<void> {
    if (this.#proved.has(role)) return;
    const [[row]] = await say<[TextRow[]]>([roleQuery(role)]);
    if (row?.[0] === "t") {
      throw new PgError(
        SqlState.InvalidAuthorizationSpecification,
        `role ${JSON.stringify(role)} is not subject to row-level security`,
        {
          detail: `It is a superuser or has BYPASSRLS; it comes from ${from}.`,
          hint: "Take a role with NOSUPERUSER NOBYPASSRLS, or name it in pool_roles.",
        },
      );
    }
    if (row?.[0] !== "f") return; // there is no such role, yet
    if (this.#proved.size >= PROVED_ROLES_MAX) this.#proved.clear();
    this.#proved.add(role);
  }
}
