// The world of the isolation soak: what is in the database, who is connected, what went where, and
// the first thing that was wrong.

import type { Proxy } from "../../src/server.ts";
import { Random } from "./random.ts";
import { type Bench, DATABASE, type Front } from "./wire_bench.ts";

/** What is run. */
export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly tenants: number;
  /** Of each tenant. */
  readonly clients: number;
  readonly backends: number;
}

export const SOAK_PASSWORD = "soak";
export const SOAK_ROLE = "authenticated";
/** Steps of a client or a backend that are printed when something is wrong. */
const STEPS_PRINTED = 25;
/** Rows of each tenant at the beginning. */
const ROWS_PER_TENANT = 5;

/** The names of the tenants: none is part of another. */
export function tenantName(number: number): string {
  return `tenant_${number}_`;
}

function fixture(tenants: number): string {
  return `
DROP TABLE IF EXISTS soak_notes, soak_inbox;
DROP SEQUENCE IF EXISTS soak_sequence;
CREATE TABLE soak_notes (
  id bigint GENERATED ALWAYS AS IDENTITY,
  tenant text NOT NULL DEFAULT current_setting('app.current_tenant_id'),
  marker text NOT NULL);
CREATE TABLE soak_inbox (
  tenant text NOT NULL, marker text NOT NULL,
  context text NOT NULL DEFAULT current_setting('app.current_tenant_id'));
INSERT INTO soak_notes (tenant, marker)
  SELECT 'tenant_' || t || '_', 'seed' FROM generate_series(0, ${tenants - 1}) t,
    generate_series(1, ${ROWS_PER_TENANT});
ALTER TABLE soak_notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON soak_notes USING (tenant = current_setting('app.current_tenant_id', true));
CREATE SEQUENCE soak_sequence;
GRANT SELECT, INSERT, UPDATE, DELETE ON soak_notes, soak_inbox TO ${SOAK_ROLE};
GRANT USAGE ON SEQUENCE soak_sequence TO ${SOAK_ROLE};
-- Leaves something behind that no look at the statement's text can tell.
CREATE OR REPLACE FUNCTION soak_slip(tenant text, what int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  CASE what
  WHEN 0 THEN PERFORM set_config('soak.residue', tenant, false);
  WHEN 1 THEN EXECUTE 'CREATE TEMP TABLE IF NOT EXISTS residue_' || tenant || ' (a int)';
  WHEN 2 THEN PERFORM nextval('soak_sequence');
  WHEN 3 THEN PERFORM pg_try_advisory_lock(4242, split_part(tenant, '_', 2)::int);
  WHEN 4 THEN EXECUTE 'LISTEN ' || tenant;
  WHEN 5 THEN
    IF NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'slip_' || tenant) THEN
      EXECUTE 'PREPARE slip_' || tenant || ' AS SELECT ' || quote_literal(tenant);
    END IF;
  WHEN 6 THEN PERFORM set_config('statement_timeout', '1h', false);
  WHEN 7 THEN
    IF NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'slip_' || tenant) THEN
      EXECUTE 'DECLARE slip_' || tenant || ' CURSOR WITH HOLD FOR SELECT ' || quote_literal(tenant);
    END IF;
  END CASE;
  RETURN tenant;
END $$;
-- Everything of another tenant that can be found in this session; '' when there is nothing.
CREATE OR REPLACE FUNCTION soak_residue(own text) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(found, '; '), '') FROM (
    SELECT 'setting ' || current_setting('soak.residue', true)
      WHERE coalesce(current_setting('soak.residue', true), '') NOT IN ('', own)
    UNION ALL SELECT 'lock ' || objid FROM pg_locks
      WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 4242
        AND objid::text <> split_part(own, '_', 2)
    UNION ALL SELECT 'statement ' || statement FROM pg_prepared_statements
      WHERE statement ~ 'tenant_[0-9]+_' AND position(own IN statement) = 0
    UNION ALL SELECT 'channel ' || c FROM pg_listening_channels() c WHERE c <> own
    UNION ALL SELECT 'temporary ' || relname FROM pg_class
      WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v')
        AND position(own IN relname) = 0
    UNION ALL SELECT 'cursor ' || statement FROM pg_cursors
      WHERE is_holdable AND position(own IN statement) = 0
  ) residue (found) $$;
`;
}

/** What one server process did last, and for whom. */
interface Track {
  tenant: string;
  readonly tenants: Set<string>;
  readonly steps: string[];
}

/** The first wrong byte. */
export class SoakFailure extends Error {
  override readonly name = "SoakFailure";
}

/** What was seen, when nothing was wrong. */
export interface SoakReport {
  readonly exchanges: number;
  readonly switches: number;
  readonly backends: number;
  readonly sharedBackends: number;
  readonly logins: number;
  readonly kept: number;
  readonly cancelled: number;
  readonly killed: number;
  readonly mourners: Record<string, number>;
  readonly steps: Record<string, number>;
}

