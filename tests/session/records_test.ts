// One record of each login, however it ends, and the times of its stages.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { SessionContext } from "../../src/context/context.ts";
import { LOGIN_PHASES, Meters } from "../../src/meters.ts";
import { ClientGone, UpstreamRefused } from "../../src/session/endings.ts";
import {
  type GuardRecord,
  loginPhase,
  type LoginRecord,
  SessionRecords,
} from "../../src/session/records.ts";
import { type LogEntry, recordingLog } from "../support/session_world.ts";

function world() {
  const [log, told]: [LogEntry[], LoginRecord[]] = [[], []];
  const meters = new Meters();
  const observer = { loginEnded: (record: LoginRecord) => void told.push(record) };
  const options = { connection: 7, meters, observer };
  const records = new SessionRecords(recordingLog(log), "192.0.2.1:5000", options);
  return { log, told, meters, records };
}

Deno.test("an accepted login: who, from where, as what, and how long each stage took", () => {
  const { log, told, meters, records } = world();
  records.facts = { role: "app", database: "shop", tenant: "acme" };
  Object.assign(records.login, { user: "app.acme", method: "scram", isEncrypted: true });
  records.login.context = new SessionContext([{ name: "app.t", value: "acme" }], "app");
  records.connected(
    new Map([
      ["connecting to the upstream server at db:5432", 3],
      ["waiting for the client to answer the authentication request", 5],
      ["waiting for the upstream server to authenticate", 7],
      ["passing on a cancel request", 99],
    ]),
    { backend: 12 },
  );
  records.connected(new Map());
  assert.equal(log[0]!.message, "client connected");
  assert.equal(log[0]!.fields["backend"], 12);
  assert.equal(told.length, 1);
  const { startedAt, ms, ...rest } = told[0]!;
  assert(startedAt instanceof Date && ms >= 0);
  assert.deepEqual(rest, {
    ...{ connection: 7, peer: "192.0.2.1:5000", isEncrypted: true, user: "app.acme" },
    ...{ method: "scram", result: "accepted", sqlState: null, reason: null },
    ...{ role: "app", database: "shop", tenant: "acme" },
    context: { "app.t": "acme", role: "app" },
  });
  const measured = LOGIN_PHASES.filter((phase) => meters.loginPhases[phase].count > 0);
  assert.deepEqual(measured, ["connect", "authentication"]);
  assert.equal(meters.loginPhases.authentication.sum, 0.012);
  assert.equal(meters.logins.get("accepted"), 1);
});

Deno.test("a refused login says why, whoever refuses; somebody who leaves has not been refused", () => {
  const fields = { sqlState: "28P01", message: "no", severity: "FATAL" };
  const refusals = [
    [PgError.protocolViolation("nonsense"), "08P01", "nonsense"],
    [new UpstreamRefused(fields as never), "28P01", "no"],
    [new Error("a bug"), "XX000", "internal error in pgvpd"],
  ] as const;
  for (const [error, sqlState, reason] of refusals) {
    const { told, records } = world();
    records.failed(error, null);
    assert.deepEqual(told.map((each) => [each.result, each.sqlState, each.reason, each.context]), [
      ["refused", sqlState, reason, null],
    ]);
  }
  const { told, records, log } = world();
  assert.equal(records.failed(new ClientGone(), null), undefined);
  assert.deepEqual([told.length, log[0]!.level], [0, "debug"]);
});

Deno.test("what a guard has caught is told, with who it was, where somebody wants to hear of it", () => {
  const { log, records } = world();
  records.guardHit("nobody wants to know");
  assert.deepEqual([log[0]!.level, log[0]!.fields["sql"]], ["warn", "nobody wants to know"]);
  const hits: GuardRecord[] = [];
  const observer = { loginEnded: () => {}, guardHit: (hit: GuardRecord) => void hits.push(hit) };
  const options = { connection: 7, meters: new Meters(), observer };
  const heard = new SessionRecords(recordingLog([]), "192.0.2.1:5000", options);
  heard.login.user = "app.acme";
  heard.facts = { role: "app", database: "shop", tenant: "acme" };
  heard.guardHit("SET of a context variable");
  assert.deepEqual(hits, [{
    ...{ connection: 7, peer: "192.0.2.1:5000", user: "app.acme" },
    ...{ role: "app", database: "shop", tenant: "acme", what: "SET of a context variable" },
  }]);
});

Deno.test("errors are counted by class, apart by who has raised them", () => {
  const { meters, records } = world();
  records.failed(new UpstreamRefused({ sqlState: "28P01", message: "no" } as never), null);
  records.unserved(PgError.protocolViolation("nonsense"));
  records.unserved(null);
  records.endedNow("over", PgError.protocolViolation("nonsense"));
  assert.deepEqual([...meters.serverErrors], [["28", 1]]);
  assert.deepEqual([...meters.ownErrors], [["08", 2]]);
});

Deno.test("whatever a handshake waits for belongs to a stage", async () => {
  const files = ["handshake", "opening", "login", "lending", "sharing", "session", "live_context"];
  const texts = await Promise.all(files.map((name) => Deno.readTextFile(sourceOf(name))));
  const waits = texts.flatMap((text) => [
    ...[...text.matchAll(/deadline\.phase = ["`]([^"`]+)["`]/g)].map(([, wait]) => wait!),
    ...[...text.matchAll(/"(waiting for [^"]+|establishing the [^"]+)"/g)].map(([, wait]) => wait!),
  ]);
  assert(waits.length > 8, "they were found");
  assert.deepEqual(waits.filter((wait) => loginPhase(wait) === null), []);
});

function sourceOf(name: string): URL {
  return new URL(`../../src/session/${name}.ts`, import.meta.url);
}

Deno.test("a client fills no log with what its guard catches", () => {
  const { log, records } = world();
  for (let count = 0; count < 1_000; count++) records.guardHit("SET ROLE");
  assert(log.length >= 10 && log.length < 100, `${log.length} records`);
});
