// Promise: whatever bytes a client of a pool sends, and whenever it leaves, pgvpd answers as
// PostgreSQL does or closes; the next client on the same pool is served rightly, no slot is lost.

import assert from "node:assert/strict";
import { APP_PASSWORD, Bench, DATABASE, eventually, type Front } from "../support/wire_bench.ts";
import {
  asked,
  loggedIn,
  loginAs,
  POOL_PASSWORD,
  POOLED,
  saslInitialResponse,
  servedBy,
  WHO,
} from "../support/wire_logins.ts";
import { firstSeed, Random } from "../support/random.ts";
import {
  concat,
  cstring,
  errorFields,
  int16,
  int32,
  message,
  RawClient,
  startup,
} from "../support/wire_raw_client.ts";

let bench: Bench;
let front: Front;
const rejections: unknown[] = [];
const onRejection = (event: PromiseRejectionEvent) => {
  event.preventDefault();
  rejections.push(event.reason);
};

Deno.test.beforeAll(async () => {
  globalThis.addEventListener("unhandledrejection", onRejection);
  bench = await Bench.start();
  // What a client has left behind may take five seconds to be cancelled.
  front = await bench.front({ ...POOLED, poolCheckoutTimeout: 15_000 });
});
Deno.test.afterAll(async () => {
  await front[Symbol.asyncDispose]();
  await bench.stop();
  globalThis.removeEventListener("unhandledrejection", onRejection);
});

const text = (words: string) => new TextEncoder().encode(words);
const query = (sql: string) => message("Q", cstring(sql));
const SYNC = message("S");
const TERMINATE = message("X");
const parse = (sql: string, name = "") => message("P", cstring(name), cstring(sql), int16(0));
const BIND = message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0));
const EXECUTE = message("E", cstring(""), int32(0));
const typed = (type: string, length: number, ...rest: Uint8Array[]) =>
  concat([text(type), int32(length), ...rest]);

/** The pool is as it was: served at once, rightly, and nothing is held. */
async function unharmed(): Promise<number> {
  const pid = await servedBy(loginAs(front, POOL_PASSWORD));
  await front.empty();
  await eventually(
    "nothing is lent, and nobody waits",
    () =>
      [...front.proxy.poolStats.values()].every(({ active, waiting, opening }) =>
        active + waiting + opening === 0
      ),
  );
  assert.deepEqual(rejections, [], "no promise was forgotten");
  return pid;
}

/**
 * What comes until the end of the connection, an error with its SQLSTATE.
 *
 * @param readies behind so many ReadyForQuery the client ends its sending side.
 */
async function everything(raw: RawClient, readies = Infinity): Promise<string[]> {
  const replies: string[] = [];
  for (let next = await raw.next(); next !== null; next = await raw.next()) {
    if (next.type === "N") continue; // a client that is silent is asked whether it is there
    if (next.type === "Z" && --readies === 0) await raw.connection.closeWrite();
    replies.push(next.type === "E" ? `E ${errorFields(next.body)["C"]}` : next.type);
  }
  return replies;
}

const FIRST: Record<string, Uint8Array> = {
  "nothing": new Uint8Array(),
  "half a header": Uint8Array.of(0, 0),
  "a packet of length zero": int32(0),
  "a packet of a negative length": int32(-1),
  "a packet of two gigabytes": int32(0x7fffffff),
  "a startup packet that is cut": startup(WHO).subarray(0, 20),
  "Terminate": TERMINATE,
  "a Query": query("SELECT 1"),
  "HTTP": text("GET / HTTP/1.1\r\nHost: pgvpd\r\n\r\n"),
  "a password at once": message("p", cstring(POOL_PASSWORD)),
};

for (const [what, bytes] of Object.entries(FIRST)) {
  Deno.test(`first of all ${what}: closed, or refused`, async () => {
    const before = await unharmed();
    using raw = await RawClient.connect(front.port);
    await raw.send(bytes);
    await raw.connection.closeWrite();
    const replies = await everything(raw);
    assert(replies.length === 0 || /^E (08P01|0A000)$/.test(replies.join()), replies.join());
    raw.close();
    assert.equal(await unharmed(), before);
  });
}

const WHEN_ASKED: Record<string, Uint8Array> = {
  "a Query": query("SELECT 1"),
  "Sync": SYNC,
  "Terminate": TERMINATE,
  "a second startup packet": startup(WHO),
  "AuthenticationOk": message("R", int32(0)),
  "ReadyForQuery": message("Z", text("I")),
  "a length of zero": typed("p", 0),
  "a length of three": typed("p", 3),
  "a negative length": typed("p", -5),
  "a gigantic length": typed("p", 0x7fffffff),
  "a megabyte of a password": message("p", new Uint8Array(1 << 20).fill(65), Uint8Array.of(0)),
  "an oversized SASL message": saslInitialResponse("SCRAM-SHA-256", `n,,n=,r=${"x".repeat(1_500)}`),
  "a SASL message whose length lies": message("p", cstring("SCRAM-SHA-256"), int32(1 << 30)),
  "a negative SASL length": message("p", cstring("SCRAM-SHA-256"), int32(-2), text("n,,n=,r=x")),
  "no SASL message at all": message("p"),
  "half a message": typed("p", 100, text("SCRAM")),
  "a megabyte of nothing": new Uint8Array(1 << 20),
  "COPY data": message("d", new Uint8Array(100)),
};

