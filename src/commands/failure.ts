// An error as a sentence: what was attempted, why it failed, what to do.

/** A failure whose message is already a sentence for the operator. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** What to print for an error that ended a command: a sentence, or the stack of a bug. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof Deno.errors.NotCapable) return permissionSentence(error);
  const foreseen = ["CommandError", "ConfigError", "DemoError", "EmbeddedPostgresError"];
  return foreseen.includes(error.name) ? error.message : `bug in pgvpd: ${error.stack}`;
}

/** The reason of a failed system call, in its own words, with the missing flag when it is that. */
export function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotCapable) return permissionSentence(error);
  if (error instanceof Deno.errors.AddrInUse) return "the address is already in use";
  if (error instanceof Error) return error.message.split("\n")[0] ?? error.name;
  return String(error);
}

function permissionSentence(error: Error): string {
  // Deno's own: Requires net access to "127.0.0.1:6432", run again with the --allow-net flag
  return `Deno does not allow it. ${error.message}`;
}
