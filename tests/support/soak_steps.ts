// What the clients of the isolation soak do: each step is whole, leaves the client in a state that
// is known, and checks every reply.

import {
  bind,
  C,
  demand,
  errorWith,
  execute,
  fields,
  FOLLOWING,
  parse,
  type Reply,
  simple,
  type SoakClient,
  SYNC,
  T,
  type Unit,
} from "./soak_client.ts";
import { concat, cstring, message } from "./wire_raw_client.ts";

const TEXT = new TextDecoder();
const UTF8 = new TextEncoder();

export type Step = (client: SoakClient) => Promise<void>;

export async function pause(client: SoakClient, msMax = 4): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, client.random.integer(0, msMax)));
}

/** Rows of the tenant's own: each carries its name. */
export function rows(client: SoakClient, status: Unit["status"] = "I"): Unit {
  const own: Reply = {
    type: "D",
    many: true,
    check: (body) => demand(fields(body)[0] === client.tenant, `a row of ${fields(body)[0]}`),
  };
  return simple("SELECT tenant, marker FROM soak_notes ORDER BY id LIMIT 20", [T, own, C], status);
}

/** A statement that fails, and says the client's own word. */
function failing(client: SoakClient, status: Unit["status"]): Unit {
  const marker = client.marker();
  return simple(`SELECT '${marker}'::int`, [errorWith(marker, "22P02")], status);
}

/** A batch whose middle fails, in Parse or in Execute: what stands behind it is skipped. */
function failingBatch(client: SoakClient, status: Unit["status"]): Unit {
  const marker = client.marker();
  const inParse = client.random.chance(0.5);
  const sql = inParse ? `SELECT '${marker}'::int` : `SELECT (version() || '${marker}')::int`;
  const bytes = concat([
    ...[parse("", client.probeSql("skipped")), bind("", [])],
    ...[parse("", sql), bind("", []), execute()],
    ...[parse("never", "SELECT 'never'"), bind("", []), execute(), SYNC],
  ]);
  const good = inParse ? "12" : "1212";
  const replies = [...good].map((type): Reply => ({ type }));
  return { bytes, replies: [...replies, errorWith(marker, "22P02")], status };
}

export const begin = (client: SoakClient): Unit =>
  simple(client.random.pick(["BEGIN", "START TRANSACTION"]), [C], "T");

const autocommit: Step = async (client) => {
  for (let count = client.random.integer(1, 4); count > 0; count--) {
    await client.exchange(client.random.chance(0.5) ? client.probe() : client.extendedProbe());
    if (client.random.chance(0.3)) await client.exchange(rows(client));
  }
};

export function write(client: SoakClient): Unit {
  const marker = client.marker();
  return simple(
    client.random.pick([
      `INSERT INTO soak_notes (marker) VALUES ('${marker}')`,
      `UPDATE soak_notes SET marker = '${marker}' WHERE id % 7 = 0`,
      `DELETE FROM soak_notes WHERE marker <> 'seed' AND id % 3 = 0`,
    ]),
    [C],
    "T",
  );
}

const transaction: Step = async (client) => {
  await client.exchange(begin(client));
  for (let count = client.random.integer(1, 4); count > 0; count--) {
    await client.exchange(
      client.random.pick([client.probe, client.extendedProbe]).call(client, "T"),
    );
    if (client.random.chance(0.4)) await pause(client);
    if (client.random.chance(0.2)) await client.exchange(write(client));
  }
  if (client.random.chance(0.2)) await client.exchange(failing(client, "E"));
  await client.exchange(simple("ROLLBACK", [C], "I"));
  await client.exchange(client.probe());
};

const savepoints: Step = async (client) => {
  await client.exchange(
    begin(client),
    simple("SAVEPOINT s", [C], "T"),
    failing(client, "E"),
    simple("SELECT 1", [errorWith("aborted", "25P02")], "E"),
  );
  await client.exchange(simple("ROLLBACK TO s", [C], "T"), client.probe("T"));
  await client.exchange(simple(client.random.pick(["COMMIT", "ROLLBACK"]), [C], "I"));
};

