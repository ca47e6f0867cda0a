// Assertions: for pgvpd's own mistakes, never for a peer's. A peer's mistake is a `PgError`.

/** pgvpd itself is wrong: the session that meets one is closed, and it is logged loudly. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws an {@linkcode AssertionError} unless `condition` holds. */
export function assert(condition: boolean, message = "assertion failed"): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionError(`unexpected value ${JSON.stringify(value)}`);
}
