// Prepared statements: names, texts, what they mean, and which must go.

import assert from "node:assert/strict";
import { MessageWriter } from "../../src/codec/writer.ts";
import {
  BackendStatements,
  CLIENT_SIZE_MAX,
  ClientStatement,
  ClientStatements,
  encodeClose,
  encodeDoomed,
  encodeParse,
  isOwnName,
  mayDeallocate,
  statementOf,
} from "../../src/protocol/prepared.ts";
import { close, parse } from "../support/extended.ts";
import { join, text } from "../support/messages.ts";

const UTF8 = new TextEncoder();

function statement(sql: string) {
  const bytes = text(`${sql}\0\0\0`);
  return statementOf(bytes, 0, bytes.length);
}

function server() {
  const reported = { parameters: new Map([["DateStyle", "ISO, MDY"]]), reports: 0 };
  return { reported, statements: new BackendStatements(reported) };
}

const textOf = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

Deno.test("the same text is the same statement, unless it names a moment", () => {
  assert.equal(statement("SELECT 1").key, statement("SELECT 1").key);
  assert.notEqual(statement("SELECT 1").key, statement("SELECT 2").key);
  for (const moment of ["'now'", "' Today '", "'tomorrow noon'", "'yesterday'"]) {
    const sql = `SELECT ${moment}::timestamptz`;
    assert.notEqual(statement(sql).key, statement(sql).key, sql);
  }
  const [one, two] = [
    join(text("SELECT $1\0"), Uint8Array.of(0, 1, 0, 0, 0, 23)),
    text("SELECT $1\0\0\0"),
  ];
  assert.notEqual(statementOf(one, 0, one.length).key, statementOf(two, 0, two.length).key);
});

Deno.test("DEALLOCATE ALL and DISCARD ALL are seen, whatever stands around them", () => {
  for (const sql of ["DEALLOCATE ALL", " deallocate prepare all ; ", "Discard All"]) {
    assert.equal(statement(sql).deallocatesAll, true, sql);
  }
  for (const sql of ["DEALLOCATE a", "DISCARD TEMP", "DELETE FROM a", "SELECT 1", ""]) {
    assert.equal(statement(sql).deallocatesAll, false, sql);
  }
  const may = (sql: string) => mayDeallocate(text(sql), 0, sql.length);
  assert.deepEqual(["DEALL", " d", "dis", "DELETE", "DECLARE", "DROP", "", "S"].map(may), [
    ...[true, true, true, false, false, false, false, false],
  ]);
});

Deno.test("only pgvpd's own names look like it", () => {
  const isOwn = (name: string) => isOwnName(UTF8.encode(name), 0, UTF8.encode(name).length);
  assert.deepEqual(["pgvpd_1", "pgvpd_", "pgvpd", "PGVPD_1", "xpgvpd_1", ""].map(isOwn), [
    ...[true, true, false, false, false, false],
  ]);
  assert.ok(isOwn(textOf(server().statements.freshName())));
});

Deno.test("a client's names: set, replaced, taken away and brought back, and not without end", () => {
  const statements = new ClientStatements();
  const [a, b, c] = ["a", "b", "c"].map((sql) => new ClientStatement(statement(sql)));
  statements.set("x", a!);
  statements.set("y", b!);
  const all = statements.takeAll();
  assert.equal(statements.count, 0);
  statements.set("x", c!);
  b!.failed = true;
  statements.putBack(all);
  assert.deepEqual([statements.get("x"), statements.get("y")], [c, undefined]);
  const large = new ClientStatement(statement("x".repeat(CLIENT_SIZE_MAX / 8)));
  for (let index = 0; index < 3; index++) statements.set(`${index}`, large);
  assert.equal(statements.isOverfull, false);
  statements.set("3", large);
  assert.equal(statements.isOverfull, true);
  statements.delete("3");
  assert.equal(statements.isOverfull, false);
});

Deno.test("a name that was parsed twice means what succeeded", () => {
  const [first, second, third] = ["a", "b", "c"].map((sql) => new ClientStatement(statement(sql)));
  first!.succeedBy(second!);
  first!.succeedBy(third!);
  assert.equal(first!.current, first);
  first!.failed = true;
  assert.equal(first!.current, second);
  second!.failed = true;
  assert.equal(first!.current, third);
  third!.failed = true;
  assert.equal(first!.current, null);
});

Deno.test("what a text means depends on what the server has reported", () => {
  const { reported, statements } = server();
  const prepared = statements.add(statement("SELECT 1"), 0);
  assert.equal(statements.find(statement("SELECT 1")), prepared);
  reported.parameters.set("DateStyle", "German, DMY");
  reported.reports++;
  assert.equal(statements.find(statement("SELECT 1")), null);
  assert.equal(statements.meansTheSame(prepared), false);
  reported.parameters.set("DateStyle", "ISO, MDY");
  reported.parameters.set("application_name", "does not matter");
  reported.reports++;
  assert.equal(statements.find(statement("SELECT 1")), prepared);
});

Deno.test("the least recently used ones are the surplus, behind what nobody needs", () => {
  const { statements } = server();
  const [one, two, three] = ["1", "2", "3"].map((sql) => statements.add(statement(sql), 0));
  assert.equal(statements.hasSurplus(3), false);
  statements.touch(one!);
  statements.discard(UTF8.encode("pgvpd_99"));
  assert.equal(statements.hasSurplus(3), true);
  assert.deepEqual(statements.takeSurplus(1).map(textOf), [
    ...["pgvpd_99", textOf(two!.name), textOf(three!.name)],
  ]);
  assert.deepEqual([one!.isThere, two!.isThere], [true, false]);
  assert.deepEqual(statements.takeSurplus(1), []);
  assert.deepEqual(statements.takeSurplus(0).map(textOf), [textOf(one!.name)]);
});

Deno.test("taken away, brought back, adopted, retired", () => {
  const { statements } = server();
  const lost = statements.add(statement("1"), 0);
  const all = statements.takeAll();
  assert.equal(lost.isThere, false);
  const again = statements.add(statement("1"), 1);
  statements.putBack(all);
  assert.equal(statements.find(statement("1")), again);
  assert.deepEqual(statements.takeSurplus(9).map(textOf), [textOf(lost.name)]);
  assert.equal(statements.adopt(statement("1"), UTF8.encode("other"), 1), null);
  assert.equal(statements.adopt(statement("2"), UTF8.encode("new"), 2)?.confirmed, true);
  statements.retireUntil(1);
  assert.equal(statements.count, 1);
  assert.deepEqual(statements.takeSurplus(9).map(textOf), ["other", textOf(again.name)]);
  statements.clear();
  assert.equal(statements.count, 0);
});

Deno.test("messages are written by the letter", () => {
  const written = (write: (writer: MessageWriter) => void) => {
    const writer = new MessageWriter();
    write(writer);
    return writer.take();
  };
  const name = UTF8.encode("pgvpd_7");
  const { definition } = statement("SELECT 1");
  const parsed = written((writer) => encodeParse(writer, name, { ...statement(""), definition }));
  assert.deepEqual(parsed, parse("pgvpd_7", "SELECT 1"));
  assert.deepEqual(written((writer) => encodeClose(writer, name)), close("S", "pgvpd_7"));
  assert.deepEqual(
    written(encodeDoomed),
    join(close("S", "pgvpd_doomed"), parse("pgvpd_doomed", "")),
  );
});