function slow(client: SoakClient, ms: number): Unit {
  const marker = client.marker();
  const check = (body: Uint8Array) => demand(fields(body)[0] === marker, "another's answer");
  return simple(
    `SELECT '${marker}' FROM pg_sleep(${ms / 1000})`,
    [T, { type: "D", check }, C],
    "I",
  );
}

/** Several units in one write: what fails fails alone. */
const pipeline: Step = async (client) => {
  const units: Unit[] = [];
  for (let count = client.random.integer(2, 8); count > 0; count--) {
    const kind = client.random.integer(0, 5);
    if (kind === 0) units.push(client.probe());
    else if (kind === 1) units.push(failingBatch(client, "I"));
    else if (kind === 2) units.push(rows(client));
    else if (kind === 5) units.push(slow(client, client.random.integer(1, 5)));
    else if (kind === 3) {
      units.push(begin(client), client.extendedProbe("T"), simple("COMMIT", [C], "I"));
    } else units.push(client.extendedProbe());
  }
  await client.exchange(...units);
};

/** Uses a named statement, which is parsed in an earlier transaction, or just before. */
const prepared: Step = async (client) => {
  const name = `s${client.random.integer(1, 4)}`;
  const units: Unit[] = [];
  if (!client.prepared.has(name)) {
    // Some texts are everybody's, some the client's own.
    const own = client.random.chance(0.5) ? client.marker() : "shared";
    client.prepared.set(name, own);
    const sql = `SELECT $1::text, '${own}', current_setting('app.current_tenant_id')`;
    const bytes = concat([parse(name, sql), SYNC]);
    units.push({ bytes, replies: [{ type: "1" }], status: "I" });
    if (client.random.chance(0.5)) await client.exchange(...units.splice(0));
  }
  if (client.random.chance(0.3)) units.push(failingBatch(client, "I"));
  for (let count = client.random.integer(1, 3); count > 0; count--) {
    units.push(boundTo(client, name));
  }
  if (client.random.chance(0.2)) {
    client.prepared.delete(name);
    const close = message("C", UTF8.encode("S"), cstring(name));
    units.push({ bytes: concat([close, SYNC]), replies: [{ type: "3" }], status: "I" });
  }
  await client.exchange(...units);
};

function boundTo(client: SoakClient, name: string): Unit {
  const marker = client.marker();
  const own = client.prepared.get(name);
  const check = (body: Uint8Array) => {
    const [said, text, tenant] = fields(body);
    demand(said === marker, `${said} answers ${marker}`);
    demand(text === own, `the statement ${name} has the text of ${text}, not ${own}`);
    demand(tenant === client.tenant, `the context is ${tenant}`);
  };
  const bytes = concat([bind(name, [marker]), execute(), SYNC]);
  return { bytes, replies: [{ type: "2" }, { type: "D", check }, C], status: "I" };
}

/** The unnamed statement lives on in the next transaction, wherever that is. */
const unnamed: Step = async (client) => {
  const own = client.marker();
  const sql = `SELECT $1::text, '${own}', current_setting('app.current_tenant_id')`;
  const bytes = concat([parse("", sql), SYNC]);
  await client.exchange({ bytes, replies: [{ type: "1" }], status: "I" });
  client.prepared.set("", own);
  await pause(client);
  await client.exchange(boundTo(client, ""));
  client.prepared.delete("");
};

const copyIn: Step = async (client) => {
  const tenant = client.tenant;
  const lines = client.random.integer(0, 30);
  const fate = client.random.pick(["done", "done", "fail", "bad line"] as const);
  await client.send(message("Q", cstring("COPY soak_inbox (tenant, marker) FROM STDIN")));
  demand((await client.nextReply()).type === "G", "the server asks for the data");
  const data: Uint8Array[] = [];
  for (let line = 0; line < lines; line++) {
    data.push(message("d", UTF8.encode(`${tenant}\t${client.marker()}\n`)));
  }
  if (fate === "bad line") {
    data.splice(client.random.integer(0, data.length), 0, message("d", UTF8.encode("a\tb\tc\n")));
  }
  data.push(fate === "fail" ? message("f", cstring("enough of it")) : message("c"));
  const replies = {
    "done": [C],
    "fail": [errorWith("enough of it", "57014")],
    "bad line": [errorWith("extra data", "22P04")],
  }[fate];
  await client.send(concat(data), client.random.chance(0.3));
  await client.receive(replies, "I");
};

