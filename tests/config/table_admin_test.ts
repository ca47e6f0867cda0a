// The admin API is not open to a network by mistake, and what is set without effect is told.

import assert from "node:assert/strict";
import { problemsOf, problemText } from "../../src/config/config.ts";

function check(text: string) {
  const file = { path: "pgvpd.conf", text };
  const { problems, warnings } = problemsOf({ file, environment: {}, flags: {} });
  return { problems: problems.map(problemText), warnings };
}

const TOKEN = "admin_token = long enough for it\n";

Deno.test("on this machine no token is needed; anywhere else one is, or the word for it", () => {
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost"]) {
    assert.deepEqual(check(`admin_port = 1\nadmin_host = ${host}`).problems, [], host);
  }
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "admin.internal"]) {
    const open = `admin_port = 1\nadmin_host = ${host}\n`;
    const { problems } = check(open);
    assert.equal(problems.length, 1, host);
    assert.match(problems[0]!, /needs "admin_token".*"admin_open_to" = anywhere/);
    assert.deepEqual(check(open + TOKEN).problems, []);
    assert.deepEqual(check(`${open}admin_open_to = anywhere`).problems, []);
  }
});

Deno.test("the admin API listens on no unix socket, and not where clients connect", () => {
  assert.match(check("admin_port = 1\nadmin_host = /run").problems[0]!, /no unix socket/);
  assert.match(check("admin_port = 6432").problems[0]!, /take another port/);
});

Deno.test("operators need a password, and an audit log in a file a file", () => {
  assert.match(check("admin_users = root").problems[0]!, /"admin_token" or "auth_file"/);
  assert.deepEqual(check(`admin_users = root\n${TOKEN}`).problems, []);
  assert.match(check("audit_log = file").problems[0]!, /needs "audit_file"/);
});

Deno.test("what does nothing is told", () => {
  const { warnings } = check("admin_host = ::1\nadmin_names = a\naudit_file = /a");
  assert.equal(warnings.length, 3);
  assert.match(warnings[0]!, /"admin_host" does nothing without "admin_port"/);
  assert.match(warnings[2]!, /"audit_file" does nothing without "audit_log" = file/);
});
