// Place: where a resolver runs, as one text: a key of caches, pools and listeners.

/** No name of a database has it. */
const SEPARATOR = "\0";

/** A database of an upstream. */
export interface Place {
  /** The id of a tenant's own upstream; null for that of all. */
  readonly upstream: string | null;
  readonly database: string;
}

/** The same text for the same place, and for no other. */
export function placeText({ upstream, database }: Place): string {
  return upstream === null ? database : `${upstream}${SEPARATOR}${database}`;
}

/** What `placeText` was given. */
export function parsePlace(text: string): Place {
  const at = text.indexOf(SEPARATOR);
  if (at < 0) return { upstream: null, database: text };
  return { upstream: text.slice(0, at), database: text.slice(at + SEPARATOR.length) };
}