const copyOut: Step = async (client) => {
  const check = (body: Uint8Array) => {
    const [tenant] = TEXT.decode(body).split("\t");
    demand(tenant === client.tenant, `a copied row of ${tenant}`);
  };
  const sql = "COPY (SELECT tenant, marker FROM soak_notes LIMIT 50) TO STDOUT";
  await client.exchange(
    simple(sql, [{ type: "H" }, { type: "d", many: true, check }, { type: "c" }, C], "I"),
  );
};

/** SET of what is reported follows the client: at once, with its transaction, or not at all. */
const follows: Step = async (client) => {
  const { random, settings } = client;
  const name = random.pick(["application_name", ...Object.keys(FOLLOWING)]);
  const value = FOLLOWING[name] === undefined ? client.marker() : random.pick(FOLLOWING[name]!);
  const before = settings.get(name)!;
  switch (random.integer(0, 4)) {
    case 0:
      settings.set(name, value);
      await client.exchange(simple(`SET ${name} = '${value}'`, [C], "I"));
      break;
    case 1:
    case 2: {
      const end = random.pick(["COMMIT", "ROLLBACK"]);
      const local = random.chance(0.3) ? "LOCAL " : "";
      await client.exchange(begin(client), simple(`SET ${local}${name} = '${value}'`, [C], "T"));
      settings.set(name, value);
      await client.exchange(client.probe("T"));
      if (end === "ROLLBACK" || local !== "") settings.set(name, before);
      await client.exchange(simple(end, [C], "I"));
      break;
    }
    case 3:
      settings.set(name, client.initial.get(name)!);
      await client.exchange(simple(`RESET ${name}`, [C], "I"));
      break;
    case 4:
      client.settings = new Map(client.initial);
      if (random.chance(0.5)) {
        await client.exchange(simple("RESET ALL", [C], "I"));
      } else {
        client.prepared.clear();
        await client.exchange(simple("DISCARD ALL", [C], "I"));
      }
  }
  await client.exchange(client.probe());
};

/** What binds a client to its backend, and what it must find there from then on. */
const PINNING: readonly ((tenant: string) => readonly [sql: string, later: string])[] = [
  (
    tenant,
  ) => [`CREATE TEMP TABLE own_${tenant} AS SELECT '${tenant}'::text`, `TABLE own_${tenant}`],
  (tenant) => [`SET soak.residue = '${tenant}'`, "SELECT current_setting('soak.residue')"],
  (tenant) => [`PREPARE own_${tenant} AS SELECT '${tenant}'`, `EXECUTE own_${tenant}`],
  (tenant) => [`LISTEN ${tenant}`, "SELECT pg_listening_channels()"],
  (tenant) => [
    `DECLARE own_${tenant} CURSOR WITH HOLD FOR SELECT '${tenant}' FROM generate_series(1, 99)`,
    `FETCH own_${tenant}`,
  ],
];

const pins: Step = async (client) => {
  const [sql, later] = client.random.pick(PINNING)(client.tenant);
  client.kept = true;
  await client.exchange(simple("DISCARD ALL", [C], "I"));
  client.settings = new Map(client.initial);
  client.prepared.clear();
  await client.exchange(simple(sql, [C], "I"));
  await pause(client);
  const check = (body: Uint8Array) =>
    demand(fields(body)[0] === client.tenant, `${later} gives ${fields(body)[0]}`);
  await client.exchange(client.probe(), simple(later, [T, { type: "D", check }, C], "I"));
};

