// Tenants as operators list them: exact names, and patterns with `*` and `?`.

import { canonicalTenant, type TenantType } from "./tenant_key.ts";

/** A name is compared as it is, byte for byte; a backslash takes the meaning from `*`, `?` and `\`. */
export class TenantPatterns {
  readonly #names = new Set<string>();
  readonly #globs: Glob[] = [];

  /** @param type names of it are known in any spelling. */
  constructor(patterns: Iterable<string>, type: TenantType = "text") {
    for (const pattern of patterns) {
      if (isGlob(pattern)) this.#globs.push(new Glob(pattern));
      else this.#names.add(listedTenant(pattern, type));
    }
  }

  matches(tenant: string): boolean {
    return this.#names.has(tenant) || this.#globs.some((glob) => glob.matches(tenant));
  }
}

/** Does it stand for more than one name? */
export function isGlob(pattern: string): boolean {
  return /[*?]/.test(pattern.replace(/\\./gs, ""));
}

/** The tenant that is meant by a pattern without `*` and `?`. */
export function listedTenant(pattern: string, type: TenantType): string {
  const name = unescaped(pattern);
  return canonicalTenant(name, type) ?? name;
}

/** The name that a pattern without `*` and `?` means. */
export function unescaped(pattern: string): string {
  return pattern.replace(/\\(.)/gs, "$1");
}

const ANY_RUN = 0;
const ANY_ONE = 1;

/** One pattern. Matching takes steps as many as the product of both lengths, at the very most. */
export class Glob {
  /** Characters, and what stands for them. */
  readonly #parts: readonly (string | typeof ANY_RUN | typeof ANY_ONE)[];

  constructor(pattern: string) {
    this.#parts = [...pattern.matchAll(/\\(.)|([\s\S])/gsu)].map(([, escaped, plain]) => {
      if (escaped !== undefined) return escaped;
      return plain === "*" ? ANY_RUN : plain === "?" ? ANY_ONE : plain!;
    });
  }

  matches(text: string): boolean {
    const parts = this.#parts;
    const letters = [...text];
    let [at, part] = [0, 0];
    // Where the last `*` stands, and how far it reaches so far.
    let [starAt, starReach] = [-1, 0];
    while (at < letters.length) {
      if (parts[part] === ANY_RUN) {
        [starAt, starReach] = [part++, at];
      } else if (parts[part] === ANY_ONE || parts[part] === letters[at]) {
        part++;
        at++;
      } else if (starAt >= 0) {
        part = starAt + 1;
        at = ++starReach;
      } else {
        return false;
      }
    }
    while (parts[part] === ANY_RUN) part++;
    return part === parts.length;
  }
}
