// The console: which commands there are, what they take, and what they have the proxy do.

import { strict as assert } from "node:assert";
import { AdminConsole } from "../../src/admin/console.ts";
import { ControlError } from "../../src/control.ts";
import { fakeControl, NO_POOL } from "../support/fake_control.ts";

const BY = { name: "root", from: "192.0.2.7:1", via: "console" } as const;

function world(shown: Parameters<typeof fakeControl>[0] = {}) {
  const control = fakeControl(shown);
  const terminal = new AdminConsole(control);
  return { control, run: (command: string) => terminal.run(command, BY) };
}

Deno.test("acts reach the proxy; names are words, or anything in quotes", () => {
  const { control, run } = world();
  const by = JSON.stringify(BY);
  const commands: [command: string, tag: string, call: string][] = [
    ["PAUSE", "PAUSE", `pause null ${by}`],
    [" pause acme ; ", "PAUSE", `pause acme ${by}`],
    ['RESUME "a b""c;"', "RESUME", `resume a b"c; ${by}`],
    ["RESUME;", "RESUME", `resume null ${by}`],
    ["Kill 'it''s'", "KILL", `disconnectTenant it's ${by}`],
    ["KILL_CLIENT 12", "KILL_CLIENT", `disconnectClient 12 ${by}`],
    ["DENY Acme:Corp.1", "DENY", `deny Acme:Corp.1 ${by}`],
    ["ALLOW acme", "ALLOW", `allow acme ${by}`],
    ["RECONNECT", "RECONNECT", `drainPool null ${by}`],
    ["SHUTDOWN", "SHUTDOWN", `drain ${by}`],
  ];
  for (const [command, tag, call] of commands) {
    assert.deepEqual(run(command), { tag }, command);
    assert.equal(control.calls.at(-1), call);
  }
  assert.deepEqual(run("reload"), { tag: "RELOAD" });
});

Deno.test("an empty command is answered, with nothing", () => {
  const { run } = world();
  for (const command of ["", " ", ";", " \n;"]) assert.deepEqual(run(command), { tag: "" });
});

Deno.test("whatever is no command is refused, and does nothing", () => {
  const { control, run } = world();
  const wrong = [
    ...["SELECT 1", "FOO", "SHOW", "SHOW FOO", "SHOW POOLS; SHOW POOLS", "PAUSE a b", "KILL"],
    ...["KILL_CLIENT x", "RELOAD now", 'PAUSE "', 'PAUSE ""', "constructor", "SHOW constructor"],
    `PAUSE ${"x".repeat(30_000)}`,
  ];
  for (const command of wrong) {
    assert.throws(() => run(command), (error) => {
      assert(error instanceof ControlError && error.kind === "invalid", command);
      assert(error.message.length < 200);
      return true;
    });
  }
  assert.deepEqual(control.calls, []);
});

Deno.test("what the proxy refuses is told, and mistakes of a reload", () => {
  const { run } = world({ reload: () => ({ problems: ["a.conf:1: no"], changes: 0 }) });
  assert.throws(() => run("PAUSE refuse"), /not now/);
  assert.throws(() => run("RELOAD"), /RELOAD failed: a\.conf:1: no/);
});

Deno.test("SHOW gives tables, and help", () => {
  const { run } = world({ pools: () => [NO_POOL] });
  const { tag, table } = run("show pools");
  assert.equal(tag, "SHOW");
  assert.equal(table!.rows.length, 1);
  const { notice } = run("SHOW HELP");
  for (const word of ["PAUSE", "KILL_CLIENT", "TENANTS"]) assert(notice!.includes(word));
});
