// Attacks on the sealed context, A and B: forging it, and hopping to another role.

import { SealKey } from "../../src/auth/seal.ts";
import { type Attack, type Attacker, closed, type Seen } from "./sealed_attacker.ts";
import { APP_PASSWORD } from "./wire_bench.ts";
import { PgClient } from "./wire_clients.ts";
import {
  concat,
  cstring,
  int16,
  int32,
  message,
  RawClient,
  RawError,
  startup as startupPacket,
} from "./wire_raw_client.ts";

const SET_CONFIG_OID = 2078;
const VARIABLE = "app.current_tenant_id";
const SET_BOTH = `SELECT set_config('${VARIABLE}', 'globex', false), ` +
  "set_config('pgvpd.seal', :forged, false)";

/** Claims a token that the attacker could only make with the key. */
function minted(
  tenant: string,
  wrong: Parameters<Attacker["mint"]>[1],
): (attacker: Attacker) => Promise<Seen> {
  return async (attacker) => {
    await attacker.claim(await attacker.mint(tenant, wrong), tenant);
    return await attacker.probe();
  };
}

/** Claims its own token, changed. */
function changed(change: (token: string) => string): (attacker: Attacker) => Promise<Seen> {
  return async (attacker) => {
    await attacker.claim(change(attacker.token), "");
    return await attacker.probe();
  };
}

async function malformed(attacker: Attacker): Promise<Seen> {
  const { token } = attacker;
  const zeroes = "0".repeat(64);
  const tokens = [
    ...Array.from({ length: token.length }, (_, at) => token.slice(0, at)),
    ...Array.from(
      token,
      (letter, at) => token.slice(0, at) + (letter === "a" ? "b" : "a") + token.slice(at + 1),
    ),
    ...["", " ", `${zeroes}9999999999k1{}`, "f".repeat(100_000), `é${token}`],
    ...["Infinity  ", "NaN       ", "-Infinity "].map((end) =>
      `${zeroes}${end}k1{"${VARIABLE}":"globex"}`
    ),
  ];
  let [foreign, own] = [0, 0];
  for (const each of tokens.filter((_, at) => at % 4 === 0 || at > token.length * 2)) {
    await attacker.try(`SELECT set_config('pgvpd.seal', '${each.replaceAll("'", "''")}', false)`);
    const seen = await attacker.probe();
    foreign += seen.foreign;
    own += seen.own ?? 0;
  }
  return { foreign, own };
}

/** Logs in with something that would be part of the context. */
function startup(more: (attacker: Attacker) => { readonly options: string }) {
  return async (attacker: Attacker): Promise<Seen> => {
    let client: PgClient;
    try {
      client = await PgClient.connect(attacker.login("acme", more(attacker)));
    } catch {
      return closed();
    }
    await using _ends = client;
    await client.run(`RESET ${VARIABLE}; RESET pgvpd.seal`);
    const sql = "SELECT count(*)::int FROM notes WHERE tenant_id <> 'acme'";
    return { foreign: Number(await client.value(sql)), own: null };
  };
}

async function stolen(attacker: Attacker): Promise<Seen> {
  await using other = await PgClient.connect(attacker.login("globex"));
  await other.run("BEGIN"); // it keeps its server connection, and the attacker has another
  const token = await other.value("SELECT current_setting('pgvpd.seal', true)");
  await attacker.claim(String(token ?? ""));
  const seen = await attacker.probe();
  await other.run("COMMIT");
  return seen;
}

async function watched(attacker: Attacker): Promise<Seen> {
  await using _other = await PgClient.connect(attacker.login("globex"));
  return await attacker.foreign(
    `SELECT count(*)::int FROM pg_stat_activity
      WHERE pid <> pg_backend_pid() AND query ~ '[0-9a-f]{64}[0-9]{10}'`,
  );
}

