// The audit log: one line for each record, in a file that may be moved away, lost, and come back.

import { strict as assert } from "node:assert";
import { AuditLog } from "../src/audit.ts";
import { type LogEntry, recordingLog } from "./support/session_world.ts";

async function inDirectory(test: (path: string, log: LogEntry[]) => void | Promise<void>) {
  const directory = await Deno.makeTempDir();
  try {
    await test(`${directory}/audit.jsonl`, []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function records(path: string): Record<string, unknown>[] {
  return Deno.readTextFileSync(path).trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("records are appended, one line each, whatever is in them", async () => {
  await inDirectory((path, log) => {
    Deno.writeTextFileSync(path, '{"event":"earlier"}\n');
    using audit = new AuditLog({ kind: "file", path }, recordingLog(log), () => new Date(0));
    audit.record("login", { tenant: 'a"b\nc', user: "x".repeat(5_000) });
    const [earlier, login] = records(path);
    assert.equal(earlier!["event"], "earlier");
    assert.deepEqual([login!["time"], login!["event"]], ["1970-01-01T00:00:00.000Z", "login"]);
    assert.equal(login!["tenant"], 'a"b\nc');
    assert.equal(String(login!["user"]).length, 1_001);
  });
});

Deno.test("a new file is nobody else's to read", async () => {
  await inDirectory((path, log) => {
    using _audit = new AuditLog({ kind: "file", path }, recordingLog(log));
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  });
});

Deno.test("when it is reopened, records go on in a new file", async () => {
  await inDirectory((path, log) => {
    using audit = new AuditLog({ kind: "file", path }, recordingLog(log));
    audit.record("login", { n: 1 });
    Deno.renameSync(path, `${path}.1`);
    audit.record("login", { n: 2 });
    audit.reopen();
    audit.record("login", { n: 3 });
    assert.deepEqual(records(`${path}.1`).map(({ n }) => n), [1, 2]);
    assert.deepEqual(records(path).map(({ n }) => n), [3]);
  });
});

Deno.test("a disk that is lost stops nobody, is told loudly, and records go on when it is back", async () => {
  await inDirectory((path, log) => {
    using audit = new AuditLog({ kind: "file", path }, recordingLog(log));
    Deno.removeSync(path);
    Deno.mkdirSync(path); // nothing can be opened there
    audit.reopen();
    audit.record("login", { n: 1 });
    audit.record("login", { n: 2 });
    assert.equal(audit.lost, 2);
    assert.deepEqual(log.map(({ level }) => level), ["error"]);
    assert.match(log[0]!.message, /records are lost/);
    Deno.removeSync(path);
    audit.reopen();
    audit.record("login", { n: 3 });
    assert.deepEqual(records(path).map(({ n }) => n), [3]);
  });
});

Deno.test("a full device is a loss that is told", { ignore: Deno.build.os !== "linux" }, () => {
  const log: LogEntry[] = [];
  using audit = new AuditLog({ kind: "file", path: "/dev/full" }, recordingLog(log));
  audit.record("login", {});
  assert.equal(audit.lost, 1);
  assert.match(String(log[0]!.fields["error"]), /space/i);
});

Deno.test("a file that cannot be opened at the start is a mistake of the operator's", () => {
  const target = { kind: "file", path: "/nowhere/audit" } as const;
  assert.throws(() => new AuditLog(target, recordingLog([])));
});

Deno.test("standard output takes lines; when it is off, nothing is written", () => {
  const lines: string[] = [];
  const target = { kind: "stdout", write: (line: string) => void lines.push(line) } as const;
  using audit = new AuditLog(target, recordingLog([]));
  audit.record("act", { n: 1 });
  audit.reopen({ kind: "off" });
  assert(!audit.isOn);
  audit.record("act", { n: 2 });
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /"event":"act","n":1\}\n$/);
});