/** Shared by all clients of one run. */
export class SoakWorld {
  failure: SoakFailure | null = null;
  exchanges = 0;
  switches = 0;
  logins = 0;
  cancelled = 0;
  /** Server processes that were killed, and clients that may be told so: one for each. */
  killed = 0;
  mournersMax = 0;
  readonly steps: Record<string, number> = {};
  /** What clients were told when they lost their server process. */
  readonly mourners: Record<string, number> = {};
  readonly #tracks = new Map<number, Track>();
  readonly #mourners: string[] = [];

  private constructor(readonly options: SoakOptions, readonly front: Front) {}

  static async make(bench: Bench, options: SoakOptions): Promise<SoakWorld> {
    await bench.admin.run(fixture(options.tenants));
    const front = await bench.front({
      poolMode: "transaction",
      poolSize: options.backends,
      poolPassword: SOAK_PASSWORD,
      poolAuth: "cleartext",
      poolCheckoutTimeout: 10_000,
      authFailureLimit: 1_000_000,
      setRole: SOAK_ROLE,
    });
    return new SoakWorld(options, front);
  }

  get proxy(): Proxy {
    return this.front.proxy;
  }

  /** A server process has answered a client of this tenant. */
  served(pid: number, tenant: string, client: string, step: string): void {
    let track = this.#tracks.get(pid);
    if (track === undefined) {
      track = { tenant, tenants: new Set(), steps: [] };
      this.#tracks.set(pid, track);
    }
    if (track.tenant !== tenant) this.switches++;
    track.tenant = tenant;
    track.tenants.add(tenant);
    remember(track.steps, `${client}: ${step}`);
  }

  /** A client has been told that its server process is gone: may it be? */
  mourned(client: string, words: string): boolean {
    remember(this.#mourners, `${client}: ${words}`);
    this.mourners[words] = (this.mourners[words] ?? 0) + 1;
    return this.mournersMax-- > 0;
  }

  /** Keeps the first failure, with the last steps of whom it happened to. */
  fail(client: string, pid: number, steps: readonly string[], error: unknown): void {
    if (this.failure !== null) return;
    const reason = error instanceof Error ? error.message : String(error);
    const backend = this.#tracks.get(pid)?.steps ?? [];
    this.failure = new SoakFailure([
      `seed ${this.options.seed}, ${client}: ${reason}`,
      `the client's last steps:`,
      ...steps.map((step) => `  ${step}`),
      `the last steps of server process ${pid}:`,
      ...backend.map((step) => `  ${step}`),
      `${this.killed} server processes were killed; clients that lost theirs:`,
      ...this.#mourners.map((words) => `  ${words}`),
      `the proxy's last words:`,
      ...this.front.log.slice(-STEPS_PRINTED).map((entry) => `  ${JSON.stringify(entry)}`),
      ...(error instanceof Error ? [error.stack ?? ""] : []),
    ].join("\n"));
  }

  /** @throws {SoakFailure} when nothing was shared: such a run proves nothing. */
  report(): SoakReport {
    const tracks = [...this.#tracks.values()];
    const shared = tracks.filter(({ tenants }) => tenants.size > 1).length;
    if (this.switches < this.options.seconds || shared === 0) {
      throw new SoakFailure(`${this.switches} changes of context on ${shared} shared backends`);
    }
    return {
      exchanges: this.exchanges,
      switches: this.switches,
      backends: tracks.length,
      sharedBackends: shared,
      logins: this.logins,
      kept: this.front.entries("client keeps its server connection").length,
      cancelled: this.cancelled,
      killed: this.killed,
      mourners: this.mourners,
      steps: this.steps,
    };
  }

  /**
   * Kills a server process now and then, none that is being opened: that fails all who wait for it.
   */
  async disturb(bench: Bench, until: number): Promise<void> {
    const random = new Random(this.options.seed ^ 0x5eed);
    while (performance.now() < until && this.failure === null) {
      await new Promise((resolve) => setTimeout(resolve, random.integer(200, 1_500)));
      this.#checkCleaned();
      this.mournersMax++;
      const killed = await bench.admin.rows(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE usename = 'trusty' AND datname = '${DATABASE}'
            AND query <> '' AND query NOT LIKE '%rolbypassrls%' ORDER BY random() LIMIT 1`,
      );
      if (killed.length > 0) this.killed++;
    }
  }

  /** Nothing of what the clients do survives the clean-up: the look behind it must find nothing. */
  #checkCleaned(): void {
    const found = this.front.log.find(({ error }) => /still there/.test(String(error)));
    if (found !== undefined) this.fail("the proxy", 0, [], new Error(String(found["error"])));
  }

  /** What was copied in stands under the tenant who sent it. */
  async checkInbox(bench: Bench): Promise<void> {
    const foreign = await bench.admin.rows(
      "SELECT * FROM soak_inbox WHERE tenant <> context OR position(tenant IN marker) = 0 LIMIT 3",
    );
    if (foreign.length > 0) throw new SoakFailure(`copied to others: ${JSON.stringify(foreign)}`);
  }
}

export function remember(steps: string[], step: string): void {
  steps.push(step);
  if (steps.length > STEPS_PRINTED) steps.shift();
}
