// Naming: what must be sent before a statement can be used, and under which name it is asked for.

import assert from "node:assert/strict";
import { BackendStatements } from "../../src/protocol/prepared.ts";
import { ReplyFates } from "../../src/protocol/fates.ts";
import { Naming } from "../../src/session/naming.ts";
import { close, parse } from "../support/extended.ts";
import { join } from "../support/messages.ts";

const NAME = new TextEncoder().encode("s");

function world() {
  const fates = new ReplyFates();
  const naming = new Naming(fates);
  naming.home = backend();
  return { fates, naming };
}

function backend(): BackendStatements {
  return new BackendStatements({ parameters: new Map(), reports: 0 });
}

function define(naming: Naming, sql: string): Uint8Array {
  const bytes = parse("s", sql);
  return naming.define(bytes, 5, 6, bytes.length);
}

function unitOver(fates: ReplyFates, replies: number): void {
  for (let count = 0; count < replies; count++) fates.replied();
  fates.ready();
}

/** The name that `s` has, and what is sent before. */
function use(naming: Naming): [string | null, Uint8Array | null] {
  const found = naming.find(NAME, 0, 1);
  if (found === null) return [null, null];
  const before = naming.preparation(found);
  return [new TextDecoder().decode(naming.nameOf(found)), before];
}

Deno.test("a statement is used under its pending name, and prepared where it is not", () => {
  const { fates, naming } = world();
  assert.deepEqual(use(naming), [null, null]);
  assert.deepEqual(define(naming, "SELECT 1"), parse("pgvpd_1", "SELECT 1"));
  assert.deepEqual(use(naming), ["pgvpd_1", null]);
  fates.unitSent();
  unitOver(fates, 1);
  assert.deepEqual(use(naming), ["pgvpd_1", null]);
  naming.home = backend();
  assert.deepEqual(use(naming), ["pgvpd_1", parse("pgvpd_1", "SELECT 1")]);
  assert.deepEqual(use(naming), ["pgvpd_1", null], "once in a batch");
  fates.unitSent();
  const again = join(close("S", "pgvpd_1"), parse("pgvpd_1", "SELECT 1"));
  assert.deepEqual(use(naming), ["pgvpd_1", again], "the batch before may have failed");
  fates.unitSent();
  unitOver(fates, 0);
  unitOver(fates, 2);
  assert.deepEqual(use(naming), ["pgvpd_1", null]);
});

Deno.test("a Parse that fails defines nothing, a Close that is skipped closes nothing", () => {
  const { fates, naming } = world();
  define(naming, "SELECT 1");
  fates.unitSent();
  unitOver(fates, 0);
  assert.deepEqual(use(naming), [null, null]);
  define(naming, "SELECT 2");
  fates.unitSent();
  unitOver(fates, 1);
  naming.close(NAME, 0, 1);
  assert.deepEqual(use(naming), [null, null]);
  fates.unitSent();
  unitOver(fates, 0);
  assert.deepEqual(use(naming), ["pgvpd_2", null]);
});

Deno.test("statements that are lost without notice are known no more", () => {
  const { fates, naming } = world();
  define(naming, "SELECT 1");
  fates.unitSent();
  unitOver(fates, 1);
  fates.deallocated(true);
  assert.deepEqual(use(naming), [null, null]);
  assert.equal(naming.home!.count, 0);
});