for (const [what, bytes] of Object.entries(WHEN_ASKED)) {
  Deno.test(`asked for the password, ${what}: refused, and the backend never hears of it`, async () => {
    const before = await unharmed();
    for (const isSecond of [false, true]) {
      using raw = await asked(front);
      if (isSecond) { // in the middle of the exchange
        await raw.send(saslInitialResponse("SCRAM-SHA-256", "n,,n=,r=abc"));
        await raw.until("R");
      }
      await raw.send(bytes).catch(() => {});
      await raw.connection.closeWrite().catch(() => {});
      const replies = await everything(raw);
      assert(replies.length === 0 || replies.join() === "E 08P01", replies.join());
    }
    assert.equal(await unharmed(), before);
  });
}

const LOGGED_IN: Record<string, readonly Uint8Array[]> = {
  "an unknown type": [message("!")],
  "a server's type R": [message("R", int32(0))],
  "a server's type Z": [message("Z", text("I"))],
  "a server's type T": [message("T", int16(0))],
  "a password": [message("p", cstring("x"))],
  "a second startup packet": [startup(WHO)],
  "Execute without Bind": [EXECUTE],
  "Bind without Parse": [message("B", cstring(""), cstring("nope"), int16(0), int16(0), int16(0))],
  "Describe of nothing": [message("D", text("S"), cstring("nope"))],
  "Describe of a kind that is none": [message("D", text("?"), cstring(""))],
  "Close of nothing": [message("C", text("P"), cstring("nope"))],
  "an empty Query": [query("")],
  "a Query without end": [message("Q", text("SELECT 1"))],
  "a Parse that is cut inside": [message("P", cstring("a"))],
  "a Parse with a count that lies": [message("P", cstring(""), cstring("SELECT 1"), int16(999))],
  "a Bind with lengths that lie": [
    parse("SELECT $1::text"),
    message("B", cstring(""), cstring(""), int16(0), int16(1), int32(1 << 30), int16(0)),
  ],
  "COPY data out of place": [message("d", text("x")), message("c"), message("f", cstring("no"))],
  "a function that does not exist": [message("F", int32(1), int16(0), int16(0), int16(0))],
  "bytes that are no UTF-8": [message("Q", Uint8Array.of(0x53, 0xff, 0xfe, 0))],
  "a failed query": [query("SELECT 1/0")],
  "a transaction that is left open": [query("BEGIN"), query("SELECT 1/0"), query("SELECT 1")],
};
for (const [what, messages] of Object.entries(LOGGED_IN)) {
  Deno.test(`logged in, ${what}: as PostgreSQL answers`, async () => {
    await unharmed();
    const bytes = concat([...messages, SYNC]);
    const direct = await loggedIn({ port: bench.postgres.port }, APP_PASSWORD, "app_user");
    await direct.raw.send(bytes);
    const theirs = await everything(direct.raw, 1);
    direct.raw.close();
    const { raw } = await loggedIn(front);
    await raw.send(bytes);
    const ours = await everything(raw, 1);
    raw.close();
    assert.deepEqual(ours, theirs);
    await unharmed();
  });
}

Deno.test("logged in, a length that cannot be: pgvpd says so, where PostgreSQL just closes", async () => {
  for (const length of [0, 3, -1, -0x80000000]) {
    await unharmed();
    const { raw } = await loggedIn(front);
    await raw.send(query("SELECT 1"), typed("Q", length), SYNC);
    const replies = await everything(raw);
    assert.match(replies.join(" "), /^(T D C Z )?E 08P01$/);
    raw.close();
    await unharmed();
  }
});

