// The console: PgBouncer's commands over a Control, so that what is used to it goes on working.
// https://www.pgbouncer.org/usage.html#admin-console

import {
  type ConsoleAnswer,
  type Control,
  ControlError,
  type Operator,
  type OperatorConsole,
} from "../control.ts";
import { TABLES } from "./console_tables.ts";

const HELP = `
	SHOW HELP|CLIENTS|CONFIG|DATABASES|LISTS|POOLS|SERVERS|STATS|TENANTS|VERSION
	PAUSE [<tenant>]
	RESUME [<tenant>]
	RECONNECT [<pool>]
	KILL <tenant>
	KILL_CLIENT <number>
	DENY <tenant>
	ALLOW <tenant>
	RELOAD
	SHUTDOWN
A name is a word, or anything in quotes: "a name".`;

/** A command longer than this is none. */
const COMMAND_LENGTH_MAX = 20_000;

type Act = (control: Control, argument: string | null, by: Operator) => unknown;

/** What takes an argument only if it is given one, must have one, or takes none. */
const ACTS: Readonly<Record<string, { readonly takes: "may" | "must" | "none"; run: Act }>> = {
  PAUSE: { takes: "may", run: (control, tenant, by) => control.pause(tenant, by) },
  RESUME: { takes: "may", run: (control, tenant, by) => control.resume(tenant, by) },
  KILL: { takes: "must", run: (control, tenant, by) => control.disconnectTenant(tenant!, by) },
  KILL_CLIENT: { takes: "must", run: killClient },
  DENY: { takes: "must", run: (control, tenant, by) => control.deny(tenant!, by) },
  ALLOW: { takes: "must", run: (control, tenant, by) => control.allow(tenant!, by) },
  RECONNECT: { takes: "may", run: (control, pool, by) => control.drainPool(pool, by) },
  RELOAD: { takes: "none", run: reload },
  SHUTDOWN: { takes: "none", run: (control, _, by) => control.drain(by) },
};

export class AdminConsole implements OperatorConsole {
  readonly #control: Control;

  constructor(control: Control) {
    this.#control = control;
  }

  run(command: string, by: Operator): ConsoleAnswer {
    const text = command.trim().replace(/\s*;$/, "");
    if (text === "") return { tag: "" };
    const { word, argument } = parse(text);
    if (word === "SHOW") return this.#show(text, argument);
    const act = Object.hasOwn(ACTS, word) ? ACTS[word] : undefined;
    if (act === undefined || act.takes === "none" && argument !== null) throw invalid(text);
    if (act.takes === "must" && argument === null) {
      throw new ControlError("invalid", `${word} needs a name`);
    }
    act.run(this.#control, argument, by);
    return { tag: word };
  }

  #show(text: string, argument: string | null): ConsoleAnswer {
    const name = (argument ?? "").toUpperCase();
    if (name === "HELP") return { tag: "SHOW", notice: `Console usage${HELP}` };
    const table = Object.hasOwn(TABLES, name) ? TABLES[name] : undefined;
    if (table === undefined) throw invalid(text);
    return { tag: "SHOW", table: table(this.#control) };
  }
}

/** A word in any case, and what stands behind it: another word, or anything in quotes. */
function parse(text: string): { readonly word: string; readonly argument: string | null } {
  const pattern = /^([a-z_]+)(?:\s+(?:"((?:[^"]|"")+)"|'((?:[^']|'')+)'|([^\s"';]+)))?$/i;
  const found = text.length > COMMAND_LENGTH_MAX ? null : pattern.exec(text);
  if (found === null) throw invalid(text);
  const [, word, double, single, plain] = found;
  const argument = double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'") ?? plain ?? null;
  return { word: word!.toUpperCase(), argument };
}

function killClient(control: Control, argument: string | null, by: Operator): void {
  if (!/^\d{1,15}$/.test(argument!)) {
    throw new ControlError("invalid", "KILL_CLIENT needs a number, the ptr of SHOW CLIENTS");
  }
  control.disconnectClient(Number(argument), by);
}

function reload(control: Control, _: string | null, by: Operator): void {
  const { problems } = control.reload(by);
  if (problems.length === 0) return;
  throw new ControlError("conflict", `RELOAD failed: ${problems.join("; ")}`);
}

function invalid(text: string): ControlError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return new ControlError("invalid", `invalid command '${shown}', use SHOW HELP;`);
}