/** Leaves something behind that nothing in the text tells: it may be lost, and must not be found. */
const slips: Step = async (client) => {
  const what = client.random.integer(0, 7);
  const sql = `SELECT soak_slip('${client.tenant}', ${what})`;
  await client.exchange(simple(sql, [T, { type: "D" }, C], "I"));
};

const slipsInBlock: Step = async (client) => {
  const statement = client.random.pick([
    `CREATE TE' || 'MP TABLE IF NOT EXISTS block_${client.tenant} (a int)`,
    `LISTEN ${client.tenant}`,
    `SET soak.residue TO ''${client.tenant}''`,
    `PREPARE block_${client.tenant} AS SELECT ''${client.tenant}''`,
  ]);
  const block = `EXECUTE '${statement}'; EXCEPTION WHEN duplicate_prepared_statement THEN NULL`;
  await client.exchange(simple(`DO $$ BEGIN ${block}; END $$`, [C], "I"));
};

/** Puts statements of its own in the place of those that pgvpd prepares for others. */
export const hijacks: Step = async (client) => {
  const first = client.random.integer(1, 200);
  const prepare = `EXECUTE 'PREPARE pgvpd_' || n || ' AS SELECT ''HIJACKED ${client.tenant}'''`;
  const block = `EXECUTE 'DEALLOCATE ALL'; FOR n IN ${first}..${first + 50} LOOP ${prepare}`;
  await client.exchange(simple(`DO $$ BEGIN ${block}; END LOOP; END $$`, [C], "I"));
  await client.exchange(client.probe());
  await pause(client, 20);
};

const notifies: Step = async (client) => {
  await client.exchange(simple(`NOTIFY ${client.tenant}, '${client.tenant}'`, [C], "I"));
};

const locks: Step = async (client) => {
  const number = client.tenant.split("_")[1];
  await client.exchange(
    begin(client),
    simple(`SELECT pg_try_advisory_xact_lock(4242, ${number})`, [T, { type: "D" }, C], "T"),
    client.probe("T"),
    simple("COMMIT", [C], "I"),
  );
};

const cursors: Step = async (client) => {
  const check = (body: Uint8Array) =>
    demand(fields(body)[0] === client.tenant, `fetched a row of ${fields(body)[0]}`);
  const own: Reply = { type: "D", many: true, check };
  await client.exchange(
    begin(client),
    simple("DECLARE c CURSOR FOR SELECT tenant FROM soak_notes", [C], "T"),
  );
  await pause(client);
  await client.exchange(simple("FETCH 3 FROM c", [T, own, C], "T"), client.probe("T"));
  await client.exchange(simple("COMMIT", [C], "I"));
};

/** A cancel request with the client's own key: for what runs, or for nothing at all. */
const cancels: Step = async (client) => {
  if (client.random.chance(0.3)) {
    await client.cancel();
  } else {
    const { bytes, replies, status } = slow(client, client.random.integer(1, 200));
    await client.send(bytes);
    const cancelled = pause(client, 150).then(() => client.cancel());
    await client.receive(replies, status);
    await cancelled;
  }
  client.cancelling = false;
  await client.exchange(client.probe());
};

const sleeps: Step = (client) => client.exchange(slow(client, 20));

/** Steps and how often each is taken. */
export const STEPS: readonly (readonly [name: string, weight: number, step: Step])[] = [
  ["autocommit", 20, autocommit],
  ["transaction", 12, transaction],
  ["savepoints", 5, savepoints],
  ["pipeline", 14, pipeline],
  ["prepared", 14, prepared],
  ["unnamed", 4, unnamed],
  ["copy in", 5, copyIn],
  ["copy out", 4, copyOut],
  ["follows", 9, follows],
  ["pins", 2, pins],
  ["slips", 6, slips],
  ["slips in a block", 3, slipsInBlock],
  ["notifies", 3, notifies],
  ["locks", 3, locks],
  ["cursors", 4, cursors],
  ["cancels", 4, cancels],
  ["sleeps", 2, sleeps],
];