const LEFT_BEHIND: Record<string, readonly Uint8Array[]> = {
  "Parse": [parse("SELECT 1")],
  "Parse, Bind": [parse("SELECT 1"), BIND],
  "Parse, Bind, Execute": [parse("SELECT pg_sleep(20)"), BIND, EXECUTE],
  "the same, Flush": [parse("SELECT pg_sleep(20)"), BIND, EXECUTE, message("H")],
  "the same, Sync": [parse("SELECT pg_sleep(20)"), BIND, EXECUTE, SYNC],
  "a long query": [query("SELECT pg_sleep(20)")],
  "a result that nobody reads": [query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")],
  "BEGIN": [query("BEGIN")],
  "COPY in": [query("CREATE TEMP TABLE c (t text); COPY c FROM STDIN"), message("d", text("a\n"))],
  "half a Query": [query("SELECT 1").subarray(0, 8)],
  "half a header": [Uint8Array.of(0x51, 0)],
  "a gigantic length": [typed("Q", 0x3fffffff, text("SELECT"))],
  "half a Bind of a gigabyte": [
    parse("SELECT $1::text"),
    typed("B", 1 << 30, new Uint8Array(5_000)),
  ],
  "a whole pipeline": Array.from({ length: 200 }, () => query("SELECT pg_sleep(0.2)")),
};

for (const [what, messages] of Object.entries(LEFT_BEHIND)) {
  for (const way of ["says no more", "resets", "says Terminate"] as const) {
    // Behind half a message Terminate would be its rest; behind a query it waits for the answer.
    if (way === "says Terminate" && /half|gigantic|long|pipeline|Sync|Flush|Execute/.test(what)) {
      continue;
    }
    Deno.test(`a client leaves ${what} behind and ${way}`, async () => {
      await unharmed();
      const { raw } = await loggedIn(front);
      await raw.send(concat(messages));
      if (way === "says Terminate") await raw.send(TERMINATE);
      if (way === "says no more") await raw.connection.closeWrite();
      raw.close();
      await unharmed();
    });
  }
}

Deno.test("logged in, random bytes: the next one is served, a hundred times", async () => {
  const seed = firstSeed("SEED");
  const random = new Random(seed);
  const types = "QPBEDSCHFdcfpX!RZTKN\0";
  try {
    for (let round = 0; round < 100; round++) {
      const { raw } = await loggedIn(front);
      for (let count = random.integer(1, 4); count > 0; count--) {
        const body = random.bytes(random.integer(0, 60));
        const type = random.pick([...types]);
        const bytes = random.chance(0.2)
          ? body
          : random.chance(0.2)
          ? typed(type, random.pick([0, 3, -1, 4, 1 << 30, 70]), body)
          : message(type, body);
        await raw.send(bytes).catch(() => {});
      }
      if (random.chance(0.5)) await raw.connection.closeWrite().catch(() => {});
      raw.close();
      if (round % 10 === 0) await unharmed();
    }
    await unharmed();
  } catch (error) {
    throw new Error(`SEED=${seed}`, { cause: error });
  }
});

Deno.test("what is pipelined behind the proof waits, and is served in order", async () => {
  const before = await unharmed();
  using raw = await asked(front);
  const queries = Array.from({ length: 200 }, (_, index) => query(`SELECT ${index}`));
  await proveAnd(raw, concat(queries));
  await raw.connection.closeWrite();
  const replies: string[] = [];
  for (let next = await raw.next(); next !== null; next = await raw.next()) {
    if (next.type === "D") replies.push(new TextDecoder().decode(next.body.subarray(6)));
  }
  assert.deepEqual(replies, Array.from({ length: 200 }, (_, index) => `${index}`));
  assert.equal(await unharmed(), before);
});

Deno.test("cleartext: password and queries pipelined behind the startup packet are served", async () => {
  await using other = await bench.front({ ...POOLED, poolAuth: "cleartext" });
  using raw = await RawClient.connect(other.port);
  const rest = [message("p", cstring(POOL_PASSWORD)), query("SELECT count(*) FROM tenants"), SYNC];
  await raw.send(concat([startup(WHO), ...rest]));
  assert.equal(
    (await everything(raw, 3)).filter((one) => one !== "S").join(" "),
    "R R K Z T D C Z Z",
  );
  using wrong = await RawClient.connect(other.port);
  await wrong.send(concat([startup(WHO), message("p", cstring("x")), query("DROP TABLE tenants")]));
  assert.deepEqual(await everything(wrong), ["R", "E 28P01"]);
  await servedBy(loginAs(other, POOL_PASSWORD));
});

Deno.test("more than can be held behind the startup packet waits in the socket", async () => {
  await using other = await bench.front({ ...POOLED, poolAuth: "cleartext" });
  using raw = await RawClient.connect(other.port);
  const comment = `-- ${"x".repeat(100_000)}\nSELECT 7`;
  const many = Array.from({ length: 20 }, () => query(comment));
  const sent = raw.send(
    concat([startup(WHO), message("p", cstring(POOL_PASSWORD)), ...many]),
  ).then(() => raw.connection.closeWrite());
  const replies = await everything(raw);
  await sent;
  assert.equal(replies.filter((one) => one === "D").length, 20);
});

Deno.test("a login without a database is answered as PostgreSQL answers it", async () => {
  using raw = await RawClient.connect(front.port);
  await raw.send(startup({ user: WHO.user, database: "" }));
  assert.equal((await raw.until("R"))[0]!.type, "R", `asked like for ${DATABASE}`);
});

/** Answers the challenge, with more behind the proof in the same write. */
async function proveAnd(raw: RawClient, more: Uint8Array): Promise<void> {
  const { scram } = await import("../support/wire_logins.ts");
  const send = raw.send.bind(raw);
  let writes = 0;
  raw.send = (...parts) => send(...parts, ...(++writes === 2 ? [more] : []));
  assert.equal((await scram(raw, { password: POOL_PASSWORD })).type, "R");
}