/** The message FunctionCall, without any SQL: set_config() by its number. */
async function called(attacker: Attacker): Promise<Seen> {
  const { front, mode } = attacker;
  const { database } = attacker.login("acme");
  using raw = await RawClient.connect(front.port);
  await raw.send(startupPacket({ user: "trusty.acme", database: database! }));
  if (mode !== "none") {
    await raw.until("R");
    await raw.send(message("p", cstring(APP_PASSWORD)));
  }
  await raw.until("Z");
  const pairs = [["app.current_tenant_id", "globex"], ["pgvpd.seal", attacker.forged]];
  try {
    for (const [name, value] of pairs) {
      const values = [name!, value!, "f"].map((text) => new TextEncoder().encode(text));
      const encoded = values.flatMap((each) => [int32(each.length), each]);
      const call = concat([int32(SET_CONFIG_OID), int16(0), int16(3), ...encoded, int16(0)]);
      await raw.send(message("F", call));
      await raw.until("Z");
    }
    const sql = "SELECT count(*) FILTER (WHERE tenant_id <> 'acme'), " +
      "count(*) FILTER (WHERE tenant_id = 'acme') FROM notes";
    const [row] = await raw.query(sql);
    return { foreign: Number(row![0]), own: Number(row![1]) };
  } catch (error) {
    if (!(error instanceof RawError)) throw error;
    return { foreign: 0, own: 0 }; // it is refused
  }
}

