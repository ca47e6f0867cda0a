// Somebody who may run any SQL as tenant acme, and wants rows of globex: with what, what is seen.

import type { SealKey } from "../../src/auth/seal.ts";
import { PLAIN_DATABASE, type SealedWorld } from "./sealed_world.ts";
import { DATABASE, type Front } from "./wire_bench.ts";
import { type Login, PgClient } from "./wire_clients.ts";
import type { Mode } from "./wire_modes.ts";

/** What an attacker sees of a table that is protected. */
export interface Seen {
  /** Rows of others, or what comes to the same. */
  readonly foreign: number;
  /** Rows of its own; null: nobody has looked. */
  readonly own: number | null;
}

/** One thing to try. */
export interface Attack {
  /** That of the reference, or one of ours (X…). */
  readonly id: string;
  readonly what: string;
  /** Statements that are tried, each by itself; then the protected table is looked at. */
  readonly sql?: readonly string[];
  /** Where that is not enough. */
  readonly run?: (attacker: Attacker) => Promise<Seen>;
  /** Rows of its own that must be seen in the sealed database: a wrong token shows none. */
  readonly own?: number;
  /** The sessions' role is another than the login role. */
  readonly setRole?: true;
  /** Everybody is served on one server connection, where there are pools. */
  readonly alone?: true;
  /** It is about tokens, which a plain database does not know. */
  readonly sealedOnly?: true;
}

const PROBE = "SELECT count(*) FILTER (WHERE tenant_id <> 'acme')::int AS foreign, " +
  "count(*) FILTER (WHERE tenant_id = 'acme')::int AS own FROM public.notes";
const CLOSED: Seen = { foreign: 0, own: null };
const FAR = 9_999_999_999;

export class Attacker implements AsyncDisposable {
  private constructor(
    readonly world: SealedWorld,
    readonly front: Front,
    readonly mode: Mode,
    readonly isSealed: boolean,
    readonly client: PgClient,
    /** The token that pgvpd has set; empty in the plain database. */
    readonly token: string,
  ) {}

  static async connect(
    world: SealedWorld,
    front: Front,
    mode: Mode,
    isSealed: boolean,
  ): Promise<Attacker> {
    const database = isSealed ? DATABASE : PLAIN_DATABASE;
    const client = await PgClient.connect({ ...front.app("acme"), database });
    const token = await client.value("SELECT current_setting('pgvpd.seal', true)");
    return new Attacker(world, front, mode, isSealed, client, String(token ?? ""));
  }

  /** Its own MAC, over another tenant's name. */
  get forged(): string {
    const whole = this.token || `${"0".repeat(64)}${FAR}k1{"app.current_tenant_id":"acme"}`;
    return whole.replace("acme", "globex");
  }

  /** How somebody else would log in to the same database. */
  login(tenant: string, more: Partial<Login> = {}): Login {
    const database = this.isSealed ? DATABASE : PLAIN_DATABASE;
    return { ...this.front.app(tenant), database, ...more };
  }

  /** Runs a statement that may fail; `:forged` and `:token` stand for the tokens as literals. */
  async try(sql: string): Promise<Record<string, unknown>[]> {
    const literal = (token: string) => `'${token.replaceAll("'", "''")}'`;
    const text = sql.replaceAll(":forged", literal(this.forged))
      .replaceAll(":token", literal(this.token));
    try {
      return await this.client.rows(text);
    } catch {
      return [];
    }
  }

  /** The number in the only column of the only row, or zero. */
  async count(sql: string): Promise<number> {
    const [row] = await this.try(sql);
    return Number(Object.values(row ?? {})[0] ?? 0);
  }

  /** Foreign rows by another question than the usual. */
  async foreign(sql: string): Promise<Seen> {
    return { foreign: await this.count(sql), own: null };
  }

  async probe(): Promise<Seen> {
    const [row] = await this.try(PROBE);
    return row === undefined ? { foreign: 0, own: 0 } : row as unknown as Seen;
  }

  /** A token made with a key for the connection that serves it now, wrong in one thing. */
  async mint(
    tenant: string,
    { key = this.world.key, pid = 0, port = 0, endsAt = FAR }: {
      readonly key?: SealKey;
      readonly pid?: number;
      readonly port?: number;
      readonly endsAt?: number;
    },
  ): Promise<string> {
    const [row] = await this.try(
      "SELECT pg_backend_pid() AS pid, coalesce(inet_client_port(), 0) AS port",
    );
    const binding = { processId: Number(row!["pid"]) + pid, port: Number(row!["port"]) + port };
    return key.token(binding, endsAt, JSON.stringify({ "app.current_tenant_id": tenant }));
  }

  /** Takes both variables for its own. */
  async claim(token: string, tenant = "globex"): Promise<void> {
    await this.try(`SELECT set_config('app.current_tenant_id', '${tenant}', false)`);
    await this.try(`SELECT set_config('pgvpd.seal', '${token.replaceAll("'", "''")}', false)`);
  }

  async perform({ sql = [], run }: Attack): Promise<Seen> {
    for (const statement of sql) await this.try(statement);
    return run === undefined ? await this.probe() : await run(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
  }
}

/** Undoes what attacks leave where everybody may write. */
export async function tidyUp(world: SealedWorld): Promise<void> {
  for (const client of [world.bench.admin, world.plain]) {
    await client.run(
      "DROP SCHEMA evil CASCADE; CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO app_user",
    );
  }
}

/** Nothing was seen, as when the connection was refused. */
export function closed(): Seen {
  return CLOSED;
}
