// PostgreSQL's array literals: several values as the text of one `text[]`.
// https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO

const NEEDS_QUOTES = /^$|^null$|[{}",\\\s]/i;

/** As the server itself writes them: `{a,"b c",NULL,"NULL"}`. */
export function arrayLiteral(values: readonly (string | null)[]): string {
  return `{${values.map(element).join(",")}}`;
}

function element(value: string | null): string {
  if (value === null) return "NULL";
  return NEEDS_QUOTES.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value;
}