export const FORGERIES: readonly Attack[] = [
  { id: "P1", what: "nothing at all: its own rows are there", own: 2 },
  {
    id: "A01",
    what: "SET of both variables",
    sql: [`SET ${VARIABLE} = 'globex'`, "SET pgvpd.seal = 'globex'"],
    own: 0,
  },
  { id: "A02", what: "its own MAC over another tenant's name", sql: [SET_BOTH], own: 0 },
  {
    id: "A03",
    what: "set_config() in the statement that reads",
    run: (attacker) =>
      attacker.foreign(
        `WITH s AS MATERIALIZED (SELECT set_config('${VARIABLE}', 'globex', false),
           set_config('pgvpd.seal', :forged, false))
         SELECT count(*)::int FROM s, notes WHERE tenant_id <> 'acme'`,
      ),
  },
  {
    id: "A04",
    what: "a token whose end is put off",
    run: changed((token) => token.slice(0, 64) + "9999999999" + token.slice(74)),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A05",
    what: "a key that does not exist",
    run: changed((token) => token.slice(0, 74) + "zz" + token.slice(76)),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A06",
    what: "the MAC in capitals",
    run: changed((token) => token.slice(0, 64).toUpperCase() + token.slice(64)),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A07",
    what: "a second object behind a good token",
    run: changed((token) => `${token}{"${VARIABLE}":"globex"}`),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A08",
    what: "tokens cut, with one letter changed, huge, or no tokens at all",
    run: malformed,
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A09",
    what: "its own token, a second after its end",
    run: minted("acme", { endsAt: Math.floor(Date.now() / 1_000) - 1 }),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A10",
    what: "a good token of another server process",
    run: minted("globex", { pid: 1 }),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A11",
    what: "a good token of an earlier connection to the same process ID",
    run: minted("globex", { port: 1 }),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A12",
    what: "a token made with another key",
    run: minted("globex", { key: SealKey.random("k1") }),
    own: 0,
    sealedOnly: true,
  },
  {
    id: "A13",
    what: "dynamic SQL in DO, in which the variable's name does not occur",
    sql: [
      "SELECT set_config('x.f', :forged, false)",
      `DO $$ BEGIN EXECUTE 'S' || 'ET app.current_tenant' || '_id = ''globex''';
        EXECUTE 'S' || 'ET pgvpd.se' || 'al = ' || quote_literal(current_setting('x.f')); END $$`,
    ],
    own: 0,
  },
  {
    id: "A14",
    what: "PREPARE and EXECUTE, and COPY of a query",
    sql: [
      "PREPARE s AS SELECT set_config($1, $2, false)",
      `EXECUTE s('${VARIABLE}', 'globex')`,
      "EXECUTE s('pgvpd.seal', :forged)",
      `COPY (SELECT set_config('${VARIABLE}', 'globex', false)) TO STDOUT`,
    ],
    own: 0,
  },
  {
    id: "A15",
    what: "escaped names, query_to_xml, ts_rewrite",
    sql: [
      `SELECT U&"\\0073et\\005fconfig"('${VARIABLE}', 'globex', false)`,
      "SELECT query_to_xml('select set_config(''pgvpd.seal'', ''' || :forged || ''', false)', " +
      "true, true, '')",
      `SELECT ts_rewrite('a'::tsquery, 'select set_config(''${VARIABLE}'', ''globex'', ` +
      "false)::tsquery, ''b''::tsquery')",
    ],
    own: 0,
  },
  {
    id: "A16",
    what: "SET LOCAL in a transaction",
    sql: ["BEGIN", `SET LOCAL ${VARIABLE} = 'globex'`, "SET LOCAL pgvpd.seal = :forged"],
    own: 0,
  },
  {
    id: "A17",
    what: "a function with a SET clause",
    sql: [
      `CREATE FUNCTION evil.f() RETURNS int LANGUAGE sql SET ${VARIABLE} = 'globex'
        AS 'SELECT count(*)::int FROM public.notes WHERE tenant_id <> ''acme'''`,
    ],
    run: (attacker) => attacker.foreign("SELECT evil.f()"),
  },
  {
    id: "A18",
    what: "UPDATE of pg_settings",
    sql: [
      "UPDATE pg_settings SET setting = 'globex' " +
      `WHERE name IN ('${VARIABLE}', 'pgvpd.seal')`,
    ],
  },
  { id: "A19", what: "RESET ALL and DISCARD ALL", sql: ["RESET ALL", "DISCARD ALL"], own: 2 },
  {
    id: "A20",
    what: "ALTER ROLE of itself, for all that come later",
    sql: [
      `ALTER ROLE CURRENT_USER SET ${VARIABLE} = 'globex'`,
      "ALTER ROLE CURRENT_USER SET pgvpd.seal = 'x'",
    ],
    run: async (attacker) => {
      await using later = await PgClient.connect(attacker.login("acme"));
      const sql = "SELECT count(*)::int FROM notes WHERE tenant_id <> 'acme'";
      return { foreign: Number(await later.value(sql)), own: null };
    },
  },
  {
    id: "A21",
    what: "the variable in the start-up packet, and RESET back to it",
    run: startup(() => ({ options: `-c ${VARIABLE}=globex` })),
  },
  {
    id: "X01",
    what: "a token in the start-up packet",
    run: startup(({ forged }) => ({ options: `-c pgvpd.seal=${forged.replaceAll(" ", "\\ ")}` })),
  },
  { id: "X02", what: "the token of another tenant's connection", run: stolen, own: 0 },
  { id: "X03", what: "a look for tokens in pg_stat_activity", run: watched, sealedOnly: true },
  {
    id: "X04",
    what: "an INSERT under the forged context",
    sql: [SET_BOTH, "BEGIN"],
    run: (attacker) =>
      attacker.foreign(
        `WITH i AS (INSERT INTO notes VALUES ('globex', 99, 'planted') RETURNING 1)
         SELECT count(*)::int FROM i`,
      ),
  },
  { id: "X07", what: "set_config() by a FunctionCall message", run: called, own: 0 },
  {
    id: "B01",
    what: "RESET ROLE, SET ROLE NONE, DISCARD ALL",
    sql: ["RESET ROLE", "SET ROLE NONE", "DISCARD ALL"],
    own: 2,
  },
  {
    id: "B02",
    what: "SET ROLE to the key's owner, the superuser, predefined roles",
    sql: [
      ...["pgvpd_vault", "postgres", "pg_read_all_data", "pg_database_owner", "pg_write_all_data"]
        .map((role) => `SET ROLE ${role}`),
      SET_BOTH,
    ],
    own: 0,
  },
  {
    id: "B03",
    what: "SET SESSION AUTHORIZATION, and set_config() of the role",
    sql: [
      "SET SESSION AUTHORIZATION postgres",
      "SELECT set_config('session_authorization', 'postgres', false)",
      "SELECT set_config('role', 'pgvpd_vault', false)",
      SET_BOTH,
    ],
    own: 0,
  },
  {
    id: "B04",
    what: "to give itself the key's owner, BYPASSRLS, SUPERUSER",
    sql: [
      "GRANT pgvpd_vault TO CURRENT_USER",
      "ALTER ROLE CURRENT_USER BYPASSRLS",
      "CREATE ROLE new_role BYPASSRLS",
      "ALTER ROLE CURRENT_USER SUPERUSER",
      SET_BOTH,
    ],
    own: 0,
  },
  { id: "B05", what: "set_role, and nothing else", setRole: true, own: 2 },
  {
    id: "B06",
    what: "set_role, and RESET ROLE to the login role",
    sql: ["RESET ROLE", SET_BOTH],
    setRole: true,
    own: 0,
  },
  {
    id: "B07",
    what: "set_role, and a hop to any other role",
    sql: [
      ...["RESET ROLE", "SET ROLE trusty", "SET ROLE pgvpd_vault", "SET ROLE postgres"],
      SET_BOTH,
    ],
    setRole: true,
    own: 0,
  },
];
