// A file of tenants: one name or pattern in each line.

/** Lines with a tenant that a file may have. */
export const TENANTS_MAX = 100_000;
/** What a start-up packet may hold is more than any name needs. */
const LENGTH_MAX = 1_000;

/** What is wrong in which line. */
export class TenantListError extends Error {
  override readonly name = "TenantListError";
  constructor(readonly line: number, message: string) {
    super(message);
  }
}

/**
 * The tenants of a file, without doubles. `#` at the beginning of a line or behind white space
 * begins a comment.
 *
 * @throws {TenantListError}
 */
export function parseTenantList(text: string): string[] {
  const tenants = new Set<string>();
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    const tenant = line.replace(/(^|\s)#.*$/, "").trim();
    if (tenant === "") continue;
    const refuse = (message: string) => {
      throw new TenantListError(index + 1, message);
    };
    // deno-lint-ignore no-control-regex
    if (/[\x00-\x1f\x7f]/.test(tenant)) refuse("a tenant has no control characters");
    if (tenant.length > LENGTH_MAX) refuse(`a tenant has at most ${LENGTH_MAX} characters`);
    tenants.add(tenant);
    if (tenants.size > TENANTS_MAX) refuse(`more than ${TENANTS_MAX} tenants`);
  }
  return [...tenants];
}
